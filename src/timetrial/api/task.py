"""The submission's whole window on the world: `Task`, and what passes through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from timetrial.api.types import LossType, ParameterKind

Batch: TypeAlias = "dict[str, Tensor]"
"""One training batch on the task's device: `inputs`, `targets`, maybe `weights` and what the workload adds."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of one batch in the three forms that training algorithms ask for."""

    summed: Tensor
    """Scalar: the sum over valid examples (or tokens, or labels)."""
    n_valid: Tensor
    """Scalar: how many were valid."""
    per_example: Tensor
    """The loss of each example, zero where it is not valid."""
    divisor: Tensor | None = None
    """What `mean` divides by instead of an `n_valid` that may be zero."""

    @property
    def mean(self) -> Tensor:
        """Scalar `summed / n_valid`, what one usually calls `backward()` on; 0 where nothing is valid."""
        return self.summed / (self.n_valid if self.divisor is None else self.divisor)


class Task(Protocol):
    """What a training algorithm may see and use. Changing it changes nothing for the harness."""

    @property
    def model(self) -> nn.Module:
        """The model to be trained; its parameters are updated in place.

        `forward` runs it, and may use a constant multiple of a parameter where the workload says so.
        """

    @property
    def parameter_kinds(self) -> Mapping[str, ParameterKind]:
        """What each parameter is, by its name in `model.named_parameters()`."""

    @property
    def output_parameters(self) -> frozenset[str]:
        """Names of the parameters of the output layer."""

    @property
    def loss_type(self) -> LossType:
        """The kind of loss."""

    @property
    def step_hint(self) -> int:
        """About how many steps a well-tuned baseline needs: schedules are built on it."""

    @property
    def train_examples(self) -> int:
        """Number of examples in the training split."""

    @property
    def default_batch_size(self) -> int:
        """The suite's training batch size for this workload."""

    @property
    def budget(self) -> float:
        """Seconds of submission time after which the trial is over (infinity: no limit)."""

    @property
    def step_limit(self) -> float:
        """Steps after which the trial is over (infinity: no limit), for the batch size that was chosen.

        Until it was, that is in the algorithm's `batch_size`, for the suite's.
        """

    @property
    def elapsed(self) -> float:
        """Seconds of submission time so far, without waiting for the accelerator."""

    @property
    def fraction_of_budget(self) -> float:
        """`elapsed / budget` or `step / step_limit`, whichever is more; may exceed 1 for a moment at the end."""

    @property
    def step(self) -> int:
        """How many times `step` of the training algorithm has returned: 0 in the first call."""

    @property
    def evaluations(self) -> Sequence[Mapping[str, float]]:
        """Results so far, oldest first: `step`, `submission_time`, and metrics as in `validation/accuracy`."""

    @property
    def validation_target(self) -> float:
        """The value of the target metric that ends the race (NaN in a run that has no target)."""

    @property
    def device(self) -> torch.device:
        """Where the model and the batches are."""

    @property
    def generator(self) -> torch.Generator:
        """A seeded generator (on the CPU) for the algorithm's own randomness; resuming restores its state."""

    def forward(
        self,
        batch: Batch,
        *,
        train: bool = True,
        update_batch_norm: bool = True,
        dropout: float | None = None,
    ) -> Tensor:
        """Run the model on a batch and return its logits.

        Each call sets train or evaluation mode. `update_batch_norm=False` normalises by batch statistics and
        leaves the running ones alone. `dropout=None` is the workload's default rate.
        """

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the workload's loss of `logits`; where smoothing means nothing, it is ignored."""

    def backward(
        self,
        batch: Batch,
        *,
        micro_batch: int | None = None,
        label_smoothing: float = 0.0,
        dropout: float | None = None,
        update_batch_norm: bool = True,
    ) -> Loss:
        """Add the gradient of the batch's mean loss to the parameters' `grad`; return the loss, detached.

        The same as `loss(batch, forward(batch)).mean.backward()`. `micro_batch` is for batches that do not fit into
        the device's memory: forward and backward passes run over so many examples at a time (of `ogbg`: graphs),
        and every piece is divided by `n_valid` of the whole batch. Loss and gradients are those of one pass, up to
        rounding, with these exceptions:

        - Random masks (dropout, SpecAugment) are drawn piece by piece: the same distribution, other draws.
        - Batch norm normalises each piece by that piece's statistics ("ghost batch normalisation", Hoffer et al.
          2017, section 4.1), and moves the running ones once a piece. That is another algorithm: for imagenet_resnet,
          librispeech_conformer and librispeech_deepspeech a submission should say so.
        - A piece of speech in whose transcripts there is not one token counts as one token.

        Gradient hooks of single pieces see the gradient of `summed`. Raises UserError unless `micro_batch` is
        positive.
        """
