"""A workload at published size, filled as the golden files say, and what is checked of every such workload."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_files import (
    Golden,
    assert_gradients,
    assert_loss,
    assert_sites,
    assert_summary,
    dropout_stand_in,
    fill,
    load_golden,
)
from torch import Tensor, nn

from timetrial.workloads.base import TorchWorkload, Workload

NOISE_FACTOR = 5
"""Logits may differ by so many times the float32 rounding noise (golden/README.md, 5)."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A filled model and its golden vectors."""

    golden: Golden
    half: TorchWorkload
    model: nn.Module
    batch: dict[str, Tensor]

    @property
    def noise(self) -> float:
        return NOISE_FACTOR * self.golden.noise()

    def forward(self, *, train: bool = False, update_batch_norm: bool = True, dropout: float = 0.0) -> Tensor:
        return self.half.forward(
            self.model, self.batch, train=train, update_batch_norm=update_batch_norm, dropout=dropout
        )

    def backward(self, weights: str) -> None:
        """Set the gradients of the golden objective; `weights` is the name of the loss's combination."""
        self.model.zero_grad()
        loss = self.half.loss(batch_for(self.batch, weights), self.forward(train=True))
        loss.mean.backward()


def golden_case(shared: Path, name: str, workload: Workload[Any], renamed: dict[str, str] | None = None) -> Case:
    """Build and fill the model of a workload; `renamed` maps the golden file's input fields to ours."""
    golden = load_golden(shared, name)
    half = workload.torch()
    model = half.build_model()
    fill(model, golden)
    batch = {(renamed or {}).get(field, field): array for field, array in golden.batch().items()}
    return Case(golden=golden, half=half, model=model, batch=batch)


def widened(case: Case) -> Case:
    """Return the case in double precision."""
    batch = {name: array.double() if array.is_floating_point() else array for name, array in case.batch.items()}
    return Case(golden=case.golden, half=case.half, model=case.model.double(), batch=batch)


def batch_for(batch: dict[str, Tensor], combination: str) -> dict[str, Tensor]:
    """Return the batch without weights if the loss's combination is called so."""
    return {name: array for name, array in batch.items() if combination.startswith("weights") or name != "weights"}


def check_evaluation_logits_and_losses(case: Case) -> None:
    """Logits, and the loss for every combination of weights and label smoothing, are the reference's."""
    with torch.inference_mode():
        logits = case.forward()
        assert_summary(logits, case.golden.content["eval"]["logits"], case.golden.arrays, atol=case.noise)
        for combination, expected in case.golden.content["loss"].items():
            smoothing = 0.1 if combination.endswith("ls0.1") else 0.0
            loss = case.half.loss(batch_for(case.batch, combination), logits, label_smoothing=smoothing)
            assert_loss(loss, expected, case.golden.arrays)


def check_training_gradients(case: Case) -> None:
    """The training pass without dropout has the evaluation's logits, and the reference's gradients."""
    assert not case.golden.content["train"]["differs_from_eval"]
    torch.testing.assert_close(case.forward(train=True), case.forward(), rtol=0, atol=0)
    case.backward(case.golden.content["train"]["loss_variant"])
    assert_gradients(case.model, case.golden)


def check_double_precision(case: Case, *, rtol: float) -> None:
    """In double precision logits agree to `rtol` of the largest, gradients to 1e-6. Changes the model."""
    wide = widened(case)
    expected = case.golden.content["eval"]["fp64"]
    logits = wide.forward().detach().flatten().numpy()
    atol = rtol * expected["logits_max_abs"]
    first = expected["first16"]
    np.testing.assert_allclose(logits[: len(first)], first, rtol=0, atol=atol)
    np.testing.assert_allclose(logits.sum(), expected["sum"], rtol=0, atol=atol * len(logits))
    np.testing.assert_allclose(np.linalg.norm(logits), expected["l2"], rtol=rtol)
    wide.backward(case.golden.content["train"]["loss_variant"])
    assert_gradients(wide.model, case.golden, precision="fp64")


def check_dropout(case: Case) -> None:
    """Dropout stands where the reference's does, is off in evaluation, and on with the rate of the call."""
    expected = case.golden.content["dropout_stand_in"]
    with dropout_stand_in() as sites:
        logits = case.forward(train=True, dropout=0.25)
    assert_sites(sites, case.golden)
    assert_summary(logits, expected["logits"], case.golden.arrays, atol=case.noise)
    for combination, summed in expected["loss"].items():
        loss = case.half.loss(batch_for(case.batch, combination), logits)
        np.testing.assert_allclose(loss.summed.item(), summed, rtol=2e-6)
    with dropout_stand_in() as sites:
        case.forward(train=False, dropout=0.25)
    assert not sites
