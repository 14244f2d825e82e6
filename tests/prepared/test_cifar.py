"""CIFAR-10 from its pickles to batches, and what a pickle must not do."""

from __future__ import annotations

import gzip
import os
import pickle
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
from raw_cifar import FILES, batch, batches, call, make, pickled
from raw_imagenet import tar_of

from timetrial.errors import UserError
from timetrial.prepared.build import prepare as prepare_here
from timetrial.workloads.cifar.pickles import PickleError, load_pickle
from timetrial.workloads.cifar.recipe import CifarRecipe
from timetrial.workloads.cifar.workload import MEAN, STD, normalise, shift_and_mirror
from timetrial.workloads.registry import load_workload

RECIPE = CifarRecipe(published=False)
ARCHIVE, FOLDER = "cifar-10-python.tar.gz", "cifar-10-batches-py"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cifar")
    prepare("cifar", make(folder / "raw"), folder / "data")
    return folder / "data"


def test_prepare_verify_train_evaluate(data: Path, tmp_path: Path) -> None:
    assert "as it was prepared" in timetrial("data", "verify", "cifar", "--data", data)
    train("cifar", data, tmp_path, batch_size=8, eval_batch_size=9)


def test_the_unpacked_folder_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    prepare_here(RECIPE, make(tmp_path / "raw", packed=False), tmp_path / "data", jobs=1)
    assert arrays_of(tmp_path / "data") == arrays_of(data)
    assert len(arrays_of(data)) == 6


@pytest.mark.slow
def test_killed_at_any_moment_the_bytes_are_the_same(data: Path, tmp_path: Path) -> None:
    prepare_under_fire("cifar", make(tmp_path / "raw"), tmp_path / "data", kills=5)
    assert arrays_of(tmp_path / "data") == arrays_of(data)


