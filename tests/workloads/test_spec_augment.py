from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from timetrial.workloads.layers.spec_augment import spec_augment
from timetrial.workloads.speech import SpecAugmentConfig

TIME_ONLY = SpecAugmentConfig(time_masks=1, frequency_masks=0)
FREQUENCY_ONLY = SpecAugmentConfig(time_masks=0, frequency_masks=1)


def hidden(frames: torch.Tensor, steps: int, config: SpecAugmentConfig, seed: int, bins: int = 80) -> np.ndarray:
    """Return which entries of ones (n, steps, bins) were hidden."""
    torch.manual_seed(seed)
    return spec_augment(torch.ones(len(frames), steps, bins), frames, config).numpy() == 0


@given(seed=st.integers(0, 10_000), lengths=st.lists(st.integers(0, 400), min_size=1, max_size=4))
def test_one_time_mask_is_a_stretch_inside_the_real_frames(seed: int, lengths: list[int]) -> None:
    masks = hidden(torch.tensor(lengths), 400, TIME_ONLY, seed)
    for mask, length in zip(masks, lengths, strict=True):
        assert (mask == mask[:, :1]).all()
        steps = np.flatnonzero(mask[:, 0])
        assert len(steps) <= max(0.05 * length - 1e-9, 0)
        assert len(steps) == 0 or steps[-1] - steps[0] + 1 == len(steps)
        assert (steps < length).all()


@given(seed=st.integers(0, 10_000))
def test_one_frequency_mask_is_a_band(seed: int) -> None:
    mask = hidden(torch.tensor([7]), 10, FREQUENCY_ONLY, seed)[0]
    assert (mask == mask[:1]).all()
    bins = np.flatnonzero(mask[0])
    assert len(bins) <= 26
    assert len(bins) == 0 or bins[-1] - bins[0] + 1 == len(bins)


def test_widths_and_starts_are_uniform() -> None:
    examples, length = 20_000, 200
    mask = hidden(torch.full((examples,), length), length, TIME_ONLY, seed=3, bins=1)[:, :, 0]
    widths = mask.sum(axis=1)
    # Width floor(10 u): 0 to 9, each a tenth; six standard deviations of a count are 6 sqrt(n p (1 - p)) = 255.
    counts = np.bincount(widths, minlength=10)
    assert len(counts) == 10
    np.testing.assert_allclose(counts, examples / 10, atol=255)
    # A mask of width 9 starts at 0 to 191, on average at 95.5 with deviation 55.4, sixfold over sqrt(2,000): 7.4.
    starts = mask[widths == 9].argmax(axis=1)
    assert starts.min() <= 5
    assert starts.max() >= 186
    np.testing.assert_allclose(starts.mean(), 95.5, atol=7.5)


def test_the_number_of_masks_is_the_configured_one() -> None:
    # A thousand real steps and widths up to 49: a share (1 - 0.0245)^masks is expected to stay, about.
    frames = torch.full((2000,), 1000)
    for masks in (1, 10, 15):
        config = SpecAugmentConfig(time_masks=masks, frequency_masks=0)
        share = hidden(frames[:300], 1000, config, seed=masks, bins=1).mean()
        np.testing.assert_allclose(1 - share, (1 - 0.0245) ** masks, atol=0.02)
    for masks in (2, 4):
        config = SpecAugmentConfig(time_masks=0, frequency_masks=masks)
        runs = np.diff(hidden(frames, 2, config, seed=masks)[:, 0].astype(int), prepend=0, axis=1) == 1
        assert runs.sum(axis=1).max() == masks


def test_every_example_has_its_own_masks_and_the_seed_decides_them() -> None:
    frames = torch.tensor([300, 300])
    first = hidden(frames, 300, SpecAugmentConfig(), seed=5)
    assert (first[0] != first[1]).any()
    assert np.array_equal(first, hidden(frames, 300, SpecAugmentConfig(), seed=5))
    assert (first != hidden(frames, 300, SpecAugmentConfig(), seed=6)).any()


def test_what_is_not_hidden_stays() -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 50, 80)
    augmented = spec_augment(features, torch.tensor([50, 30, 0]), SpecAugmentConfig())
    kept = augmented != 0
    assert torch.equal(augmented[kept], features[kept])
    assert 0 < kept.float().mean() < 1
