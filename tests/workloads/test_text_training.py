"""What must hold of both text workloads and all their variants: they train, mask and compile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from timetrial.api import Batch
from timetrial.errors import UserError
from timetrial.workloads.finewebedu_lm.workload import FinewebeduLm
from timetrial.workloads.wmt.workload import Wmt

CASES = [(Wmt, None), *((Wmt, variant) for variant in Wmt.variants), (FinewebeduLm, None)]
cases = pytest.mark.parametrize(("workload_class", "variant"), CASES)


class Tiny:
    """A tiny model with its workload's PyTorch half and a random batch."""

    def __init__(self, workload_class: type[Any], variant: str | None) -> None:
        torch.manual_seed(0)
        workload = workload_class("tiny", variant)
        self.workload = workload.torch()
        self.model = self.workload.build_model()
        arrays = workload.random_batch(np.random.default_rng(0), 4)
        self.batch: Batch = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def forward(self, *, train: bool = True, dropout: float | None = 0.0) -> torch.Tensor:
        return self.workload.forward(self.model, self.batch, train=train, update_batch_norm=True, dropout=dropout)


@cases
def test_twenty_steps_of_adamw_lower_the_loss(workload_class: type[Any], variant: str | None) -> None:
    tiny = Tiny(workload_class, variant)
    optimizer = torch.optim.AdamW(tiny.model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = tiny.workload.loss(tiny.batch, tiny.forward()).mean
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


@cases
def test_zero_weights_give_no_loss_and_no_gradient(workload_class: type[Any], variant: str | None) -> None:
    tiny = Tiny(workload_class, variant)
    tiny.batch["weights"] = torch.zeros_like(tiny.batch["targets"])
    loss = tiny.workload.loss(tiny.batch, tiny.forward(), label_smoothing=0.1)
    loss.summed.backward()
    assert loss.summed.item() == loss.n_valid.item() == 0.0
    for parameter in tiny.model.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


@cases
def test_an_empty_row_gives_no_nan(workload_class: type[Any], variant: str | None) -> None:
    """A row of padding, as the last evaluation batch may have."""
    tiny = Tiny(workload_class, variant)
    for array in tiny.batch.values():
        array[-1] = 0
    logits = tiny.forward()
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tiny.model.parameters())


@cases
def test_every_call_sets_the_mode(workload_class: type[Any], variant: str | None) -> None:
    """Evaluation ignores the rate; dropout drops in training where the workload has any."""
    tiny = Tiny(workload_class, variant)
    expected = tiny.forward(train=False, dropout=0.5)
    assert not tiny.model.training
    torch.testing.assert_close(tiny.forward(train=True, dropout=0.0), expected)
    assert tiny.model.training
    drops = not torch.allclose(tiny.forward(train=True, dropout=None), expected)
    assert drops == (workload_class is Wmt)
    torch.testing.assert_close(tiny.forward(train=False), expected)


@cases
def test_building_draws_on_the_global_generator_alone(workload_class: type[Any], variant: str | None) -> None:
    first, second = (Tiny(workload_class, variant).model.state_dict() for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@cases
def test_too_long_rows_are_refused(workload_class: type[Any], variant: str | None) -> None:
    tiny = Tiny(workload_class, variant)
    tiny.batch = {name: torch.cat([array, array], dim=1) for name, array in tiny.batch.items()}
    with pytest.raises(UserError, match="tokens, found"):
        tiny.forward()


@cases
def test_tokens_outside_the_vocabulary_are_refused(workload_class: type[Any], variant: str | None) -> None:
    tiny = Tiny(workload_class, variant)
    tiny.batch["inputs"][0, 0] = tiny.workload.config.vocabulary
    with pytest.raises(IndexError):
        tiny.forward()


@pytest.mark.parametrize("workload_class", [Wmt, FinewebeduLm])
def test_there_is_no_data_yet(workload_class: type[Any]) -> None:
    with pytest.raises(UserError, match="no input pipeline"):
        workload_class("mini").data()
