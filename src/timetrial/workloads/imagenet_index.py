"""What lies where in ImageNet's tars: read from their headers once, so that parts can then be made side by side."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from timetrial.errors import FileError
from timetrial.prepared.raw import reading
from timetrial.workloads.imagenet_files import Images, Member, TarImages, is_image, tar_members, unpacked

TEST_FOLDER = "imagenetv2-matched-frequency-format-val"
"""ImageNet-v2's folder, in its tar and unpacked: a folder for each class in it, named by the class's number."""

_INDEX = "index.json"
_UNPACKED = "images.tar"
_SYNSETS = "data/meta.mat"
_CLASSES = "data/ILSVRC2012_validation_ground_truth.txt"


def index_train(tar: Path, folder: Path) -> int:
    """Write where in the tar of tars each class's tar lies; returns 0, for it holds no examples. Raises FileError."""
    found = {
        member.name.removesuffix(".tar"): {"start": member.start, "size": member.size}
        for member in tar_members(tar)
        if member.name.endswith(".tar")
    }
    if not found:
        raise FileError(tar, "holds no tars; expected one for each class")
    return _write(folder, found)


def index_validation(tar: Path, devkit: Path, folder: Path) -> int:
    """Write where in the tar each image lies, by class, as the development kit says. Raises FileError."""
    classes = _validation_classes(devkit)
    images = [member for member in tar_members(tar) if is_image(member.name)]
    if len(images) != len(classes):
        raise FileError(
            tar, f"expected {len(classes)} images, as many as {devkit} has classes for; found {len(images)}"
        )
    found: dict[str, list[Member]] = {}
    for member in images:
        number = member.name.rpartition(".")[0].rpartition("_")[2]
        if not number.isdecimal() or not 1 <= int(number) <= len(classes):
            raise FileError(tar, f"{member.name}: expected a name that ends in a number from 1 to {len(classes)}")
        found.setdefault(classes[int(number) - 1], []).append(member)
    return _write(folder, {name: _members(members) for name, members in found.items()})


def index_test(tar: Path, folder: Path) -> int:
    """Gunzip ImageNet-v2's tar, so that it can be read by place, and write where each image lies, by class."""
    found: dict[str, list[Member]] = {}
    for member in tar_members(unpacked(tar, folder / _UNPACKED)):
        parent = member.name.rpartition("/")[0].rpartition("/")[2]
        if is_image(member.name):
            found.setdefault(parent, []).append(member)
    if not found:
        raise FileError(tar, f"holds no images; expected them in {TEST_FOLDER}/<class>/")
    return _write(folder, {name: _members(members) for name, members in found.items()})


def read_index(folder: Path, tar: Path) -> dict[str, Images]:
    """Return where the images of each class lie; `tar` is the one that was looked through."""
    path = folder / _UNPACKED if (folder / _UNPACKED).exists() else tar
    found: dict[str, Images] = {}
    for name, place in json.loads((folder / _INDEX).read_text()).items():
        members = place.get("members")
        found[name] = TarImages(
            path=path,
            start=place.get("start", 0),
            size=place["size"],
            members=None if members is None else tuple(Member(name=n, start=s, size=b) for n, s, b in members),
        )
    return found


def _members(members: list[Member]) -> dict[str, object]:
    return {
        "size": sum(member.size for member in members),
        "members": [(member.name, member.start, member.size) for member in members],
    }


def _write(folder: Path, found: Mapping[str, object]) -> int:
    (folder / _INDEX).write_text(json.dumps(found, sort_keys=True))
    return 0


def _validation_classes(devkit: Path) -> list[str]:
    """Return the synset of each validation image, in the order of their numbers."""
    from scipy.io import loadmat  # a tenth of a second
    from scipy.io.matlab import MatReadError

    with reading(devkit, MatReadError, ValueError, TypeError, KeyError, NotImplementedError):
        with tarfile.open(devkit, "r:*") as tar:
            synsets = loadmat(io.BytesIO(_file(devkit, tar, _SYNSETS)), squeeze_me=True)["synsets"]
            numbers = [int(line) for line in _file(devkit, tar, _CLASSES).split()]
        names = {int(each["ILSVRC2012_ID"]): str(each["WNID"]) for each in synsets.ravel() if not each["num_children"]}
        if unknown := sorted(set(numbers) - names.keys()):
            raise FileError(devkit, f"{_CLASSES}: class {unknown[0]} is not in {_SYNSETS}")
    return [names[number] for number in numbers]


def _file(devkit: Path, tar: tarfile.TarFile, name: str) -> bytes:
    for member in tar:
        if member.isfile() and member.name.endswith(name):
            file = tar.extractfile(member)
            assert file is not None, "it is a file"
            return file.read()
    raise FileError(devkit, f"expected {name} in it; found no such file")
