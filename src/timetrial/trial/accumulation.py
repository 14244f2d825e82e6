"""The gradient of one batch in several passes: gradient accumulation."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from timetrial.api import Batch, Loss


def detached(loss: Loss) -> Loss:
    """Return the loss without what its backward pass would need."""
    return Loss(loss.summed.detach(), loss.n_valid.detach(), loss.per_example.detach(), loss.divisor)


def backward_in_pieces(model: nn.Module, pieces: Iterable[Batch], loss_of: Callable[[Batch], Loss]) -> Loss:
    """Add the gradient of the mean loss of all pieces to the parameters' `grad`; return their loss, detached.

    Each piece adds the gradient of its summed loss; the sum is divided by `n_valid` of all at the end, since that is
    known only once every piece has had its forward pass.
    """
    parameters = list(model.parameters())
    earlier = [parameter.grad for parameter in parameters]
    model.zero_grad()
    losses = []
    for piece in pieces:
        loss = loss_of(piece)
        loss.summed.backward()
        losses.append(detached(loss))
    n_valid = torch.stack([loss.n_valid for loss in losses]).sum()
    divisor = n_valid.clamp(min=1)
    whole = Loss(
        torch.stack([loss.summed for loss in losses]).sum(),
        n_valid,
        torch.cat([loss.per_example for loss in losses]),
        divisor,
    )
    for parameter, before in zip(parameters, earlier, strict=True):
        if parameter.grad is None:
            parameter.grad = before
        else:
            parameter.grad.div_(divisor)
            if before is not None:
                parameter.grad.add_(before)
    return whole
