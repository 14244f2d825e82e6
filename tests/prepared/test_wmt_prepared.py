"""WMT, prepared and read: what the commands make of raw files is what the golden-tested functions make of them."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import raw_wmt
from commands import (
    assert_same,
    check_ranks_and_seeking,
    check_resuming,
    prepare,
    prepare_under_fire,
    prepared_data,
    timetrial,
    train,
    tree,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_wmt import Pairs
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from timetrial.errors import UserError
from timetrial.prepared import build
from timetrial.prepared.folder import open_prepared
from timetrial.prepared.ragged import RaggedWriter
from timetrial.workloads.base import Data, HostBatch
from timetrial.workloads.wmt import corpora, parts, recipe
from timetrial.workloads.wmt.corpora import RawPairs
from timetrial.workloads.wmt.preprocessing import SIDES, STORED, evaluation_rows, pack, pad, short_pairs, unpacked
from timetrial.workloads.wmt.recipe import WmtRecipe
from timetrial.workloads.wmt.workload import Wmt

TINY = Wmt("tiny", data="prepared")
LENGTH = TINY.config.max_length


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Pairs]]:
    folder = tmp_path_factory.mktemp("raw")
    return folder, raw_wmt.make(folder)


@pytest.fixture(scope="module")
def root(raw: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the dataset that the command prepares."""
    folder = tmp_path_factory.mktemp("data")
    prepare("wmt", raw[0], folder)
    return folder


@pytest.fixture(scope="module")
def data(root: Path) -> Data:
    return prepared_data("wmt", root)


def model_of(root: Path) -> Path:
    return root / "wmt" / "parts" / "tokenizer" / "sentencepiece.model"


def tokenized(pairs: Pairs, root: Path) -> HostBatch:
    """Tokenise with the library, filter with the golden-tested function."""
    encode = SentencePieceProcessor(model_file=str(model_of(root))).encode
    sides = [[[*encode(pair[side]), 2] for pair in pairs] for side in (0, 1)]
    padded = dict(zip(SIDES, map(pad, sides), strict=True))
    return short_pairs(padded, LENGTH)


def in_order(pairs: Pairs) -> Pairs:
    """Return training pairs in the fixed order in which the recipe mixes them."""
    return [pairs[number] for number in np.random.Generator(np.random.PCG64(0)).permutation(len(pairs))]


def rows_of(data: Data, count: int) -> HostBatch:
    """Return `count` rows of an epoch, sorted, so that they can be compared."""
    batch = data.train_source(np.random.SeedSequence(1), count).batch(2)
    order = np.lexsort(np.concatenate([batch["inputs"], batch["targets"]], axis=1).T)
    return {name: array[order] for name, array in batch.items()}


def test_prepare_verify_train_evaluate(root: Path, tmp_path: Path) -> None:
    timetrial("data", "verify", "wmt", "--data", root)
    row = train("wmt", root, tmp_path, batch_size=8, eval_batch_size=16)
    assert 0 <= row["validation/bleu"] <= 100


def test_rows_and_evaluations_are_those_of_the_tested_functions(
    raw: tuple[Path, dict[str, Pairs]], root: Path, data: Data
) -> None:
    _, pairs = raw
    prepared = open_prepared(TINY.recipe(), root)
    kept = tokenized(in_order(pairs["train"]), root)
    expected = pack(kept, LENGTH)
    stored = {name: array[:] for name, array in prepared.arrays("train").items()}
    assert {name: str(array.dtype) for name, array in stored.items()} == {
        name: "uint8" if "position" in name else "uint16" for name in STORED
    }
    assert_same(unpacked(stored), expected)
    assert 100 < len(kept["inputs"]) < 400, "the filter must have left out some"
    assert data.train_examples == 400 > len(expected["inputs"])
    for split in ("validation", "test"):
        check_evaluation(data, split, tokenized(pairs[split], root))
    check_evaluation(data, "train", kept)


