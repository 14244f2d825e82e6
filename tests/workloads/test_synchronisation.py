"""Nothing in a training step waits for the device: no decision in Python depends on what a tensor holds."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from every_variant import Tiny, every_variant
from torch import Tensor


def ctc_stand_in(log_probabilities: Tensor, *others: Tensor, reduction: str) -> Tensor:
    """PyTorch's own CTC kernels read the lengths on the host, the one wait of a step that is not ours to spare."""
    assert reduction == "none"
    return log_probabilities.sum(dim=(0, 2))


@every_variant
def test_a_step_needs_no_value(case: tuple[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the device `meta` have no values: `.item()`, `bool()`, `nonzero()` fail on them.

    So does mixing them with a tensor that was made on the CPU, as it would on an accelerator.
    """
    monkeypatch.setattr(F, "ctc_loss", ctc_stand_in)
    tiny = Tiny(case)
    model = tiny.model.to("meta")
    batch = {name: tensor.to("meta") for name, tensor in tiny.batch.items()}
    logits = tiny.half.forward(model, batch, train=True, update_batch_norm=True, dropout=None)
    loss = tiny.half.loss(batch, logits, label_smoothing=0.1)
    loss.mean.backward()
    weighted = {**batch, "weights": batch.get("weights", torch.ones_like(loss.per_example))}
    tiny.half.loss(weighted, logits.detach(), label_smoothing=0.1)
    with torch.no_grad():
        tiny.half.forward(model, batch, train=False, update_batch_norm=True, dropout=None)


@pytest.mark.parametrize("look", [Tensor.item, Tensor.tolist, bool, Tensor.nonzero, lambda x: x[x > 0]])
def test_the_device_meta_tells(look) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        look(torch.ones((), device="meta"))
