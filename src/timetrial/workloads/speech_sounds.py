"""Letters to sound: formant tracks with coarticulation through a time-varying filter, voiced or noisy source, noise.

A letter is two sounds in a row (the closure and the burst of a stop, the two ends of a diphthong), a sound three
resonances with a loudness and a share of voice. The tracks run straight from the middle of one sound to that of the
next, so that no letter sounds the same beside two neighbours. The source is a train of pulses at the speaker's pitch,
or noise; it is filtered frame by frame in the Fourier domain (Fant 1960, "Acoustic Theory of Speech Production": source
and filter; Klatt 1980, "Software for a cascade/parallel formant synthesizer", for the figures of the vowels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 16_000
_WINDOW, _HOP = 256, 128

_SOUNDS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # letter: (three resonances in Hz, loudness, voice) at its beginning and at its end
    " ": ((500, 1500, 2500, 0.02, 0.5), (500, 1500, 2500, 0.02, 0.5)),
    "A": ((730, 1300, 2500, 1.0, 1.0), (600, 1700, 2500, 0.9, 1.0)),
    "E": ((550, 1850, 2500, 0.9, 1.0), (480, 1950, 2550, 0.8, 1.0)),
    "I": ((320, 2250, 2950, 0.8, 1.0), (280, 2350, 3050, 0.8, 1.0)),
    "O": ((540, 950, 2400, 1.0, 1.0), (430, 800, 2350, 0.9, 1.0)),
    "U": ((330, 1000, 2250, 0.8, 1.0), (300, 800, 2200, 0.8, 1.0)),
    "Y": ((280, 2150, 2900, 0.6, 1.0), (450, 1500, 2500, 0.9, 1.0)),
    "L": ((370, 1100, 2800, 0.5, 1.0), (370, 1200, 2800, 0.5, 1.0)),
    "R": ((420, 1200, 1600, 0.6, 1.0), (420, 1250, 1650, 0.6, 1.0)),
    "W": ((300, 620, 2200, 0.5, 1.0), (400, 750, 2250, 0.7, 1.0)),
    "M": ((250, 1000, 2200, 0.35, 1.0), (250, 950, 2150, 0.35, 1.0)),
    "N": ((250, 1550, 2600, 0.35, 1.0), (250, 1600, 2650, 0.35, 1.0)),
    "S": ((4600, 5600, 6600, 0.5, 0.0), (4700, 5700, 6700, 0.5, 0.0)),
    "Z": ((4300, 5400, 6400, 0.5, 0.5), (4400, 5500, 6500, 0.5, 0.5)),
    "F": ((1500, 4000, 7000, 0.25, 0.0), (1300, 4000, 7200, 0.25, 0.0)),
    "V": ((350, 1300, 4000, 0.3, 0.7), (350, 1200, 3800, 0.35, 0.7)),
    "H": ((600, 1600, 2600, 0.25, 0.0), (600, 1500, 2600, 0.3, 0.0)),
    "P": ((400, 900, 2200, 0.01, 0.0), (500, 1000, 2100, 0.5, 0.0)),
    "T": ((400, 1800, 2700, 0.01, 0.0), (3300, 4100, 5000, 0.6, 0.0)),
    "K": ((400, 1900, 2400, 0.01, 0.0), (1500, 1900, 2500, 0.6, 0.0)),
    "B": ((250, 800, 2100, 0.12, 1.0), (400, 900, 2100, 0.6, 0.8)),
    "D": ((250, 1700, 2600, 0.12, 1.0), (400, 1800, 3300, 0.6, 0.8)),
    "G": ((250, 1900, 2300, 0.12, 1.0), (400, 1900, 2250, 0.6, 0.8)),
    "C": ((400, 1800, 2700, 0.01, 0.0), (2300, 3000, 3800, 0.6, 0.0)),
    "J": ((250, 1800, 2600, 0.12, 1.0), (2200, 2900, 3700, 0.5, 0.5)),
    "Q": ((400, 1900, 2400, 0.01, 0.0), (600, 1000, 2400, 0.6, 0.4)),
    "X": ((1500, 1900, 2500, 0.4, 0.0), (4600, 5600, 6600, 0.5, 0.0)),
}
LETTERS = "".join(_SOUNDS)
"""A space and the capitals, in this module's order."""

_TABLE = np.array([_SOUNDS[letter] for letter in LETTERS])
_RESONANCES = 3
_LOUDNESS, _VOICE = 3, 4
_UNDERSHOOT = 0.3
"""How far a sound's resonances give way to those of the sounds around it."""
_BANDWIDTHS = np.array([90.0, 130.0, 200.0])
_NOISY_BANDWIDTHS = np.array([400.0, 500.0, 600.0])
_GAINS = np.array([1.0, 0.7, 0.45])


