"""Accuracy and softmax cross entropy: golden/metrics.json, other formulas, splits into batches, odd inputs."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from timetrial.workloads.imagenet import random_mixed_images
from timetrial.workloads.imagenet_resnet.workload import ImagenetResnet
from timetrial.workloads.losses import softmax_cross_entropy
from timetrial.workloads.metrics.classification import ClassificationEvaluation


class Echo(nn.Module):
    """A model whose logits are its inputs."""

    def forward(self, inputs):
        return inputs


def evaluate(batches):
    evaluation = ClassificationEvaluation(ImagenetResnet("tiny").torch())
    for batch in batches:
        evaluation.update(Echo(), batch)
    return evaluation


def golden_metrics(shared):
    return json.loads((shared / "golden" / "metrics.json").read_text())


LOSSES = [
    f"imagenet_{kind}_ls{smoothing}"
    for kind in ("no_weights", "weights", "soft_targets")
    for smoothing in ("0.0", "0.1")
]


@pytest.mark.parametrize("name", LOSSES)
def test_loss_equals_the_reference(shared, name):
    expected = golden_metrics(shared)["losses"][name]
    inputs = expected["inputs"]
    weights = torch.tensor(inputs["weights"]) if inputs.get("weights") else None
    loss = softmax_cross_entropy(
        torch.tensor(inputs["logits"]),
        torch.tensor(inputs["targets"]),
        weights,
        label_smoothing=inputs["label_smoothing"],
    )
    np.testing.assert_allclose(loss.summed.item(), expected["summed"], rtol=2e-6)
    assert loss.n_valid.item() == expected["n_valid_examples"]
    np.testing.assert_allclose(loss.per_example.numpy(), expected["per_example"], rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["unweighted", "weighted"])
def test_accuracy_equals_the_reference(shared, kind):
    golden = golden_metrics(shared)["classification"]
    batch = {"inputs": torch.tensor(golden["logits"]), "targets": torch.tensor(golden["labels"])}
    if kind == "weighted":
        batch["weights"] = torch.tensor(golden["weights"])
    evaluation, expected = evaluate([batch]), golden[kind]
    result = evaluation.result()
    assert evaluation.examples == expected["num_examples"]
    np.testing.assert_allclose(result["accuracy"], expected["accuracy"], rtol=1e-6)
    np.testing.assert_allclose(result["loss"], expected["loss_summed"] / expected["num_examples"], rtol=2e-6)


def test_smoothed_loss_of_two_classes_by_hand():
    # Probabilities 3/4 and 1/4; smoothing 0.2 asks for 0.9 and 0.1.
    logits = torch.tensor([[math.log(3.0), 0.0]])
    expected = -0.9 * math.log(0.75) - 0.1 * math.log(0.25)
    hard = softmax_cross_entropy(logits, torch.tensor([0]), label_smoothing=0.2)
    soft = softmax_cross_entropy(logits, torch.tensor([[1.0, 0.0]]), label_smoothing=0.2)
    assert hard.summed.item() == pytest.approx(expected, rel=1e-6)
    assert soft.summed.item() == pytest.approx(expected, rel=1e-6)


@given(weight=st.floats(0, 1), smoothing=st.floats(0, 0.9), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_mixed_targets_mix_the_losses(weight, smoothing, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    first = torch.randint(7, (4,), generator=generator)
    second = first.roll(1)
    one_hot = torch.eye(7, dtype=torch.float64)
    mixed = weight * one_hot[first] + (1 - weight) * one_hot[second]
    loss = softmax_cross_entropy(logits, mixed, label_smoothing=smoothing)
    parts = [softmax_cross_entropy(logits, targets, label_smoothing=smoothing) for targets in (first, second)]
    expected = weight * parts[0].per_example + (1 - weight) * parts[1].per_example
    torch.testing.assert_close(loss.per_example, expected)


@given(
    cuts=st.lists(st.integers(1, 29), max_size=5, unique=True),
    padding=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_any_split_into_batches_gives_the_same_metrics(cuts, padding, seed):
    generator = torch.Generator().manual_seed(seed)
    logits, targets = torch.randn(30, 5, generator=generator), torch.randint(5, (30,), generator=generator)
    whole = evaluate([{"inputs": logits, "targets": targets}])
    batches = [
        {"inputs": x, "targets": y}
        for x, y in zip(logits.tensor_split(sorted(cuts)), targets.tensor_split(sorted(cuts)), strict=True)
    ]
    last = batches[-1]
    kept = len(last["targets"])
    batches[-1] = {
        "inputs": torch.cat([last["inputs"], torch.zeros(padding, 5)]),
        "targets": torch.cat([last["targets"], torch.zeros(padding, dtype=torch.int64)]),
        "weights": torch.cat([torch.ones(kept), torch.zeros(padding)]),
    }
    split = evaluate(batches)
    assert split.examples == whole.examples == 30
    assert split.result() == pytest.approx(whole.result(), rel=1e-6)


def test_logits_that_are_not_finite_count_as_wrong():
    logits = torch.tensor([[torch.nan, 0.0], [2.0, 0.0]])
    result = evaluate([{"inputs": logits, "targets": torch.tensor([0, 0])}]).result()
    assert result["accuracy"] == 0.5
    assert math.isnan(result["loss"])


def test_mixed_targets_count_as_their_likeliest_class():
    logits = torch.tensor([[3.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    targets = torch.tensor([[0.7, 0.3, 0.0], [0.3, 0.0, 0.7]])
    assert evaluate([{"inputs": logits, "targets": targets}]).result()["accuracy"] == 0.5


def test_labels_out_of_range_are_refused():
    with pytest.raises(IndexError, match="out of bounds"):
        softmax_cross_entropy(torch.zeros(2, 3), torch.tensor([0, 3]))


def test_random_mixing_is_that_of_mixup(shared):
    golden = json.loads((shared / "golden" / "utils.json").read_text())["mixup_fixed_weight"]

    class Fixed:
        """A generator that draws what the golden file was made with."""

        def standard_normal(self, shape, dtype):
            return np.array(golden["inputs"], dtype=dtype)

        def integers(self, low, high, size):
            return np.array(golden["targets"])

        def beta(self, a, b):
            assert [a, b] == golden["beta_parameters"]
            return golden["weight"]

    batch = random_mixed_images(Fixed(), 3, image_size=2, classes=1000)
    np.testing.assert_allclose(batch["inputs"], golden["mixed_inputs"], rtol=1e-6)
    for row, expected in zip(batch["targets"], golden["mixed_targets_nonzero"], strict=True):
        found = {int(label): row[label] for label in np.flatnonzero(row)}
        assert found == pytest.approx({int(label): value for label, value in expected}, rel=1e-6)
