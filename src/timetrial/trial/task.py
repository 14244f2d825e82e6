"""The window through which a submission sees its trial; implements `timetrial.api.Task`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

import torch
from torch import nn

from timetrial.api import Batch, Loss, LossType, ParameterKind
from timetrial.errors import UserError
from timetrial.records.plan import TrialPlan
from timetrial.trial.accumulation import backward_in_pieces, detached
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
        self.step_limit = plan.step_limit(self.default_batch_size)
        self.validation_target = plan.workload.validation_target if plan.race else math.nan
        self.device = device
        self.generator = generator
        self.step = 0
        self.evaluations: Sequence[Mapping[str, float]] = ()
        # Bound, not wrapped: a step is spared two calls (benchmarks/harness_overhead.py).
        self.forward = partial(workload.forward, model)
        self.loss = workload.loss
        self._clock = clock
        self._workload = workload

    @property
    def elapsed(self) -> float:
        """Seconds of submission time so far, without waiting for the accelerator."""
        return self._clock.submission

    @property
    def fraction_of_budget(self) -> float:
        """`elapsed / budget` or `step / step_limit`, whichever is more; may exceed 1 for a moment at the end."""
        return max(self._clock.submission / self.budget, self.step / self.step_limit)

    def backward(
        self,
        batch: Batch,
        *,
        micro_batch: int | None = None,
        label_smoothing: float = 0.0,
        dropout: float | None = None,
        update_batch_norm: bool = True,
    ) -> Loss:
        """Add the gradient of the batch's mean loss to the parameters' `grad`; see `timetrial.api.Task.backward`."""

        def loss_of(piece: Batch) -> Loss:
            logits = self.forward(piece, update_batch_norm=update_batch_norm, dropout=dropout)
            return self.loss(piece, logits, label_smoothing=label_smoothing)

        if micro_batch is None:
            loss = loss_of(batch)
            loss.mean.backward()
            return detached(loss)
        if micro_batch < 1:
            raise UserError(f"micro_batch: expected a positive number of examples, found {micro_batch}")
        return backward_in_pieces(self.model, self._workload.split(batch, micro_batch), loss_of)
