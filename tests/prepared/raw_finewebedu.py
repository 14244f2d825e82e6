"""Raw FineWeb-Edu as it is distributed, small: Parquet files of documents, and a tokenizer of GPT-2's kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

SYLLABLES = ("la", "mu", "ne", "si", "ro", "te", "ka", "no")
END_OF_TEXT = "<|endoftext|>"
SPACE, NEWLINE = "\u0120", "\u010a"
"""What byte-level BPE writes for these bytes."""
MERGES = [
    *(tuple(syllable) for syllable in SYLLABLES),
    *((SPACE, syllable) for syllable in SYLLABLES[:4]),
    ("la", "mu"),
]


def make(
    folder: Path,
    *,
    documents: int = 300,
    files: int = 2,
    words: tuple[int, int] = (5, 60),
    group: int = 40,
    both: bool = False,
) -> list[str]:
    """Write documents of between `words` words to `files` files, and the tokenizer; return the documents' texts.

    A word makes two tokens or so. Some documents are empty or missing, some hold a newline or an end of text.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(0)
    texts: list[str | None] = [document(random, words) for _ in range(documents)]
    texts[2] = ""
    texts[documents // 2] = None
    texts[5] = f"la mu {END_OF_TEXT} mu.\n\nla"
    place = folder / "sample" / "10BT"
    place.mkdir(parents=True, exist_ok=True)
    for number, chunk in enumerate(np.array_split(np.arange(documents), files)):
        own = [texts[i] for i in chunk]
        table = pa.table({"text": pa.array(own, pa.string()), "id": [f"<urn:uuid:{i}>" for i in chunk]})
        pq.write_table(table, place / f"{number:03}_00000.parquet", row_group_size=group)
    write_tokenizer(folder, both=both)
    return [text for text in texts if text]


def document(random: np.random.Generator, words: tuple[int, int]) -> str:
    """Return a text of words of one to three syllables, with full stops."""
    count = int(random.integers(words[0], words[1] + 1))
    sizes = random.integers(1, 4, count)
    syllables = iter(random.choice(SYLLABLES, int(sizes.sum())).tolist())
    stops = random.random(count) < 0.1
    return " ".join(
        "".join(next(syllables) for _ in range(size)) + "." * int(stop) for size, stop in zip(sizes, stops, strict=True)
    )


def write_tokenizer(folder: Path, *, both: bool = False) -> None:
    """Write `vocab.json` and `merges.txt`: the bytes used, a few merges, and the end of text as last token."""
    pieces = [*sorted({letter for syllable in SYLLABLES for letter in syllable}), ".", "<", "|", ">", SPACE, NEWLINE]
    pieces += [first + second for first, second in MERGES]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, END_OF_TEXT])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    if both:
        as_one_file(folder)


def as_one_file(folder: Path) -> None:
    """Put `tokenizer.json` in the place of the two files."""
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.add_special_tokens([END_OF_TEXT])
    tokenizer.enable_truncation(8)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.json").unlink()
    (folder / "merges.txt").unlink()
