"""ResNet-50 and its variants equal the public benchmark's (golden/imagenet_resnet*.json)."""

from copy import deepcopy

import pytest
import torch
from golden_classifiers import Case, assert_eval_equal, assert_fp64_equal, load_case, without_weights
from golden_files import (
    assert_gradients,
    assert_initial_values,
    assert_loss,
    assert_parameters,
    assert_summary,
    assert_updated_buffers,
    load_golden,
)

from timetrial.workloads.imagenet_resnet.workload import ImagenetResnet


def golden_name(variant):
    return f"imagenet_resnet_{variant}" if variant else "imagenet_resnet"


@pytest.fixture(scope="module", params=[None, "silu"], ids=["base", "silu"])
def filled(request, shared) -> Case:
    workload = ImagenetResnet("full", request.param)
    return load_case(shared, workload, golden_name(request.param), (4, 3, 96, 64))


@pytest.fixture
def case(filled) -> Case:
    return Case(golden=filled.golden, half=filled.half, model=deepcopy(filled.model), batch=dict(filled.batch))


@pytest.mark.parametrize("variant", [None, "silu", "large_bn_init"])
def test_parameters_and_buffers_are_the_reference_s(shared, variant):
    golden = load_golden(shared, golden_name(variant))
    half = ImagenetResnet("full", variant).torch()
    with torch.device("meta"):
        model = half.build_model()
    assert_parameters(model, golden)
    buffers = [[name, list(b.shape), str(b.dtype).removeprefix("torch."), True] for name, b in model.named_buffers()]
    assert buffers == golden.content["buffers"]


def test_evaluation(case):
    assert_eval_equal(case)


def test_training_pass_moves_running_statistics(case):
    golden, expected = case.golden, case.golden.content["train"]
    logits = case.forward(train=True)
    assert_summary(logits, expected["logits"], golden.arrays, atol=5 * golden.noise("train"))
    assert_loss(case.half.loss(without_weights(case.batch), logits), expected["loss"], golden.arrays)
    assert_updated_buffers(case.model, golden)


def test_training_pass_can_leave_running_statistics_alone(case):
    before = {name: buffer.clone() for name, buffer in case.model.named_buffers()}
    frozen = case.forward(train=True, update_batch_norm=False)
    for name, buffer in case.model.named_buffers():
        assert torch.equal(buffer, before[name]), name
    assert torch.equal(frozen, case.forward(train=True))


def test_float32_gradients(case):
    case.backward(case.forward(train=True))
    # A handful of millions of ReLUs see inputs within rounding of zero, and which side they fall on depends on the
    # machine's kernels: in float64, and where the activation has no kink, the agreement is far closer.
    has_kinks = case.golden.content["workload"] == "imagenet_resnet"
    assert_gradients(case.model, case.golden, rtol=5e-3 if has_kinks else 1e-5)


def test_double_precision(case):
    case.model.double()
    assert_fp64_equal(case, rtol=1e-9)
    assert_gradients(case.model, case.golden, precision="fp64", rtol=1e-9)


@pytest.mark.parametrize("variant", [None, "large_bn_init"])
def test_initial_values(shared, variant):
    torch.manual_seed(0)
    model = ImagenetResnet("full", variant).torch().build_model()
    assert_initial_values(model, load_golden(shared, golden_name(variant)))
