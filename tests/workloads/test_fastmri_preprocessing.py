"""k-space to the network's input, against TensorFlow's figures and by hand."""

from pathlib import Path

import numpy as np
import pytest
from golden_files import load_golden, normal

from timetrial.workloads.fastmri.preprocessing import (
    EVALUATION_SEED,
    column_masks,
    fold_in,
    prepare,
    reconstruct,
    stateless_uniform,
    volume_maxima,
)

EVALUATION = np.array([EVALUATION_SEED])
WIDTHS = [48, 320, 322, 332, 356, 368, 370, 372, 386, 388, 400]


def test_random_numbers_are_the_sheet_s() -> None:
    """Spec: workloads/fastmri.md, 1; streams of several seeds do not mix."""
    numbers = stateless_uniform(np.array([[0, 0], [1, 2]]), 8)
    zero = [0.21101546, 0.70600998, 0.80006337, 0.77079225, 0.38858867, 0.87035942, 0.80818748, 0.19694090]
    np.testing.assert_allclose(numbers[0], zero, rtol=0, atol=5e-9)
    np.testing.assert_allclose(numbers[1, :4], [0.84406042, 0.19204533, 0.99622321, 0.16038740], rtol=0, atol=5e-9)
    assert numbers.dtype == np.float32


def test_random_numbers_are_tensorflow_s(shared: Path) -> None:
    golden = load_golden(shared, "preprocess_fastmri")
    for count in (368, 372):
        np.testing.assert_array_equal(stateless_uniform(EVALUATION, count)[0], golden.arrays[f"uniform_{count}"])
    expected = golden.content["stateless_uniform"]
    np.testing.assert_allclose(stateless_uniform(np.array([[123, -7]]), 8)[0], expected["seed_123_-7_n8"], atol=5e-11)
    assert fold_in((5, 6), np.array([3])).tolist() == [expected["fold_in_of_[5,6]_with_3"]]


@pytest.mark.parametrize("columns", WIDTHS)
def test_evaluation_masks_are_the_reference_s(shared: Path, columns: int) -> None:
    expected = load_golden(shared, "preprocess_fastmri").content["masks_eval_seed"][str(columns)]
    kept = np.flatnonzero(column_masks(EVALUATION, columns)[0])
    assert kept.tolist() == expected["kept_columns"]


def test_masks_keep_the_centre_and_a_quarter_on_average() -> None:
    masks = column_masks(fold_in((3, 4), np.arange(4000)), 64)
    assert masks[:, 30:35].all()  # 5 of 64 are low frequencies, from column (64 - 5 + 1) // 2
    rates = np.delete(masks, np.s_[30:35], axis=1).mean(axis=0)
    np.testing.assert_allclose(rates, 11 / 59, atol=5 * np.sqrt(11 / 59 * 48 / 59 / 4000))
    assert len(np.unique(masks, axis=0)) > 3900, "every slice has its own"
    np.testing.assert_array_equal(masks[7], column_masks(fold_in((3, 4), np.array([7])), 64)[0])


@pytest.mark.parametrize("case", ["small", "knee_640x372", "knee_640x368"])
def test_preprocessing_is_the_reference_s(shared: Path, case: str) -> None:
    golden = load_golden(shared, "preprocess_fastmri")
    expected = golden.content["cases"][case]
    key, (height, width) = f"preprocess:fastmri:{case}", expected["kspace_shape"]
    distance = np.abs(np.arange(height) - height // 2)[:, None] + np.abs(np.arange(width) - width // 2)
    noise = normal(f"{key}:re", (height, width)) + 1j * normal(f"{key}:im", (height, width))
    kspace = (noise * 1e-3 / (1 + 0.25 * distance)).astype(np.complex64)
    raw = (np.abs(normal(f"{key}:target", tuple(expected["target_shape"]))) * 1e-4).astype(np.float32)
    masks = column_masks(EVALUATION, width)
    batch = prepare(kspace[None], masks, raw[None], np.array([3.5e-4]))
    for name in ("mean", "std", "volume_max"):
        np.testing.assert_allclose(batch[name], [expected[name]], rtol=2e-6)
    for name in ("inputs", "targets"):
        image, summary = batch[name][0].astype(np.float64), expected[name]
        np.testing.assert_allclose(np.linalg.norm(image), summary["l2"], rtol=2e-6)
        np.testing.assert_allclose([image.min(), image.max()], [summary["min"], summary["max"]], rtol=0, atol=1e-5)
        if "npz" in summary:
            np.testing.assert_allclose(image, golden.arrays[summary["npz"]], rtol=0, atol=1e-5)
        if "first64" in summary:
            np.testing.assert_allclose(image.ravel()[:64], summary["first64"], rtol=0, atol=1e-5)


def test_a_point_in_the_middle_of_k_space_is_a_flat_image() -> None:
    kspace = np.zeros((2, 8, 6), dtype=np.complex64)
    kspace[:, 4, 3] = [3j, -4]
    images = reconstruct(kspace, 4)
    np.testing.assert_allclose(images, np.array([3, 4])[:, None, None] / np.sqrt(48) * np.ones((2, 4, 4)), rtol=1e-6)


def test_the_crop_is_the_middle_of_the_image() -> None:
    image = np.arange(48.0).reshape(1, 8, 6)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    np.testing.assert_allclose(reconstruct(kspace.astype(np.complex64), 4), image[:, 2:6, 1:5], atol=1e-4)


def test_target_and_input_are_in_the_input_s_units() -> None:
    random = np.random.default_rng(0)
    kspace = (random.standard_normal((3, 16, 12)) + 1j * random.standard_normal((3, 16, 12))).astype(np.complex64)
    references = reconstruct(kspace, 8)
    all_columns = np.ones((3, 12), dtype=bool)
    batch = prepare(kspace, all_columns, references, np.ones(3))
    np.testing.assert_array_equal(batch["inputs"], batch["targets"])
    np.testing.assert_allclose(batch["inputs"].mean(axis=(1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(batch["inputs"].std(axis=(1, 2)), 1, rtol=1e-6)
    halved = prepare(kspace, all_columns, 100 * references, np.ones(3))
    assert halved["targets"].max() == 6.0
    assert all(array.dtype == np.float32 for array in batch.values())


def test_maxima_are_those_of_the_volume() -> None:
    images = np.array([1.0, 5.0, 2.0, 3.0])[:, None, None] * np.ones((4, 2, 2))
    assert volume_maxima(images, np.array([1, 0, 0, 1], dtype=np.int16)).tolist() == [3.0, 5.0, 5.0, 3.0]
