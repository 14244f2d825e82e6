from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from timetrial.workloads.layers.spectrogram import (
    FRAME_SAMPLES,
    FRAME_STEP,
    LogMelSpectrogram,
    frame_count,
    mel_filters,
    valid_frames,
)


@pytest.fixture(scope="module")
def golden(shared: Path) -> tuple[dict, dict[str, np.ndarray]]:
    path = shared / "golden" / "preprocess_librispeech.json"
    with np.load(path.with_suffix(".npz")) as archive:
        return json.loads(path.read_text()), dict(archive)


def test_constants_equal_golden(golden: tuple[dict, dict[str, np.ndarray]]) -> None:
    content, arrays = golden
    front_end = LogMelSpectrogram()
    np.testing.assert_array_equal(front_end.mean.numpy(), arrays["per_bin_mean"])
    np.testing.assert_array_equal(front_end.std.numpy(), arrays["per_bin_stddev"])
    np.testing.assert_allclose(front_end.window.numpy(), arrays["window"], atol=1e-7)
    # The reference computes its filters in float32.
    np.testing.assert_allclose(mel_filters(), arrays["mel_matrix"], atol=2e-5)
    np.testing.assert_allclose(mel_filters().sum(), 234.9484, rtol=1e-5)
    for samples, frames in content["frame_counts"].items():
        assert frame_count(int(samples)) == frames


@pytest.mark.parametrize(
    ("key", "summary", "length"),
    [
        ("features_no_padding", "no_padding", 32_000),
        ("features_padded_from_20000", "padded_from_20000", 20_000),
    ],
)
def test_features_equal_golden(golden: tuple[dict, dict[str, np.ndarray]], key: str, summary: str, length: int) -> None:
    content, arrays = golden
    sound = torch.from_numpy(arrays["waveform"]).unsqueeze(0)
    features, frames = LogMelSpectrogram()(sound, torch.tensor([length]))
    np.testing.assert_allclose(features[0].numpy(), arrays[key], rtol=0, atol=1e-4)
    assert frames.item() == content[summary]["frame_paddings"].count(0)


def test_a_tone_lights_up_the_mel_bin_of_its_frequency() -> None:
    hertz = 1000.0
    sound = 8000 * torch.sin(2 * torch.pi * hertz * torch.arange(4000) / 16_000).unsqueeze(0)
    front_end = LogMelSpectrogram()
    features, _ = front_end(sound, torch.tensor([4000]))
    log_mel = features * front_end.std + front_end.mean
    # 82 points between mel(125) = 185.23 and mel(7600) = 2787.66 are 32.13 apart; mel(1000) = 999.99 lies nearest
    # to point (999.99 - 185.23) / 32.13 = 25.36, and bin k has its centre at point k + 1.
    assert log_mel.mean(dim=1).argmax().item() == 24


def test_silence_is_the_floor() -> None:
    front_end = LogMelSpectrogram()
    features, frames = front_end(torch.zeros(1, 561), torch.tensor([0]))
    expected = (np.log(1e-5) - front_end.mean) / front_end.std
    torch.testing.assert_close(features, expected.expand(1, 2, 80))
    assert frames.item() == 0


def test_samples_beyond_the_length_do_not_matter() -> None:
    sound = 1000 * torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([1700, 4000])
    changed = sound.clone()
    changed[0, 1700:] = torch.nan
    front_end = LogMelSpectrogram()
    assert torch.equal(front_end(sound, lengths)[0], front_end(changed, lengths)[0])


@given(samples=st.integers(FRAME_SAMPLES, 4000), length=st.integers(0, 4000))
def test_a_frame_is_real_if_any_of_its_samples_is(samples: int, length: int) -> None:
    length = min(length, samples)
    starts = range(0, samples - FRAME_SAMPLES + 1, FRAME_STEP)
    expected = sum(start < length for start in starts)
    assert valid_frames(torch.tensor([length]), samples).item() == expected
    assert frame_count(samples) == len(starts)
