"""AMUSE: Muon's iterate, a running average of it, and gradients taken between the two, ever nearer to the average.

Kim, Shin, Yun, Baek, Song and Yun, "AMUSE: anytime Muon with stable gradient evaluation", 2026 (arXiv 2605.22432). With
base iterate z, average x and gradient point y, of which x is evaluated, at step t from 1 with T steps of warm-up:

    r_t = r min(1, t / T);   w = t^k r_t^p;   c = w / (the sum of w so far);   c_T is kept
    b_t = b_1 up to T, afterwards 1 - s^rho (1 - b_1) with s = c (1 - c_T) / (c_T (1 - c))
    x = y / b_{t-1} + (1 - 1 / b_{t-1}) z                              (the parameter holds y)
    matrices:  m <- mu m + (1 - mu) g;   u = (1 - mu) g + mu m
               z <- (1 - r_t d) z - r_t 0.2 sqrt(max(rows, columns)) NS5(u)
    the rest:  v <- b2 v + (1 - b2) g^2
               z <- z - r_t (g / (sqrt(v / (1 - b2^t)) + 1e-10) + d z)
    x <- (1 - c) x + c z;   y = (1 - b_t) z + b_t x

No schedule: it may be stopped at any time. Stated by the source: all of this, by its public code (the paper's text was
not at hand). The paper's formulas have c = 1 / t, so that b_t = 1 - ((T - 1) / (t - 1))^rho (1 - b_1) (`closed_form`);
with p = 2 and a warm-up, the code's b_t rises much faster, and the published numbers are for it. Decided here: x is
recovered with the b that built y, where the public code takes the new one (`upstream_inversion`), which draws x a
little to z. Left out: the code's decay at y, which is 0 by default, and SGD for the rest, of its image classifiers.

Batch norm (ours): its running statistics are those of a forward pass at x, every third step, as schedule-free AdamW's
submissions do it; the public code runs 50 batches at x before an evaluation.

Memory: 2 floats a parameter, and a third for a moment within a step. Work: Muon's and a few passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.averaging import batch_norm_statistics
from timetrial.algorithms.parts.list_optimizer import adam_denominator, second_moment
from timetrial.algorithms.parts.matrix_optimizer import Batched, MatrixOptimizer, match_rms_scale
from timetrial.algorithms.parts.orthogonal import newton_schulz
from timetrial.algorithms.parts.routing import route
from timetrial.api import (
    Batch,
    Hyperparameters,
    ScheduledGradientDescent,
    SearchSpace,
    Task,
    choice,
    log_uniform,
    warmup_steps,
)


def interpolation(weight: float, warm: float, *, start: float, rho: float) -> float:
    """Return b_t after the warm-up, from the averaging weights c_t and c_T and from b_1."""
    ratio = weight * (1 - warm) / (warm * (1 - weight))
    return 1.0 - ratio**rho * (1 - start)


def closed_form_interpolation(step: int, *, warmup: int, start: float, rho: float) -> float:
    """Return the paper's b_t, which is that of uniform averaging."""
    return start if step <= warmup else 1.0 - ((warmup - 1) / (step - 1)) ** rho * (1 - start)


