"""Reading prepared fastMRI: slices from records, masked and made ready one by one."""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from timetrial.errors import UserError
from timetrial.prepared.folder import Prepared
from timetrial.prepared.records import Records
from timetrial.workloads.base import HostBatch, Split
from timetrial.workloads.example_sources import EvaluationSplit, ExampleData, ExampleSource
from timetrial.workloads.fastmri.preprocessing import EVALUATION_SEED, column_masks, fold_in, prepare_transformed
from timetrial.workloads.fastmri.recipe import SLICES

EVAL_TRAIN = 3_584
"""Training slices that evaluations run over, 14 batches of 256 (spec: fastmri.md, 1)."""

_MASKS = 0
"""Of the streams below the training data's seed, the masks'."""
_AT_ONCE = 256
"""Masks computed at a time: 13 microseconds each, where one alone takes 300."""


class Slices:
    """A split's slices."""

    def __init__(self, prepared: Prepared, split: Split, size: int) -> None:
        """Open the records of a split; `size` is the images'. Raises UserError where it is empty."""
        arrays = prepared.arrays(split)
        if not arrays:
            raise UserError(f"{prepared.folder}: no {split} slices")
        self.columns = arrays["columns"][:]
        self._volume_max = arrays["volume_max"][:]
        self._records = Records.of_split(prepared, split, SLICES)
        self._size = size

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.columns)

    def example(self, number: int, mask: np.ndarray) -> HostBatch:
        """Return a slice as the model takes it; the mask says which columns are measured, bool (columns,)."""
        record = self._records.read(number)
        size, columns = self._size, int(self.columns[number])
        half = np.frombuffer(record, "<c8", size * columns).reshape(1, size, columns)
        reference = np.frombuffer(record, "<f4", offset=8 * size * columns).reshape(1, size, size)
        maximum = self._volume_max[number : number + 1]
        batch = prepare_transformed(half, mask[None], reference, maximum)
        return {name: array[0] for name, array in batch.items()}

    def evaluation(self, number: int) -> HostBatch:
        """Return a slice under the mask that evaluations put on all slices of its width."""
        return self.example(number, _evaluation_mask(int(self.columns[number])))


@cache
def _evaluation_mask(columns: int) -> np.ndarray:
    return column_masks(np.array([EVALUATION_SEED]), columns)[0]


class FastmriData(ExampleData):
    """Implements `timetrial.workloads.base.Data` with prepared slices.

    A training slice keeps its mask for the whole run, and another run gives it another: the mask is drawn by the
    slice's number and the seed of the training data. Evaluations put one mask on all slices of a width. So they do on
    their `train` split, every so many training slices for it to have `EVAL_TRAIN` (the public one is a shuffled
    subset, under masks of training's kind).
    """

    def __init__(self, prepared: Prepared, size: int) -> None:
        """Open prepared slices whose images have the side `size`."""
        self._slices = Slices(prepared, "train", size)
        held_out: tuple[Split, ...] = ("validation", "test")
        evaluation = {split: Slices(prepared, split, size) for split in held_out}
        chosen = evenly_spaced(len(self._slices), EVAL_TRAIN)
        super().__init__(
            len(self._slices),
            lambda number, _: self._slices.evaluation(number),  # `train_source` has masks of its own
            {
                "train": EvaluationSplit(
                    examples=len(chosen), example=lambda row: self._slices.evaluation(int(chosen[row]))
                ),
                **{
                    split: EvaluationSplit(examples=len(slices), example=slices.evaluation)
                    for split, slices in evaluation.items()
                },
            },
        )

    def train_source(
        self, seed: np.random.SeedSequence, batch_size: int, *, rank: int = 0, ranks: int = 1
    ) -> ExampleSource:
        """Return the training data, reshuffled every epoch, under the masks of this seed."""
        masks = training_masks(seed, self._slices.columns)
        example = partial(_training_example, self._slices, masks)
        return ExampleSource(
            self.train_examples, example, batch_size, seed, rank=rank, ranks=ranks, threads=self._threads
        )


def _training_example(slices: Slices, masks: np.ndarray, number: int, _: np.random.Generator) -> HostBatch:
    return slices.example(number, masks[number, : slices.columns[number]])


def training_masks(seed: np.random.SeedSequence, columns: np.ndarray) -> np.ndarray:
    """Return the mask of every training slice, bool (n, widest), of which the first `columns` (n,) count.

    As published, the slice's number is folded into a seed that the trial decides; its stream is the width's.
    """
    own = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, _MASKS), pool_size=seed.pool_size)
    first, second = own.generate_state(2, np.uint64).astype(np.int64).tolist()
    masks = np.zeros((len(columns), int(columns.max())), dtype=bool)
    for width in np.unique(columns).tolist():
        numbers = np.flatnonzero(columns == width)
        for start in range(0, len(numbers), _AT_ONCE):
            chosen = numbers[start : start + _AT_ONCE]
            masks[chosen, :width] = column_masks(fold_in((first, second), chosen), width)
    return masks


def evenly_spaced(examples: int, wanted: int) -> np.ndarray:
    """Return the numbers of so many examples, evenly spaced; of all of them where there are no more."""
    count = min(examples, wanted)
    return np.arange(count) * examples // count
