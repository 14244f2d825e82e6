"""Generated molecules with 32 yes-or-no questions about their substructures: the data of `ogbg` at `mini` and `tiny`.

What must be learned: whether two or three kinds of atoms (a carbonyl's oxygen, an amine's nitrogen, an aromatic carbon
with a substituent, ...) stand at set distances of one to four bonds, often enough. The kinds have to be found in
OGB's raw integer codes, the distances by passing messages. See `timetrial.workloads.ogbg.substructures`.

Sizes: 1,600 training, 1,000 validation and 400 test molecules, split at random; an evaluation's `train` split is the
first 64. Molecules have 10 to 30 atoms, 16.5 on average, and 34.3 directed edges; 49 % of the atoms are in rings.
Batches of 40 over 2,700 steps make 66 passes.

Tails: fragments by Zipf's law, hence carbon 59, nitrogen 15, oxygen 14, fluorine 3.6, sulphur 3.4, chlorine 2.2,
bromine 1.2, iodine 1.1 % of the atoms, phosphorus, boron and silicon below 0.2 % each. The tasks' rates of positives
fall geometrically from 15 to 5 %; 60 % of the labels are missing, at random.

Ceiling: 25 % of the positive labels are made negative, and as many negative ones positive, as assays err. Who knows the
labels before that has a mean average precision of 0.644 on the validation split, up to how chance ranks what is level
(+- 0.009).

What counting atoms and bonds reaches and what trained models reach is in docs/mini-1/ogbg.md; the tests that measure
ceiling and counts are in tests/workloads/test_ogbg_data.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from timetrial.workloads.base import HostBatch
from timetrial.workloads.ogbg.fragments import CARBON, CHARGE, NUMBER
from timetrial.workloads.ogbg.graphs import MISSING
from timetrial.workloads.ogbg.molecules import Molecules, grow
from timetrial.workloads.ogbg.substructures import answers

_NOISE = 0.25
"""Share of the positive labels that are turned into negative ones, and as many negative ones into positive."""

_UNLABELLED = 0.6


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is generated."""

    train: int
    """Molecules in the training split, and likewise in the others."""
    validation: int
    test: int
    tasks: int
    rarest: float
    """Rate of positives of the rarest task; that of the most frequent is 15 %."""
    seed: int


MINI = Sizes(train=1600, validation=1000, test=400, tasks=32, rarest=0.05, seed=20260805)
TINY = Sizes(train=160, validation=48, test=32, tasks=8, rarest=0.05, seed=20260805)


def generate(sizes: Sizes) -> HostBatch:
    """Return molecules in the form of `timetrial.workloads.ogbg.preprocessing`; `n_graph` are the splits' sizes."""
    random = np.random.Generator(np.random.PCG64(sizes.seed))
    molecules, truth = molecules_and_truth(random, sizes)
    labels = observed(random, truth)
    present = molecules.kind >= 0
    rows, starts, ends = np.nonzero(np.triu(molecules.bonds))
    return {
        "node_feat": atom_features(random, molecules)[present],
        "edge_feat": bond_features(random, molecules)[rows, starts, ends],
        "edge_index": np.stack([starts, ends], axis=1).astype(np.uint8),
        "n_node": present.sum(axis=1).astype(np.uint8),
        "n_bond": np.bincount(rows, minlength=len(present)).astype(np.uint8),
        "labels": labels,
        "n_graph": np.array([sizes.train, sizes.validation, sizes.test], dtype=np.uint16),
    }


def molecules_and_truth(random: np.random.Generator, sizes: Sizes) -> tuple[Molecules, np.ndarray]:
    """Return the molecules of all splits and their labels without noise, bool (molecules, tasks)."""
    molecules = grow(random, sizes.train + sizes.validation + sizes.test)
    return molecules, answers(random, molecules, sizes.tasks, rarest=sizes.rarest)


def observed(random: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """Return the true labels with noise, as many positive as before on average, and most of them missing, int8."""
    rate = truth.mean(axis=0)
    flip = np.where(truth, _NOISE, _NOISE * rate / (1 - rate))
    labels = (truth ^ (random.random(truth.shape) < flip)).astype(np.int8)
    labels[random.random(truth.shape) < _UNLABELLED] = MISSING
    return labels


def atom_features(random: np.random.Generator, molecules: Molecules) -> np.ndarray:
    """Return OGB's nine codes of each atom, uint8 (molecules, atoms, 9).

    Atomic number - 1, chirality, degree with hydrogens, charge + 5, hydrogens, radical electrons, hybridisation,
    aromatic, in a ring. Chirality and radicals are noise, as which of two mirror images it is is to most assays.

    Source: ogb.utils.features, `atom_to_feature_vector`.
    """
    kind, bonds, free = molecules.kind, molecules.bonds, molecules.free
    double, triple = (bonds == 2).sum(axis=2), (bonds == 3).any(axis=2)
    hybridisation = np.where(triple | (double > 1), 0, np.where(molecules.aromatic | (double == 1), 1, 2))
    degree = (bonds > 0).sum(axis=2)
    stereo = (kind == CARBON) & (hybridisation == 2) & (degree >= 3) & (free <= 1)
    draw = random.random(kind.shape)
    chirality = np.where(stereo & (draw < 0.3), 1 + (draw < 0.15), 0)
    radical = (free > 0) & (random.random(kind.shape) < 0.001)
    columns = (
        NUMBER[kind] - 1,
        chirality,
        degree + free - radical,
        CHARGE[kind] + 5,
        free - radical,
        radical,
        hybridisation,
        molecules.aromatic,
        molecules.ring,
    )
    return np.stack([column.astype(np.uint8) for column in columns], axis=-1)


def bond_features(random: np.random.Generator, molecules: Molecules) -> np.ndarray:
    """Return OGB's three codes of each bond, uint8 (molecules, atoms, atoms, 3): type, stereo, conjugated.

    Source: ogb.utils.features, `bond_to_feature_vector`.
    """
    bonds, aromatic = molecules.bonds, molecules.aromatic_bonds
    kind = np.where(aromatic, 3, bonds - 1)
    unsaturated = molecules.aromatic | (bonds > 1).any(axis=2)
    neighbours = ((bonds > 0) & unsaturated[:, None, :]).sum(axis=2) > 1
    both = unsaturated[:, :, None] & unsaturated[:, None, :]
    conjugated = aromatic | both & ((bonds == 1) | (neighbours[:, :, None] | neighbours[:, None, :]))
    draw = np.triu(random.random(bonds.shape))
    carbons = (molecules.kind == CARBON)[:, :, None] & (molecules.kind == CARBON)[:, None, :]
    open_chain = (bonds == 2) & ~aromatic & carbons
    stereo = np.where(open_chain & (draw < 0.5), 2 + (draw < 0.25), 0)
    return np.stack([column.astype(np.uint8) for column in (kind, stereo, conjugated)], axis=-1)
