"""From tokenised sentence pairs to rows: the filter by length, packing for training, padding for evaluation.

Source: spec: workloads/wmt.md, 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from timetrial.workloads.base import HostBatch
from timetrial.workloads.wmt.tokens import PADDING

SIDES = ("inputs", "targets")


def pad(sentences: Sequence[Sequence[int]]) -> np.ndarray:
    """Return sentences of token ids as rows of the longest one's length with 0 at the end, int64."""
    return pad_row(*in_a_row(sentences))


def in_a_row(sentences: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the token ids of all sentences in a row, and the sentences' lengths, both int64."""
    lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
    tokens = np.fromiter(chain.from_iterable(sentences), dtype=np.int64, count=lengths.sum())
    return tokens, lengths


def pad_row(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return sentences that stand in a row as rows of the longest one's length with 0 at the end, of their dtype."""
    padded = np.full((len(lengths), lengths.max(initial=0)), PADDING, dtype=tokens.dtype)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = tokens
    return padded


def short_pairs(pairs: HostBatch, longest: int) -> HostBatch:
    """Return the padded pairs neither of whose sentences has more than `longest` tokens, its end included."""
    inputs_longer, targets_longer = (pairs[side][:, longest:].any(axis=1) for side in SIDES)
    kept = ~(inputs_longer | targets_longer)
    return {side: pairs[side][kept, :longest] for side in SIDES}


def evaluation_rows(pairs: HostBatch) -> HostBatch:
    """Return a batch of an evaluation of padded pairs, `inputs` and `targets` (n, length): int64, and `weights`.

    The columns in which every sentence of the batch is padding are left out; attention and loss never see them.
    """
    batch: HostBatch = {}
    for side in SIDES:
        used = max(1, int((pairs[side] != PADDING).any(axis=0).sum()))
        batch[side] = np.asarray(pairs[side][:, :used], dtype=np.int64)
    return {**batch, "weights": (batch["targets"] > PADDING).astype(np.int64)}


def pack(pairs: HostBatch, length: int) -> HostBatch:
    """Pack pairs, `inputs` and `targets` (n, at most `length`) padded with 0, into rows of `length` tokens a side.

    In groups of `length` pairs, each is appended to a row in turn as long as both its sides fit; otherwise the row is
    closed, as is a group's last. A sentence counts as long as it has tokens that are not 0, so that an unknown piece
    (also 0) inside one cuts off its last token, as in the reference. Returns the seven arrays (rows, length), int64,
    of a training batch in the reference's order: of each side the tokens, `_position`, from 0 in every sentence, and
    `_segmentation`, from 1 in every row and 0 where there is no token; and `weights`.
    """
    lengths = np.stack([(pairs[side] != PADDING).sum(axis=1) for side in SIDES], axis=1)
    rows, starts, count = _places(lengths, length)
    packed: HostBatch = {}
    for number, side in enumerate(SIDES):
        packed |= _fill(side, pairs[side], lengths[:, number], rows, starts[:, number], (count, length))
    return {**packed, "weights": (packed["targets"] > PADDING).astype(np.int64)}


STORED = tuple(f"{side}{what}" for side in SIDES for what in ("", "_position"))
"""Of a packed row's arrays, those that the others follow from."""


def unpacked(stored: HostBatch) -> HostBatch:
    """Return the seven arrays of `pack`, int64, of the four that are stored, of any integer dtypes.

    The reference's own rule: a segment's number is the count of positions 0 so far, and 0 where the token is 0.
    """
    batch: HostBatch = {}
    for side in SIDES:
        tokens, positions = (stored[name].astype(np.int64) for name in (side, f"{side}_position"))
        segments = np.cumsum(positions == 0, axis=1) * (tokens != PADDING)
        batch |= {side: tokens, f"{side}_position": positions, f"{side}_segmentation": segments}
    return {**batch, "weights": (batch["targets"] > PADDING).astype(np.int64)}


def _places(lengths: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return each pair's row and the column (n, 2) where it starts on either side, and how many rows there are.

    A loop over the places in a group, for all groups at once.
    """
    pairs, group = len(lengths), length
    groups = -(-pairs // group)
    padded = np.zeros((groups, group, 2), dtype=np.int64)
    padded.reshape(-1, 2)[:pairs] = lengths
    starts, rows = np.zeros_like(padded), np.zeros((groups, group), dtype=np.int64)
    used, row = np.zeros((groups, 2), dtype=np.int64), np.zeros(groups, dtype=np.int64)
    for place in range(group):
        full = (used + padded[:, place] > length).any(axis=1)
        row += full
        used[full] = 0
        rows[:, place], starts[:, place] = row, used
        used += padded[:, place]
    first = np.cumsum(row + 1) - (row + 1)
    rows += first[:, None]
    return rows.ravel()[:pairs], starts.reshape(-1, 2)[:pairs], int((row + 1).sum())


def _fill(
    side: str, tokens: np.ndarray, lengths: np.ndarray, rows: np.ndarray, starts: np.ndarray, shape: tuple[int, int]
) -> HostBatch:
    """Write each sentence's first `lengths` tokens to its place."""
    columns = np.arange(tokens.shape[1])
    is_token = columns < lengths[:, None]
    at = np.broadcast_to(rows[:, None], is_token.shape)[is_token], (starts[:, None] + columns)[is_token]
    packed = {name: np.zeros(shape, dtype=np.int64) for name in (side, f"{side}_position", f"{side}_segmentation")}
    packed[side][at] = tokens[is_token]
    packed[f"{side}_position"][at] = np.broadcast_to(columns, is_token.shape)[is_token]
    # The reference counts sentences by their positions 0 and zeroes what is padding.
    begins = np.zeros(shape, dtype=np.int64)
    begins[rows[lengths > 0], starts[lengths > 0]] = 1
    packed[f"{side}_segmentation"] = np.cumsum(begins, axis=1) * (packed[side] != PADDING)
    return packed
