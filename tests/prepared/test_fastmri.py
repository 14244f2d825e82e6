"""fastMRI: prepared from HDF5 volumes, and read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import commands
import h5py
import numpy as np
import pytest
import raw_fastmri
from hypothesis import given
from hypothesis import strategies as st

from timetrial.errors import UserError
from timetrial.prepared.build import prepare
from timetrial.prepared.folder import open_prepared
from timetrial.suite import load_suite
from timetrial.workloads.base import HostBatch
from timetrial.workloads.fastmri import data as fastmri_data
from timetrial.workloads.fastmri.data import FastmriData, evenly_spaced, training_masks
from timetrial.workloads.fastmri.preprocessing import EVALUATION_SEED, column_masks
from timetrial.workloads.fastmri.preprocessing import prepare as prepare_slices
from timetrial.workloads.fastmri.recipe import FastmriRecipe
from timetrial.workloads.fastmri.workload import Fastmri

SEED = np.random.SeedSequence(11)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw_fastmri.make(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare(Fastmri("tiny").recipe(), raw, folder, jobs=1)
    return folder


@pytest.fixture(scope="module")
def data(prepared: Path) -> FastmriData:
    return Fastmri("tiny").data_prepared(open_prepared(Fastmri("tiny").recipe(), prepared))


def volumes(raw: Path, name: str) -> list[Path]:
    return sorted((raw / f"knee_singlecoil_{name}").iterdir())


def reference(paths: list[Path], masks_of: Callable[[int, int], np.ndarray]) -> HostBatch:
    """Return the slices of volumes as the golden-tested preprocessing makes them; masks by slice number and width."""
    slices, number = [], 0
    for path in paths:
        with h5py.File(path) as file:
            kspace, clean = file["kspace"][:], file["reconstruction_esc"][:]
            maximum = file.attrs.get("max", 0.0)
        for each, image in zip(kspace, clean, strict=True):
            mask = masks_of(number, each.shape[1])
            slices.append(prepare_slices(each[None], mask[None], image[None], np.array([maximum])))
            number += 1
    return {name: np.concatenate([each[name] for each in slices]) for name in slices[0]}


def evaluation_mask(_: int, columns: int) -> np.ndarray:
    return column_masks(np.array([EVALUATION_SEED]), columns)[0]


def joined(data: FastmriData, split: str) -> HostBatch:
    batches = list(data.eval_batches(split, 3))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def close(found: HostBatch, expected: HostBatch) -> None:
    assert found.keys() == expected.keys()
    for name in ("inputs", "targets"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-5)
    for name in ("mean", "std", "volume_max"):
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-6)
    assert all(array.dtype == np.float32 for array in found.values())


# Through the commands.


def test_prepare_verify_train_evaluate(raw: Path, prepared: Path, tmp_path: Path) -> None:
    said = commands.prepare("fastmri", raw, tmp_path / "data")
    assert all(count in said for count in ("21 train", "13 validation", "8 test"))
    assert commands.tree(tmp_path / "data") == commands.tree(prepared), "one process or two, the bytes are the same"
    assert "as it was prepared" in commands.timetrial("data", "verify", "fastmri", "--data", tmp_path / "data")
    row = commands.train("fastmri", tmp_path / "data", tmp_path, batch_size=4, eval_batch_size=3)
    assert row["validation/loss"] > 0


@pytest.mark.parametrize(
    "names",
    [("singlecoil_train", "singlecoil_val"), ("knee_singlecoil_train/singlecoil_train", "knee_singlecoil_val")],
)
def test_the_folders_may_have_the_archives_names(prepared: Path, tmp_path: Path, names: tuple[str, str]) -> None:
    raw = raw_fastmri.make(tmp_path / "elsewhere", names=names)
    manifest, _ = prepare(Fastmri("tiny").recipe(), raw, tmp_path / "data", jobs=2)
    assert manifest.sha256 == open_prepared(Fastmri("tiny").recipe(), prepared).manifest.sha256


@pytest.mark.slow
def test_killed_at_random_moments(prepared: Path, tmp_path: Path) -> None:
    raw = raw_fastmri.make(tmp_path / "raw", volumes=(60, 20), slices=30)
    hit = commands.prepare_under_fire("fastmri", raw, tmp_path / "data", kills=8)
    prepare(Fastmri("tiny").recipe(), raw, tmp_path / "straight", jobs=1)
    assert commands.tree(tmp_path / "data") == commands.tree(tmp_path / "straight")
    assert hit


# Values.


def test_splits(raw: Path, data: FastmriData) -> None:
    """Of 5 volumes 3 validate, 2 test: the first half, rounded up."""
    held_out = volumes(raw, "val")
    close(joined(data, "validation"), reference(held_out[:3], evaluation_mask))
    close(joined(data, "test"), reference(held_out[3:], evaluation_mask))
    assert joined(data, "test")["volume_max"][0] == 0, "the fourth volume does not tell its largest value"


def test_training_slices_keep_their_masks_for_a_run(raw: Path, data: FastmriData) -> None:
    """Every slice once an epoch, under the mask of its number and the run's seed."""
    count = data.train_examples
    widths = np.repeat([20, 24, 20, 24, 20], [4, 4, 5, 4, 4])
    masks = training_masks(SEED, widths)
    expected = reference(volumes(raw, "train"), lambda number, columns: masks[number, :columns])
    source = data.train_source(SEED, count)
    for epoch in range(2):
        batch = source.batch(epoch)
        order = np.array([np.abs(expected["targets"] - image).sum(axis=(1, 2)).argmin() for image in batch["targets"]])
        assert sorted(order) == list(range(count))
        close(batch, {name: array[order] for name, array in expected.items()})


