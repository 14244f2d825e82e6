"""LibriSpeech in small: FLAC files and transcripts in the corpus's folders, or its archives."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

COUNTS: Mapping[str, int] = {
    "train-clean-100": 26,
    "train-clean-360": 13,
    "train-other-500": 5,
    "dev-clean": 6,
    "dev-other": 5,
    "test-clean": 7,
}
"""Utterances of each subset."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ'"


def make(
    folder: Path,
    counts: Mapping[str, int] = COUNTS,
    *,
    samples: tuple[int, int] = (4_000, 9_000),
    letters: tuple[int, int] = (1, 10),
    per_chapter: int = 4,
    seed: int = 0,
) -> Path:
    """Write subsets into `folder`/LibriSpeech, each with so many utterances, and return `folder`.

    Sounds have from `samples[0]` to `samples[1]` samples, transcripts about so many `letters`; at preset `tiny` some
    of both are too long.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    for speaker, (subset, count) in enumerate(counts.items(), start=8):
        for number in range(count):
            # Speakers 8, 9, 10 ...: sorted as text they come in another order than as numbers.
            reader, chapter = speaker + number // (2 * per_chapter), 100 + number // per_chapter % 2
            name = f"{reader}-{chapter}-{number % per_chapter:04d}"
            chapter_folder = folder / "LibriSpeech" / subset / str(reader) / str(chapter)
            chapter_folder.mkdir(parents=True, exist_ok=True)
            length = int(random.integers(samples[0], samples[1], endpoint=True))
            chapter_folder.joinpath(f"{name}.flac").write_bytes(flac(sound(random, length)))
            with chapter_folder.joinpath(f"{reader}-{chapter}.trans.txt").open("a") as file:
                file.write(f"{name} {text(random, int(random.integers(*letters, endpoint=True)))}\n")
    return folder


def make_archives(folder: Path, tree: Path) -> Path:
    """Pack each subset of `tree`/LibriSpeech into `folder`/<subset>.tar.gz, in no particular order, as they come."""
    folder.mkdir(parents=True, exist_ok=True)
    for subset in (tree / "LibriSpeech").iterdir():
        files = sorted(subset.rglob("*.*"), key=lambda path: path.name[::-1])
        with tarfile.open(folder / f"{subset.name}.tar.gz", "w:gz", compresslevel=1) as tar:
            tar.add(subset, arcname=f"LibriSpeech/{subset.name}", recursive=False)
            for path in files:
                tar.add(path, arcname=path.relative_to(tree))
    return folder


def sound(random: np.random.Generator, length: int) -> np.ndarray:
    """Return a gliding tone with some noise, int16."""
    time = np.arange(length) / 16_000
    tone = 3_000 * np.sin(2 * np.pi * (200 + 300 * random.random() + 50 * time) * time)
    return np.rint(tone + 60 * random.standard_normal(length)).astype(np.int16)


def flac(samples: np.ndarray) -> bytes:
    """Return samples, int16, as a FLAC file of LibriSpeech's kind."""
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def text(random: np.random.Generator, letters: int) -> str:
    """Return so many letters in words of at most six."""
    words = []
    while letters > 0:
        size = min(letters, int(random.integers(1, 7)))
        words.append("".join(random.choice(list(_LETTERS), size)))
        letters -= size
    return " ".join(words)
