"""ImageNet's input pipeline on arrays: resizing, the two evaluation transforms, random crops and flips, mixup.

Source: spec: workloads/imagenet_resnet.md, 1 and workloads/imagenet_vit.md, 1. Images are uint8 (n, 3, height, width)
and come out normalised, float32 (n, 3, size, size). Resizing is two small matrix products an image, one for each
axis, whose rows are the weights with which old pixels make a new one. What is left to images of the published size
(`imagenet_images`) is RandAugment: another two operations for each image take longer than 3 % of a step of `mini`.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from timetrial.workloads.batch_memory import BatchMemory

CHANNELS = 3
"""Red, green, blue."""

MEAN = np.array([0.485, 0.456, 0.406])
"""Of red, green and blue, where 1 is the largest level (spec: workloads/imagenet_resnet.md, 1)."""
STD = np.array([0.229, 0.224, 0.225])

CROP_RATIO = (3 / 4, 4 / 3)
"""Width over height of random crops, of which the logarithm is uniform."""
_ATTEMPTS = 10
"""So often a crop is drawn until one fits in the image."""
_MIXUP = 0.2
"""Both parameters of the Beta distribution of mixup's weight."""
_AT_ONCE = 16
"""Images that are worked on at once: what 64 of `mini` need is more than a core's fast memory holds."""


def normalise(images: np.ndarray) -> np.ndarray:
    """Return levels from 0 to 255, (n, 3, height, width), less the mean, over the standard deviation, as float32.

    In float64, a band at a time: all three together take ten times as long for the training images of `mini`.
    """
    made = np.empty(images.shape, np.float32)
    for band, (mean, std) in enumerate(zip(255 * MEAN, 255 * STD, strict=True)):
        np.divide(images[:, band] - mean, std, out=made[:, band], casting="same_kind")
    return made


def resize_weights(
    source: int,
    target: int,
    *,
    start: int | np.ndarray = 0,
    length: int | np.ndarray | None = None,
    kernel: Literal["antialiased", "cubic"] = "antialiased",
) -> np.ndarray:
    """Return the weights that resize `length` pixels from `start` on to `target`: float64 (..., target, source).

    `antialiased` is the triangle filter, widened where pixels are lost, as in Pillow's `BILINEAR`; `cubic` is Keys'
    kernel with a = -1/2, not widened, as in TensorFlow's `bicubic`. Pixels outside the stretch weigh nothing, and
    what is inside sums to 1. `start` and `length` may be arrays of any one shape, which leads the result's.
    """
    first = np.asarray(start)[..., None, None]
    stretch = np.asarray(source if length is None else length)[..., None, None]
    scale = stretch / target
    centres = first + (np.arange(target)[:, None] + 0.5) * scale
    pixels = np.arange(source)
    away = np.abs(pixels + 0.5 - centres)
    if kernel == "antialiased":
        weights = np.maximum(0.0, 1.0 - away / np.maximum(scale, 1.0))
    else:
        near = (1.5 * away - 2.5) * away**2 + 1.0
        far = ((-0.5 * away + 2.5) * away - 4.0) * away + 2.0
        weights = np.where(away <= 1, near, np.where(away < 2, far, 0.0))
    weights = np.where((pixels >= first) & (pixels < first + stretch), weights, 0.0)
    return weights / weights.sum(axis=-1, keepdims=True)


