"""ImageNet's images at their published size: records, decoding, and the transforms.

Source: spec: workloads/imagenet_resnet.md, 1. What comes out is what `imagenet_preprocessing` makes of arrays:
normalised, float32 (3, size, size). Images are decoded whole: at a fraction of their size, decoding is faster and
gives other pixels. Evaluations resize with Pillow, as published; training with PyTorch, in a third of the time, whose
levels are Pillow's or one beside them (`imagenet_crops_torch`).
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.raw import library
from timetrial.workloads.imagenet_preprocessing import MEAN, STD, bicubic_transform, crop_box

if TYPE_CHECKING:
    from types import ModuleType

    from PIL.Image import Image

RECORDS = "images.array_record"
"""A part's file of records: the class, unsigned 16 bits, and the file's bytes."""

_LABEL = struct.Struct("<H")

_SCAN, _END = b"\xff\xda", b"\xff\xd9"
"""Markers of a JPEG file (ITU-T T.81, table B.1); neither can stand in the compressed data behind them."""

_FAST_COLOURS = ("YCbCr", "Gray", "RGB")

_SCALE = (1 / (255 * STD)).astype(np.float32)
_SHIFT = (MEAN / STD).astype(np.float32)


def record(label: int, data: bytes) -> bytes:
    """Return the record of an image and its class."""
    return _LABEL.pack(label) + data


def read_record(found: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the image of a record, uint8 (height, width, 3), and its class, int64 ()."""
    (label,) = _LABEL.unpack_from(found)
    return decode(memoryview(found)[_LABEL.size :]), np.array(label, np.int64)


def decode(data: bytes | memoryview) -> np.ndarray:
    """Return the levels of an image file, JPEG or PNG, in red, green and blue, uint8 (height, width, 3).

    simplejpeg decodes with the library that Pillow does, to the same levels, in two thirds of the time. Pillow takes
    what it does not: PNG, and CMYK, which each turns into red, green and blue in a way of its own. Raises what Pillow
    raises.
    """
    fast = library("simplejpeg", "images")
    try:
        _, _, colours, _ = fast.decode_jpeg_header(data)
        if colours in _FAST_COLOURS:
            levels: np.ndarray = fast.decode_jpeg(data, "RGB")
            return levels
    except ValueError:
        pass
    return np.array(pillow().open(io.BytesIO(data)).convert("RGB"))  # a copy may be written, as simplejpeg's may


def check_image(name: str, data: bytes) -> None:
    """Raise FileError where a file is no image, or not all of it.

    Of a JPEG reads the header and looks for its end, a thirtieth of the time that decoding takes; decodes what has no
    end, which a JPEG does not survive and the one PNG does.
    """
    if not data:
        raise FileError(name, "is empty; expected an image")
    try:
        with pillow().open(io.BytesIO(data)) as image:
            whole = image.format == "JPEG" and data.rfind(_END) > data.rfind(_SCAN)
            if not whole:
                image.load()
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        cause = str(error).replace(" <_io.BytesIO object", " <").partition(" <")[0]
        raise FileError(name, f"is no whole image ({cause}); download it again") from error


def training_image(levels: np.ndarray, random: np.random.Generator, size: int, area: tuple[float, float]) -> np.ndarray:
    """Return a random crop of an image, uint8 (height, width, 3), resized, mirrored or not: uint8 (3, size, size)."""
    from timetrial.workloads.imagenet_crops_torch import resized_crop

    height, width, _ = levels.shape
    top, left, high, wide = crop_box(random, height, width, area)
    crop = levels[top : top + high, left : left + wide]
    return resized_crop(crop, size, mirrored=bool(random.integers(2)))


def validation_image(levels: np.ndarray, size: int) -> np.ndarray:
    """Return what `imagenet_preprocessing.validation_transform` makes of an image, uint8 (height, width, 3)."""
    image = pillow().fromarray(levels)
    short = size * 256 // 224
    width, height = (short * side // min(image.size) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), pillow().Resampling.BILINEAR)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return normalised(bands_of(image.crop((left, top, left + size, top + size))))


def test_image(levels: np.ndarray, size: int) -> np.ndarray:
    """Return what `imagenet_preprocessing.bicubic_transform` makes of an image, uint8 (height, width, 3)."""
    return bicubic_transform(levels.transpose(2, 0, 1)[None], size)[0]


def image_of(bands: np.ndarray) -> Image:
    """Return Pillow's image of levels, uint8 (3, height, width); band by band, in a quarter of `fromarray`'s time."""
    image: Image = pillow().merge("RGB", [pillow().fromarray(band) for band in bands])
    return image


def bands_of(image: Image) -> np.ndarray:
    """Return the levels of Pillow's image, uint8 (3, height, width); a third of the time that exchanging axes takes."""
    bands = [np.frombuffer(image.tobytes("raw", band), np.uint8) for band in "RGB"]
    return np.stack(bands).reshape(3, image.height, image.width)


def normalised(bands: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return levels, uint8 (3, height, width), less the mean, over the standard deviation, as float32.

    A band at a time: three together, with scales that are broadcast, take twice as long.
    """
    made = np.empty(bands.shape, np.float32) if out is None else out
    for band, values, scale, shift in zip(bands, made, _SCALE, _SHIFT, strict=True):
        values[...] = band
        np.multiply(values, scale, out=values)
        np.subtract(values, shift, out=values)
    return made


def mixed_levels(levels: np.ndarray, before: np.ndarray, weight: np.float32, out: np.ndarray) -> None:
    """Normalise what is `weight` parts of one image's levels and the rest of the other's, (3, height, width) each."""
    part = np.empty(out.shape[1:], np.float32)
    for own, other, values, scale, shift in zip(levels, before, out, _SCALE, _SHIFT, strict=True):
        values[...] = own
        np.multiply(values, weight * scale, out=values)
        part[...] = other
        np.multiply(part, (1 - weight) * scale, out=part)
        np.add(values, part, out=values)
        np.subtract(values, shift, out=values)


@lru_cache(maxsize=1)
def pillow() -> ModuleType:
    """Return Pillow's `Image`. Raises UserError where it is not installed."""
    return library("PIL.Image", "images")
