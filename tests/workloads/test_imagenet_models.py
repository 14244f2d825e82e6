"""The image classifiers behave at `tiny` size: formulas from the sheets, modes, dropout, learning, odd batches."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from timetrial.api import ParameterKind
from timetrial.workloads.imagenet_resnet.workload import ImagenetResnet
from timetrial.workloads.imagenet_vit.model_torch import sincos_positions
from timetrial.workloads.imagenet_vit.workload import ImagenetVit

RESNETS = [(ImagenetResnet, variant) for variant in (None, *ImagenetResnet.variants)]
VITS = [(ImagenetVit, variant) for variant in (None, *ImagenetVit.variants)]
ALL = pytest.mark.parametrize(("workload", "variant"), RESNETS + VITS)


def build(workload, variant, *, seed=0, batch_size=8):
    """Return the tiny workload's PyTorch half, its model with every parameter random, and a batch."""
    tiny = workload("tiny", variant)
    torch.manual_seed(seed)
    half = tiny.torch()
    model = half.build_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    batch = tiny.random_batch(np.random.default_rng(seed), batch_size)
    return half, model, {name: torch.from_numpy(array) for name, array in batch.items()}


def run(half, model, batch, *, train=False, update_batch_norm=True, dropout=None):
    return half.forward(model, batch, train=train, update_batch_norm=update_batch_norm, dropout=dropout)


