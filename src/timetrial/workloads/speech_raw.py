"""LibriSpeech as it is distributed: archives or the folders in them, transcripts, FLAC files.

Whichever it is read from, a subset's utterances are sorted by their names, `<speaker>-<chapter>-<number>`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.raw import library, reading, require
from timetrial.prepared.records import SUFFIX, Records, write_records

EXTRA = "speech"
RATE = 16_000
"""Samples a second."""

SPOOLED = f"sounds{SUFFIX}"
INDEX = "utterances.json"

_BLOCK = 1 << 20


class Utterance(NamedTuple):
    """A transcript and the FLAC file of its sound."""

    name: str
    text: str
    flac: bytes
    path: Path
    """What errors name."""


# The folders.


def flac_files(folder: Path) -> list[Path]:
    """Return a subset's sounds, sorted by their names. Raises FileError where there are none."""
    if found := sorted(folder.glob("*/*/*.flac"), key=lambda path: path.stem):
        return found
    raise FileError(folder, "no files <speaker>/<chapter>/*.flac")


def transcript_files(sounds: Iterable[Path]) -> list[Path]:
    """Return the files of the transcripts that belong to sounds, each once, in order."""
    return list(dict.fromkeys(_transcript_file(path) for path in sounds))


def _transcript_file(sound: Path) -> Path:
    return sound.parent / f"{sound.stem.rpartition('-')[0]}.trans.txt"


def from_files(sounds: Sequence[Path]) -> Iterator[Utterance]:
    """Yield the utterances of those sounds. Raises FileError where a sound or a transcript has no counterpart."""
    texts = {name: text for path in transcript_files(sounds) for name, text in _checked_texts(path)}
    for path in sounds:
        if path.stem not in texts:
            raise FileError(_transcript_file(path), f"no transcript of {path.name}")
        with reading(path):
            flac = path.read_bytes()
        yield Utterance(path.stem, texts[path.stem], flac, path)


def texts_in(transcripts: Sequence[Path]) -> Iterator[str]:
    """Yield the transcripts in those files."""
    for path in transcripts:
        for _, text in sorted(_checked_texts(path)):
            yield text


def _checked_texts(path: Path) -> list[tuple[str, str]]:
    """Return the transcripts of a chapter by the utterances' names, whose sounds lie beside them."""
    require(path, "the transcripts of the sounds beside it")
    with reading(path), path.open("rb") as file:
        found = _texts(path, file)
    for name, _ in found:
        if not (sound := path.parent / f"{name}.flac").exists():
            raise FileError(sound, f"no such file; {path.name} has its transcript")
    return found


def _texts(path: Path, file: IO[bytes]) -> list[tuple[str, str]]:
    """Return a transcript file's lines, each an utterance's name and what is said."""
    found = []
    for number, line in enumerate(file.read().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            name, _, text = line.decode("ascii").strip().partition(" ")
        except UnicodeDecodeError as error:
            raise FileError(path, f"line {number}: expected ASCII letters, found {line!r}") from error
        if name.count("-") != 2 or not text:
            raise FileError(path, f"line {number}: expected an utterance's name and its words, found {line.decode()!r}")
        found.append((name, text))
    return found


# The archives.


def spool(archive: Path, subset: str, folder: Path) -> int:
    """Write the sounds of an archive, which can only be read in order, so that each is found; return no examples.

    The sounds are records in the archive's order; `utterances.json` lists name, record and transcript, sorted by
    name. Raises FileError where the archive is broken or holds something else.
    """
    texts: dict[str, str] = {}
    records: dict[str, int] = {}
    # tarfile's own "r|gz" would neither look at the checksum nor notice that the end is missing.
    with reading(archive), gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        write_records(folder / SPOOLED, _sounds(archive, tar, subset, texts, records))
        while stream.read(_BLOCK):
            pass
    if not records:
        raise FileError(archive, f"no FLAC files in it; expected LibriSpeech/{subset}/<speaker>/<chapter>/*.flac")
    for name in sorted(texts.keys() ^ records.keys()):
        raise FileError(archive, f"no {'transcript' if name in records else 'sound'} of {name}")
    index = [[name, records[name], texts[name]] for name in sorted(records)]
    (folder / INDEX).write_text(json.dumps(index, separators=(",", ":")))
    return 0


def _sounds(
    archive: Path, tar: tarfile.TarFile, subset: str, texts: dict[str, str], records: dict[str, int]
) -> Iterator[bytes]:
    """Yield the sounds of an archive, noting their numbers and the transcripts."""
    while (member := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # it would keep the headers of all that it has seen
        path = PurePosixPath(member.name)
        if path.suffix != ".flac" and not path.name.endswith(".trans.txt"):
            continue
        if path.parts[-4:-3] != (subset,):
            raise FileError(archive, f"expected LibriSpeech/{subset}/<speaker>/<chapter>/..., found {member.name}")
        file = tar.extractfile(member)
        if file is None:
            raise FileError(archive, f"{member.name}: expected a file")
        if path.suffix == ".flac":
            records[path.stem] = len(records)
            yield file.read()
        else:
            texts.update(_texts(archive / member.name, file))


def spooled_texts(folder: Path) -> Iterator[str]:
    """Yield the transcripts that `spool` wrote."""
    for _, _, text in spooled(folder):
        yield text


def spooled(folder: Path) -> list[tuple[str, int, str]]:
    """Return name, record and transcript of the utterances that `spool` wrote."""
    return [(name, record, text) for name, record, text in json.loads((folder / INDEX).read_text())]


def from_spool(folder: Path, archive: Path, start: int, stop: int) -> Iterator[Utterance]:
    """Yield the utterances from `start` up to `stop` of those that `spool` wrote."""
    index = spooled(folder)
    records = Records([folder / SPOOLED], [len(index)])
    for name, record, text in index[start:stop]:
        yield Utterance(name, text, records.read(record), archive / f"{name}.flac")


# The sounds.


def flac_length(utterance: Utterance) -> int:
    """Return how many samples a sound has, as its header says. Raises FileError where that is no good."""
    soundfile = library("soundfile", EXTRA)
    with reading(utterance.path, soundfile.SoundFileError):
        info = soundfile.info(io.BytesIO(utterance.flac))
    if (info.format, info.subtype, info.channels, info.samplerate) != ("FLAC", "PCM_16", 1, RATE):
        found = f"{info.format}, {info.subtype}, {info.channels} channels, {info.samplerate} Hz"
        raise FileError(utterance.path, f"expected FLAC, PCM_16, 1 channel, {RATE} Hz, found {found}")
    return int(info.frames)


def check_sound(utterance: Utterance, samples: int) -> None:
    """Raise FileError unless a sound decodes to that many samples, and to those that were encoded."""
    with reading(utterance.path, library("soundfile", EXTRA).SoundFileError):
        sound = decode(utterance.flac)
    if len(sound) != samples:
        raise FileError(utterance.path, f"expected {samples} samples, found {len(sound)}; download it again")
    # The header is `fLaC`, four bytes and the block STREAMINFO, which ends with the samples' MD5, 0 if unknown
    # (RFC 9639, section 8.2).
    encoded = utterance.flac[26:42]
    if any(encoded) and encoded != hashlib.md5(sound.astype("<i2").tobytes(), usedforsecurity=False).digest():
        raise FileError(utterance.path, "its samples are not those that were encoded (MD5); download it again")


def decode(flac: bytes) -> np.ndarray:
    """Return the samples of a FLAC file, int16."""
    sound: np.ndarray = library("soundfile", EXTRA).read(io.BytesIO(flac), dtype="int16")[0]
    return sound
