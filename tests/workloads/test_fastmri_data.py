"""fastMRI's generated volumes: bytes, noise, splits, batches, and what a shortcut would reach."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from timetrial.suite import load_suite
from timetrial.trial.stream import to_device
from timetrial.workloads.base import HostBatch
from timetrial.workloads.fastmri.generator import MINI, SCALE, SPLITS, TINY, generate
from timetrial.workloads.fastmri.preprocessing import (
    EVALUATION_SEED,
    column_masks,
    prepare,
    prepare_transformed,
    reconstruct,
    transform,
    volume_maxima,
)
from timetrial.workloads.fastmri.workload import Fastmri
from timetrial.workloads.generated import fingerprint
from timetrial.workloads.metrics.ssim import structural_similarity
from timetrial.workloads.sources import ArrayData


@pytest.fixture(scope="module")
def tiny() -> HostBatch:
    return generate(TINY)


@pytest.fixture(scope="module")
def tiny_data(tiny: HostBatch) -> ArrayData:
    return Fastmri("tiny").data_from(tiny)


def complex_kspace(arrays: HostBatch, split: str) -> np.ndarray:
    return arrays[f"{split}_kspace"].astype(np.float32).view(np.complex64)[..., 0]


def similarity(images: np.ndarray, batch: HostBatch) -> float:
    """Return the mean similarity of normalised images to the batch's targets, as the evaluation computes it."""
    mean, std = (batch[name][:, None, None] for name in ("mean", "std"))
    pair = (torch.from_numpy(x * std + mean) for x in (images, batch["targets"]))
    return structural_similarity(*pair, torch.from_numpy(batch["volume_max"])).mean().item()


# The generator.


def test_bytes_at_tiny(tiny: HostBatch) -> None:
    assert fingerprint(tiny) == Fastmri.datasets["tiny"].sha256


@pytest.mark.slow
def test_bytes_at_mini() -> None:
    assert fingerprint(generate(MINI)) == Fastmri.datasets["mini"].sha256


def test_shapes(tiny: HostBatch) -> None:
    for split, volumes in zip(SPLITS, TINY.volumes, strict=True):
        kspace, volume = tiny[f"{split}_kspace"], tiny[f"{split}_volume"]
        assert (kspace.shape, kspace.dtype) == ((4 * volumes, 32, 20, 2), np.int16)
        assert volume.tolist() == [number for number in range(volumes) for _ in range(4)]


def test_no_slice_occurs_twice(tiny: HostBatch) -> None:
    slices = np.concatenate([tiny[f"{split}_kspace"].reshape(-1, 32 * 20 * 2) for split in SPLITS])
    assert len(np.unique(slices, axis=0)) == len(slices)


def test_noise_is_white_and_each_volume_s_own(tiny: HostBatch) -> None:
    clean = generate(replace(TINY, noise=(0.0, 0.0)))
    difference = (tiny["train_kspace"].astype(float) - clean["train_kspace"]) / SCALE
    deviations = np.sqrt((difference**2).sum(axis=-1).reshape(12, -1).mean(axis=-1))
    low, high = TINY.noise
    assert (deviations > 0.95 * low).all()
    assert (deviations < 1.05 * high).all()
    assert deviations.std() > 0.1 * deviations.mean()
    halves = [np.abs(difference[:, rows]).mean() for rows in (np.s_[:8], np.s_[8:24], np.s_[24:])]
    np.testing.assert_allclose(halves, np.mean(halves), rtol=0.05)


def test_slices_of_a_volume_resemble_one_another(tiny: HostBatch) -> None:
    images = reconstruct(complex_kspace(tiny, "train"), TINY.size).reshape(12, 4, -1)
    neighbours = [np.corrcoef(volume[1], volume[2])[0, 1] for volume in images]
    strangers = [np.corrcoef(images[i, 1], images[i - 1, 1])[0, 1] for i in range(12)]
    assert np.mean(neighbours) > np.mean(strangers) + 0.2


@pytest.mark.parametrize(("rows", "columns", "size"), [(64, 48, 32), (64, 46, 32), (64, 45, 32), (40, 33, 33)])
def test_k_space_transformed_by_halves_gives_the_same_slices(rows: int, columns: int, size: int) -> None:
    random = np.random.default_rng(columns)
    kspace = random.standard_normal((3, rows, columns, 2), dtype=np.float32).view(np.complex64)[..., 0]
    masks = column_masks(random.integers(0, 99, (3, 2)), columns)
    references = reconstruct(kspace, size)
    expected = prepare(kspace, masks, references, np.ones(3))
    found = prepare_transformed(transform(kspace, size, axis=1), masks, references, np.ones(3))
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5, err_msg=name)


# Batches.


def test_sizes_are_the_suite_s() -> None:
    numbers = load_suite("mini-1").workload("fastmri")
    train, validation, test = (MINI.slices * volumes for volumes in MINI.volumes)
    assert numbers.train_examples == train
    expected = (25, validation, test)
    assert tuple(getattr(numbers.eval_examples, split) for split in ("train", "validation", "test")) == expected


def test_batches_are_what_the_workload_says(tiny_data: ArrayData) -> None:
    workload = Fastmri("tiny")
    source = tiny_data.train_source(np.random.SeedSequence(0), 4)
    workload.check_batch(source.batch(0))
    for split in ("train", "validation", "test"):
        batches = list(tiny_data.eval_batches(split, 3))
        for batch in batches:
            workload.check_batch(batch)
        assert sum(len(batch["mean"]) for batch in batches) == tiny_data.eval_examples(split)


