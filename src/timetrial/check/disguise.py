"""The same workload under another name, with other parameter names, orders, labels or sizes.

A submission that does not ask which workload it trains decides the same under every disguise (spec: protocol.md, 8:
no workload identification).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from timetrial.api import Batch, Loss, ParameterKind
from timetrial.suite import SuiteWorkload
from timetrial.workloads.base import Evaluation, TorchWorkload, Workload

_LABELS: Mapping[str, Callable[[Any], Any]] = {
    "classes": lambda classes: classes + 3,
    "tasks": lambda tasks: tasks + 3,
    "vocabulary": lambda vocabulary: vocabulary + 3,
}
"""By the configuration's field, how a label set is padded."""
_SIZES: Mapping[str, Callable[[Any], Any]] = {
    "width": lambda width: width + 8,
    "feed_forward": lambda width: width + 8,
    "hidden": lambda hidden: tuple(each + 4 for each in hidden) if isinstance(hidden, tuple) else hidden + 8,
    "latent": lambda latent: latent + 4,
    "channels": lambda channels: channels + 2,
    "widths": lambda widths: tuple(width + 2 for width in widths),
    "table_rows": lambda rows: rows + 64,
    "top_widths": lambda widths: (*(width + 8 for width in widths[:-1]), widths[-1]),
}
"""By the configuration's field, how a model is made a little larger; fields that a model has not are left out."""
_GROWTH = 1.07
"""How much longer the run, larger the data and later the target of a resized workload are."""


@dataclass(frozen=True, kw_only=True)
class Disguise:
    """What is changed about a workload; `words` say it in a sentence."""

    words: str = "nothing"
    rename: bool = False
    permute: bool = False
    pad_labels: bool = False
    resize: bool = False

    @property
    def keeps_the_arithmetic(self) -> bool:
        """Whether training must end with the same weights."""
        return not (self.permute or self.pad_labels or self.resize)


PLAIN = Disguise()
DISGUISES = (
    Disguise(words="the workload's, the model's and the parameters' names", rename=True),
    Disguise(words="the order of the parameters", permute=True),
    Disguise(words="the number of labels", pad_labels=True),
    Disguise(words="the sizes of model, data and run", resize=True),
)


def apply(disguise: Disguise, workload: Workload[Any], entry: SuiteWorkload) -> tuple[Workload[Any], SuiteWorkload]:
    """Return the workload and its suite entry in disguise (names of parameters apart: see `Observed`)."""
    changes: dict[str, Callable[[Any], Any]] = {}
    if disguise.pad_labels:
        changes |= _LABELS
    if disguise.resize:
        changes |= _SIZES
        entry = replace(
            entry,
            step_hint=int(_GROWTH * entry.step_hint),
            train_examples=int(_GROWTH * entry.train_examples),
            batch_size=entry.batch_size + 1,
            budget=_GROWTH * entry.budget,
            validation_target=entry.validation_target / _GROWTH,
        )
    if disguise.rename:
        entry = replace(entry, name="workload", base="workload")
    config = workload.config
    known = {field.name: getattr(config, field.name) for field in fields(config)}
    workload.config = replace(
        config, **{name: change(known[name]) for name, change in changes.items() if name in known}
    )
    return workload, entry


def can_be_padded(workload: Workload[Any]) -> bool:
    """Whether the workload has a label set."""
    return bool({field.name for field in fields(workload.config)} & _LABELS.keys())


class Observed(TorchWorkload):
    """A workload's PyTorch half whose calls are noted, and whose model may be disguised."""

    def __init__(self, half: TorchWorkload, disguise: Disguise) -> None:
        self._half = half
        self._disguise = disguise
        self.spoil = False
        """Whether logits become NaN."""
        self.calls: list[tuple[str, Any]] = []
        """The decisions that came with each call: its name and what was chosen."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._half, name)

    def build_model(self) -> nn.Module:
        """Build the model, without its names where they are disguised."""
        model = self._half.build_model()
        if self._disguise.rename:
            _forget_classes(model)
        if self._disguise.rename or self._disguise.permute:
            shown = _without_name(Nameless) if self._disguise.rename else Nameless
            return shown(model, rename=self._disguise.rename, permute=self._disguise.permute)
        return model

    def parameter_kinds(self, model: nn.Module) -> dict[str, ParameterKind]:
        """Return the kinds under the names that the model shows."""
        if not isinstance(model, Nameless):
            return self._half.parameter_kinds(model)
        kinds = self._half.parameter_kinds(model.inner)
        return {shown: kinds[name] for name, shown in model.shown.items()}

    def output_parameters(self, model: nn.Module) -> frozenset[str]:
        """Return the output layer's names as the model shows them."""
        if not isinstance(model, Nameless):
            return self._half.output_parameters(model)
        return frozenset(model.shown[name] for name in self._half.output_parameters(model.inner))

    def evaluation(self) -> Evaluation:
        """Start an evaluation."""
        return self._half.evaluation()

    def split(self, batch: Batch, size: int) -> Iterator[Batch]:
        """Cut a batch as the workload does."""
        return self._half.split(batch, size)

    def forward(self, model: nn.Module, batch: Batch, **options: Any) -> Tensor:
        """Run the model; note dropout and batch norm."""
        if options.get("train", True):
            chosen = (options.get("dropout"), options.get("update_batch_norm", True))
            self.calls.append(("forward", chosen))
        logits = self._half.forward(model.inner if isinstance(model, Nameless) else model, batch, **options)
        return logits * torch.nan if self.spoil else logits

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the loss; note the smoothing."""
        self.calls.append(("loss", label_smoothing))
        return self._half.loss(batch, logits, label_smoothing=label_smoothing)


class Nameless(nn.Module):
    """A model whose parameters have other names, or come in another order."""

    def __init__(self, inner: nn.Module, *, rename: bool, permute: bool) -> None:
        super().__init__()
        self.inner = inner
        names = [name for name, _ in inner.named_parameters()]
        # What stands last (weight, bias, scale) is what a parameter is, not whose.
        self.shown = {
            name: f"part_{number}.{name.rpartition('.')[2]}" if rename else name for number, name in enumerate(names)
        }
        if permute:
            order = list(self.shown.items())
            random.Random(7).shuffle(order)
            self.shown = dict(order)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters as they are shown."""
        parameters = dict(self.inner.named_parameters())
        for name, shown in self.shown.items():
            yield f"{prefix}.{shown}" if prefix else shown, parameters[name]


def _forget_classes(model: nn.Module) -> None:
    """Give every module of the benchmark's own a class without a name of its own."""
    for module in model.modules():
        own = type(module)
        if own.__module__.startswith("timetrial."):
            module.__class__ = _without_name(own)


def _without_name(own: type[nn.Module]) -> type[nn.Module]:
    """Return a class like `own` that does not tell where it comes from."""
    return type("Module", (own,), {"__module__": "model", "__doc__": None})
