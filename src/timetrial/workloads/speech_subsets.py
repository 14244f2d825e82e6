"""The subsets of LibriSpeech that lie in a folder, each an archive or what is in it.

From either, the same utterances come in the same order. An archive can only be read from its beginning, so that its
sounds are spooled into a temporary part first, in one go.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from timetrial.errors import FileError
from timetrial.prepared.recipe import Part
from timetrial.workloads.speech_raw import (
    Utterance,
    flac_files,
    from_files,
    from_spool,
    spool,
    spooled,
    spooled_texts,
    texts_in,
    transcript_files,
)


class Published(NamedTuple):
    """A subset as it is distributed."""

    split: str
    utterances: int
    """Source: spec: librispeech_conformer.md, 1."""
    md5: str
    """Of its archive. Source: openslr.org/12, md5sum.txt."""


SUBSETS: Mapping[str, Published] = {
    "train-clean-100": Published("train", 28_539, "2a93770f6d5c6c964bc36631d331a522"),
    "train-clean-360": Published("train", 104_014, "c0e676e450a7ff2f54aeade5171606fa"),
    "train-other-500": Published("train", 148_688, "d1a0fd59409feb2c614ce4d30c387708"),
    "dev-clean": Published("validation", 2_703, "42e2234ba48799c1f50f24a7926300a1"),
    "dev-other": Published("validation", 2_864, "c8d0bcc9cca99d4f8b62fcc847357931"),
    "test-clean": Published("test", 2_620, "32fa31d27d2e1cad72775fee3f4849a9"),
}
"""Of a split, in the order of their names, which is that of its parts."""


class Subset(ABC):
    """A subset, to be cut into parts."""

    after: tuple[str, ...] = ()
    """The parts that it is read from."""

    def __init__(self, name: str, path: Path, *, published: bool) -> None:
        """Take its name and where it lies; `published` says whether it must be whole."""
        self.name = name
        self.path = path
        self.split = SUBSETS[name].split
        self._published = SUBSETS[name] if published else None

    @abstractmethod
    def files(self) -> Sequence[Path]:
        """Return the raw files; transcripts beside sounds, being small, are passed over."""

    def bytes(self) -> int:
        """Return about how large it is."""
        return sum(path.stat().st_size for path in self.files())

    def spools(self) -> list[Part]:
        """Return the parts that must be there before the others are made."""
        return []

    def count(self) -> int:
        """Return the number of utterances. Raises FileError where it is not the published one."""
        found = self._count()
        if self._published is not None and found != self._published.utterances:
            raise FileError(self.path, f"expected {self._published.utterances} utterances, found {found}")
        return found

    @abstractmethod
    def _count(self) -> int:
        """Return the number of utterances found."""

    @abstractmethod
    def texts(self) -> Callable[[], Iterable[str]]:
        """Return what yields the transcripts, sorted by their utterances' names."""

    @abstractmethod
    def text_files(self) -> tuple[Path, ...]:
        """Return the raw files that `texts` reads."""

    @abstractmethod
    def utterances(self, start: int, stop: int) -> Callable[[], Iterator[Utterance]]:
        """Return what yields some of the utterances, sorted by name."""

    @abstractmethod
    def sources(self, start: int, stop: int) -> tuple[Path, ...]:
        """Return the raw files that `utterances` reads."""


class UnpackedSubset(Subset):
    """Folders <speaker>/<chapter> of FLAC files and transcripts."""

    @cached_property
    def _sounds(self) -> list[Path]:
        return flac_files(self.path)

    def files(self) -> Sequence[Path]:
        """Return the sounds."""
        return self._sounds

    def _count(self) -> int:
        return len(self._sounds)

    def texts(self) -> Callable[[], Iterable[str]]:
        """Return what reads the chapters' transcripts."""
        return partial(texts_in, self.text_files())

    def text_files(self) -> tuple[Path, ...]:
        """Return the chapters' transcripts."""
        return tuple(transcript_files(self._sounds))

    def utterances(self, start: int, stop: int) -> Callable[[], Iterator[Utterance]]:
        """Return what reads those files."""
        return partial(from_files, self._sounds[start:stop])

    def sources(self, start: int, stop: int) -> tuple[Path, ...]:
        """Return the sounds and their chapters' transcripts."""
        sounds = self._sounds[start:stop]
        return (*sounds, *transcript_files(sounds))


class ArchivedSubset(Subset):
    """A `.tar.gz` of such folders, and the temporary part that it is spooled into."""

    def __init__(self, name: str, path: Path, parts: Path, *, published: bool) -> None:
        """Take also the folder of the parts."""
        super().__init__(name, path, published=published)
        self.after = (f"spool-{name}",)
        self._spool = parts / self.after[0]

    def files(self) -> Sequence[Path]:
        """Return the archive."""
        return [self.path]

    def spools(self) -> list[Part]:
        """Return the part that the archive is spooled into; FLAC files are hardly smaller in it."""
        return [
            Part(
                name=self.after[0],
                split=None,
                sources=(self.path,),
                make=partial(spool, self.path, self.name),
                expected_bytes=self.bytes(),
                temporary=True,
                published={} if self._published is None else {self.path.name: f"md5:{self._published.md5}"},
            )
        ]

    def _count(self) -> int:
        return len(spooled(self._spool))

    def texts(self) -> Callable[[], Iterable[str]]:
        """Return what reads the spool's transcripts."""
        return partial(spooled_texts, self._spool)

    def text_files(self) -> tuple[Path, ...]:
        """Return nothing: the spool is read."""
        return ()

    def utterances(self, start: int, stop: int) -> Callable[[], Iterator[Utterance]]:
        """Return what reads those utterances' records of the spool."""
        return partial(from_spool, self._spool, self.path, start, stop)

    def sources(self, start: int, stop: int) -> tuple[Path, ...]:
        """Return nothing: the spool is read."""
        return ()


def find_subsets(raw: Path, parts: Path, *, published: bool) -> list[Subset]:
    """Return the subsets in a folder, in order; folders go before archives, as several processes can read them.

    Raises FileError where a split has none, or, of the published ones, where one is missing.
    """
    found: list[Subset] = []
    for name in SUBSETS:
        archive = raw / f"{name}.tar.gz"
        folders = [folder for folder in (raw / "LibriSpeech" / name, raw / name) if folder.is_dir()]
        if folders:
            found.append(UnpackedSubset(name, folders[0], published=published))
        elif archive.exists():
            found.append(ArchivedSubset(name, archive, parts, published=published))
    splits, names = {subset.split for subset in found}, {subset.name for subset in found}
    for name, subset in SUBSETS.items():
        if name not in names and (published or subset.split not in splits):
            raise FileError(raw / f"{name}.tar.gz", f"no such file; expected it, or a folder LibriSpeech/{name}")
    return found