def check_evaluation(data: Data, split: Any, kept: HostBatch) -> None:
    count = len(kept["inputs"])
    assert data.eval_examples(split) == count
    for number, batch in enumerate(data.eval_batches(split, 7)):
        rows = {side: tokens[7 * number : 7 * number + 7] for side, tokens in kept.items()}
        assert_same(batch, evaluation_rows(rows))
        TINY.check_batch(batch)


def test_an_epoch_has_every_row_once(data: Data, root: Path) -> None:
    stored = open_prepared(TINY.recipe(), root).arrays("train")
    expected = unpacked({name: array[:] for name, array in stored.items()})
    found = rows_of(data, len(expected["inputs"]))
    order = np.lexsort(np.concatenate([expected["inputs"], expected["targets"]], axis=1).T)
    assert_same(found, {name: array[order] for name, array in expected.items()})
    TINY.check_batch(found)


def test_ranks_seeking_and_resuming(data: Data) -> None:
    check_ranks_and_seeking(data, 840, ranks=tuple(range(1, 9)), steps=2)
    check_resuming(data, 16)


def test_the_tokenizer_is_trained_on_alternating_lines(
    raw: tuple[Path, dict[str, Pairs]], root: Path, tmp_path: Path
) -> None:
    """With the reference's settings, from a file as the reference does it."""
    (tmp_path / "lines").write_text("".join(f"{line}\n" for pair in in_order(raw[1]["train"]) for line in pair))
    SentencePieceTrainer.train(
        input=str(tmp_path / "lines"),
        model_prefix=str(tmp_path / "reference"),
        model_type="unigram",
        vocab_size=64,
        character_coverage=1.0,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    found, expected = (
        SentencePieceProcessor(model_file=str(path)) for path in (model_of(root), tmp_path / "reference.model")
    )
    for number in range(64):
        assert found.id_to_piece(number) == expected.id_to_piece(number)
        assert found.get_score(number) == expected.get_score(number)
    assert (found.unk_id(), found.bos_id(), found.eos_id(), found.pad_id()) == (0, 1, 2, -1)


def test_the_tokenizer_sees_no_more_lines_than_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_TOKENIZER_BYTES", 100)
    pairs = raw_wmt.sentences(50, 0)
    raw_wmt.write_lines(tmp_path, "train", pairs)
    parts.write_text(RawPairs((tmp_path / "train.de", tmp_path / "train.en")), tmp_path)
    lines = list(parts._first_lines([tmp_path]))
    assert lines == [line for pair in in_order(pairs) for line in pair][: len(lines)]
    assert len(lines) % 2 == 0
    sizes = [len(line) + 1 for line in lines]
    assert sum(sizes[:-2]) < 100 <= sum(sizes)


def test_text_of_any_form_is_the_same(raw: tuple[Path, Any], root: Path, tmp_path: Path) -> None:
    """In Parquet or one text file instead of four, elsewhere and in one process."""
    text = open_prepared(TINY.recipe(), root).manifest
    raw_wmt.make(tmp_path / "tables", form="parquet")
    manifest, _ = build.prepare(TINY.recipe(), tmp_path / "tables", tmp_path / "a", jobs=1)
    assert manifest.split_sha256 == text.split_sha256
    raw_wmt.write_lines(tmp_path / "single", "train", raw[1]["train"])
    raw_wmt.write_lines(tmp_path / "single", "newstest2013", raw[1]["validation"])
    raw_wmt.write_lines(tmp_path / "single", "test", raw[1]["test"])
    manifest, _ = build.prepare(TINY.recipe(), tmp_path / "single", tmp_path / "b", jobs=1)
    assert manifest.split_sha256 == text.split_sha256
    assert manifest.sha256 == text.sha256


def test_it_does_not_matter_how_the_work_is_divided(
    raw: tuple[Path, Any], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of many parts are those of one; pairs are counted before the filter, each once."""
    monkeypatch.setattr(recipe, "_TOKENIZED", 70)
    monkeypatch.setattr(recipe, "_PACKED_GROUPS", 3)
    manifest, _ = build.prepare(TINY.recipe(), raw[0], tmp_path, jobs=2)
    sizes = [part.examples for part in manifest.parts if part.split == "train"]
    assert len(sizes) > 5
    assert sum(sizes) == manifest.examples["train"] == 400
    assert all(size >= 36 for size in sizes[:-1]), "three groups of 12 that were kept, and others"
    for name, array in open_prepared(TINY.recipe(), tmp_path).arrays("train").items():
        np.testing.assert_array_equal(array[:], open_prepared(TINY.recipe(), root).array("train", name)[:])


@pytest.mark.slow
def test_killed_at_any_moment_it_makes_the_same(tmp_path: Path) -> None:
    raw_wmt.make(tmp_path / "raw", train=60_000)
    prepare("wmt", tmp_path / "raw", tmp_path / "straight")
    assert prepare_under_fire("wmt", tmp_path / "raw", tmp_path / "shot", kills=10)
    assert tree(tmp_path / "shot" / "wmt" / "parts") == tree(tmp_path / "straight" / "wmt" / "parts")


def write_tokens(folder: Path, pairs: list[dict[str, list[int]]]) -> None:
    for side in SIDES:
        with RaggedWriter(folder, side, np.dtype(np.uint16)) as writer:
            for pair in pairs:
                writer.append(np.array(pair[side]), np.array([len(pair[side])]))


def packed(folder: Path, pairs: int, length: int) -> HostBatch:
    parts.write_rows([folder], 0, pairs, pairs, length, 100, folder / "rows")
    return unpacked({name: np.load(folder / "rows" / f"{name}.npy") for name in STORED})


def test_golden_rows_through_files(shared: Path, tmp_path: Path) -> None:
    golden = json.loads((shared / "golden" / "preprocess_wmt.json").read_text())
    length = golden["max_length"]
    (tmp_path / "rows").mkdir()
    write_tokens(tmp_path, [golden["examples"][number] for number in golden["kept_by_length_filter"]])
    found = packed(tmp_path, len(golden["kept_by_length_filter"]), length)
    for name in golden["packed_after_length_filter"][0]:
        assert found[name].tolist() == [row[name] for row in golden["packed_after_length_filter"]], name
    group = golden["group_boundary"]
    write_tokens(tmp_path, [{"inputs": [3 + i, 2], "targets": [3 + i, 4, 2]} for i in range(group["num_examples"])])
    found = packed(tmp_path, group["num_examples"], length)
    assert found["targets_segmentation"].max(axis=1).tolist() == group["segments_per_row"]


sentence = st.lists(st.integers(0, 50), min_size=0, max_size=9).map(lambda tokens: [*tokens, 2])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(sentence, sentence), min_size=1, max_size=40), st.integers(10, 16))
def test_stored_rows_tell_all_arrays(pairs: list[tuple[list[int], list[int]]], length: int) -> None:
    """Of any pairs, unknown pieces among them: tokens and positions are enough to have segments and weights again."""
    expected = pack({side: pad([pair[number] for pair in pairs]) for number, side in enumerate(SIDES)}, length)
    assert_same(unpacked({name: expected[name].astype(np.uint8) for name in STORED}), expected)


def test_empty_sides_and_what_sgm_cannot_hold(tmp_path: Path) -> None:
    """A pair with an empty side is left out; entities stay as they are; only a newline ends a line."""
    pairs = [("la & mu", "<ne>"), ("", "si"), ("ro", " \t"), (' "te"\u2028ka ', "no\r")]
    raw_wmt.write_lines(tmp_path, "train", pairs)
    kept = [[b"la & mu", '"te"\u2028ka'.encode()], [b"<ne>", b"no"]]
    assert [*RawPairs((tmp_path / "train.de", tmp_path / "train.en")).batches()] == [tuple(kept)]
    raw_wmt.write_segments(tmp_path, "validation", "newstest2013", [("la & mu", "<ne>"), ("&amp;", "si &lt;")])
    files = tuple(tmp_path / "dev" / f"newstest2013-{name}.sgm" for name in ("src.de", "ref.en"))
    assert b"&amp;amp;" in files[0].read_bytes()
    assert [*RawPairs(files).batches()] == [([b"la &amp; mu", b"&amp;amp;"], [b"&lt;ne&gt;", b"si &amp;lt;"])]


def test_text_comes_from_the_prepared_tokenizer(
    raw: tuple[Path, dict[str, Pairs]], root: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the preset `full`; and where nothing is prepared, a model can be built but not evaluated."""
    import torch

    monkeypatch.setenv("TIMETRIAL_DATA", str(root))
    workload = Wmt("tiny", data="prepared")
    workload.config = replace(workload.config, text="sentencepiece")
    half = workload.torch()
    batch = next(data.eval_batches("validation", 5))
    short = [pair for pair in raw[1]["validation"] if len(tokenized([pair], root)["inputs"])]
    assert half._detokenize is not None
    texts = [half._detokenize(row[: row.index(2) + 1]) for row in batch["targets"].tolist()]
    assert texts == [target for _, target in short[:5]]
    torch.manual_seed(0)
    evaluation = half.evaluation()
    evaluation.update(half.build_model(), {name: torch.from_numpy(array) for name, array in batch.items()})
    assert 0 <= evaluation.result()["bleu"] <= 100
    monkeypatch.setenv("TIMETRIAL_DATA", str(root / "nowhere"))
    with pytest.raises(UserError, match="timetrial data prepare wmt"):
        workload.torch().evaluation()


def test_the_published_numbers(tmp_path: Path) -> None:
    full = Wmt("full").recipe()
    assert full.expected_examples == {"train": 5_906_184, "validation": 3_000, "test": 3_003}
    assert full.settings == {"vocabulary": 32_000, "max_length": 256, "longest_sentence": 256}
    assert TINY.recipe().expected_examples == {}
    assert Wmt("full", "post_ln").recipe() == full


def one_line_less(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def not_utf_8(path: Path) -> None:
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:7], b"la \xff mu", *lines[8:]]))


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")
    path.with_suffix(".en").write_bytes(b"")


