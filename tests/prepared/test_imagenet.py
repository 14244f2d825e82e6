"""ImageNet from its distributed layouts to batches: the same records from all, images as the sheet has them, errors."""

from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import (
    check_ranks_and_seeking,
    check_resuming,
    prepare,
    prepare_under_fire,
    prepared_data,
    timetrial,
    train,
    tree,
)
from PIL import Image
from raw_imagenet import SYNSETS, jpeg, make, splits, tar_of

from timetrial.errors import UserError
from timetrial.prepared.build import prepare as prepare_here
from timetrial.prepared.folder import Prepared, open_prepared
from timetrial.prepared.records import Records
from timetrial.suite import load_suite
from timetrial.workloads.base import Data, Workload
from timetrial.workloads.imagenet_crops_torch import resized_crop
from timetrial.workloads.imagenet_images import bands_of, decode, image_of
from timetrial.workloads.imagenet_preprocessing import (
    MEAN,
    STD,
    bicubic_transform,
    crop_boxes,
    mix,
    mixup_weight,
    normalise,
    resize_weights,
    validation_transform,
)
from timetrial.workloads.imagenet_recipe import ImagenetRecipe
from timetrial.workloads.imagenet_resnet import workload as resnet
from timetrial.workloads.imagenet_vit import workload as vit
from timetrial.workloads.registry import load_workload
from timetrial.workloads.sources import Shuffle

TEST_FOLDER = "imagenetv2-matched-frequency-format-val"
RECIPE = ImagenetRecipe(published=False)
WORKLOADS = ("imagenet_resnet", "imagenet_vit")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("raw") / "folders")


