"""The machine a trial runs on: made ready, described for the record, and checked at the end."""

from __future__ import annotations

import os
import platform
import socket
from operator import attrgetter
from typing import Any

import numpy as np
import psutil
import torch
import torch._dynamo  # PyTorch imports it when the first optimizer is built: a second that is on nobody's clock

import timetrial
from timetrial.records.plan import TrialPlan


def make_ready(plan: TrialPlan) -> torch.device:
    """Set threads and precision as the suite says, subnormal numbers to zero, and return the device."""
    torch.set_num_threads(plan.protocol.threads or _usable_cores())
    torch.set_default_dtype(torch.float32)
    torch.backends.fp32_precision = "ieee"  # type: ignore[attr-defined]  # float32 means float32: no TF32, no bfloat16 passes
    # A processor takes a hundred times as long over a subnormal number, an accelerator does not: what an algorithm lets
    # decay towards zero would cost seconds that say little about it.
    torch.set_flush_denormal(True)
    return torch.device(plan.device)


def check_unchanged(plan: TrialPlan) -> None:
    """Raise RuntimeError where a submission changed what the suite fixes: threads or precision."""
    settings = {
        "torch.get_num_threads()": (torch.get_num_threads(), plan.protocol.threads or _usable_cores()),
        "torch.get_default_dtype()": (torch.get_default_dtype(), torch.float32),
        "torch.get_float32_matmul_precision()": (torch.get_float32_matmul_precision(), "highest"),
        "torch.backends.cuda.matmul.fp32_precision": (_precision("cuda.matmul"), "ieee"),
        "torch.backends.cudnn.conv.fp32_precision": (_precision("cudnn.conv"), "ieee"),
    }
    for name, (found, fixed) in settings.items():
        if found != fixed:
            raise RuntimeError(f"the submission changed what the suite fixes: {name} is {found}, must be {fixed}")


def describe(device: torch.device) -> dict[str, Any]:
    """Return versions and hardware as plain data."""
    return {
        "versions": {
            "timetrial": timetrial.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "host": socket.gethostname(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": psutil.cpu_count(logical=False),
        "usable_cores": _usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def synchronize(device: torch.device) -> None:
    """Wait until the accelerator has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def processor() -> str:
    """Return the processor's name, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _precision(backend: str) -> str:
    """Return a backend's float32 setting; PyTorch's annotations do not know these attributes."""
    return str(attrgetter(backend)(torch.backends).fp32_precision)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
