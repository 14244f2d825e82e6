from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from timetrial.workloads.metrics.word_errors import WordErrors, edit_distance, greedy_decode, public_text

WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=6)


@pytest.fixture(scope="module")
def metrics(shared: Path) -> dict:
    return json.loads((shared / "golden" / "metrics.json").read_text())


def distance_by_recursion(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    @cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        same = first[i - 1] == second[j - 1]
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (not same))

    return distance(len(first), len(second))


@given(first=WORDS, second=WORDS)
def test_edit_distance_equals_its_definition(first: list[str], second: list[str]) -> None:
    assert edit_distance(first, second) == distance_by_recursion(tuple(first), tuple(second))


def test_edit_distance_equals_golden(metrics: dict) -> None:
    for first, second, expected in metrics["edit_distance_words"]:
        assert edit_distance(first.split(), second.split()) == expected


def test_greedy_decode_equals_golden(metrics: dict, shared: Path) -> None:
    with np.load(shared / "golden" / "metrics.npz") as arrays:
        logits, paddings = arrays["greedy_logits"], arrays["greedy_paddings"]
    lengths = torch.from_numpy((1 - paddings).sum(axis=1)).long()
    decoded = greedy_decode(torch.from_numpy(logits), lengths)
    golden = metrics["greedy_decode"]
    kept = np.array(golden["paddings"]) == 0
    assert decoded == [list(np.array(row)[real]) for row, real in zip(golden["tokens"], kept, strict=True)]


def test_greedy_decode_by_hand() -> None:
    best = torch.tensor([[1, 1, 0, 1, 2, 2], [3, 3, 3, 3, 3, 3], [0, 0, 2, 0, 1, 1]])
    logits = torch.nn.functional.one_hot(best, 4).float()
    assert greedy_decode(logits, torch.tensor([6, 0, 4])) == [[1, 1, 2], [], [2]]


def test_both_rates_equal_golden(metrics: dict) -> None:
    case = metrics["wer"]

    def texts(tokens: str, paddings: str) -> list[str]:
        return [
            " ".join(case["vocabulary"][token] for token, padded in zip(*row, strict=True) if not padded)
            for row in zip(case[tokens], case[paddings], strict=True)
        ]

    textbook, public = WordErrors(), WordErrors()
    for expected, found in zip(texts("targets", "target_paddings"), texts("decoded", "decoded_paddings"), strict=True):
        textbook.add(expected, found)
        public.add(public_text(expected), public_text(found))
    as_run, plain = case["as_run_with_tf_text_tokenizer"], case["plain_string_tokenizer"]
    assert (public.errors, public.words) == (as_run["word_errors"], as_run["num_words"])
    assert public.rate == pytest.approx(as_run["wer"])
    # The plain figure of the golden file still counts the empty fourth target as one word.
    assert (textbook.errors, textbook.words) == (plain["word_errors"], plain["num_words"] - 1)


def test_public_text() -> None:
    assert public_text("HELLO WORLD") == "tf.Tensor(b'HELLO WORLD', shape=(), dtype=string)"
    assert public_text("DON'T") == 'tf.Tensor(b"DON\'T", shape=(), dtype=string)'
    assert public_text("é").split() == ["tf.Tensor(b'\\xc3\\xa9',", "shape=(),", "dtype=string)"]
    assert len(public_text("").split()) == 3


@pytest.mark.parametrize(
    ("expected", "found", "public", "textbook"),
    [
        ("A B C", "A B C", (0, 5), (0, 3)),
        ("A B C", "A B", (2, 5), (1, 3)),  # the new last word carries the suffix
        ("A B'S C", "A BS C", (3, 5), (1, 3)),  # the quotes change at both ends
        ("", "A", (1, 3), (1, 0)),
    ],
)
def test_rates_by_hand(expected: str, found: str, public: tuple[int, int], textbook: tuple[int, int]) -> None:
    true, printed = WordErrors(), WordErrors()
    true.add(expected, found)
    printed.add(public_text(expected), public_text(found))
    assert (true.errors, true.words) == textbook
    assert (printed.errors, printed.words) == public


def test_rate_without_words() -> None:
    errors = WordErrors()
    errors.add("", "A B")
    assert errors.rate == 2.0
