"""Losses that two or more workloads share (PyTorch), each in the three forms of `timetrial.api.Loss`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from timetrial.api import Loss
from timetrial.errors import UserError

_NO_CLASS = -(2**31)
"""PyTorch would leave out targets of -100 without a word; a class number out of range must be an error."""


def masked(per_example: Tensor, weights: Tensor | None) -> Loss:
    """Return the loss over the entries of `per_example` whose weight is not zero.

    `weights` has the shape of `per_example`, any dtype; None counts every entry. Losses are multiplied by the
    weights and `n_valid` is their sum (spec: workloads/README.md, 4.2 and 4.3). Raises UserError for weights of
    another shape.
    """
    if weights is None:
        return Loss(per_example.sum(), per_example.new_full((), per_example.numel()), per_example)
    _require_shape("weights", weights, per_example.shape)
    weights = weights.to(per_example.dtype)
    per_example = per_example * weights
    n_valid = weights.sum()
    return Loss(per_example.sum(), n_valid, per_example, n_valid.clamp(min=1))


def _require_shape(name: str, tensor: Tensor, shape: torch.Size) -> None:
    """Raise UserError unless the shape is the given one: broadcast, it would give another loss without a word."""
    if tensor.shape != shape:
        raise UserError(f"batch, {name}: expected shape {tuple(shape)}, found {tuple(tensor.shape)}")


def softmax_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, *, label_smoothing: float = 0.0
) -> Loss:
    """Return the softmax cross entropy of logits (..., classes).

    `targets` are class numbers (...,) or probabilities (..., classes). Smoothing replaces the target distribution
    q by (1 - e) q + e / classes (Szegedy et al. 2016, section 7). Raises UserError for targets of another shape.
    """
    classes = logits.shape[-1]
    are_probabilities = targets.is_floating_point()
    _require_shape("targets", targets, logits.shape if are_probabilities else logits.shape[:-1])
    flat = targets.reshape(-1, classes) if are_probabilities else targets.reshape(-1)
    per_example = F.cross_entropy(
        logits.reshape(-1, classes),
        flat,
        reduction="none",
        label_smoothing=label_smoothing,
        ignore_index=_NO_CLASS,
    )
    return masked(per_example.reshape(logits.shape[:-1]), weights)


def sigmoid_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Loss:
    """Return the binary cross entropy of each logit; `targets` of the same shape need not lie in [0, 1].

    Stable for logits of any size: (1 - y) z - log sigmoid(z). Raises UserError for targets of another shape.
    """
    _require_shape("targets", targets, logits.shape)
    per_example = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return masked(per_example, weights)


def mean_absolute_error(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Loss:
    """Return the absolute error of each example (first axis), averaged over all its other axes.

    Raises UserError for targets of another shape than `outputs`.
    """
    _require_shape("targets", targets, outputs.shape)
    return masked((outputs - targets).abs().flatten(1).mean(dim=1), weights)


def ctc_loss(
    logits: Tensor,
    logit_lengths: Tensor,
    targets: Tensor,
    target_lengths: Tensor,
    weights: Tensor | None = None,
) -> Loss:
    """Return the connectionist temporal classification loss of logits (n, steps, tokens); token 0 is the blank.

    `targets` are token ids (n, length); the lengths and `weights` are (n,). Source: Graves et al. 2006.
    `n_valid` is the number of target tokens, at least 1, without weights; with weights it is the number of
    examples of weight other than 0 and a target that is not empty (spec librispeech_conformer.md, 3).
    An example with too few steps for its target has an infinite loss; one with a token id that does not exist, or
    with NaN among its real steps, has a loss of NaN. An example of weight 0 has loss and gradient 0, whatever it
    holds. On an accelerator, PyTorch's kernel reads the lengths on the host and so waits for the device.
    """
    tokens = logits.shape[-1]
    if weights is not None:
        _require_shape("weights", weights, target_lengths.shape)
        counted = weights != 0
        # What an example of weight 0 holds must not reach the kernel: 0 times an infinite loss is NaN.
        logits = logits.masked_fill(~counted[:, None, None], 0.0)
        target_lengths = target_lengths * counted
    per_example = F.ctc_loss(
        logits.log_softmax(dim=-1).transpose(0, 1),
        targets.clamp(0, tokens - 1).long(),
        logit_lengths,
        target_lengths,
        reduction="none",
    )
    in_target = torch.arange(targets.shape[1], device=targets.device) < target_lengths.unsqueeze(1)
    unknown = (in_target & ((targets < 0) | (targets >= tokens))).any(dim=1)
    per_example = torch.where(unknown, torch.nan, 1.0) * per_example
    if weights is None:
        n_valid = target_lengths.sum().clamp(min=1)
    else:
        per_example = per_example * weights.to(per_example.dtype)
        n_valid = (target_lengths > 0).sum()
    n_valid = n_valid.to(per_example.dtype)
    return Loss(per_example.sum(), n_valid, per_example, n_valid.clamp(min=1))
