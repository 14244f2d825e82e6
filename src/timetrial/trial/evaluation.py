"""Evaluating a model on every split: off the clock, and without a trace on the training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from timetrial.trial.seeds import Seeds
from timetrial.trial.stream import to_device
from timetrial.workloads.base import SPLITS, Data, HostBatch, TorchWorkload


def evaluate(
    workload: TorchWorkload,
    data: Data,
    model: nn.Module,
    *,
    batch_size: int,
    device: torch.device,
    seeds: Seeds,
    check: Callable[[HostBatch], None] | None = None,
) -> dict[str, float]:
    """Return the metrics of the three splits, as in `validation/accuracy`.

    `check` sees each batch before the model does, and raises UserError where it is no good; the splits never
    change, so that one evaluation with it is enough. Every random stream is as before afterwards. Raises
    RuntimeError where a split yields fewer or more examples than it has: a metric over anything else would be
    another benchmark's.
    """
    devices = [device] if device.type == "cuda" else []
    metrics: dict[str, float] = {}
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(seeds.stream("evaluation").generate_state(1)[0]))
        for split in SPLITS:
            expected = data.eval_examples(split)
            if expected == 0:
                continue
            evaluation = workload.evaluation()
            for batch in data.eval_batches(split, batch_size):
                if check is not None:
                    check(batch)
                evaluation.update(model, to_device(batch, device))
            if evaluation.examples != expected:
                raise RuntimeError(f"the {split} split gave {evaluation.examples} examples instead of {expected}")
            metrics |= {f"{split}/{name}": float(value) for name, value in evaluation.result().items()}
    return metrics
