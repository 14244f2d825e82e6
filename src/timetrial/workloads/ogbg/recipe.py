"""How ogbg-molpcba is prepared: OGB's tables read into arrays, then each split's molecules taken from them in order.

OGB stores each bond once (its `add_inverse_edge` makes the other direction when it reads), and so do the prepared
files; `timetrial.workloads.ogbg.preprocessing` says what they hold (spec: workloads/ogbg.md, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.arrays import ArrayWriter
from timetrial.prepared.folder import load_array
from timetrial.prepared.lines import Cells, read_lines
from timetrial.prepared.raw import require
from timetrial.prepared.recipe import Distribution, Part, Recipe, Settings, Stage
from timetrial.workloads.ogbg.graphs import MISSING, runs

TASKS = 128
"""Columns of OGB's labels."""

_TRAIN, _VALIDATION, _TEST = 350_343, 43_793, 43_793

_MOLECULE_BYTES = 566
"""About, of a prepared molecule with its 26.0 atoms, 28.1 bonds and 128 labels, on average."""

_TEXT_BYTES = 12
"""A packed table takes so many times its size as an array at most."""

_GATHERED = 4096
"""Molecules taken at a time."""

_TABLE = "table"
"""Name of the array that a table becomes."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of whole numbers as OGB distributes it: packed, comma-separated, no header."""

    file: str
    """Its path within OGB's folder."""
    columns: int
    dtype: type[np.unsignedinteger]
    least: int = 0

    @property
    def part(self) -> str:
        """Name of the temporary part that it becomes."""
        return "raw-" + Path(self.file).name.removesuffix(".csv.gz")


NODES = Table(file="raw/node-feat.csv.gz", columns=9, dtype=np.uint8)
BONDS = Table(file="raw/edge-feat.csv.gz", columns=3, dtype=np.uint8)
ENDS = Table(file="raw/edge.csv.gz", columns=2, dtype=np.uint16)
N_NODE = Table(file="raw/num-node-list.csv.gz", columns=1, dtype=np.uint16, least=1)
N_BOND = Table(file="raw/num-edge-list.csv.gz", columns=1, dtype=np.uint16)
LABELS = Table(file="raw/graph-label.csv.gz", columns=TASKS, dtype=np.uint8)
SPLITS = {
    "train": Table(file="split/scaffold/train.csv.gz", columns=1, dtype=np.uint32),
    "validation": Table(file="split/scaffold/valid.csv.gz", columns=1, dtype=np.uint32),
    "test": Table(file="split/scaffold/test.csv.gz", columns=1, dtype=np.uint32),
}
_TABLES = (NODES, BONDS, ENDS, N_NODE, N_BOND, LABELS, *SPLITS.values())


@dataclass(frozen=True, kw_only=True)
class OgbgRecipe(Recipe):
    """Molecules as flat arrays, a part a split."""

    dataset = "ogbg"
    version = 1
    distribution = Distribution(
        title="ogbg-molpcba",
        files="pcba.zip, unpacked: pcba/raw/*.csv.gz and pcba/split/scaffold/*.csv.gz; or OGB's folder ogbg_molpcba",
        source="https://snap.stanford.edu/ogb/data/graphproppred/csv_mol_download/pcba.zip (ogb.stanford.edu)",
        licence="MIT",
        raw_bytes=40_000_000,
        prepared_bytes=_MOLECULE_BYTES * (_TRAIN + _VALIDATION + _TEST),
    )
    published_examples = {"train": _TRAIN, "validation": _VALIDATION, "test": _TEST}

    tasks: int
    """The first so many of OGB's tasks are kept."""

    @property
    def settings(self) -> Settings:
        """How many tasks are kept."""
        return {"tasks": self.tasks}

    def stages(self, raw: Path, parts: Path) -> Sequence[Stage]:
        """Return two stages: read the tables, take each split's molecules. Raises UserError where one is missing."""
        home = _home(raw, self.distribution.files)
        files = {table.file: require(home / table.file, self.distribution.files) for table in _TABLES}

        def read() -> list[Part]:
            return [
                Part(
                    name=table.part,
                    split=None,
                    sources=(files[table.file],),
                    make=partial(_reader(table, self.tasks), files[table.file]),
                    expected_bytes=_TEXT_BYTES * files[table.file].stat().st_size,
                    temporary=True,
                )
                for table in _TABLES
            ]

        def divide() -> list[Part]:
            check_tables(home, parts)
            return [
                Part(
                    name=split,
                    split=split,
                    make=partial(gather, home, parts, split),
                    expected_bytes=_MOLECULE_BYTES * len(_load(parts, SPLITS[split])),
                    after=tuple(table.part for table in _TABLES),
                )
                for split in SPLITS
            ]

        return [read, divide]


