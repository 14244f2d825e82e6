"""A weight multiplier changes the unit of learning rates and nothing else."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from every_variant import BASES, VARIANTS, Tiny, assert_equal, name_of, pass_through
from torch import nn

from timetrial.workloads.multiplied_torch import MultipliedTorch
from timetrial.workloads.registry import load_workload

MULTIPLIER = 4.0
OWNERS = [base for base in BASES if load_workload(base, "tiny").weight_multipliers]
"""The workloads that have a multiplier at some preset."""


def halves(tiny: Tiny) -> tuple[MultipliedTorch, nn.Module]:
    """Return the half with a multiplier, and the model that it builds from the same chance as `tiny.model`."""
    half = MultipliedTorch(tiny.half, MULTIPLIER, tiny.workload.multiplied_kinds)
    torch.manual_seed(0)
    return half, half.build_model()


def units(tiny: Tiny) -> dict[str, float]:
    """Return what each of a model's parameters is multiplied by."""
    kinds, chosen = tiny.half.parameter_kinds(tiny.model), tiny.workload.multiplied_kinds
    return {
        name: MULTIPLIER if weight.ndim >= 2 and (chosen is None or kinds[name] in chosen) else 1.0
        for name, weight in tiny.model.named_parameters()
    }


@pytest.mark.parametrize("case", [case for case in VARIANTS if case[0] in OWNERS], ids=name_of)
def test_the_function_is_the_same_and_gradients_are_multiplied(case: tuple[str, str | None]) -> None:
    tiny = Tiny(case)
    half, model = halves(tiny)
    plain = deepcopy(tiny.model)
    logits = {}
    for name, each, built in (("plain", tiny.half, plain), ("multiplied", half, model)):
        torch.manual_seed(1)
        logits[name] = each.forward(built, tiny.batch, train=True, update_batch_norm=True, dropout=0.0)
        each.loss(tiny.batch, logits[name]).mean.backward()
    torch.testing.assert_close(logits["multiplied"], logits["plain"])
    unit_of = units(tiny)
    for (name, weight), (shown, own) in zip(plain.named_parameters(), model.named_parameters(), strict=True):
        unit = unit_of[name]
        assert shown == name
        torch.testing.assert_close(own * unit, weight)
        assert (own.grad is None) == (weight.grad is None)
        if weight.grad is not None and own.grad is not None:
            torch.testing.assert_close(own.grad / unit, weight.grad, rtol=1e-4, atol=1e-6)
    for buffer, expected in zip(model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected)


@pytest.mark.parametrize("name", OWNERS)
def test_a_step_of_adam_goes_as_far_as_one_at_a_multiple_of_its_rate(name: str) -> None:
    """Twice, so that a model whose parameters were left multiplied, or with a used graph, would show."""
    tiny = Tiny((name, None))
    half, model = halves(tiny)
    unit_of = units(tiny)
    rates = [{"params": [weight], "lr": 1e-3 * unit_of[name]} for name, weight in tiny.model.named_parameters()]
    # So small an epsilon that it does not count beside gradients that differ by the multiplier.
    optimizers = [torch.optim.Adam(rates, eps=1e-30), torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-30)]
    before = [weight.detach().clone() for weight in tiny.model.parameters()]
    for _ in range(2):
        for each, built, optimizer in zip((tiny.half, half), (tiny.model, model), optimizers, strict=True):
            torch.manual_seed(1)
            optimizer.zero_grad()
            logits = each.forward(built, tiny.batch, train=True, update_batch_norm=True, dropout=0.0)
            each.loss(tiny.batch, logits).mean.backward()
            optimizer.step()
    moved = 0.0
    for old, (shown, plain), own in zip(before, tiny.model.named_parameters(), model.parameters(), strict=True):
        apart = (own * unit_of[shown] - plain).abs()
        # Adam's step has the size of the rate whatever the gradient's: one of rounding's size has a sign by chance.
        assert (apart > 1e-4).float().mean() < 0.05
        moved = max(moved, (plain - old).abs().max().item())
    assert moved > 1e-3


@pytest.mark.parametrize("name", ["finewebedu_lm", "librispeech_conformer", "imagenet_vit"])
def test_an_evaluation_sees_the_multiplied_model(name: str) -> None:
    tiny = Tiny((name, None))
    half, model = halves(tiny)
    arrays = next(iter(tiny.workload.data().eval_batches("validation", 4)))
    batch = {key: torch.from_numpy(np.ascontiguousarray(array)) for key, array in arrays.items()}
    found = []
    for each, built in ((tiny.half, tiny.model), (half, model)):
        evaluation = each.evaluation()
        evaluation.update(built, batch)
        found.append((evaluation.examples, evaluation.result()))
    (examples, plain), (own_examples, own) = found
    assert own_examples == examples > 0
    assert own == pytest.approx(plain, rel=1e-5)


def test_of_translation_the_embedding_alone_is_multiplied() -> None:
    """It is stored with the usual deviation, and the rest as it is elsewhere."""
    tiny = Tiny(("wmt", None))
    assert {name for name, unit in units(tiny).items() if unit != 1.0} == {"shared_embedding.weight"}
    model = load_workload("wmt", "mini").torch().build_model()
    assert float(model.shared_embedding.weight.detach().std()) == pytest.approx(0.02, rel=0.02)  # type: ignore[union-attr]


def test_a_shared_embedding_stays_one_parameter() -> None:
    """It is one module in three places; each of them must have the parameter back."""
    tiny = Tiny(("wmt", None))
    half, model = halves(tiny)
    before = dict(model.named_parameters(remove_duplicate=False))
    half.forward(model, tiny.batch, train=True, update_batch_norm=True, dropout=0.0)
    after = dict(model.named_parameters(remove_duplicate=False))
    assert before.keys() == after.keys()
    assert all(after[name] is weight for name, weight in before.items())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo looks at all its inputs'
def test_a_compiled_model_is_multiplied_too() -> None:
    tiny = Tiny(("librispeech_conformer", None))
    half, model = halves(tiny)
    eager = pass_through(half, model, tiny.batch)
    assert_equal(pass_through(half, model, tiny.batch, backend="aot_eager"), eager, tolerance=1e-5)
    torch.compiler.reset()


def test_what_speech_has_beside_the_protocol_is_there() -> None:
    tiny = Tiny(("librispeech_conformer", None))
    half, _ = halves(tiny)
    assert torch.equal(half.steps(tiny.batch), tiny.half.steps(tiny.batch))


@pytest.mark.parametrize("name", BASES)
def test_only_mini_has_one(name: str) -> None:
    """The published models are used as they are stored."""
    workload = load_workload(name, "tiny")
    assert set(workload.weight_multipliers) <= {"mini"}
    assert not isinstance(workload.torch(), MultipliedTorch)
    if name in OWNERS:
        assert isinstance(load_workload(name, "mini").torch(), MultipliedTorch)
