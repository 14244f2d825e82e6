"""From molecules as they are stored to batches: bonds in both directions, dynamic batching, orders of the epochs.

A dataset is stored as the public one's fields, flat: `node_feat` (all atoms, 9) and `edge_feat` (all bonds, 3), raw
integer codes; `edge_index` (all bonds, 2), each bond once, atoms counted from 0 within their molecule; `n_node` and
`n_bond` (molecules,); `labels` int8 (molecules, tasks), 1, 0 or `MISSING`.

Dynamic batching: molecules are taken in order, as long as the batch stays within its budget of graphs, nodes and
edges; the one that would exceed it starts the next batch (spec: workloads/ogbg.md, 1). Training data are one endless
stream of reshuffled epochs, which batches cross.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from timetrial.errors import UserError
from timetrial.workloads.base import HostBatch, Split
from timetrial.workloads.ogbg.graphs import Budget, GraphArrays, padded_batch
from timetrial.workloads.sources import Shuffle, check_division


def in_both_directions(stored: HostBatch) -> GraphArrays:
    """Return stored molecules as graphs with two directed edges a bond: all bonds of a molecule, then all reversed."""
    n_bond = stored["n_bond"].astype(np.int64)
    stops = np.cumsum(n_bond)
    # Bond k of a molecule that starts at s becomes the edges 2 s + k and 2 s + k + its number of bonds.
    forward = np.arange(n_bond.sum()) + np.repeat(stops - n_bond, n_bond)
    backward = forward + np.repeat(n_bond, n_bond)
    edges = np.empty((2 * len(forward), stored["edge_feat"].shape[1]), stored["edge_feat"].dtype)
    edges[forward] = edges[backward] = stored["edge_feat"]
    ends = np.empty((2, 2 * len(forward)), stored["edge_index"].dtype)
    ends[:, forward] = stored["edge_index"].T
    ends[:, backward] = stored["edge_index"].T[::-1]
    return GraphArrays(
        n_node=stored["n_node"].astype(np.int64),
        n_edge=2 * n_bond,
        nodes=stored["node_feat"],
        edges=edges,
        ends=ends,
        labels=stored["labels"],
    )


def select(stored: HostBatch, start: int, stop: int) -> HostBatch:
    """Return the molecules from number `start` to before number `stop`, as they are stored."""
    atoms = slice(int(stored["n_node"][:start].sum()), int(stored["n_node"][:stop].sum()))
    bonds = slice(int(stored["n_bond"][:start].sum()), int(stored["n_bond"][:stop].sum()))
    return {
        "node_feat": stored["node_feat"][atoms],
        "edge_feat": stored["edge_feat"][bonds],
        "edge_index": stored["edge_index"][bonds],
        "n_node": stored["n_node"][start:stop],
        "n_bond": stored["n_bond"][start:stop],
        "labels": stored["labels"][start:stop],
    }


def following(graphs: GraphArrays, rows: np.ndarray, budget: Budget) -> np.ndarray:
    """Return for each position of `rows` where the next batch starts if a batch starts there; it may be the end.

    Raises UserError where one graph alone exceeds the budget.
    """
    within = [np.arange(len(rows)) + budget.graphs]
    for sizes, room in ((graphs.n_node, budget.nodes), (graphs.n_edge, budget.edges)):
        ends = np.concatenate([[0], np.cumsum(sizes[rows])])
        within.append(np.searchsorted(ends, ends[:-1] + room, side="right") - 1)
    after = np.minimum.reduce(within).clip(max=len(rows))
    if (stuck := after == np.arange(len(rows))).any():
        graph = rows[stuck.argmax()]
        nodes, edges = graphs.n_node[graph], graphs.n_edge[graph]
        raise UserError(f"ogbg: graph {graph} with {nodes} nodes and {edges} edges alone exceeds {budget}")
    return after


class GraphSource:
    """Training batches of at most `batch_size` graphs each, every graph of an epoch exactly once.

    Where a batch starts depends on all before it. The starts are found an epoch at a time, a millisecond for 10,000
    graphs, and remembered; nothing else is, so that the batch of a step is a function of seed and step. Of a batch,
    rank r of R takes graphs r, r + R, ...; its batch has room for the R-th part of the graphs, rounded up, each as
    large as the largest, but never for more than the whole batch, and so always the same shape.
    """

    def __init__(
        self,
        graphs: GraphArrays,
        budget: Budget,
        seed: np.random.SeedSequence,
        *,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Take the graphs and the room of a whole batch. Raises UserError where that cannot be divided."""
        check_division(budget.graphs, rank, ranks)
        self._graphs = graphs
        self._budget = budget
        self._own = slice(rank, None, ranks)
        self._room = budget if ranks == 1 else _part(graphs, budget, ranks)
        self._shuffle = Shuffle(len(graphs), seed)
        self._starts = [0]

    def batch(self, index: int) -> HostBatch:
        """Return the batch of step `index`, counted from 0."""
        while len(self._starts) < index + 2:
            self._pack_epoch()
        start, stop = self._starts[index : index + 2]
        return padded_batch(self._graphs, self._room, self._shuffle.rows(start, stop - start)[self._own])

    def _pack_epoch(self) -> None:
        """Find the batches that start in the epoch in which the last known one ends."""
        epoch, position = divmod(self._starts[-1], len(self._graphs))
        first = epoch * len(self._graphs)
        rows = self._shuffle.rows(first, len(self._graphs) + self._budget.graphs)
        after = following(self._graphs, rows, self._budget).tolist()
        while position < len(self._graphs):
            position = after[position]
            self._starts.append(first + position)


def _part(graphs: GraphArrays, budget: Budget, ranks: int) -> Budget:
    count = budget.graphs // ranks
    return Budget(
        graphs=count,
        nodes=min(budget.nodes, count * int(graphs.n_node.max())),
        edges=min(budget.edges, count * int(graphs.n_edge.max())),
    )


class GraphData:
    """Implements `timetrial.workloads.base.Data` with graphs that fit in memory."""

    def __init__(
        self, train: GraphArrays, evaluation: Mapping[Split, GraphArrays], budget: Callable[[int], Budget]
    ) -> None:
        """Take the graphs to train on and those that evaluations run over; `budget` is that of a batch size."""
        self._train = train
        self._evaluation = evaluation
        self._budget = budget

    @property
    def train_examples(self) -> int:
        """Number of graphs in the training split."""
        return len(self._train)

    def eval_examples(self, split: Split) -> int:
        """Return how many graphs an evaluation of `split` runs over."""
        return len(self._evaluation[split])

    def train_source(
        self, seed: np.random.SeedSequence, batch_size: int, *, rank: int = 0, ranks: int = 1
    ) -> GraphSource:
        """Return the training data, reshuffled every epoch."""
        return GraphSource(self._train, self._budget(batch_size), seed, rank=rank, ranks=ranks)

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[HostBatch]:
        """Yield an evaluation split once, in order."""
        graphs, budget = self._evaluation[split], self._budget(batch_size)
        after = following(graphs, np.arange(len(graphs)), budget)
        start = 0
        while start < len(graphs):
            yield padded_batch(graphs, budget, np.arange(start, after[start]))
            start = int(after[start])
