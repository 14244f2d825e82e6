"""Weights that a model multiplies by a constant before it uses them, so that published learning rates fit small models.

Adam and its relatives move every weight by about the learning rate, whatever the gradient's size. A narrow layer has
larger weights than a wide one, and a trial of thousands of steps has less time to move them than one of a hundred
thousand; so the best rate of a small model is several times the published ones. Where a model uses c times what is
stored, and what is stored starts at 1/c of the usual initialisation, the model starts as the same function, and a step
of Adam at rate r moves it as far as one at c r would: the rates that suit it are divided by c, those of gradient
descent by c^2. That is the symmetry of abc-parametrizations (Yang and Hu 2021, "Tensor Programs IV", arXiv
2011.14522, section 3), along which maximal update parametrization transfers rates from one width to another
(Yang et al. 2022, arXiv 2203.03466).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from timetrial.workloads.base import Evaluation, TorchWorkload, Workload

if TYPE_CHECKING:
    from timetrial.api import Batch, Loss, ParameterKind


def multiplied(half: TorchWorkload, workload: Workload[Any]) -> TorchWorkload:
    """Return a workload's PyTorch half, with the weight multiplier that its preset has."""
    multiplier = workload.weight_multipliers.get(workload.preset)
    return half if multiplier is None else MultipliedTorch(half, multiplier, workload.multiplied_kinds)


class MultipliedTorch(TorchWorkload):
    """The PyTorch half of a workload whose matrices, embeddings and filters are used as `multiplier` times themselves.

    What has a single axis, biases and the scales of norms, is used as it is, and so is what is not of `kinds`, where
    these are given.
    """

    def __init__(self, half: TorchWorkload, multiplier: float, kinds: Set[ParameterKind] | None = None) -> None:
        self._half = half
        self._multiplier = multiplier
        self._kinds = kinds
        self._found: frozenset[str] | None = None

    def __getattr__(self, name: str) -> Any:
        """Return what the workload has beside the protocol: speech, the steps of its logits."""
        return getattr(self._half, name)

    def build_model(self) -> nn.Module:
        """Build the model as the workload does, its matrices divided by the multiplier."""
        model = self._half.build_model()
        with torch.no_grad():
            for _, weight in self._multiplied(model):
                weight.div_(self._multiplier)
        return model

    def parameter_kinds(self, model: nn.Module) -> dict[str, ParameterKind]:
        """Return what each parameter is; see `TorchWorkload`."""
        return self._half.parameter_kinds(model)

    def output_parameters(self, model: nn.Module) -> frozenset[str]:
        """Return the names of the output layer's parameters; see `TorchWorkload`."""
        return self._half.output_parameters(model)

    def forward(self, model: nn.Module, batch: Batch, **options: Any) -> Tensor:
        """Run the model with its matrices multiplied; see `TorchWorkload`."""
        logits: Tensor = self.used(model, lambda used: self._half.forward(used, batch, **options))
        return logits

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the loss; see `TorchWorkload`."""
        return self._half.loss(batch, logits, label_smoothing=label_smoothing)

    def evaluation(self) -> Evaluation:
        """Start an evaluation of one split, in which matrices are multiplied as in training."""
        return _MultipliedEvaluation(self, self._half.evaluation())

    def split(self, batch: Batch, size: int) -> Iterator[Batch]:
        """Yield a batch in pieces; see `TorchWorkload`."""
        return self._half.split(batch, size)

    def used(self, model: nn.Module, function: Callable[[nn.Module], Any]) -> Any:
        """Return what a function of the model returns while its matrices are multiplied."""
        used = {f"model.{name}": self._multiplier * weight for name, weight in self._multiplied(model)}
        # Names are unique: to follow ties would put a shared embedding's product back in its place afterwards.
        return functional_call(_Applied(model), used, (function,), tie_weights=False)

    def _multiplied(self, model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        names = self._names(model)
        return ((name, weight) for name, weight in model.named_parameters() if name in names)

    def _names(self, model: nn.Module) -> frozenset[str]:
        """Which parameters are multiplied: looked up once, since every model of a half has the same names."""
        if self._found is None:
            kinds = self._half.parameter_kinds(model)
            self._found = frozenset(
                name
                for name, weight in model.named_parameters()
                if weight.ndim >= 2 and (self._kinds is None or kinds[name] in self._kinds)
            )
        return self._found


class _Applied(nn.Module):
    """Hands a model to a function: `functional_call` calls forward only, and evaluations need more of a model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[nn.Module], Any]) -> Any:
        return function(self.model)


class _MultipliedEvaluation(Evaluation):
    def __init__(self, half: MultipliedTorch, evaluation: Evaluation) -> None:
        self._half = half
        self._evaluation = evaluation

    @property
    def examples(self) -> int:  # type: ignore[override]  # is only read
        return self._evaluation.examples

    def update(self, model: nn.Module, batch: Batch) -> None:
        with torch.no_grad():
            self._half.used(model, lambda used: self._evaluation.update(used, batch))

    def result(self) -> dict[str, float]:
        return self._evaluation.result()
