"""Tasks with more in them than the toy problems: something of every kind, and the tiny workloads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from toy import ToyTask

from timetrial.trial.stream import to_device
from timetrial.workloads.registry import load_workload


class Network(nn.Module):
    """Something of every kind: embedding, convolution, norms, matrices, an output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 8)
        # Without a bias: before a batch norm its gradient is nothing but rounding.
        self.convolution = nn.Conv1d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.LayerNorm(8)
        self.batch_norm = nn.BatchNorm1d(8)
        self.hidden = nn.Linear(8, 16)
        self.output = nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = torch.arange(len(inputs) * 5).reshape(len(inputs), 5) % 7
        x = self.batch_norm(self.convolution(self.embedding(tokens).mT)).mT
        x = self.output(torch.tanh(self.hidden(self.norm(x)))).mean(dim=1)
        return nn.functional.cross_entropy(x, torch.arange(len(x)) % 3, reduction="none")


def network_task() -> ToyTask:
    torch.manual_seed(0)
    task = ToyTask(Network(), step_hint=40, output_parameters=frozenset({"output.weight", "output.bias"}))
    task.generator.manual_seed(1)
    return task


class WorkloadTask(ToyTask):
    """A tiny workload with one random batch."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        workload = load_workload(name, "tiny")
        half = workload.torch()
        model = half.build_model()
        super().__init__(
            model, step_hint=20, output_parameters=half.output_parameters(model), loss_type=workload.loss_type
        )
        self.half = half
        batch = workload.random_batch(np.random.default_rng(0), workload.batch_sizes["tiny"])
        self.batch = to_device(batch, self.device)

    @property
    def parameter_kinds(self) -> Any:
        return self.half.parameter_kinds(self.model)

    def forward(self, batch: Any, **options: Any) -> Tensor:
        return self.half.forward(self.model, batch, **options)

    def loss(self, batch: Any, logits: Tensor, *, label_smoothing: float = 0.0) -> Any:
        return self.half.loss(batch, logits, label_smoothing=label_smoothing)

    def backward(self, batch: Any, *, label_smoothing: float = 0.0, **options: Any) -> Any:
        loss = self.loss(batch, self.forward(batch, **options), label_smoothing=label_smoothing)
        loss.mean.backward()
        return loss
