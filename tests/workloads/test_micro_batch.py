"""Training in pieces of a batch gives the loss and the gradients of the whole."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from every_variant import BASES, VARIANTS, Tiny, every_base, name_of
from torch import Tensor

from timetrial.api import Batch, Loss
from timetrial.errors import UserError
from timetrial.trial.accumulation import backward_in_pieces
from timetrial.trial.task import TrialTask

EXAMPLES = 6

BATCH_NORM_BASES = {"cifar", "digits_resnet", "imagenet_resnet", "librispeech_conformer", "librispeech_deepspeech"}
BATCH_NORM = [
    case for case in VARIANTS if case[0] in BATCH_NORM_BASES and case != ("librispeech_deepspeech", "norm_and_spec_aug")
]


class SeenTask(TrialTask):
    """The methods of a trial's task, of a model without a trial around it."""

    def __init__(self, tiny: Tiny) -> None:
        self._workload = tiny.half
        self.model = tiny.model
        self.forward = partial(tiny.half.forward, tiny.model)
        self.loss = tiny.half.loss

    def gradients(self, batch: Batch, **options: Any) -> tuple[Loss, dict[str, Tensor]]:
        """Return the loss, and the gradients added by a backward pass."""
        self.model.zero_grad()
        loss = self.backward(batch, dropout=0.0, **options)
        return loss, {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}


def without_randomness(tiny: Tiny) -> Tiny:
    if hasattr(tiny.workload.config, "spec_augment"):
        tiny.workload.config = replace(tiny.workload.config, spec_augment=None)
        tiny.half = tiny.workload.torch()
        tiny.model = tiny.half.build_model()
    return tiny


def assert_same(found: tuple[Loss, dict[str, Tensor]], expected: tuple[Loss, dict[str, Tensor]]) -> None:
    """Losses agree to 1e-5, gradients to 1e-5 of the largest entry of any."""
    for form in ("summed", "n_valid", "per_example"):
        torch.testing.assert_close(getattr(found[0], form), getattr(expected[0], form), rtol=1e-5, atol=1e-5)
    assert not found[0].summed.requires_grad
    assert found[1].keys() == expected[1].keys()
    largest = max(float(gradient.abs().max()) for gradient in expected[1].values())
    assert largest > 0
    for name, gradient in expected[1].items():
        torch.testing.assert_close(
            found[1][name], gradient, rtol=0, atol=1e-5 * largest, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_batch_norms_are_known() -> None:
    found = [case for case in VARIANTS if any("running_mean" in name for name, _ in Tiny(case).model.named_buffers())]
    assert found == BATCH_NORM


@pytest.mark.parametrize("case", [case for case in VARIANTS if case not in BATCH_NORM], ids=name_of)
def test_pieces_equal_the_whole(case: tuple[str, str | None]) -> None:
    tiny = without_randomness(Tiny(case, EXAMPLES))
    task = SeenTask(tiny)
    whole = task.gradients(tiny.batch, label_smoothing=0.1)
    for size in (1, 4, EXAMPLES, 100):
        assert_same(task.gradients(tiny.batch, label_smoothing=0.1, micro_batch=size), whole)


@pytest.mark.parametrize("case", BATCH_NORM, ids=name_of)
def test_pieces_with_batch_norm(case: tuple[str, str | None]) -> None:
    """Where all pieces hold the same examples, their statistics are those of the whole."""
    tiny = without_randomness(Tiny(case, EXAMPLES))
    task = SeenTask(tiny)
    repeated = {name: torch.cat([tensor] * 3) for name, tensor in tiny.batch.items()}
    whole = task.gradients(repeated, update_batch_norm=False)
    assert_same(task.gradients(repeated, update_batch_norm=False, micro_batch=EXAMPLES), whole)


@pytest.mark.parametrize("base", [base for base in BASES if base not in BATCH_NORM_BASES | {"ogbg"}])
def test_weights_count_over_the_whole_batch(base: str) -> None:
    """Pieces without any, with few and with many valid examples: each counts by its examples, not as a piece."""
    tiny = Tiny((base, None), EXAMPLES)
    task = SeenTask(tiny)
    weights = torch.ones_like(task.gradients(tiny.batch)[0].per_example)
    weights[[0, 1, 2]] = 0
    batch = {**tiny.batch, "weights": weights}
    assert_same(task.gradients(batch, micro_batch=2), task.gradients(batch))


@every_base
def test_the_whole_is_the_mean_loss(case: tuple[str, str | None]) -> None:
    """Without `micro_batch` a call is exactly forward, loss and the backward pass of the mean."""
    tiny = without_randomness(Tiny(case, EXAMPLES))
    task = SeenTask(tiny)
    loss, gradients = task.gradients(tiny.batch, label_smoothing=0.1, update_batch_norm=False)
    tiny.model.zero_grad()
    expected = task.loss(
        tiny.batch, task.forward(tiny.batch, dropout=0.0, update_batch_norm=False), label_smoothing=0.1
    )
    expected.mean.backward()
    assert torch.equal(loss.mean, expected.mean)
    for name, parameter in tiny.model.named_parameters():
        if parameter.grad is not None:
            assert torch.equal(gradients[name], parameter.grad)


def test_gradients_are_added_to_those_there() -> None:
    tiny = Tiny(("digits_mlp", None), EXAMPLES)
    task = SeenTask(tiny)
    _, once = task.gradients(tiny.batch)
    expected = {name: 2 * gradient for name, gradient in once.items()}
    task.gradients(tiny.batch)
    task.backward(tiny.batch, dropout=0.0, micro_batch=4)
    for name, parameter in tiny.model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-5, atol=1e-7)


