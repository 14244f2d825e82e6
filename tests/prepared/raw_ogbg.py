"""Raw molecules in the form of OGB's `pcba.zip`, unpacked: small or of any size, for tests and benchmarks."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TASKS = 128
SHARES = {"train": 0.7, "valid": 0.15, "test": 0.15}


@dataclass(frozen=True)
class Molecule:
    """What the tables say of one molecule."""

    atoms: list[list[int]]
    bonds: list[list[int]]
    ends: list[tuple[int, int]]
    labels: list[str]


def molecules(count: int, seed: int, *, atoms: tuple[int, int] = (1, 25)) -> list[Molecule]:
    """Return trees with a few rings, with `atoms` from the first number to before the second; 60 % unlabelled."""
    random = np.random.Generator(np.random.PCG64(seed))
    found = []
    for size in random.integers(*atoms, count).tolist():
        parents = [(child - int(random.integers(1, min(child, 3) + 1)), child) for child in range(1, size)]
        rings = [(a, b) for a, b in random.integers(0, size, (size // 8, 2)).tolist() if a != b]
        known = {tuple(sorted(pair)) for pair in parents}
        ends = parents + [pair for pair in dict.fromkeys(rings) if tuple(sorted(pair)) not in known]
        ends = list({tuple(sorted(pair)): pair for pair in ends}.values())
        labels = np.where(random.random(TASKS) < 0.6, "", np.array(["0.0", "1.0"])[random.integers(0, 2, TASKS)])
        found.append(
            Molecule(
                atoms=(random.integers(0, 12, (size, 9)) * random.integers(1, 10, 9)).tolist(),
                bonds=random.integers(0, 6, (len(ends), 3)).tolist(),
                ends=ends,
                labels=labels.tolist(),
            )
        )
    return found


def make(folder: Path, *, graphs: int = 120, seed: int = 0, atoms: tuple[int, int] = (1, 25)) -> list[Molecule]:
    """Write a dataset to a folder that does duty for `pcba`; return its molecules in the order of the tables.

    A graph of the public dataset has 26 atoms on average; for `graphs` like it, `atoms=(10, 43)`.
    """
    found = molecules(graphs, seed, atoms=atoms)
    write(folder / "raw" / "node-feat.csv.gz", (atom for molecule in found for atom in molecule.atoms))
    write(folder / "raw" / "edge-feat.csv.gz", (bond for molecule in found for bond in molecule.bonds))
    write(folder / "raw" / "edge.csv.gz", (pair for molecule in found for pair in molecule.ends))
    write(folder / "raw" / "num-node-list.csv.gz", ([len(molecule.atoms)] for molecule in found))
    write(folder / "raw" / "num-edge-list.csv.gz", ([len(molecule.ends)] for molecule in found))
    write(folder / "raw" / "graph-label.csv.gz", (molecule.labels for molecule in found))
    for split, rows in split_rows(graphs, seed).items():
        write(folder / "split" / "scaffold" / f"{split}.csv.gz", ([row] for row in rows))
    return found


def split_rows(graphs: int, seed: int = 0) -> dict[str, list[int]]:
    """Return which molecules are in which split, in the split's order."""
    order = np.random.Generator(np.random.PCG64(1000 + seed)).permutation(graphs).tolist()
    first = round(SHARES["train"] * graphs)
    second = first + round(SHARES["valid"] * graphs)
    return {"train": order[:first], "valid": order[first:second], "test": order[second:]}


def write(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a table, the same bytes whenever it is called."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), compresslevel=1, mtime=0))
