"""Criteo, fastMRI and OGBG behave: kinds of parameters, modes, learning, odd batches, every variant's size."""

import numpy as np
import pytest
import torch

from timetrial.api import LossType, ParameterKind
from timetrial.workloads.criteo1tb.workload import Criteo1tb
from timetrial.workloads.fastmri.workload import Fastmri
from timetrial.workloads.ogbg.workload import Ogbg

BASES = [Criteo1tb, Fastmri, Ogbg]
ALL = [(base, variant) for base in BASES for variant in (None, *base.variants)]
every_base = pytest.mark.parametrize("base", BASES)
every_variant = pytest.mark.parametrize(("base", "variant"), ALL)


def batch_of(workload, size=8, seed=0):
    arrays = workload.random_batch(np.random.default_rng(seed), size)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def build(base, variant=None, preset="tiny"):
    torch.manual_seed(0)
    workload = base(preset, variant)
    half = workload.torch()
    return workload, half, half.build_model()


def forward(half, model, batch, *, train=False, dropout=None):
    return half.forward(model, batch, train=train, update_batch_norm=True, dropout=dropout)


# Sizes (spec: workloads/README.md, 1 and 2).


@pytest.mark.parametrize(
    ("base", "variant", "count"),
    [
        (Criteo1tb, None, 539_267_457),
        (Criteo1tb, "test", 10_785_153),
        (Criteo1tb, "layernorm", 539_275_137),
        (Criteo1tb, "embed_init", 539_267_457),
        (Criteo1tb, "resnet", 538_121_473),
        (Fastmri, None, 7_756_097),
        (Fastmri, "model_size", 7_692_929),
        (Fastmri, "tanh", 7_756_097),
        (Fastmri, "layernorm", 7_761_985),
        (Ogbg, None, 3_554_176),
        (Ogbg, "gelu", 3_554_176),
        (Ogbg, "silu", 3_554_176),
        (Ogbg, "model_size", 2_571_648),
    ],
)
def test_published_size(base, variant, count):
    with torch.device("meta"):
        model = base("full", variant).torch().build_model()
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_names_of_the_layer_normed_dlrm():
    """Spec: workloads/criteo1tb.md, 7; there is no golden file of this variant."""
    _, _, model = build(Criteo1tb, "layernorm")
    linears = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    norms = {name for name, module in model.named_modules() if isinstance(module, torch.nn.LayerNorm)}
    assert linears == {"bot_mlp.0", "bot_mlp.3", "top_mlp.0", "top_mlp.3", "top_mlp.7"}
    assert norms == {"bot_mlp.2", "bot_mlp.5", "top_mlp.2", "top_mlp.5", "embed_ln"}


# What parameters are.


def test_kinds_of_criteo():
    _, half, model = build(Criteo1tb, "layernorm")
    kinds = half.parameter_kinds(model)
    assert kinds["embedding_chunk_3"] is ParameterKind.EMBEDDING
    assert kinds["bot_mlp.0.weight"] is ParameterKind.WEIGHT
    assert kinds["bot_mlp.0.bias"] is ParameterKind.BIAS
    assert kinds["bot_mlp.2.weight"] is ParameterKind.LAYER_NORM_SCALE
    assert kinds["embed_ln.bias"] is ParameterKind.LAYER_NORM_BIAS


def test_kinds_of_fastmri():
    _, half, model = build(Fastmri, "layernorm")
    kinds = half.parameter_kinds(model)
    assert kinds["conv.conv_layers.0.weight"] is ParameterKind.CONV_WEIGHT
    assert kinds["conv.conv_layers.1.weight"] is ParameterKind.LAYER_NORM_SCALE
    assert kinds["conv.conv_layers.5.bias"] is ParameterKind.LAYER_NORM_BIAS
    assert kinds["up_transpose_conv.0.layers.0.weight"] is ParameterKind.CONV_WEIGHT
    assert kinds["up_conv.1.1.bias"] is ParameterKind.BIAS


def test_kinds_of_ogbg():
    _, half, model = build(Ogbg)
    kinds = half.parameter_kinds(model)
    assert kinds["node_embedder.weight"] is ParameterKind.WEIGHT
    assert kinds["graph_network.1.update_edge_fn.dense_0.bias"] is ParameterKind.BIAS
    assert kinds["graph_network.1.update_edge_fn.norm_0.weight"] is ParameterKind.LAYER_NORM_SCALE


@every_variant
def test_output_parameters_end_in_the_logits(base, variant):
    """Two parameters, whose bias moves every logit by as much as it is moved itself."""
    workload, half, model = build(base, variant)
    outputs = half.output_parameters(model)
    parameters = dict(model.named_parameters())
    weight, bias = sorted(outputs, reverse=True)
    assert weight.removesuffix("weight") == bias.removesuffix("bias")
    batch = batch_of(workload)
    with torch.no_grad():
        before = forward(half, model, batch)
        parameters[bias].add_(1.0)
        torch.testing.assert_close(forward(half, model, batch), before + 1.0, rtol=0, atol=1e-4)


def test_loss_types():
    assert [base.loss_type for base in BASES] == [
        LossType.SIGMOID_CROSS_ENTROPY,
        LossType.MEAN_ABSOLUTE_ERROR,
        LossType.SIGMOID_CROSS_ENTROPY,
    ]


# Independent formulas for what has no golden file.


