"""CIFAR-10's pickles with a few images, as Python 2 and the numpy of its time wrote them."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from raw_imagenet import tar_of

FILES = [f"data_batch_{number}" for number in range(1, 6)]


def batches(images: int = 10, test: int = 20) -> dict[str, tuple[np.ndarray, list[int]]]:
    """Return each file's images, uint8 (n, 3072), and labels: `images` in each of the five, `test` in the last."""
    random = np.random.default_rng(0)
    found = {}
    for name in (*FILES, "test_batch"):
        count = test if name == "test_batch" else images
        labels = [int(label) for label in random.permutation(np.arange(count) % 10)]
        levels = random.integers(0, 256, (count, 3072), dtype=np.uint8)
        levels[np.arange(count), :1024] = 25 * np.array(labels, np.uint8)[:, None]
        found[name] = levels, labels
    return found


def pickled(content: object) -> bytes:
    """Return the pickle, of protocol 2, that Python 2 made of a value: text is bytes, numpy's names are old ones."""
    return b"\x80\x02" + _value(content) + b"."


def _value(value: object) -> bytes:
    """Return the operations of the pickle machine that leave the value on its stack."""
    if isinstance(value, bytes):
        return b"T" + len(value).to_bytes(4, "little") + value
    if isinstance(value, int):
        return b"J" + value.to_bytes(4, "little", signed=True)
    if isinstance(value, list):
        return b"](" + _values(value) + b"e"
    if isinstance(value, tuple):
        return b"(" + _values(value) + b"t"
    if isinstance(value, dict):
        return b"}(" + _values(each for item in value.items() for each in item) + b"u"
    return b"N" if value is None else _array(value)


def _values(values: Iterable[object]) -> bytes:
    return b"".join(_value(each) for each in values)


def _array(value: object) -> bytes:
    assert isinstance(value, np.ndarray)
    code = value.dtype.str[1:].encode()
    dtype = call("numpy", "dtype", (code, 0, 1)) + _value((3, b"|", None, None, None, -1, -1, 0)) + b"b"
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _values([(0,), b"b"]) + b"tR"
    return made + b"(" + _values([1, value.shape]) + dtype + b"\x89" + _value(value.tobytes()) + b"tb"


def call(module: str, name: str, arguments: tuple[object, ...]) -> bytes:
    """Return the operations that call what has that name."""
    return f"c{module}\n{name}\n".encode() + _value(arguments) + b"R"


def batch(data: np.ndarray, labels: object) -> bytes:
    """Return a file."""
    return pickled({b"batch_label": b"a batch", b"labels": labels, b"data": data, b"filenames": [b"a.png"] * len(data)})


def make(folder: Path, *, packed: bool = True, images: int = 10, test: int = 20) -> Path:
    """Write the archive, or the folder that is in it, into `folder`."""
    files = {f"cifar-10-batches-py/{name}": batch(*content) for name, content in batches(images, test).items()}
    folder.mkdir(parents=True, exist_ok=True)
    if packed:
        (folder / "cifar-10-python.tar.gz").write_bytes(gzip.compress(tar_of(files), mtime=0))
        return folder
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