def test_a_parameter_without_gradient_stays_so() -> None:
    model = torch.nn.ModuleDict({"used": torch.nn.Linear(2, 1), "unused": torch.nn.Linear(2, 1)})

    def loss_of(batch: Batch) -> Loss:
        errors = model["used"](batch["inputs"]).flatten().square()
        return Loss(errors.sum(), torch.tensor(float(len(errors))), errors)

    backward_in_pieces(model, [{"inputs": torch.ones(1, 2)}, {"inputs": torch.ones(2, 2)}], loss_of)
    assert model["unused"].weight.grad is None
    assert model["used"].weight.grad is not None


def test_batch_norm_sees_every_piece() -> None:
    """Running statistics move once a piece, and not at all where the call says so."""
    tiny = Tiny(("imagenet_resnet", None), EXAMPLES)
    task = SeenTask(tiny)
    task.gradients(tiny.batch, micro_batch=2, update_batch_norm=False)
    assert tiny.model.bn1.num_batches_tracked == 0
    task.gradients(tiny.batch, micro_batch=2)
    assert tiny.model.bn1.num_batches_tracked == 3


@every_base
def test_pieces_in_a_row_are_the_batch(case: tuple[str, str | None]) -> None:
    tiny = Tiny(case, EXAMPLES)
    pieces = list(tiny.half.split(tiny.batch, 4))
    for name, whole in tiny.batch.items():
        if name not in {"senders", "receivers"}:
            assert torch.equal(torch.cat([piece[name] for piece in pieces]), whole)


def test_graphs_are_cut_between_graphs() -> None:
    """Each piece's edges join nodes of that piece: the same ones as in the batch, counted from the piece's first."""
    tiny = Tiny(("ogbg", None), EXAMPLES)
    pieces = list(tiny.half.split(tiny.batch, 2))
    assert [len(piece["n_node"]) for piece in pieces] == [2, 2, 2, 1]
    sizes = [len(piece["inputs"]) for piece in pieces]
    assert sizes == [int(piece["n_node"].sum()) for piece in pieces]
    offsets = [sum(sizes[:number]) for number in range(len(sizes))]
    for ends in ("senders", "receivers"):
        for piece, size in zip(pieces, sizes, strict=True):
            assert ((piece[ends] >= 0) & (piece[ends] < size)).all()
        numbered = [piece[ends] + offset for piece, offset in zip(pieces, offsets, strict=True)]
        assert torch.equal(torch.cat(numbered), tiny.batch[ends])


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_that_is_none_is_refused(size: int) -> None:
    tiny = Tiny(("digits_mlp", None), EXAMPLES)
    with pytest.raises(UserError, match="micro_batch: expected a positive number"):
        SeenTask(tiny).backward(tiny.batch, micro_batch=size)
