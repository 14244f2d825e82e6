"""Reading a prepared WMT: rows that were packed once, and pairs of evaluations.

The reference shuffles pairs in a buffer of 1,024 and packs them anew in every epoch. Here pairs are packed once, in
the order of their files, and the rows are shuffled, all of them, in every epoch: as for the generated data, so that
any step's batch can be had without those before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from timetrial.prepared.chunks import Chunked
from timetrial.prepared.folder import Prepared, load_array
from timetrial.workloads.base import HostBatch, Split
from timetrial.workloads.sources import ArrayData
from timetrial.workloads.wmt.preprocessing import SIDES, evaluation_rows, unpacked
from timetrial.workloads.wmt.recipe import EVALUATED_TRAIN


class PairData(ArrayData):
    """Packed rows as training data whose size is told in pairs, as the published benchmark tells it.

    Batches, steps and epochs are of rows, as there; of the generated data, whose suites fix rows, the size is too.
    """

    def __init__(self, rows: Mapping[str, Chunked], evaluation: Mapping[Split, HostBatch], pairs: int) -> None:
        """Take the rows' stored arrays, pairs of evaluations, and how many training pairs there were in all."""
        arrays = cast(HostBatch, rows)  # as far as batches need them
        super().__init__(arrays, evaluation, prepare=unpacked, prepare_evaluation=evaluation_rows)
        self._pairs = pairs

    @property
    def train_examples(self) -> int:
        """Number of training pairs, those that the filter by length left out among them; an epoch has fewer rows."""
        return self._pairs


def pair_data(prepared: Prepared) -> PairData:
    """Return a prepared dataset as data; its evaluation of `train` is of the first 3,072 pairs that the filter kept.

    The published benchmark's is of others of the first 4,100 or so at every evaluation (spec: workloads/wmt.md, 1).
    """
    evaluation: dict[Split, HostBatch] = {
        "train": _pairs(prepared.part(EVALUATED_TRAIN)),
        "validation": _pairs(prepared.parts("validation")[0]),
        "test": _pairs(prepared.parts("test")[0]),
    }
    return PairData(prepared.arrays("train"), evaluation, prepared.manifest.examples["train"])


def _pairs(part: Path) -> HostBatch:
    return {side: load_array(part / f"{side}.npy") for side in SIDES}
