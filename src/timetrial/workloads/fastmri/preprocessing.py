"""From k-space to the network's input: column masks, inverse Fourier transform, crop, magnitude, normalisation.

Everything works on a whole stack of slices, in float32 and complex64 as the reference does.

Source: spec: workloads/fastmri.md, 1; golden vectors: golden/preprocess_fastmri.json.
"""

from __future__ import annotations

import numpy as np

from timetrial.workloads.base import HostBatch

CLIP = 6.0
"""Images are clipped to so many standard deviations."""

CENTRE_FRACTION = np.float32(0.08)
ACCELERATION = 4
"""Of the columns, one in four is measured, among them all of the centre: the lowest frequencies."""

EVALUATION_SEED = (0, 0)
"""Seed of the mask of every slice of the validation and test splits."""

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_INCREMENTS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_SEED_KEY = (np.uint64(0x3EC8F720), np.uint64(0x02461E29))
_ROUNDS = 10
_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def fold_in(seed: tuple[int, int], numbers: np.ndarray) -> np.ndarray:
    """Return a seed pair, int64 (n, 2), for each of the numbers (n,): TensorFlow's `stateless_fold_in`."""
    words = _random_words(np.array([seed], dtype=np.int64), 2)[0]
    first = (words[0] | words[1] << _HALF).astype(np.int64)
    return np.stack([np.full(len(numbers), first), numbers.astype(np.int64)], axis=1)


def stateless_uniform(seeds: np.ndarray, count: int) -> np.ndarray:
    """Return `count` numbers in [0, 1) for each pair of `seeds`, int64 (n, 2); float32 (n, count).

    TensorFlow's `stateless_random_uniform`, bit for bit: 23 random bits are the mantissa of a number in [1, 2).
    """
    mantissas = (_random_words(seeds, count) & np.uint64(0x7FFFFF)).astype(np.uint32)
    return (np.uint32(127 << 23) | mantissas).view(np.float32) - np.float32(1)


def _random_words(seeds: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` 32-bit words of each seed's stream, uint64 (n, count).

    A block of Philox scrambles the seed into the key of the stream and the upper half of its counter.
    """
    pair = seeds.astype(np.int64).view(np.uint64)
    low, high = pair & _WORD, pair >> _HALF
    scrambled = _philox(np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=-1), *_SEED_KEY)
    blocks = -(-count // 4)
    counters = np.zeros((len(seeds), blocks, 4), dtype=np.uint64)
    counters[:, :, 0] = np.arange(blocks)
    counters[:, :, 2:] = scrambled[:, None, 2:]
    words = _philox(counters, scrambled[:, None, 0], scrambled[:, None, 1])
    return words.reshape(len(seeds), 4 * blocks)[:, :count]


def _philox(counters: np.ndarray, key0: np.ndarray | np.uint64, key1: np.ndarray | np.uint64) -> np.ndarray:
    """Return Philox4x32-10 of counters (..., 4): 32-bit words, each in a uint64.

    Source: Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3", section 3.3.
    """
    c0, c1, c2, c3 = np.moveaxis(counters, -1, 0)
    for _ in range(_ROUNDS):
        product0, product1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> _HALF) ^ c1 ^ key0,
            product1 & _WORD,
            (product0 >> _HALF) ^ c3 ^ key1,
            product0 & _WORD,
        )
        key0, key1 = (key0 + _KEY_INCREMENTS[0]) & _WORD, (key1 + _KEY_INCREMENTS[1]) & _WORD
    return np.stack([c0, c1, c2, c3], axis=-1)


def column_masks(seeds: np.ndarray, columns: int) -> np.ndarray:
    """Return which columns of k-space are measured under each pair of `seeds`, int64 (n, 2); bool (n, columns).

    The centre always; of the others each with the probability that makes a quarter of all columns on average.
    """
    width = np.float32(columns)
    centre = int(width * CENTRE_FRACTION)
    probability = (width / np.float32(ACCELERATION) - np.float32(centre)) / (width - np.float32(centre))
    masks = stateless_uniform(seeds, columns) < probability
    start = (columns - centre + 1) // 2
    masks[:, start : start + centre] = True
    return masks


def reconstruct(kspace: np.ndarray, size: int) -> np.ndarray:
    """Return the magnitudes of the images, float32 (n, size, size), of k-space, complex64 (n, rows, columns).

    Zero frequency stands in the middle; the inverse transform is orthonormal, and its centre is kept.
    """
    return np.abs(transform(transform(kspace, size, axis=2), size, axis=1)).astype(np.float32)


def transform(kspace: np.ndarray, size: int, *, axis: int) -> np.ndarray:
    """Return the inverse transform of k-space along one axis, the middle `size` entries of it: one half of an image.

    A mask of columns is the same for all rows, so that the transform along the rows' axis (1) may come before it.
    """
    centred = np.fft.ifftshift(kspace, axes=axis)
    image = np.fft.fftshift(np.fft.ifft(centred, axis=axis, norm="ortho"), axes=axis)
    start = kspace.shape[axis] // 2 - size // 2
    return image[(slice(None),) * axis + (slice(start, start + size),)]


def volume_maxima(images: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    """Return for each image (n, height, width) the largest value in its volume, given by number (n,)."""
    maxima = np.zeros(int(volumes.max()) + 1, dtype=images.dtype)
    np.maximum.at(maxima, volumes, images.max(axis=(1, 2)))
    return maxima[volumes]


def prepare(kspace: np.ndarray, masks: np.ndarray, references: np.ndarray, volume_max: np.ndarray) -> HostBatch:
    """Return slices as the model takes them: `inputs`, `targets`, `mean`, `std`, `volume_max`, all float32.

    Takes k-space complex64 (n, rows, columns), the columns that are measured, bool (n, columns), clean images
    float32 (n, size, size) and the largest value in each slice's volume (n,). Inputs and targets are both in units
    of the mean and the standard deviation of the image that the measured columns give.
    """
    images = reconstruct(kspace * masks[:, None, :], references.shape[1])
    return _in_units_of(images, references, volume_max)


def prepare_transformed(
    halves: np.ndarray, masks: np.ndarray, references: np.ndarray, volume_max: np.ndarray
) -> HostBatch:
    """Return the same as `prepare` for k-space transformed along its rows' axis, (n, size, columns).

    Turning every other column's sign is turning half of the image round; the image's own signs go with its phase. So
    nothing is moved to its place, which takes as long as the transform itself.
    """
    size, columns = references.shape[1], halves.shape[2]
    if columns % 2:
        images = np.abs(transform(halves * masks[:, None, :], size, axis=2))
    else:
        signs = np.where(np.arange(columns) % 2, np.float32(-1), np.float32(1)) * masks
        turned = np.fft.ifft(halves * signs[:, None, :], axis=2, norm="ortho")
        start = columns // 2 - size // 2
        images = np.abs(turned[:, :, start : start + size])
    return _in_units_of(images, references, volume_max)


def _in_units_of(images: np.ndarray, references: np.ndarray, volume_max: np.ndarray) -> HostBatch:
    means = images.mean(axis=(1, 2), keepdims=True)
    stds = images.std(axis=(1, 2), keepdims=True, mean=means)
    return {
        "inputs": _normalise(images, means, stds),
        "targets": _normalise(references, means, stds),
        "mean": means[:, 0, 0],
        "std": stds[:, 0, 0],
        "volume_max": volume_max.astype(np.float32),
    }


def _normalise(images: np.ndarray, means: np.ndarray, stds: np.ndarray) -> np.ndarray:
    made: np.ndarray = images - means
    made /= stds
    return made.clip(-CLIP, CLIP, out=made)
