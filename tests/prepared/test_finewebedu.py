"""FineWeb-Edu, prepared and read: what the commands make of raw files is what a few plain lines make of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import raw_finewebedu
from commands import (
    check_ranks_and_seeking,
    check_resuming,
    prepare,
    prepare_under_fire,
    prepared_data,
    timetrial,
    train,
    tree,
)

from timetrial.errors import UserError
from timetrial.prepared import build
from timetrial.prepared.folder import load_array, open_prepared
from timetrial.prepared.ragged import RaggedWriter
from timetrial.workloads.base import Data
from timetrial.workloads.finewebedu_lm import parts, recipe
from timetrial.workloads.finewebedu_lm.recipe import FinewebeduRecipe
from timetrial.workloads.finewebedu_lm.tokenizer import Tokenizer
from timetrial.workloads.finewebedu_lm.workload import FinewebeduLm

TINY = FinewebeduLm("tiny", data="prepared").recipe()
SIZE = 17
"""Tokens of a piece."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    raw_finewebedu.make(folder)
    return folder


@pytest.fixture(scope="module")
def root(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the dataset that the command prepares."""
    folder = tmp_path_factory.mktemp("data")
    prepare("finewebedu_lm", raw, folder)
    return folder


@pytest.fixture(scope="module")
def data(root: Path) -> Data:
    return prepared_data("finewebedu_lm", root)


def expected_streams(raw: Path) -> dict[str, list[int]]:
    """Tokenise with the library's own GPT-2 tokenizer, shuffle, divide and join, one document after the other."""
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer(str(raw / "vocab.json"), str(raw / "merges.txt"))
    end = json.loads((raw / "vocab.json").read_text())[raw_finewebedu.END_OF_TEXT]
    tokenizer.add_special_tokens([raw_finewebedu.END_OF_TEXT])
    texts = [text for path in sorted(raw.glob("sample/10BT/*")) for text in pq.read_table(path)["text"].to_pylist()]
    documents = [[*tokenizer.encode(text).ids, end] for text in texts if text]
    order = np.random.default_rng(0).permutation(len(documents)).tolist()
    divide = int(0.9 * len(documents))
    return {
        "train": [token for i in order[:divide] for token in documents[i]],
        "validation": [token for i in order[divide:] for token in documents[i]],
    }


def test_prepare_verify_train_evaluate(root: Path, tmp_path: Path) -> None:
    timetrial("data", "verify", "finewebedu_lm", "--data", root)
    row = train("finewebedu_lm", root, tmp_path, batch_size=8, eval_batch_size=16)
    assert row["validation/ppl"] < 64


def test_pieces_are_those_of_plain_code(raw: Path, root: Path, data: Data) -> None:
    prepared = open_prepared(TINY, root)
    for split, stream in expected_streams(raw).items():
        count = len(stream) // SIZE
        found = prepared.array(split, "pieces")
        assert found.dtype == np.uint16
        assert found[:].tolist() == np.reshape(stream[: count * SIZE], (count, SIZE)).tolist()
    assert prepared.manifest.examples == {"train": data.train_examples, "validation": data.eval_examples("validation")}
    assert data.eval_examples("test") == 0


def test_batches_are_inputs_and_targets(root: Path, data: Data) -> None:
    pieces = open_prepared(TINY, root).array("validation", "pieces")[:]
    batches = list(data.eval_batches("validation", 7))
    np.testing.assert_array_equal(np.concatenate([batch["inputs"] for batch in batches]), pieces[:, :-1])
    np.testing.assert_array_equal(np.concatenate([batch["targets"] for batch in batches]), pieces[:, 1:])
    FinewebeduLm("tiny").check_batch(batches[-1])
    first = next(data.eval_batches("train", 5))["inputs"]
    np.testing.assert_array_equal(first, open_prepared(TINY, root).array("train", "pieces")[:5][:, :-1])


def test_ranks_seeking_and_resuming(data: Data) -> None:
    check_ranks_and_seeking(data, 840, ranks=tuple(range(1, 9)))
    check_resuming(data, 16)


def test_an_epoch_has_every_piece_once(root: Path, data: Data) -> None:
    source = data.train_source(np.random.SeedSequence(1), data.train_examples)
    pieces = open_prepared(TINY, root).array("train", "pieces")[:]
    found = source.batch(3)
    joined = np.concatenate([found["inputs"], found["targets"][:, -1:]], axis=1)
    assert sorted(map(tuple, joined.tolist())) == sorted(map(tuple, pieces.tolist()))
    assert not np.array_equal(joined, pieces)


def test_the_same_bytes_from_elsewhere_in_one_process_and_from_one_tokenizer_file(
    raw: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the work is divided: a split's bytes in a row are the same, its files where the division is."""
    shutil.copytree(raw, tmp_path / "raw")
    build.prepare(TINY, tmp_path / "raw", tmp_path / "a", jobs=1)
    found, expected = (tree(folder / "finewebedu" / "parts") for folder in (tmp_path / "a", root))
    assert {path: digest for path, digest in found.items() if path.endswith(".npy")} == {
        path: digest for path, digest in expected.items() if path.endswith(".npy")
    }
    raw_finewebedu.as_one_file(tmp_path / "raw")
    monkeypatch.setattr(recipe, "_RAW_BYTES", 1)
    monkeypatch.setattr(recipe, "_PIECES", 100)
    manifest, made = build.prepare(TINY, tmp_path / "raw", tmp_path / "b", jobs=2)
    assert made > 15
    assert len(manifest.parts) > 5
    for split in ("train", "validation"):
        pieces = [open_prepared(TINY, folder).array(split, "pieces")[:] for folder in (tmp_path / "b", root)]
        np.testing.assert_array_equal(*pieces)


@pytest.mark.slow
def test_killed_at_any_moment_it_makes_the_same(raw: Path, root: Path, tmp_path: Path) -> None:
    many = tmp_path / "raw"
    raw_finewebedu.make(many, documents=20_000, files=4)
    prepare("finewebedu_lm", many, tmp_path / "straight")
    name = "finewebedu"
    assert prepare_under_fire(name, many, tmp_path / "shot", kills=10)
    assert tree(tmp_path / "shot" / name / "parts") == tree(tmp_path / "straight" / name / "parts")


def test_the_published_sizes_are_cut_exactly(tmp_path: Path) -> None:
    """Training takes documents until its sequences are full; the rest of the last one is in no split."""
    lengths = np.array([4, 3, 5, 2, 6, 3])
    with RaggedWriter(tmp_path, "tokens", np.dtype(np.uint16)) as writer:
        writer.append(np.arange(lengths.sum()), lengths)
    order = np.random.default_rng(0).permutation(6)
    in_order = lengths[order].cumsum()
    for wanted, documents in ((in_order[2], 3), (in_order[2] - 1, 3), (in_order[2] + 1, 4)):
        parts.write_order([tmp_path], int(wanted), tmp_path, tmp_path)
        starts = np.load(tmp_path / "train_starts.npy")
        assert len(starts) == documents + 1
        assert starts[-1] == in_order[documents - 1]
        assert (
            np.load(tmp_path / "validation_sources.npy").tolist()
            == (lengths.cumsum() - lengths)[order][documents:].tolist()
        )
        assert np.load(tmp_path / "validation_starts.npy")[-1] == in_order[-1] - in_order[documents - 1]
    with pytest.raises(UserError, match="too few documents: 6 that are not empty, 23 tokens; training alone takes 24"):
        parts.write_order([tmp_path], 24, tmp_path, tmp_path)
    full = FinewebeduLm("full").recipe()
    assert full.expected_examples == {"train": 8_749_870, "validation": 100_000}
    assert full.settings["train_sequences"] == 8_749_870
    assert full.distribution.prepared_bytes == 8_849_870 * 1025 * 2


def test_the_published_size_through_the_engine(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at `full`, with other numbers: both splits are cut to them, and a dataset too small is refused."""
    monkeypatch.setattr(recipe, "FILES", 2)
    monkeypatch.setattr(recipe.FinewebeduRecipe, "published_examples", {"train": 500, "validation": 30})
    monkeypatch.setattr(recipe.tokenizer, "PUBLISHED", {})
    whole = len(json.loads((raw / "vocab.json").read_text()))
    published = replace(TINY, published=True, vocabulary=whole)
    manifest, _ = build.prepare(published, raw, tmp_path / "data", jobs=1)
    assert manifest.examples == {"train": 500, "validation": 30}
    monkeypatch.setattr(recipe.FinewebeduRecipe, "published_examples", {"train": 500, "validation": 100_000})
    with pytest.raises(UserError, match="expected 100000 validation examples, found"):
        build.prepare(published, raw, tmp_path / "other", jobs=1)
    monkeypatch.setattr(recipe, "FILES", 3)
    with pytest.raises(UserError, match=r"002_00000\.parquet: no such file; expected all of 3"):
        published.stages(raw, tmp_path)


def test_tokens_are_gpt_2_s_kind(raw: Path) -> None:
    """No space is put in front, spaces belong to the words that follow, an end of text written out is one token."""
    vocabulary = json.loads((raw / "vocab.json").read_text())
    tokenizer = Tokenizer((raw / "vocab.json", raw / "merges.txt"), 64, whole=False)
    texts = ["la lamu.", "", f"mu{raw_finewebedu.END_OF_TEXT}la", "si  si"]
    space = raw_finewebedu.SPACE
    pieces = [["la", f"{space}la", "mu", "."], ["mu", raw_finewebedu.END_OF_TEXT, "la"], ["si", space, f"{space}si"]]
    tokens, lengths = tokenizer.encode(texts)
    assert lengths.tolist() == [4, 0, 3, 3]
    assert tokens.tolist() == [vocabulary[piece] for each in pieces for piece in each]
    assert tokenizer.end_of_text == vocabulary[raw_finewebedu.END_OF_TEXT]


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def other_column(path: Path) -> None:
    pq.write_table(pa.table({"content": ["la"]}), path)


def numbers(path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2]}), path)


def few(path: Path) -> None:
    pq.write_table(pa.table({"text": ["la"]}), path)


def no_end(path: Path) -> None:
    path.write_text(json.dumps({"l": 0, "a": 1, "la": 2}))
    (path.parent / "merges.txt").write_text("#version: 0.2\nl a\n")


def too_many(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "zz": 64}))


def not_json(path: Path) -> None:
    path.write_text('{"l": 0,')


def bad_merges(path: Path) -> None:
    path.write_text("#version: 0.2\nq z\n")


DOCUMENTS = "sample/10BT/000_00000.parquet"


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        (DOCUMENTS, cut_off, r"000_00000\.parquet: cannot be read .*; download it again"),
        (DOCUMENTS, other_column, r"000_00000\.parquet: expected a column 'text', found content"),
        (DOCUMENTS, numbers, r"000_00000\.parquet: expected texts in the column 'text', found int64"),
        (DOCUMENTS, Path.unlink, r"000_00000\.parquet: no such file; expected all of 2"),
        (DOCUMENTS, few, "too few documents"),
        ("vocab.json", Path.unlink, r"vocab\.json: no such file; expected vocab\.json and merges\.txt"),
        ("merges.txt", Path.unlink, r"merges\.txt: no such file"),
        ("vocab.json", not_json, r"vocab\.json: cannot be read"),
        ("vocab.json", no_end, r"vocab\.json: expected a token <\|endoftext\|>, found none among 3"),
        ("vocab.json", too_many, r"vocab\.json: expected at most 64 tokens, found 33 with ids up to 64"),
        ("merges.txt", bad_merges, r"merges\.txt: cannot be read"),
    ],
)
def test_bad_input_is_named(name: str, spoil: Callable[[Path], None], message: str, raw: Path, tmp_path: Path) -> None:
    copy = tmp_path / "raw"
    shutil.copytree(raw, copy)
    if spoil is few:
        (copy / "sample/10BT/001_00000.parquet").unlink()
    spoil(copy / name)
    with pytest.raises(UserError, match=message):
        make_here(TINY, copy, tmp_path / "parts")


def make_here(recipe: FinewebeduRecipe, raw: Path, folder: Path) -> None:
    """Make all parts in this process, without the engine."""
    for stage in recipe.stages(raw, folder):
        for part in stage():
            (folder / part.name).mkdir(parents=True)
            part.make(folder / part.name)


def test_the_command_says_what_is_wrong_in_one_sentence(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = prepare("finewebedu_lm", tmp_path / "empty", tmp_path / "data", code=2)
    assert "vocab.json" in message
    shutil.copytree(raw, tmp_path / "raw")
    content = bytearray((tmp_path / "raw" / DOCUMENTS).read_bytes())
    content[100:1500] = bytes(1400)  # the end, which tells what is where, is good
    (tmp_path / "raw" / DOCUMENTS).write_bytes(content)
    message = prepare("finewebedu_lm", tmp_path / "raw", tmp_path / "data", code=2)
    assert "000_00000.parquet" in message.replace("\n", "")


def test_the_stream_is_cut_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty megabytes of tokens, blocks of 400 kB."""
    monkeypatch.setattr(parts, "_BLOCK", 200_000)
    lengths = np.random.default_rng(0).integers(500, 1500, 10_000)
    with RaggedWriter(tmp_path, "tokens", np.dtype(np.uint16)) as writer:
        writer.append(np.arange(lengths.sum()) % 50_000, lengths)
    parts.write_order([tmp_path], None, tmp_path, tmp_path)
    count = int(load_array(tmp_path / "train_starts.npy")[-1]) // 1025
    del lengths
    tracemalloc.start()
    try:
        parts.write_pieces([tmp_path], tmp_path, "train", range(count), 1025, 50_000, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "pieces.npy").stat().st_size > 15e6
    assert peak < 3e6


@pytest.mark.parametrize("module", ["pyarrow", "pyarrow.parquet", "tokenizers"])
def test_a_missing_library_is_named_with_its_extra(
    module: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"pip install 'timetrial\[lm\]'"):
        make_here(TINY, raw, tmp_path)


MEASURE = """
import re, sys
from pathlib import Path
from timetrial.workloads.finewebedu_lm import parts
parts._DOCUMENTS = 5
raw = Path(sys.argv[1])
for name, groups in (("few", range(4)), ("many", range(24))):
    (raw / name).mkdir()
    path = raw / "sample" / "10BT" / "000_00000.parquet"
    parts.write_documents(path, groups, (raw / "vocab.json", raw / "merges.txt"), 64, False, raw / name)
    print(re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_documents_are_tokenised_in_bounded_memory(tmp_path: Path) -> None:
    """Twenty more row groups take less memory than their text alone has."""
    raw_finewebedu.make(tmp_path, documents=100, files=1, words=(900, 1100))
    path = tmp_path / DOCUMENTS
    text = pq.read_table(path, columns=["text"])
    with pq.ParquetWriter(path, text.schema) as writer:
        for _ in range(24):
            writer.write_table(text)
    done = subprocess.run([sys.executable, "-c", MEASURE, tmp_path], capture_output=True, text=True, check=True)
    few, many = (1024 * int(size) for size in done.stdout.split())
    assert many - few < 20 * text.nbytes, (few, many, text.nbytes)
