"""Molecular property prediction: a graph network on ogbg-molpcba.

Sources: Hu et al. 2020, "Open Graph Benchmark" (arXiv 2005.00687); Battaglia et al. 2018, "Relational inductive
biases, deep learning, and graph networks" (arXiv 1806.01261); sizes and details: spec: workloads/ogbg.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from timetrial.api import LossType
from timetrial.prepared.folder import Prepared
from timetrial.workloads.base import SPLITS, HostBatch, Workload
from timetrial.workloads.batches import Axis, Field, Fields
from timetrial.workloads.generated import Generated
from timetrial.workloads.ogbg.generator import MINI, TINY, generate
from timetrial.workloads.ogbg.graphs import Budget, Graph, check_structure, padded_batch
from timetrial.workloads.ogbg.preprocessing import GraphData, in_both_directions, select
from timetrial.workloads.ogbg.recipe import OgbgRecipe

if TYPE_CHECKING:
    from timetrial.workloads.layers.activations import ActivationName
    from timetrial.workloads.ogbg.model_torch import OgbgTorch

EVAL_TRAIN = 64
"""An evaluation's `train` split is the first so many training graphs of the generated ones, and of fewer tasks."""

EVAL_TRAIN_FULL = 43_793
"""The same at full size: as many as validation has. The reference draws others for every evaluation."""


@dataclass(frozen=True, kw_only=True)
class OgbgConfig:
    """Shapes of the data and sizes of the graph network."""

    node_features: int = 9
    edge_features: int = 3
    tasks: int = 128
    """Yes-or-no questions asked about each graph; also the width of the graphs' own features."""
    nodes_per_graph: int = 26
    """A batch has room for so many nodes times the batch size: the average molecule."""
    edges_per_graph: int = 56
    """A batch has room for so many directed edges times the batch size."""
    latent: int = 256
    """Width of the embedded nodes and edges."""
    hidden: tuple[int, ...] = (256,)
    """Layers of each of the update functions; the last is the width of what they return."""
    steps: int = 5
    """Rounds of message passing."""
    activation: ActivationName = "relu"
    dropout: float = 0.1
    """Default rate of the dropout after each layer of the update functions."""


