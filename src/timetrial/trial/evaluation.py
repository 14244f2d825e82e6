"""Evaluating a model on every split: off the clock, and without a trace on the training."""

from __future__ import annotations

import torch
from torch import nn

from timetrial.trial.seeds import Seeds
from timetrial.trial.stream import to_device
from timetrial.workloads.base import Data, Split, TorchWorkload

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def evaluate(
    workload: TorchWorkload, data: Data, model: nn.Module, *, batch_size: int, device: torch.device, seeds: Seeds
) -> dict[str, float]:
    """Return the metrics of the three splits, as in `validation/accuracy`.

    Every random stream is as before afterwards. Raises RuntimeError where a split yields fewer or more examples
    than it has: a metric over anything else would be another benchmark's.
    """
    devices = [device] if device.type == "cuda" else []
    metrics: dict[str, float] = {}
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(seeds.stream("evaluation").generate_state(1)[0]))
        for split in _SPLITS:
            expected = data.eval_examples(split)
            if expected == 0:
                continue
            evaluation = workload.evaluation()
            for batch in data.eval_batches(split, batch_size):
                evaluation.update(model, to_device(batch, device))
            if evaluation.examples != expected:
                raise RuntimeError(f"the {split} split gave {evaluation.examples} examples instead of {expected}")
            metrics |= {f"{split}/{name}": float(value) for name, value in evaluation.result().items()}
    return metrics
