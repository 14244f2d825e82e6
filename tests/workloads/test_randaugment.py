"""RandAugment's sixteen operations, each on an image small enough to do by hand; and how they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from timetrial.workloads.imagenet_vit import randaugment as ra

GREY = 128


class Coin:
    """Gives the numbers it was given, in their order, in place of a random generator."""

    def __init__(self, *values: int) -> None:
        self.values = list(values)

    def integers(self, _: int, size: int | None = None) -> object:
        return self.values.pop(0) if size is None else np.array([self.values.pop(0) for _ in range(size)])


def image_of(levels: object) -> Image.Image:
    """Return an image whose three bands all have these levels, or of (height, width, 3)."""
    array = np.array(levels, np.uint8)
    return Image.fromarray(array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=-1))


def apply(operation: ra.Operation, levels: object, *coin: int) -> np.ndarray:
    """Return the levels after the operation: of the first band where all are the same."""
    made = np.asarray(operation(image_of(levels), Coin(*coin)))  # type: ignore[arg-type]
    return made[..., 0] if np.array(levels).ndim == 2 else made


ROWS = [[10 * (row + 1) + column for column in range(5)] for row in range(5)]


def test_shear_moves_rows_by_three_tenths_of_their_number() -> None:
    """Pixel (x, y) is the old one's at (x + 0.3 y, y), centres at halves: rows 0, 1 move by 0, rows 2, 3, 4 by 1."""
    g = GREY
    unmoved = [[10, 11, 12, 13, 14], [20, 21, 22, 23, 24]]
    expected = [*unmoved, [31, 32, 33, 34, g], [41, 42, 43, 44, g], [51, 52, 53, 54, g]]
    np.testing.assert_array_equal(apply(ra.shear_x, ROWS, 0), expected)
    np.testing.assert_array_equal(apply(ra.shear_y, np.transpose(ROWS), 0), np.transpose(expected))
    other_way = [*unmoved, [g, 30, 31, 32, 33], [g, 40, 41, 42, 43], [g, 50, 51, 52, 53]]
    np.testing.assert_array_equal(apply(ra.shear_x, ROWS, 1), other_way)
    np.testing.assert_array_equal(apply(ra.shear_y, np.transpose(ROWS), 1), np.transpose(other_way))


def test_translate_moves_by_a_hundred_pixels_of_224() -> None:
    """Of five pixels, two."""
    left = [[row[2], row[3], row[4], GREY, GREY] for row in ROWS]
    right = [[GREY, GREY, row[0], row[1], row[2]] for row in ROWS]
    np.testing.assert_array_equal(apply(ra.translate_x, ROWS, 0), left)
    np.testing.assert_array_equal(apply(ra.translate_x, ROWS, 1), right)
    np.testing.assert_array_equal(apply(ra.translate_y, np.transpose(ROWS), 0), np.transpose(left))
    np.testing.assert_array_equal(apply(ra.translate_y, np.transpose(ROWS), 1), np.transpose(right))
    ramp = np.repeat(np.arange(224)[None], 224, axis=0)
    np.testing.assert_array_equal(apply(ra.translate_x, ramp, 1)[0], [GREY] * 100 + list(range(124)))


@pytest.mark.parametrize(("coin", "sign"), [(0, 1), (1, -1)])
def test_rotate_turns_by_thirty_degrees(coin: int, sign: int) -> None:
    """A spot to the right of the middle comes to lie 30 degrees further, against the clock, or with it."""
    levels = np.zeros((101, 101), np.uint8)
    levels[50, 90] = 255
    found = apply(ra.rotate, np.maximum(levels, np.roll(levels, 1, axis=0)), coin)
    y, x = np.argwhere(found == 255).mean(axis=0)
    assert (x - 50, 50 - y) == pytest.approx((40 * np.cos(np.pi / 6), sign * 40 * np.sin(np.pi / 6)), abs=1.0)
    assert found[0, 0] == found[-1, -1] == GREY


def test_enhancements_move_away_from_what_they_are_named_after() -> None:
    """Levels become 1.9 times their distance from black, the pixel's grey, the mean grey, the smooth image."""
    np.testing.assert_array_equal(apply(ra.brightness, [[0, 100, 200]]), [[0, 190, 255]])
    pixel = np.array([[[100, 80, 60]]])
    grey = (100 * 299 + 80 * 587 + 60 * 114) / 1000  # ITU-R 601-2
    np.testing.assert_allclose(apply(ra.color, pixel), grey + 1.9 * (pixel - grey), atol=1)
    np.testing.assert_array_equal(apply(ra.contrast, [[90, 110]]), [[81, 119]])
    levels = np.full((5, 5), 100)
    levels[2, 2] = 113
    smooth = levels.astype(float)
    smooth[1:4, 1:4] += 1  # the kernel is 5 in the middle and 1 around it, over 13
    smooth[2, 2] = 105
    np.testing.assert_allclose(apply(ra.sharpness, levels), smooth + 1.9 * (levels - smooth), atol=1)


def test_operations_on_levels() -> None:
    levels = [[0, 15, 16, 127, 128, 255]]
    np.testing.assert_array_equal(apply(ra.posterize, levels), [[0, 0, 16, 112, 128, 240]])
    np.testing.assert_array_equal(apply(ra.solarize, levels), levels)
    np.testing.assert_array_equal(apply(ra.solarize_add, levels), [[110, 125, 126, 237, 128, 255]])
    np.testing.assert_array_equal(apply(ra.invert, levels), [[255, 240, 239, 128, 127, 0]])
    np.testing.assert_array_equal(apply(ra.auto_contrast, [[60, 70, 111]]), [[0, 50, 255]])
    # 510 pixels of three levels: a step is (510 - 170) // 255 = 1 pixel; a level becomes the steps below it.
    three = np.repeat([10, 20, 30], 170)[None]
    np.testing.assert_array_equal(apply(ra.equalize, three), np.repeat([0, 170, 255], 170)[None])


def test_bands_are_stretched_one_by_one() -> None:
    found = apply(ra.auto_contrast, [[[60, 0, 7], [111, 255, 7]]])
    np.testing.assert_array_equal(found, [[[0, 0, 7], [255, 255, 7]]])


def test_cutout_is_a_square_that_ends_at_the_edges() -> None:
    ones = np.ones((224, 224), np.uint8)
    middle = apply(ra.cutout, ones, 100, 60)
    expected = ones.copy()
    expected[20:101, 60:141] = GREY
    np.testing.assert_array_equal(middle, expected)
    corner = apply(ra.cutout, ones, 0, 223)
    expected = ones.copy()
    expected[183:, :41] = GREY
    np.testing.assert_array_equal(corner, expected)


def test_two_operations_are_drawn_each_as_likely_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(set(ra.OPERATIONS)) == 16
    drawn: list[int] = []
    counted = tuple(lambda image, _, n=number: drawn.append(n) or image for number in range(16))
    monkeypatch.setattr(ra, "OPERATIONS", counted)
    random = np.random.default_rng(0)
    for _ in range(2000):
        ra.RandAugment()(image_of([[0]]), random)
    counts = np.bincount(drawn, minlength=16)
    assert counts.sum() == 4000
    assert counts.min() > 190
    assert counts.max() < 310


def test_the_second_operation_follows_the_first() -> None:
    made = ra.RandAugment()(image_of([[100, 200]]), Coin(5, 14))  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.asarray(made)[..., 0], [[65, 0]])


def test_the_image_itself_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for operation in ra.OPERATIONS:
        image = image_of(levels)
        made = operation(image, np.random.default_rng(1))
        assert made.size == image.size
        assert made.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), levels)
