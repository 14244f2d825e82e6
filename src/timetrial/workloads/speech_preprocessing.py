"""From sounds as they are stored and transcripts as text to what the speech models take.

The rest of the preprocessing, log-mel spectrogram and SpecAugment, belongs to the models, as published
(spec: librispeech_conformer.md, 1 and 2a).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from timetrial.errors import UserError
from timetrial.workloads.base import HostBatch


def tokenise(
    texts: Sequence[str], encode: Callable[[str], Sequence[int]], length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the texts' tokens, 0 behind the end, int64 (n, length), and how many there are, int64 (n,).

    Raises UserError for a text of more tokens than `length`: half a transcript would be a wrong one.
    """
    targets = np.zeros((len(texts), length), dtype=np.int64)
    lengths = np.zeros(len(texts), dtype=np.int64)
    for row, text in enumerate(texts):
        tokens = encode(text)
        if len(tokens) > length:
            raise UserError(f"transcript {text!r}: expected at most {length} tokens, found {len(tokens)}")
        targets[row, : len(tokens)] = tokens
        lengths[row] = len(tokens)
    return targets, lengths


def texts_of(codes: np.ndarray) -> list[str]:
    """Return the texts of ASCII codes, uint8 (n, length), with 0 behind the end."""
    return [bytes(row[row > 0]).decode("ascii") for row in codes]


def as_stored(
    sounds: np.ndarray,
    sound_lengths: np.ndarray,
    texts: Sequence[str],
    encode: Callable[[str], Sequence[int]],
    length: int,
) -> HostBatch:
    """Return a split as it is kept in memory: sounds as int16, everything else as a batch has it."""
    targets, target_lengths = tokenise(texts, encode, length)
    return {
        "inputs": sounds,
        "input_lengths": sound_lengths.astype(np.int64),
        "targets": targets,
        "target_lengths": target_lengths,
    }


def as_floats(batch: HostBatch) -> HostBatch:
    """Return the batch with its sounds as float32, on the scale of 16-bit integers."""
    return {**batch, "inputs": batch["inputs"].astype(np.float32)}
