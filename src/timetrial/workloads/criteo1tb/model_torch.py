"""DLRM in PyTorch."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from timetrial.api import ParameterKind
from timetrial.workloads.base import TorchWorkload
from timetrial.workloads.layers.dropout import Chain, Dropout, TakesDropoutRate
from timetrial.workloads.layers.mode import set_mode
from timetrial.workloads.losses import sigmoid_cross_entropy
from timetrial.workloads.metrics.mean_loss import MeanLossEvaluation

if TYPE_CHECKING:
    from timetrial.api import Batch, Loss
    from timetrial.workloads.base import Evaluation
    from timetrial.workloads.criteo1tb.workload import CriteoConfig


class CriteoTorch(TorchWorkload):
    """The PyTorch half of `criteo1tb`; implements `timetrial.workloads.base.TorchWorkload`."""

    def __init__(self, config: CriteoConfig) -> None:
        self.config = config

    def build_model(self) -> nn.Module:
        """Build and initialise the model; see `Dlrm`."""
        return Dlrm(self.config)

    def output_parameters(self, model: nn.Module) -> frozenset[str]:
        """Return the names of the layer of one output (the reference flags the third hidden layer, wrongly)."""
        top = [name for name, _ in model.named_parameters() if name.startswith("top_mlp.")]
        return frozenset(top[-2:])

    def forward(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        train: bool = True,
        update_batch_norm: bool = True,
        dropout: float | None = None,
    ) -> Tensor:
        """Return the logits (n, 1) of a click; see `TorchWorkload`."""
        set_mode(model, train=train, update_batch_norm=update_batch_norm)
        rate = self.config.dropout if dropout is None else dropout
        logits: Tensor = model(batch["inputs"], rate)
        return logits

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the cross entropy of the click; `targets` and `weights` (n,) or (n, 1); smoothing is ignored.

        Source: spec: workloads/criteo1tb.md, 3.
        """
        weights = batch.get("weights")
        return sigmoid_cross_entropy(
            logits.flatten(), batch["targets"].flatten(), None if weights is None else weights.flatten()
        )

    def evaluation(self) -> Evaluation:
        """Start an evaluation of the mean loss; see `TorchWorkload`."""
        return MeanLossEvaluation(self)


class Dlrm(nn.Module):
    """Embeddings and a bottom perceptron, their interactions, a top perceptron: (n, 39) to logits (n, 1).

    Embeddings start uniform in [0, scale), bottom weights Glorot uniform, top weights normal with the Glorot
    standard deviation, biases normal with variance 1 / width (spec: workloads/criteo1tb.md, 2). With
    `config.residual` the interactions are the concatenation of everything (ibid., 7).
    """

    def __init__(self, config: CriteoConfig) -> None:
        super().__init__()
        self.dense_fields = config.dense_fields
        self.table_rows = config.table_rows
        scale = config.embedding_scale or 1 / math.sqrt(config.table_rows)
        self.parameter_kinds = {}
        for name, chunk in _table_chunks(config, scale).items():
            self.register_parameter(name, chunk)
            self.parameter_kinds[name] = ParameterKind.EMBEDDING

        bottom_widths = (config.dense_fields, *config.bottom_widths)
        vectors = 1 + len(config.field_sizes)
        self.interact: nn.Module
        if config.residual:
            self.interact = Concatenation()
            interactions = config.bottom_widths[-1] + (vectors - 1) * config.embedding_width
            self.bot_mlp = residual_perceptron(bottom_widths)
            self.top_mlp = residual_perceptron((interactions, *config.top_widths), outputs=True)
        else:
            self.interact = DotInteraction(vectors)
            interactions = config.embedding_width + vectors * (vectors + 1) // 2
            self.bot_mlp = perceptron(bottom_widths, layer_norm=config.layer_norm)
            self.top_mlp = perceptron((interactions, *config.top_widths), layer_norm=config.layer_norm, outputs=True)
        normalises_embeddings = config.layer_norm and not config.residual
        self.embed_ln = nn.LayerNorm(config.embedding_width, eps=1e-6) if normalises_embeddings else nn.Identity()
        _initialize(self.bot_mlp, uniform=True)
        _initialize(self.top_mlp, uniform=False)

    def forward(self, inputs: Tensor, rate: float = 0.0) -> Tensor:
        """Map rows of dense values and category numbers to logits; `rate` is the dropout rate."""
        dense: Tensor = self.bot_mlp(inputs[:, : self.dense_fields], rate)
        embedded: Tensor = self.embed_ln(self.look_up(inputs[:, self.dense_fields :]))
        return self.top_mlp(self.interact(dense, embedded), rate)

    def look_up(self, categories: Tensor) -> Tensor:
        """Return the embeddings (n, fields, width) of category numbers (n, fields), given as floats."""
        chunks: list[Tensor] = list(self.parameters(recurse=False))
        # Joining moves 4 GB at full size; a masked gather from each chunk instead would write the embeddings of
        # the published batch, 3.5 GB, four times.
        table = torch.cat(chunks) if len(chunks) > 1 else chunks[0]
        return nn.functional.embedding(categories.to(torch.int32) % self.table_rows, table)