def test_masks_are_the_run_s_and_the_slice_s() -> None:
    widths = np.array([24, 20, 24, 24])
    masks = training_masks(SEED, widths)
    np.testing.assert_array_equal(masks, training_masks(np.random.SeedSequence(11), widths))
    assert not masks[1, 20:].any()
    assert len(np.unique(masks, axis=0)) == 4
    assert not np.array_equal(masks, training_masks(np.random.SeedSequence(12), widths))
    # 256 at a time or all at once, the same.
    many = training_masks(SEED, np.full(600, 24))
    np.testing.assert_array_equal(many[[0, 2, 3]], masks[[0, 2, 3]])
    centre = int(24 * 0.08)
    np.testing.assert_allclose(np.delete(many, 12, axis=1).mean(), (6 - centre) / (24 - centre), atol=0.02)


def test_an_evaluation_s_training_slices(monkeypatch: pytest.MonkeyPatch, raw: Path, prepared: Path) -> None:
    monkeypatch.setattr(fastmri_data, "EVAL_TRAIN", 8)
    data = Fastmri("tiny").data_prepared(open_prepared(Fastmri("tiny").recipe(), prepared))
    assert data.eval_examples("train") == 8
    expected = reference(volumes(raw, "train"), evaluation_mask)
    chosen = [0, 2, 5, 7, 10, 13, 15, 18]
    close(joined(data, "train"), {name: array[chosen] for name, array in expected.items()})


@given(examples=st.integers(1, 50_000), wanted=st.integers(1, 4_000))
def test_evenly_spaced(examples: int, wanted: int) -> None:
    numbers = evenly_spaced(examples, wanted)
    assert len(numbers) == min(examples, wanted)
    assert numbers[0] == 0
    assert numbers[-1] < examples
    steps = np.diff(numbers)
    assert (steps >= 1).all()
    assert np.ptp(steps) <= 1 if len(steps) else True


