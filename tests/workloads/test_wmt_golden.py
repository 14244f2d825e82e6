"""What only the translation model has: packed rows, a table of positions, a temperature without a golden file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import GOLDEN, Case, assert_logits, check_double_precision, golden_case
from golden_files import assert_loss, assert_parameters

from timetrial.workloads.wmt.model_torch import Transformer
from timetrial.workloads.wmt.workload import Wmt

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=GOLDEN["wmt"], ids=str)
def case(request: pytest.FixtureRequest, shared: Path) -> Case:
    return golden_case(shared, "wmt", request.param)


def test_table_of_positions(case: Case) -> None:
    table, expected = case.model.pos_encoder.pe.double(), case.golden.content["buffers_initial"]["pos_encoder.pe"]
    np.testing.assert_allclose([table.sum().item(), table.norm().item()], [expected["sum"], expected["l2"]], rtol=1e-6)


@torch.no_grad()
def test_packed_rows(case: Case) -> None:
    expected = case.golden.content["extra"]["packed"]
    batch = {
        name: torch.tensor(summary["first64"], dtype=torch.int64).reshape(summary["shape"])
        for name, summary in expected["inputs"].items()
    }
    logits = case.forward(batch)
    assert_logits(replace(case, valid=batch["targets"] > 0), logits, expected)
    assert_loss(case.half.loss(batch, logits), expected["loss"], case.golden.arrays)


def test_double_precision(case: Case) -> None:
    """Only valid positions: at padding, masks of -1e10 do not absorb scores in double precision.

    The table of positions stays float32: its last bits depend on the machine's sine, so 1e-8 is what can agree.
    """
    check_double_precision(case, rtol=1e-8, gradients=False)


@torch.no_grad()
def test_attention_temperature(shared: Path) -> None:
    """It has no golden file; with a quarter of the queries' weights it must give the base's logits and losses."""
    base = golden_case(shared, "wmt")
    half = Wmt("full", "attention_temp").torch()
    model = Transformer(half.config)
    model.load_state_dict(base.model.state_dict())
    assert_parameters(model, base.golden)
    for name, parameter in model.named_parameters():
        if name.endswith("in_proj.weight"):
            parameter[: half.config.width].div_(4.0)
        elif name.endswith("q_proj.weight"):
            parameter.div_(4.0)
    hot = replace(base, half=half, model=model)
    logits = hot.forward()
    assert_logits(hot, logits, base.golden.content["eval"])
    expected = base.golden.content["loss"]["weights_ls0.1"]
    assert_loss(hot.loss("weights_ls0.1", logits), expected, base.golden.arrays)
