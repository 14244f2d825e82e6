"""The graph network in PyTorch, on flat arrays of nodes and edges."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.errors import UserError
from timetrial.workloads.base import TorchWorkload
from timetrial.workloads.layers.activations import activation
from timetrial.workloads.layers.initializers import lecun_truncated_
from timetrial.workloads.layers.mode import set_mode
from timetrial.workloads.losses import sigmoid_cross_entropy
from timetrial.workloads.metrics.average_precision import MeanAveragePrecisionEvaluation

if TYPE_CHECKING:
    from timetrial.api import Batch, Loss
    from timetrial.workloads.base import Evaluation
    from timetrial.workloads.ogbg.workload import OgbgConfig


class OgbgTorch(TorchWorkload):
    """The PyTorch half of `ogbg`; implements `timetrial.workloads.base.TorchWorkload`."""

    def __init__(self, config: OgbgConfig) -> None:
        self.config = config

    def build_model(self) -> nn.Module:
        """Build and initialise the model; see `GraphClassifier`."""
        return GraphClassifier(self.config)

    def output_parameters(self, model: nn.Module) -> frozenset[str]:
        """Return the names of the decoder's parameters."""
        return frozenset({"decoder.weight", "decoder.bias"})

    def forward(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        train: bool = True,
        update_batch_norm: bool = True,
        dropout: float | None = None,
    ) -> Tensor:
        """Return the logits (graphs, tasks), those of padding graphs included; see `TorchWorkload`."""
        set_mode(model, train=train, update_batch_norm=update_batch_norm)
        rate = self.config.dropout if dropout is None else dropout
        logits: Tensor = model(batch["inputs"], batch["edges"], Structure.of(batch), rate)
        return logits

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the binary cross entropy of each label that is there; see `TorchWorkload`.

        Smoothing follows the public benchmark: y becomes (1 - e) y + e / tasks, although each task is binary.
        `n_valid` counts labels, `per_example` is (graphs, tasks). Raises UserError without `weights`.

        Source: spec: workloads/ogbg.md, 3.
        """
        if "weights" not in batch:
            raise UserError(
                "ogbg: the loss needs `weights` (graphs, tasks) in the batch, false where labels are missing"
            )
        targets = batch["targets"]
        smoothed = (1 - label_smoothing) * targets + label_smoothing / targets.shape[-1]
        return sigmoid_cross_entropy(logits, smoothed, batch["weights"])

    def evaluation(self) -> Evaluation:
        """Start an evaluation of mean average precision, accuracy and loss; see `TorchWorkload`."""
        return MeanAveragePrecisionEvaluation(self)

    def split(self, batch: Batch, size: int) -> Iterator[Batch]:
        """Yield pieces of `size` graphs, those of padding counted, with their nodes and edges; see `TorchWorkload`.

        Waits for the device once, since where to cut depends on the graphs' sizes.
        """
        sizes = torch.stack([batch["n_node"], batch["n_edge"]])
        node_bounds, edge_bounds = F.pad(sizes.cumsum(1), (1, 0)).tolist()
        graphs = sizes.shape[1]
        for start in range(0, graphs, size):
            stop = min(start + size, graphs)
            nodes = slice(node_bounds[start], node_bounds[stop])
            edges = slice(edge_bounds[start], edge_bounds[stop])
            yield {
                "inputs": batch["inputs"][nodes],
                "edges": batch["edges"][edges],
                # Nodes are numbered through the batch, in a piece from 0 again.
                "senders": batch["senders"][edges] - nodes.start,
                "receivers": batch["receivers"][edges] - nodes.start,
                **{name: batch[name][start:stop] for name in ("n_node", "n_edge", "targets", "weights")},
            }


class Structure(NamedTuple):
    """Who is connected with whom, and what belongs to which graph."""

    senders: Tensor
    """The node where each edge starts (edges,)."""
    receivers: Tensor
    """The node where each edge ends (edges,)."""
    graph_of_node: Tensor
    """The graph of each node (nodes,)."""
    graph_of_edge: Tensor
    """The graph of each edge (edges,)."""
    graphs: int

    @classmethod
    def of(cls, batch: Batch) -> Structure:
        """Return the structure of a batch, whose nodes and edges stand one graph after another."""
        return cls(
            batch["senders"],
            batch["receivers"],
            _graph_of(batch["n_node"], len(batch["inputs"])),
            _graph_of(batch["n_edge"], len(batch["edges"])),
            len(batch["n_node"]),
        )


class GraphClassifier(nn.Module):
    """Linear embedders, rounds of message passing, linear decoder of the graphs' features.

    All linear layers start truncated LeCun normal, biases at 0 (spec: workloads/ogbg.md, 2).
    """

    def __init__(self, config: OgbgConfig) -> None:
        super().__init__()
        self.graph_features = config.tasks
        self.node_embedder = nn.Linear(config.node_features, config.latent)
        self.edge_embedder = nn.Linear(config.edge_features, config.latent)
        edge = node = config.latent
        graph = self.graph_features
        rounds = []
        for _ in range(config.steps):
            rounds.append(MessagePassing(config, edge=edge, node=node, graph=graph))
            edge = node = graph = config.hidden[-1]
        self.graph_network = nn.ModuleList(rounds)
        self.decoder = nn.Linear(graph, config.tasks)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                lecun_truncated_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, nodes: Tensor, edges: Tensor, structure: Structure, rate: float = 0.0) -> Tensor:
        """Map features of nodes and edges to logits (graphs, tasks); `rate` is the dropout rate."""
        nodes, edges = self.node_embedder(nodes), self.edge_embedder(edges)
        graphs = nodes.new_zeros(structure.graphs, self.graph_features)
        for message_passing in self.graph_network:
            edges, nodes, graphs = message_passing(edges, nodes, graphs, structure, rate)
        logits: Tensor = self.decoder(graphs)
        return logits


class MessagePassing(nn.Module):
    """One round: every edge, then every node, then every graph is updated from what it touches.

    Source: Battaglia et al. 2018, algorithm 1, with sums over sent and over received edges apart.
    """

    def __init__(self, config: OgbgConfig, *, edge: int, node: int, graph: int) -> None:
        super().__init__()
        new = config.hidden[-1]
        self.update_edge_fn = UpdateFunction(edge + 2 * node + graph, config)
        self.update_node_fn = UpdateFunction(node + 2 * new + graph, config)
        self.update_global_fn = UpdateFunction(2 * new + graph, config)

    def forward(
        self, edges: Tensor, nodes: Tensor, graphs: Tensor, structure: Structure, rate: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the new features of edges, nodes and graphs."""
        senders, receivers, graph_of_node, graph_of_edge, n_graphs = structure
        # index_select, not indexing: on an accelerator its backward pass adds without sorting the index first.
        ends = [nodes.index_select(0, senders), nodes.index_select(0, receivers)]
        touched = [edges, *ends, graphs.index_select(0, graph_of_edge)]
        edges = self.update_edge_fn(torch.cat(touched, dim=1), rate)

        sent, received = _sum_by(senders, edges, len(nodes)), _sum_by(receivers, edges, len(nodes))
        touched = [nodes, sent, received, graphs.index_select(0, graph_of_node)]
        nodes = self.update_node_fn(torch.cat(touched, dim=1), rate)

        all_nodes, all_edges = _sum_by(graph_of_node, nodes, n_graphs), _sum_by(graph_of_edge, edges, n_graphs)
        graphs = self.update_global_fn(torch.cat([all_nodes, all_edges, graphs], dim=1), rate)
        return edges, nodes, graphs


