"""What the tasks of the generated molecules ask: substructures of two to three kinds of atoms at set distances.

A question is drawn at random, then a threshold on how often its substructure occurs, until the rate of positive
molecules is near the one that the task is to have. Questions that follow from which atoms there are alone are passed
over: at most `GIVEN_AWAY` of the molecules that have all the kinds of atoms asked for may be positive.
"""

from __future__ import annotations

import numpy as np

from timetrial.workloads.ogbg.fragments import CHARGE, NUMBER, C, N, O, S
from timetrial.workloads.ogbg.molecules import Molecules, distances

FARTHEST = 4
"""Bonds between the atoms of a question at most."""

GIVEN_AWAY = 0.3

HIGHEST_RATE = 0.2

_TOLERANCE = 1.15
"""Factor within which a task has the rate it is to have."""

_HIGHEST_THRESHOLD = 4

_TRIES = 100_000


def atom_classes(molecules: Molecules) -> np.ndarray:
    """Return which atoms belong to which class of chemists' words, bool (classes, molecules, atoms).

    Classes overlap; what they say is local: kind, bonds, hydrogens and ring of the atom, and at most its neighbours'.
    """
    kind, bonds, free = molecules.kind, molecules.bonds, molecules.free
    double, triple = (bonds == 2) & ~molecules.aromatic_bonds, bonds == 3
    degree = (bonds > 0).sum(axis=2)
    carbon, oxygen, sulphur = kind == C, (NUMBER[kind] == NUMBER[O]) & (kind >= 0), kind == S
    nitrogen = (NUMBER[kind] == NUMBER[N]) & (kind >= 0)
    neutral_nitrogen = kind == N
    aromatic, ring = molecules.aromatic, molecules.ring
    saturated = ~aromatic & ~(double | triple).any(axis=2)
    carbonyl = carbon & (double & oxygen[:, None, :]).any(axis=2)
    next_to_carbonyl = ((bonds > 0) & carbonyl[:, None, :]).any(axis=2)
    classes = (
        neutral_nitrogen & (free > 0) & ~aromatic,
        oxygen & double.any(axis=2),
        carbon & aromatic & (degree == 3) & (free == 0),
        np.isin(NUMBER[kind], (9, 17, 35, 53)) & (kind >= 0),
        nitrogen & aromatic,
        (kind == O) & (free > 0),
        carbonyl,
        sulphur | ((kind >= 0) & (NUMBER[kind] == 16)),
        carbon & saturated & ring,
        (kind == O) & (degree == 2) & ~aromatic,
        carbon & saturated & (free == 3),
        neutral_nitrogen & (free == 0) & saturated,
        carbon & saturated & (free <= 1),
        (kind >= 0) & (NUMBER[kind] == 17),
        aromatic & ~carbon,
        neutral_nitrogen & next_to_carbonyl,
        carbon & double.any(axis=2) & ~carbonyl,
        (kind >= 0) & (CHARGE[kind] != 0),
        carbon & aromatic & (free == 1),
        carbon & saturated & ~ring & (free == 2),
        carbon & triple.any(axis=2),
        (kind >= 0) & (NUMBER[kind] == 9),
    )
    return np.stack(classes)


class Questions:
    """Draws questions about molecules and answers them."""

    def __init__(self, molecules: Molecules) -> None:
        self._classes = atom_classes(molecules)
        apart = distances(molecules.bonds, FARTHEST)
        columns = np.moveaxis(self._classes, 0, -1).astype(np.float32)
        # By distance and class: how many atoms of the class are so far from each atom.
        self._counts = np.stack(
            [np.moveaxis((apart == d).astype(np.float32) @ columns, -1, 0) for d in range(FARTHEST + 1)]
        ).astype(np.int8)
        self._occur = self._classes.sum(axis=2)

    @staticmethod
    def _zipf(random: np.random.Generator, largest: int, count: int) -> np.ndarray:
        """Draw integers from 1 to `largest` with probabilities proportional to their reciprocals."""
        weights = np.cumsum(1 / np.arange(1, largest + 1))
        return np.searchsorted(weights, random.random(count) * weights[-1]) + 1

    def draw(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw a question; return how often its substructure occurs and whether all its atoms do (molecules,)."""
        form = int(random.integers(4))
        a, b, c = (int(number) for number in self._zipf(random, len(self._classes), 3) - 1)
        near, far = (int(number) for number in self._zipf(random, 2, 2))
        distance = int(self._zipf(random, FARTHEST, 1)[0])
        if form == 0:  # an a, and a b at just this distance
            found = self._classes[a] & (self._counts[distance, b] > 0)
            needed = [(a, 1 + (a == b)), (b, 1)]
        elif form == 1:  # a b between an a and a c
            found = self._classes[b] & (self._counts[near, a] > 0) & (self._counts[far, c] > (a == c and near == far))
            needed = [(a, 1 + (a == c)), (b, 1), (c, 1)]
        elif form == 2:  # an a with two b around it
            found = self._classes[a] & (self._counts[1 : distance + 1, b].sum(axis=0) > 1)
            needed = [(a, 1), (b, 2 + (a == b))]
        else:  # an a with a b at just this distance, and no c near
            found = self._classes[a] & (self._counts[distance, b] > 0) & (self._counts[1 : far + 1, c].sum(axis=0) == 0)
            needed = [(a, 1 + (a == b)), (b, 1)]
        there = np.logical_and.reduce([self._occur[kind] >= number for kind, number in needed])
        return found.sum(axis=1), there


def answers(random: np.random.Generator, molecules: Molecules, tasks: int, *, rarest: float) -> np.ndarray:
    """Return the true labels of `tasks` questions, bool (molecules, tasks), the frequent ones first.

    Rates fall geometrically from `HIGHEST_RATE` to `rarest`.
    """
    questions = Questions(molecules)
    rates = HIGHEST_RATE * (rarest / HIGHEST_RATE) ** (np.arange(tasks) / max(tasks - 1, 1))
    labels = np.zeros((len(molecules.kind), tasks), bool)
    missing = set(range(tasks))
    for _ in range(_TRIES):
        if not missing:
            return labels
        times, there = questions.draw(random)
        for threshold in range(1, _HIGHEST_THRESHOLD + 1):
            positive = times >= threshold
            rate = positive.mean()
            fitting = [task for task in missing if rates[task] / _TOLERANCE <= rate <= rates[task] * _TOLERANCE]
            if fitting and positive.sum() <= GIVEN_AWAY * there.sum():
                labels[:, fitting[0]] = positive
                missing.remove(fitting[0])
                break
    raise AssertionError(f"no questions found for {len(missing)} of the {tasks} tasks")
