"""Preparing ImageNet: the images as they are distributed, unchanged, with their classes, in record files.

Source: spec: workloads/imagenet_resnet.md, 1. Classes are numbered in the order of their names. A split's order is
that of its classes, and of the file names in a class, whether it comes in folders or in tars. Nothing depends on the
preset: images are cropped and resized when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.raw import require
from timetrial.prepared.recipe import Distribution, Part, Recipe, Stage
from timetrial.prepared.records import write_records
from timetrial.workloads.imagenet_files import FolderImages, Images, TarImages
from timetrial.workloads.imagenet_images import RECORDS, check_image, record
from timetrial.workloads.imagenet_index import TEST_FOLDER, index_test, index_train, index_validation, read_index

TRAIN_TAR = "ILSVRC2012_img_train.tar"
VALIDATION_TAR = "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
TEST_TAR = "imagenetv2-matched-frequency.tar.gz"

PUBLISHED = {
    TRAIN_TAR: "md5:1d675b47d978889d74fa0da5fadfb00e",
    VALIDATION_TAR: "md5:29b22e2961454d5413ddabcf34fc5622",
    DEVKIT: "md5:fa75699e90414af021442c21a62c3abf",
}
"""As image-net.org publishes them."""

EXAMPLES = {"train": 1_281_167, "validation": 50_000, "test": 10_000}
"""Images of each split (spec: workloads/imagenet_resnet.md, 1)."""

CLASSES_A_PART = {"train": 5, "validation": 100, "test": 100}
"""6,400 images and 690 MB of the published training split, 5,000 and 670 MB, 1,000 and 130 MB of the others."""

_TARS = {"train": TRAIN_TAR, "validation": VALIDATION_TAR, "test": TEST_TAR}
_FOLDERS = {"train": "train", "validation": "val", "test": TEST_FOLDER}
_INDEX = "index-"


@dataclass(frozen=True, kw_only=True)
class ImagenetRecipe(Recipe):
    """Prepares ImageNet for both of its workloads."""

    dataset = "imagenet"
    version = 1
    distribution = Distribution(
        title="ImageNet (ILSVRC 2012), and ImageNet-v2 matched frequency for testing",
        files=f"{TRAIN_TAR}, {VALIDATION_TAR} and {DEVKIT}, or, unpacked, train/<synset>/*.JPEG or train/<synset>.tar, "
        f"and val/<synset>/*.JPEG; and {TEST_TAR} or, unpacked, {TEST_FOLDER}/<class>/*.jpeg",
        source="image-net.org, after registering; ImageNet-v2: huggingface.co/datasets/vaishaal/ImageNetV2",
        licence="ImageNet's terms of access: non-commercial research and education only",
        raw_bytes=146_000_000_000,
        prepared_bytes=146_000_000_000,
        extra="images",
    )
    published_examples = EXAMPLES

    def stages(self, raw: Path, parts: Path) -> Sequence[Stage]:
        """Return the stage that writes records of what lies in folders and looks through tars, and the tars' records.

        Raises FileError where a split is neither there as a folder nor as a tar.
        """
        in_tars = [split for split, folder in _FOLDERS.items() if not (raw / folder).is_dir()]
        in_folders = {split: raw / folder for split, folder in _FOLDERS.items() if split not in in_tars}
        for split in in_tars:
            require(raw / _TARS[split], f"this tar, or beside it a folder {_FOLDERS[split]} of images by class")

        def first() -> list[Part]:
            folders = {split: _class_folders(folder) for split, folder in in_folders.items()}
            _check_classes(raw, folders)
            records = [part for split, classes in folders.items() for part in _parts(split, classes)]
            return [*(self._index(raw, split) for split in in_tars), *records]

        def second() -> list[Part]:
            found = {split: read_index(parts / f"{_INDEX}{split}", raw / _TARS[split]) for split in in_tars}
            folders = {split: _class_folders(folder) for split, folder in in_folders.items()}
            _check_classes(raw, found | folders)
            return [part for split in in_tars for part in _parts(split, found[split], index=f"{_INDEX}{split}")]

        return [first, second] if in_tars else [first]

    def _index(self, raw: Path, split: str) -> Part:
        """Return the part that looks through a split's tar; it is hashed there, once for all parts made of it."""
        tar = raw / _TARS[split]
        sources: tuple[Path, ...] = (tar,)
        expected_bytes = 0
        make: Callable[[Path], int] = partial(index_train, tar)
        if split == "validation":
            devkit = require(raw / DEVKIT, "it beside the validation images, whose classes it tells")
            sources, make = (tar, devkit), partial(index_validation, tar, devkit)
        elif split == "test":
            make, expected_bytes = partial(index_test, tar), tar.stat().st_size
        return Part(
            name=f"{_INDEX}{split}",
            split=None,
            sources=sources,
            make=make,
            expected_bytes=expected_bytes,
            temporary=True,
            published=PUBLISHED if self.published else {},
        )


