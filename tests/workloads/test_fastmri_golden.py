"""`fastmri` at published size equals the reference."""

import numpy as np
import pytest
import torch
from golden_cases import (
    NOISE_FACTOR,
    Case,
    check_double_precision,
    check_dropout,
    check_evaluation_logits_and_losses,
    check_training_gradients,
    golden_case,
)
from golden_files import (
    LOSS_TOLERANCE,
    assert_initial_values,
    assert_parameters,
    assert_summary,
    load_golden,
    normal,
)

from timetrial.workloads.fastmri.workload import Fastmri

VARIANTS = [None, "model_size", "layernorm"]


def name_of(variant: str | None) -> str:
    return f"fastmri_{variant}" if variant else "fastmri"


@pytest.fixture(scope="module", params=VARIANTS, ids=name_of)
def case(request: pytest.FixtureRequest, shared) -> Case:
    return golden_case(shared, name_of(request.param), Fastmri("full", request.param))


def test_parameters(case):
    assert_parameters(case.model, case.golden)


def test_logits_and_losses(case):
    check_evaluation_logits_and_losses(case)


def test_gradients(case):
    check_training_gradients(case)


def test_dropout(case):
    check_dropout(case)


@pytest.mark.parametrize("size", [(1, 320, 320), (1, 50, 44)], ids=["size_320", "odd_50x44"])
def test_other_sizes(case, size):
    """50 x 44 does not halve evenly: its maps are extended by reflection on the way up."""
    key = "size_320" if size[1] == 320 else "odd_50x44"
    expected = case.golden.content["extra"][key]
    noise = normal(f"input:fastmri:{key}:inputs", size)
    clean = 0.5 * noise + 0.5 * normal(f"input:fastmri:{key}:targets", size)
    inputs, targets = (torch.from_numpy(image.clip(-6, 6).astype(np.float32)) for image in (noise, clean))
    with torch.inference_mode():
        logits = case.half.forward(case.model, {"inputs": inputs}, train=False, update_batch_norm=True, dropout=None)
        loss = case.half.loss({"targets": targets}, logits)
    assert_summary(logits, expected["logits"], case.golden.arrays, atol=NOISE_FACTOR * case.golden.noise())
    if "loss" in expected:
        summed = expected["loss"]["summed"]
        np.testing.assert_allclose(loss.summed.item(), summed, rtol=LOSS_TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_double_precision(shared, variant):
    check_double_precision(golden_case(shared, name_of(variant), Fastmri("full", variant)), rtol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_initial_values(shared, variant):
    torch.manual_seed(0)
    assert_initial_values(Fastmri("full", variant).torch().build_model(), load_golden(shared, name_of(variant)))
