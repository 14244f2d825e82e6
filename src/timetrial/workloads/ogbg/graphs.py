"""Graphs of different sizes in one batch of fixed shapes: flat arrays of nodes and edges, padded.

A batch of size b holds at most b graphs and the padding that follows them: in all 26 b + 1 nodes, 56 b edges and
b + 1 graphs at full size, so that every step has the same shapes. The first padding graph owns all padding nodes
(at least one) and all padding edges (loops on its first node); those after it are empty.

Source: Godwin et al. 2020, jraph, `dynamically_batch`; spec: workloads/ogbg.md, 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from timetrial.errors import UserError
from timetrial.workloads.base import HostBatch
from timetrial.workloads.batches import bad_batch

MISSING = -1
"""Stands for a label that is not known, where labels are integers."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One labelled molecule."""

    nodes: np.ndarray
    """Features of the atoms, float32 (nodes, node features)."""
    edges: np.ndarray
    """Features of the directed edges, two to a bond, float32 (edges, edge features)."""
    senders: np.ndarray
    """The node where each edge starts (edges,), counted from 0 within the graph."""
    receivers: np.ndarray
    """The node where each edge ends (edges,)."""
    labels: np.ndarray
    """1, 0 or NaN (unlabelled), float32 (tasks,)."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much a batch may hold, padding not counted."""

    graphs: int
    nodes: int
    edges: int

    def fits(self, graphs: int, nodes: int, edges: int) -> bool:
        """Tell whether so many graphs, nodes and edges are within the budget."""
        return graphs <= self.graphs and nodes <= self.nodes and edges <= self.edges


@dataclass(frozen=True, kw_only=True)
class GraphArrays:
    """Many labelled graphs, one after another in flat arrays; the features are of any real dtype."""

    n_node: np.ndarray
    """Nodes of each graph (graphs,)."""
    n_edge: np.ndarray
    """Directed edges of each graph (graphs,)."""
    nodes: np.ndarray
    """Features (all nodes, node features)."""
    edges: np.ndarray
    """Features (all edges, edge features)."""
    ends: np.ndarray
    """Where each edge starts and where it ends (2, all edges), nodes counted from 0 within their graph."""
    labels: np.ndarray
    """1, 0 or `MISSING`, int8 (graphs, tasks)."""

    @classmethod
    def of(cls, graphs: Sequence[Graph]) -> GraphArrays:
        """Join at least one graph."""
        labels = np.stack([graph.labels for graph in graphs])
        return cls(
            n_node=np.array([len(graph.nodes) for graph in graphs]),
            n_edge=np.array([len(graph.edges) for graph in graphs]),
            nodes=np.concatenate([graph.nodes for graph in graphs]),
            edges=np.concatenate([graph.edges for graph in graphs]),
            ends=np.concatenate([np.stack([graph.senders, graph.receivers]) for graph in graphs], axis=1),
            labels=np.nan_to_num(labels, nan=MISSING).astype(np.int8),
        )

    def __len__(self) -> int:
        """Return the number of graphs."""
        return len(self.n_node)

    @cached_property
    def node_stops(self) -> np.ndarray:
        """Where the nodes of each graph end."""
        return np.cumsum(self.n_node, dtype=np.int64)

    @cached_property
    def edge_stops(self) -> np.ndarray:
        """Where the edges of each graph end."""
        return np.cumsum(self.n_edge, dtype=np.int64)


def padded_batch(graphs: Sequence[Graph] | GraphArrays, budget: Budget, rows: np.ndarray | None = None) -> HostBatch:
    """Join graphs within `budget` to a batch; see `timetrial.workloads.ogbg.workload.Ogbg`.

    `rows` says which graphs and in what order, by default all of them. Labels that are missing become 0 with weight 0.
    Raises UserError where the graphs exceed the budget.
    """
    store = graphs if isinstance(graphs, GraphArrays) else GraphArrays.of(graphs)
    rows = np.arange(len(store)) if rows is None else rows
    n_node, n_edge = store.n_node[rows].astype(np.int64), store.n_edge[rows].astype(np.int64)
    nodes, edges = int(n_node.sum()), int(n_edge.sum())
    if not budget.fits(len(rows), nodes, edges):
        raise UserError(f"ogbg: {len(rows)} graphs with {nodes} nodes and {edges} edges exceed {budget}")
    from_node, from_edge = runs(store.node_stops[rows], n_node), runs(store.edge_stops[rows], n_edge)
    # Nodes are numbered through the batch; padding edges start and end at the first padding node.
    ends = np.full((2, budget.edges), nodes, np.int64)
    np.add(store.ends[:, from_edge], np.repeat(np.cumsum(n_node) - n_node, n_edge), out=ends[:, :edges])
    labels = store.labels[rows]
    padding = [budget.nodes + 1 - nodes], [budget.edges - edges]
    empty = np.zeros(budget.graphs - len(rows), np.int64)
    return {
        "inputs": _padded(store.nodes.take(from_node, axis=0), budget.nodes + 1, np.float32),
        "edges": _padded(store.edges.take(from_edge, axis=0), budget.edges, np.float32),
        "senders": ends[0],
        "receivers": ends[1],
        "n_node": np.concatenate([n_node, padding[0], empty]),
        "n_edge": np.concatenate([n_edge, padding[1], empty]),
        "targets": _padded(labels == 1, budget.graphs + 1, np.float32),
        "weights": _padded(labels != MISSING, budget.graphs + 1, np.bool_),
    }


def check_structure(batch: HostBatch) -> None:
    """Raise UserError unless the sizes add up, edges stay within their graph, and the padding graph is there.

    A graph without nodes has no prediction of its own: it must have no labels either.
    """
    n_node, n_edge, labelled = batch["n_node"], batch["n_edge"], (batch["weights"] != 0).any(axis=1)
    for sizes, array in (("n_node", "inputs"), ("n_edge", "edges")):
        if batch[sizes].sum() != len(batch[array]):
            raise bad_batch(
                sizes, f"sizes that sum to the {len(batch[array])} rows of {array}", f"{batch[sizes].sum()}"
            )
    graph_of_node, graph_of_edge = (np.repeat(np.arange(len(sizes)), sizes) for sizes in (n_node, n_edge))
    for ends in ("senders", "receivers"):
        if (outside := graph_of_node[batch[ends]] != graph_of_edge).any():
            edge = int(outside.argmax())
            raise bad_batch(
                ends, f"nodes of the edge's own graph {graph_of_edge[edge]}", f"{batch[ends][edge]} at [{edge}]"
            )
    if (empty := labelled & (n_node == 0)).any():
        raise bad_batch("n_node", "at least one node in a graph with labels", f"0 at [{int(empty.argmax())}]")
    padding = int(n_node.nonzero()[0].max())
    if labelled[padding:].any():
        raise bad_batch("weights", f"a padding graph without labels at the end, as number {padding}", "labels there")


def runs(stops: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the numbers before each stop, as many as its length says, in one row."""
    return np.arange(lengths.sum()) + np.repeat(stops - np.cumsum(lengths), lengths)


def _padded(array: np.ndarray, rows: int, dtype: type[np.generic]) -> np.ndarray:
    padded = np.zeros((rows, *array.shape[1:]), dtype)
    padded[: len(array)] = array
    return padded
