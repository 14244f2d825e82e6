"""The generated images: never another byte, balanced, disjoint; and what both workloads make of them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from timetrial.suite import load_suite
from timetrial.trial.stream import to_device
from timetrial.workloads.base import HostBatch, Workload
from timetrial.workloads.generated import fingerprint
from timetrial.workloads.imagenet import DATASETS
from timetrial.workloads.imagenet_generated import EVAL_TRAIN
from timetrial.workloads.imagenet_generator import MINI, TINY, _classes, generate
from timetrial.workloads.imagenet_preprocessing import validation_transform
from timetrial.workloads.imagenet_resnet.workload import ImagenetResnet
from timetrial.workloads.imagenet_vit.workload import ImagenetVit

SPLITS = ("train", "validation", "test")
both = pytest.mark.parametrize("workload", [ImagenetResnet, ImagenetVit])


@pytest.fixture(scope="module")
def tiny() -> HostBatch:
    return generate(TINY)


@pytest.fixture(scope="module")
def mini() -> HostBatch:
    return generate(MINI)


def test_tiny_never_changes(tiny: HostBatch) -> None:
    assert fingerprint(tiny) == DATASETS["tiny"].sha256


@pytest.mark.slow
def test_mini_never_changes(mini: HostBatch) -> None:
    assert fingerprint(mini) == DATASETS["mini"].sha256


def test_both_workloads_share_the_cache() -> None:
    assert ImagenetResnet.datasets is ImagenetVit.datasets is DATASETS


def test_sizes_and_balance(tiny: HostBatch) -> None:
    for split in SPLITS:
        count = getattr(TINY, split)
        images, labels = tiny[f"{split}_inputs"], tiny[f"{split}_targets"]
        assert images.shape == (count, 3, TINY.pixels, TINY.pixels)
        assert images.dtype == labels.dtype == np.uint8
        assert np.bincount(labels).tolist() == [count // TINY.classes] * TINY.classes


def test_no_image_twice(tiny: HostBatch) -> None:
    images = [image.tobytes() for split in SPLITS for image in tiny[f"{split}_inputs"]]
    assert len(set(images)) == len(images) == TINY.train + TINY.validation + TINY.test


@pytest.mark.parametrize("split", SPLITS)
def test_the_ceiling_is_what_is_labelled_right(split: str) -> None:
    seen, labels = _classes(np.random.default_rng(0), MINI, getattr(MINI, split))
    assert (seen == labels).mean() == pytest.approx(1 - MINI.mislabelled, abs=0.011), "to a whole image a class"
    assert len(set(np.bincount(seen))) == len(set(np.bincount(labels))) == 1, "balanced, as seen and as labelled"
    wrong = seen != labels
    assert len({(a, b) for a, b in zip(seen[wrong], labels[wrong], strict=True)}) >= wrong.sum() * 0.5


@both
def test_batches_are_what_the_workload_takes(workload: type[Workload]) -> None:
    made = workload("tiny")
    data = made.data()
    assert data.train_examples == TINY.train
    made.check_batch(data.train_source(np.random.SeedSequence(0), 16).batch(0))
    counts = {"train": min(EVAL_TRAIN, TINY.train), "validation": TINY.validation, "test": TINY.test}
    for split in SPLITS:
        batches = list(data.eval_batches(split, 48))
        for batch in batches:
            made.check_batch(batch)
        assert sum(len(batch["targets"]) for batch in batches) == data.eval_examples(split) == counts[split]
        again = list(data.eval_batches(split, 48))
        assert all(np.array_equal(a["inputs"], b["inputs"]) for a, b in zip(batches, again, strict=True))


@both
def test_any_batch_can_be_had_at_any_time(workload: type[Workload]) -> None:
    """A resumed trial goes on in the middle of an epoch with the bytes it would have had."""
    made = workload("tiny")
    steady = made.data().train_source(np.random.SeedSequence(7), 48)
    expected = [steady.batch(step) for step in range(57)]
    resumed = made.data().train_source(np.random.SeedSequence(7), 48)
    for step in range(7, 57):
        batch = resumed.batch(step)
        assert all(batch[name].tobytes() == expected[step][name].tobytes() for name in ("inputs", "targets"))
    other = made.data().train_source(np.random.SeedSequence(8), 48).batch(0)
    assert not np.array_equal(other["inputs"], expected[0]["inputs"])


@both
def test_ranks_together_have_the_batch_of_one(workload: type[Workload]) -> None:
    data = workload("tiny").data()
    seed = np.random.SeedSequence(3)
    whole = data.train_source(seed, 12).batch(5)
    for name, array in whole.items():
        parts = np.empty_like(array)
        for rank in range(2):
            parts[rank::2] = data.train_source(seed, 12, rank=rank, ranks=2).batch(5)[name]
        np.testing.assert_array_equal(parts, array)


@both
def test_targets_of_training_and_evaluation(workload: type[Workload]) -> None:
    data = workload("tiny").data()
    mixed = data.train_source(np.random.SeedSequence(0), 16).batch(0)["targets"]
    assert mixed.dtype == (np.float32 if workload is ImagenetVit else np.int64)
    assert next(data.eval_batches("validation", 16))["targets"].dtype == np.int64


@both
def test_a_few_steps_reduce_the_loss(workload: type[Workload]) -> None:
    made = workload("tiny")
    half, source = made.torch(), made.data().train_source(np.random.SeedSequence(0), 32)
    torch.manual_seed(0)
    model = half.build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    losses = []
    for step in range(80):
        batch = to_device(source.batch(step), torch.device("cpu"))
        loss = half.loss(batch, half.forward(model, batch)).mean
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < np.log(TINY.classes) - 0.05


def test_the_suite_has_the_generator_s_numbers() -> None:
    suite = load_suite("mini-1")
    for workload in ("imagenet_resnet", "imagenet_vit"):
        found = suite.workload(workload)
        assert found.train_examples == MINI.train
        sizes = found.eval_examples
        assert (sizes.train, sizes.validation, sizes.test) == (EVAL_TRAIN, MINI.validation, MINI.test)


def linear_accuracy(features: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> float:
    """Return the best validation accuracy of logistic regressions on standardised features."""
    mean, std = features["train"].mean(axis=0), features["train"].std(axis=0) + 1e-6
    train, validation = ((features[split] - mean) / std for split in ("train", "validation"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is regularisation, too
        models = [LogisticRegression(C=c, max_iter=60).fit(train, labels["train"]) for c in (1e-4, 1e-2, 1.0)]
    return max(float(model.score(validation, labels["validation"])) for model in models)


@pytest.mark.slow
def test_no_shortcut(mini: HostBatch) -> None:
    """Pixels, colours (mean, spread and extremes of each channel), and a bag of patches stay below the targets."""
    images = {split: validation_transform(mini[f"{split}_inputs"], 32) for split in ("train", "validation")}
    labels = {split: mini[f"{split}_targets"] for split in images}
    reached = {
        "pixels": linear_accuracy({s: x[:, :, ::2, ::2].reshape(len(x), -1) for s, x in images.items()}, labels),
        "colours": linear_accuracy({s: colours(x) for s, x in images.items()}, labels),
        "bag of patches": linear_accuracy({s: bag_of_patches(x) for s, x in images.items()}, labels),
    }
    suite = load_suite("mini-1")
    lowest = min(suite.workload(name).validation_target for name in ("imagenet_resnet", "imagenet_vit"))
    assert max(reached.values()) < lowest - 0.1, f"{reached}, lowest target {lowest}"
    print(reached)


def colours(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), 3, -1)
    return np.concatenate([flat.mean(axis=2), flat.std(axis=2), *np.quantile(flat, [0.1, 0.5, 0.9], axis=2)], axis=1)


def bag_of_patches(images: np.ndarray) -> np.ndarray:
    """Return how strongly 64 random 5 x 5 filters answer on average, (n, 64): texture without place (Coates et al.)."""
    filters = np.random.default_rng(0).standard_normal((64, 75)).astype(np.float32)
    filters -= filters.mean(axis=1, keepdims=True)
    windows = np.lib.stride_tricks.sliding_window_view(images, (5, 5), axis=(2, 3))[:, :, ::2, ::2]
    patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(len(images), -1, 75)
    return np.stack([np.maximum(patch @ filters.T, 0).mean(axis=0) for patch in patches])
