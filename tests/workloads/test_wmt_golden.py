"""The full-size Transformer and its variants equal the reference, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_files import (
    Golden,
    assert_gradients,
    assert_initial_values,
    assert_loss,
    assert_parameters,
    assert_sites,
    assert_summary,
    dropout_stand_in,
    fill,
    load_golden,
)
from torch import Tensor

from timetrial.api import Batch
from timetrial.workloads.wmt.model_torch import Transformer
from timetrial.workloads.wmt.workload import Wmt

pytestmark = pytest.mark.slow


class Case:
    """A variant's golden file, its full-size model filled by rule, and its PyTorch half."""

    def __init__(self, shared: Path, variant: str | None) -> None:
        self.golden: Golden = load_golden(shared, "wmt" + (f"_{variant}" if variant else ""))
        self.expected: Any = self.golden.content
        self.workload = Wmt("full", variant).torch()
        self.model = Transformer(self.workload.config)
        fill(self.model, self.golden)
        self.batch = self.golden.batch()
        self.valid = self.batch["targets"] > 0

    def forward(self, batch: Batch, *, train: bool = False, dropout: float = 0.0) -> Tensor:
        return self.workload.forward(self.model, batch, train=train, update_batch_norm=True, dropout=dropout)

    def assert_logits(self, logits: Tensor, expected: Any, valid: Tensor, noise: float) -> None:
        assert_summary(logits[valid], expected["logits_valid_only"], self.golden.arrays, atol=5 * noise)
        assert_summary(logits, expected["logits"], self.golden.arrays, atol=20 * noise)


@pytest.fixture(scope="module", params=(None, "post_ln", "glu_tanh"))
def case(request: pytest.FixtureRequest, shared: Path) -> Iterator[Case]:
    return Case(shared, request.param)


@pytest.fixture
def noise(case: Case) -> float:
    return case.expected["eval"]["fp64"]["max_abs_diff_vs_fp32_valid_only"]


def test_parameters_and_buffers(case: Case) -> None:
    assert_parameters(case.model, case.golden)
    assert len(list(case.model.parameters())) == case.expected["num_parameter_tensors"]
    buffers = [[n, list(b.shape), str(b.dtype).removeprefix("torch."), True] for n, b in case.model.named_buffers()]
    assert buffers == case.expected["buffers"]
    table, expected = case.model.pos_encoder.pe.double(), case.expected["buffers_initial"]["pos_encoder.pe"]
    np.testing.assert_allclose([table.sum().item(), table.norm().item()], [expected["sum"], expected["l2"]], rtol=1e-6)


@torch.no_grad()
def test_eval_logits_and_losses(case: Case, noise: float) -> None:
    """Padding rows attend to padding evenly, as in the reference, so that unweighted losses agree too."""
    logits = case.forward(case.batch)
    case.assert_logits(logits, case.expected["eval"], case.valid, noise)
    without = {name: array for name, array in case.batch.items() if name != "weights"}
    for name, expected in case.expected["loss"].items():
        batch = without if name.startswith("no_weights") else case.batch
        smoothing = 0.1 if name.endswith("ls0.1") else 0.0
        assert_loss(case.workload.loss(batch, logits, label_smoothing=smoothing), expected, case.golden.arrays)


@torch.no_grad()
def test_packed_rows(case: Case, noise: float) -> None:
    expected = case.expected["extra"]["packed"]
    batch = {
        name: torch.tensor(summary["first64"], dtype=torch.int64).reshape(summary["shape"])
        for name, summary in expected["inputs"].items()
    }
    logits = case.forward(batch)
    case.assert_logits(logits, expected, batch["targets"] > 0, noise)
    assert_loss(case.workload.loss(batch, logits), expected["loss"], case.golden.arrays)


def test_training_pass_and_gradients(case: Case, noise: float) -> None:
    case.model.zero_grad()
    logits = case.forward(case.batch, train=True)
    loss = case.workload.loss(case.batch, logits)
    loss.mean.backward()
    assert_loss(loss, case.expected["train"]["loss"], case.golden.arrays)
    np.testing.assert_allclose(loss.mean.item(), case.expected["train"]["objective"], rtol=2e-6)
    assert_gradients(case.model, case.golden)
    case.model.zero_grad()
    with torch.no_grad():
        case.assert_logits(logits, case.expected["eval"], case.valid, noise)


@torch.no_grad()
def test_dropout_sites(case: Case, noise: float) -> None:
    with dropout_stand_in() as sites:
        logits = case.forward(case.batch, train=True, dropout=0.25)
    assert_sites(sites, case.golden)
    expected = case.expected["dropout_stand_in"]
    case.assert_logits(logits, expected, case.valid, noise)
    summed = case.workload.loss(case.batch, logits).summed.item()
    np.testing.assert_allclose(summed, expected["loss"]["weights"], rtol=2e-6)


@torch.no_grad()
def test_double_precision(case: Case) -> None:
    """Only valid positions: at padding, masks of -1e10 do not absorb scores in double precision.

    The table of positions stays float32: its last bits depend on the machine's sine, so 1e-7 is what can agree.
    """
    expected = case.expected["eval"]["fp64"]
    case.model.double()
    try:
        logits = case.forward(case.batch)
    finally:
        case.model.float()
    flat = logits[case.valid].flatten()
    sampled = flat[[(i * 1000003) % len(flat) for i in range(32)]]
    np.testing.assert_allclose(sampled, expected["valid_only"]["sample32"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(flat.norm().item(), expected["valid_only"]["l2"], rtol=1e-8)
    loss = case.workload.loss(case.batch, logits).summed.item()
    np.testing.assert_allclose(loss, expected["loss"]["weights"], rtol=1e-8)


def test_initial_values(case: Case) -> None:
    torch.manual_seed(0)
    assert_initial_values(case.workload.build_model(), case.golden)


@torch.no_grad()
def test_attention_temperature(shared: Path) -> None:
    """It has no golden file; with a quarter of the queries' weights it must give the base's logits and losses."""
    base = Case(shared, None)
    base.workload = Wmt("full", "attention_temp").torch()
    base.model = Transformer(base.workload.config)
    fill(base.model, base.golden)
    for name, parameter in base.model.named_parameters():
        if name.endswith("in_proj.weight"):
            parameter[: base.workload.config.width].div_(4.0)
        elif name.endswith("q_proj.weight"):
            parameter.div_(4.0)
    assert_parameters(base.model, base.golden)
    logits, expected = base.forward(base.batch), base.expected["eval"]
    noise = expected["fp64"]["max_abs_diff_vs_fp32_valid_only"]
    base.assert_logits(logits, expected, base.valid, noise)
    loss = base.workload.loss(base.batch, logits, label_smoothing=0.1)
    assert_loss(loss, base.expected["loss"]["weights_ls0.1"], base.golden.arrays)
