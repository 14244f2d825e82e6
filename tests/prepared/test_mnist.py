"""MNIST from its files to batches."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import (
    arrays_of,
    check_ranks_and_seeking,
    check_resuming,
    prepare,
    prepare_under_fire,
    prepared_data,
    timetrial,
    train,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_mnist import idx, make, splits

from timetrial.errors import UserError
from timetrial.prepared.build import prepare as prepare_here
from timetrial.prepared.folder import open_prepared
from timetrial.workloads.mnist.recipe import PUBLISHED, MnistRecipe
from timetrial.workloads.registry import load_workload

RECIPE = MnistRecipe(published=False)
IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mnist")
    prepare("mnist", make(folder / "raw"), folder / "data")
    return folder / "data"


def test_prepare_verify_train_evaluate(data: Path, tmp_path: Path) -> None:
    assert "as it was prepared" in timetrial("data", "verify", "mnist", "--data", data)
    train("mnist", data, tmp_path, batch_size=8, eval_batch_size=9)


def test_unpacked_files_give_the_same_bytes(data: Path, tmp_path: Path) -> None:
    prepare_here(RECIPE, make(tmp_path / "raw", packed=False), tmp_path / "data", jobs=1)
    assert arrays_of(tmp_path / "data") == arrays_of(data)
    assert len(arrays_of(data)) == 6


@pytest.mark.slow
def test_killed_at_any_moment_the_bytes_are_the_same(data: Path, tmp_path: Path) -> None:
    prepare_under_fire("mnist", make(tmp_path / "raw"), tmp_path / "data", kills=5)
    assert arrays_of(tmp_path / "data") == arrays_of(data)


def test_splits_and_values(data: Path) -> None:
    """Levels from 0 to 255 are normalised by the constants of levels from 0 to 1 (spec: workloads/mnist.md, 1)."""
    loaded, workload = prepared_data("mnist", data), load_workload("mnist", "tiny", data="prepared")
    (images, labels), (test_images, test_labels) = splits()["train"], splits()["test"]
    expected = {
        "train": (images[:50], labels[:50]),
        "validation": (images[50:], labels[50:]),
        "test": (test_images, test_labels),
    }
    for split, (raw, targets) in expected.items():
        batches = list(loaded.eval_batches(split, 7))  # type: ignore[arg-type]
        for batch in batches:
            workload.check_batch(batch)
        inputs = np.concatenate([batch["inputs"] for batch in batches])
        np.testing.assert_allclose(inputs, (raw[:, None].astype(np.float64) - 0.1307) / 0.3081, rtol=1e-5)
        np.testing.assert_array_equal(np.concatenate([batch["targets"] for batch in batches]), targets)
        assert loaded.eval_examples(split) == len(raw)  # type: ignore[arg-type]
    batch = loaded.train_source(np.random.SeedSequence(0), 10).batch(0)
    workload.check_batch(batch)
    assert batch["inputs"].max() == pytest.approx((255 - 0.1307) / 0.3081)


def test_evaluations_see_the_first_ten_thousand(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timetrial.workloads.mnist.workload.EVAL_TRAIN", 13)
    (batch,) = prepared_data("mnist", data).eval_batches("train", 100)
    np.testing.assert_array_equal(batch["targets"], splits()["train"][1][:13])


def test_ranks_seeking_resuming(data: Path) -> None:
    loaded = prepared_data("mnist", data)
    check_ranks_and_seeking(loaded, 840, ranks=tuple(range(1, 9)), steps=2)
    check_resuming(loaded, 8)


@settings(max_examples=20)
@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_ranks_epochs_hold_every_image_once(data: Path, ranks: int, rows: int, seed: int) -> None:
    loaded = prepared_data("mnist", data)
    sources = [
        loaded.train_source(np.random.SeedSequence(seed), ranks * rows, rank=rank, ranks=ranks) for rank in range(ranks)
    ]
    seen: list[bytes] = []
    for step in range(-(-50 // (ranks * rows))):
        found = [source.batch(step)["inputs"] for source in sources]
        seen += [found[place % ranks][place // ranks].tobytes() for place in range(ranks * rows)]
    assert len(set(seen[:50])) == 50


def test_published_size_and_checksums(tmp_path: Path) -> None:
    recipe = load_workload("mnist", "full").recipe()
    assert recipe.expected_examples == {"train": 50_000, "validation": 10_000, "test": 10_000}
    (stage,) = recipe.stages(make(tmp_path / "raw"), tmp_path)
    assert all(path.name in part.published for part in stage() for path in part.sources)
    with pytest.raises(UserError, match="gz: its md5 is not the published"):
        prepare_here(recipe, tmp_path / "raw", tmp_path / "data", jobs=1)
    assert len(PUBLISHED) == 4


def build(raw: Path, folder: Path) -> None:
    """Make all parts in this process."""
    for part in RECIPE.stages(raw, folder)[0]():
        part.make(folder)


def cut(name: str, keep: float) -> Callable[[Path], None]:
    def spoil(raw: Path) -> None:
        (raw / name).write_bytes((raw / name).read_bytes()[: int(keep * (raw / name).stat().st_size)])

    return spoil


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda raw: (raw / name).write_bytes(gzip.compress(content)) and None


_, LABEL_VALUES = splits()["train"]
BROKEN = {
    "missing": (lambda raw: (raw / LABELS).unlink(), f"{LABELS}: no such file"),
    "cut": (cut(IMAGES, 0.5), f"{IMAGES}: cannot be read"),
    "cut after unpacking": (write(IMAGES, idx(splits()["train"][0])[:-1]), f"{IMAGES}: expected 47040 values"),
    "too long": (write(LABELS, idx(LABEL_VALUES) + b"\0"), f"{LABELS}: expected 60 values"),
    "no gzip": (lambda raw: (raw / IMAGES).write_bytes(b"<html>"), f"{IMAGES}: cannot be read"),
    "another kind": (write(IMAGES, idx(LABEL_VALUES)), f"{IMAGES}: expected .* magic number 2051, found 2049"),
    "empty": (write(IMAGES, b""), f"{IMAGES}: expected .* magic number 2051, found 0"),
    "fewer labels": (write(LABELS, idx(LABEL_VALUES[1:])), f"{LABELS}: expected 60 labels, .* found 59"),
    "a bad label": (write(LABELS, idx(LABEL_VALUES + 1)), f"{LABELS}: label .*: expected 0 to 9, found 10"),
    "small images": (write(IMAGES, idx(np.zeros((60, 8, 8), np.uint8))), f"{IMAGES}: expected images of 28 x 28"),
    "no images": (write(IMAGES, idx(np.zeros((0, 28, 28), np.uint8))), f"{LABELS}: expected 0 labels"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_named(tmp_path: Path, case: str) -> None:
    spoil, message = BROKEN[case]
    raw = make(tmp_path / "raw")
    spoil(raw)
    with pytest.raises(UserError, match=message):
        build(raw, tmp_path)


def test_the_command_says_it_in_one_sentence(tmp_path: Path) -> None:
    raw = make(tmp_path / "raw")
    cut(IMAGES, 0.5)(raw)
    assert f"{IMAGES}: cannot be read" in prepare("mnist", raw, tmp_path / "data", code=2)


def test_prepared_data_are_opened_by_the_full_preset(data: Path) -> None:
    """What the files hold does not depend on the preset."""
    workload = load_workload("mnist", "full")
    assert workload.data_prepared(open_prepared(workload.recipe(), data)).train_examples == 50
