"""FOAM: Shampoo that measures how stale its roots are; it damps them for it, and takes them anew when that is too much.

Nam and Ahn, "FOAM: frequency and operator error-based adaptive damping method for reducing staleness-oriented error
for Shampoo", 2026 (arXiv 2606.02365). For each side of a block, S its statistic (bias corrected), S_0 that of the last
refresh, with eigenvalues l and eigenvectors Q, p = 4 for a matrix, and a damping e:

    D = Q^T (S - S_0) Q
    h = (alpha / p) |D_ij / sqrt((l_i + e)(l_j + e))|_F,    alpha = max (l + e)^(-1/p) / |(l + e)^(-1/p)|_2
    e' = max(e_0, e h / tau)
    where e' would pass a ceiling:  S_0 <- S, e <- e_0;    else e <- e'
    P = Q diag((l + e)^(-1/p)) Q^T        in the place of Shampoo's roots

Stated by the source: h, the rule for the damping, and that passing a ceiling makes for a refresh. Reconstructed (spec:
algorithms/foam.md): S - S_0 is the undamped drift (by the letter it is S - S_0 - e I: `literal_drift=True`); e is in
units of the mean of l; the values of e_0, tau and the ceiling; a refresh after 500 steps at the latest; the drift is
measured every 10 steps. Momentum, grafting, blocks and the first 100 steps are Distributed Shampoo's. Hidden matrices
and convolutions only; NAdamW on the others.

Memory: Shampoo's, eigenvectors and eigenvalues: for a square block 8 floats a parameter. Work: Shampoo's; at each
measurement 6 (m^3 + n^3) flops for an m x n block; eigendecompositions only when they are due.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.distributed_shampoo import ShampooOptimizer
from timetrial.algorithms.nadamw import NAdamW, NAdamWOptimizer
from timetrial.algorithms.parts.blocks import identities
from timetrial.algorithms.parts.matrix_roots import eigh, finite_or, root_of
from timetrial.algorithms.parts.routing import OptimizerChain, route
from timetrial.api import Hyperparameters, SearchSpace, Task, choice, log_uniform

Factor = dict[str, Tensor]
"""What is kept of one side of a batch of n blocks: `vectors` (n, d, d), `values` (n, d), `damping` and `age` (n, 1)."""


class FOAMOptimizer(ShampooOptimizer):
    """The update rule above; dampings `eps` and `ceiling` are relative to the mean eigenvalue."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        eps: float = 1e-6,
        tau: float = 0.1,
        ceiling: float = 0.03,
        check_every: int = 10,
        max_age: int = 500,
        literal_drift: bool = False,
        **shampoo: Any,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            eps=eps,
            tau=tau,
            ceiling=ceiling,
            check_every=check_every,
            max_age=max_age,
            literal_drift=literal_drift,
            **shampoo,
        )

    def refresh_roots(self, group: dict[str, Any]) -> None:
        """Measure the drift where it is time to, and adapt dampings and roots to it."""
        if (group["step"] - group["start"]) % group["check_every"] != 0:
            return
        correction = 1 - group["betas"][1] ** group["step"]
        every = zip(self.statistics(group), self.roots(group), self.factors(group), strict=True)
        for statistics, roots, factors in every:
            for axis, (statistic, factor) in enumerate(zip(statistics, factors, strict=True)):
                power = group["inverse_root"] or 2 * len(statistics)
                self._adapt(group, statistic / correction, factor, power)
                damped = factor["values"] + _absolute(factor)
                roots[axis] = finite_or(root_of(damped, factor["vectors"], power), roots[axis])

    def factors(self, group: dict[str, Any]) -> list[list[Factor]]:
        """Return what is kept of each side of each batch; too old from the start, so that it is refreshed at once."""
        parameter = group["params"][0]

        def start(n: int, d: int) -> Factor:
            return {
                "vectors": identities(n, d, parameter),
                "values": parameter.new_ones(n, d),
                "damping": parameter.new_full((n, 1), group["eps"]),
                "age": parameter.new_full((n, 1), float(group["max_age"])),
            }

        return self.kept(
            group, "factors", lambda: [[start(n, d) for d in axes] for n, *axes in self.layout(group).shapes]
        )

    def _adapt(self, group: dict[str, Any], statistic: Tensor, factor: Factor, power: int) -> None:
        """Adapt the damping, or refresh the blocks whose damping would pass the ceiling."""
        factor["age"] += group["check_every"]
        damping = _absolute(factor)
        drift = factor["vectors"].mT @ statistic @ factor["vectors"] - torch.diag_embed(factor["values"])
        if group["literal_drift"]:
            drift = drift - torch.diag_embed(damping.expand_as(factor["values"]))
        error = staleness(drift, factor["values"] + damping, power)
        proposal = (factor["damping"] * error / group["tau"]).clamp_min(group["eps"])
        # In this form, because an error that is not a number must be due as well.
        due = ~(proposal <= group["ceiling"]) | (factor["age"] >= group["max_age"])
        factor["damping"] = torch.where(due, group["eps"], proposal)
        blocks = due.flatten().nonzero().flatten()
        if len(blocks):
            values, vectors = eigh(statistic[blocks])
            good = values.isfinite().all(dim=-1) & vectors.isfinite().flatten(1).all(dim=-1)
            values, vectors, blocks = values[good], vectors[good], blocks[good]
            factor["values"][blocks] = values.clamp_min(0)
            factor["vectors"][blocks] = vectors
            factor["age"][blocks] = 0


