"""The digits: fixed splits, and what each of the two workloads promises."""

import numpy as np
import pytest
import torch

from timetrial.workloads import digits
from timetrial.workloads.digits_resnet.workload import DigitsResnet


def test_the_splits_never_change() -> None:
    assert digits.split_hash() == "af3e32fba417e87e37243fc5aa9270210fc50a08b40eeee1f7fd5c616da57678"


def test_the_splits_are_the_dataset_cut_in_three() -> None:
    from sklearn.datasets import load_digits

    parts = digits.splits()
    assert {name: len(part["targets"]) for name, part in parts.items()} == digits.SIZES
    pixels = np.concatenate([part["inputs"] for part in parts.values()]).reshape(1797, 64)
    original = load_digits().images.reshape(1797, 64)
    restored = np.rint(pixels * digits._STD + digits._MEAN)
    assert sorted(map(tuple, restored)) == sorted(map(tuple, original)), "every image once, none twice"
    train = parts["train"]["inputs"]
    assert abs(float(train.mean())) < 1e-3
    assert abs(float(train.std()) - 1) < 1e-3


def test_augmentation_moves_pixels_and_adds_noise() -> None:
    workload = DigitsResnet("mini")
    source = workload.data().train_source(np.random.SeedSequence(0), 500)
    batch = source.batch(0)
    again = source.batch(0)
    np.testing.assert_array_equal(batch["inputs"], again["inputs"])
    other_epoch = source.batch(2)["inputs"]
    assert batch["inputs"].shape == other_epoch.shape == (500, 1, 8, 8)
    assert batch["inputs"].dtype == np.float32
    # Ink is on average kept by a shift of one pixel in 8 x 8 images up to what falls over the edge; noise adds 0.25.
    assert batch["inputs"].var() == pytest.approx(1 + 0.25, abs=0.08)


def test_an_image_is_shifted_whole() -> None:
    workload = DigitsResnet("mini")
    image = np.zeros((1, 1, 8, 8), np.float32)
    image[0, 0, 3, 3] = 7.0
    places = set()
    for seed in range(200):
        moved = workload._shift_and_add_noise({"inputs": image}, np.random.default_rng(seed))["inputs"][0, 0]
        places.add(tuple(int(k) for k in np.unravel_index(moved.argmax(), moved.shape)))
    assert places == {(row, column) for row in (2, 3, 4) for column in (2, 3, 4)}


def test_the_last_norm_and_the_shortcuts_are_where_the_paper_has_them() -> None:
    model = DigitsResnet("mini").torch().build_model()
    assert [name for name, _ in model.named_parameters()] == [
        "stem.weight",
        "blocks.0.norm1.weight",
        "blocks.0.norm1.bias",
        "blocks.0.conv1.weight",
        "blocks.0.norm2.weight",
        "blocks.0.norm2.bias",
        "blocks.0.conv2.weight",
        "blocks.1.norm1.weight",
        "blocks.1.norm1.bias",
        "blocks.1.conv1.weight",
        "blocks.1.norm2.weight",
        "blocks.1.norm2.bias",
        "blocks.1.conv2.weight",
        "blocks.1.shortcut.weight",
        "norm.weight",
        "norm.bias",
        "output.weight",
        "output.bias",
    ]
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
