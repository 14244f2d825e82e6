"""What the tasks of the generated molecules ask: substructures of two to three kinds of atoms at set distances.

A question is drawn at random, then a threshold on how often its substructure occurs, until the rate of positive
molecules is near the one that the task is to have. Questions that follow from which atoms there are alone are passed
over, see `given_away`.
"""

from __future__ import annotations

import math

import numpy as np

from timetrial.workloads.ogbg.fragments import CARBON, CHARGE, NITROGEN, NUMBER, OXYGEN, SULPHUR
from timetrial.workloads.ogbg.molecules import Molecules, distances, zipf

FARTHEST = 4
"""Bonds between the atoms of a question at most."""

GIVEN_AWAY = 0.2
"""By how much more than the rate of positives the numbers of atoms may give away on average, see `given_away`."""

HIGHEST_RATE = 0.15

_TOLERANCE = 1.15
"""Factor within which a task has the rate it is to have."""

_HIGHEST_THRESHOLD = 4

_COUNTED = 3
"""Atoms of a class are counted up to this number in what their numbers give away."""

_TRIES = 20_000


def atom_classes(molecules: Molecules) -> np.ndarray:
    """Return which atoms belong to which class of chemists' words, bool (classes, molecules, atoms).

    Classes overlap; what they say is local: kind, bonds, hydrogens and ring of the atom, and at most its neighbours'.
    """
    kind, bonds, free = molecules.kind, molecules.bonds, molecules.free
    double, triple = (bonds == 2) & ~molecules.aromatic_bonds, bonds == 3
    degree = (bonds > 0).sum(axis=2)
    number = np.where(kind >= 0, NUMBER[kind], 0)
    carbon, nitrogen, oxygen, sulphur = (number == NUMBER[row] for row in (CARBON, NITROGEN, OXYGEN, SULPHUR))
    neutral_nitrogen, neutral_oxygen = kind == NITROGEN, kind == OXYGEN
    aromatic, ring = molecules.aromatic, molecules.ring
    saturated = ~aromatic & ~(double | triple).any(axis=2)
    carbonyl = carbon & (double & oxygen[:, None, :]).any(axis=2)
    next_to_carbonyl = ((bonds > 0) & carbonyl[:, None, :]).any(axis=2)
    classes = (
        neutral_nitrogen & (free > 0) & ~aromatic,
        oxygen & double.any(axis=2),
        carbon & aromatic & (degree == 3) & (free == 0),
        np.isin(number, (9, 17, 35, 53)),
        nitrogen & aromatic,
        neutral_oxygen & (free > 0),
        carbonyl,
        sulphur,
        carbon & saturated & ring,
        neutral_oxygen & (degree == 2) & ~aromatic,
        carbon & saturated & (free == 3),
        neutral_nitrogen & (free == 0) & saturated,
        carbon & saturated & (free <= 1),
        number == 17,
        aromatic & ~carbon,
        neutral_nitrogen & next_to_carbonyl,
        carbon & double.any(axis=2) & ~carbonyl,
        (kind >= 0) & (CHARGE[kind] != 0),
        carbon & aromatic & (free == 1),
        carbon & saturated & ~ring & (free == 2),
        carbon & triple.any(axis=2),
        number == 9,
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

    def draw(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw a question; return how often its substructure occurs, and groups for `given_away` (molecules,)."""
        form = int(random.integers(4))
        a, b, c = (int(number) for number in zipf(random, len(self._classes), 3))
        near, far = (int(number) for number in zipf(random, 2, 2) + 1)
        distance = int(zipf(random, FARTHEST, 1)[0]) + 1
        if form == 0:  # an a, and a b at just this distance
            found = self._classes[a] & (self._counts[distance, b] > 0)
        elif form == 1:  # a b between an a and a c
            others = int(a == c and near == far)  # then there must be two of them
            found = self._classes[b] & (self._counts[near, a] > 0) & (self._counts[far, c] > others)
        elif form == 2:  # an a with two b around it
            found = self._classes[a] & (self._counts[1 : distance + 1, b].sum(axis=0) > 1)
        else:  # an a with a b at just this distance, and no c near
            without = self._counts[1 : far + 1, c].sum(axis=0) == 0
            found = self._classes[a] & (self._counts[distance, b] > 0) & without
        numbers = self._occur[[a, b, c]].clip(max=_COUNTED)
        return found.sum(axis=1), numbers[0] + (_COUNTED + 1) * (numbers[1] + (_COUNTED + 1) * numbers[2])


def given_away(positive: np.ndarray, group: np.ndarray) -> float:
    """Return how many of the molecules in a positive one's group are positive, on average over the positive ones.

    Groups are those of molecules with the same numbers of the atoms that the question is about. Correctly rounded.
    """
    positives, sizes = np.bincount(group, positive), np.bincount(group)
    return math.fsum((positives**2 / sizes.clip(min=1)).tolist()) / float(positive.sum())


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
        times, group = questions.draw(random)
        for threshold in range(1, _HIGHEST_THRESHOLD + 1):
            positive = times >= threshold
            rate = positive.mean()
            fitting = [task for task in missing if rates[task] / _TOLERANCE <= rate <= rates[task] * _TOLERANCE]
            if fitting and given_away(positive, group) <= rate + GIVEN_AWAY:
                labels[:, fitting[0]] = positive
                missing.remove(fitting[0])
                break
    raise AssertionError(f"no questions found for {len(missing)} of the {tasks} tasks")