class Ogbg(Workload[OgbgConfig]):
    """Molecules, message passing, masked binary cross entropy, mean average precision over the tasks.

    A batch of size b: `inputs`, the nodes' features, float32 (nodes, node features); `edges` float32 (edges, edge
    features); `senders` and `receivers` int64 (edges,), numbers of nodes; `n_node` and `n_edge` int64 (b + 1,),
    the sizes of the graphs, whose nodes and edges stand one graph after another; `targets` float32 (b + 1, tasks);
    `weights` bool (b + 1, tasks), false where there is no label. Padding is described in
    `timetrial.workloads.ogbg.graphs`. The batch size bounds the number of graphs; the room for edges often binds.

    The loss is a sigmoid cross entropy and `loss_type` says so (the public benchmark reports the softmax one).
    """

    loss_type = LossType.SIGMOID_CROSS_ENTROPY
    presets = {
        "full": OgbgConfig(),
        "mini": OgbgConfig(tasks=32, nodes_per_graph=17, edges_per_graph=35, latent=64, hidden=(64,), steps=3),
        "tiny": OgbgConfig(tasks=8, nodes_per_graph=17, edges_per_graph=35, latent=8, hidden=(16,), steps=2),
    }
    datasets = {
        preset: Generated(name=f"ogbg-{preset}", sha256=sha256, generate=partial(generate, sizes))
        for preset, sizes, sha256 in (
            ("mini", MINI, "e00114dabeb341ace58229ccd56416fe260939542ff9aeaa68d53e03ba045389"),
            ("tiny", TINY, "168f08daf829e102de422ac8288f1c19c9763259e5fa35613b8b72471340c99e"),
        )
    }
    batch_sizes = {"mini": 40, "tiny": 8}
    """A step takes 19 ms at `mini`, of which AdamW 1.4, and 2.5 ms at `tiny`."""
    variants = {
        "gelu": lambda config: replace(config, activation="gelu"),
        "silu": lambda config: replace(config, activation="silu"),
        "model_size": lambda config: replace(
            config, latent=config.latent // 2, hidden=2 * config.hidden, steps=round(0.6 * config.steps)
        ),
    }

    def data_from(self, arrays: HostBatch) -> GraphData:
        """Return stored molecules, the splits in a row, as training and evaluation data."""
        stops = np.cumsum([0, *arrays["n_graph"]]).tolist()
        train, validation, test = (in_both_directions(select(arrays, start, stop)) for start, stop in pairwise(stops))
        eval_train = in_both_directions(select(arrays, 0, EVAL_TRAIN))
        return GraphData(train, {"train": eval_train, "validation": validation, "test": test}, self.budget)

    def recipe(self) -> OgbgRecipe:
        """Return how ogbg-molpcba is prepared, with as many of its tasks as the model answers."""
        return OgbgRecipe(tasks=self.config.tasks, published=self.preset == "full")

    def data_prepared(self, prepared: Prepared) -> GraphData:
        """Return the molecules of ogbg-molpcba."""
        stored = {split: {name: array[:] for name, array in prepared.arrays(split).items()} for split in SPLITS}
        eval_train = select(stored["train"], 0, EVAL_TRAIN_FULL if self.preset == "full" else EVAL_TRAIN)
        graphs = {split: in_both_directions(molecules) for split, molecules in stored.items()}
        return GraphData(graphs["train"], {**graphs, "train": in_both_directions(eval_train)}, self.budget)

    def torch(self) -> OgbgTorch:
        """Return the PyTorch half."""
        from timetrial.workloads.ogbg.model_torch import OgbgTorch

        return OgbgTorch(self.config)

    def budget(self, batch_size: int) -> Budget:
        """Return the room in a batch."""
        config = self.config
        return Budget(
            graphs=batch_size,
            nodes=config.nodes_per_graph * batch_size,
            edges=config.edges_per_graph * batch_size,
        )

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be; how they hang together, `check_structure` checks."""
        config = self.config
        nodes, edges, graphs = Axis(name="nodes"), Axis(name="edges", at_least=0), Axis(name="graphs", at_least=2)
        return {
            "inputs": Field(kind="numbers", axes=(nodes, config.node_features)),
            "edges": Field(kind="numbers", axes=(edges, config.edge_features)),
            "senders": Field(kind="integers", axes=(edges,), at_least=0, below="nodes"),
            "receivers": Field(kind="integers", axes=(edges,), at_least=0, below="nodes"),
            "n_node": Field(kind="integers", axes=(graphs,), at_least=0),
            "n_edge": Field(kind="integers", axes=(graphs,), at_least=0),
            "targets": Field(kind="numbers", axes=(graphs, config.tasks), at_least=0, at_most=1),
            "weights": Field(kind="mask", axes=(graphs, config.tasks)),
        }

    def check_batch(self, batch: HostBatch) -> None:
        """Raise UserError where a batch is no good; see `Workload.check_batch` and `check_structure`."""
        super().check_batch(batch)
        check_structure(batch)

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return a batch of the right shapes and dtypes: random molecule-like graphs, until one does not fit."""
        budget = self.budget(batch_size)
        graphs: list[Graph] = []
        nodes = edges = 0
        while True:
            graph = self._random_graph(random)
            if budget.fits(len(graphs) + 1, nodes + len(graph.nodes), edges + len(graph.edges)):
                nodes, edges = nodes + len(graph.nodes), edges + len(graph.edges)
                graphs.append(graph)
            elif graphs:  # alone, one above the average would fit no batch of one: another is drawn
                return padded_batch(graphs, budget)

    def _random_graph(self, random: np.random.Generator) -> Graph:
        """Return a tree with a few rings, of half to one and a half times the average size; 60 % unlabelled."""
        config = self.config
        atoms = int(random.integers(config.nodes_per_graph // 2, 3 * config.nodes_per_graph // 2 + 1))
        children = np.arange(1, atoms)
        parents = (children - random.integers(1, 4, atoms - 1)).clip(0)
        rings = atoms // 13
        starts = np.concatenate([children, random.integers(0, atoms, rings)])
        ends = np.concatenate([parents, random.integers(0, atoms, rings)])
        bonds = random.integers(0, 6, (len(starts), config.edge_features)).astype(np.float32)
        labels = random.integers(0, 2, config.tasks).astype(np.float32)
        labels[random.random(config.tasks) < 0.6] = np.nan
        return Graph(
            nodes=random.integers(0, 10, (atoms, config.node_features)).astype(np.float32),
            edges=np.concatenate([bonds, bonds]),
            senders=np.concatenate([starts, ends]),
            receivers=np.concatenate([ends, starts]),
            labels=labels,
        )
