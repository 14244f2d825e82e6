"""What the parts of a prepared WMT hold, and how each is written.

text-*      `de.npy` and `en.npy`, UTF-8, with `_lengths` in bytes: raw pairs, whatever their form. Removed at the end
tokenizer   the SentencePiece model
tokens-*    `inputs` and `targets`, token ids, with `_lengths`: the pairs that are not too long; `numbers.npy`: which of
            the part's pairs they are. Removed at the end
train-*     packed rows: `inputs` and `targets`, token ids, and their `_position`; segments follow from them
others      pairs of an evaluation, in order, padded with 0
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timetrial.errors import FileError, UserError
from timetrial.prepared.arrays import ArrayWriter
from timetrial.prepared.ragged import Ragged, RaggedWriter, token_dtype
from timetrial.workloads.base import HostBatch
from timetrial.workloads.wmt.corpora import LANGUAGES, RawPairs
from timetrial.workloads.wmt.preprocessing import SIDES, STORED, in_a_row, pack, pad_row

MODEL = "sentencepiece.model"

_TOKENIZER_BYTES = 10_000_000
"""Text that the tokenizer is trained on, at least, newlines included (spec: workloads/wmt.md, 1)."""
_ORDER_SEED = 0
_AT_ONCE = 4096
"""Pairs that are tokenised or packed at once: while they are packed, 30 MB."""

Sentences = tuple[np.ndarray, np.ndarray]
"""Token ids in a row, and the sentences' lengths."""


@dataclass(frozen=True, kw_only=True)
class Tokenized:
    """A part of token ids, and which training pairs it is made of: places in their fixed order, see `mixed`."""

    folder: Path
    start: int
    stop: int

    @property
    def pairs(self) -> int:
        """How many pairs there are before the filter by length."""
        return self.stop - self.start


def write_text(pairs: RawPairs, folder: Path) -> int:
    """Write raw pairs in one form, whichever they have, so that any range of them can be read."""
    count = 0
    with ExitStack() as stack:
        writers = [stack.enter_context(RaggedWriter(folder, name, np.dtype(np.uint8))) for name in LANGUAGES]
        for batch in pairs.batches():
            count += len(batch[0])
            for writer, lines in zip(writers, batch, strict=True):
                writer.append(np.frombuffer(b"".join(lines), np.uint8), np.array([len(line) for line in lines]))
    if not count:
        raise FileError(pairs.files[0], "holds no pair of sentences")
    return count


def mixed(pairs: int) -> np.ndarray:
    """Return the fixed order of all training pairs, int64 (pairs,): the corpora are mixed, once and for all.

    TensorFlow Datasets, which the published benchmark reads, writes examples in the order of a hash of each.
    """
    return np.random.Generator(np.random.PCG64(_ORDER_SEED)).permutation(pairs)


def write_tokenizer(texts: Sequence[Path], vocabulary: int, raw: Path, folder: Path) -> int:
    """Train the tokenizer on alternating lines, German and English, of the first pairs; an error names `raw`."""
    from timetrial.workloads.wmt.tokenizer import train

    try:
        model = train(_first_lines(texts), vocabulary)
    except UserError as error:
        raise FileError(raw, str(error)) from error
    (folder / MODEL).write_bytes(model)
    return 0


def _first_lines(texts: Sequence[Path]) -> Iterator[str]:
    sides = [Ragged(texts, language) for language in LANGUAGES]
    order = mixed(len(sides[0]))
    total = 0
    for start in range(0, len(order), _AT_ONCE):
        for pair in zip(*(_lines(side, order[start : start + _AT_ONCE]) for side in sides), strict=True):
            if total >= _TOKENIZER_BYTES:
                return
            for line in pair:
                total += len(line.encode()) + 1
                yield line


def _lines(side: Ragged, rows: np.ndarray) -> list[str]:
    values, lengths = side.take(rows)
    content, ends = values.tobytes(), np.cumsum(lengths).tolist()
    return [content[first:last].decode() for first, last in zip([0, *ends[:-1]], ends, strict=True)]


