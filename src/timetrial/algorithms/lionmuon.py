"""LionMuon: every P-th step Muon's, the others Lion's signs, both from one buffer.

Bolatov, Veprikov, Riabinin, Kornilov, Horváth, Takáč and Beznosikov, "LionMuon: alternating spectral and sign descent
for efficient training", 2026 (arXiv 2605.19811). With k counted from 0, for a matrix of gradient g:

    u = b1 m + (1 - b1) g
    k mod P = 0:   D = 0.2 sqrt(max(rows, columns)) NS5(u),   r = r_M
    otherwise:     D = sign(u),                               r = r_S = ratio r_M
    W <- (1 - r d) W - r D                        (the decay is by the rate of the step that is taken)
    m <- b2 m + (1 - b2) g                        (afterwards, as in Lion)

P <= 1 takes Muon's step always, P = infinity Lion's. Equal b1 and b2 make SignMuon of it. The rule is stated by the
public code and numbers of the paper, whose text was not at hand. There matrices are all tensors of two or more axes
whose first is shorter than 10000, which keeps vocabularies out; here, hidden weights by their kind. The code's option
to choose the step by the stable rank is left out.

Memory: 1 float a parameter in matrices, 2 elsewhere. Work: Muon's every P steps, a few passes otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.matrix_optimizer import Batched, MatrixOptimizer, auxiliary_adamw, match_rms_scale
from timetrial.algorithms.parts.orthogonal import newton_schulz
from timetrial.algorithms.parts.routing import OptimizerChain, route
from timetrial.api import Hyperparameters, ScheduledGradientDescent, SearchSpace, Task, choice, log_uniform


class LionMuonOptimizer(MatrixOptimizer):
    """The update rule above, for weights of two or more axes; `lr` is r_M."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        sign_ratio: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.99),
        period: float = 2,
        weight_decay: float = 0.1,
        stacks: Mapping[Tensor, int] | None = None,
        orthogonalize: Batched = newton_schulz,
    ) -> None:
        super().__init__(
            params,
            stacks=stacks,
            orthogonalize=orthogonalize,
            lr=lr,
            sign_ratio=sign_ratio,
            betas=betas,
            period=period,
            weight_decay=weight_decay,
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        momenta = self.buffers(weights, "momentum")
        beta1, beta2 = group["betas"]
        mixed = list(torch._foreach_lerp(momenta, gradients, 1 - beta1))
        if _is_spectral(group["step"] - 1, group["period"]):
            rate, directions = group["lr"], self.scaled_polar(weights, mixed, match_rms_scale)
        else:
            rate, directions = group["lr"] * group["sign_ratio"], mixed
            torch._foreach_sign_(directions)
        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        torch._foreach_add_(weights, directions, alpha=-rate)
        torch._foreach_lerp_(momenta, gradients, 1 - beta2)


def _is_spectral(step: int, period: float) -> bool:
    return period <= 1 or (math.isfinite(period) and step % period == 0)


class LionMuon(ScheduledGradientDescent):
    """LionMuon on hidden matrices and convolutions, AdamW on the rest; linear warm-up and cosine decay to zero."""

    # Ours, around the published points: none published a space.
    search_space = SearchSpace(
        learning_rate=log_uniform(5e-4, 1e-2),
        sign_ratio=log_uniform(1 / 300, 1 / 20),
        period=choice(2, 5),
        weight_decay=choice(0.0, 0.1),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.0, 0.1),
        dropout_rate=choice(0.0, 0.1),
    )
    # The published default of the 124M language models; warm-up is 3000 of 64000 steps there.
    hyperparameters = {
        "learning_rate": 1e-3,
        "sign_ratio": 0.05,
        "auxiliary_learning_rate": 1e-3,
        "beta1": 0.9,
        "beta2": 0.99,
        "period": 2,
        "weight_decay": 0.1,
        "warmup_factor": 0.046875,
        "grad_clip": 0.5,
        "label_smoothing": 0.0,
        "dropout_rate": 0.0,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the alternating rule on what is hidden and AdamW on the rest."""
        routes = route(task)
        return OptimizerChain(
            [
                LionMuonOptimizer(
                    [{"params": routes.hidden}],
                    lr=hyperparameters.learning_rate,
                    sign_ratio=hyperparameters.sign_ratio,
                    betas=(hyperparameters.beta1, hyperparameters.beta2),
                    period=hyperparameters.period,
                    weight_decay=hyperparameters.weight_decay,
                    stacks=routes.stacks,
                ),
                auxiliary_adamw(
                    routes.others,
                    lr=hyperparameters.auxiliary_learning_rate,
                    betas=(0.8, 0.999),
                    weight_decay=hyperparameters.weight_decay,
                ),
            ]
        )
