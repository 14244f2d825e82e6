"""The full-size language model equals the reference, tensor by tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_files import (
    assert_gradients,
    assert_initial_values,
    assert_loss,
    assert_parameters,
    assert_summary,
    dropout_stand_in,
    fill,
    load_golden,
)
from torch import Tensor

from timetrial.api import Batch
from timetrial.workloads.finewebedu_lm.model_torch import Decoder
from timetrial.workloads.finewebedu_lm.workload import FinewebeduLm

pytestmark = pytest.mark.slow


class Case:
    """The golden file, the full-size model filled by rule, and its PyTorch half."""

    def __init__(self, shared: Path) -> None:
        self.golden = load_golden(shared, "finewebedu_lm")
        self.expected: Any = self.golden.content
        self.workload = FinewebeduLm("full").torch()
        self.model = Decoder(self.workload.config)
        fill(self.model, self.golden)
        self.batch = self.golden.batch()
        self.unweighted = {name: array for name, array in self.batch.items() if name != "weights"}

    def forward(self, batch: Batch, *, train: bool = False) -> Tensor:
        return self.workload.forward(self.model, batch, train=train, update_batch_norm=True, dropout=0.25)


@pytest.fixture(scope="module")
def case(shared: Path) -> Case:
    return Case(shared)


@pytest.fixture
def noise(case: Case) -> float:
    return case.expected["eval"]["fp64"]["max_abs_diff_vs_fp32"]


def test_parameters_and_buffers(case: Case) -> None:
    assert_parameters(case.model, case.golden)
    assert len(list(case.model.parameters())) == case.expected["num_parameter_tensors"]
    [[name, shape, dtype, saved]] = case.expected["buffers"]
    [(our_name, buffer)] = case.model.named_buffers()
    assert (our_name, list(buffer.shape), str(buffer.dtype)) == (name, shape, f"torch.{dtype}")
    assert (name in case.model.state_dict()) is saved
    expected = case.expected["buffers_initial"][name]
    np.testing.assert_allclose(buffer.double().sum().item(), expected["sum"], rtol=1e-6)
    np.testing.assert_allclose(buffer.double().norm().item(), expected["l2"], rtol=1e-7)


@torch.no_grad()
def test_eval_logits_and_losses(case: Case, noise: float) -> None:
    logits = case.forward(case.batch)
    expected = case.expected["eval"]
    assert_summary(logits, expected["logits"], case.golden.arrays, atol=5 * noise)
    valid = logits[case.batch["weights"] > 0]
    assert_summary(valid, expected["logits_valid_only"], case.golden.arrays, atol=5 * noise)
    for name, loss in case.expected["loss"].items():
        batch = case.unweighted if name.startswith("no_weights") else case.batch
        smoothing = 0.1 if name.endswith("ls0.1") else 0.0
        ours = case.workload.loss(batch, logits, label_smoothing=smoothing)
        assert_loss(ours, loss, case.golden.arrays)


def test_training_pass_and_gradients(case: Case, noise: float) -> None:
    """Of the unweighted loss; a dropout rate is ignored."""
    case.model.zero_grad()
    with dropout_stand_in() as sites:
        logits = case.forward(case.unweighted, train=True)
    assert sites == []
    loss = case.workload.loss(case.unweighted, logits)
    loss.mean.backward()
    assert_loss(loss, case.expected["train"]["loss"], case.golden.arrays)
    assert_gradients(case.model, case.golden)
    case.model.zero_grad()
    assert_summary(logits.detach(), case.expected["eval"]["logits"], case.golden.arrays, atol=5 * noise)


@torch.no_grad()
def test_double_precision(case: Case) -> None:
    """The rotation stays in single precision, as in the reference."""
    expected = case.expected["eval"]["fp64"]
    case.model.double()
    case.model.freqs_cis = case.model.freqs_cis.float()
    try:
        logits = case.forward(case.batch)
    finally:
        case.model.float()
    flat = logits.flatten()
    sampled = flat[[(i * 1000003) % len(flat) for i in range(32)]]
    np.testing.assert_allclose(sampled, expected["sample32"], rtol=0, atol=1e-6)
    loss = case.workload.loss(case.batch, logits).summed.item()
    np.testing.assert_allclose(loss, expected["loss"]["weights"], rtol=1e-7)


@torch.no_grad()
def test_autocast(case: Case) -> None:
    """The benchmark once ran this model in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = case.forward(case.batch)
    expected = case.expected["extra"]["autocast_bf16"]
    assert str(logits.dtype) == expected["logits_dtype"]
    assert_summary(logits.float(), expected["logits"], case.golden.arrays, atol=0.05)


def test_initial_values(case: Case) -> None:
    torch.manual_seed(0)
    assert_initial_values(case.workload.build_model(), case.golden)
