"""What every workload with data must keep, at preset `tiny`."""

import numpy as np
import pytest
import torch
from every_variant import BASES

from timetrial.api import ParameterKind
from timetrial.trial.evaluation import evaluate
from timetrial.trial.seeds import Seeds
from timetrial.trial.stream import to_device
from timetrial.workloads.base import Workload
from timetrial.workloads.digits_mlp.workload import DigitsMlp
from timetrial.workloads.digits_resnet.workload import DigitsResnet
from timetrial.workloads.registry import load_workload

CPU = torch.device("cpu")
WORKLOADS = [DigitsMlp, DigitsResnet]


@pytest.fixture(params=WORKLOADS, ids=lambda workload: workload.__name__)
def workload(request: pytest.FixtureRequest) -> Workload:
    return request.param("tiny")


def test_initialisation_follows_the_seed(workload: Workload) -> None:
    half = workload.torch()
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(torch.cat([weight.flatten() for weight in half.build_model().parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_every_parameter_has_a_kind(workload: Workload) -> None:
    half = workload.torch()
    model = half.build_model()
    names = [name for name, _ in model.named_parameters()]
    kinds = half.parameter_kinds(model)
    assert list(kinds) == names
    assert set(kinds.values()) <= set(ParameterKind)
    assert half.output_parameters(model) == {"output.weight", "output.bias"}


def test_kinds_are_what_parameters_are() -> None:
    half = DigitsResnet("tiny").torch()
    kinds = half.parameter_kinds(half.build_model())
    assert kinds["stem.weight"] is ParameterKind.CONV_WEIGHT
    assert kinds["blocks.0.norm1.weight"] is ParameterKind.BATCH_NORM_SCALE
    assert kinds["norm.bias"] is ParameterKind.BATCH_NORM_BIAS
    assert kinds["output.weight"] is ParameterKind.WEIGHT
    assert kinds["output.bias"] is ParameterKind.BIAS


def test_evaluation_leaves_no_trace(workload: Workload) -> None:
    half, data = workload.torch(), workload.data()
    model = half.build_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    results = [evaluate(half, data, model, batch_size=size, device=CPU, seeds=Seeds(0)) for size in (400, 77)]
    assert torch.equal(torch.get_rng_state(), generator)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        assert results[1][name] == pytest.approx(value, rel=1e-5), "the evaluation batch changes nothing"


def test_a_split_of_the_wrong_size_is_an_error(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    data = workload.data()
    short = workload.data().train_source(np.random.SeedSequence(0), 300).batch(0)
    monkeypatch.setattr(type(data), "eval_batches", lambda self, split, size: iter([short]))
    half = workload.torch()
    model = half.build_model()
    with pytest.raises(RuntimeError, match="the train split gave 300 examples instead of 400"):
        evaluate(half, data, model, batch_size=300, device=CPU, seeds=Seeds(0))


def test_batch_norm_updates_only_when_asked() -> None:
    workload = DigitsResnet("tiny")
    half = workload.torch()
    model = half.build_model()
    batch = to_device(workload.data().train_source(np.random.SeedSequence(0), 16).batch(0), CPU)

    def buffers() -> list[torch.Tensor]:
        return [buffer.clone() for buffer in model.buffers()]

    def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))

    start = buffers()
    frozen = half.forward(model, batch, train=True, update_batch_norm=False, dropout=None)
    assert same(buffers(), start)
    moving = half.forward(model, batch, train=True, update_batch_norm=True, dropout=None)
    assert not same(buffers(), start)
    assert torch.equal(frozen, moving), "both normalise by the batch"
    moved = buffers()
    evaluated = half.forward(model, batch, train=False, update_batch_norm=False, dropout=None)
    assert same(buffers(), moved)
    assert not torch.equal(evaluated, moving)
    half.forward(model, batch, train=True, update_batch_norm=False, dropout=None)
    assert same(buffers(), moved), "the mode is set by each call"


def test_losses_agree_with_their_definition(workload: Workload) -> None:
    half = workload.torch()
    model = half.build_model()
    batch = to_device(workload.data().train_source(np.random.SeedSequence(0), 8).batch(0), CPU)
    logits = half.forward(model, batch, train=True, update_batch_norm=True, dropout=None)
    batch["weights"] = torch.tensor([1, 0, 1, 1, 0, 1, 1, 1])
    loss = half.loss(batch, logits, label_smoothing=0.2)
    logp = logits.log_softmax(-1)
    picked = logp[torch.arange(8), batch["targets"]]
    expected = -(0.8 * picked + 0.2 * logp.mean(-1)) * batch["weights"]
    torch.testing.assert_close(loss.per_example, expected)
    torch.testing.assert_close(loss.summed, expected.sum())
    assert float(loss.n_valid) == 6.0
    torch.testing.assert_close(loss.mean, expected.sum() / 6)
    batch["weights"].zero_()
    assert float(half.loss(batch, logits).mean.detach()) == 0.0


@pytest.mark.parametrize("name", BASES)
def test_models_of_a_name_are_told_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what presets and variants change, and by the weight multiplier and what it multiplies."""
    tiny = load_workload(name, "tiny")
    others = [load_workload(name, preset) for preset in tiny.presets]
    others += [load_workload(name, "tiny", variant) for variant in tiny.variants]
    for other in others:
        assert (other.model_identity() == tiny.model_identity()) == (other.config == tiny.config)
    before = tiny.model_identity()
    monkeypatch.setattr(type(tiny), "weight_multipliers", {"tiny": 3.0})
    multiplied = tiny.model_identity()
    monkeypatch.setattr(type(tiny), "multiplied_kinds", frozenset({ParameterKind.BIAS}))
    assert len({before, multiplied, tiny.model_identity()}) == 3
