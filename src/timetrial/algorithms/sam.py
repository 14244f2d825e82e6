"""SAM on AdamW: the gradient is taken where the loss nearby is worst; one of the paper's baselines.

Foret et al., "Sharpness-aware minimization for efficiently improving generalization", 2021 (arXiv 2010.01412). Both
gradients are of the same batch, with the same dropout masks (spec: algorithms/sam.md):

    g = grad L(w);    e = rho g / |g|, the norm over all parameters
    g' = grad L(w + e)
    w <- AdamW(w, g')        (see `adamw`)

Batch norm's running statistics move in the first pass alone. A bound on the gradient's norm, if any, is for g' alone.

Memory: 2 floats a parameter, and 1 while a step lasts. Extra work: a second gradient each step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from timetrial.algorithms.adamw import AdamW
from timetrial.api import Batch, SearchSpace, Task, choice, log_uniform

_LEAST_NORM = 1e-12
"""Guards against a gradient of zero (spec: algorithms/sam.md, "Update")."""


class SAM(AdamW):
    """SAM on all parameters, with AdamW's schedule: linear warm-up and cosine decay to zero."""

    search_space = SearchSpace(
        learning_rate=log_uniform(1e-4, 1e-2),
        one_minus_beta1=log_uniform(0.05, 0.43),
        beta2=choice(0.999),
        weight_decay=log_uniform(0.01, 0.2),
        rho=choice(0.01, 0.02, 0.05),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    # The search space's geometric middle and the paper's rho: no point without tuning was published.
    hyperparameters = {**AdamW.hyperparameters, "one_minus_beta1": 0.147, "weight_decay": 0.0447, "rho": 0.05}

    def backward(self, task: Task, batch: Batch, *, update_batch_norm: bool = True) -> None:
        """Take the gradient twice: the second one, at the perturbed weights, is the step's."""
        device = task.device
        on_accelerator = [] if device.type == "cpu" else [device]
        with torch.random.fork_rng(on_accelerator, device_type="cuda" if device.type == "cpu" else device.type):
            super().backward(task, batch, update_batch_norm=update_batch_norm)
        weights: list[Tensor] = [weight for weight in task.model.parameters() if weight.grad is not None]
        before = perturb(weights, self._tuned.rho)
        self.optimizer.zero_grad()
        super().backward(task, batch, update_batch_norm=False)
        with torch.no_grad():
            torch._foreach_copy_(weights, before)


@torch.no_grad()
def perturb(weights: list[Tensor], rho: float) -> list[Tensor]:
    """Move the weights to w + rho g / |g|; return copies of what they were (subtracting again would round)."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    before = [weight.clone() for weight in weights]
    length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))).clamp(min=_LEAST_NORM)
    torch._foreach_add_(weights, torch._foreach_mul(gradients, rho / length))
    return before
