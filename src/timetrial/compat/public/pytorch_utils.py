"""`algoperf.pytorch_utils`: the device, and what models of the public benchmark are put together from."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.compat.public.bn_classes import BatchNorm
from timetrial.compat.public.profiler import Profiler


def pytorch_setup() -> tuple[bool, int, torch.device, int]:
    """Return whether training is distributed, the rank, the device and the number of GPUs."""
    distributed = "LOCAL_RANK" in os.environ
    rank = int(os.environ["LOCAL_RANK"]) if distributed else 0
    device = torch.device(f"cuda:{rank}" if torch.cuda.is_available() else "cpu")
    return distributed, rank, device, torch.cuda.device_count()


def pytorch_init(use_pytorch_ddp: bool, rank: int, profiler: Profiler) -> None:
    """Do nothing: the trial sets PyTorch up."""


def sync_ddp_time(time: float, device: torch.device) -> float:
    """Return the time itself: one process trains."""
    return time


def update_batch_norm_fn(module: nn.Module, update_batch_norm: bool) -> None:
    """Switch one batch norm's moving statistics off by a momentum of zero, or back on (workloads/README.md, 3.6)."""
    if not isinstance(module, nn.modules.batchnorm._BatchNorm | BatchNorm):
        return
    if not update_batch_norm:
        module.__dict__.setdefault("momentum_backup", module.momentum)
        module.momentum = 0.0
    elif "momentum_backup" in module.__dict__:
        module.momentum = module.__dict__["momentum_backup"]


class CustomDropout(nn.Module):
    """Dropout whose rate comes with the call."""

    _supports_custom_dropout = True

    def forward(self, input: Tensor, p: float) -> Tensor:
        """Drop entries at rate p, in training."""
        return F.dropout(input, p, training=self.training)


class CustomDropout2d(nn.Module):
    """Dropout of whole channels whose rate comes with the call."""

    _supports_custom_dropout = True

    def forward(self, input: Tensor, p: float) -> Tensor:
        """Drop channels at rate p, in training."""
        return F.dropout2d(input, p, training=self.training)


class SequentialWithDropout(nn.Sequential):
    """A sequence that hands the rate on to the modules that take one."""

    _supports_custom_dropout = True

    def forward(self, x: Tensor, p: float) -> Tensor:  # type: ignore[override]  # the public signature
        """Apply the modules in order."""
        for module in self:
            x = module(x, p) if getattr(module, "_supports_custom_dropout", False) else module(x)
        return x
