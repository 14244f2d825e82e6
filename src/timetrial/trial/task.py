"""The window through which a submission sees its trial; implements `timetrial.api.Task`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from timetrial.api import Batch, Loss, LossType, ParameterKind
from timetrial.records.plan import TrialPlan
from timetrial.trial.clock import Clock
from timetrial.workloads.base import TorchWorkload


class TrialTask:
    """What a training algorithm may see of its trial; the harness reads nothing back from it."""

    def __init__(
        self,
        plan: TrialPlan,
        workload: TorchWorkload,
        loss_type: LossType,
        model: nn.Module,
        clock: Clock,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.model = model
        self.parameter_kinds: Mapping[str, ParameterKind] = MappingProxyType(workload.parameter_kinds(model))
        self.output_parameters = workload.output_parameters(model)
        self.loss_type = loss_type
        self.step_hint = plan.workload.step_hint
        self.train_examples = plan.workload.train_examples
        self.default_batch_size = plan.workload.batch_size
        self.budget = plan.budget
        self.validation_target = plan.workload.validation_target if plan.race else math.nan
        self.device = device
        self.generator = generator
        self.step = 0
        self.evaluations: Sequence[Mapping[str, float]] = ()
        self._clock = clock
        self._workload = workload

    @property
    def elapsed(self) -> float:
        """Seconds of submission time so far, without waiting for the accelerator."""
        return self._clock.submission

    @property
    def fraction_of_budget(self) -> float:
        """`elapsed / budget`, which may exceed 1 for a moment at the end."""
        return self._clock.submission / self.budget

    def forward(
        self,
        batch: Batch,
        *,
        train: bool = True,
        update_batch_norm: bool = True,
        dropout: float | None = None,
    ) -> Tensor:
        """Run the model on a batch and return its logits; see `timetrial.api.Task.forward`."""
        return self._workload.forward(
            self.model, batch, train=train, update_batch_norm=update_batch_norm, dropout=dropout
        )

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the workload's loss; see `timetrial.api.Task.loss`."""
        return self._workload.loss(batch, logits, label_smoothing=label_smoothing)