class AmuseOptimizer(MatrixOptimizer):
    """The update rule above; `lr` is r_t. Groups with `matrix` false get the rule for the rest.

    Call `to_average` before an evaluation and `to_gradient_point` before a gradient is taken; the state dict knows
    where the parameters are.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        warmup: int,
        beta1: float = 0.6,
        rho: float = 0.8,
        momentum: float = 0.95,
        beta2: float = 0.999,
        weight_decay: float = 0.0,
        time_power: float = 0.0,
        rate_power: float = 2.0,
        matrix: bool = True,
        closed_form: bool = False,
        upstream_inversion: bool = False,
        stacks: Mapping[Tensor, int] | None = None,
        orthogonalize: Batched = newton_schulz,
    ) -> None:
        if warmup < 1 or not 0 < beta1 <= 1:
            raise ValueError("AMUSE needs warmup >= 1 and 0 < beta1 <= 1")
        super().__init__(
            params,
            stacks=stacks,
            orthogonalize=orthogonalize,
            lr=lr,
            warmup=warmup,
            beta1=beta1,
            rho=rho,
            momentum=momentum,
            beta2=beta2,
            weight_decay=weight_decay,
            time_power=time_power,
            rate_power=rate_power,
            matrix=matrix,
            closed_form=closed_form,
            upstream_inversion=upstream_inversion,
            weight_sum=0.0,
            warm_weight=1.0,
            interpolation=beta1,
            at_average=False,
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        built_y = group["interpolation"]
        averaging = self._advance(group)
        base = self.buffers(weights, "base", torch.clone)
        inversion = group["interpolation"] if group["upstream_inversion"] else built_y
        average = list(torch._foreach_lerp(base, weights, 1 / inversion))
        if group["matrix"]:
            self._move_matrices(group, weights, base, gradients)
        else:
            self._move_others(group, weights, base, gradients)
        torch._foreach_lerp_(average, base, averaging)
        torch._foreach_copy_(weights, torch._foreach_lerp(base, average, group["interpolation"]))

    @staticmethod
    def _advance(group: dict[str, Any]) -> float:
        """Move the group's averages of numbers on to its step; return c_t."""
        step = group["step"]
        weight = step ** group["time_power"] * group["lr"] ** group["rate_power"]
        group["weight_sum"] += weight
        averaging = weight / group["weight_sum"] if group["weight_sum"] > 0 else 1.0
        if group["closed_form"]:
            group["interpolation"] = closed_form_interpolation(
                step, warmup=group["warmup"], start=group["beta1"], rho=group["rho"]
            )
        elif step <= group["warmup"]:
            group["warm_weight"] = averaging
        else:
            group["interpolation"] = interpolation(
                averaging, group["warm_weight"], start=group["beta1"], rho=group["rho"]
            )
        return float(averaging)

    def _move_matrices(
        self, group: dict[str, Any], weights: list[Tensor], base: list[Tensor], gradients: list[Tensor]
    ) -> None:
        momenta = self.buffers(weights, "momentum")
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = list(torch._foreach_lerp(gradients, momenta, group["momentum"]))
        directions = self.scaled_polar(weights, ahead, match_rms_scale)
        torch._foreach_mul_(base, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(base, directions, alpha=-group["lr"])

    def _move_others(
        self, group: dict[str, Any], weights: list[Tensor], base: list[Tensor], gradients: list[Tensor]
    ) -> None:
        second = self.buffers(weights, "second")
        second_moment(second, gradients, group["beta2"])
        denominator = adam_denominator(second, group["beta2"], group["step"], 1e-10)
        torch._foreach_mul_(base, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_addcdiv_(base, gradients, denominator, -group["lr"])

    def to_average(self) -> None:
        """Put x into the parameters."""
        self._swap(at_average=True)

    def to_gradient_point(self) -> None:
        """Put y back into the parameters."""
        self._swap(at_average=False)

    @torch.no_grad()
    def _swap(self, *, at_average: bool) -> None:
        for group in self.param_groups:
            if group["at_average"] == at_average:
                continue
            group["at_average"] = at_average
            weights = [weight for weight in group["params"] if "base" in self.state[weight]]
            if weights:
                base = [self.state[weight]["base"] for weight in weights]
                share = 1 / group["interpolation"] if at_average else group["interpolation"]
                torch._foreach_copy_(weights, torch._foreach_lerp(base, weights, share))


class Amuse(ScheduledGradientDescent):
    """AMUSE on all parameters: Muon's steps for what is hidden, Adam's without first moment for the rest."""

    # The sheet's suggestion; the authors published points only.
    search_space = SearchSpace(
        learning_rate=log_uniform(3e-3, 3e-2),
        beta1=choice(0.4, 0.6, 0.8),
        rho=choice(0.3, 0.8),
        weight_decay=choice(0.0, 0.05, 0.1),
        warmup_factor=choice(0.05, 0.1),
        label_smoothing=choice(0.0, 0.1),
        dropout_rate=choice(0.0, 0.1),
    )
    # As published for language models of 124M parameters, but for a warm-up that is shorter than 3/8 of the training.
    hyperparameters = {
        "learning_rate": 0.01,
        "beta1": 0.6,
        "rho": 0.8,
        "weight_decay": 0.05,
        "warmup_factor": 0.05,
        "grad_clip": 0.5,
        "label_smoothing": 0.0,
        "dropout_rate": 0.0,
    }

    optimizer: AmuseOptimizer
    _has_batch_norm: bool

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build the optimizer; note whether there are batch statistics to be kept at the average."""
        super().setup(task, hyperparameters)
        self._has_batch_norm = bool(batch_norm_statistics(task.model))

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> AmuseOptimizer:
        """Return the rule with a group for hidden matrices and one for the rest."""
        routes = route(task)
        groups = [{"params": routes.hidden, "matrix": True}, {"params": routes.others, "matrix": False}]
        return AmuseOptimizer(
            [group for group in groups if group["params"]],
            lr=hyperparameters.learning_rate,
            warmup=_warmup(task, hyperparameters),
            beta1=hyperparameters.beta1,
            rho=hyperparameters.rho,
            weight_decay=hyperparameters.weight_decay,
            stacks=routes.stacks,
        )

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the rates: t / T up to the warm-up's end."""
        return min(1.0, (step + 1) / _warmup(task, hyperparameters))

    def step(self, task: Task, batch: Batch) -> None:
        """Train one step: the gradient is taken at y."""
        if self._has_batch_norm and task.step % 3 == 0:
            self.optimizer.to_average()
            with torch.no_grad():
                task.forward(batch, dropout=self._tuned.get("dropout_rate"))
        self.optimizer.to_gradient_point()
        super().step(task, batch)

    def backward(self, task: Task, batch: Batch, *, update_batch_norm: bool = True) -> None:
        """Add the gradient of the batch's mean loss; batch statistics at y are not kept."""
        super().backward(task, batch, update_batch_norm=update_batch_norm and not self._has_batch_norm)

    def prepare_for_eval(self, task: Task) -> None:
        """Evaluate the average."""
        self.optimizer.to_average()


def _warmup(task: Task, hyperparameters: Hyperparameters) -> int:
    """Return the steps of warm-up, of which there is one at least."""
    return max(1, warmup_steps(task, hyperparameters))
