"""What the Schedule-Free rules share: three points, of which the parameter holds the one where gradients are taken.

Defazio et al., "The Road Less Scheduled", 2024 (arXiv 2405.15682); spec: algorithms/schedule_free.md. With the base
iterate z, its average x, and y between them,

    y = (1 - b1) z + b1 x;    z' = z - r u(y);    c = w / (sum of all w);    x' = (1 - c) x + c z'

the parameter holds y and the state z. x is not stored: eliminating it gives

    y' = (1 - c) y + c z - r (1 - b1 (1 - c)) u        and, for an evaluation, x = z + (y - z) / b1.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.averaging import EvaluatesElsewhere
from timetrial.algorithms.parts.list_optimizer import ListOptimizer
from timetrial.api import Hyperparameters, ScheduledGradientDescent, Task, warmup_steps


class ScheduleFreeOptimizer(ListOptimizer):
    """Base of the rules: weights of the average, and the points. The gradients must be those at the parameters, y.

    Weights are w = t^r (largest rate so far)^p with t counted from 1; without `running_max`, of the rate itself.
    Groups need `beta1`, in (0, 1] where x is asked for.
    """

    tensorwise = True

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        beta1: float = 0.9,
        r: float = 0.0,
        p: float = 2.0,
        running_max: bool = True,
        **defaults: Any,
    ) -> None:
        scalars = {"weight_sum": 0.0, "largest_rate": 0.0, "share": 1.0}
        super().__init__(params, lr=lr, beta1=beta1, r=r, p=p, running_max=running_max, **scalars, **defaults)

    def begin(self, group: dict[str, Any]) -> None:
        """Work out the share c of the new z in the average."""
        group["largest_rate"] = max(group["largest_rate"], group["lr"]) if group["running_max"] else group["lr"]
        weight = group["step"] ** group["r"] * group["largest_rate"] ** group["p"]
        group["weight_sum"] += weight
        group["share"] = weight / group["weight_sum"] if group["weight_sum"] > 0 else 0.0

    def base_iterate(self, group: dict[str, Any], weights: list[Tensor]) -> list[Tensor]:
        """Return z of weights of a group, where the base rule's steps are taken; at first the weight itself."""
        return self.buffers(weights, "z", torch.clone)

    def advance(self, group: dict[str, Any], weights: list[Tensor], directions: list[Tensor], rate: float) -> None:
        """Take the base rule's step `rate` x `directions` on z; move y with it, and towards z."""
        base = self.base_iterate(group, weights)
        torch._foreach_lerp_(weights, base, group["share"])
        torch._foreach_add_(weights, directions, alpha=-rate * (1 - group["beta1"] * (1 - group["share"])))
        torch._foreach_add_(base, directions, alpha=-rate)

    @torch.no_grad()
    def averages(self) -> dict[Tensor, Tensor]:
        """Return x of every weight that has taken a step, as new tensors."""
        found: dict[Tensor, Tensor] = {}
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if self.state.get(weight)]
            if weights:
                averages = torch._foreach_lerp(weights, self.base_iterate(group, weights), 1 - 1 / group["beta1"])
                found.update(zip(weights, averages, strict=True))
        return found

    @torch.no_grad()
    def restart(self, initial: list[Tensor], rate_factor: float) -> None:
        """Forget everything, go back to the initial weights, and go on at `rate_factor` times the base rate."""
        weights = [weight for group in self.param_groups for weight in group["params"]]
        torch._foreach_copy_(weights, initial)
        self.state.clear()
        for group in self.param_groups:
            group.update(step=0, weight_sum=0.0, largest_rate=0.0, share=1.0)
            group["initial_lr"] *= rate_factor


class ScheduleFree(EvaluatesElsewhere, ScheduledGradientDescent):
    """A Schedule-Free rule as a submission: linear warm-up, then a constant rate; evaluated at the average x."""

    optimizer: ScheduleFreeOptimizer

    @abstractmethod
    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> ScheduleFreeOptimizer:
        """Return the rule over all parameters."""

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier (k + 1) / W up to 1: unlike the other schedules, its first step moves something."""
        return min(1.0, (step + 1) / max(warmup_steps(task, hyperparameters), 1))

    def evaluation_point(self, task: Task) -> Sequence[Tensor] | None:
        """Return the averages; a parameter without one, as it is."""
        averages = self.optimizer.averages()
        return [averages.get(weight, weight) for weight in self.swapped_tensors(task)]
