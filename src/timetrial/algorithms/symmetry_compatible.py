"""Symmetry-compatible updates: each layer's rule commutes with what the layer may be permuted, turned or shifted by.

Lau and Su, "Symmetry-compatible principle for optimizer design: embeddings, LM heads, SwiGLU MLPs, and MoE routers",
2026 (arXiv 2605.18106). All layers share M <- b M + (1 - b) G and W <- (1 - r d) W - r F(M), with

    hidden matrices  (turns on both sides)                     polar factor, by Polar Express
    embeddings       (permutations of rows, turns of columns)  rows: M_i / (|M_i| + 1e-8)
    softmax heads    (also a common shift of all logits)       centred rows: C rows(C M), C M = M - the mean row

or, for embeddings and heads, the other rules that keep these symmetries: `polar_gradient`, nu^a U with the polar
factor U and the nuclear norm nu = <M, U> (by right or left inverse root, whichever is the smaller matrix), and the
hybrids `row_then_polar` and `polar_then_row`. A head is centred where the loss does not see a shift of the logits
(softmax cross-entropy and CTC). Vectors go to AdamW.

Stated by the public code, whose paper was not at hand: the rules, the routing, the rates. Ours: attention projections
are split into query, key and value, not into heads, and gated layers are treated as any hidden matrix, since neither
can be told from a parameter's kind; and the polar factor's scale is Muon's sqrt(max(1, out / in)).

Memory: 1 float a parameter in matrices and tables, 2 in vectors. Work: Muon's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.matrix_optimizer import Batched, MatrixOptimizer, auxiliary_adamw, original_scale
from timetrial.algorithms.parts.orthogonal import inverse_square_root, polar_express, polar_express_coefficients
from timetrial.algorithms.parts.routing import OptimizerChain, route
from timetrial.api import Hyperparameters, LossType, ScheduledGradientDescent, SearchSpace, Task

_EPS = 1e-8
_SHIFT_INVARIANT = frozenset({LossType.SOFTMAX_CROSS_ENTROPY, LossType.CTC_LOSS})


def express_root(grams: Tensor) -> Tensor:
    """Return the inverse square root of a batch of Gram matrices by five steps of Polar Express: good to a tenth."""
    return inverse_square_root(grams, polar_express_coefficients(5))


def centre(batch: Tensor) -> Tensor:
    """Subtract the mean row from every row."""
    return batch - batch.mean(dim=-2, keepdim=True)


def rows(batch: Tensor) -> Tensor:
    """Divide every row by its length."""
    return batch / (torch.linalg.vector_norm(batch, dim=-1, keepdim=True) + _EPS)


def polar_gradient(batch: Tensor, *, power: float = 1.0, root: Batched = express_root) -> Tensor:
    """Return nu^power U of polar factors U and nuclear norms nu, in float32 at least."""
    flip = batch.shape[-2] < batch.shape[-1]
    tall = batch.mT if flip else batch
    gram = tall.mT @ tall
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    inverse = root(gram + _EPS * identity)
    nuclear = (gram * inverse.mT).sum(dim=(-2, -1), keepdim=True)
    factor = tall @ inverse
    return nuclear.clamp_min(_EPS) ** power * (factor.mT if flip else factor)


def symmetric_direction(
    batch: Tensor, rule: str, *, centred: bool = False, power: float = 1.0, root: Batched = express_root
) -> Tensor:
    """Return F of a batch (n, rows, columns) by one of the rules for embeddings and heads."""
    a = centre(batch) if centred else batch
    match rule:
        case "row":
            update = rows(a)
        case "polar_gradient":
            update = polar_gradient(a, power=power, root=root)
        case "polar_then_row":
            update = rows(polar_gradient(a, power=power, root=root))
        case "row_then_polar":
            a = centre(rows(a)) if centred else rows(a)
            update = polar_gradient(a, power=power, root=root)
        case _:
            raise ValueError(f"unknown rule {rule!r}")
    return centre(update) if centred else update


class SymmetricOptimizer(MatrixOptimizer):
    """The update rule above. Each group has a rule, `polar` or one of `symmetric_direction`, and is centred or not."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        rule: str = "polar",
        centred: bool = False,
        power: float = 1.0,
        stacks: Mapping[Tensor, int] | None = None,
        orthogonalize: Batched = polar_express,
    ) -> None:
        super().__init__(
            params,
            stacks=stacks,
            orthogonalize=orthogonalize,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            rule=rule,
            centred=centred,
            power=power,
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        momenta = self.buffers(weights, "momentum")
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])

        def direction(batch: Tensor) -> Tensor:
            return symmetric_direction(batch, group["rule"], centred=group["centred"], power=group["power"])

        if group["rule"] == "polar":
            directions = self.scaled_polar(weights, momenta, original_scale)
        else:
            directions = self.by_matrices(weights, momenta, direction)
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, directions, alpha=-group["lr"])


def _published(
    hidden: float, embedding: float, output: float, other: float, rule: str = "row"
) -> dict[str, float | str]:
    return {
        "learning_rate": hidden,
        "embedding_learning_rate": embedding,
        "output_learning_rate": output,
        "auxiliary_learning_rate": other,
        "rule": rule,
        "weight_decay": 0.0,
    }


class SymmetryCompatible(ScheduledGradientDescent):
    """Polar factors on what is hidden, (centred) rows on tables and heads, AdamW on vectors; cosine decay to zero."""

    # The rates of the public configurations: like Qwen3-0.6B (rows, then the hybrid), OLMoE and gpt-oss.
    search_space = SearchSpace.from_points(
        [
            _published(2e-2, 0.5, 5e-3, 5e-2),
            _published(2e-2, 1.0, 1e-2, 5e-2, "row_then_polar"),
            _published(5e-3, 0.5, 5e-3, 1e-2),
            _published(1e-3, 0.1, 1e-3, 5e-3),
        ]
    )
    # The third of them.
    hyperparameters = {**_published(5e-3, 0.5, 5e-3, 1e-2), "warmup_factor": 0.05}

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the rule with a group for each symmetry, and AdamW on the rest."""
        routes = route(task)
        groups: list[dict[str, Any]] = [
            {"params": routes.hidden, "rule": "polar", "lr": hyperparameters.learning_rate},
            {
                "params": routes.embeddings,
                "rule": hyperparameters.rule,
                "lr": hyperparameters.embedding_learning_rate,
            },
            {
                "params": routes.output,
                "rule": hyperparameters.rule,
                "lr": hyperparameters.output_learning_rate,
                "centred": task.loss_type in _SHIFT_INVARIANT,
            },
        ]
        return OptimizerChain(
            [
                SymmetricOptimizer(
                    [group for group in groups if group["params"]] or [{"params": []}],
                    lr=hyperparameters.learning_rate,
                    momentum=hyperparameters.get("momentum", 0.95),
                    weight_decay=hyperparameters.weight_decay,
                    stacks=routes.stacks,
                ),
                auxiliary_adamw(
                    routes.vectors,
                    lr=hyperparameters.auxiliary_learning_rate,
                    betas=(0.9, 0.95),
                    weight_decay=hyperparameters.weight_decay,
                ),
            ]
        )
