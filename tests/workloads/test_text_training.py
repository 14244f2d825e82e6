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
