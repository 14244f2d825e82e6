"""Corpus BLEU: the public benchmark's numbers, and hand-computed ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.workloads.metrics.bleu import CorpusBleu

# Not `smooth_addk_1`, which sacrebleu adds to other orders than 1.3.1 did; the benchmark does not use it.
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "smooth_none": {"smooth_method": "none"},
    "smooth_floor_0.1": {"smooth_method": "floor", "smooth_value": 0.1},
    "lowercase": {"lowercase": True},
    "tokenize_intl": {"tokenize": "intl"},
    "tokenize_zh": {"tokenize": "zh"},
    "tokenize_none": {"tokenize": "none"},
    "effective_order": {"effective_order": True},
}


@pytest.fixture(scope="module")
def golden(shared: Path) -> Any:
    return json.loads((shared / "golden" / "bleu.json").read_text())


def bleu(hypotheses: list[str], *references: list[str]) -> float:
    corpus = CorpusBleu()
    corpus.add(hypotheses, *references)
    return corpus.score()


def test_every_golden_corpus_gives_the_public_score(golden: Any) -> None:
    assert len(golden["corpus"]) == 26
    for name, case in golden["corpus"].items():
        expected = case["results"]["default"]
        score = bleu(case["hypotheses"], *case["references"])
        assert score == pytest.approx(expected["score"], rel=1e-12, abs=1e-12), name


def test_sums_are_those_of_the_public_code(golden: Any) -> None:
    for name, case in golden["corpus"].items():
        corpus = CorpusBleu()
        corpus.add(case["hypotheses"], *case["references"])
        expected = case["results"]["default"]
        assert corpus._correct == expected["correct"], name
        assert corpus._total == expected["total"], name
        assert (corpus._words, corpus._reference_words) == (expected["sys_len"], expected["ref_len"]), name


def test_sacrebleu_differs_from_the_public_code_only_where_nothing_matches(golden: Any) -> None:
    """Nearly all options, so that an update of sacrebleu that changes tokenisation or smoothing is noticed."""
    from sacrebleu.metrics.bleu import BLEU

    for name, case in golden["corpus"].items():
        assert set(case["results"]) == {*OPTIONS, "smooth_addk_1"}
        for option, settings in OPTIONS.items():
            expected = case["results"][option]
            actual = BLEU(force=True, **settings).corpus_score(case["hypotheses"], case["references"])
            matched = any(actual.counts)
            assert not matched or actual.score == pytest.approx(expected["score"], rel=1e-12), (name, option)
            assert matched or actual.score == 0.0


@pytest.mark.parametrize("tokenizer", ["13a", "intl", "zh", "none"])
def test_tokenizers(golden: Any, tokenizer: str) -> None:
    from sacrebleu.metrics.bleu import BLEU

    tokenize = BLEU(tokenize=tokenizer).tokenizer
    assert golden["tokenize"][tokenizer]
    for text, tokens in golden["tokenize"][tokenizer]:
        # BLEU splits at whitespace, of which 1.3.1 left more for `intl`.
        assert tokenize(text).split() == tokens.split()


def test_by_hand() -> None:
    """Orders 1 to 4 match 7 of 8, 4 of 6, 2 of 5 and 1 of 4; 8 words against 9 (spec: workloads/wmt.md, 4)."""
    precisions = 7 / 8 * 4 / 6 * 2 / 5 * 1 / 4
    expected = 100 * math.exp(1 - 9 / 8) * precisions**0.25
    ours = bleu(["the cat sat on the mat .", "hello"], ["the cat sat on a mat.", "hello world"])
    assert ours == pytest.approx(expected, rel=1e-12)
    assert ours == pytest.approx(43.37029620549662, rel=1e-12)


def test_without_any_match_smoothing_leaves_something() -> None:
    """Five words: precisions 100 / (2 5), 100 / (4 4), 100 / (8 3), 100 / (16 2)."""
    expected = (100 / 10 * 100 / 16 * 100 / 24 * 100 / 32) ** 0.25
    assert bleu(["a b c d e"], ["v w x y z"]) == pytest.approx(expected, rel=1e-12)
    assert bleu(["a b c"], ["x y z"]) == 0.0
    assert bleu([""], ["x y z"]) == 0.0


WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "3.5", "mat."]), max_size=9).map(" ".join)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6), st.data())
def test_any_split_into_batches_gives_the_same_score(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(pairs)))
    corpus = CorpusBleu()
    for part in (pairs[:cut], pairs[cut:]):
        corpus.add([hypothesis for hypothesis, _ in part], [reference for _, reference in part])
    hypotheses, references = zip(*pairs, strict=True)
    assert corpus.score() == bleu(list(hypotheses), list(references))


def test_every_hypothesis_needs_a_reference() -> None:
    with pytest.raises(ValueError, match="2 hypotheses"):
        CorpusBleu().add(["a", "b"], ["a"])
