"""Small images laid out as ImageNet is distributed: class folders, tars, the development kit, ImageNet-v2."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

SYNSETS = tuple(f"n0{1440764 + 1733 * number}" for number in range(10))
"""Ten classes, as many as preset `tiny` has."""

Files = dict[str, bytes]


def jpeg(seed: int, size: tuple[int, int] = (40, 30), *, mode: str = "RGB", quality: int = 90) -> bytes:
    """Return a JPEG file of soft spots and noise, `size` wide and high."""
    random = np.random.default_rng(seed)
    width, height = size
    spots = random.integers(0, 256, (max(height // 16, 2), max(width // 16, 2), 3), dtype=np.uint8)
    levels = np.asarray(Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC)).astype(np.float64)
    levels += random.normal(0, 12, levels.shape)
    file = io.BytesIO()
    image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).convert(mode)
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def png(seed: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """Return a PNG file; one of ImageNet's files is one, for all its name."""
    file = io.BytesIO()
    Image.open(io.BytesIO(jpeg(seed, size))).save(file, "PNG")
    return file.getvalue()


def splits(
    images: int = 6, validation: int = 2, test: int = 2, *, size: tuple[int, int] = (40, 30), classes: int = 10
) -> dict[str, dict[str, Files]]:
    """Return the files of each class of each split: so many images a class, of various sizes about `size`."""
    width, height = size
    found: dict[str, dict[str, Files]] = {"train": {}, "val": {}, "test": {}}
    for number, synset in enumerate(SYNSETS[:classes]):
        seeds = iter(range(1000 * number, 1000 * number + images + validation + test))
        train = {f"{synset}_{17 * (images - i)}.JPEG": (next(seeds), i) for i in range(images)}
        found["train"][synset] = {
            name: png(seed, size)
            if (number, i) == (2, 1)
            else jpeg(seed, (width + i, height + number), mode="CMYK" if (number, i) == (3, 0) else "RGB")
            for name, (seed, i) in train.items()
        }
        # The numbers of a class's validation images are spread over the split, as in the real one.
        found["val"][synset] = {
            f"ILSVRC2012_val_{1 + number + classes * i:08}.JPEG": jpeg(next(seeds), (height, width))
            for i in range(validation)
        }
        found["test"][str(number)] = {f"{next(seeds):040x}.jpeg": jpeg(number + 77 * i, size) for i in range(test)}
    return found


def make(folder: Path, *, layout: str = "folders", **options: object) -> Path:
    """Write the dataset below `folder`; `layout` is `folders`, `tars`, or `class tars`. Options as of `splits`."""
    found = splits(**options)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    if layout == "folders":
        _write_folders(folder / "train", found["train"])
        _write_folders(folder / "val", found["val"])
        _write_folders(folder / "imagenetv2-matched-frequency-format-val", found["test"])
        return folder
    if layout == "tars":
        classes = {f"{synset}.tar": tar_of(files) for synset, files in found["train"].items()}
        (folder / "ILSVRC2012_img_train.tar").write_bytes(tar_of(classes))
    else:
        (folder / "train").mkdir()
        for synset, files in found["train"].items():
            (folder / "train" / f"{synset}.tar").write_bytes(tar_of(files))
    flat = {name: data for files in found["val"].values() for name, data in files.items()}
    (folder / "ILSVRC2012_img_val.tar").write_bytes(tar_of(dict(sorted(flat.items()))))
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(devkit(found["val"]))
    root = "imagenetv2-matched-frequency-format-val"
    test = {f"{root}/{name}/{file}": data for name, files in found["test"].items() for file, data in files.items()}
    shuffled = np.random.default_rng(0).permutation(sorted(test))
    (folder / "imagenetv2-matched-frequency.tar.gz").write_bytes(
        gzip.compress(tar_of({str(name): test[str(name)] for name in shuffled}), mtime=0)
    )
    return folder


def tar_of(files: Files) -> bytes:
    """Return a tar of files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return made.getvalue()


def devkit(validation: dict[str, Files]) -> bytes:
    """Return the development kit: numbers of the synsets, in another order than their names, and of the images."""
    from scipy.io import savemat

    synsets = sorted(validation)
    numbers = {synset: 1 + (7 * place + 3) % len(synsets) for place, synset in enumerate(synsets)}
    by_number = sorted(synsets, key=numbers.__getitem__)
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    table = np.empty((len(synsets) + 1, 1), dtype=fields)
    for row, synset in enumerate(by_number):
        table[row, 0] = (numbers[synset], synset, f"word {row}", 0)
    table[-1, 0] = (len(synsets) + 1, "n00001740", "entity", len(synsets))
    mat = io.BytesIO()
    savemat(mat, {"synsets": table})
    classes = {name: numbers[synset] for synset, files in validation.items() for name in files}
    truth = "".join(f"{classes[name]}\n" for name in sorted(classes))
    root = "ILSVRC2012_devkit_t12/data"
    files = {f"{root}/ILSVRC2012_validation_ground_truth.txt": truth.encode(), f"{root}/meta.mat": mat.getvalue()}
    return gzip.compress(tar_of(files), mtime=0)


def _write_folders(root: Path, classes: dict[str, Files]) -> None:
    for name, files in classes.items():
        (root / name).mkdir(parents=True)
        for file, data in files.items():
            (root / name / file).write_bytes(data)
