"""Molecule-like graphs, grown fragment by fragment, many at once, with every valence respected."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from timetrial.workloads.ogbg.fragments import (
    CARBON,
    LIBRARY,
    NITROGEN,
    OXYGEN,
    SINGLE_ATOMS,
    SULPHUR,
    WIDEST,
    Fragments,
    parse,
)

SMALLEST, LARGEST = 10, 30
"""Atoms in a molecule, hydrogens not counted."""

_ROUNDS = 24
"""Fragments that a molecule is grown from at most; fewer are enough for nearly all."""

_EXTRA_RING = 0.4
"""Probability that two free atoms at distance 4 or 5, where there are such, are bonded to one more ring."""

_SUBSTITUTIONS = ((NITROGEN, 1, 0.07), (OXYGEN, 2, 0.05), (SULPHUR, 2, 0.015))
"""Kinds that replace a carbon that is not aromatic, the valence it must have free, and how often they do."""

_AROMATIC_NITROGEN = 0.08
"""How often an aromatic CH becomes a nitrogen."""


@dataclass(frozen=True, kw_only=True)
class Molecules:
    """Molecules as arrays padded to the same number of atoms; atoms that are not there come last."""

    kind: np.ndarray
    """Rows of `KINDS`, -1 for padding, int8 (molecules, atoms)."""
    bonds: np.ndarray
    """Orders of the bonds, 0 where there is none, int8 (molecules, atoms, atoms)."""
    aromatic_bonds: np.ndarray
    """Whether there is an aromatic bond, bool (molecules, atoms, atoms)."""
    aromatic: np.ndarray
    """Whether an atom is aromatic, bool (molecules, atoms)."""
    ring: np.ndarray
    """Whether an atom is in a ring, bool (molecules, atoms)."""
    free: np.ndarray
    """Valence that the bonds leave, filled by hydrogens, int8 (molecules, atoms)."""

    @classmethod
    def blank(cls, count: int, atoms: int) -> Molecules:
        """Return molecules without atoms."""
        return cls(
            kind=np.full((count, atoms), -1, np.int8),
            bonds=np.zeros((count, atoms, atoms), np.int8),
            aromatic_bonds=np.zeros((count, atoms, atoms), bool),
            aromatic=np.zeros((count, atoms), bool),
            ring=np.zeros((count, atoms), bool),
            free=np.zeros((count, atoms), np.int8),
        )

    @property
    def size(self) -> np.ndarray:
        """Number of atoms (molecules,)."""
        return (self.kind >= 0).sum(axis=1)

    def take(self, rows: np.ndarray, atoms: int) -> Molecules:
        """Return some of the molecules, padded to another number of atoms."""
        arrays = {item.name: getattr(self, item.name)[rows] for item in fields(self)}
        cut = slice(atoms)
        return Molecules(
            **{name: array[:, cut, cut] if array.ndim == 3 else array[:, cut] for name, array in arrays.items()}
        )


def grow(random: np.random.Generator, count: int) -> Molecules:
    """Return `count` molecules of `SMALLEST` to `LARGEST` atoms, small ones more frequent than large ones."""
    spare = count // 50 + 8  # some stop growing early, because no atom is free for another bond
    target = np.minimum(*random.integers(SMALLEST, LARGEST + 1, (2, count + spare)))
    molecules = Molecules.blank(count + spare, LARGEST + WIDEST)
    library, singles = parse(LIBRARY), parse(SINGLE_ATOMS)
    for _ in range(_ROUNDS):
        for fragments in (library, singles):
            _attach(random, molecules, target, fragments)
    whole = np.flatnonzero(molecules.size >= SMALLEST)[:count]
    assert len(whole) == count, "too many molecules stopped growing early"
    molecules = molecules.take(whole, LARGEST)
    _close_rings(random, molecules)
    _substitute(random, molecules)
    return molecules


def zipf(random: np.random.Generator, largest: int, count: int) -> np.ndarray:
    """Draw integers from 0 to below `largest`, k with a probability proportional to 1 / (k + 1)."""
    weights = np.cumsum(1 / np.arange(1, largest + 1))
    return np.searchsorted(weights, random.random(count) * weights[-1])


def _attach(random: np.random.Generator, molecules: Molecules, target: np.ndarray, fragments: Fragments) -> None:
    """Bond a random fragment to a random free atom of each molecule that has room for it.

    Of the single atoms only what is tried after a fragment of the library did not fit is needed: the call for them
    draws for all, and bonds where less than the widest fragment's room is left.
    """
    count = len(target)
    chosen = zipf(random, len(fragments.size), count)
    keys = random.random(molecules.kind.shape) * (molecules.free > 0)
    own_keys = random.random((count, WIDEST)) * (fragments.free[chosen] > 0)
    size = molecules.size
    fits = (size + fragments.size[chosen] <= target) & ((size == 0) | (keys.max(axis=1) > 0))
    # A small molecule keeps a free atom to grow on.
    left = molecules.free.sum(axis=1) + fragments.free[chosen].sum(axis=1) - 2 * (size > 0)
    fits &= (left > 0) | (size + fragments.size[chosen] >= SMALLEST)
    if fragments.size.max() == 1:
        fits &= target - size < WIDEST
    rows = np.flatnonzero(fits)
    chosen, size = chosen[rows], size[rows]
    # What a fragment's padding overwrites is blank still.
    places = size[:, None] + np.arange(WIDEST)
    across = (rows[:, None, None], places[:, :, None], places[:, None, :])
    molecules.bonds[across] = fragments.bonds[chosen]
    molecules.aromatic_bonds[across] = (fragments.bonds[chosen] > 0) & fragments.aromatic[chosen][:, :, None]
    molecules.kind[rows[:, None], places] = fragments.kind[chosen]
    molecules.free[rows[:, None], places] = fragments.free[chosen]
    molecules.aromatic[rows[:, None], places] = fragments.aromatic[chosen]
    molecules.ring[rows[:, None], places] = fragments.ring[chosen]
    grown = size > 0
    _bond(molecules, rows[grown], keys[rows].argmax(axis=1)[grown], (size + own_keys[rows].argmax(axis=1))[grown])


def _bond(molecules: Molecules, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
    """Add a single bond in each of the molecules `rows`."""
    molecules.bonds[rows, starts, ends] = molecules.bonds[rows, ends, starts] = 1
    molecules.free[rows, starts] -= 1
    molecules.free[rows, ends] -= 1


def _close_rings(random: np.random.Generator, molecules: Molecules) -> None:
    """Bond a random pair of free atoms at distance 4 or 5, in some of the molecules."""
    distance = distances(molecules.bonds, 5)
    free = molecules.free > 0
    pairs = ((distance == 4) | (distance == 5)) & free[:, :, None] & free[:, None, :]
    keys = (random.random(pairs.shape) * pairs).reshape(len(pairs), -1)
    rows = np.flatnonzero((keys.max(axis=1) > 0) & (random.random(len(pairs)) < _EXTRA_RING))
    starts, ends = np.divmod(keys[rows].argmax(axis=1), pairs.shape[1])
    # The ring is made of the shortest paths between the two; those of equal length are in rings all the same.
    to_start, to_end, apart = distance[rows, starts], distance[rows, ends], distance[rows, starts, ends]
    molecules.ring[rows] |= to_start + to_end == apart[:, None]
    _bond(molecules, rows, starts, ends)


def _substitute(random: np.random.Generator, molecules: Molecules) -> None:
    """Replace some carbons by other kinds that have valence enough for the bonds that are there."""
    draw, used = random.random(molecules.kind.shape), 0.0
    carbon = molecules.kind == CARBON
    for kind, needed, probability in _SUBSTITUTIONS:
        replaceable = carbon & ~molecules.aromatic & (molecules.free >= needed)
        chosen = replaceable & (draw >= used) & (draw < used + probability)
        molecules.kind[chosen] = kind
        molecules.free[chosen] -= needed
        used += probability
    chosen = carbon & molecules.aromatic & (molecules.free == 1) & (draw < _AROMATIC_NITROGEN)
    molecules.kind[chosen] = NITROGEN
    molecules.free[chosen] = 0


def distances(bonds: np.ndarray, farthest: int) -> np.ndarray:
    """Return the numbers of bonds between the atoms up to `farthest`, else 127, int8 (molecules, atoms, atoms)."""
    adjacent = (bonds > 0).astype(np.float32)
    found = np.where(np.eye(bonds.shape[1], dtype=bool), np.int8(0), np.int8(127)) + np.zeros(bonds.shape, np.int8)
    reached = adjacent
    for distance in range(1, farthest + 1):
        found[(reached > 0) & (found == 127)] = distance
        if distance < farthest:
            # Numbers of walks: small integers, exact in single precision.
            reached = reached @ adjacent
    return found
