"""`ogbg` at published size equals the reference."""

import pytest
import torch
from golden_cases import (
    Case,
    check_double_precision,
    check_dropout,
    check_evaluation_logits_and_losses,
    check_training_gradients,
    golden_case,
)
from golden_files import assert_initial_values, assert_parameters, load_golden

from timetrial.workloads.ogbg.workload import Ogbg

VARIANTS = [None, "gelu", "silu", "model_size"]


def name_of(variant: str | None) -> str:
    return f"ogbg_{variant}" if variant else "ogbg"


def ogbg_case(shared, variant: str | None) -> Case:
    return golden_case(shared, name_of(variant), Ogbg("full", variant), renamed={"nodes": "inputs"})


@pytest.fixture(scope="module", params=VARIANTS, ids=name_of)
def case(request: pytest.FixtureRequest, shared) -> Case:
    return ogbg_case(shared, request.param)


def test_parameters(case):
    assert_parameters(case.model, case.golden)


def test_logits_and_losses(case):
    check_evaluation_logits_and_losses(case)


def test_gradients(case):
    check_training_gradients(case)


def test_dropout(case):
    check_dropout(case)


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_double_precision(shared, variant):
    check_double_precision(ogbg_case(shared, variant), rtol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_initial_values(shared, variant):
    torch.manual_seed(0)
    assert_initial_values(Ogbg("full", variant).torch().build_model(), load_golden(shared, name_of(variant)))