def test_splits_and_values(data: Path) -> None:
    """The last tenth of the training images, in the order of the files, is for validation."""
    loaded, workload = prepared_data("cifar", data), load_workload("cifar", "tiny", data="prepared")
    found = batches()
    images = np.concatenate([found[name][0] for name in FILES]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([found[name][1] for name in FILES])
    test_images, test_labels = found["test_batch"]
    expected = {
        "train": (images[:45], labels[:45]),
        "validation": (images[45:], labels[45:]),
        "test": (test_images.reshape(-1, 3, 32, 32), test_labels),
    }
    for split, (raw, targets) in expected.items():
        made = list(loaded.eval_batches(split, 7))  # type: ignore[arg-type]
        for each in made:
            workload.check_batch(each)
        inputs = np.concatenate([each["inputs"] for each in made])
        mean, std = MEAN[:, None, None], STD[:, None, None]
        np.testing.assert_allclose(inputs, (raw / 255 - mean) / std, atol=1e-6)
        np.testing.assert_array_equal(np.concatenate([each["targets"] for each in made]), targets)
        assert loaded.eval_examples(split) == len(raw)  # type: ignore[arg-type]


def test_evaluated_training_images_are_the_same_few(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timetrial.workloads.cifar.workload.EVAL_TRAIN", 13)
    (first,), (second,) = (list(prepared_data("cifar", data).eval_batches("train", 100)) for _ in range(2))
    np.testing.assert_array_equal(first["inputs"], second["inputs"])
    assert len({image.tobytes() for image in first["inputs"]}) == 13


def test_training_images_are_crops_of_padded_ones() -> None:
    images = np.random.default_rng(0).integers(1, 256, (64, 3, 32, 32), dtype=np.uint8)
    stored = {"inputs": images, "targets": np.arange(64, dtype=np.uint8)}
    found = shift_and_mirror(stored, np.random.default_rng(1))
    padded = np.pad(images, ((0, 0), (0, 0), (4, 4), (4, 4)))
    ways = set()
    for number, image in enumerate(found["inputs"]):
        for down, right, mirrored in np.ndindex(9, 9, 2):
            crop = padded[[number], :, down : down + 32, right : right + 32]
            expected = normalise({"inputs": crop[..., ::-1] if mirrored else crop, "targets": stored["targets"]})
            if np.array_equal(expected["inputs"][0], image):
                ways.add((down, right, mirrored))
                break
        else:
            pytest.fail(f"image {number} is no crop")
    assert {way[0] for way in ways} == {way[1] for way in ways} == set(range(9))
    assert {way[2] for way in ways} == {0, 1}
    np.testing.assert_array_equal(found["targets"], np.arange(64))
    assert found["targets"].dtype == np.int64
    assert stored["inputs"].min() == 1, "the stored images stay as they are"


def test_ranks_seeking_resuming(data: Path) -> None:
    loaded = prepared_data("cifar", data)
    check_ranks_and_seeking(loaded, 840, ranks=tuple(range(1, 9)), steps=2)
    check_resuming(loaded, 8)


def test_an_epoch_holds_every_image_once(data: Path) -> None:
    source = prepared_data("cifar", data).train_source(np.random.SeedSequence(1), 9)
    targets = np.concatenate([source.batch(step)["targets"] for step in range(5)])
    labels = np.concatenate([batches()[name][1] for name in FILES])[:45]
    np.testing.assert_array_equal(np.bincount(targets), np.bincount(labels))


def test_published_size_and_checksums(tmp_path: Path) -> None:
    recipe = load_workload("cifar", "full").recipe()
    assert recipe.expected_examples == {"train": 45_000, "validation": 5_000, "test": 10_000}
    for packed in (True, False):
        (stage,) = recipe.stages(make(tmp_path / f"raw {packed}", packed=packed), tmp_path)
        assert all(path.name in part.published for part in stage() for path in part.sources)
    with pytest.raises(UserError, match=r"tar\.gz: its md5 is not the published"):
        prepare_here(recipe, tmp_path / "raw True", tmp_path / "data", jobs=1)


# Pickles of strangers.


class Marked:
    """When it is unpickled, a file is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch '{self.path}'",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    raw = make(tmp_path / "raw", packed=False)
    (raw / FOLDER / "data_batch_3").write_bytes(pickle.dumps([Marked(tmp_path / "mark")], protocol=protocol))
    with pytest.raises(UserError, match=r"data_batch_3: is not .*asks for (posix\.system|_codecs)"):
        RECIPE.stages(raw, tmp_path)[0]()[0].make(tmp_path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("__builtin__", "eval"),
        ("os", "system"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy", "ndarray.tofile"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("_codecs", "encode"),
    ],
)
def test_only_arrays_are_made(module: str, name: str) -> None:
    with pytest.raises(PickleError, match="which no array of bytes needs"):
        load_pickle(b"\x80\x02" + call(module, name, (b"1",)) + b".")


def test_arrays_of_other_types_are_refused() -> None:
    """Objects among them; and a type that the pickle then fills with flags of its own is no type of numpy's."""
    with pytest.raises(PickleError, match="values of type b'f8'"):
        load_pickle(pickled(np.zeros(3)))
    with pytest.raises(PickleError, match="values of type b'O8'"):
        load_pickle(b"\x80\x02" + call("numpy", "dtype", (b"O8", 0, 1)) + b".")
    good = pickled(np.zeros(3, np.uint8))
    plain, flags = (pickled((3, b"|", None, None, None, -1, -1, number))[2:-1] for number in (0, 63))
    assert plain in good
    assert not load_pickle(good.replace(plain, flags)).array.dtype.hasobject
    new = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R"
    assert load_pickle(new + b".").array is None
    with pytest.raises(PickleError, match="an array of no type"):
        load_pickle(new + pickled((1, (1,), None, 0, b"x"))[2:-1] + b"b.")
    with pytest.raises(PickleError, match="a broken pickle"):
        load_pickle(good.replace(pickled((3,))[2:-1], pickled((4,))[2:-1]))


def test_what_pickles_may_hold() -> None:
    content = {b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"labels": [1, 2], b"name": b"text"}
    found = load_pickle(pickled(content))
    np.testing.assert_array_equal(found[b"data"].array, content[b"data"])
    assert (found[b"labels"], found[b"name"]) == ([1, 2], b"text")


def build(raw: Path, folder: Path) -> None:
    """Make all parts in this process."""
    for part in RECIPE.stages(raw, folder)[0]():
        part.make(folder)


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda raw: (raw / FOLDER / name).write_bytes(content) and None


LEVELS, CLASSES = batches()["data_batch_2"]
BROKEN = {
    "missing": (lambda raw: (raw / FOLDER / "data_batch_4").unlink(), "data_batch_4: no such file"),
    "cut": (write("data_batch_2", batch(LEVELS, CLASSES)[:-500]), "data_batch_2: is not one of .* broken pickle"),
    "empty": (write("test_batch", b""), "test_batch: is not one of .* broken pickle"),
    "no pickle": (write("data_batch_1", b"<html>"), "data_batch_1: is not one of"),
    "another pickle": (write("data_batch_1", pickled([1, 2])), "data_batch_1: expected `data`.* found none"),
    "other images": (write("data_batch_1", batch(LEVELS[:, :99], CLASSES)), r"expected `data`.* shape \(10, 99\)"),
    "fewer labels": (
        write("data_batch_2", batch(LEVELS, CLASSES[1:])),
        "data_batch_2: expected `labels`, .* of 10",
    ),
    "a bad label": (write("data_batch_2", batch(LEVELS, [10, *CLASSES[1:]])), "label 0: expected 0 to 9, found 10"),
    "a label that is none": (write("data_batch_2", batch(LEVELS, [b"x", *CLASSES[1:]])), "label 0: expected 0 to 9"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_named(tmp_path: Path, case: str) -> None:
    spoil, message = BROKEN[case]
    raw = make(tmp_path / "raw", packed=False)
    spoil(raw)
    with pytest.raises(UserError, match=message):
        build(raw, tmp_path)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_cut_archive_is_named(tmp_path: Path, keep: float) -> None:
    raw = make(tmp_path / "raw")
    whole = (raw / ARCHIVE).read_bytes()
    (raw / ARCHIVE).write_bytes(whole[: int(keep * len(whole))])
    assert f"{ARCHIVE}: cannot be read" in prepare("cifar", raw, tmp_path / "data", code=2)


def test_an_archive_without_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).write_bytes(gzip.compress(tar_of({f"{FOLDER}/data_batch_1": batch(LEVELS, CLASSES)})))
    with pytest.raises(UserError, match=f"{ARCHIVE}: expected {FOLDER}/data_batch_2 in it"):
        RECIPE.stages(tmp_path, tmp_path)[0]()[0].make(tmp_path)
    (tmp_path / ARCHIVE).unlink()
    with pytest.raises(UserError, match=f"{ARCHIVE}: no such file"):
        RECIPE.stages(tmp_path, tmp_path)
