"""Errors that are the user's to mend: printed as one sentence, without a traceback, exit code 2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError


class UserError(ValueError):
    """Something a user can mend; its text is one clear sentence that says what was wrong and what to do."""


class UnknownNameError(UserError):
    """A name that is not known, with the names that are."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        super().__init__(f"unknown {what} {name!r}: {_nearest(name, known)}known are {', '.join(known)}")


class FileError(UserError):
    """A file that people write holds something it must not; names the file, the key and the expectation."""

    def __init__(self, path: str | Path, problem: str, *, key: str | None = None) -> None:
        super().__init__(f"{path}: {key + ': ' if key else ''}{problem}")

    @classmethod
    def from_validation(cls, path: str | Path, error: ValidationError) -> FileError:
        """Turn pydantic's first complaint into a sentence with the key's dotted path and the value found."""
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] not in {"missing", "unexpected_keyword_argument", "value_error"}:
            problem += f" (found {first['input']!r})"
        more = error.error_count() - 1
        return cls(path, problem + (f" (and {more} more)" if more else ""), key=key or None)


def _nearest(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}? " if close else ""
