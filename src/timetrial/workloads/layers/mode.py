"""Train or evaluation mode, set by each call so that nothing is left over from the one before."""

from __future__ import annotations

from torch import nn

_FLAG = "_batch_norm_updates"


def set_mode(model: nn.Module, *, train: bool, update_batch_norm: bool) -> None:
    """Set the mode of `model`, and whether a training pass moves its batch norms' running statistics.

    Modules are only walked through when something changes: this runs in every step.
    """
    if model.training is not train:
        model.train(train)
    if train and model.__dict__.get(_FLAG, True) is not update_batch_norm:
        for module in model.modules():
            if getattr(module, "running_mean", None) is not None:
                # In training, PyTorch's norms then use batch statistics and leave every buffer alone.
                module.track_running_stats = update_batch_norm  # type: ignore[assignment]
        setattr(model, _FLAG, update_batch_norm)