def staleness(drift: Tensor, damped: Tensor, power: float) -> Tensor:
    """Return h (n, 1) of drifts (n, d, d) in the stale eigenbasis, whose damped eigenvalues are (n, d)."""
    roots = damped.pow(-1 / power)
    alpha = roots.amax(dim=-1, keepdim=True) / torch.linalg.vector_norm(roots, dim=-1, keepdim=True)
    whiten = damped.rsqrt()
    whitened = drift * whiten.unsqueeze(-1) * whiten.unsqueeze(-2)
    return alpha / power * torch.linalg.matrix_norm(whitened).unsqueeze(-1)


def _absolute(factor: Factor) -> Tensor:
    """Return the damping in the statistic's own units."""
    return factor["damping"] * factor["values"].mean(dim=-1, keepdim=True)


class FOAM(NAdamW):
    """FOAM on hidden matrices and convolutions, NAdamW on the others; linear warm-up and cosine decay to zero."""

    # NAdamW's space, with the threshold's and the ceiling's ranges from the sheet: none was published.
    search_space = SearchSpace(
        learning_rate=log_uniform(1e-4, 1e-2),
        one_minus_beta1=log_uniform(0.004, 0.1),
        beta2=choice(0.995, 0.999),
        weight_decay=log_uniform(0.005, 1.0),
        tau=choice(0.05, 0.1, 0.2),
        ceiling=choice(0.01, 0.1),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    # The self-tuning NAdamW baseline's point and the middle of the sheet's ranges: none was published.
    hyperparameters = {**NAdamW.hyperparameters, "tau": 0.1, "ceiling": 0.03}

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return FOAM for hidden matrices and convolutions, NAdamW for the others."""
        routes = route(task)
        options = {
            "lr": hyperparameters.learning_rate,
            "betas": (1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            "weight_decay": hyperparameters.weight_decay,
        }
        optimizers: list[torch.optim.Optimizer] = []
        if routes.hidden:
            foam = {"tau": hyperparameters.tau, "ceiling": hyperparameters.ceiling, "use_nadam": True}
            optimizers.append(FOAMOptimizer(routes.hidden, **options, **foam))
        if routes.others:
            optimizers.append(NAdamWOptimizer(routes.others, **options))
        return OptimizerChain(optimizers)
