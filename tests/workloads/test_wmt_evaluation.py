"""BLEU, accuracy and loss of a streamed evaluation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from timetrial.api import Batch
from timetrial.errors import UserError
from timetrial.workloads.wmt.evaluation_torch import WmtEvaluation, sentence
from timetrial.workloads.wmt.model_torch import WmtTorch
from timetrial.workloads.wmt.workload import Wmt, ids_as_words

TINY = Wmt("tiny")
SPLIT = 7


class Fixed(WmtTorch):
    """A workload whose model predicts tokens that a test has chosen, with probability 1 - 4e-9."""

    def __init__(self, predicted: Tensor) -> None:
        super().__init__(TINY.config)
        self._predicted = predicted

    def forward(
        self, model: nn.Module, batch: Batch, *, train: bool, update_batch_norm: bool, dropout: float | None
    ) -> Tensor:
        assert not train
        assert dropout == 0.0
        return 20.0 * nn.functional.one_hot(self._predicted, TINY.config.vocabulary).float()


def sentences(rows: int, seed: int = 0) -> Batch:
    """Sentence pairs as an evaluation has them: one a row, ended, padded."""
    random = np.random.default_rng(seed)
    batch = {}
    for side in ("inputs", "targets"):
        tokens = random.integers(3, TINY.config.vocabulary, size=(rows, TINY.config.max_length))
        end = random.integers(4, TINY.config.max_length, size=(rows, 1))
        column = np.arange(TINY.config.max_length)
        tokens[column == end] = 2
        batch[side] = torch.from_numpy(tokens * (column <= end))
    return {**batch, "weights": (batch["targets"] > 0).long()}


def evaluate(workload: WmtTorch, model: nn.Module, batches: list[Batch]) -> tuple[dict[str, float], int]:
    evaluation = workload.evaluation()
    for batch in batches:
        evaluation.update(model, batch)
    return evaluation.result(), evaluation.examples


def test_accuracy_and_loss_by_hand() -> None:
    """Five tokens count, three are right; a wrong one costs 20 nats, a right one next to nothing."""
    targets = torch.tensor([[5, 6, 2, 0], [7, 2, 0, 0]])
    predicted = torch.tensor([[5, 9, 2, 9], [7, 9, 9, 9]])
    evaluation = WmtEvaluation(Fixed(predicted), lambda _model, sources: sources, ids_as_words)
    evaluation.update(nn.Module(), {"inputs": targets, "targets": targets})
    result = evaluation.result()
    assert result["accuracy"] == 3 / 5
    rest = math.log1p((TINY.config.vocabulary - 1) * math.exp(-20.0))
    assert result["loss"] == pytest.approx((2 * 20 + 5 * rest) / 5, rel=1e-6)


def test_a_loss_that_is_not_finite_counts_as_wrong() -> None:
    targets = torch.tensor([[5, 6, 2]])
    workload = Fixed(targets)
    workload.forward = lambda *_args, **_kwargs: torch.full((1, 3, TINY.config.vocabulary), torch.nan)  # type: ignore[method-assign]
    evaluation = WmtEvaluation(workload, lambda _model, sources: sources, ids_as_words)
    evaluation.update(nn.Module(), {"inputs": targets, "targets": torch.zeros_like(targets) + 2})
    assert evaluation.result()["accuracy"] == 0.0
    assert math.isnan(evaluation.result()["loss"])


def test_bleu_of_perfect_and_of_cut_translations() -> None:
    """Three of three words less is a factor exp(1 - 8 / 5); every n-gram that is there matches."""
    targets = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 2]])
    for kept, expected in ((8, 100.0), (5, 100 * math.exp(1 - 8 / 5))):
        translation = torch.cat([targets[:, :kept], torch.full((1, 9 - kept), 2)], dim=1)
        evaluation = WmtEvaluation(Fixed(targets), lambda _model, _sources, t=translation: t, ids_as_words)
        evaluation.update(nn.Module(), {"inputs": targets, "targets": targets})
        assert evaluation.result()["bleu"] == pytest.approx(expected)


def test_the_detokenizer_sees_ids_up_to_the_end_of_sentence() -> None:
    seen = []
    targets = torch.tensor([[5, 6, 2, 0]])
    evaluation = WmtEvaluation(
        Fixed(targets),
        lambda _model, _sources: torch.tensor([[7, 8, 9, 9]]),
        lambda ids: seen.append(ids) or "text",  # type: ignore[func-returns-value]
    )
    evaluation.update(nn.Module(), {"inputs": targets, "targets": targets})
    assert seen == [[7], [5, 6, 2]]


@pytest.mark.parametrize(
    ("tokens", "kept"), [([5, 6, 2, 0], [5, 6, 2]), ([2, 5], [2]), ([5, 6, 7], [5]), ([9, 2, 2, 4], [9, 2])]
)
def test_sentence(tokens: list[int], kept: list[int]) -> None:
    assert sentence(tokens) == kept


def test_sentence_is_the_reference_s(shared: Path) -> None:
    cases = json.loads((shared / "golden" / "metrics.json").read_text())["wmt_decode_tokens"]
    assert cases
    for case in cases:
        assert sentence(case["tokens"]) == case["kept"]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(1)
    return TINY.torch().build_model()


@pytest.fixture(scope="module")
def whole(model: nn.Module) -> dict[str, float]:
    result, examples = evaluate(TINY.torch(), model, [sentences(SPLIT)])
    assert examples == SPLIT
    return result


@settings(max_examples=8, deadline=None)
@given(cut=st.integers(0, SPLIT), padding=st.integers(0, 3))
def test_no_split_into_batches_and_no_padding_changes_a_metric(
    model: nn.Module, whole: dict[str, float], cut: int, padding: int
) -> None:
    batch = sentences(SPLIT)
    parts = [{name: array[:cut] for name, array in batch.items()}]
    parts.append({name: nn.functional.pad(a[cut:], (0, 0, 0, padding)) for name, a in batch.items()})
    result, examples = evaluate(TINY.torch(), model, parts)
    assert examples == SPLIT
    assert result == pytest.approx(whole, rel=1e-6)


def test_an_evaluation_leaves_the_model_and_its_gradients_alone(model: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(TINY.torch(), model, [sentences(2)])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_translations_are_the_likeliest_of_the_beam(model: nn.Module) -> None:
    """What is returned ends or is full, has the promised length and holds tokens of the vocabulary."""
    translations = TINY.torch().translate(model, sentences(3)["inputs"])
    assert translations.shape == (3, TINY.config.max_length - 1)
    assert translations.min() >= 0
    assert translations.max() < TINY.config.vocabulary


def test_text_needs_a_detokenizer() -> None:
    with pytest.raises(UserError, match="SentencePiece"):
        Wmt("full").torch().evaluation()
    assert ids_as_words([5, 16, 2]) == "5 16"


def test_a_compiled_model_is_evaluated_alike(model: nn.Module, whole: dict[str, float]) -> None:
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager")
    result, _ = evaluate(TINY.torch(), compiled, [sentences(SPLIT)])
    assert result == pytest.approx(whole, rel=1e-6)
