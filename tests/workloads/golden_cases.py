"""The workloads at published size, filled and fed as the golden files say, and what is checked of each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from golden_files import (
    LOSS_TOLERANCE,
    Golden,
    Summary,
    assert_gradients,
    assert_loss,
    assert_sites,
    assert_summary,
    assert_updated_buffers,
    dropout_stand_in,
    fill,
    load_golden,
    normal,
)
from torch import Tensor, nn

from timetrial.api import Loss
from timetrial.workloads.base import TorchWorkload, Workload
from timetrial.workloads.registry import load_workload

NOISE_FACTOR = 5
"""Logits may differ by so many times the float32 rounding noise (golden/README.md, 5)."""
PADDING_FACTOR = 20
"""The same at positions of padding, where WMT's masks absorb some of a score's digits (ibid., 8)."""

GOLDEN = {
    "cifar": [None],
    "criteo1tb": [None, "test", "embed_init", "resnet"],
    "fastmri": [None, "model_size", "layernorm"],
    "finewebedu_lm": [None],
    "imagenet_resnet": [None, "silu", "large_bn_init"],
    "imagenet_vit": [None, "glu", "map"],
    "librispeech_conformer": [None, "attention_temperature", "layernorm", "gelu"],
    "librispeech_deepspeech": [None, "tanh", "norm_and_spec_aug"],
    "mnist": [None],
    "ogbg": [None, "gelu", "silu", "model_size"],
    "wmt": [None, "post_ln", "glu_tanh"],
}
"""Variants that have a golden file, by base workload."""

CRITEO_ROWS = 4096
"""Rows of the golden runs' tables, but for `test`, which has its own 65,536."""

Batch = dict[str, Tensor]


def file_name(base: str, variant: str | None) -> str:
    """Return the name of a workload's golden file."""
    return f"{base}_{variant}" if variant else base


def in_precision(batch: Batch, dtype: torch.dtype) -> Batch:
    """Return the batch with its floating-point arrays, values unchanged, in another precision."""
    return {name: array.to(dtype) if array.is_floating_point() else array for name, array in batch.items()}


@dataclass(kw_only=True)
class Case:
    """A filled model, its batch and its golden vectors."""

    golden: Golden
    half: TorchWorkload
    model: nn.Module
    batch: Batch
    """With weights."""
    valid: Tensor | None = None
    """Positions (n, tokens) of the logits that are not padding, where padding needs a tolerance of its own."""

    def forward(self, batch: Batch | None = None, *, train: bool = False, moving: bool = True, dropout: float = 0.0):
        """Run the model, in its own precision, on a batch, by default the golden one."""
        precision = next(self.model.parameters()).dtype
        batch = in_precision(self.batch if batch is None else batch, precision)
        return self.half.forward(self.model, batch, train=train, update_batch_norm=moving, dropout=dropout)

    def loss(self, combination: str, logits: Tensor) -> Loss:
        """Return the loss of one of the golden combinations of weights, smoothing and mixed labels."""
        batch = in_precision(self.batch, logits.dtype)
        if not combination.startswith("weights"):
            del batch["weights"]
        if combination.startswith("soft_0.3_roll1"):
            one_hot = F.one_hot(batch["targets"], logits.shape[-1]).to(logits)
            batch["targets"] = 0.3 * one_hot + 0.7 * one_hot.roll(1, dims=0)
        return self.half.loss(batch, logits, label_smoothing=0.1 if combination.endswith("ls0.1") else 0.0)

    def objective(self, logits: Tensor) -> Tensor:
        """Return the mean loss whose gradients the golden file has."""
        return self.loss(self.golden.content["train"]["loss_variant"], logits).mean

    @property
    def noise(self) -> float:
        """Rounding noise of the logits that mean something."""
        fp64 = self.golden.content["eval"]["fp64"]
        return fp64["max_abs_diff_vs_fp32" if self.valid is None else "max_abs_diff_vs_fp32_valid_only"]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Afterwards gradients are gone, and parameters and buffers as they were, in single precision."""
        before = [buffer.clone() for buffer in self.model.buffers()]
        try:
            yield
        finally:
            self.model.zero_grad()
            self.model.float()
            for buffer, value in zip(self.model.buffers(), before, strict=True):
                buffer.detach().copy_(value)


def golden_workload(base: str, variant: str | None) -> Workload[Any]:
    """Return a workload as the golden files have it: Criteo with a small table, speech without SpecAugment."""
    workload = load_workload(base, "full", variant)
    if base == "criteo1tb" and variant != "test":
        workload.config = replace(workload.config, table_rows=CRITEO_ROWS)
    if base.startswith("librispeech"):
        workload.config = replace(workload.config, spec_augment=None)
    return workload


def golden_case(shared: Path, base: str, variant: str | None = None) -> Case:
    """Build and fill the model of a workload."""
    golden = load_golden(shared, file_name(base, variant))
    half = golden_workload(base, variant).torch()
    model = half.build_model() if base not in {"imagenet_resnet", "imagenet_vit"} else _built_without_values(half)
    fill(model, golden)
    batch = golden_batch(base, golden)
    valid = batch["targets"] > 0 if base == "wmt" else None
    return Case(golden=golden, half=half, model=model, batch=batch, valid=valid)


def _built_without_values(half: TorchWorkload) -> nn.Module:
    """Drawing millions of truncated normals only to overwrite them would take most of the tests' time."""
    with torch.device("meta"):
        model = half.build_model()
    model = model.to_empty(device="cpu")
    for buffer in model.buffers():
        buffer.zero_()
    return model