def other_column(path: Path) -> None:
    pq.write_table(pa.table({"text": ["la"]}), path)


def other_languages(path: Path) -> None:
    pq.write_table(pa.table({"translation": [{"de": "la", "fr": "mu"}]}), path)


def too_few_for_pieces(path: Path) -> None:
    for corpus in path.parent.parent.rglob("*.de-en.??"):
        corpus.write_text("la\n")


def too_long(path: Path) -> None:
    for corpus in path.parent.parent.rglob("*.sgm"):
        corpus.write_text('<seg id="1">' + "la mu ne si " * 20 + "</seg>")


TEXT = "training/europarl-v7.de-en.de"
SOURCES, TARGETS = "dev/newstest2013-src.de.sgm", "test-full/newstest2014-deen-ref.en.sgm"
TABLE, SHARD = "wmt14/de-en/test-00000-of-00001.parquet", "wmt17/de-en/train-00000-of-00002.parquet"


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        (TEXT, one_line_less, r"europarl-v7\.de-en\.de: has 99 lines and .*europarl-v7\.de-en\.en has 100"),
        (TEXT, not_utf_8, r"europarl-v7\.de-en\.de: line 8 is not UTF-8"),
        (TEXT, empty, r"europarl-v7\.de-en\.de: holds no pair"),
        (TEXT, Path.unlink, r"europarl-v7\.de-en\.de: no such file, though others of the train split are there"),
        (TEXT, too_few_for_pieces, r"europarl-v7\.de-en\.de: no SentencePiece model of 64 pieces can be trained"),
        (TEXT, too_long, r"newstest2013-src\.de\.sgm: no pair has at most 12 tokens"),
        (SOURCES, half, r"newstest2013-src\.de\.sgm: (expected lines <seg|has \d+ segments)"),
        (TARGETS, half, r"newstest2014-deen-(ref\.en|src\.de)\.sgm: "),
        (TARGETS, Path.unlink, r"newstest2014-deen-ref\.en\.sgm: no such file"),
        (TABLE, half, r"test-00000-of-00001\.parquet: cannot be read"),
        (TABLE, other_column, r"test-00000-of-00001\.parquet: expected a column 'translation', found text"),
        (TABLE, other_languages, r"test-00000-of-00001\.parquet: expected a column translation of texts de and en"),
        (TABLE, Path.unlink, r"no files of the test split; expected newstest2014-deen-src\.de\.sgm"),
        (SHARD, Path.unlink, r"train-00000-of-00002\.parquet: no such file"),
    ],
)
def test_bad_input_is_named(name: str, spoil: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    copy = tmp_path / "raw"
    raw_wmt.make(copy, form="parquet" if name.endswith("parquet") else "text")
    spoil(copy / name)
    with pytest.raises(UserError, match=message):
        make_here(TINY.recipe(), copy, tmp_path / "parts")


def make_here(recipe: WmtRecipe, raw: Path, folder: Path) -> None:
    """Make all parts in this process, without the engine."""
    for stage in recipe.stages(raw, folder):
        for part in stage():
            (folder / part.name).mkdir(parents=True)
            part.make(folder / part.name)


def test_the_command_says_what_is_wrong_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no files of the train split" in prepare("wmt", tmp_path / "empty", tmp_path / "data", code=2)
    raw_wmt.make(tmp_path / "raw")
    one_line_less(tmp_path / "raw" / TEXT)
    message = prepare("wmt", tmp_path / "raw", tmp_path / "data", code=2).replace("\n", "")
    assert "europarl-v7.de-en.de" in message
    assert "europarl-v7.de-en.en" in message


def test_text_is_read_and_rows_are_packed_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 8 MB of lines and 400,000 pairs a block at a time is in memory."""
    monkeypatch.setattr(corpora, "_LINES", 1000)
    pairs = raw_wmt.sentences(2000, 0)
    for side, language in enumerate(("de", "en")):
        lines = "".join(f"{pair[side]}\n" for pair in pairs)
        (tmp_path / f"train.{language}").write_text(100 * lines)
    peak = peak_of(lambda: parts.write_text(RawPairs((tmp_path / "train.de", tmp_path / "train.en")), tmp_path))
    assert (tmp_path / "de.npy").stat().st_size > 4e6
    assert peak < 1e6
    lengths = np.random.default_rng(0).integers(2, 13, 400_000)
    for side in SIDES:
        with RaggedWriter(tmp_path, side, np.dtype(np.uint16)) as writer:
            writer.append(np.full(lengths.sum(), 5), lengths)
    (tmp_path / "rows").mkdir()
    peak = peak_of(lambda: parts.write_rows([tmp_path], 0, len(lengths), 0, LENGTH, 64, tmp_path / "rows"))
    assert (tmp_path / "rows" / "inputs.npy").stat().st_size > 6e6
    assert peak < 16e6, "the places where 400,000 sentences begin on two sides, and a block"


def peak_of(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_part_of_a_dataset_that_is_spoilt_is_made_anew(raw: tuple[Path, Any], root: Path, tmp_path: Path) -> None:
    """What is temporary is made again for it, and gone afterwards."""
    shutil.copytree(root, tmp_path / "data")
    rows = tmp_path / "data" / "wmt" / "parts" / "train-00000" / "inputs.npy"
    rows.write_bytes(rows.read_bytes()[:-2] + b"\x07\x07")
    build.prepare(TINY.recipe(), raw[0], tmp_path / "data", jobs=1)
    assert tree(tmp_path / "data" / "wmt" / "parts") == tree(root / "wmt" / "parts")
