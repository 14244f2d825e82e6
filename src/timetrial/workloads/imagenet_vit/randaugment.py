"""RandAugment: two of sixteen operations on each training image, always as strong.

Source: spec: workloads/imagenet_vit.md, 1 (Cubuk et al. 2020, "RandAugment"). Images are Pillow's, of 8-bit red, green
and blue. Lengths are those of images of 224 pixels, and go with the size of others. Pixels that come from outside
are grey, and a pixel is the nearest one of before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from timetrial.prepared.raw import library
from timetrial.workloads.imagenet_images import pillow

if TYPE_CHECKING:
    from types import ModuleType

    from PIL.Image import Image

Operation: TypeAlias = "Callable[[Image, np.random.Generator], Image]"

_COUNT = 2
"""Operations on each image."""
_GREY = (128, 128, 128)
_SIZE = 224
_SHEAR = 0.3
_TRANSLATION = 100
_DEGREES = 30
_ENHANCEMENT = 1.9
_BITS = 4
_ADDED, _ADDED_BELOW = 110, 128
_CUTOUT = 40
"""Half the side of the square."""


class RandAugment:
    """Applies two operations, drawn one after the other; threads may share it."""

    def __call__(self, image: Image, random: np.random.Generator) -> Image:
        """Return the image after two operations."""
        for operation in random.integers(len(OPERATIONS), size=_COUNT):
            image = OPERATIONS[operation](image, random)
        return image


def _signed(strength: float, random: np.random.Generator) -> float:
    return -strength if random.integers(2) else strength


def _affine(image: Image, matrix: tuple[float, ...]) -> Image:
    """Return the image whose pixel (x, y) is the old one's at (a x + b y + c, d x + e y + f)."""
    pil = pillow()
    return image.transform(image.size, pil.Transform.AFFINE, matrix, pil.Resampling.NEAREST, fillcolor=_GREY)


def shear_x(image: Image, random: np.random.Generator) -> Image:
    """Shift each row by 0.3 pixels for each row above it, left or right."""
    return _affine(image, (1, _signed(_SHEAR, random), 0, 0, 1, 0))


def shear_y(image: Image, random: np.random.Generator) -> Image:
    """Shift each column by 0.3 pixels for each column left of it, up or down."""
    return _affine(image, (1, 0, 0, _signed(_SHEAR, random), 1, 0))


def translate_x(image: Image, random: np.random.Generator) -> Image:
    """Shift the image by 100 pixels, left or right."""
    return _affine(image, (1, 0, _signed(_scaled(_TRANSLATION, image.width), random), 0, 1, 0))


def translate_y(image: Image, random: np.random.Generator) -> Image:
    """Shift the image by 100 pixels, up or down."""
    return _affine(image, (1, 0, 0, 0, 1, _signed(_scaled(_TRANSLATION, image.height), random)))


def _scaled(length: int, size: int) -> int:
    return round(length * size / _SIZE)


def rotate(image: Image, random: np.random.Generator) -> Image:
    """Rotate the image by 30 degrees about its middle, either way."""
    return image.rotate(_signed(_DEGREES, random), pillow().Resampling.NEAREST, fillcolor=_GREY)


def brightness(image: Image, _: np.random.Generator) -> Image:
    """Move levels away from black."""
    return _enhance().Brightness(image).enhance(_ENHANCEMENT)


def color(image: Image, _: np.random.Generator) -> Image:
    """Move levels away from the grey of the pixel."""
    return _enhance().Color(image).enhance(_ENHANCEMENT)


def contrast(image: Image, _: np.random.Generator) -> Image:
    """Move levels away from the image's mean grey."""
    return _enhance().Contrast(image).enhance(_ENHANCEMENT)


def sharpness(image: Image, _: np.random.Generator) -> Image:
    """Move levels away from those of the smoothed image."""
    return _enhance().Sharpness(image).enhance(_ENHANCEMENT)


def posterize(image: Image, _: np.random.Generator) -> Image:
    """Keep the four highest bits of each level."""
    return _ops().posterize(image, _BITS)


def solarize(image: Image, _: np.random.Generator) -> Image:
    """Return the image: levels from 256 on would be inverted, and there are none."""
    return image


def solarize_add(image: Image, _: np.random.Generator) -> Image:
    """Add 110 to levels below 128."""
    return image.point([level + _ADDED if level < _ADDED_BELOW else level for level in range(256)] * 3)


def auto_contrast(image: Image, _: np.random.Generator) -> Image:
    """Stretch each band's levels to the whole range."""
    return _ops().autocontrast(image)


def equalize(image: Image, _: np.random.Generator) -> Image:
    """Make each band's levels about equally frequent."""
    return _ops().equalize(image)


def invert(image: Image, _: np.random.Generator) -> Image:
    """Subtract each level from 255."""
    return _ops().invert(image)


def cutout(image: Image, random: np.random.Generator) -> Image:
    """Make a square grey, its middle anywhere in the image, from 40 pixels on one side of it to 40 on the other."""
    x, y = (int(random.integers(side)) for side in image.size)
    half = _scaled(_CUTOUT, image.width)
    box = (max(x - half, 0), max(y - half, 0), min(x + half + 1, image.width), min(y + half + 1, image.height))
    image = image.copy()
    image.paste(_GREY, box)
    return image


def _enhance() -> ModuleType:
    return library("PIL.ImageEnhance", "images")


def _ops() -> ModuleType:
    return library("PIL.ImageOps", "images")


OPERATIONS: tuple[Operation, ...] = (
    shear_x,
    shear_y,
    translate_x,
    translate_y,
    rotate,
    brightness,
    color,
    contrast,
    sharpness,
    posterize,
    solarize,
    solarize_add,
    auto_contrast,
    equalize,
    invert,
    cutout,
)
"""All of them, each as likely as any other."""
