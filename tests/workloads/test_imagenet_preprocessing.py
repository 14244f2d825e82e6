"""ImageNet's pipeline: the evaluation transforms of the reference, crops by hand, mixup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_files import load_golden, uniform
from hypothesis import given
from hypothesis import strategies as st

from timetrial.workloads.imagenet_generated import ImageSource
from timetrial.workloads.imagenet_preprocessing import (
    CROP_RATIO,
    MEAN,
    STD,
    RandomCrops,
    bicubic_transform,
    crop_box,
    crop_boxes,
    mix,
    normalise,
    resize_weights,
    validation_transform,
)


def golden_image() -> np.ndarray:
    """Return the image of the golden file's `image_rule`, uint8 (1, 3, 300, 280)."""
    y, x = np.mgrid[:300, :280].astype(np.float64)
    red = 127.5 + 100 * np.sin(x / 17 + y / 29)
    green = 127.5 + 90 * np.cos(x * y / 9000)
    blue = 255 * ((x // 20 + y // 25) % 2)
    return np.clip(np.rint([red, green, blue]), 0, 255).astype(np.uint8)[None]


def levels_of(images: np.ndarray) -> np.ndarray:
    return (images * STD[:, None, None] + MEAN[:, None, None]) * 255


def test_the_golden_image(shared: Path) -> None:
    assert int(golden_image().sum()) == load_golden(shared, "preprocess_imagenet").content["image"]["sum"]


def test_validation_transform_is_the_reference_s(shared: Path) -> None:
    expected = load_golden(shared, "preprocess_imagenet").arrays["torchvision_style_eval_stride4"]
    found = validation_transform(golden_image(), 224)
    assert found.shape == (1, 3, 224, 224)
    assert found.dtype == np.float32
    away = np.abs(levels_of(found[0, :, ::4, ::4]) - levels_of(expected))
    assert away.max() < 1e-4


def test_bicubic_transform_is_the_reference_s(shared: Path) -> None:
    expected = load_golden(shared, "preprocess_imagenet").arrays["tf_eval_without_jpeg_stride4"]
    found = bicubic_transform(golden_image(), 224)[0, :, ::4, ::4].transpose(1, 2, 0)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_bicubic_weights_are_the_reference_s(shared: Path) -> None:
    golden = load_golden(shared, "preprocess_imagenet")
    image = uniform("preprocess:imagenet:resize", (40, 50, 3)).astype(np.float32) * 255
    down, across = resize_weights(40, 32, kernel="cubic"), resize_weights(50, 32, kernel="cubic")
    found = np.einsum("ty,yxc,sx->tsc", down, image, across)
    np.testing.assert_allclose(found, golden.arrays["bicubic_40x50_to_32"], atol=2e-3)


def test_antialiased_weights_by_hand() -> None:
    np.testing.assert_allclose(resize_weights(4, 2), np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7)
    np.testing.assert_allclose(
        resize_weights(4, 4, start=1, length=2)[:, 1:3], [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    )
    np.testing.assert_array_equal(resize_weights(5, 5), np.eye(5))


def test_boxes_lie_inside_and_have_the_areas_and_ratios_asked_for() -> None:
    top, left, high, wide = crop_boxes(np.random.default_rng(0), 20_000, 224, 224, (0.08, 0.7))
    assert min(top.min(), left.min()) == 0
    assert (top + high).max() == (left + wide).max() == 224
    assert np.all((high >= 1) & (wide >= 1))
    ratio = wide / high
    assert CROP_RATIO[0] * 0.97 < ratio.min() < ratio.max() < CROP_RATIO[1] * 1.03
    area = high * wide / 224**2
    assert area.min() == pytest.approx(0.08, abs=0.005)
    assert np.quantile(area, [0.25, 0.5, 0.75]) == pytest.approx([0.235, 0.39, 0.545], abs=0.01), "uniform"


def test_where_no_crop_fits_the_middle_is_taken() -> None:
    """As much of it as a ratio from 3/4 to 4/3 allows."""
    for (height, width), box in {
        (30, 100): (0, 30, 30, 40),
        (100, 30): (30, 0, 40, 30),
        (50, 60): (0, 0, 50, 60),
    }.items():
        boxes = crop_boxes(np.random.default_rng(0), 3, height, width, (5.0, 6.0))
        assert [tuple(int(side) for side in each) for each in zip(*boxes, strict=True)] == [box] * 3


@given(seed=st.integers(0, 2**32), height=st.integers(1, 700), width=st.integers(1, 700), least=st.floats(0.01, 2.0))
def test_a_single_box_is_the_first_of_many(seed: int, height: int, width: int, least: float) -> None:
    boxes = crop_boxes(np.random.default_rng(seed), 1, height, width, (least, 2 * least))
    expected = tuple(int(side[0]) for side in boxes)
    assert crop_box(np.random.default_rng(seed), height, width, (least, 2 * least)) == expected


def test_a_crop_is_the_box_resized_and_maybe_flipped() -> None:
    images = np.random.default_rng(1).integers(0, 256, (50, 3, 9, 9), dtype=np.uint8)
    which = np.random.default_rng(2).permutation(50)[:40]
    crops = RandomCrops(9, 6, (0.3, 1.0))
    found = levels_of(crops(normalise(images), which, crops.draw(np.random.default_rng(5), 40)))
    replay = np.random.default_rng(5)
    boxes = crop_boxes(replay, 40, 9, 9, (0.3, 1.0))
    flips = replay.integers(0, 2, 40)
    assert 0 < flips.sum() < 40
    for image, made, top, left, high, wide, flip in zip(images[which], found, *boxes, flips, strict=True):
        box = image[:, top : top + high, left : left + wide].astype(np.float64)
        expected = resize_weights(high, 6) @ box @ resize_weights(wide, 6).T
        np.testing.assert_allclose(made, expected[..., ::-1] if flip else expected, atol=1e-3)


def test_a_batch_that_is_held_is_not_written_to() -> None:
    crops, random = RandomCrops(36, 32, (0.3, 1.0)), np.random.default_rng(0)
    images = random.standard_normal((8, 3, 36, 36), dtype=np.float32)
    first = crops(images, np.arange(8), crops.draw(random, 8))
    kept = first.copy()
    for count in (8, 2, 8, 20, 8):
        crops(images, np.arange(count) % 8, crops.draw(random, count))
    np.testing.assert_array_equal(first, kept)


def test_normalise_by_hand() -> None:
    grey = np.full((1, 3, 1, 1), 255, np.uint8)
    np.testing.assert_allclose(normalise(grey).ravel(), (1 - MEAN) / STD, rtol=1e-6)


def test_mixup_by_hand() -> None:
    values = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 5.0]], np.float32)
    mix(values, np.float32(0.75))
    np.testing.assert_allclose(values, [[1.5, 1.25], [0.25, 0.75], [2.25, 4.0]])


