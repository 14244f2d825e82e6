"""Where ImageNet's images lie as they are distributed: in class folders, or in tars that are read without unpacking."""

from __future__ import annotations

import gzip
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from timetrial.errors import FileError
from timetrial.prepared.raw import reading

_SUFFIXES = (".jpeg", ".jpg", ".png")
_BLOCK = 512
"""Bytes of a tar's headers, and what members are filled up to (POSIX 1003.1, ustar)."""
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file inside a tar."""

    name: str
    start: int
    size: int


@dataclass(frozen=True, kw_only=True)
class FolderImages:
    """The images of one class, files in a folder."""

    folder: Path

    def files(self) -> list[Path]:
        """Return the files, by name. Raises FileError where there are none."""
        with reading(self.folder):
            found = sorted(path for path in self.folder.iterdir() if is_image(path.name))
        if not found:
            raise FileError(self.folder, "holds no images; expected the JPEG files of its class")
        return found

    @property
    def sources(self) -> tuple[Path, ...]:
        """The raw files."""
        return tuple(self.files())

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return sum(path.stat().st_size for path in self.files())

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Yield where each image lies, and its bytes, by name."""
        for path in self.files():
            with reading(path):
                yield str(path), path.read_bytes()


@dataclass(frozen=True, kw_only=True)
class TarImages:
    """The images of one class in a tar: all of it, a tar inside of it, or some of its members."""

    path: Path
    start: int = 0
    """Where the tar begins, which may lie in another one."""
    size: int
    """Bytes of all images, about."""
    members: tuple[Member, ...] | None = None
    """The images, where they are known; else the tar's headers tell."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """The raw file."""
        return (self.path,)

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Yield where each image lies, and its bytes, by name. Raises FileError where the tar is cut off."""
        members = self.members
        if members is None:
            members = tuple(member for member in tar_members(self.path, self.start) if is_image(member.name))
        if not members:
            raise FileError(self.path, "holds a class without images; download it again")
        with reading(self.path), self.path.open("rb") as file:
            for member in sorted(members, key=lambda member: member.name):
                file.seek(member.start)
                data = file.read(member.size)
                if len(data) != member.size:
                    raise FileError(self.path, f"ends in the middle of {member.name}; download it again")
                yield f"{self.path}: {member.name}", data


Images = FolderImages | TarImages


def is_image(name: str) -> bool:
    """Tell whether a file is an image; those that begin with a dot are what file managers leave behind."""
    return name.lower().endswith(_SUFFIXES) and not name.rsplit("/", 1)[-1].startswith(".")


def tar_members(path: Path, start: int = 0) -> list[Member]:
    """Return the files inside a tar that begins at `start`, from its headers alone.

    Raises FileError where it is no tar or is cut off, which Python's `tarfile` takes for its end.
    """
    with reading(path), path.open("rb") as file:
        file.seek(start)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            found = [Member(name=m.name, start=m.offset_data, size=m.size) for m in tar if m.isfile()]
            ends = [m.offset_data + -(-m.size // _BLOCK) * _BLOCK for m in tar.getmembers()[-1:]]
        file.seek(ends[0] if ends else start)
        if file.read(_BLOCK) != bytes(_BLOCK):
            raise FileError(path, "its tar has no end; download it again")
    return found


def unpacked(path: Path, target: Path) -> Path:
    """Return a tar to read by place: the file itself, or what gunzip makes of it, in `target`. Raises FileError."""
    with reading(path):
        with path.open("rb") as file:
            if file.read(len(_GZIP)) != _GZIP:
                return path
        with gzip.open(path) as packed, target.open("wb") as tar:
            shutil.copyfileobj(packed, tar, 1 << 20)
    return target