def write_tokens(
    texts: Sequence[Path], tokenized: Tokenized, tokenizer: Path, vocabulary: int, longest: int, folder: Path
) -> int:
    """Write the token ids of some training pairs but those of which a side has more than `longest`."""
    kept = 0
    dtype = token_dtype(vocabulary)
    with ExitStack() as stack:
        writers = [stack.enter_context(RaggedWriter(folder, side, dtype)) for side in SIDES]
        numbers = stack.enter_context(ArrayWriter(folder / "numbers.npy", np.dtype(np.int32)))
        order = mixed(len(Ragged(texts, LANGUAGES[0])))[tokenized.start : tokenized.stop]
        for rows, pairs in _short_pairs(texts, tokenizer, longest, order):
            numbers.append(rows)
            for writer, (tokens, lengths) in zip(writers, pairs, strict=True):
                writer.append(tokens, lengths)
            kept += len(rows)
    return kept


def write_evaluation(
    texts: Sequence[Path], tokenizer: Path, vocabulary: int, longest: int, raw: Path, folder: Path
) -> int:
    """Write an evaluation's pairs but those of which a side has more than `longest` tokens; an error names `raw`."""
    rows = np.arange(len(Ragged(texts, LANGUAGES[0])))
    found = [pairs for _, pairs in _short_pairs(texts, tokenizer, longest, rows)]
    for number, side in enumerate(SIDES):
        tokens, lengths = (np.concatenate([pairs[number][what] for pairs in found]) for what in (0, 1))
        np.save(folder / f"{side}.npy", pad_row(tokens.astype(token_dtype(vocabulary)), lengths))
    if not len(lengths):
        raise FileError(raw, f"no pair has at most {longest} tokens on both sides")
    return len(lengths)


def _short_pairs(
    texts: Sequence[Path], tokenizer: Path, longest: int, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, list[Sentences]]]:
    """Tokenise the pairs of those numbers and leave out those with a sentence that is too long, some at a time.

    Yields the places in `rows` of those that are kept, and both sides' token ids, int64.
    """
    from timetrial.workloads.wmt.tokenizer import Tokenizer

    encode = Tokenizer((tokenizer / MODEL).read_bytes()).encode
    sides = [Ragged(texts, language) for language in LANGUAGES]
    for first in range(0, len(rows), _AT_ONCE):
        encoded = [in_a_row(encode(_lines(side, rows[first : first + _AT_ONCE]))) for side in sides]
        short = np.all([lengths <= longest for _, lengths in encoded], axis=0)
        kept = [(tokens[np.repeat(short, lengths)], lengths[short]) for tokens, lengths in encoded]
        yield first + np.flatnonzero(short), kept


def write_rows(
    tokens: Sequence[Path], start: int, stop: int, pairs: int, max_length: int, vocabulary: int, folder: Path
) -> int:
    """Pack pairs, whole groups but for the last, into rows; return `pairs`, what they were before the filter."""
    dtypes = {name: token_dtype(vocabulary) if name in SIDES else np.min_scalar_type(max_length - 1) for name in STORED}
    step = max_length * max(1, _AT_ONCE // max_length)
    sides = {side: Ragged(tokens, side) for side in SIDES}
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(ArrayWriter(folder / f"{name}.npy", dtype, (max_length,)))
            for name, dtype in dtypes.items()
        }
        for first in range(start, stop, step):
            rows = pack(_padded(sides, first, min(first + step, stop)), max_length)
            for name, writer in writers.items():
                writer.append(rows[name])
    return pairs


def write_evaluated_train(tokens: Sequence[Path], pairs: int, folder: Path) -> int:
    """Write the first training pairs as those of an evaluation."""
    for side, padded in _padded({side: Ragged(tokens, side) for side in SIDES}, 0, pairs).items():
        np.save(folder / f"{side}.npy", padded)
    return pairs


def _padded(sides: dict[str, Ragged], start: int, stop: int) -> HostBatch:
    return {side: pad_row(*ragged.read(start, stop)) for side, ragged in sides.items()}
