"""Sophia-G: clipped Newton steps with a diagonal of the Gauss-Newton matrix from sampled labels.

Liu et al., "Sophia: a scalable stochastic second-order optimizer for language model pre-training", 2023 (arXiv
2305.14342). With labels y' drawn from the model's own predictions for the B examples (or tokens) of a batch (spec:
algorithms/sophia.md):

    every k steps:  g' = grad of the mean loss with labels y';    h <- b2 h + (1 - b2) B g'^2
    m <- b1 m + (1 - b1) g
    w <- (1 - r d) w;    w <- w - r clip(m / (rho h + 1e-15), -1, 1)

No bias corrections. The public code keeps h without the factor B and multiplies by it in the step, which is the same
where B is one number; here each estimate has its own batch's, as in the paper's algorithm 2.

The paper covers losses with a likelihood to draw from: softmax (categorical) and sigmoid cross entropy (Bernoulli).
Ours: the squared error is taken for a Gaussian's likelihood, the absolute error for a Laplacian's; for the CTC loss the
data's own labels take the place of drawn ones (the "empirical Fisher").

Memory: 2 floats a parameter. Extra work: one more gradient every k-th step, k = 10.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import ListOptimizer
from timetrial.api import (
    Batch,
    Hyperparameters,
    LossType,
    ScheduledGradientDescent,
    SearchSpace,
    Task,
    choice,
    log_uniform,
)

_TINY = 1e-15
"""What is added to the curvature (Liu et al. 2023, repository)."""


class SophiaGOptimizer(ListOptimizer):
    """The update rule above, for whole parameter lists at a time."""

    tensorwise = True

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        betas: tuple[float, float] = (0.965, 0.99),
        rho: float = 0.04,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, rho=rho, weight_decay=weight_decay)

    @torch.no_grad()
    def see_curvature(self, batch_size: Tensor | float) -> None:
        """Move h towards B g'^2, where g' is what `grad` of the parameters is now."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            beta2 = group["betas"][1]
            curvature = self.buffers(weights, "curvature")
            squares = torch._foreach_mul([weight.grad for weight in weights], [weight.grad for weight in weights])
            torch._foreach_mul_(squares, torch.as_tensor(batch_size, dtype=weights[0].dtype, device=weights[0].device))
            torch._foreach_lerp_(curvature, squares, 1 - beta2)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        momentum, curvature = self.buffers(weights, "momentum"), self.buffers(weights, "curvature")
        rate = group["lr"]

        torch._foreach_lerp_(momentum, gradients, 1 - group["betas"][0])
        divisor = torch._foreach_mul(curvature, group["rho"])
        torch._foreach_add_(divisor, _TINY)
        direction = torch._foreach_div(momentum, divisor)
        torch._foreach_clamp_min_(direction, -1.0)
        torch._foreach_clamp_max_(direction, 1.0)
        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        torch._foreach_add_(weights, direction, alpha=-rate)


@torch.no_grad()
def draw_targets(loss_type: LossType, logits: Tensor, batch: Batch) -> Tensor:
    """Return targets drawn from what the model predicts; where that cannot be done (CTC), the data's own."""
    match loss_type:
        case LossType.SOFTMAX_CROSS_ENTROPY:
            # The largest of logit plus Gumbel noise is a draw from the softmax.
            noise = torch.empty_like(logits).exponential_().log_()
            return (logits - noise).argmax(dim=-1)
        case LossType.SIGMOID_CROSS_ENTROPY:
            return torch.bernoulli(logits.sigmoid()).reshape(batch["targets"].shape)
        case LossType.MEAN_SQUARED_ERROR:
            return logits + torch.randn_like(logits)
        case LossType.MEAN_ABSOLUTE_ERROR:
            # The difference of two exponential draws is a Laplacian one.
            return logits + torch.empty_like(logits).exponential_() - torch.empty_like(logits).exponential_()
        case LossType.CTC_LOSS:
            return batch["targets"]


class SophiaG(ScheduledGradientDescent):
    """Sophia-G on all parameters, linear warm-up and cosine decay to zero."""

    optimizer: SophiaGOptimizer

    # No space was published: AdamW's rate and decay (spec: algorithms/nadamw_and_adam_family.md, 1), the paper's rho.
    search_space = SearchSpace(
        learning_rate=log_uniform(1e-4, 1e-2),
        weight_decay=log_uniform(0.005, 1.0),
        rho=choice(0.03, 0.04, 0.05),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    # The paper's values; three quarters of `adamw`'s rate, the middle of its advice; warm-up and the rest as `adamw`.
    hyperparameters = {
        "learning_rate": 7.5e-4,
        "beta1": 0.965,
        "beta2": 0.99,
        "rho": 0.04,
        "period": 10,
        "weight_decay": 0.1,
        "warmup_factor": 0.05,
        "label_smoothing": 0.1,
        "dropout_rate": 0.0,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> SophiaGOptimizer:
        """Return the optimizer of this file."""
        return SophiaGOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(hyperparameters.beta1, hyperparameters.beta2),
            rho=hyperparameters.rho,
            weight_decay=hyperparameters.weight_decay,
        )

    def step(self, task: Task, batch: Batch) -> None:
        """Train one step; every so many, look at the curvature first."""
        if task.step % self._tuned.period == 0:
            self.optimizer.zero_grad()
            logits = task.forward(batch, update_batch_norm=False, dropout=self._tuned.get("dropout_rate"))
            drawn = draw_targets(task.loss_type, logits, batch)
            loss = task.loss({**batch, "targets": drawn}, logits)
            loss.mean.backward()
            self.optimizer.see_curvature(loss.n_valid)
        super().step(task, batch)