# Independent formulas, written from the sheets over named tensors; the variants without golden vectors need them.


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def resnet_formula(p: dict[str, Tensor], images: Tensor, activate) -> Tensor:
    """The tiny residual network in evaluation: 3 x 3 stem, max-pool, one bottleneck a stage."""

    def norm(x, name):
        mean, var, scale, bias = (
            p[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * scale + bias

    x = activate(norm(F.conv2d(images, p["conv1.weight"], stride=2, padding=1), "bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for block, stride in (("layer1.0", 1), ("layer2.0", 2)):
        y = activate(norm(F.conv2d(x, p[f"{block}.conv1.weight"]), f"{block}.bn1"))
        y = activate(norm(F.conv2d(y, p[f"{block}.conv2.weight"], stride=stride, padding=1), f"{block}.bn2"))
        y = norm(F.conv2d(y, p[f"{block}.conv3.weight"]), f"{block}.bn3")
        shortcut = F.conv2d(x, p[f"{block}.downsample.conv.weight"], stride=stride)
        x = activate(y + norm(shortcut, f"{block}.downsample.bn"))
    return x.mean(dim=(2, 3)) @ p["fc.weight"].T + p["fc.bias"]


@pytest.mark.parametrize(("variant", "activate"), [(None, torch.relu), ("gelu", gelu)])
def test_resnet_is_the_sheet_s_formula(variant, activate):
    half, model, batch = build(ImagenetResnet, variant)
    model.double()
    with torch.no_grad():
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    images = batch["inputs"].double()
    expected = resnet_formula(dict(model.state_dict()), images, activate)
    torch.testing.assert_close(run(half, model, {"inputs": images}), expected, rtol=1e-9, atol=1e-9)


def vit_formula(p: dict[str, Tensor], images: Tensor, *, post_norm: bool) -> Tensor:
    """The tiny vision transformer (patch 4, width 16, two blocks, two heads), one image at a time."""
    patch, width, heads, depth = 4, 16, 2, 2

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(x, name):
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
        return (x - mean) / (var + 1e-6).sqrt() * p[f"{name}.weight"] + p[f"{name}.bias"]

    def attention(x, name):
        q, k, v = (linear(x, f"{name}.{part}") for part in ("query", "key", "value"))
        size = width // heads
        parts = [slice(head * size, (head + 1) * size) for head in range(heads)]
        mixed = [torch.softmax(q[:, s] @ k[:, s].T / math.sqrt(size), dim=-1) @ v[:, s] for s in parts]
        return linear(torch.cat(mixed, dim=-1), f"{name}.out")

    def mlp(x, name):
        return linear(gelu(linear(x, f"{name}.linear1")), f"{name}.linear2")

    logits = []
    for image in images:
        tokens = []
        for y in range(image.shape[1] // patch):
            for x in range(image.shape[2] // patch):
                pixels = image[:, y * patch : (y + 1) * patch, x * patch : (x + 1) * patch]
                w = [10_000 ** (-i / (width / 4 - 1)) for i in range(width // 4)]
                position = [f(a * b) for a in (x, y) for f in (math.sin, math.cos) for b in w]
                embedded = (p["conv_patch_extract.weight"] * pixels).sum(dim=(1, 2, 3))
                tokens.append(embedded + p["conv_patch_extract.bias"] + torch.tensor(position))
        h = torch.stack(tokens)
        for block in (f"encoder.net.{i}" for i in range(depth)):
            if post_norm:
                h = norm(h + attention(h, f"{block}.self_attention1"), f"{block}.layer_norm0")
                h = norm(h + mlp(h, f"{block}.mlp3"), f"{block}.layer_norm2")
            else:
                h = h + attention(norm(h, f"{block}.layer_norm0"), f"{block}.self_attention1")
                h = h + mlp(norm(h, f"{block}.layer_norm2"), f"{block}.mlp3")
        h = h if post_norm else norm(h, "encoder.encoder_norm")
        logits.append(linear(torch.tanh(linear(h.mean(dim=0), "pre_logits")), "head"))
    return torch.stack(logits)


@pytest.mark.parametrize("variant", [None, "post_ln"])
def test_vit_is_the_sheet_s_formula(variant):
    half, model, batch = build(ImagenetVit, variant, batch_size=2)
    model.double()
    images = batch["inputs"].double()[:, :, :, :12]
    expected = vit_formula(dict(model.state_dict()), images, post_norm=variant == "post_ln")
    # The positions are float32 constants.
    torch.testing.assert_close(run(half, model, {"inputs": images}), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("workload", "variant", "tensors", "parameters"),
    [(ImagenetResnet, "gelu", 161, 25_557_032), (ImagenetVit, "post_ln", 198, 22_121_704)],
)
def test_parameter_counts_of_the_variants_without_golden_vectors(workload, variant, tensors, parameters):
    with torch.device("meta"):
        model = workload("full", variant).torch().build_model()
    assert len(list(model.parameters())) == tensors
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_positions_of_one_patch():
    # Width 8: frequencies 1 and 1/10000. The second patch of the second row of three: x = 1, y = 1 is number 4.
    x, y = 1.0, 1.0
    expected = [f(a * w) for a in (x, y) for f in (math.sin, math.cos) for w in (1.0, 1e-4)]
    positions = sincos_positions(2, 3, 8, torch.device("cpu"))
    torch.testing.assert_close(positions[4], torch.tensor(expected))
    torch.testing.assert_close(positions[2, :2], torch.tensor([math.sin(2.0), math.sin(2e-4)]))


# What each parameter is.


def test_kinds_tell_what_a_parameter_is():
    half, model, _ = build(ImagenetVit, "map")
    kinds = half.parameter_kinds(model)
    assert kinds["conv_patch_extract.weight"] is ParameterKind.CONV_WEIGHT
    assert kinds["encoder.net.0.self_attention1.key.weight"] is ParameterKind.ATTENTION_K
    assert kinds["map.mha.kv_proj.weight"] is ParameterKind.ATTENTION_KV
    assert kinds["map.mha.out_proj.bias"] is ParameterKind.ATTENTION_BIAS
    assert kinds["map.probe"] is ParameterKind.WEIGHT
    assert kinds["map.layer_norm.weight"] is ParameterKind.LAYER_NORM_SCALE
    half, model, _ = build(ImagenetResnet, None)
    kinds = half.parameter_kinds(model)
    assert kinds["layer1.0.downsample.bn.bias"] is ParameterKind.BATCH_NORM_BIAS
    assert kinds["fc.weight"] is ParameterKind.WEIGHT


# Dropout.


def test_dropout_is_the_call_s_and_in_training_only():
    half, model, batch = build(ImagenetVit, "map")
    plain = run(half, model, batch)
    assert torch.equal(run(half, model, batch, dropout=0.5), plain)
    assert torch.equal(run(half, model, batch, train=True), plain)
    torch.manual_seed(1)
    first = run(half, model, batch, train=True, dropout=0.5)
    second = run(half, model, batch, train=True, dropout=0.5)
    assert not torch.allclose(first, plain)
    assert not torch.allclose(first, second)


# Odd and random batches.


@pytest.mark.parametrize("workload", [ImagenetResnet, ImagenetVit])
def test_images_without_three_channels_are_refused(workload):
    half, model, batch = build(workload, None)
    with pytest.raises(RuntimeError, match="to have 3 channels"):
        run(half, model, {**batch, "inputs": batch["inputs"][:, :1]})


@pytest.mark.parametrize("workload", [ImagenetResnet, ImagenetVit])
@pytest.mark.parametrize("preset", ["full", "mini", "tiny"])
def test_random_batches_have_the_preset_s_shapes(workload, preset):
    made = workload(preset)
    batch = made.random_batch(np.random.default_rng(3), 2)
    size, classes = made.config.image_size, made.config.classes
    assert batch["inputs"].shape == (2, 3, size, size)
    assert batch["inputs"].dtype == np.float32
    if workload is ImagenetVit:
        assert batch["targets"].shape == (2, classes)
        assert batch["targets"].dtype == np.float32
        np.testing.assert_allclose(batch["targets"].sum(axis=1), 1, rtol=1e-6)
    else:
        assert batch["targets"].shape == (2,)
        assert batch["targets"].dtype == np.int64
        assert 0 <= batch["targets"].min() <= batch["targets"].max() < classes