class DotInteraction(nn.Module):
    """The dense vector, followed by all dot products of the dense vector and the embeddings, squares included.

    Products stand in the row-major order of the upper triangle of the Gram matrix.
    """

    def __init__(self, vectors: int) -> None:
        super().__init__()
        rows, columns = torch.triu_indices(vectors, vectors)
        self.upper_triangle: Tensor
        self.register_buffer("upper_triangle", rows * vectors + columns, persistent=False)

    def forward(self, dense: Tensor, embedded: Tensor) -> Tensor:
        """Map (n, width) and (n, fields, width) to (n, width + (fields + 1)(fields + 2) / 2)."""
        vectors = torch.cat([dense[:, None], embedded], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        # index_select: twice as fast on one core, forward and backward, as indexing with a tensor.
        return torch.cat([dense, products.index_select(1, self.upper_triangle)], dim=1)


class Concatenation(nn.Module):
    """The dense vector, followed by the embeddings."""

    def forward(self, dense: Tensor, embedded: Tensor) -> Tensor:
        """Map (n, m) and (n, fields, width) to (n, m + fields width)."""
        return torch.cat([dense, embedded.flatten(1)], dim=1)


class Branch(TakesDropoutRate):
    """Linear layer and activation, added to the input where `residual`."""

    def __init__(self, *modules: nn.Module, residual: bool) -> None:
        super().__init__()
        self.module = Chain(*modules)
        self.residual = residual

    def forward(self, x: Tensor, rate: float) -> Tensor:
        """Map (n, width) to (n, new width)."""
        y: Tensor = self.module(x, rate)
        return x + y if self.residual else y


def perceptron(widths: tuple[int, ...], *, layer_norm: bool, outputs: bool = False) -> Chain:
    """Return linear layers of `widths`, each followed by a ReLU and maybe a layer norm.

    With `outputs` the last layer is plain, and dropout stands before it.
    """
    modules: list[nn.Module] = []
    hidden = widths[:-1] if outputs else widths
    for inputs, width in pairwise(hidden):
        modules += [nn.Linear(inputs, width), nn.ReLU()]
        if layer_norm:
            modules.append(nn.LayerNorm(width, eps=1e-6))
    if outputs:
        modules += [Dropout(), nn.Linear(widths[-2], widths[-1])]
    return Chain(*modules)


def residual_perceptron(widths: tuple[int, ...], *, outputs: bool = False) -> Chain:
    """Return linear layers of `widths`, each with a ReLU, all but the first added to their input.

    With `outputs` the last layer is plain, and dropout stands in the branch before it.
    """
    layers = list(pairwise(widths))
    output = [layers.pop()] if outputs else []
    blocks = []
    for number, (inputs, width) in enumerate(layers):
        dropout = [Dropout()] if outputs and number == len(layers) - 1 else []
        blocks.append(Branch(nn.Linear(inputs, width), nn.ReLU(), *dropout, residual=number > 0))
    blocks += [Branch(nn.Linear(inputs, width), residual=False) for inputs, width in output]
    return Chain(*blocks)


def _table_chunks(config: CriteoConfig, scale: float) -> dict[str, nn.Parameter]:
    rows = config.table_rows // config.table_chunks
    return {
        f"embedding_chunk_{chunk}": nn.Parameter(torch.empty(rows, config.embedding_width).uniform_(0, scale))
        for chunk in range(config.table_chunks)
    }


def _initialize(perceptron: nn.Module, *, uniform: bool) -> None:
    for module in perceptron.modules():
        if isinstance(module, nn.Linear):
            (nn.init.xavier_uniform_ if uniform else nn.init.xavier_normal_)(module.weight)
            nn.init.normal_(module.bias, std=math.sqrt(1 / module.out_features))