def validation_transform(images: np.ndarray, size: int) -> np.ndarray:
    """Resize the shorter side to 256/224 of `size`, crop the middle, normalise: validation, and training's evaluation.

    As Pillow does, weights have 22 bits after the point and levels are rounded after each axis, the width first.
    """
    height, width = images.shape[-2:]
    short = size * 256 // 224
    new_height, new_width = (short * side // min(height, width) for side in (height, width))
    levels = images.astype(np.float64)
    if new_width != width:
        levels = _round(levels @ _pillow_weights(width, new_width).T)
    if new_height != height:
        levels = _round(_pillow_weights(height, new_height) @ levels)
    top, left = round((new_height - size) / 2), round((new_width - size) / 2)
    return normalise(levels[..., top : top + size, left : left + size])


def _pillow_weights(source: int, target: int) -> np.ndarray:
    """Return weights in whole multiples of 2^-22, so that sums are exact and rounding is the same everywhere."""
    return np.floor(resize_weights(source, target) * 2**22 + 0.5) / 2**22


def _round(levels: np.ndarray) -> np.ndarray:
    """Round half up, as Pillow's integer arithmetic does."""
    return np.floor(levels + 0.5)


def bicubic_transform(images: np.ndarray, size: int) -> np.ndarray:
    """Crop 224/256 of the shorter side from the middle, resize that bicubically, normalise: the test split.

    Nothing is rounded or clipped, so that levels may leave 0 to 255 (spec: workloads/imagenet_resnet.md, 1).
    """
    height, width = images.shape[-2:]
    crop = int(np.float32(224 / 256) * np.float32(min(height, width)))
    top, left = (height - crop + 1) // 2, (width - crop + 1) // 2
    weights = resize_weights(crop, size, kernel="cubic")
    return normalise(weights @ images[..., top : top + crop, left : left + crop] @ weights.T)


def crop_boxes(
    random: np.random.Generator, count: int, height: int, width: int, area: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw top, left, height and width of random crops, int64 (count,) each.

    As torchvision's `RandomResizedCrop`: the part of the image's area is uniform, the ratio log-uniform; what does
    not fit is drawn again. Where nothing fits, the crop is the middle of the image, as much as the ratios allow.
    """
    pixels = height * width * random.uniform(*area, (_ATTEMPTS, count))
    narrowest, widest = CROP_RATIO
    ratio = np.exp(random.uniform(math.log(narrowest), math.log(widest), (_ATTEMPTS, count)))
    heights = np.rint(np.sqrt(pixels / ratio)).astype(np.int64)
    widths = np.rint(np.sqrt(pixels * ratio)).astype(np.int64)
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    chosen = fits.argmax(axis=0), np.arange(count)
    found = fits[chosen]
    tallest, broadest = _largest_crop(height, width)
    high = np.where(found, heights[chosen], tallest)
    wide = np.where(found, widths[chosen], broadest)
    down, right = random.random((2, count))
    top = np.where(found, (down * (height - high + 1)).astype(np.int64), (height - tallest) // 2)
    left = np.where(found, (right * (width - wide + 1)).astype(np.int64), (width - broadest) // 2)
    return top, left, high, wide


def crop_box(
    random: np.random.Generator, height: int, width: int, area: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Draw top, left, height and width of the crop that `crop_boxes` would draw for a single image.

    Arrays of one number each take four times as long, a few hundredths of the time that decoding an image takes.
    """
    narrowest, widest = CROP_RATIO
    parts = random.uniform(*area, _ATTEMPTS).tolist()
    logarithms = random.uniform(math.log(narrowest), math.log(widest), _ATTEMPTS).tolist()
    down, right = random.random(2).tolist()
    for part, logarithm in zip(parts, logarithms, strict=True):
        pixels, ratio = height * width * part, math.exp(logarithm)
        high, wide = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 0 < high <= height and 0 < wide <= width:
            return int(down * (height - high + 1)), int(right * (width - wide + 1)), high, wide
    high, wide = _largest_crop(height, width)
    return (height - high) // 2, (width - wide) // 2, high, wide


def _largest_crop(height: int, width: int) -> tuple[int, int]:
    """Return as much of an image's height and width as the ratios of crops allow."""
    narrowest, widest = CROP_RATIO
    return min(height, round(width / narrowest)), min(width, round(height * widest))


class Crops(NamedTuple):
    """Crops that were drawn: which weights of `RandomCrops` make their rows and their columns, int64 (n,) each."""

    rows: np.ndarray
    columns: np.ndarray


class RandomCrops:
    """Random resized crops and flips of square images of one size, many at once.

    Images are normalised already: weights sum to 1, so that resizing after it comes to the same. The weights of all
    stretches that a crop can have are made beforehand, 9 MB for images of 36 pixels. Differs from Pillow, which rounds
    levels after each axis, by at most one level.
    """

    def __init__(self, pixels: int, size: int, area: tuple[float, float]) -> None:
        """Crop parts of `area` of images of `pixels` squared, and resize them to `size` squared."""
        self._pixels, self._size, self._area = pixels, size, area
        lengths = np.arange(1, pixels + 1)
        places = pixels + 1 - lengths
        self._first = np.cumsum(places) - places
        start = np.concatenate([np.arange(count) for count in places])
        weights = resize_weights(pixels, size, start=start, length=np.repeat(lengths, places)).astype(np.float32)
        self._rows = weights
        # Laid out as the product wants them, which takes a sixth less time than transposing on the fly.
        self._columns = np.concatenate([weights, weights[:, ::-1]]).transpose(0, 2, 1).copy()
        # Fresh memory would cost a step of `mini` three times the arithmetic.
        shapes = [(CHANNELS, pixels, pixels), (size, pixels), (pixels, size), (CHANNELS * pixels, size)]
        self._room = [np.empty((_AT_ONCE, *shape), np.float32) for shape in shapes]
        self._memory = BatchMemory()

    def draw(self, random: np.random.Generator, count: int) -> Crops:
        """Draw crops of `count` images, half of them mirrored."""
        top, left, high, wide = crop_boxes(random, count, self._pixels, self._pixels, self._area)
        mirrored = len(self._rows) * random.integers(0, 2, count)
        return Crops(self._first[high - 1] + top, self._first[wide - 1] + left + mirrored)

    def __call__(self, images: np.ndarray, which: np.ndarray, crops: Crops) -> np.ndarray:
        """Return crops of the images of numbers `which`, a crop each, as float32 (n, 3, size, size).

        `images` are float32 (any number, 3, pixels, pixels), as `normalise` returns them.
        """
        pixels, size = self._pixels, self._size
        made = self._memory.empty((len(which), CHANNELS, size, size), np.dtype(np.float32))
        for start in range(0, len(which), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            levels, rows, columns, narrowed = (room[: len(which[part])] for room in self._room)
            np.take(images, which[part], axis=0, out=levels, mode="clip")
            np.take(self._rows, crops.rows[part], axis=0, out=rows, mode="clip")
            np.take(self._columns, crops.columns[part], axis=0, out=columns, mode="clip")
            np.matmul(levels.reshape(-1, CHANNELS * pixels, pixels), columns, out=narrowed)
            np.matmul(rows[:, None], narrowed.reshape(-1, CHANNELS, pixels, size), out=made[part])
        return made


def mixup_weight(random: np.random.Generator) -> np.float32:
    """Draw the weight of a batch: Beta(0.2, 0.2) (Zhang et al. 2018, "mixup"; spec: workloads/imagenet_vit.md, 1)."""
    return np.float32(random.beta(_MIXUP, _MIXUP))


def mix(values: np.ndarray, weight: np.float32) -> None:
    """Mix each row in place with the one before it, the first with the last."""
    rest = np.float32(1) - weight
    before = rest * values[-1]
    for start in range(0, len(values), _AT_ONCE):
        own = values[start : start + _AT_ONCE]
        part = rest * own
        own *= weight
        own[0] += before
        own[1:] += part[:-1]
        before = part[-1]