@dataclass(frozen=True)
class Speakers:
    """What tells speakers apart, an entry each."""

    pitch: np.ndarray
    """Hz."""
    tract: np.ndarray
    """Factor on all resonances: a short vocal tract has high ones."""
    rate: np.ndarray
    """Factor on speed."""
    tilt: np.ndarray
    """How fast the voice falls off with frequency: exponent of amplitude."""
    accent: np.ndarray
    """Factors on resonances: (speakers, letters, 2, 3)."""


def make_speakers(random: np.random.Generator, count: int) -> Speakers:
    """Draw speakers; those with a high pitch tend to have a short vocal tract."""
    height = random.random(count)
    return Speakers(
        pitch=90.0 * 2.0 ** (1.4 * height),
        tract=0.82 + 0.3 * height + 0.14 * random.random(count),
        rate=0.85 + 0.35 * random.random(count),
        tilt=0.3 + 0.8 * random.random(count),
        accent=1.0 + 0.08 * random.standard_normal((count, len(LETTERS), 2, _RESONANCES)),
    )


def pronounce(
    sentences: list[str], speaker: np.ndarray, speakers: Speakers, random: np.random.Generator, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return sounds (n, samples), float64, silent behind their lengths (n,), which are at most `samples`."""
    letters, count = _letter_numbers(sentences)
    ends = _ends(letters, count, speakers.rate[speaker], random, samples)
    tracks = _tracks(letters, ends, speaker, speakers, random, samples)
    lengths = np.rint(ends[:, -1] + 0.03 * SAMPLE_RATE).astype(np.int64)
    return _filtered(tracks, speakers.pitch[speaker], speakers.tilt[speaker], random, samples), lengths


def add_noise(
    sounds: np.ndarray, lengths: np.ndarray, random: np.random.Generator, decibels: tuple[float, float]
) -> np.ndarray:
    """Return int16 sounds with noise of a random colour and signal-to-noise ratio, silent behind their lengths."""
    n, samples = sounds.shape
    real = np.arange(samples) < lengths[:, np.newaxis]
    white = random.standard_normal((n, samples + 1))
    noise = white[:, 1:] + random.uniform(-0.4, 0.9, (n, 1)) * white[:, :-1]
    ratio = random.uniform(*decibels, (n, 1))
    sounds = sounds / _root_mean_square(sounds, real)
    noisy = sounds + 10.0 ** (-ratio / 20.0) * noise / _root_mean_square(noise, real)
    level = 10.0 ** (3.0 + 0.4 * random.random((n, 1)))
    return np.clip(np.rint(level * noisy * real), -32768, 32767).astype(np.int16)


def _root_mean_square(sounds: np.ndarray, real: np.ndarray) -> np.ndarray:
    return np.sqrt((sounds**2 * real).sum(axis=1, keepdims=True) / real.sum(axis=1, keepdims=True))


def _letter_numbers(sentences: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers of the letters (n, longest), spaces behind the end, and how many there are (n,)."""
    count = np.array([len(sentence) for sentence in sentences])
    letters = np.zeros((len(sentences), count.max()), dtype=np.int64)
    for row, sentence in enumerate(sentences):
        letters[row, : len(sentence)] = [LETTERS.index(letter) for letter in sentence]
    return letters, count


def _ends(
    letters: np.ndarray, count: np.ndarray, rate: np.ndarray, random: np.random.Generator, samples: int
) -> np.ndarray:
    """Return where each sound ends, in samples (n, 2 * longest + 1): the first is the silence before the first letter.

    A letter takes some 70 ms and a space 45; who has too much to say speaks faster.
    """
    vowel = np.isin(letters, [LETTERS.index(letter) for letter in "AEIOUY"])
    seconds = np.where(letters == 0, 0.045, np.where(vowel, 0.08, 0.065))
    seconds = seconds * random.uniform(0.8, 1.25, letters.shape) / rate[:, np.newaxis]
    seconds = np.where(np.arange(letters.shape[1]) < count[:, np.newaxis], seconds, 0.0)
    start = random.uniform(0.02, 0.05, (len(letters), 1))
    halves = np.concatenate([start, np.repeat(seconds / 2, 2, axis=1)], axis=1) * SAMPLE_RATE
    ends = np.cumsum(halves, axis=1)
    room = samples - 0.03 * SAMPLE_RATE
    return ends * np.minimum(1.0, room / ends[:, -1:])


def _tracks(
    letters: np.ndarray,
    ends: np.ndarray,
    speaker: np.ndarray,
    speakers: Speakers,
    random: np.random.Generator,
    samples: int,
) -> np.ndarray:
    """Return resonances, loudness and voice at each frame of the filter: (n, frames, 5)."""
    n, longest = letters.shape
    sounds = _TABLE[letters]
    sounds[..., :_RESONANCES] *= speakers.accent[speaker[:, np.newaxis], letters]
    sounds[..., :_RESONANCES] *= speakers.tract[speaker].reshape(n, 1, 1, 1)
    sounds[..., :_RESONANCES] *= 1.0 + 0.04 * random.standard_normal((n, longest, 2, _RESONANCES))
    sounds[..., _LOUDNESS] *= 2.0 ** (0.4 * random.standard_normal((n, longest, 1)))
    sounds = np.concatenate([np.broadcast_to(_TABLE[0, :1], (n, 1, 5)), sounds.reshape(n, 2 * longest, 5)], axis=1)
    around = 0.5 * (sounds[:, :-2, :_RESONANCES] + sounds[:, 2:, :_RESONANCES])
    sounds[:, 1:-1, :_RESONANCES] += _UNDERSHOOT * (around - sounds[:, 1:-1, :_RESONANCES])
    starts = np.concatenate([np.zeros((n, 1)), ends[:, :-1]], axis=1)
    middles = (starts + ends) / 2
    times = np.arange(samples // _HOP + 1) * float(_HOP)
    after = np.minimum((middles[:, np.newaxis] <= times[:, np.newaxis]).sum(axis=2), middles.shape[1] - 1)
    before = np.maximum(after - 1, 0)
    rows = np.arange(n)[:, np.newaxis]
    span = np.maximum(middles[rows, after] - middles[rows, before], 1.0)
    weight = np.clip((times - middles[rows, before]) / span, 0.0, 1.0)[..., np.newaxis]
    tracks: np.ndarray = (1.0 - weight) * sounds[rows, before] + weight * sounds[rows, after]
    tracks[..., _LOUDNESS] *= times < ends[:, -1:]
    return tracks


def _filtered(
    tracks: np.ndarray, pitch: np.ndarray, tilt: np.ndarray, random: np.random.Generator, samples: int
) -> np.ndarray:
    """Return the sounds (n, samples) that pulses and noise make on their way through the resonances."""
    n, frames, _ = tracks.shape
    padded = frames * _HOP + _HOP
    window = np.sin(np.pi * (np.arange(_WINDOW) + 0.5) / _WINDOW)
    frequency = np.fft.rfftfreq(_WINDOW, 1.0 / SAMPLE_RATE)
    voice = np.fft.rfft(_framed(_pulses(pitch, random, padded), frames) * window)
    voice *= ((1.0 + frequency / 500.0) ** -tilt[:, np.newaxis])[:, np.newaxis]
    noise = np.fft.rfft(_framed(random.standard_normal((n, padded)), frames) * window)
    share = tracks[..., _VOICE, np.newaxis]
    spectrum = voice * (share * _envelope(tracks, frequency, _BANDWIDTHS))
    spectrum += noise * (0.35 * (1.0 - share) * _envelope(tracks, frequency, _NOISY_BANDWIDTHS))
    pieces = np.fft.irfft(spectrum * tracks[..., _LOUDNESS, np.newaxis]) * window
    sounds = np.zeros((n, frames + 1, _HOP))
    sounds[:, :-1] += pieces[..., :_HOP]
    sounds[:, 1:] += pieces[..., _HOP:]
    return sounds.reshape(n, -1)[:, _HOP : _HOP + samples]


def _envelope(tracks: np.ndarray, frequency: np.ndarray, bandwidths: np.ndarray) -> np.ndarray:
    """Return the gain at each frequency: a sum of resonances (n, frames, bins)."""
    gain = np.zeros((*tracks.shape[:2], len(frequency)))
    for number, (bandwidth, factor) in enumerate(zip(bandwidths, _GAINS, strict=True)):
        gain += factor / (1.0 + ((frequency - tracks[..., number, np.newaxis]) / bandwidth) ** 2)
    return gain


def _pulses(pitch: np.ndarray, random: np.random.Generator, samples: int) -> np.ndarray:
    """Return trains of pulses (n, samples) whose pitch falls by a fifth and trembles; each has unit power."""
    n = len(pitch)
    time = np.linspace(0.0, 1.0, samples)
    melody = 1.1 - 0.2 * time + 0.04 * np.sin(2 * np.pi * (3.0 * time + random.random((n, 1))))
    cycles = np.cumsum(pitch[:, np.newaxis] * melody / SAMPLE_RATE, axis=1) + random.random((n, 1))
    pulses = np.diff(np.floor(cycles), axis=1, prepend=0.0)
    pulses[:, 0] = 0.0
    return pulses * np.sqrt(SAMPLE_RATE / pitch)[:, np.newaxis]


def _framed(sounds: np.ndarray, frames: int) -> np.ndarray:
    """Return overlapping stretches (n, frames, window)."""
    return np.lib.stride_tricks.sliding_window_view(sounds, _WINDOW, axis=1)[:, : frames * _HOP : _HOP]
