"""Graphs of different sizes in one batch of fixed shapes: flat arrays of nodes and edges, padded.

A batch of size b holds at most b graphs and the padding that follows them: in all 26 b + 1 nodes, 56 b edges and
b + 1 graphs at full size, so that every step has the same shapes. The first padding graph owns all padding nodes
(at least one) and all padding edges (loops on its first node); those after it are empty.

Source: Godwin et al. 2020, jraph, `dynamically_batch`; spec: workloads/ogbg.md, 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from timetrial.errors import UserError
from timetrial.workloads.base import HostBatch
from timetrial.workloads.batches import bad_batch


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


def padded_batch(graphs: Sequence[Graph], budget: Budget) -> HostBatch:
    """Join at least one graph within `budget` to a batch; see `timetrial.workloads.ogbg.workload.Ogbg`.

    Labels that are missing become 0 with weight 0. Raises UserError where the graphs exceed the budget.
    """
    n_node = np.array([len(graph.nodes) for graph in graphs])
    n_edge = np.array([len(graph.edges) for graph in graphs])
    if not budget.fits(len(graphs), n_node.sum(), n_edge.sum()):
        raise UserError(
            f"ogbg: {len(graphs)} graphs with {n_node.sum()} nodes and {n_edge.sum()} edges exceed {budget}"
        )
    padding_nodes = budget.nodes + 1 - n_node.sum()
    padding_edges = budget.edges - n_edge.sum()
    padding_graphs = budget.graphs + 1 - len(graphs)
    empty = [0] * (padding_graphs - 1)
    # Nodes are numbered through the batch; padding edges start and end at the first padding node.
    offsets = np.repeat(np.cumsum(n_node) - n_node, n_edge)
    loops = np.full(padding_edges, n_node.sum())
    labels = _pad(np.stack([graph.labels for graph in graphs]), padding_graphs, np.nan)
    return {
        "inputs": _pad(np.concatenate([graph.nodes for graph in graphs]), padding_nodes, 0.0),
        "edges": _pad(np.concatenate([graph.edges for graph in graphs]), padding_edges, 0.0),
        "senders": np.concatenate([np.concatenate([graph.senders for graph in graphs]) + offsets, loops]),
        "receivers": np.concatenate([np.concatenate([graph.receivers for graph in graphs]) + offsets, loops]),
        "n_node": np.array([*n_node, padding_nodes, *empty]),
        "n_edge": np.array([*n_edge, padding_edges, *empty]),
        "targets": np.nan_to_num(labels, nan=0.0),
        "weights": ~np.isnan(labels),
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


def _pad(array: np.ndarray, rows: int, value: float) -> np.ndarray:
    return np.pad(array, ((0, rows), (0, 0)), constant_values=value)