def test_evaluation_slices_share_a_mask_and_training_slices_keep_theirs(tiny: HostBatch, tiny_data: ArrayData) -> None:
    kspace = complex_kspace(tiny, "validation")
    masks = np.repeat(column_masks(np.array([EVALUATION_SEED]), 20), len(kspace), axis=0)
    references = reconstruct(kspace, TINY.size)
    expected = prepare(kspace, masks, references, volume_maxima(references, tiny["validation_volume"]))
    (found,) = tiny_data.eval_batches("validation", len(kspace))
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    source = tiny_data.train_source(np.random.SeedSequence(5), 48)
    epochs = [source.batch(step)["inputs"] for step in range(2)]
    orders = [np.lexsort(epoch.reshape(48, -1).T) for epoch in epochs]
    assert not np.array_equal(epochs[0], epochs[1])
    np.testing.assert_array_equal(epochs[0][orders[0]], epochs[1][orders[1]])


def test_any_step_can_be_had_and_ranks_share_it(tiny_data: ArrayData) -> None:
    seed = np.random.SeedSequence(3)
    whole = tiny_data.train_source(seed, 8)
    for step in (13, 0, 6):  # step 6 begins the second epoch
        batch = whole.batch(step)
        parts = [tiny_data.train_source(seed, 8, rank=rank, ranks=2).batch(step) for rank in range(2)]
        for name, array in batch.items():
            np.testing.assert_array_equal(array[0::2], parts[0][name])
            np.testing.assert_array_equal(array[1::2], parts[1][name])


# Learning.


def test_a_few_steps_reduce_the_loss(tiny_data: ArrayData) -> None:
    torch.manual_seed(0)
    half = Fastmri("tiny").torch()
    model = half.build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    source = tiny_data.train_source(np.random.SeedSequence(0), 8)
    losses = []
    for step in range(60):
        batch = to_device(source.batch(step), torch.device("cpu"))
        loss = half.loss(batch, half.forward(model, batch)).mean
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


@pytest.mark.slow
def test_no_linear_shortcut() -> None:
    """Neither the aliased image, a linear filter nor a linear map of whole rows comes near the target.

    The filter sees 11 x 11 pixels around each; the map of rows takes a row and its two neighbours, 40 pixels each, to
    that row. Both are least squares on all training slices; what they reach is printed in docs/mini-1/fastmri.md.
    """
    data = Fastmri("mini").data()
    train = data.train_source(np.random.SeedSequence(0), data.train_examples).batch(0)
    (validation,) = data.eval_batches("validation", data.eval_examples("validation"))
    reached = {
        "aliased": similarity(validation["inputs"], validation),
        "filter": similarity(fit(train, validation, filter_features, per_row=False), validation),
        "rows": similarity(fit(train, validation, row_features, per_row=True), validation),
    }
    print(reached)
    target = load_suite("mini-1").workload("fastmri").validation_target
    assert max(reached.values()) < target - 0.05, reached


def filter_features(images: np.ndarray) -> np.ndarray:
    padded = np.pad(images, ((0, 0), (5, 5), (5, 5)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (11, 11), axis=(1, 2))
    return windows.reshape(-1, 121)


def row_features(images: np.ndarray) -> np.ndarray:
    padded = np.pad(images, ((0, 0), (1, 1), (0, 0)), mode="reflect")
    return np.concatenate([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], axis=2).reshape(-1, 120)


def fit(train: HostBatch, validation: HostBatch, features, *, per_row: bool) -> np.ndarray:
    """Return the validation images that least squares on the training images predicts."""
    gram, moment = 0.0, 0.0
    for start in range(0, len(train["inputs"]), 100):
        rows = with_constant(features(train["inputs"][start : start + 100]))
        targets = train["targets"][start : start + 100].reshape(-1, 40 if per_row else 1)
        gram, moment = gram + rows.T @ rows, moment + rows.T @ targets.astype(np.float64)
    weights = np.linalg.solve(gram + 1e-3 * np.eye(len(gram)), moment)
    predicted = with_constant(features(validation["inputs"])) @ weights
    return predicted.reshape(validation["inputs"].shape).astype(np.float32)


def with_constant(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1).astype(np.float64)


@pytest.mark.slow
def test_the_ceiling_is_well_above_the_target() -> None:
    """An oracle that knows the noise-free columns that were not measured bounds what can be had: see the card."""
    data = Fastmri("mini").data()
    (validation,) = data.eval_batches("validation", data.eval_examples("validation"))
    measured = complex_kspace(Fastmri("mini").generated().arrays(), "validation")
    clean = complex_kspace(generate(replace(MINI, noise=(0.0, 0.0))), "validation")
    mask = column_masks(np.array([EVALUATION_SEED]), MINI.columns)
    oracle = reconstruct(np.where(mask[:, None, :], measured, clean), MINI.size)
    images = (oracle - validation["mean"][:, None, None]) / validation["std"][:, None, None]
    ceiling = similarity(images, validation)
    print(ceiling)
    target = load_suite("mini-1").workload("fastmri").validation_target
    assert target + 0.1 < ceiling < 0.98, ceiling
