"""Small colour images of textured shapes: what `mini` and `tiny` see in the place of ImageNet.

Dataset card. A class is a shape and a texture: at `mini` 5 shapes (triangle, square, disc, star, ring) times 4
textures (stripes, checks, spots, waves). Both have to be recognised on the object and bound to each other: the
background and the clutter around the object carry shapes and textures too, drawn independently of the class. Objects
tend to be brighter than what is behind them, and a texture tends to a hue of its own, which is a hint and no more.
Position, size, angle, squeeze, light, a bar across the object and pixel noise are chance. Mirror images belong to the
same class.

Sizes and ceiling stand beside `MINI` below; classes are exactly balanced in every split. A fixed part of each class
(`mislabelled`) bears the label of another class in every split, so that whoever sees the true class of every image
is right in 1 - `mislabelled` of the cases: that is the ceiling. As ImageNet-v2 is to ImageNet, the test split is
harder: more clutter, more occlusion. docs/mini-1/imagenet.md has what models reach, and how that was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from timetrial.workloads.base import HostBatch


@dataclass(frozen=True, kw_only=True)
class ImageSizes:
    """How many images, of what size, in how many classes, and how hard."""

    train: int
    validation: int
    test: int
    """Images of a split: multiples of the number of classes."""
    pixels: int
    """Height and width of an image as it is stored; crops are smaller."""
    shapes: int = 5
    textures: int = 4
    clutter: int = 2
    """Small objects beside the one that counts; the test split has twice as many."""
    mislabelled: float = 0.05
    """Part of each class that bears another label."""
    noise: float = 7.0
    """Standard deviation of the pixel noise, in levels of 255."""
    seed: int = 20_261_124

    @property
    def classes(self) -> int:
        """Number of classes; class c has shape c // textures and texture c % textures."""
        return self.shapes * self.textures


MINI = ImageSizes(train=4_000, validation=1_200, test=500, pixels=36)
"""23 MB; the ceiling is an accuracy of 0.95."""
TINY = ImageSizes(train=200, validation=60, test=40, pixels=18, shapes=5, textures=2)

_SHAPES = np.array(
    # corners, inner radius half-way between two corners, radius of the hole, size
    [
        [3, 0.5, -1.0, 1.25],
        [4, np.sqrt(0.5), -1.0, 1.08],
        [16, 0.98, -1.0, 0.92],
        [5, 0.45, -1.0, 1.25],
        [16, 0.98, 0.5, 1.02],
    ]
)
"""Triangle, square, disc, star, ring: polygons whose outline lies between two radii, of about equal extent."""

_TEXTURES = np.array(
    # weights of stripes, checks, spots, waves in the pattern
    [[1.0, 0.0, 0.0, 0.0], [0.0, 1.6, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)

_HUES = 30.0 * np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [1.0, 1.0, -2.0], [-1.0, -1.0, 2.0]])
_HUES /= np.sqrt([[2.0], [2.0], [6.0], [6.0]])
"""What each texture adds to the object's colour, in levels: a hint, since chance has a deviation of 23 a channel."""

_TILT = np.pi / 8
"""Objects lean to either side by at most so much."""
_TEXTURE_TILT = np.pi / 12

_CHUNK = 100
"""Images rendered at once: their fields of double precision fit in a processor's cache."""


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Coordinates of the pixels' centres, each (1, pixels, pixels), in pixels."""

    y: np.ndarray
    x: np.ndarray
    pixels: int


def generate(sizes: ImageSizes) -> HostBatch:
    """Return `<split>_inputs`, uint8 (n, 3, pixels, pixels), and `<split>_targets`, uint8 (n,), of the three splits."""
    arrays: HostBatch = {}
    for number, (split, count) in enumerate(
        {"train": sizes.train, "validation": sizes.validation, "test": sizes.test}.items()
    ):
        random = np.random.Generator(np.random.PCG64([sizes.seed, number]))
        seen, labels = _classes(random, sizes, count)
        shifted = split == "test"
        images = [
            _render(random, sizes, seen[start : start + _CHUNK], shifted=shifted) for start in range(0, count, _CHUNK)
        ]
        arrays[f"{split}_inputs"] = np.concatenate(images)
        arrays[f"{split}_targets"] = labels.astype(np.uint8)
    return arrays


