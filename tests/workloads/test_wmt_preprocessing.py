"""Filter, packing and padding of sentence pairs against the reference's, and by what they promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.workloads.base import HostBatch
from timetrial.workloads.wmt.preprocessing import SIDES, evaluation_rows, pack, pad, short_pairs

Pairs = list[dict[str, list[int]]]


@pytest.fixture(scope="module")
def golden(shared: Path) -> Any:
    return json.loads((shared / "golden" / "preprocess_wmt.json").read_text())


def padded(pairs: Pairs) -> HostBatch:
    return {side: pad([pair[side] for pair in pairs]) for side in SIDES}


def assert_rows(packed: HostBatch, rows: list[dict[str, list[int]]]) -> None:
    assert list(packed) == [*rows[0], "weights"]
    for name in rows[0]:
        assert packed[name].tolist() == [row[name] for row in rows], name
    assert np.array_equal(packed["weights"], packed["targets"] > 0)
    assert {array.dtype for array in packed.values()} == {np.dtype(np.int64)}


def test_packing_is_the_reference_s(golden: Any) -> None:
    """Longer sentences are cut, where the filter has not left them out."""
    length, pairs = golden["max_length"], padded(golden["examples"])
    cut = {side: tokens[:, :length] for side, tokens in pairs.items()}
    assert_rows(pack(cut, length), golden["packed_all_no_length_filter"])
    assert_rows(pack(short_pairs(pairs, length), length), golden["packed_after_length_filter"])


def test_a_group_s_last_row_is_closed_as_in_the_reference(golden: Any) -> None:
    group = golden["group_boundary"]
    pairs = [{"inputs": [3 + i, 2], "targets": [3 + i, 4, 2]} for i in range(group["num_examples"])]
    packed = pack(padded(pairs), golden["max_length"])
    assert len(packed["inputs"]) == group["rows"]
    assert packed["targets_segmentation"].max(axis=1).tolist() == group["segments_per_row"]


def test_the_filter_and_evaluation_rows_are_the_reference_s(golden: Any) -> None:
    """The reference pads every batch to the full length; here a batch ends where its longest sentence does."""
    length, examples = golden["max_length"], golden["examples"]
    kept = short_pairs(padded(examples), length)
    expected = padded([examples[i] for i in golden["kept_by_length_filter"]])
    for side in SIDES:
        np.testing.assert_array_equal(kept[side][:, : expected[side].shape[1]], expected[side])
        assert not kept[side][:, expected[side].shape[1] :].any()
    for number, batch in enumerate(golden["eval_batches_of_5_after_length_filter"]):
        found = evaluation_rows({side: kept[side][5 * number : 5 * number + 5] for side in SIDES})
        for side in SIDES:
            full = np.pad(found[side], ((0, 0), (0, length - found[side].shape[1])))
            assert full.tolist() == batch[side]
            assert found[side].any(axis=0).all()
        assert np.array_equal(found["weights"], found["targets"] > 0)


def test_an_unknown_piece_cuts_off_the_last_token() -> None:
    """As in the reference, where 0 is both: the 0 is kept, masked, and its sentence is one token shorter."""
    packed = pack(padded([{"inputs": [5, 0, 7, 2], "targets": [6, 2]}, {"inputs": [8, 2], "targets": [9, 2]}]), 8)
    assert packed["inputs"][0].tolist() == [5, 0, 7, 8, 2, 0, 0, 0]
    assert packed["inputs_segmentation"][0].tolist() == [1, 0, 1, 2, 2, 0, 0, 0]
    assert packed["inputs_position"][0].tolist() == [0, 1, 2, 0, 1, 0, 0, 0]


sentences = st.lists(st.integers(3, 50), min_size=0, max_size=9).map(lambda tokens: [*tokens, 2])


@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=60))
def test_every_pair_once_and_in_order(pairs: list[tuple[list[int], list[int]]]) -> None:
    packed = pack({side: pad([pair[i] for pair in pairs]) for i, side in enumerate(SIDES)}, 12)
    found = []
    for row in range(len(packed["inputs"])):
        segments = [packed[f"{side}_segmentation"][row] for side in SIDES]
        assert segments[0].max() == segments[1].max() >= 1
        for number in range(1, segments[0].max() + 1):
            sides = zip(SIDES, segments, strict=True)
            found += [tuple(packed[side][row][segment == number].tolist() for side, segment in sides)]
    assert found == pairs
