"""Time a training step of the workloads: milliseconds of forward pass, backward pass and optimizer.

    python benchmarks/workload_steps.py [--workload ogbg_silu] [--preset mini] [--batch-size 64] [--compile] [--json]

By default every workload of the benchmark, one CPU thread and, where there is one, the accelerator; random batches,
PyTorch's AdamW. `--compile` times the compiled model beside the eager one. On the CPU a part's figure is its CPU time,
which other work on the machine moves much less than wall-clock time: the smallest of the steps, and beside the sum of
the parts the median. On an accelerator events on its stream time the same parts, so that nothing waits inside a step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from typing import Any, TypeAlias

import numpy as np
import torch

from timetrial.errors import UnknownNameError, UserError
from timetrial.trial.stream import to_device
from timetrial.workloads.base import Workload
from timetrial.workloads.registry import load_workload

BASES = (
    "criteo1tb",
    "fastmri",
    "imagenet_resnet",
    "imagenet_vit",
    "librispeech_conformer",
    "librispeech_deepspeech",
    "ogbg",
    "wmt",
    "finewebedu_lm",
)
"""The workloads of the public benchmark, in its order."""

FULL_BATCH_SIZE = 4
"""Default batch size at published size, where a suite's own would need days on a CPU."""

WARM_UP = 3
"""Steps that are not timed: the first allocate memory, choose kernels and, where asked, compile."""

PARTS = ("forward", "backward", "optimizer")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of a training step."""

    workload: str
    preset: str
    batch_size: int
    device: str
    compiled: bool
    forward: float
    """Forward pass and loss, the smallest of all steps; likewise the other parts."""
    backward: float
    optimizer: float
    step: float
    """The smallest whole step."""
    median_step: float
    median_wall: float
    """The median step by the wall clock; on an accelerator it includes what the host does between its kernels."""
    parameters: int


Marks: TypeAlias = Callable[[], Any]
"""Records a moment; what it returns is given in pairs to `Elapsed`."""
Elapsed: TypeAlias = Callable[[Any, Any], float]
"""Returns the milliseconds between two moments."""


def stopwatch(device: torch.device) -> tuple[Marks, Elapsed]:
    """Return how to mark moments on a device, and how to take their difference once it is synchronised."""
    if device.type == "cuda":
        return mark_event, lambda start, end: start.elapsed_time(end)
    return time.process_time_ns, lambda start, end: (end - start) / 1e6


def mark_event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def devices() -> Iterator[torch.device]:
    yield torch.device("cpu")
    if torch.cuda.is_available():
        yield torch.device("cuda")


def find_workload(name: str, preset: str) -> Workload[Any]:
    """Return a workload by its name, or a variant by that and its suffix, as in `imagenet_vit_glu`.

    Raises UnknownNameError for an unknown workload, suffix or preset.
    """
    base = max((base for base in BASES if f"{name}_".startswith(f"{base}_")), key=len, default=name)
    variant = name[len(base) + 1 :] or None
    workload = load_workload(base, preset)
    if variant and variant not in workload.variants:
        raise UnknownNameError(f"variant of {base}", variant, workload.variants)
    return load_workload(base, preset, variant)


def train_steps(
    workload: Workload[Any], batch_size: int, steps: int, device: torch.device, *, compiled: bool
) -> tuple[list[list[float]], list[float], int]:
    """Train; return the milliseconds of each step's parts and by the wall clock, and the number of parameters."""
    torch.manual_seed(0)
    half = workload.torch()
    model = half.build_model().to(device)
    if compiled:
        torch.compiler.reset()
        model.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=True)
    batch = to_device(workload.random_batch(np.random.default_rng(0), batch_size), device)
    mark, elapsed = stopwatch(device)
    parts, walls = [], []
    for _ in range(WARM_UP + steps):
        started = time.perf_counter()
        marks = [mark()]
        logits = half.forward(model, batch, train=True, update_batch_norm=True, dropout=None)
        loss = half.loss(batch, logits).mean
        marks.append(mark())
        loss.backward()
        marks.append(mark())
        optimizer.step()
        optimizer.zero_grad()
        marks.append(mark())
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        walls.append(1e3 * (time.perf_counter() - started))
        parts.append([elapsed(start, end) for start, end in pairwise(marks)])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return parts[WARM_UP:], walls[WARM_UP:], parameters


def time_workload(
    name: str, preset: str, batch_size: int | None, steps: int, device: torch.device, *, compiled: bool
) -> Timing:
    """Time `steps` steps; without a batch size the preset's default."""
    workload = find_workload(name, preset)
    size = batch_size or workload.batch_sizes.get(preset, FULL_BATCH_SIZE)
    parts, walls, parameters = train_steps(workload, size, steps, device, compiled=compiled)
    totals = [sum(step) for step in parts]
    smallest = {part: min(column) for part, column in zip(PARTS, zip(*parts, strict=True), strict=True)}
    return Timing(
        workload=name,
        preset=preset,
        batch_size=size,
        device=device.type,
        compiled=compiled,
        **smallest,
        step=min(totals),
        median_step=statistics.median(totals),
        median_wall=statistics.median(walls),
        parameters=parameters,
    )


def header() -> str:
    figures = "".join(f"{title:>10}" for title in (*PARTS, "step", "median", "wall"))
    return f"{'workload':<32}{'preset':<7}{'batch':>6} {'on':<5}{'compiled':<9}{figures}{'parameters':>13}"


def line(timing: Timing) -> str:
    milliseconds = (
        timing.forward,
        timing.backward,
        timing.optimizer,
        timing.step,
        timing.median_step,
        timing.median_wall,
    )
    figures = "".join(f"{figure:>10.2f}" for figure in milliseconds)
    compiled = "yes" if timing.compiled else "no"
    return (
        f"{timing.workload:<32}{timing.preset:<7}{timing.batch_size:>6} {timing.device:<5}{compiled:<9}"
        f"{figures}{timing.parameters:>13,}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time a training step of the workloads, in milliseconds.")
    parser.add_argument("--workload", action="append", help="name, maybe with a variant's suffix; repeatable")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--batch-size", type=int, help="default: the preset's own, and 4 at full size")
    parser.add_argument("--steps", type=int, default=20, help="timed steps, after three that are not")
    parser.add_argument("--compile", action="store_true", help="time the compiled model, too")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each timing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not options.json:
        print(header())
    try:
        for name, device in product(options.workload or BASES, devices()):
            for compiled in (False, True)[: 1 + options.compile]:
                timing = time_workload(
                    name, options.preset, options.batch_size, options.steps, device, compiled=compiled
                )
                as_json = json.dumps({**asdict(timing), "torch": torch.__version__})
                print(as_json if options.json else line(timing), flush=True)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