@pytest.fixture(scope="module")
def data(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare("imagenet", raw, folder)
    return folder


@pytest.fixture(scope="module")
def prepared(data: Path) -> Prepared:
    return open_prepared(RECIPE, data)


def contents(data: Path) -> dict[str, str]:
    """Return the hashes of all but the files that tell where the raw ones were."""
    return {name: digest for name, digest in tree(data).items() if not name.endswith((".json", "lock"))}


def images_of(files: dict[str, dict[str, bytes]], number: int) -> list[bytes]:
    """Return a class's images in the order of their names; classes are in the order of theirs."""
    names = sorted(files, key=lambda name: int(name) if name.isdecimal() else name)
    return [data for _, data in sorted(files[names[number]].items())]


def levels_of(inputs: np.ndarray) -> np.ndarray:
    return (inputs * STD[:, None, None] + MEAN[:, None, None]) * 255


# From raw files to records.


def test_what_was_prepared_is_verified(data: Path) -> None:
    assert "as it was prepared" in timetrial("data", "verify", "imagenet", "--data", data)


@pytest.mark.parametrize("layout", ["tars", "class tars"])
def test_every_layout_gives_the_same_bytes(data: Path, tmp_path: Path, layout: str) -> None:
    """Whatever the layout, the place and the number of processes."""
    manifest, _ = prepare_here(RECIPE, make(tmp_path / "elsewhere", layout=layout), tmp_path / "data", jobs=1)
    assert contents(tmp_path / "data") == contents(data)
    assert manifest.sha256 == open_prepared(RECIPE, data).manifest.sha256


@pytest.mark.slow
def test_killed_at_any_moment_the_bytes_are_the_same(data: Path, tmp_path: Path) -> None:
    raw = make(tmp_path / "raw", layout="tars")
    assert prepare_under_fire("imagenet", raw, tmp_path / "data", kills=6) > 0
    assert contents(tmp_path / "data") == contents(data)


def test_records_are_the_files(prepared: Prepared) -> None:
    """All of them, in the order of classes and names; labels are places in the sorted list of synsets."""
    found = splits()
    for split, folder in (("train", "train"), ("validation", "val"), ("test", "test")):
        expected = [(n, image) for n in range(len(SYNSETS)) for image in images_of(found[folder], n)]
        labels = prepared.array(split, "labels")[:]
        np.testing.assert_array_equal(labels, [label for label, _ in expected])
        counts = [part.examples for part in prepared.manifest.parts if part.split == split]
        records = Records(prepared.files(split, "images.array_record"), counts)
        assert [records.read(n) for n in range(len(records))] == [n.to_bytes(2, "little") + i for n, i in expected]


def test_published_sizes_are_asked_for() -> None:
    suite = load_suite("algoperf-0.6")
    for name, eval_train in (("imagenet_resnet", resnet.EVAL_TRAIN), ("imagenet_vit", vit.EVAL_TRAIN)):
        entry = suite.workload(name)
        sizes = entry.eval_examples
        assert sizes.train == eval_train
        expected = {"train": entry.train_examples, "validation": sizes.validation, "test": sizes.test}
        assert load_workload(name, "full").recipe().expected_examples == expected
    assert not RECIPE.expected_examples


def test_preparing_streams(tmp_path: Path) -> None:
    """Of 96 MB in a tar, a few are in memory at a time."""
    padded = jpeg(0) + bytes(2_000_000)
    class_tar = tar_of({f"{SYNSETS[0]}_{number}.JPEG": padded for number in range(48)})
    (tmp_path / "train.tar").write_bytes(tar_of({f"{SYNSETS[0]}.tar": class_tar}))
    (tmp_path / "index").mkdir()
    (tmp_path / "part").mkdir()
    code = f"""
import resource
from pathlib import Path
from timetrial.workloads.imagenet_index import index_train, read_index
from timetrial.workloads.imagenet_recipe import write_part
import array_record.python.array_record_module, PIL.JpegImagePlugin
tar, index = Path({str(tmp_path / "train.tar")!r}), Path({str(tmp_path / "index")!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
index_train(tar, index)
assert write_part({{0: read_index(index, tar)[{SYNSETS[0]!r}]}}, Path({str(tmp_path / "part")!r})) == 48
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40_000, "kilobytes"


# From records to batches.


@pytest.mark.parametrize("workload", [pytest.param(WORKLOADS[0], marks=pytest.mark.slow), WORKLOADS[1]])
def test_twenty_steps_and_an_evaluation(data: Path, tmp_path: Path, workload: str) -> None:
    row = train(workload, data, tmp_path, batch_size=8, eval_batch_size=7)
    assert {"train/accuracy", "validation/accuracy", "test/accuracy"} <= row.keys()


@pytest.mark.parametrize("workload", WORKLOADS)
def test_batches_are_what_the_model_takes(data: Path, workload: str) -> None:
    loaded: Workload = load_workload(workload, "tiny", data="prepared")
    found = prepared_data(workload, data)
    loaded.check_batch(found.train_source(np.random.SeedSequence(0), 8).batch(0))
    for split, size in (("train", 60), ("validation", 20), ("test", 20)):
        batches = list(found.eval_batches(split, 9))
        for batch in batches:
            loaded.check_batch(batch)
        assert sum(len(batch["targets"]) for batch in batches) == found.eval_examples(split) == size


@pytest.mark.parametrize("workload", WORKLOADS)
def test_ranks_and_seeking(data: Path, workload: str) -> None:
    check_ranks_and_seeking(prepared_data(workload, data), 8, ranks=(1, 2, 4, 8))
    check_ranks_and_seeking(prepared_data(workload, data), 15, ranks=(3, 5), steps=3)
    check_ranks_and_seeking(prepared_data(workload, data), 42, ranks=(3, 6, 7, 14), steps=2)


def test_resuming(data: Path) -> None:
    check_resuming(prepared_data("imagenet_vit", data), 8)


def test_an_epoch_holds_every_image_once(data: Path) -> None:
    source = prepared_data("imagenet_resnet", data).train_source(np.random.SeedSequence(5), 12)
    targets = np.concatenate([source.batch(step)["targets"] for step in range(5)])
    assert np.bincount(targets).tolist() == [6] * 10


def test_a_training_image_is_a_crop_of_the_decoded_one(data: Path) -> None:
    """Resized after cropping, mirrored or not: to one level, for Pillow rounds after each axis."""
    seed, size = np.random.SeedSequence(7), 16
    source = prepared_data("imagenet_resnet", data).train_source(seed, 20)
    files = [image for number in range(10) for image in images_of(splits()["train"], number)]
    shuffle = Shuffle(60, seed)
    batch, mirrored = source.batch(1), 0
    for place, row in enumerate(shuffle.rows(20, 20)):
        pixels = np.asarray(Image.open(io.BytesIO(files[row])).convert("RGB")).transpose(2, 0, 1)
        random = shuffle.augmentation(1, 1 + place)
        top, left, high, wide = (int(side[0]) for side in crop_boxes(random, 1, *pixels.shape[1:], (0.35, 1.0)))
        box = pixels[:, top : top + high, left : left + wide].astype(np.float64)
        expected = resize_weights(high, size) @ box @ resize_weights(wide, size).T
        flip = bool(random.integers(2))
        mirrored += flip
        expected = expected[..., ::-1] if flip else expected
        assert np.abs(levels_of(batch["inputs"][place]) - expected).max() < 1.01
        assert batch["targets"][place] == row // 6
    assert 0 < mirrored < 20


def test_vit_batches_are_mixed_with_the_image_before(data: Path) -> None:
    """As the generated images are: whole rows, one weight a batch, the first with the last."""
    loaded = prepared_data("imagenet_vit", data)
    seed = np.random.SeedSequence(8)
    batch = loaded.train_source(seed, 8).batch(3)
    shuffle = Shuffle(60, seed)
    plain = [
        loaded._train(int(row), shuffle.augmentation(3, 1 + place)) for place, row in enumerate(shuffle.rows(24, 8))
    ]
    weight = mixup_weight(shuffle.augmentation(3))
    normal = {
        "inputs": normalise(np.stack([example["inputs"] for example in plain])),
        "targets": np.stack([example["targets"] for example in plain]),
    }
    for name, rows in normal.items():
        mix(rows, weight)
        np.testing.assert_allclose(batch[name], rows, atol=2e-6)
        assert batch[name].dtype == np.float32
    assert batch["targets"].max(axis=1).min() < 1, "some are of two classes"


def evaluated(data: Data, split: str) -> tuple[np.ndarray, np.ndarray]:
    batches = list(data.eval_batches(split, 64))  # type: ignore[arg-type]
    return tuple(np.concatenate([batch[name] for batch in batches]) for name in ("inputs", "targets"))  # type: ignore[return-value]


def test_evaluations_are_the_published_transforms(data: Path) -> None:
    """Levels are those of the golden-tested functions, exactly; normalised, to the last digits of float32."""
    loaded = prepared_data("imagenet_resnet", data)
    for split, folder, transform in (("validation", "val", validation_transform), ("test", "test", bicubic_transform)):
        inputs, targets = evaluated(loaded, split)
        np.testing.assert_array_equal(targets, np.repeat(np.arange(10), 2))
        files = [image for number in range(10) for image in images_of(splits()[folder], number)]
        for found, file in zip(inputs, files, strict=True):
            pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).transpose(2, 0, 1)
            expected = transform(pixels[None], 16)[0]
            np.testing.assert_allclose(found, expected, atol=1e-6)
            if split == "validation":
                np.testing.assert_array_equal(np.rint(levels_of(found)), np.rint(levels_of(expected)))


def test_evaluated_training_images_are_the_same_few_in_every_trial(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timetrial.workloads.imagenet_resnet.workload.EVAL_TRAIN", 13)
    first, second = (evaluated(prepared_data("imagenet_resnet", data), "train") for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    files = [image for number in range(10) for image in images_of(splits()["train"], number)]
    every = [validation_transform(decode(file).transpose(2, 0, 1)[None], 16)[0] for file in files]
    rows = [int(np.argmin([np.abs(image - found).max() for image in every])) for found in first[0]]
    assert len(set(rows)) == 13
    assert rows == sorted(rows)
    np.testing.assert_array_equal(first[1], [row // 6 for row in rows])


def golden_pixels() -> np.ndarray:
    """Return the image of the golden file's `image_rule`, uint8 (300, 280, 3)."""
    y, x = np.mgrid[:300, :280].astype(np.float64)
    red = 127.5 + 100 * np.sin(x / 17 + y / 29)
    green = 127.5 + 90 * np.cos(x * y / 9000)
    blue = 255 * ((x // 20 + y // 25) % 2)
    return np.clip(np.rint(np.stack([red, green, blue], axis=-1)), 0, 255).astype(np.uint8)


def test_golden_images_through_records(shared: Path, tmp_path: Path) -> None:
    """As PNG, the golden image keeps its levels; its JPEG came out of TensorFlow's decoder with others, a few away."""
    with np.load(shared / "golden" / "preprocess_imagenet.npz") as arrays:
        golden = dict(arrays)
    content = json.loads((shared / "golden" / "preprocess_imagenet.json").read_text())
    raw = make(tmp_path / "raw", images=1, validation=1, test=2, classes=1)
    png = io.BytesIO()
    Image.fromarray(golden_pixels()).save(png, "PNG")
    next((raw / "val" / SYNSETS[0]).iterdir()).write_bytes(png.getvalue())
    first, second = sorted((raw / TEST_FOLDER / "0").iterdir())
    first.write_bytes(png.getvalue())
    second.write_bytes(base64.b64decode(content["jpeg_base64"]))
    prepare_here(RECIPE, raw, tmp_path / "data", jobs=1)
    found = load_workload("imagenet_resnet", "full").data_prepared(open_prepared(RECIPE, tmp_path / "data"))
    inputs, _ = evaluated(found, "validation")
    np.testing.assert_allclose(inputs[0, :, ::4, ::4], golden["torchvision_style_eval_stride4"], atol=2e-6)
    inputs, _ = evaluated(found, "test")
    kept, decoded = inputs[:, :, ::4, ::4].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(kept, golden["tf_eval_without_jpeg_stride4"], atol=2e-5)
    away = np.abs(decoded - golden["tf_eval_from_jpeg_stride4"]) * 255 * STD
    assert away.max() < 8
    assert away.mean() < 1.5


@pytest.mark.parametrize(
    "options",
    [{"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}, {"subsampling": "4:2:0"}, {"progressive": True}],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_files_are_decoded_to_pillow_s_levels(mode: str, options: dict[str, object]) -> None:
    file = io.BytesIO()
    Image.open(io.BytesIO(jpeg(3, (67, 45)))).convert(mode).save(file, "JPEG", **options)  # type: ignore[arg-type]
    expected = np.asarray(Image.open(file).convert("RGB"))
    np.testing.assert_array_equal(decode(file.getvalue()), expected)


def test_half_a_file_is_not_decoded() -> None:
    with pytest.raises(OSError, match="truncated"):
        decode(jpeg(3, (67, 45))[:-900])


@pytest.mark.parametrize(("width", "height"), [(350, 280), (500, 375), (90, 61), (224, 224), (17, 400)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_crops_are_resized_to_pillow_s_levels_or_one_beside_them(width: int, height: int, mirrored: bool) -> None:
    image = Image.open(io.BytesIO(jpeg(5, (600, 480))))
    levels = np.asarray(image.convert("RGB")).copy()
    found = resized_crop(levels[11 : 11 + height, 23 : 23 + width], 224, mirrored=mirrored)
    expected = image.crop((23, 11, 23 + width, 11 + height)).resize((224, 224), Image.Resampling.BILINEAR)
    expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else expected
    away = np.abs(found.astype(int) - np.asarray(expected).transpose(2, 0, 1))
    assert away.max() <= 1
    assert away.mean() < 0.25
    np.testing.assert_array_equal(bands_of(image_of(found)), found)


def test_threads_that_resize_do_not_divide_their_work_again() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    levels = np.zeros((30, 40, 3), np.uint8)
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(resized_crop, levels, 16, mirrored=False).result()
            assert pool.submit(torch.get_num_threads).result() == 1
        resized_crop(levels, 16, mirrored=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_model_of_fewer_classes_refuses(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_workload("imagenet_resnet", "tiny", data="prepared")
    loaded.config = replace(loaded.config, classes=9)
    with pytest.raises(UserError, match="holds images of 10 classes; this preset's model knows 9"):
        loaded.data_prepared(open_prepared(RECIPE, data))


# What is wrong is said in one sentence that names the file.


def build(raw: Path, folder: Path) -> None:
    """Make all parts in this process."""
    for stage in RECIPE.stages(raw, folder):
        for part in stage():
            (folder / part.name).mkdir(parents=True)
            part.make(folder / part.name)


def cut(name: str, keep: float) -> Callable[[Path], None]:
    def spoil(raw: Path) -> None:
        data = (raw / name).read_bytes()
        (raw / name).write_bytes(data[: int(keep * len(data))])

    return spoil


def remove(name: str) -> Callable[[Path], None]:
    def spoil(raw: Path) -> None:
        path = raw / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def write(name: str, data: bytes) -> Callable[[Path], None]:
    def spoil(raw: Path) -> None:
        (raw / name).parent.mkdir(exist_ok=True)
        (raw / name).write_bytes(data)

    return spoil


FIRST = f"train/{SYNSETS[0]}/{SYNSETS[0]}_102.JPEG"
BROKEN_FOLDERS = {
    "no training images": (remove("train"), r"ILSVRC2012_img_train.tar: no such file .* folder train"),
    "no validation images": (remove("val"), r"ILSVRC2012_img_val.tar: no such file"),
    "no test images": (remove(TEST_FOLDER), r"imagenetv2-matched-frequency.tar.gz: no such file"),
    "a cut JPEG": (cut(FIRST, 0.7), rf"{FIRST}: is no whole image .*truncated"),
    "a cut PNG": (cut(f"train/{SYNSETS[2]}/{SYNSETS[2]}_85.JPEG", 0.7), rf"{SYNSETS[2]}_85.JPEG: is no whole image"),
    "an empty file": (write(FIRST, b""), rf"{FIRST}: is empty"),
    "a web page": (write(FIRST, b"<html>not found</html>"), rf"{FIRST}: is no whole image"),
    "an empty class": (lambda raw: [p.unlink() for p in (raw / "train" / SYNSETS[4]).iterdir()], "holds no images"),
    "a class too few": (remove(f"val/{SYNSETS[9]}"), rf"val: has no images of the class {SYNSETS[9]}"),
    "a class too many": (write("val/n99999999/1.JPEG", jpeg(0)), "val: its class n99999999 is not in .*train"),
    "a number too many": (write(f"{TEST_FOLDER}/10/1.jpeg", jpeg(0)), "from 0 to 9, .*; 10 is not one of them"),
    "a number too few": (remove(f"{TEST_FOLDER}/7"), "from 0 to 9, .*; 7 is missing"),
}
BROKEN_TARS = {
    "no devkit": (remove("ILSVRC2012_devkit_t12.tar.gz"), "ILSVRC2012_devkit_t12.tar.gz: no such file"),
    "a cut devkit": (cut("ILSVRC2012_devkit_t12.tar.gz", 0.6), "ILSVRC2012_devkit_t12.tar.gz: cannot be read"),
    "a devkit without classes": (
        write("ILSVRC2012_devkit_t12.tar.gz", gzip.compress(tar_of({"readme": b""}))),
        "devkit_t12.tar.gz: expected data/meta.mat in it",
    ),
    "a cut training tar": (cut("ILSVRC2012_img_train.tar", 0.5), "ILSVRC2012_img_train.tar: .*download it again"),
    "a training tar without its end": (
        lambda raw: (raw / "ILSVRC2012_img_train.tar").write_bytes(
            (raw / "ILSVRC2012_img_train.tar").read_bytes().rstrip(b"\0")
        ),
        "ILSVRC2012_img_train.tar: .*download it again",
    ),
    "a training tar of images": (
        write("ILSVRC2012_img_train.tar", tar_of({"1.JPEG": jpeg(0)})),
        "ILSVRC2012_img_train.tar: holds no tars",
    ),
    "a cut image in a tar": (
        write("ILSVRC2012_img_train.tar", tar_of({f"{s}.tar": tar_of({"1.JPEG": jpeg(0)[:-99]}) for s in SYNSETS})),
        "ILSVRC2012_img_train.tar: 1.JPEG: is no whole image",
    ),
    "no tar": (write("ILSVRC2012_img_val.tar", b"x" * 2000), "ILSVRC2012_img_val.tar: cannot be read"),
    "a cut validation tar": (cut("ILSVRC2012_img_val.tar", 0.5), "ILSVRC2012_img_val.tar: .*download it again"),
    "a validation tar too small": (
        write("ILSVRC2012_img_val.tar", tar_of({"ILSVRC2012_val_00000001.JPEG": jpeg(0)})),
        "ILSVRC2012_img_val.tar: expected 20 images",
    ),
    "validation images with other names": (
        write("ILSVRC2012_img_val.tar", tar_of({f"{n}_x.JPEG": jpeg(0) for n in range(20)})),
        "0_x.JPEG: expected a name that ends in a number",
    ),
    "a cut test tar": (cut("imagenetv2-matched-frequency.tar.gz", 0.6), "frequency.tar.gz: cannot be read"),
}


@pytest.mark.parametrize("case", BROKEN_FOLDERS)
def test_broken_folders_are_named(raw: Path, tmp_path: Path, case: str) -> None:
    spoil, message = BROKEN_FOLDERS[case]
    shutil.copytree(raw, tmp_path / "raw")
    spoil(tmp_path / "raw")
    with pytest.raises(UserError, match=message):
        build(tmp_path / "raw", tmp_path / "parts")


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("raw") / "tars", layout="tars")


@pytest.mark.parametrize("case", BROKEN_TARS)
def test_broken_tars_are_named(tars: Path, tmp_path: Path, case: str) -> None:
    spoil, message = BROKEN_TARS[case]
    shutil.copytree(tars, tmp_path / "raw")
    spoil(tmp_path / "raw")
    with pytest.raises(UserError, match=message):
        build(tmp_path / "raw", tmp_path / "parts")


def test_only_the_end_is_missed(raw: Path, tmp_path: Path) -> None:
    """Two bytes less are noticed, two bytes more do no harm; an end inside the header is none."""
    shutil.copytree(raw, tmp_path / "raw")
    path = tmp_path / "raw" / FIRST
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0\0")
    build(tmp_path / "raw", tmp_path / "parts")
    comment = b"\xff\xfe\x00\x04\xff\xd9"
    for cut_off in (whole[:-2], whole[:2] + comment + whole[2:-2]):
        path.write_bytes(cut_off)
        shutil.rmtree(tmp_path / "parts")
        with pytest.raises(UserError, match="is no whole image"):
            build(tmp_path / "raw", tmp_path / "parts")


def test_the_command_says_it_in_one_sentence(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    cut(FIRST, 0.7)(tmp_path / "raw")
    output = prepare("imagenet", tmp_path / "raw", tmp_path / "data", code=2)
    assert f"{SYNSETS[0]}_102.JPEG: is no whole image" in output
