"""What only the language model has: no dropout, a table of rotations, a run in bfloat16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import Case, assert_logits, check_double_precision, golden_case
from golden_files import assert_summary, dropout_stand_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def case(shared: Path) -> Case:
    return golden_case(shared, "finewebedu_lm")


def test_table_of_rotations(case: Case) -> None:
    [[name, shape, dtype, saved]] = case.golden.content["buffers"]
    [(our_name, buffer)] = case.model.named_buffers()
    assert (our_name, list(buffer.shape), str(buffer.dtype)) == (name, shape, f"torch.{dtype}")
    assert (name in case.model.state_dict()) is saved
    expected = case.golden.content["buffers_initial"][name]
    np.testing.assert_allclose(buffer.double().sum().item(), expected["sum"], rtol=1e-6)
    np.testing.assert_allclose(buffer.double().norm().item(), expected["l2"], rtol=1e-7)


@torch.no_grad()
def test_valid_logits_and_no_dropout(case: Case) -> None:
    with dropout_stand_in() as sites:
        logits = case.forward(train=True, dropout=0.25)
    assert sites == []
    assert_logits(case, logits, case.golden.content["eval"])
    valid = logits[case.batch["weights"] > 0]
    expected = case.golden.content["eval"]["logits_valid_only"]
    assert_summary(valid, expected, case.golden.arrays, atol=5 * case.noise)


def test_double_precision(case: Case) -> None:
    """The rotation stays in single precision, as in the reference."""
    check_double_precision(case, rtol=2e-7, single="freqs_cis", gradients=False)


@torch.no_grad()
def test_autocast(case: Case) -> None:
    """The benchmark once ran this model in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = case.forward()
    expected = case.golden.content["extra"]["autocast_bf16"]
    assert str(logits.dtype) == expected["logits_dtype"]
    assert_summary(logits.float(), expected["logits"], case.golden.arrays, atol=0.05)
