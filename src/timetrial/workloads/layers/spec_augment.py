"""SpecAugment: training hides random stretches of time and bands of frequency from a speech model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from timetrial.workloads.layers.padding import valid_positions

if TYPE_CHECKING:
    from timetrial.workloads.speech import SpecAugmentConfig


def spec_augment(features: Tensor, frames: Tensor, config: SpecAugmentConfig) -> Tensor:
    """Return normalised features (n, time, bins) with random masks set to 0, of which `frames` (n,) are real.

    Each mask of each example has a width floor(u * widest), at most `widest`, and a start that is uniform over
    where it fits; masks may overlap. A time mask's `widest` is a share of the example's real frames. Draws on
    PyTorch's global generator of the features' device.
    Source: Park et al. 2019, "SpecAugment", section 2, without warping; spec librispeech_conformer.md, 2b.
    """
    steps, bins = features.shape[1:]
    widest_time = config.time_fraction * frames
    hidden_steps = _random_masks(config.time_masks, frames, widest_time, steps)
    all_bins = torch.full_like(frames, bins)
    widest_band = torch.full_like(widest_time, config.frequency_width)
    hidden_bins = _random_masks(config.frequency_masks, all_bins, widest_band, bins)
    return features.masked_fill(hidden_steps.unsqueeze(2) | hidden_bins.unsqueeze(1), 0.0)


def _random_masks(masks: int, lengths: Tensor, widest: Tensor, size: int) -> Tensor:
    """Return a boolean (n, size), True where one of `masks` random masks lies, all within `lengths` (n,)."""
    width_draw, start_draw = torch.rand(2, len(lengths), masks, device=lengths.device)
    widths = (width_draw * widest.unsqueeze(1)).floor().minimum(lengths.unsqueeze(1))
    starts = (start_draw * (lengths.unsqueeze(1) - widths + 1)).floor()
    return (valid_positions(starts + widths, size) & ~valid_positions(starts, size)).any(dim=1)
