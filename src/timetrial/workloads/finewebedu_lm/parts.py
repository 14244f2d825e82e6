"""What the parts of a prepared FineWeb-Edu hold, and how each is written.

documents-*   `tokens.npy` with `_lengths`: documents that are not empty, an end of text after each. Removed at the end
order         of each split's documents, shuffled: `<split>_sources.npy`, where each begins among all documents, and
              `<split>_starts.npy`, where in the split's stream, and where that ends. Removed at the end
others        `pieces.npy` (n, sequence length + 1), token ids: the split's stream, cut
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared import parquet
from timetrial.prepared.arrays import ArrayWriter
from timetrial.prepared.folder import load_array
from timetrial.prepared.ragged import RaggedWriter, token_dtype
from timetrial.prepared.raw import reading
from timetrial.workloads.finewebedu_lm.preprocessing import join_documents
from timetrial.workloads.finewebedu_lm.tokenizer import EXTRA, Tokenizer

COLUMN = "text"
SPLITS = ("train", "validation")

_DOCUMENTS = 256
"""Documents that are tokenised at once: a quarter of a million tokens, which the library describes in some 30 MB."""
_BLOCK = 4_000_000
"""Tokens that are put together at once."""
_SEED = 0
"""Of the order of the documents (spec: workloads/finewebedu_lm.md, A1)."""


def write_documents(
    path: Path, groups: range, tokenizer: Sequence[Path], vocabulary: int, whole: bool, folder: Path
) -> int:
    """Tokenise the documents of some row groups of a file."""
    encoder = Tokenizer(tokenizer, vocabulary, whole=whole)
    count = 0
    with RaggedWriter(folder, "tokens", token_dtype(vocabulary)) as writer:
        for rows in parquet.batches(path, COLUMN, EXTRA, _DOCUMENTS, groups):
            with reading(path, UnicodeDecodeError):
                texts = rows.to_pylist()
            if not all(isinstance(text, str) or text is None for text in texts):
                raise FileError(path, f"expected texts in the column {COLUMN!r}, found {rows.type}")
            tokens, lengths = encoder.encode([text or "" for text in texts])
            lengths = lengths[lengths > 0]
            writer.append(join_documents(tokens, lengths, encoder.end_of_text), lengths + 1)
            count += len(lengths)
    return count


def write_order(documents: Sequence[Path], train_tokens: int | None, raw: Path, folder: Path) -> int:
    """Shuffle all documents and divide them: the first nine tenths, or enough for `train_tokens`, are for training.

    Some sixty bytes a document are in memory, whatever its length. Raises FileError, naming `raw`: there are too few.
    """
    lengths = np.concatenate([load_array(path / "tokens_lengths.npy") for path in documents]).astype(np.int64)
    sources = np.cumsum(lengths) - lengths
    order = np.random.default_rng(_SEED).permutation(len(lengths))
    sources, ends = sources[order], np.cumsum(lengths[order])
    divide = int(0.9 * len(lengths)) if train_tokens is None else int(np.searchsorted(ends, train_tokens)) + 1
    if not 0 < divide < len(lengths):
        wanted = "" if train_tokens is None else f"; training alone takes {train_tokens}"
        raise FileError(raw, f"too few documents: {len(lengths)} that are not empty, {lengths.sum()} tokens{wanted}")
    starts = np.concatenate([[0], ends])
    for split, first, last in zip(SPLITS, (0, divide), (divide, len(lengths)), strict=True):
        np.save(folder / f"{split}_sources.npy", sources[first:last])
        np.save(folder / f"{split}_starts.npy", starts[first : last + 1] - starts[first])
    return len(lengths)


def write_pieces(
    documents: Sequence[Path], order: Path, split: str, pieces: range, size: int, vocabulary: int, folder: Path
) -> int:
    """Write some pieces of `size` tokens of a split's stream, gathered from the documents where they lie."""
    tokens = [load_array(path / "tokens.npy") for path in documents]
    stops = np.cumsum([len(array) for array in tokens])
    sources, starts = (load_array(order / f"{split}_{what}.npy") for what in ("sources", "starts"))
    step = max(1, _BLOCK // size)
    with ArrayWriter(folder / "pieces.npy", token_dtype(vocabulary), (size,)) as writer:
        for first in range(pieces.start, pieces.stop, step):
            last = min(first + step, pieces.stop)
            block = _gather(tokens, stops, *_runs(sources, starts, first * size, last * size))
            writer.append(block.reshape(last - first, size))
    return len(pieces)


def _runs(sources: np.ndarray, starts: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the documents, or parts of them, begin that make a stretch of the stream, and their lengths."""
    first = int(np.searchsorted(starts, start, side="right")) - 1
    last = int(np.searchsorted(starts, stop, side="left"))
    bounds = starts[first : last + 1].clip(start, stop)
    begins = sources[first:last] + (bounds[:-1] - starts[first:last])
    return begins, np.diff(bounds)


def _gather(tokens: Sequence[np.ndarray], stops: np.ndarray, begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return runs of tokens in a row; `begins` counts through all arrays, and a run lies in one of them.

    A loop over the runs: with documents of 900 tokens it copies 700 to 900 million tokens a second, an index for
    each token and one `take` 180 to 260 million (numpy 2.4.6, one core of two, shared).
    """
    found = np.empty(lengths.sum(), tokens[0].dtype)
    array_of = np.searchsorted(stops, begins, side="right")
    begins = begins - (stops - [len(array) for array in tokens])[array_of]
    done = 0
    for array, begin, length in zip(array_of.tolist(), begins.tolist(), lengths.tolist(), strict=True):
        found[done : done + length] = tokens[array][begin : begin + length]
        done += length
    return found
