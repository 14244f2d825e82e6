"""Schedule-Free AdamW: the average of the iterates in place of a decaying rate; won the self-tuning ruleset of 2024.

Defazio, Yang, Mehta, Mishchenko, Khaled and Cutkosky, "The Road Less Scheduled", 2024 (arXiv 2405.15682), as entered
in AlgoPerf (spec: algorithms/schedule_free.md, "v1"). Gradients g are taken at y; with t counted from 1:

    y = (1 - b1) z + b1 x
    v <- b2 v + (1 - b2) g^2
    s = r_t sqrt(1 - b2^t);    z <- z - s (g / (sqrt(v) + eps) + d x)
    w = t^r (largest rate so far)^p;    c = w / (sum of all w);    x <- (1 - c) x + c z

The model trains at y and is evaluated at x. The bias correction sits in the step s, so that it scales the decay too
and leaves eps alone. The optimizer has the paper's own form as well (package `schedulefree`: the correction in the
denominator, decay at y), against which it is tested. r_t rises linearly and stays.

Under the self-tuning ruleset the entry restarts where training fails: after a tenth of the step hint, at every new
evaluation, it looks at the last four; where neither the latest is better than the first of all by a margin, nor any
of them than the one before it, x and z go back to the initial weights, the moments and counters to zero, and the rate
is halved. Reconstructed: the margin. The entry's is 0.01 of the target metric, whose name and direction a submission
here is not told; this is 1 % of the first validation loss.

Memory: 2 numbers a parameter (z, v), 1 more for the initial weights where it may restart. Extra work: none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from timetrial.algorithms.parts.averaging import batch_norm_statistics
from timetrial.algorithms.parts.list_optimizer import adam_denominator, second_moment
from timetrial.algorithms.parts.schedule_free import ScheduleFree, ScheduleFreeOptimizer
from timetrial.api import Batch, Hyperparameters, SearchSpace, Task


class ScheduleFreeAdamWOptimizer(ScheduleFreeOptimizer):
    """Schedule-Free AdamW in its forms; by default the paper's, as in the package `schedulefree`.

    `decay_at` is the point that the weight decay shrinks towards zero. `correction` says where the bias correction of
    the second moment goes: into the denominator, or into the step.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 0.0025,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        r: float = 0.0,
        p: float = 2.0,
        running_max: bool = True,
        decay_at: Literal["x", "y"] = "y",
        correction: Literal["denominator", "step"] = "denominator",
    ) -> None:
        own: dict[str, Any] = {"beta2": betas[1], "eps": eps, "weight_decay": weight_decay}
        own |= {"decay_at": decay_at, "correction": correction}
        super().__init__(params, lr=lr, beta1=betas[0], r=r, p=p, running_max=running_max, **own)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        second, base = self.buffers(weights, "second"), self.base_iterate(group, weights)
        beta1, beta2, decay, rate = group["beta1"], group["beta2"], group["weight_decay"], group["lr"]

        second_moment(second, gradients, beta2)
        if group["correction"] == "denominator":
            denominator = adam_denominator(second, beta2, group["step"], group["eps"])
        else:
            denominator = list(torch._foreach_sqrt(second))
            torch._foreach_add_(denominator, group["eps"])
            rate *= (1 - beta2 ** group["step"]) ** 0.5
        directions = list(torch._foreach_div(gradients, denominator))
        if decay and group["decay_at"] == "y":
            torch._foreach_add_(directions, weights, alpha=decay)
        elif decay:  # d x, with x = y / b1 + (1 - 1 / b1) z
            torch._foreach_add_(directions, weights, alpha=decay / beta1)
            torch._foreach_add_(directions, base, alpha=decay * (1 - 1 / beta1))
        self.advance(group, weights, directions, rate)


class ScheduleFreeAdamW(ScheduleFree):
    """Schedule-Free AdamW as first entered: decay at x, weights t^0.75, restarts under the self-tuning ruleset."""

    search_space = SearchSpace.from_points(
        [
            {"dropout_rate": 0.1, "label_smoothing": 0.4, "learning_rate": 0.004},
            {"dropout_rate": 0.0, "label_smoothing": 0.2, "learning_rate": 0.003},
            {"dropout_rate": 0.0, "label_smoothing": 0.2, "learning_rate": 0.002},
            {"dropout_rate": 0.0, "label_smoothing": 0.4, "learning_rate": 0.005, "beta2": 0.62918},
            {"dropout_rate": 0.0, "label_smoothing": 0.2, "learning_rate": 0.001},
        ],
        one_minus_beta1=0.1,
        beta2=0.9955,
        weight_decay=0.08,
        warmup_factor=0.02,
        restarts=False,
    )
    hyperparameters = {
        "learning_rate": 0.0025,
        "one_minus_beta1": 0.1,
        "beta2": 0.9955159689799007,
        "weight_decay": 0.08121616522670176,
        "warmup_factor": 0.02 * 0.75,
        "label_smoothing": 0.2,
        "dropout_rate": 0.1,
        "restarts": True,
    }

    _initial: list[Tensor]
    """The initial weights, where it may restart."""
    _initial_statistics: list[Tensor]
    """Batch norm's, likewise."""
    _started: int
    """The step at which the present attempt began."""
    _seen: int
    """How many evaluations were looked at."""

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> ScheduleFreeOptimizer:
        """Return the rule, in the form of the entry."""
        return ScheduleFreeAdamWOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            weight_decay=hyperparameters.weight_decay,
            r=0.75,
            p=2.0,
            decay_at="x",
            correction="step",
        )

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build the optimizer; note where training starts."""
        super().setup(task, hyperparameters)
        restarts = hyperparameters.restarts
        self._initial = [weight.detach().clone() for weight in task.model.parameters()] if restarts else []
        self._initial_statistics = [each.clone() for each in batch_norm_statistics(task.model)] if restarts else []
        self._started = self._seen = 0

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the rate: the warm-up begins anew after a restart."""
        return super().schedule(step - self._started, task, hyperparameters)

    def step(self, task: Task, batch: Batch) -> None:
        """Train one step; before it, see whether to start over."""
        if self._initial and len(task.evaluations) > self._seen and task.step > 0.1 * task.step_hint:
            self._seen = len(task.evaluations)
            if failed([_validation_loss(evaluation) for evaluation in task.evaluations]):
                self._restart(task)
        super().step(task, batch)

    @torch.no_grad()
    def _restart(self, task: Task) -> None:
        self.back_to_training(task)
        self.optimizer.restart(self._initial, rate_factor=0.5)
        # A training that diverged may have left infinities there, which no average forgets.
        for statistic, initial in zip(batch_norm_statistics(task.model), self._initial_statistics, strict=True):
            statistic.copy_(initial)
        self._started = task.step


def _validation_loss(evaluation: Mapping[str, float]) -> float:
    names = (name for name in evaluation if name.startswith("validation/") and name.endswith("loss"))
    return evaluation[next(names)]


def failed(losses: Sequence[float], margin: float = 0.01) -> bool:
    """Whether training got nowhere: at least four losses, and none of the gains that count reaches the margin.

    What counts are the gains from the first to the latest and between neighbours among the last four; the margin is a
    share of the first loss. A latest loss that is no number, or infinite, gains nothing.
    """
    if len(losses) < 4:
        return False
    gains = [losses[0] - losses[-1], *(before - after for before, after in zip(losses[-4:], losses[-3:], strict=False))]
    return not any(gain >= margin * abs(losses[0]) for gain in gains)
