"""The pieces that generated molecules are grown from: kinds of atoms, and a library of fragments in line notation.

A fragment is written as in SMILES (Weininger 1988): atoms `C N O S P F Cl Br I B Si` and those in brackets below, `=`
and `#` for double and triple bonds, brackets for branches, digits for the two ends of a ring bond. An asterisk before
it says that all its bonds and atoms are aromatic; its double bonds are then those of one Kekule structure, so that
valences add up in integers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

KINDS: dict[str, tuple[int, int, int]] = {
    "C": (6, 4, 0),
    "N": (7, 3, 0),
    "O": (8, 2, 0),
    "S": (16, 2, 0),
    "F": (9, 1, 0),
    "Cl": (17, 1, 0),
    "Br": (35, 1, 0),
    "I": (53, 1, 0),
    "P": (15, 5, 0),
    "B": (5, 3, 0),
    "Si": (14, 4, 0),
    "[S6]": (16, 6, 0),
    "[N+]": (7, 4, 1),
    "[O-]": (8, 1, -1),
}
"""Atomic number, valence and charge of each kind of atom; `[S6]` is the sulphur of sulfones and sulfonamides."""

NUMBER, VALENCE, CHARGE = (np.array(column, dtype=np.int8) for column in zip(*KINDS.values(), strict=True))
CARBON, NITROGEN, OXYGEN, SULPHUR = range(4)
"""Rows of `KINDS`."""

LIBRARY: tuple[str, ...] = (
    "C",
    "*C1=CC=CC=C1",
    "N",
    "O",
    "C=O",
    "CC",
    "*N1=CC=CC=C1",
    "C(=O)N",
    "F",
    "C1CCNCC1",
    "Cl",
    "C(=O)O",
    "*C1=CSC=C1",
    "[S6](=O)(=O)C",
    "C=C",
    "*N1C=CN=C1",
    "C1CCCCC1",
    "C#N",
    "[N+](=O)[O-]",
    "*C1=CC2=CC=CC=C2N1",
    "C1CCOC1",
    "S",
    "C(F)(F)F",
    "C1CNCCO1",
    "[S6](=O)(=O)N",
    "*C1=COC=C1",
    "Br",
    "N=N",
    "C#C",
    "*C1=CC=C2C=CC=CC2=C1",
    "C1CC1",
    "*N1=CN=CC=C1",
    "C(=O)[O-]",
    "*C1=NC=CS1",
    "NC(=O)N",
    "C=NO",
    "P(=O)(O)O",
    "*C1=CC=C2N=CC=CC2=C1",
    "I",
    "C=S",
    "B(O)O",
    "Si(C)C",
)
"""From the most to the least frequent; the frequency of the k-th is proportional to 1 / k (Zipf)."""

SINGLE_ATOMS = ("C", "N", "O", "F", "Cl", "S", "Br", "I")
"""What a molecule is filled up with where no fragment fits, by the same law."""

WIDEST = 10
"""Atoms in the largest fragment."""

_TOKEN = re.compile(r"\[\w+[+-]?\]|Cl|Br|Si|[CNOSFPIB]|[=#()]|\d")
_ORDER = {"=": 2, "#": 3}


@dataclass(frozen=True, kw_only=True)
class Fragments:
    """Fragments as arrays, each padded to `WIDEST` atoms."""

    size: np.ndarray
    """Atoms (fragments,)."""
    kind: np.ndarray
    """Rows of `KINDS`, -1 for padding (fragments, WIDEST)."""
    bonds: np.ndarray
    """Orders of the bonds, 0 where there is none (fragments, WIDEST, WIDEST)."""
    aromatic: np.ndarray
    """Whether an atom is aromatic (fragments, WIDEST)."""
    ring: np.ndarray
    """Whether an atom is in a ring (fragments, WIDEST)."""
    free: np.ndarray
    """Valence that the bonds leave (fragments, WIDEST)."""


def parse(lines: tuple[str, ...]) -> Fragments:
    """Read fragments in line notation."""
    count = len(lines)
    kind = np.full((count, WIDEST), -1, np.int8)
    bonds = np.zeros((count, WIDEST, WIDEST), np.int8)
    for row, line in enumerate(lines):
        kinds, orders = _atoms_and_bonds(line.removeprefix("*"))
        kind[row, : len(kinds)] = kinds
        for (start, end), order in orders.items():
            bonds[row, start, end] = bonds[row, end, start] = order
    present = kind >= 0
    aromatic = present & np.array([[line.startswith("*")] for line in lines])
    free = np.where(present, VALENCE[kind] - bonds.sum(axis=2), 0).astype(np.int8)
    assert (free >= 0).all(), "a fragment exceeds a valence"
    # Ring fragments of the library have no atoms outside their rings.
    rings = np.array([any(token.isdigit() for token in _TOKEN.findall(line)) for line in lines])
    return Fragments(
        size=present.sum(axis=1), kind=kind, bonds=bonds, aromatic=aromatic, ring=present & rings[:, None], free=free
    )


def _atoms_and_bonds(line: str) -> tuple[list[int], dict[tuple[int, int], int]]:
    names = list(KINDS)
    kinds: list[int] = []
    bonds: dict[tuple[int, int], int] = {}
    branches: list[int] = []
    open_rings: dict[str, int] = {}
    last, order = -1, 1
    for token in _TOKEN.findall(line):
        if token in _ORDER:
            order = _ORDER[token]
        elif token == "(":
            branches.append(last)
        elif token == ")":
            last = branches.pop()
        elif token.isdigit() and token in open_rings:
            bonds[open_rings.pop(token), last] = order
            order = 1
        elif token.isdigit():
            open_rings[token] = last
        else:
            kinds.append(names.index(token))
            if last >= 0:
                bonds[last, len(kinds) - 1] = order
            last, order = len(kinds) - 1, 1
    return kinds, bonds
