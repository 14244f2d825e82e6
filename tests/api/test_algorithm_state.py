"""The default state of a training algorithm: what is saved, and that restoring goes into the same objects."""

import copy
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import nn

from timetrial.api import TrainingAlgorithm


class Stateful(TrainingAlgorithm):
    def __init__(self) -> None:
        self.model = nn.Linear(2, 2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.weights = list(self.model.parameters())
        self.average = [torch.zeros(2), torch.zeros(3)]
        self.recent: deque[Any] = deque([torch.zeros(1)], maxlen=4)
        self.count = 0
        self.norms = {"last": np.zeros(2)}
        self.function = lambda x: x


def train(algorithm: Stateful, steps: int) -> None:
    for _ in range(steps):
        algorithm.optimizer.zero_grad()
        algorithm.model(torch.ones(1, 2)).square().sum().backward()
        algorithm.optimizer.step()
        algorithm.average[0] += 1
        algorithm.recent.append(torch.full((1,), float(algorithm.count)))
        algorithm.count += 1
        algorithm.norms["last"] = np.full(2, algorithm.count)


def test_parameters_and_functions_are_left_to_setup() -> None:
    assert set(Stateful().state_dict()) == {"model", "optimizer", "average", "recent", "count", "norms"}


def test_a_restored_algorithm_goes_on_exactly() -> None:
    first = Stateful()
    train(first, 3)
    state = copy.deepcopy(first.state_dict())  # as a checkpoint does
    second = Stateful()
    average = second.average[0]
    second.load_state_dict(state)
    assert second.average[0] is average, "tensors are restored in place: others may hold on to them"
    assert second.recent.maxlen == 4
    assert [float(value) for value in second.recent] == [0.0, 0.0, 1.0, 2.0]
    assert second.count == 3
    np.testing.assert_array_equal(second.norms["last"], [3, 3])
    train(first, 2)
    train(second, 2)
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
