"""Mean average precision over many yes-or-no tasks with missing labels (scores from PyTorch)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from timetrial.workloads.metrics.sums import SummedEvaluation

if TYPE_CHECKING:
    from torch import Tensor

    from timetrial.api import Batch, Loss
    from timetrial.workloads.base import TorchWorkload


def average_precisions(scores: np.ndarray, labels: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Return the average precision of each task over its labelled rows; all arrays are (rows, tasks).

    A task counts if there is a 1 and a 0 among the labels of *all* rows, missing ones included; others get NaN. As
    missing labels are given as 0, a task whose known labels are all 1 counts, with an average precision of 1, as
    soon as one label is missing (spec: workloads/ogbg.md, 4; the official OGB evaluator skips such a task).
    """
    eligible = (labels == 0).any(axis=0) & (labels == 1).any(axis=0)
    precisions = np.full(labels.shape[1], np.nan)
    for task in np.flatnonzero(eligible):
        rows = labelled[:, task]
        precisions[task] = _average_precision(scores[rows, task], labels[rows, task] == 1)
    return precisions


def _average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the mean over the positives of the precision at their score; 0 where there is no positive.

    Rows with the same score share the precision after the last of them. scikit-learn's `average_precision_score` is
    the same but takes a millisecond a call: a third of an evaluation of the `mini` preset.
    """
    if not positive.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positive[order])
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    found = hits[last]
    return float(np.sum(np.diff(found, prepend=0) * (found / (last + 1))) / found[-1])


class MeanAveragePrecisionEvaluation(SummedEvaluation):
    """Mean average precision over the tasks, accuracy and loss over the labels that are there.

    A ranking cannot be summed up batch by batch: float32 scores and labels of all real graphs are kept, which is
    50 MB for the 43,793 graphs and 128 tasks of the published splits.

    The published batches always end in a padding graph whose labels are given as 0, so that every task has a 0;
    here the padding is dropped and one such row put back at the end, which makes the result independent of how the
    split is cut into batches. One score that is not a number makes the ranking, and so the metric, NaN; in the
    accuracy it counts as wrong.
    """

    def __init__(self, workload: TorchWorkload) -> None:
        super().__init__(workload)
        self._scores: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._labelled: list[np.ndarray] = []

    def sums(self, batch: Batch, logits: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Return right answers, loss and labels, and keep the scores; see `SummedEvaluation`."""
        labels, labelled = batch["targets"], batch["weights"] != 0
        # The first padding graph owns at least one node, and those after it own none.
        graphs = int(batch["n_node"].nonzero().max())
        # Rounded from double: the last bit of a float32 sigmoid depends on its place in the batch, which breaks ties.
        self._scores.append(logits[:graphs].double().sigmoid().float().cpu().numpy())
        self._labels.append(labels[:graphs].cpu().numpy())
        self._labelled.append(labelled[:graphs].cpu().numpy())
        self.examples += graphs
        correct = ((logits > 0) == (labels == 1)) & labelled & ~logits.isnan()
        return correct.sum(), loss.summed, labelled.sum()

    def result(self) -> dict[str, float]:
        """Return `mean_average_precision` (NaN if no task counts), `accuracy` and `loss` (means over labels)."""
        correct, loss, labels = self.totals
        return {"mean_average_precision": self._precision(), "accuracy": correct / labels, "loss": loss / labels}

    def _precision(self) -> float:
        padding = np.zeros((1, self._labels[0].shape[1]))
        scores = np.concatenate([*self._scores, padding])
        labelled = np.concatenate([*self._labelled, padding != 0])
        if np.isnan(scores[labelled]).any():
            return math.nan
        precisions = average_precisions(scores, np.concatenate([*self._labels, padding]), labelled)
        counted = precisions[~np.isnan(precisions)]
        return float(counted.mean()) if len(counted) else math.nan