def test_sizes_at_full_are_the_suite_s() -> None:
    recipe = Fastmri("full").recipe()
    for suite in ("algoperf-0.5", "algoperf-0.6"):
        entry = load_suite(suite).workload("fastmri")
        expected = {"train": entry.train_examples, "validation": 3_554, "test": 3_581}
        assert recipe.expected_examples == expected
        assert (entry.eval_examples.validation, entry.eval_examples.test) == (3_554, 3_581)
        assert entry.eval_examples.train == len(evenly_spaced(entry.train_examples, fastmri_data.EVAL_TRAIN))
    assert recipe.settings == {"image_size": 320, "part_volumes": 8}


def normal(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the golden files' normal numbers (golden/README.md, 1)."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).standard_normal(shape)


@pytest.mark.parametrize("case", ["small", "knee_640x372", "knee_640x368"])
def test_golden_vectors(shared: Path, tmp_path: Path, case: str) -> None:
    """TensorFlow's figures, from a file on the disk to the batch (golden/README.md, 7)."""
    content = json.loads((shared / "golden" / "preprocess_fastmri.json").read_text())
    arrays = dict(np.load(shared / "golden" / "preprocess_fastmri.npz"))
    expected = content["cases"][case]
    key, (height, width) = f"preprocess:fastmri:{case}", expected["kspace_shape"]
    distance = np.abs(np.arange(height) - height // 2)[:, None] + np.abs(np.arange(width) - width // 2)
    noise = normal(f"{key}:re", (height, width)) + 1j * normal(f"{key}:im", (height, width))
    kspace = (noise * 1e-3 / (1 + 0.25 * distance)).astype(np.complex64)
    clean = (np.abs(normal(f"{key}:target", tuple(expected["target_shape"]))) * 1e-4).astype(np.float32)
    for name, count in (("train", 1), ("val", 2)):
        (tmp_path / f"singlecoil_{name}").mkdir()
        for number in range(count):
            raw_fastmri.write(tmp_path / f"singlecoil_{name}" / f"{number}.h5", kspace[None], clean[None], 3.5e-4)
    recipe = FastmriRecipe(image_size=len(clean), part_volumes=1, published=False)
    prepare(recipe, tmp_path, tmp_path / "data", jobs=1)
    data = FastmriData(open_prepared(recipe, tmp_path / "data"), len(clean))
    (batch,) = data.eval_batches("validation", 4)
    for name in ("mean", "std", "volume_max"):
        np.testing.assert_allclose(batch[name], [expected[name]], rtol=2e-6)
    for name in ("inputs", "targets"):
        image, summary = batch[name][0].astype(np.float64), expected[name]
        np.testing.assert_allclose(np.linalg.norm(image), summary["l2"], rtol=2e-6)
        np.testing.assert_allclose([image.min(), image.max()], [summary["min"], summary["max"]], rtol=0, atol=1e-5)
        if "npz" in summary:
            np.testing.assert_allclose(image, arrays[summary["npz"]], rtol=0, atol=1e-5)
        if "first64" in summary:
            np.testing.assert_allclose(image.ravel()[:64], summary["first64"], rtol=0, atol=1e-5)


# Order.


def test_ranks_and_seeking(data: FastmriData) -> None:
    commands.check_ranks_and_seeking(data, 8, ranks=(1, 2, 4, 8), steps=6)
    commands.check_ranks_and_seeking(data, 15, ranks=(3, 5), steps=3)
    commands.check_ranks_and_seeking(data, 42, ranks=(6, 7), steps=2)


def test_resuming(data: FastmriData) -> None:
    commands.check_resuming(data, 4)


def test_batches_fit_the_workload(data: FastmriData) -> None:
    workload = Fastmri("tiny")
    workload.check_batch(data.train_source(SEED, 8).batch(0))
    for split in ("train", "validation", "test"):
        for batch in data.eval_batches(split, 5):
            workload.check_batch(batch)


# What is no good.


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without(name: str, path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]


def replaced(name: str, change: Callable[[np.ndarray], np.ndarray], path: Path) -> None:
    with h5py.File(path, "r+") as file:
        array = file[name][:]
        del file[name]
        file[name] = change(array)


def maximum(value: object, path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["max"] = value


def nan(array: np.ndarray) -> np.ndarray:
    array[1, 0, 0] = np.nan
    return array


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, "cannot be read"),
    "no HDF5": (lambda path: path.write_text("<html>"), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "no k-space": (partial(without, "kspace"), "kspace: no such dataset"),
    "no reference": (partial(without, "reconstruction_esc"), "reconstruction_esc: no such dataset"),
    "multi-coil": (partial(replaced, "kspace", lambda array: array[:, None]), "kspace: expected complex64 of three"),
    "magnitudes": (partial(replaced, "kspace", np.abs), "kspace: expected complex64"),
    "small": (partial(replaced, "kspace", lambda array: array[:, :8]), "kspace: expected at least 16 rows"),
    "other slices": (partial(replaced, "reconstruction_esc", lambda array: array[1:]), "expected shape (4, 16, 16)"),
    "other size": (partial(replaced, "reconstruction_esc", lambda array: array[:, 1:]), "found (4, 15, 16)"),
    "doubles": (partial(replaced, "reconstruction_esc", lambda array: array.astype(float)), "expected float32"),
    "NaN": (partial(replaced, "kspace", nan), "kspace: slice 1: expected finite numbers"),
    "maximum": (partial(maximum, "large"), "attribute max: expected a number, found 'large'"),
    "infinite maximum": (partial(maximum, np.inf), "attribute max: expected a finite number"),
}


@pytest.mark.parametrize("break_", BREAKS.values(), ids=BREAKS.keys())
def test_a_broken_volume_is_named(raw: Path, tmp_path: Path, break_: tuple[Callable[[Path], object], str]) -> None:
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    path = copy / "knee_singlecoil_train" / "file1000001.h5"
    break_[0](path)
    with pytest.raises(UserError) as error:
        prepare(Fastmri("tiny").recipe(), copy, tmp_path / "data", jobs=1)
    assert str(path) in str(error.value)
    assert break_[1] in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_named(raw: Path, tmp_path: Path) -> None:
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    for path in volumes(copy, "val")[1:]:
        path.unlink()
    assert "expected at least 2 volumes" in commands.prepare("fastmri", copy, tmp_path / "data", code=2)
    recipe = Fastmri("tiny").recipe()
    volumes(copy, "val")[0].unlink()
    with pytest.raises(UserError, match=r"knee_singlecoil_val: no files \*\.h5"):
        recipe.stages(copy, tmp_path)
    (copy / "knee_singlecoil_val").rmdir()
    with pytest.raises(UserError, match=r"knee_singlecoil_val: no such folder"):
        recipe.stages(copy, tmp_path)
    (copy / "knee_singlecoil_val.tar.xz").touch()
    with pytest.raises(UserError, match=r"tar -xf knee_singlecoil_val.tar.xz"):
        recipe.stages(copy, tmp_path)


def test_volumes_that_are_missing_at_full_are_counted(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"knee_singlecoil_train: expected 973 volumes \(\*\.h5\), found 5"):
        Fastmri("full").recipe().stages(raw, tmp_path)


# Memory.

_MEASURE = """
import resource, sys, timetrial.workloads.fastmri.recipe as recipe
from pathlib import Path
import h5py, array_record.python.array_record_module
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
recipe.make_part(sorted(Path(sys.argv[1]).glob("*.h5")), 320, Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_preparing_streams(tmp_path: Path) -> None:
    """A part of 110 MB is made in 40 MB: a slice at a time."""
    raw = tmp_path / "knee_singlecoil_train"
    raw.mkdir()
    slices = np.ones((24, 640, 368), dtype=np.complex64)
    for number in range(2):
        raw_fastmri.write(raw / f"{number}.h5", slices, np.ones((24, 320, 320), dtype=np.float32), 1.0)
    (tmp_path / "part").mkdir()
    command = [sys.executable, "-c", _MEASURE, str(raw), str(tmp_path / "part")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert sum(path.stat().st_size for path in raw.iterdir()) > 100e6
    assert int(done.stdout) * 1024 < 40e6