@given(count=st.integers(1, 70))
def test_mixup_mixes_each_row_with_the_one_before(count: int) -> None:
    rows = np.random.default_rng(count).random((count, 5), dtype=np.float32)
    values = rows.copy()
    mix(values, np.float32(0.75))
    np.testing.assert_allclose(values, 0.75 * rows + 0.25 * np.roll(rows, 1, axis=0), rtol=1e-6)


def black_and_white(batch_size: int, **options: Any) -> ImageSource:
    images = normalise(np.repeat(np.array([0, 255], np.uint8), 3 * 36).reshape(2, 3, 6, 6))
    train = {"inputs": images, "targets": np.array([0, 1])}
    return ImageSource(train, batch_size, np.random.SeedSequence(3), RandomCrops(6, 4, (0.5, 1.0)), **options)


def test_images_and_targets_are_mixed_alike() -> None:
    source = black_and_white(2, mixup_classes=2)
    weights = []
    for step in range(200):
        batch = source.batch(step)
        brightness = levels_of(batch["inputs"]).mean(axis=(1, 2, 3)) / 255
        np.testing.assert_allclose(batch["targets"], np.stack([1 - brightness, brightness], axis=1), atol=1e-4)
        weights.append(float(batch["targets"][0, 0]))
    # Beta(0.2, 0.2) has mean 1/2 and variance 1/5.6.
    assert np.mean(weights) == pytest.approx(0.5, abs=0.09)
    assert np.var(weights) == pytest.approx(1 / 5.6, abs=0.03)


def test_without_mixup_targets_are_class_numbers() -> None:
    batch = black_and_white(2).batch(0)
    assert batch["targets"].dtype == np.int64
    np.testing.assert_allclose(levels_of(batch["inputs"])[:, 0, 0, 0] / 255, batch["targets"], atol=1e-4)


@given(steps=st.lists(st.integers(0, 200), min_size=1, max_size=4))
def test_any_step_of_images_can_be_had_at_any_time(steps: list[int]) -> None:
    jumping, in_order = black_and_white(2, mixup_classes=2), black_and_white(2, mixup_classes=2)
    expected = [in_order.batch(step) for step in range(max(steps) + 1)]
    for step in steps:
        for name, array in jumping.batch(step).items():
            assert array.tobytes() == expected[step][name].tobytes()
