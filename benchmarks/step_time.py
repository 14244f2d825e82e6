"""Time a training step (forward, backward, AdamW) of a workload on one CPU thread.

    python benchmarks/step_time.py imagenet_resnet_silu --preset mini --batch-size 64 [--json]

Prints the median of the steps and of their three parts, in milliseconds, on random batches. Other work on the
machine makes the figures larger, never smaller: on a shared machine compare the smallest as well.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

import timetrial.workloads
from timetrial.errors import UnknownNameError, UserError
from timetrial.workloads.base import Workload


def find_workload(name: str, preset: str) -> Workload[Any]:
    """Build a workload by its folder's name, or a variant by that and its suffix, as in `imagenet_vit_glu`.

    Raises UnknownNameError for a name without a folder, and for a suffix or preset that the workload lacks.
    """
    root = Path(timetrial.workloads.__path__[0])
    names = [path.parent.name for path in root.glob("*/workload.py")]
    matching = [known for known in names if name == known or name.startswith(known + "_")]
    if not matching:
        raise UnknownNameError("workload", name, names)
    base = max(matching, key=len)
    module = importlib.import_module(f"timetrial.workloads.{base}.workload")
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, Workload) and found.__module__ == module.__name__:
            variant = name[len(base) + 1 :] or None
            if variant and variant not in found.variants:
                raise UnknownNameError(f"variant of {base}", variant, found.variants)
            return found(preset, variant)
    raise UnknownNameError("workload", name, names)


def time_steps(workload: Any, batch_size: int, steps: int, warm_up: int = 3) -> dict[str, float]:
    """Return the median milliseconds of a step and of its parts, the smallest step, and the parameter count."""
    torch.manual_seed(0)
    half = workload.torch()
    model = half.build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    arrays = workload.random_batch(np.random.default_rng(0), batch_size)
    batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
    parts: list[list[float]] = []
    for _ in range(warm_up + steps):
        marks = [time.perf_counter()]
        logits = half.forward(model, batch, train=True, update_batch_norm=True, dropout=None)
        loss = half.loss(batch, logits).mean
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        optimizer.zero_grad()
        marks.append(time.perf_counter())
        parts.append([1e3 * (end - start) for start, end in pairwise(marks)])
    timed = parts[warm_up:]
    totals = [sum(part) for part in timed]
    names = ("forward_ms", "backward_ms", "optimizer_ms")
    return {
        "step_ms": statistics.median(totals),
        "smallest_step_ms": min(totals),
        **{name: statistics.median(column) for name, column in zip(names, zip(*timed, strict=True), strict=True)},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a training step of a workload on one CPU thread.")
    parser.add_argument("workload", help="a folder of timetrial.workloads, or that and a variant's suffix")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20, help="timed steps, after three that are not")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        workload = find_workload(options.workload, options.preset)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    figures = time_steps(workload, options.batch_size, options.steps)
    if options.json:
        asked = {"workload": options.workload, "preset": options.preset, "batch_size": options.batch_size}
        print(json.dumps({**asked, **figures, "torch": torch.__version__}))
    else:
        print(f"{options.workload} {options.preset}, batch size {options.batch_size}")
        for name, figure in figures.items():
            print(f"  {name:<17}{figure:>12,.{0 if name == 'parameters' else 2}f}")


if __name__ == "__main__":
    main()
