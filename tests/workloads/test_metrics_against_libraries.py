"""Metrics equal those of the field's own libraries, corner cases included; needs no golden files."""

from __future__ import annotations

from typing import Any

import jiwer
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from skimage.metrics import structural_similarity as reference_similarity
from sklearn.metrics import average_precision_score

from timetrial.api import Loss
from timetrial.workloads.metrics.average_precision import MeanAveragePrecisionEvaluation, average_precisions
from timetrial.workloads.metrics.bleu import CorpusBleu
from timetrial.workloads.metrics.ssim import structural_similarity
from timetrial.workloads.metrics.word_errors import WordErrors

# Structural similarity: scikit-image.


def images(kind: str, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(shape)
    noise, other = random.standard_normal((2, *shape))
    return {
        "noise": (noise, 0.5 * noise + 0.5 * other),
        "identical": (noise, noise),
        "negated": (noise, -noise),
        "constant": (np.full(shape, 0.3), np.full(shape, 0.3)),
        "constant and noise": (np.full(shape, 0.3), noise),
        "two constants": (np.full(shape, 0.3), np.full(shape, 0.9)),
        "far from zero": (1000 + noise, 1000 + other),
        "huge": (1e4 * noise, 1e4 * other),
    }[kind]


@pytest.mark.parametrize("shape", [(7, 7), (7, 12), (32, 32), (33, 20)])
@pytest.mark.parametrize("data_range", [1.0, 5.5])
@pytest.mark.parametrize(
    "kind",
    ["noise", "identical", "negated", "constant", "constant and noise", "two constants", "far from zero", "huge"],
)
def test_similarity(kind: str, shape: tuple[int, int], data_range: float) -> None:
    x, y = images(kind, shape)
    ours = structural_similarity(torch.from_numpy(x)[None], torch.from_numpy(y)[None], torch.tensor([data_range]))
    # 1000 squared costs six of the sixteen digits of the variances.
    atol = 1e-8 if kind == "far from zero" else 1e-12
    np.testing.assert_allclose(ours.item(), reference_similarity(x, y, data_range=data_range), rtol=0, atol=atol)


def test_similarity_of_a_batch_is_each_image_s() -> None:
    pairs = [images(kind, (16, 16)) for kind in ("noise", "negated", "huge")]
    first, second = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
    spans = [1.0, 2.0, 3.0]
    expected = [reference_similarity(x, y, data_range=span) for (x, y), span in zip(pairs, spans, strict=True)]
    np.testing.assert_allclose(structural_similarity(first, second, torch.tensor(spans)), expected, rtol=1e-12)


# Mean average precision: scikit-learn, which ranks each task's rows; which rows and tasks count is ours.


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([0.9, 0.8, 0.1], [1, 0, 1], (1 + 2 / 3) / 2),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 1 / 4),  # all tied: one threshold, at which one of four is right
        ([0.9, 0.5, 0.5], [1, 1, 0], 1 / 2 + 1 / 2 * 2 / 3),  # tied with a 0: both are let in together
        ([0.1, 0.9], [1, 0], 1 / 2),
        ([0.9, 0.1], [1, np.nan], 1.0),  # all labels that are known are 1: it counts, as one is missing
        ([0.9, 0.1], [1, 1], np.nan),
        ([0.9, 0.1], [0, np.nan], np.nan),
        ([0.9, 0.1], [np.nan, np.nan], np.nan),
    ],
)
def test_average_precision_by_hand(scores: list[float], labels: list[float], expected: float) -> None:
    column = np.array(labels)[:, None]
    (ours,) = average_precisions(np.array(scores)[:, None], np.nan_to_num(column), ~np.isnan(column))
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


class Given:
    """A workload whose logits come with the batch, and whose loss does not matter here."""

    def forward(self, model: Any, batch: dict[str, torch.Tensor], **how: Any) -> torch.Tensor:
        return batch["logits"]

    def loss(self, batch: dict[str, torch.Tensor], logits: torch.Tensor) -> Loss:
        return Loss(logits.sum(), torch.tensor(1.0), logits)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 19), levels=st.integers(2, 30))
def test_streamed_mean_average_precision(seed: int, cut: int, levels: int) -> None:
    """Missing labels, tied scores, two batches of graphs, each with a padding graph at its end."""
    random = np.random.default_rng(seed)
    logits = random.integers(-levels, levels, (20, 6)) / 4
    labels = random.integers(0, 2, (20, 6)).astype(np.float64)
    labels[random.random((20, 6)) < 0.4] = np.nan
    labels[:, 5] = np.nan  # a task without any label
    evaluation = MeanAveragePrecisionEvaluation(Given())  # type: ignore[arg-type]
    for part in (slice(0, cut), slice(cut, 20)):
        evaluation.update(torch.nn.Identity(), graphs(logits[part], labels[part]))
    assert evaluation.examples == 20
    precisions = [
        average_precision_score(labels[known, task], 1 / (1 + np.exp(-logits[known, task])))
        for task in range(6)
        if (labels[known := ~np.isnan(labels[:, task]), task] == 1).any()
    ]
    expected = np.mean(precisions) if precisions else np.nan
    np.testing.assert_allclose(evaluation.result()["mean_average_precision"], expected, rtol=1e-9)


def graphs(logits: np.ndarray, labels: np.ndarray) -> dict[str, torch.Tensor]:
    padded_labels = np.pad(labels, [(0, 1), (0, 0)], constant_values=np.nan)
    return {
        "logits": torch.from_numpy(np.pad(logits, [(0, 1), (0, 0)])).float(),
        "targets": torch.from_numpy(np.nan_to_num(padded_labels)),
        "weights": torch.from_numpy(~np.isnan(padded_labels)),
        "n_node": torch.ones(len(padded_labels), dtype=torch.int64),
    }


# Word error rate: jiwer.

SENTENCE = st.lists(st.sampled_from(["A", "B", "C", "DON'T"]), max_size=7).map(" ".join)
SPOKEN = SENTENCE.filter(bool)


@given(st.lists(st.tuples(SPOKEN, SENTENCE), min_size=1, max_size=5))
def test_word_error_rate(pairs: list[tuple[str, str]]) -> None:
    """jiwer refuses an empty reference; what ours makes of one is tested by hand."""
    errors = WordErrors()
    for expected, found in pairs:
        errors.add(expected, found)
    expected_texts, found_texts = (list(texts) for texts in zip(*pairs, strict=True))
    output = jiwer.process_words(expected_texts, found_texts)
    assert errors.errors == output.substitutions + output.deletions + output.insertions
    assert errors.rate == pytest.approx(output.wer, rel=1e-12)


# BLEU: sacrebleu.

PHRASE = st.lists(st.sampled_from(["the", "cat", "sat.", "3,5", "U.S.", "&amp;", "<skipped>", "Ä"]), max_size=9).map(
    " ".join
)


@given(st.lists(st.tuples(PHRASE, PHRASE), min_size=1, max_size=5))
def test_bleu(pairs: list[tuple[str, str]]) -> None:
    """The library's corpus score. Where nothing matches the public benchmark's differs: see test_bleu.py."""
    corpus = CorpusBleu()
    for hypothesis, reference in pairs:
        corpus.add([hypothesis], [reference])
    hypotheses, references = (list(texts) for texts in zip(*pairs, strict=True))
    expected = BLEU(force=True).corpus_score(hypotheses, [references])
    assume(any(expected.counts))
    assert corpus.score() == pytest.approx(expected.score, rel=1e-12)
