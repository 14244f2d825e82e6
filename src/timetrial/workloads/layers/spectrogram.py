"""The log-mel front end of the speech models: sound in, normalised spectrogram out; nothing in it is learned.

Source of all formulas and constants: spec librispeech_conformer.md, 2a and the tables at its end.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from timetrial.workloads.layers.padding import valid_positions
from timetrial.workloads.layers.spec_augment import spec_augment
from timetrial.workloads.speech import FRAME_SAMPLES, SpecAugmentConfig

SAMPLE_RATE = 16_000
"""Samples a second."""
FRAME_STEP = 160
"""Samples from one frame's start to the next: 10 ms."""
MEL_BINS = 80

_WINDOW = 400
_FFT = 512
_PRE_EMPHASIS = 0.97
_INPUT_SCALE = 2.0**-15
_LOWEST_HERTZ, _HIGHEST_HERTZ = 125.0, 7600.0
_FLOOR = 1e-5


def frame_count(samples: int) -> int:
    """Return how many frames fit into so many samples; the end is not padded."""
    return (samples - FRAME_SAMPLES) // FRAME_STEP + 1


def valid_frames(sample_lengths: Tensor, samples: int) -> Tensor:
    """Return how many frames are real (n,), for lengths (n,) of sounds padded to `samples`.

    A frame is padding only if all its samples are.
    """
    return ((sample_lengths + FRAME_STEP - 1) // FRAME_STEP).clamp(max=frame_count(samples))


class LogMelSpectrogram(nn.Module):
    """Pre-emphasis, Hann window, power spectrum, mel filters, logarithm, normalisation of each bin; float32.

    In training, parts of the spectrogram are hidden as `augment` says.
    """

    window: Tensor
    filters: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, augment: SpecAugmentConfig | None = None) -> None:
        super().__init__()
        self._augment = augment
        constants = {
            "window": torch.hann_window(_WINDOW, periodic=True),
            "filters": torch.from_numpy(mel_filters().astype(np.float32)),
            "mean": torch.tensor(_MEAN),
            "std": torch.tensor(_STD),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    def forward(self, sound: Tensor, sample_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (n, frames, 80) and the number of real frames (n,).

        `sound` (n, samples) is on the scale of 16-bit integers; samples beyond `sample_lengths` (n,) count as 0.
        """
        samples = sound.shape[1]
        sound = sound.masked_fill(~valid_positions(sample_lengths, samples), 0.0)
        # Each frame's first sample has no predecessor in the frame, but the window's first weight is 0 anyway.
        emphasised = torch.sub(sound, sound.roll(1, dims=1), alpha=_PRE_EMPHASIS)
        # One sample less, since the last frame, too, has to have its 401st.
        frames = emphasised[:, :-1].unfold(1, _WINDOW, FRAME_STEP)
        spectrum = torch.fft.rfft(frames * (self.window * _INPUT_SCALE), n=_FFT)
        power = spectrum.real.square() + spectrum.imag.square()
        log_mel = (power @ self.filters).clamp(min=_FLOOR).log()
        features, real = (log_mel - self.mean) / self.std, valid_frames(sample_lengths, samples)
        if self.training and self._augment is not None:
            features = spec_augment(features, real, self._augment)
        return features, real


def mel_filters() -> np.ndarray:
    """Return triangles on the mel scale over the bins of the power spectrum: float64 (257, 80).

    They stand on 82 points equally spaced from 125 to 7600 Hz on HTK's scale 1127 ln(1 + f / 700), linear in mel,
    each of height 1; the bin of frequency 0 has no weight.
    """
    bins = _mel(np.linspace(0.0, SAMPLE_RATE / 2, _FFT // 2 + 1))[:, np.newaxis]
    points = np.linspace(_mel(_LOWEST_HERTZ), _mel(_HIGHEST_HERTZ), MEL_BINS + 2)
    left, centre, right = points[:-2], points[1:-1], points[2:]
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    triangles = np.maximum(triangles, 0.0)
    triangles[0] = 0.0
    return triangles


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


# fmt: off
_MEAN = (
    -7.60478163, -7.12062263, -6.88642454, -6.87057686, -6.96677208, -7.1084094, -6.95280266, -6.7839942,
    -6.61955214, -6.48762655, -6.41206598, -6.39404774, -6.42448711, -6.39937115, -6.51582718, -6.71379995,
    -6.84768772, -6.98850012, -6.92213869, -7.14614868, -7.20404005, -7.05375528, -7.31403828, -7.12232494,
    -7.30251408, -7.12121439, -7.24257326, -7.17305374, -7.0979414, -7.0887475, -6.98499107, -6.87877321,
    -6.76027536, -6.63009453, -6.51457691, -6.42450571, -6.3565135, -6.31787634, -6.26607704, -6.24683285,
    -6.28215265, -6.19083881, -6.2484355, -6.147264, -6.09247255, -6.01710033, -5.92504025, -5.85358334,
    -5.82091093, -5.81189299, -5.80783749, -5.77146292, -5.74537325, -5.77056551, -5.77656412, -5.78316736,
    -5.79540873, -5.79948235, -5.80234766, -5.80471182, -5.81681824, -5.88448, -5.97271061, -6.04446602,
    -6.12848663, -6.22575855, -6.31574965, -6.39061165, -6.49285984, -6.5498457, -6.60543203, -6.6508379,
    -6.6691761, -6.67268896, -6.68423462, -6.69745779, -6.7547183, -6.79491425, -6.86342096, -6.94186544,
)
"""Mean of each log-mel bin over LibriSpeech."""

_STD = (
    3.43532825, 3.59629321, 3.70124722, 3.7369206, 3.75351048, 3.69362926, 3.69224977, 3.76415229,
    3.84197164, 3.89998484, 3.92942405, 3.931741, 3.91395855, 3.90315986, 3.86919999, 3.81550813,
    3.76449704, 3.70991063, 3.69650865, 3.60037661, 3.54932261, 3.54651213, 3.45003605, 3.47128129,
    3.40846109, 3.44081354, 3.41048813, 3.4217639, 3.43128514, 3.41992092, 3.43058062, 3.43826652,
    3.45803666, 3.48179913, 3.49587107, 3.50367928, 3.5047574, 3.49887347, 3.49305606, 3.48229432,
    3.45943046, 3.46127701, 3.45590639, 3.47554231, 3.49715495, 3.53265572, 3.57051992, 3.59203124,
    3.59690738, 3.59135008, 3.58659315, 3.58268094, 3.58377433, 3.58957911, 3.58193135, 3.58378696,
    3.58611846, 3.58895898, 3.59221482, 3.5939455, 3.58566308, 3.58841133, 3.59210229, 3.58704901,
    3.58065701, 3.57310677, 3.56175327, 3.54980731, 3.55273747, 3.54753661, 3.53878498, 3.52561784,
    3.5031836, 3.49227262, 3.48796463, 3.47255945, 3.45583892, 3.43518281, 3.42842937, 3.4299171,
)
"""Standard deviation of each log-mel bin over LibriSpeech."""
# fmt: on
