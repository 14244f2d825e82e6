"""How a dataset is prepared: stages of parts, each made from raw files of its own, whatever the others do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

Settings = Mapping[str, int | str]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A folder of files that is made at once: it is there whole or not at all."""

    name: str
    """Of its folder. The parts of a split, sorted by name, are the split in order."""
    split: str | None
    """`train`, `validation` or `test`; None where it holds no examples: a tokenizer, an intermediate result."""
    sources: tuple[Path, ...] = ()
    """The raw files that it is made from; they are hashed, and other contents void it."""
    make: Callable[[Path], int]
    """Writes the part's files into an empty folder and returns how many examples they hold.

    The same bytes whenever it is called. It runs in a process of its own, so that it must be picklable: a module's
    function, or `functools.partial` of one. Raises UserError, naming the file, where a raw file is no good.
    """
    expected_bytes: int
    """About how large its files will be."""
    after: tuple[str, ...] = ()
    """Parts of earlier stages that it is made from: when their contents change, it is made anew."""
    temporary: bool = False
    """Whether it is removed when the dataset is finished."""
    published: Mapping[str, str] = field(default_factory=dict)
    """Published checksums by a source's file name, as `md5:...` or `sha256:...`."""


Stage = Callable[[], Sequence[Part]]
"""Tells its parts when those of the stages before it are there."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """What a person must know before getting a dataset."""

    title: str
    files: str
    """What to download, and how it must lie in the raw folder."""
    source: str
    """Where it is distributed."""
    licence: str
    raw_bytes: int
    """Size of what is downloaded and read, about."""
    prepared_bytes: int
    """Size of the published benchmark's dataset when it is prepared, about."""
    extra: str | None = None
    """The extra of timetrial that preparing and reading it needs."""


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """Prepares one dataset for one preset. Frozen values, so that it can be compared and told apart by `settings`."""

    dataset: ClassVar[str]
    """Name of the dataset and of its folder."""
    version: ClassVar[int]
    """Of what the files hold; another version's are not read."""
    distribution: ClassVar[Distribution]
    published_examples: ClassVar[Mapping[str, int]]
    """Examples of each split of the published benchmark."""

    published: bool
    """Whether it must be the published dataset, all of it; otherwise whatever the raw folder holds will do."""

    @property
    def settings(self) -> Settings:
        """What of the preset the prepared files depend on, such as a vocabulary's size; by default nothing."""
        return {}

    @property
    def expected_examples(self) -> Mapping[str, int]:
        """Examples that each split must have, where it must be the published dataset; else nothing."""
        return self.published_examples if self.published else {}

    @abstractmethod
    def stages(self, raw: Path, parts: Path) -> Sequence[Stage]:
        """Return the stages that lead from the folder `raw` to the parts, each a folder in `parts`.

        Raises UserError where files are missing, naming the first and what was expected.
        """

    def sizes(self, raw: Path, parts: Path) -> tuple[int, int]:
        """Return how many bytes are read and about how many are written; see `proportional` for the usual answer.

        Raises UserError as `stages` does.
        """
        return self.proportional({path for part in self.stages(raw, parts)[0]() for path in part.sources})

    def proportional(self, files: Iterable[Path]) -> tuple[int, int]:
        """Return the size of raw files, and the prepared dataset's in proportion to the published one's."""
        size = sum(path.stat().st_size for path in files)
        return size, int(size * self.distribution.prepared_bytes / self.distribution.raw_bytes)
