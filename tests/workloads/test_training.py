"""Every workload and variant trains, ignores what has no weight, and starts from its seed alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from every_variant import Tiny, every_base, every_variant

from timetrial.errors import UserError


def forward(tiny: Tiny, *, train: bool = False, dropout: float | None = 0.0) -> torch.Tensor:
    return tiny.half.forward(tiny.model, tiny.batch, train=train, update_batch_norm=True, dropout=dropout)


@every_variant
def test_twenty_steps_of_adamw_lower_the_loss(case: tuple[str, str | None]) -> None:
    """On the batch that they are made on, with the default dropout."""
    tiny = Tiny(case)
    optimizer = torch.optim.AdamW(tiny.model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = tiny.half.loss(tiny.batch, forward(tiny, train=True, dropout=None)).mean
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@every_variant
def test_a_batch_without_weight_has_no_loss_and_no_gradient(case: tuple[str, str | None]) -> None:
    tiny = Tiny(case)
    logits = forward(tiny, train=True)
    per_example = tiny.half.loss(tiny.batch, logits).per_example
    batch = {**tiny.batch, "weights": torch.zeros_like(per_example)}
    loss = tiny.half.loss(batch, logits, label_smoothing=0.1)
    assert loss.summed.item() == loss.n_valid.item() == 0
    loss.summed.backward()
    for name, parameter in tiny.model.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


@every_variant
def test_building_is_a_function_of_the_seed(case: tuple[str, str | None]) -> None:
    first, second = Tiny(case).model.state_dict(), Tiny(case).model.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(1)
    other = Tiny(case).half.build_model().state_dict()
    assert any(not torch.equal(first[name], other[name]) for name in first)


@every_variant
def test_every_call_sets_the_mode(case: tuple[str, str | None]) -> None:
    """An evaluation ignores the dropout rate and what training calls left behind."""
    tiny = Tiny(case)
    before = forward(tiny, dropout=0.5)
    assert not tiny.model.training
    tiny.half.forward(tiny.model, tiny.batch, train=True, update_batch_norm=False, dropout=0.5)
    assert tiny.model.training
    assert torch.equal(forward(tiny), before)


@every_base
def test_data_are_there_or_it_is_said_that_they_are_not(
    case: tuple[str, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMETRIAL_DATA", str(tmp_path))
    workload = Tiny(case).workload
    if workload.datasets or case[0].startswith("digits"):
        assert workload.data().train_examples > 0
    else:
        with pytest.raises(UserError, match="is not there; `timetrial data prepare"):
            workload.data()
