"""Structural similarity and mean average precision: the golden vectors, hand-made cases, independent formulas."""

import json

import numpy as np
import pytest
import torch
from golden_files import assert_loss
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial.errors import UserError
from timetrial.workloads.criteo1tb.workload import Criteo1tb
from timetrial.workloads.fastmri.workload import Fastmri
from timetrial.workloads.metrics.average_precision import average_precisions
from timetrial.workloads.metrics.ssim import WINDOW, _window_means, structural_similarity
from timetrial.workloads.ogbg.workload import Ogbg


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden"
    with np.load(folder / "metrics.npz") as arrays:
        return json.loads((folder / "metrics.json").read_text()), dict(arrays)


class Fixed:
    """A workload whose model returns the same logits for every batch of the same size."""

    def __init__(self, half, logits):
        self.half, self.logits = half, torch.as_tensor(logits)

    def forward(self, model, batch, *, train, update_batch_norm, dropout):
        assert not train
        return self.logits

    def loss(self, batch, logits, *, label_smoothing=0.0):
        return self.half.loss(batch, logits, label_smoothing=label_smoothing)


def evaluate(half, logits, batch):
    """Evaluate given logits with the workload's own evaluation."""
    evaluation = type(half.evaluation())(Fixed(half, logits))
    evaluation.update(torch.nn.Identity(), {name: torch.as_tensor(array) for name, array in batch.items()})
    return evaluation.result(), evaluation.examples


# Structural similarity.


def rescaled(images, mean, std):
    n = len(images)
    mean = np.zeros(n) if mean is None else np.array(mean)
    std = np.ones(n) if std is None else np.array(std)
    return torch.from_numpy(images * std[:, None, None] + mean[:, None, None])


@pytest.mark.parametrize("name", ["default", "scaled", "identical", "negated", "smooth_image"])
def test_golden_similarity(golden, name):
    """Equal to the reference in float64; its float32 figures differ by their rounding."""
    content, arrays = golden
    expected = content["ssim"][name]
    images, references = (
        rescaled(arrays[f"ssim_{name}_{part}"].astype(np.float64), expected["mean"], expected["std"])
        for part in ("logits", "targets")
    )
    data_range = torch.tensor([span or 1.0 for span in expected["volume_max"] or [1.0] * len(images)])
    ours = structural_similarity(images, references, data_range)
    np.testing.assert_allclose(ours, expected["ssim_fp64"], rtol=1e-9)
    np.testing.assert_allclose(ours, expected["ssim"], rtol=2e-6)


def test_evaluation_restores_units_and_replaces_a_maximum_of_zero(golden):
    content, arrays = golden
    expected = content["ssim"]["scaled"]
    batch = {key: np.array(expected[key], np.float32) for key in ("mean", "std", "volume_max")}
    batch["targets"] = arrays["ssim_scaled_targets"]
    half = Fastmri("tiny").torch()
    result, examples = evaluate(half, arrays["ssim_scaled_logits"], batch)
    assert examples == 3
    np.testing.assert_allclose(result["ssim"], np.mean(expected["ssim_fp64"]), rtol=1e-6)
    np.testing.assert_allclose(
        result["loss"], np.abs(arrays["ssim_scaled_logits"] - batch["targets"]).mean(), rtol=1e-6
    )
    weighted, examples = evaluate(half, arrays["ssim_scaled_logits"], {**batch, "weights": np.array([1.0, 0, 1])})
    assert examples == 2
    np.testing.assert_allclose(weighted["ssim"], np.mean(expected["ssim_fp64"][::2]), rtol=1e-6)


def test_window_means_are_the_uniform_filter_inside(golden):
    _, arrays = golden
    reach = WINDOW // 2
    means = _window_means(torch.from_numpy(arrays["uniform_filter_input"]).double()[None])[0]
    expected = arrays["uniform_filter_output"][reach:-reach, reach:-reach]
    np.testing.assert_allclose(means, expected, rtol=0, atol=1e-6)


def test_similarity_is_the_formula_at_one_window():
    """An image of one window has one value, which the paper's equation 13 gives from moments."""
    x, y = np.random.default_rng(0).normal(size=(2, WINDOW, WINDOW))
    covariance = np.cov(x.ravel(), y.ravel())
    c1, c2 = (0.01 * 3) ** 2, (0.03 * 3) ** 2
    expected = (2 * x.mean() * y.mean() + c1) * (2 * covariance[0, 1] + c2)
    expected /= (x.mean() ** 2 + y.mean() ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2)
    ours = structural_similarity(torch.from_numpy(x)[None], torch.from_numpy(y)[None], torch.tensor([3.0]))
    np.testing.assert_allclose(ours, [expected], rtol=1e-9)


# Mean average precision.


def test_golden_average_precision(golden):
    content, arrays = golden
    expected = content["mean_average_precision"]
    scores = 1 / (1 + np.exp(-arrays["map_logits"]))
    labels, labelled = arrays["map_labels"], arrays["map_weights"] != 0

    main = average_precisions(scores, labels, labelled)
    known = [np.nan if precision is None else precision for precision in expected["main"]["per_task_ap"]]
    np.testing.assert_allclose(main, known, rtol=1e-6)
    np.testing.assert_allclose(np.nanmean(main), expected["main"]["mean_average_precision"], rtol=1e-6)

    padded = labels.copy()
    padded[-2:, 5] = 0
    changed = average_precisions(scores, padded, labelled)
    assert changed[5] == expected["padding_counts_as_negative"]["per_task_ap_task5"] == 1
    np.testing.assert_allclose(
        np.nanmean(changed), expected["padding_counts_as_negative"]["mean_average_precision"], rtol=1e-6
    )