def test_layer_normed_dlrm_is_the_sheet_s_formula():
    workload, half, model = build(Criteo1tb, "layernorm")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    p = {name: array.detach().double().numpy() for name, array in model.named_parameters()}
    batch = batch_of(workload, size=3)

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]

    def layer(x, name, after):
        return norm(np.maximum(x @ p[f"{name}.weight"].T + p[f"{name}.bias"], 0), after)

    table = np.concatenate([p[f"embedding_chunk_{i}"] for i in range(4)])
    for row, logit in zip(batch["inputs"].double().numpy(), forward(half, model, batch), strict=True):
        d = layer(layer(row[:13], "bot_mlp.0", "bot_mlp.2"), "bot_mlp.3", "bot_mlp.5")
        vectors = [d, *(norm(table[int(number) % 256], "embed_ln") for number in row[13:])]
        products = [a @ b for i, a in enumerate(vectors) for b in vectors[i:]]
        top = layer(layer(np.array([*d, *products]), "top_mlp.0", "top_mlp.2"), "top_mlp.3", "top_mlp.5")
        expected = top @ p["top_mlp.7.weight"].T + p["top_mlp.7.bias"]
        np.testing.assert_allclose(logit.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_tanh_u_net_differs_from_the_base_in_its_activations_alone():
    """The base equals its golden vectors; with every leaky ReLU replaced it is the variant."""
    workload, half, tanh = build(Fastmri, "tanh")
    _, _, base = build(Fastmri)
    base.load_state_dict(tanh.state_dict())
    replaced = 0
    for module in list(base.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.LeakyReLU):
                setattr(module, name, torch.nn.Tanh())
                replaced += 1
    assert replaced == 2 * 5 + 2
    batch = batch_of(workload)
    assert torch.equal(forward(half, tanh, batch), forward(half, base, batch))


# Dropout and label smoothing.


@every_base
def test_default_dropout_is_the_published_one_and_off_in_evaluation(base):
    workload, half, model = build(base)
    batch = batch_of(workload)
    plain = forward(half, model, batch, train=True, dropout=0.0)
    assert torch.equal(forward(half, model, batch), plain)
    assert torch.equal(forward(half, model, batch, dropout=0.5), plain)
    default = forward(half, model, batch, train=True)
    assert torch.equal(default, plain) == (base is not Ogbg)


@every_base
def test_label_smoothing(base):
    """It is ignored where it means nothing; OGBG's moves every label by a task's share (spec: ogbg.md, 3)."""
    workload, half, model = build(base)
    batch = batch_of(workload)
    logits = forward(half, model, batch)
    plain, smoothed = half.loss(batch, logits).summed, half.loss(batch, logits, label_smoothing=0.2).summed
    if base is Ogbg:
        valid = batch["weights"].bool()
        pull = (0.2 * (batch["targets"] - 1 / 8) * logits)[valid].sum()
        torch.testing.assert_close(smoothed, plain + pull)
    else:
        assert smoothed == plain


# Evaluation: how a split is cut into batches, and padded, changes nothing.


def padded(batch, rows):
    """Return a batch with `rows` rows of zeros at its end, and weights that leave them out."""
    size = len(batch["targets"])
    batch = {name: torch.cat([array, torch.zeros(rows, *array.shape[1:])]) for name, array in batch.items()}
    return {**batch, "weights": (torch.arange(size + rows) < size).float()}


@pytest.mark.parametrize("base", [Criteo1tb, Fastmri])
@pytest.mark.parametrize("cuts", [[12], [5, 7], [1, 1, 10], [4, 4, 4]], ids=str)
def test_metrics_do_not_depend_on_the_batches(base, cuts):
    workload, half, model = build(base)
    whole = batch_of(workload, size=12)
    reference = half.evaluation()
    reference.update(model, whole)
    evaluation = half.evaluation()
    for part in zip(*(array.split(cuts) for array in whole.values()), strict=True):
        evaluation.update(model, padded(dict(zip(whole, part, strict=True)), rows=3))
    assert evaluation.examples == reference.examples == 12
    for name, value in reference.result().items():
        np.testing.assert_allclose(evaluation.result()[name], value, rtol=1e-6, err_msg=name)


# Random batches.


@pytest.mark.parametrize("preset", Criteo1tb.presets)
def test_random_clicks(preset):
    """The category numbers of the full preset pass float32's 2^24, as in the data, and are rounded."""
    config = Criteo1tb(preset).config
    batch = Criteo1tb(preset).random_batch(np.random.default_rng(0), 64)
    assert {name: (array.shape, str(array.dtype)) for name, array in batch.items()} == {
        "inputs": ((64, 39), "float32"),
        "targets": ((64,), "float32"),
        "weights": ((64,), "float32"),
    }
    categories = batch["inputs"][:, 13:]
    assert (categories == np.round(categories)).all()
    assert (categories >= 0).all()
    assert (categories <= np.array(config.field_sizes, np.float32)).all()
    assert set(batch["targets"]) == {0.0, 1.0}


@pytest.mark.parametrize(("preset", "size"), [("full", 320), ("mini", 40), ("tiny", 16)])
def test_random_slices(preset, size):
    batch = Fastmri(preset).random_batch(np.random.default_rng(0), 2)
    images, scalars = ((2, size, size), "float32"), ((2,), "float32")
    assert {name: (array.shape, str(array.dtype)) for name, array in batch.items()} == {
        "inputs": images,
        "targets": images,
        "mean": scalars,
        "std": scalars,
        "volume_max": scalars,
    }