def _class_folders(folder: Path) -> dict[str, Images]:
    """Return where the images of each class lie: in a folder of folders, or in one of tars."""
    found: dict[str, Images] = {
        path.stem: TarImages(path=path, size=path.stat().st_size) for path in folder.glob("*.tar")
    }
    found = found or {path.name: FolderImages(folder=path) for path in folder.iterdir() if path.is_dir()}
    if not found:
        raise FileError(folder, "holds no folders; expected one for each class, with its images")
    return found


def _check_classes(raw: Path, found: Mapping[str, Mapping[str, Images]]) -> None:
    """Raise FileError unless all splits have the same classes: those of the training images, which decide."""
    where = {split: raw / (_FOLDERS if (raw / _FOLDERS[split]).is_dir() else _TARS)[split] for split in found}
    if not {"train", "validation"} - found.keys():
        train, validation = (found[split].keys() for split in ("train", "validation"))
        if others := sorted(validation - train):
            raise FileError(where["validation"], f"its class {others[0]} is not in {where['train']}")
        if others := sorted(train - validation):
            raise FileError(
                where["validation"], f"has no images of the class {others[0]}, which is in {where['train']}"
            )
    if "test" in found:
        count = len(found.get("train", found["test"]))
        numbers = {str(number) for number in range(count)}
        if others := sorted(found["test"].keys() ^ numbers):
            expected = f"expected classes numbered from 0 to {count - 1}, as many as of the training images"
            raise FileError(where["test"], f"{expected}; {others[0]} is {_which(others[0] in numbers)}")


def _which(is_missing: bool) -> str:
    return "missing" if is_missing else "not one of them"


def _parts(split: str, classes: Mapping[str, Images], *, index: str | None = None) -> Iterator[Part]:
    """Yield a split's parts, some classes each."""
    names = sorted(classes, key=int if split == "test" else str)
    step = CLASSES_A_PART[split]
    for first in range(0, len(names), step):
        images = {first + place: classes[name] for place, name in enumerate(names[first : first + step])}
        yield Part(
            name=f"{split}-{first // step:05}",
            split=split,
            sources=() if index else tuple(path for each in images.values() for path in each.sources),
            make=partial(write_part, images),
            expected_bytes=sum(each.size for each in images.values()),
            after=(index,) if index else (),
        )


def write_part(classes: Mapping[int, Images], folder: Path) -> int:
    """Write the images of some classes, by number; returns how many. Raises FileError, naming what is no image."""
    labels: list[int] = []

    def records() -> Iterator[bytes]:
        for label, images in classes.items():
            for name, data in images.images():
                check_image(name, data)
                labels.append(label)
                yield record(label, data)

    write_records(folder / RECORDS, records())
    np.save(folder / "labels.npy", np.array(labels, np.uint16))
    return len(labels)