def graph_batch(labels, mask):
    """A batch of graphs with one node each, followed by a padding graph."""
    labels, mask = np.array(labels, np.float32), np.array(mask, bool)
    tasks = labels.shape[1]
    return {
        "targets": np.concatenate([labels, np.zeros((1, tasks), np.float32)]),
        "weights": np.concatenate([mask, np.zeros((1, tasks), bool)]),
        "n_node": np.ones(len(labels) + 1, np.int64),
    }


def test_golden_evaluation_of_two_graphs(golden):
    """The golden case gives its losses by hand; ours come from the logits."""
    case = golden[0]["ogbg_eval_metrics_small"]
    logits = np.array([*case["logits"], [0, 0]], np.float32)
    result, examples = evaluate(Ogbg("tiny").torch(), logits, graph_batch(case["labels"], case["mask"]))
    assert examples == 2
    assert result["mean_average_precision"] == case["result"]["mean_average_precision"]
    assert result["accuracy"] == case["result"]["accuracy"]
    np.testing.assert_allclose(
        result["loss"], np.mean([np.log1p(np.exp(-1)), np.log1p(np.exp(-1)), np.log1p(np.exp(-0.5))]), rtol=1e-6
    )


def test_a_task_whose_labels_are_all_1_counts_and_one_without_a_1_does_not():
    batch = graph_batch([[1, 0, 1], [1, 0, 0], [1, 0, 0]], [[True] * 3] * 3)
    logits = np.array([[0, 0, 2], [1, 1, 3], [2, 2, 1], [0, 0, 0]], np.float32)
    result, _ = evaluate(Ogbg("tiny").torch(), logits, batch)
    assert result["mean_average_precision"] == (1 + 0.5) / 2


def test_no_task_counts(golden):
    assert golden[0]["mean_average_precision"]["all_tasks_skipped"]["result"] == "nan"
    batch = graph_batch([[0, 0]], [[True, True]])
    result, _ = evaluate(Ogbg("tiny").torch(), np.zeros((2, 2), np.float32), batch)
    assert np.isnan(result["mean_average_precision"])


@pytest.mark.parametrize("graph", [0, 1])
def test_a_score_that_is_not_a_number_says_nothing(graph):
    """Neither ranked nor right, whatever its label; where there is no label it does not matter."""
    batch = graph_batch([[1, 1], [0, 0], [1, 1]], [[True, graph != 0], [True, graph != 1], [True, True]])
    logits = np.array([[1, 1], [-5, -5], [3, 3], [0, 0]], np.float32)
    logits[graph, 1] = np.nan
    assert evaluate(Ogbg("tiny").torch(), logits, batch)[0]["mean_average_precision"] == 1
    logits[graph, 0] = np.nan
    result, _ = evaluate(Ogbg("tiny").torch(), logits, batch)
    assert np.isnan(result["mean_average_precision"])
    assert np.isnan(result["loss"])
    assert result["accuracy"] == 4 / 5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_average_precision_is_the_mean_precision_at_the_positives(seed):
    """Without ties: at each labelled positive, the share of positives among what is ranked no lower."""
    random = np.random.default_rng(seed)
    scores = random.permutation(12)[:, None] / 12
    labels = (random.random((12, 1)) < 0.4).astype(float)
    labelled = random.random((12, 1)) < 0.8
    ranked = labels[labelled][np.argsort(-scores[labelled])]
    precisions = [ranked[: place + 1].mean() for place in np.flatnonzero(ranked)]
    (ours,) = average_precisions(scores, labels * labelled, labelled)
    if precisions and (labels * labelled == 0).any():
        np.testing.assert_allclose(ours, np.mean(precisions), rtol=1e-12)
    else:
        assert np.isnan(ours)


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 10))
def test_average_precision_with_ties_is_scikit_learn_s(seed, rows, values):
    from sklearn.metrics import average_precision_score

    random = np.random.default_rng(seed)
    scores = random.integers(0, values, (rows, 1)) / values
    labels = (random.random((rows, 1)) < 0.3).astype(float)
    (ours,) = average_precisions(scores, labels, np.ones((rows, 1), bool))
    if 0 < labels.sum() < rows:
        np.testing.assert_allclose(ours, average_precision_score(labels[:, 0], scores[:, 0]), rtol=1e-12)
    else:
        assert np.isnan(ours)


# Losses.

_LOSSES = {
    "criteo_no_weights": Criteo1tb,
    "criteo_weights": Criteo1tb,
    "criteo_column_shapes": Criteo1tb,
    "fastmri_no_weights": Fastmri,
    "fastmri_weights": Fastmri,
    "ogbg_ls0.0": Ogbg,
    "ogbg_ls0.1": Ogbg,
}


@pytest.mark.parametrize("name", _LOSSES)
def test_golden_losses(golden, name):
    expected = golden[0]["losses"][name]
    inputs = {key: value for key, value in expected["inputs"].items() if value is not None}
    smoothing = inputs.pop("label_smoothing", 0.0)
    batch = {key: torch.tensor(value) for key, value in inputs.items()}
    half = _LOSSES[name]("tiny").torch()
    loss = half.loss(batch, batch.pop("logits"), label_smoothing=smoothing)
    assert_loss(loss, {**expected, "per_example": np.ravel(expected["per_example"])}, {})
    if name == "criteo_no_weights":
        np.testing.assert_allclose(loss.per_example, expected["per_example"], rtol=1e-6)


def test_ogbg_loss_without_weights():
    with pytest.raises(UserError, match="`weights`"):
        Ogbg("tiny").torch().loss({"targets": torch.zeros(2, 8)}, torch.zeros(2, 8))