def _home(raw: Path, files: str) -> Path:
    """Return OGB's folder, which may be `raw` itself or lie in it under one of its names."""
    for home in (raw, raw / "pcba", raw / "ogbg_molpcba"):
        if (home / "raw").is_dir():
            return home
    raise FileError(raw / "pcba" / "raw", f"no such folder; expected {files}")


def _reader(table: Table, tasks: int) -> Callable[[Path, Path], int]:
    return partial(read_labels, tasks) if table is LABELS else partial(read_integers, table)


def read_integers(table: Table, path: Path, folder: Path) -> int:
    """Write a table of whole numbers as an array (lines, columns); return how many lines it has.

    Raises FileError, with the line's number, for another number of columns, or what its dtype does not hold.
    """
    most = int(np.iinfo(table.dtype).max)
    rows = 0
    with ArrayWriter(folder / f"{_TABLE}.npy", table.dtype, (table.columns,)) as writer:
        for lines in read_lines(path):
            cells = Cells(lines, ",", table.columns)
            values, read = cells.integers(slice(None))
            if (broken := ~read | (values < table.least) | (values > most)).any():
                line, column = np.argwhere(broken)[0].tolist()
                found = cells.cell(line, column)[:40].decode(errors="replace")
                raise cells.error(line, f"expected a whole number from {table.least} to {most}, found {found!r}")
            writer.append(values.astype(table.dtype))
            rows += len(values)
    if not rows:
        raise FileError(path, "holds no lines; expected one of OGB's tables")
    return rows


def read_labels(tasks: int, path: Path, folder: Path) -> int:
    """Write the first `tasks` labels of each molecule, int8 (molecules, tasks), an empty field as `MISSING`.

    Raises FileError, with the line's number, for another number of columns, or a label that is neither 0 nor 1.
    """
    rows = 0
    with ArrayWriter(folder / f"{_TABLE}.npy", np.int8, (tasks,)) as writer:
        for lines in read_lines(path):
            cells = Cells(lines, ",", TASKS)
            lengths, starts = cells.lengths, cells.starts
            digits = cells.octets[starts].astype(np.int8) - ord("0")
            # Labels are written as floating-point numbers; what follows the digit must be nothing or ".0".
            fraction = (cells.octets[starts + 1] == ord(".")) & (cells.octets[starts + 2] == ord("0"))
            labelled = (digits >= 0) & (digits <= 1) & ((lengths == 1) | (lengths == 3) & fraction)
            if (broken := ~labelled & (lengths > 0)).any():
                line, task = np.argwhere(broken)[0].tolist()
                found = cells.cell(line, task)[:40].decode(errors="replace")
                raise cells.error(line, f"field {task + 1}: expected a label of 0 or 1 or nothing, found {found!r}")
            writer.append(np.where(labelled, digits, MISSING)[:, :tasks])
            rows += len(digits)
    if not rows:
        raise FileError(path, "holds no lines; expected one of OGB's tables")
    return rows


def _load(parts: Path, table: Table) -> np.ndarray:
    array = load_array(parts / table.part / f"{_TABLE}.npy")
    return array[:, 0] if table.columns == 1 else array