def _classes(random: np.random.Generator, sizes: ImageSizes, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the class that each image shows, and the one that its label says.

    The m-th mislabelled image of every class takes the label m + 1 classes on: labels stay balanced.
    """
    per_class = count // sizes.classes
    member, seen = np.divmod(np.arange(per_class * sizes.classes), sizes.classes)
    wrong = member < round(sizes.mislabelled * per_class)
    labels = np.where(wrong, (seen + 1 + member % (sizes.classes - 1)) % sizes.classes, seen)
    order = random.permutation(len(seen))
    return seen[order], labels[order]


def _render(random: np.random.Generator, sizes: ImageSizes, classes: np.ndarray, *, shifted: bool) -> np.ndarray:
    """Return images of the classes, uint8 (n, 3, pixels, pixels): background, clutter, object, bar, light, noise."""
    count, pixels = len(classes), sizes.pixels
    centres = np.arange(pixels) + 0.5
    grid = _Grid(y=centres[None, :, None], x=centres[None, None, :], pixels=pixels)
    shape, texture = np.divmod(classes, sizes.textures)

    image = _pattern(random, grid, random.integers(0, sizes.textures, count), (0.12, 0.35), (5.0, 35.0), (40.0, 130.0))
    for _ in range(sizes.clutter * (2 if shifted else 1)):
        where = random.uniform(0.0, pixels, (2, count))
        outline = _outline(random, grid, random.integers(0, sizes.shapes, count), where, (0.07, 0.13))
        colours = _pattern(
            random, grid, random.integers(0, sizes.textures, count), (0.09, 0.16), (30.0, 80.0), (40.0, 200.0)
        )
        image = _over(image, colours, outline)
    where = pixels * random.uniform(0.45, 0.55, (2, count))
    outline = _outline(random, grid, shape, where, (0.33, 0.43))
    colours = _pattern(random, grid, texture, (0.12, 0.15), (55.0, 115.0), (110.0, 190.0))
    image = _over(image, colours + _HUES[texture][:, :, None, None], outline)
    bar = _bar(random, grid, where, chance=0.8 if shifted else 0.5)
    image = _over(image, random.uniform(20.0, 235.0, (count, 3))[:, :, None, None], bar)
    image = image * _light(random, grid, count)[:, None]
    image = image + sizes.noise * random.standard_normal(image.shape)
    return np.rint(np.clip(image, 0.0, 255.0)).astype(np.uint8)


def _over(below: np.ndarray, above: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Lay colours (n, 3, ...) over others, as opaque as (n, pixels, pixels) says."""
    return below + opacity[:, None] * (above - below)


def _outline(
    random: np.random.Generator, grid: _Grid, shape: np.ndarray, where: np.ndarray, radii: tuple[float, float]
) -> np.ndarray:
    """Return how much of each pixel lies inside shapes at random angles, (n, pixels, pixels) from 0 to 1.

    `where` is (2, n), centres as y and x in pixels; `radii` is a range in parts of the image.
    """
    corners, inner, hole, size = (column[:, None, None] for column in _SHAPES[shape].T)
    radius, angle, squeeze = _columns(random, len(shape), radii, (-_TILT, _TILT), (0.8, 1.0))
    radius = radius * size * grid.pixels
    down, right = grid.y - where[0][:, None, None], grid.x - where[1][:, None, None]
    u = (np.cos(angle) * right + np.sin(angle) * down) / radius
    v = (np.cos(angle) * down - np.sin(angle) * right) / (radius * squeeze)
    # Folded into the wedge from a corner (angle 0) to half-way to the next, the outline is one straight edge.
    half = np.pi / corners
    distance = np.hypot(u, v)
    folded = np.abs(np.mod(np.arctan2(v, u) + half, 2 * half) - half)
    edge_u, edge_v = inner * np.cos(half) - 1.0, inner * np.sin(half)
    outside = (edge_v * (distance * np.cos(folded) - 1.0) - edge_u * distance * np.sin(folded)) / np.hypot(
        edge_u, edge_v
    )
    inside = np.clip(0.5 - outside * radius * squeeze, 0.0, 1.0)
    return inside * np.clip(0.5 + (distance - hole) * radius * squeeze, 0.0, 1.0)


def _pattern(
    random: np.random.Generator,
    grid: _Grid,
    texture: np.ndarray,
    periods: tuple[float, float],
    contrasts: tuple[float, float],
    middles: tuple[float, float],
) -> np.ndarray:
    """Return two random colours mixed in the pattern of a texture, (n, 3, pixels, pixels) in levels of 255.

    `periods` is a range in parts of the image, `contrasts` one in levels: how far the colours are from their middle.
    """
    count = len(texture)
    period, angle, along, across = _columns(
        random, count, periods, (-_TEXTURE_TILT, _TEXTURE_TILT), *[(0.0, 2 * np.pi)] * 2
    )
    wave = 2 * np.pi / (period * grid.pixels)
    a = wave * (np.cos(angle) * grid.x + np.sin(angle) * grid.y) + along
    b = wave * (np.cos(angle) * grid.y - np.sin(angle) * grid.x) + across
    sin_a, sin_b = np.sin(a), np.sin(b)
    patterns = (sin_a, sin_a * sin_b, sin_a + sin_b - 0.8, np.sin(a + 1.4 * np.sin(0.6 * b)))
    weights = _TEXTURES[texture].T[:, :, None, None]
    mixed = np.clip(1.5 * sum(weight * pattern for weight, pattern in zip(weights, patterns, strict=True)), -1.0, 1.0)
    middle = random.uniform(*middles, (count, 3))
    sign = np.where(random.random((count, 1)) < 0.5, -1.0, 1.0)
    # The colours differ mostly in brightness, and somewhat in hue.
    reach = sign * random.uniform(*contrasts, (count, 1)) * random.uniform(0.5, 1.0, (count, 3))
    return middle[:, :, None, None] + reach[:, :, None, None] * mixed[:, None]


def _bar(random: np.random.Generator, grid: _Grid, where: np.ndarray, *, chance: float) -> np.ndarray:
    """Return how much of each pixel a straight bar beside the object's centre covers; there is one by chance."""
    count = where.shape[1]
    angle, aside, width = _columns(random, count, (0.0, 2 * np.pi), (0.08, 0.25), (0.06, 0.14))
    down, right = grid.y - where[0][:, None, None], grid.x - where[1][:, None, None]
    off = np.abs(np.cos(angle) * right + np.sin(angle) * down - aside * grid.pixels)
    there = random.random((count, 1, 1)) < chance
    return there * np.clip(0.5 + width * grid.pixels / 2 - off, 0.0, 1.0)


def _light(random: np.random.Generator, grid: _Grid, count: int) -> np.ndarray:
    """Return the light on each pixel: a random level, and a fall in a random direction."""
    level, fall, angle = _columns(random, count, (0.7, 1.2), (0.0, 0.5), (0.0, 2 * np.pi))
    ramp = np.cos(angle) * (grid.x / grid.pixels - 0.5) + np.sin(angle) * (grid.y / grid.pixels - 0.5)
    return level * (1.0 + fall * ramp)


def _columns(random: np.random.Generator, count: int, *ranges: tuple[float, float]) -> list[np.ndarray]:
    """Return a uniform draw for each image and range, each (n, 1, 1)."""
    return [random.uniform(low, high, (count, 1, 1)) for low, high in ranges]
