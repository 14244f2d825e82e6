"""ImageNet's images at their published size: records, decoding, and the transforms, with Pillow.

Source: spec: workloads/imagenet_resnet.md, 1. What comes out is what `imagenet_preprocessing` makes of arrays:
normalised, float32 (3, size, size). Images are decoded whole: at a fraction of their size, decoding is faster and
gives other pixels.
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.raw import library
from timetrial.workloads.imagenet_preprocessing import MEAN, STD, bicubic_transform, crop_boxes

if TYPE_CHECKING:
    from types import ModuleType

    from PIL.Image import Image

RECORDS = "images.array_record"
"""A part's file of records: the class, unsigned 16 bits, and the file's bytes."""

_LABEL = struct.Struct("<H")

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
"""Markers of a JPEG file (ITU-T T.81, table B.1); neither can stand in the compressed data behind them."""

_SCALE = (1 / (255 * STD)).astype(np.float32)
_SHIFT = (MEAN / STD).astype(np.float32)


def record(label: int, data: bytes) -> bytes:
    """Return the record of an image and its class."""
    return _LABEL.pack(label) + data


def read_record(found: bytes) -> tuple[Image, np.ndarray]:
    """Return the image of a record, in red, green and blue, and its class, int64 ()."""
    (label,) = _LABEL.unpack_from(found)
    return decode(found[_LABEL.size :]), np.array(label, np.int64)


def decode(data: bytes) -> Image:
    """Decode an image file, be it JPEG or PNG, and whatever colours it is in. Raises what Pillow raises."""
    image: Image = pillow().open(io.BytesIO(data))
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


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


def training_image(image: Image, random: np.random.Generator, size: int, area: tuple[float, float]) -> Image:
    """Return a random crop, resized to `size` squared, mirrored or not; as torchvision, resized after cropping."""
    top, left, high, wide = (int(side[0]) for side in crop_boxes(random, 1, image.height, image.width, area))
    pil = pillow()
    # Resizing the box of the whole image would weigh in pixels beside the box.
    image = image.crop((left, top, left + wide, top + high)).resize((size, size), pil.Resampling.BILINEAR)
    return image.transpose(pil.Transpose.FLIP_LEFT_RIGHT) if random.integers(2) else image


def validation_image(image: Image, size: int) -> np.ndarray:
    """Return what `imagenet_preprocessing.validation_transform` makes of the image."""
    short = size * 256 // 224
    width, height = (short * side // min(image.size) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), pillow().Resampling.BILINEAR)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return normalised(image.crop((left, top, left + size, top + size)))


def test_image(image: Image, size: int) -> np.ndarray:
    """Return what `imagenet_preprocessing.bicubic_transform` makes of the image."""
    return bicubic_transform(np.asarray(image).transpose(2, 0, 1)[None], size)[0]


def normalised(image: Image, out: np.ndarray | None = None) -> np.ndarray:
    """Return the image's levels less the mean, over the standard deviation, float32 (3, height, width).

    A band at a time, straight from the image: 0.07 ms at 224 pixels squared, where exchanging the axes takes 0.5.
    """
    made = np.empty((3, image.height, image.width), np.float32) if out is None else out
    for band, values, scale, shift in zip("RGB", made, _SCALE, _SHIFT, strict=True):
        values[...] = _band(image, band)
        np.multiply(values, scale, out=values)
        np.subtract(values, shift, out=values)
    return made


def levels_of(image: Image) -> np.ndarray:
    """Return the image's levels, uint8 (3, height, width)."""
    return np.stack([_band(image, band) for band in "RGB"])


def _band(image: Image, band: str) -> np.ndarray:
    return np.frombuffer(image.tobytes("raw", band), np.uint8).reshape(image.height, image.width)


def mixed_levels(levels: np.ndarray, before: np.ndarray, weight: np.float32, out: np.ndarray) -> np.ndarray:
    """Normalise what is `weight` parts of one image's levels and the rest of the other's, (3, height, width) each."""
    for own, other, values, scale, shift in zip(levels, before, out, _SCALE, _SHIFT, strict=True):
        np.multiply(own, weight * scale, out=values)
        np.subtract(values, shift, out=values)
        np.add(values, other * ((1 - weight) * scale), out=values)
    return out


@lru_cache(maxsize=1)
def pillow() -> ModuleType:
    """Return Pillow's `Image`. Raises UserError where it is not installed."""
    return library("PIL.Image", "images")