def check_tables(home: Path, parts: Path) -> None:
    """Raise FileError unless the tables belong together and no molecule is in two splits."""
    n_node, n_bond = _load(parts, N_NODE), _load(parts, N_BOND)
    atoms, bonds = int(n_node.sum(dtype=np.int64)), int(n_bond.sum(dtype=np.int64))
    for table, expected, by in (
        (N_BOND, len(n_node), N_NODE),
        (LABELS, len(n_node), N_NODE),
        (NODES, atoms, N_NODE),
        (ENDS, bonds, N_BOND),
        (BONDS, bonds, N_BOND),
    ):
        if (found := len(_load(parts, table))) != expected:
            raise FileError(home / table.file, f"expected {expected} lines by {Path(by.file).name}, found {found}")
    seen = np.zeros(len(n_node), bool)
    for table in SPLITS.values():
        rows = _load(parts, table)
        if (outside := rows >= len(n_node)).any():
            line = int(outside.argmax())
            raise FileError(
                home / table.file, f"line {line + 1}: expected a molecule below {len(n_node)}, found {rows[line]}"
            )
        again = seen[rows]
        again[np.setdiff1d(np.arange(len(rows)), np.unique(rows, return_index=True)[1])] = True
        if again.any():
            line = int(again.argmax())
            raise FileError(home / table.file, f"line {line + 1}: molecule {rows[line]} is in a split already")
        seen[rows] = True


def gather(home: Path, parts: Path, split: str, folder: Path) -> int:
    """Write a split's molecules in the order of its table; return how many they are."""
    rows = _load(parts, SPLITS[split])
    n_node, n_bond = _load(parts, N_NODE), _load(parts, N_BOND)
    node_stops, bond_stops = (np.cumsum(sizes, dtype=np.int64) for sizes in (n_node, n_bond))
    tables = {
        "node_feat": _load(parts, NODES),
        "edge_feat": _load(parts, BONDS),
        "edge_index": _load(parts, ENDS),
        "n_node": n_node,
        "n_bond": n_bond,
        "labels": _load(parts, LABELS),
    }
    with ExitStack() as files:
        writers = {
            name: files.enter_context(ArrayWriter(folder / f"{name}.npy", table.dtype, table.shape[1:]))
            for name, table in tables.items()
        }
        for start in range(0, len(rows), _GATHERED):
            chosen = rows[start : start + _GATHERED]
            atoms = runs(node_stops[chosen], n_node[chosen].astype(np.int64))
            bonds = runs(bond_stops[chosen], n_bond[chosen].astype(np.int64))
            _check_bonds(home / ENDS.file, tables["edge_index"][bonds], n_node[chosen], n_bond[chosen], bonds)
            taken = {"node_feat": atoms, "edge_feat": bonds, "edge_index": bonds}
            for name, table in tables.items():
                writers[name].append(table[taken.get(name, chosen)])
    return len(rows)


def _check_bonds(path: Path, ends: np.ndarray, n_node: np.ndarray, n_bond: np.ndarray, lines: np.ndarray) -> None:
    """Raise FileError for an end outside its molecule, and for a bond that is there twice, as in both directions."""
    molecule = np.repeat(np.arange(len(n_node)), n_bond)
    if (outside := ends.max(axis=1) >= n_node[molecule]).any():
        bond = int(outside.argmax())
        atoms = n_node[molecule[bond]]
        raise FileError(path, f"line {lines[bond] + 1}: atom {ends[bond].max()} in a molecule of {atoms} atoms")
    low, high = (extreme(axis=1).astype(np.int64) for extreme in (ends.min, ends.max))
    order = np.lexsort((high, low, molecule))
    keys = np.stack([molecule, low, high])[:, order]
    if (again := (keys[:, 1:] == keys[:, :-1]).all(axis=0)).any():
        bond = int(order[1:][again].min())
        raise FileError(
            path, f"line {lines[bond] + 1}: this bond is there twice; expected each once, in one of its directions"
        )