# The batches (golden/README.md, 4).


def golden_batch(base: str, golden: Golden) -> Batch:
    """Return the golden batch with the names and types that the workload takes."""
    fields = golden.batch()
    if base == "ogbg":
        return {"inputs" if name == "nodes" else name: array for name, array in fields.items()}
    if base.startswith("librispeech"):
        return _speech_batch(fields)
    if base.startswith("imagenet"):
        shape = tuple(golden.content["inputs"]["inputs"]["shape"])
        images = golden_images(golden, "main", shape)
        assert_summary(images, golden.content["inputs"]["inputs"], golden.arrays, atol=1e-8)
        return {**fields, "inputs": images}
    return fields


def golden_images(golden: Golden, case: str, shape: tuple[int, ...]) -> Tensor:
    """Return the golden images of a case, float32."""
    return torch.from_numpy(normal(f"input:{golden.content['family']}:{case}:inputs", shape).astype(np.float32))


def _speech_batch(fields: Batch) -> Batch:
    """Return two utterances of 32,000 samples, the second ending at 24,000; the reference's paddings as lengths."""
    t = np.arange(32_000)
    hertz = np.array([[200.0], [300.0]])
    tones = 4000 * np.sin(2 * np.pi * hertz * t / 16_000) + 2000 * np.sin(2 * np.pi * 0.03 * t**2 / 16_000)
    sound = np.rint(tones + 500 * normal("input:librispeech:noise", (2, 32_000)))
    sound[1, 24_000:] = 0
    return {
        "inputs": torch.from_numpy(sound.astype(np.float32)),
        "input_lengths": torch.tensor([32_000, 24_000]),
        "targets": fields["targets"].long(),
        "target_lengths": (1 - fields["target_paddings"]).sum(dim=1).long(),
        "weights": fields["weights"],
    }


# The checks (golden/README.md, 5).


def assert_logits(case: Case, logits: Tensor, expected: Summary, *, noise: float | None = None) -> None:
    """Logits are the reference's, to `NOISE_FACTOR` times the rounding noise."""
    noise = case.noise if noise is None else noise
    factor = NOISE_FACTOR
    if case.valid is not None:
        assert_summary(logits[case.valid], expected["logits_valid_only"], case.golden.arrays, atol=factor * noise)
        factor = PADDING_FACTOR
    assert_summary(logits, expected["logits"], case.golden.arrays, atol=factor * noise)


