"""EMA-Nesterov: AdamW with gradients taken ahead of the weights, along an average of their moves.

"EMA-Nesterov", 2026 (arXiv 2605.25395): a wrapper of any update rule A (spec:
algorithms/diloco_and_outer_wrappers.md, "Relatives"). With the weights w and an average m of their moves, from 0:

    y = w + b m;    w' = A(y), gradients at y;    m <- gamma m + (1 - gamma) (w' - w)

Stated by the source: w' = A(w + b m), gamma = 0.99. Reconstructed: that the gradient is taken at y. A is AdamW here,
b is 0.6 times the scheduled rate's share of its peak. The one setting known has b only in the steps 500 to 2400 of its
own run; here it is at all steps, as no share of a run was stated.

Memory: 3 numbers a parameter (AdamW's moments, m), 1 more during a step (w). Extra work: three passes over the
weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from timetrial.algorithms.adamw import AdamW
from timetrial.api import Batch, Hyperparameters, Task


@torch.no_grad()
def look_ahead(weights: list[Tensor], moves: list[Tensor], factor: float) -> list[Tensor]:
    """Move the weights ahead by `factor` times their average move; return copies of where they were."""
    before = [weight.detach().clone() for weight in weights]
    torch._foreach_add_(weights, moves, alpha=factor)
    return before


@torch.no_grad()
def follow(weights: list[Tensor], before: list[Tensor], moves: list[Tensor], gamma: float) -> None:
    """Average the moves from `before` to the weights into `moves`."""
    torch._foreach_lerp_(moves, torch._foreach_sub(weights, before), 1 - gamma)


class EMANesterov(AdamW):
    """AdamW on all parameters with look-ahead; AdamW's schedule and search space."""

    hyperparameters = {**AdamW.hyperparameters, "gamma": 0.99, "look_ahead": 0.6}

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build AdamW; nothing moved yet."""
        super().setup(task, hyperparameters)
        self.moves = [torch.zeros_like(weight) for weight in task.model.parameters()]

    def step(self, task: Task, batch: Batch) -> None:
        """Train one step of AdamW from ahead of the weights."""
        weights: list[Tensor] = list(task.model.parameters())
        factor = self._tuned.look_ahead * self.schedule(task.step, task, self._tuned)
        before = look_ahead(weights, self.moves, factor)
        super().step(task, batch)
        follow(weights, before, self.moves, self._tuned.gamma)
