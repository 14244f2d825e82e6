"""ViT-S/16 and its variants equal the public benchmark's (golden/imagenet_vit*.json)."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from golden_classifiers import Case, assert_eval_equal, assert_fp64_equal, load_case, without_weights
from golden_files import (
    assert_gradients,
    assert_initial_values,
    assert_loss,
    assert_parameters,
    assert_sites,
    assert_summary,
    dropout_stand_in,
    load_golden,
)

from timetrial.workloads.imagenet_vit.workload import ImagenetVit

VARIANTS = pytest.mark.parametrize("variant", [None, "glu", "map"])


def golden_name(variant):
    return f"imagenet_vit_{variant}" if variant else "imagenet_vit"


@pytest.fixture(scope="module", params=[None, "glu", "map"], ids=["base", "glu", "map"])
def filled(request, shared) -> Case:
    return load_case(shared, ImagenetVit("full", request.param), golden_name(request.param), (2, 3, 64, 96))


@pytest.fixture
def case(filled) -> Case:
    return Case(golden=filled.golden, half=filled.half, model=deepcopy(filled.model), batch=dict(filled.batch))


@VARIANTS
def test_parameters_are_the_reference_s(shared, variant):
    golden = load_golden(shared, golden_name(variant))
    half = ImagenetVit("full", variant).torch()
    with torch.device("meta"):
        model = half.build_model()
    assert_parameters(model, golden)
    assert [name for name, _ in model.named_buffers()] == golden.content["buffers"] == []


def test_evaluation(case):
    assert_eval_equal(case)


def test_training_pass(case):
    golden, expected = case.golden, case.golden.content["train"]
    logits = case.forward(train=True)
    loss = case.half.loss(without_weights(case.batch), logits)
    assert_loss(loss, expected["loss"], golden.arrays)
    np.testing.assert_allclose(case.backward(logits).item(), expected["objective"], rtol=2e-6)
    assert_gradients(case.model, golden)


def test_dropout_sites(case):
    golden, expected = case.golden, case.golden.content["dropout_stand_in"]
    with dropout_stand_in() as sites:
        logits = case.forward(train=True, dropout=0.25)
    assert_sites(sites, golden)
    assert_summary(logits, expected["logits"], golden.arrays, atol=5 * golden.noise())
    loss = case.half.loss(without_weights(case.batch), logits)
    np.testing.assert_allclose(loss.summed.item(), expected["loss"]["no_weights"], rtol=2e-6)


def test_double_precision(case):
    case.model.double()
    assert_fp64_equal(case, rtol=1e-6)
    assert_gradients(case.model, case.golden, precision="fp64")


@VARIANTS
def test_initial_values(shared, variant):
    torch.manual_seed(0)
    model = ImagenetVit("full", variant).torch().build_model()
    assert_initial_values(model, load_golden(shared, golden_name(variant)))