@torch.no_grad()
def check_evaluation(case: Case) -> None:
    """Logits, and the loss for every combination of weights, smoothing and mixed labels, are the reference's."""
    content = case.golden.content
    logits = case.forward()
    assert_logits(case, logits, content["eval"])
    for combination, expected in content["loss"].items():
        assert_loss(case.loss(combination, logits), expected, case.golden.arrays)


def check_training(case: Case, *, gradient_rtol: float | None = None) -> None:
    """Training logits, loss, running statistics and gradients are the reference's."""
    train = case.golden.content["train"]
    with case.restored():
        logits = case.forward(train=True)
        differs = train["differs_from_eval"]
        noise = case.golden.noise("train") if differs else case.noise
        assert_logits(case, logits.detach(), train if differs else case.golden.content["eval"], noise=noise)
        assert_loss(case.loss(train["loss_variant"], logits), train["loss"], case.golden.arrays)
        if "updated_buffers" in train:
            assert_updated_buffers(case.model, case.golden)
        objective = case.objective(logits)
        np.testing.assert_allclose(objective.item(), train["objective"], rtol=LOSS_TOLERANCE)
        objective.backward()
        assert_gradients(case.model, case.golden, rtol=gradient_rtol)


@torch.no_grad()
def check_frozen_statistics(case: Case) -> None:
    """A training pass that must leave running statistics alone does, and gives the same logits."""
    with case.restored():
        before = {name: buffer.clone() for name, buffer in case.model.named_buffers()}
        frozen = case.forward(train=True, moving=False)
        for name, buffer in case.model.named_buffers():
            assert torch.equal(buffer, before[name]), name
        assert torch.equal(frozen, case.forward(train=True))


@torch.no_grad()
def check_dropout(case: Case, *, factor: float = 1.0) -> None:
    """Dropout stands where the reference's does, is off in evaluation, and on with the rate of the call.

    Logits and losses may differ by `factor` times what they may without dropout.
    """
    expected = case.golden.content["dropout_stand_in"]
    with case.restored(), dropout_stand_in() as sites:
        logits = case.forward(train=True, dropout=0.25)
    assert_sites(sites, case.golden)
    assert_logits(case, logits, expected, noise=factor * case.noise)
    for combination, summed in expected["loss"].items():
        found = case.loss(combination, logits).summed.item()
        np.testing.assert_allclose(found, summed, rtol=factor * LOSS_TOLERANCE)
    with dropout_stand_in() as sites:
        case.forward(dropout=0.25)
    assert not sites


def check_double_precision(
    case: Case, *, rtol: float, gradient_rtol: float = 1e-6, single: str | None = None, gradients: bool = True
) -> None:
    """In double precision logits agree to `rtol` of the largest, the objective, too, and maybe gradients.

    `single` is the name of a buffer that stays in single precision, as in the reference.
    """
    content = case.golden.content
    with case.restored():
        case.model.double()
        if single is not None:
            setattr(case.model, single, getattr(case.model, single).float())
        expected = content["eval"]["fp64"]
        logits = case.forward().detach()
        atol = rtol * expected["logits_max_abs"]
        if case.valid is not None:
            logits, expected = logits[case.valid], expected["valid_only"]
        flat = logits.flatten().numpy()
        sampled = flat[[(i * 1000003) % len(flat) for i in range(32)]]
        np.testing.assert_allclose(flat[:16], expected.get("first16", flat[:16]), rtol=0, atol=atol)
        np.testing.assert_allclose(sampled, expected.get("sample32", sampled), rtol=0, atol=atol)
        np.testing.assert_allclose(flat.sum(), expected["sum"], rtol=0, atol=atol * len(flat))
        np.testing.assert_allclose(np.linalg.norm(flat), expected["l2"], rtol=rtol)
        with torch.set_grad_enabled(gradients):
            objective = case.objective(case.forward(train=True))
        np.testing.assert_allclose(objective.item(), content["train"]["fp64"]["objective"], rtol=rtol)
        if gradients:
            objective.backward()
            assert_gradients(case.model, case.golden, precision="fp64", rtol=gradient_rtol)
