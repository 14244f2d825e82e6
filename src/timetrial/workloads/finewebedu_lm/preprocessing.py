"""From tokenised documents to batches of sequences: one stream, cut into pieces that do not overlap.

Source: spec: workloads/finewebedu_lm.md, A1 and B1. Documents are joined with an end-of-text token after each and are
not masked from one another; a piece is one token longer than a sequence, so that it gives inputs and targets. The
stream may be a file mapped into memory: only the pieces of a batch are read.
"""

from __future__ import annotations

import numpy as np

from timetrial.errors import UserError
from timetrial.workloads.base import HostBatch, Split
from timetrial.workloads.sources import ArrayData


def join_documents(tokens: np.ndarray, lengths: np.ndarray, end_of_text: int) -> np.ndarray:
    """Return documents that stand in a row, of the given lengths, with `end_of_text` after each.

    Empty documents are left out. The dtype is that of `tokens`. Raises UserError where the lengths do not sum to
    the number of tokens.
    """
    if lengths.sum() != len(tokens):
        raise UserError(f"documents: expected lengths that sum to {len(tokens)} tokens, found {lengths.sum()}")
    ends = np.cumsum(lengths[lengths > 0])
    return np.insert(tokens, ends, end_of_text)


def cut(stream: np.ndarray, sequence_length: int) -> np.ndarray:
    """Return (n, sequence_length + 1) pieces of a stream, a view; what is left over at the end is dropped."""
    pieces = len(stream) // (sequence_length + 1)
    return stream[: pieces * (sequence_length + 1)].reshape(pieces, sequence_length + 1)


def to_batch(stored: HostBatch) -> HostBatch:
    """Make of `pieces` (n, length + 1) `inputs`, int32, and `targets`, int64, each (n, length); no weights."""
    pieces = stored["pieces"]
    return {"inputs": pieces[:, :-1].astype(np.int32), "targets": pieces[:, 1:].astype(np.int64)}


def token_data(train: np.ndarray, validation: np.ndarray, *, sequence_length: int, eval_train: int) -> ArrayData:
    """Return two streams of token ids as data; the order of the training pieces is shuffled by the seed.

    An evaluation of `train` runs over the first `eval_train` pieces. There is no test split, as in the published
    workload (spec: workloads/finewebedu_lm.md, B1): it has no examples.
    """
    return piece_data(cut(train, sequence_length), cut(validation, sequence_length), eval_train=eval_train)


def piece_data(train: np.ndarray, validation: np.ndarray, *, eval_train: int) -> ArrayData:
    """Return pieces (n, sequence length + 1) as data; see `token_data`."""
    splits: dict[Split, HostBatch] = {
        "train": {"pieces": train},
        "validation": {"pieces": validation},
        "test": {"pieces": train[:0]},
    }
    return ArrayData.of_splits(splits, slice(eval_train), prepare=to_batch)