class UpdateFunction(nn.ModuleDict):
    """Linear layer, layer norm, activation, dropout, for each hidden width."""

    def __init__(self, inputs: int, config: OgbgConfig) -> None:
        super().__init__()
        self.depth = len(config.hidden)
        self["activation"] = activation(config.activation)
        for layer, (before, width) in enumerate(pairwise((inputs, *config.hidden))):
            self[f"dense_{layer}"] = nn.Linear(before, width)
            self[f"norm_{layer}"] = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor, rate: float) -> Tensor:
        """Map (n, inputs) to (n, hidden[-1])."""
        for layer in range(self.depth):
            x = self["activation"](self[f"norm_{layer}"](self[f"dense_{layer}"](x)))
            x = F.dropout(x, rate, self.training)
        return x


def _graph_of(sizes: Tensor, total: int) -> Tensor:
    """Return the graph of each of `total` nodes or edges; that the total is known spares a synchronisation."""
    return torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes, output_size=total)


def _sum_by(index: Tensor, values: Tensor, groups: int) -> Tensor:
    """Return the sums (groups, width) of the rows of `values` with the same index; 0 where there are none.

    On an accelerator the order of the additions, and so the rounding, varies from run to run.
    """
    return values.new_zeros(groups, values.shape[1]).index_add(0, index, values)
