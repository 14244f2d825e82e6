"""Criteo's click logs: from files as they are distributed to batches, and what must not pass."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import raw_criteo1tb as raw_logs
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

from timetrial.errors import FileError, UserError
from timetrial.prepared.build import prepare as prepare_dataset
from timetrial.prepared.folder import open_prepared
from timetrial.prepared.lines import Lines, read_lines
from timetrial.suite import load_suite
from timetrial.workloads.criteo1tb.data import ClickData, StoredFields
from timetrial.workloads.criteo1tb.logs import parse_log
from timetrial.workloads.criteo1tb.preprocessing import parse_lines
from timetrial.workloads.criteo1tb.recipe import CriteoRecipe, copy_examples, day_files, parse_day
from timetrial.workloads.criteo1tb.workload import (
    BLOCK_LINES,
    EVAL_TRAIN,
    FIELD_SIZES,
    MINI_FIELD_SIZES,
    TINY_FIELD_SIZES,
    Criteo1tb,
)

TINY_BLOCK = BLOCK_LINES["tiny"]
TRAIN, LAST = (200, 130), 330  # 4 + 3 blocks of 64, and 6: 4 of them test, 2 validation


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, list[str]]]:
    """The folder of prepared data, and the raw lines by day."""
    folder = tmp_path_factory.mktemp("criteo")
    days = raw_logs.make(folder / "raw", train=TRAIN, last=LAST)
    prepare("criteo1tb", folder / "raw", folder / "data")
    return folder / "data", days


def whole_split(data: ClickData, split: str) -> dict[str, np.ndarray]:
    batches = list(data.eval_batches(split, 50))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


# From raw files to a trial.


def test_prepare_verify_train_evaluate(prepared: tuple[Path, dict[int, list[str]]], tmp_path: Path) -> None:
    data, _ = prepared
    assert "as it was prepared" in timetrial("data", "verify", "criteo1tb", "--data", data)
    assert "nothing was left to do" in " ".join(prepare("criteo1tb", data.parent / "raw", data).split())
    row = train("criteo1tb", data, tmp_path, batch_size=32, eval_batch_size=128)
    assert row["train/loss"] < 5


def test_splits_are_the_raw_lines(prepared: tuple[Path, dict[int, list[str]]]) -> None:
    data, days = prepared
    found = prepared_data("criteo1tb", data)
    assert found.train_examples == sum(TRAIN)
    lines = {
        "train": (days[0] + days[1])[: EVAL_TRAIN["tiny"]],
        "test": days[23][: 4 * TINY_BLOCK],
        "validation": days[23][4 * TINY_BLOCK :],
    }
    for split, expected in lines.items():
        assert found.eval_examples(split) == len(expected)
        assert_same(whole_split(found, split), parse_lines(expected, TINY_FIELD_SIZES))
        for batch in found.eval_batches(split, 100):
            Criteo1tb("tiny").check_batch(batch)


def test_same_bytes_from_every_form_of_the_raw_files(
    prepared: tuple[Path, dict[int, list[str]]], tmp_path: Path
) -> None:
    """Other folders, other numbers of processes, packed, unpacked, and cut as the reference cuts."""
    data, _ = prepared
    manifest = open_prepared(Criteo1tb("tiny").recipe(), data).manifest
    recipe = Criteo1tb("tiny").recipe()
    for form, jobs in (("plain", 1), ("cut", 2)):
        raw_logs.make(tmp_path / form, train=TRAIN, last=LAST, form=form)
        found, made = prepare_dataset(recipe, tmp_path / form, tmp_path / f"data-{form}", jobs=jobs)
        assert made == 5
        assert found.split_sha256 == manifest.split_sha256
    raw_logs.make(tmp_path / "again", train=TRAIN, last=LAST)
    prepare_dataset(recipe, tmp_path / "again", tmp_path / "data-again", jobs=1)
    assert parts_of(tmp_path / "data-again") == parts_of(data)
    assert not (data / "criteo1tb" / "parts" / "day-23").exists()


def parts_of(data: Path) -> dict[str, str]:
    return tree(data / "criteo1tb" / "parts") | {"manifest": (data / "criteo1tb" / "manifest.json").read_text()}


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    raw_logs.make(tmp_path / "raw", train=(9000, 20_000, 12_000), last=25_000)
    prepare("criteo1tb", tmp_path / "raw", tmp_path / "straight")
    assert prepare_under_fire("criteo1tb", tmp_path / "raw", tmp_path / "shot", kills=8) > 0
    assert parts_of(tmp_path / "shot") == parts_of(tmp_path / "straight")


def test_a_broken_part_is_mended(prepared: tuple[Path, dict[int, list[str]]], tmp_path: Path) -> None:
    shutil.copytree(prepared[0], tmp_path / "data")
    counts = tmp_path / "data" / "criteo1tb" / "parts" / "validation" / "counts.npy"
    counts.write_bytes(counts.read_bytes()[:-4] + b"none")
    assert "counts.npy: its contents changed" in timetrial(
        "data", "verify", "criteo1tb", "--data", tmp_path / "data", code=1
    )
    prepare("criteo1tb", prepared[0].parent / "raw", tmp_path / "data")
    assert parts_of(tmp_path / "data") == parts_of(prepared[0])


def test_lines_of_the_reference(shared: Path, tmp_path: Path) -> None:
    """The golden lines as a day of training and, in three blocks of two, as the last."""
    golden = json.loads((shared / "golden" / "preprocess_criteo.json").read_text())
    inputs = np.load(shared / "golden" / "preprocess_criteo.npz")["inputs"]
    for day in (0, 23):
        (tmp_path / f"day_{day}").write_text("\n".join(golden["lines"]))  # the last line without its end
    recipe = CriteoRecipe(field_sizes=FIELD_SIZES, block_lines=2, published=False)
    prepare_dataset(recipe, tmp_path, tmp_path / "data", jobs=1)
    data = ClickData(open_prepared(recipe, tmp_path / "data"), FIELD_SIZES, 2, 100)
    for split, rows in (("train", slice(6)), ("test", slice(4)), ("validation", slice(4, 6))):
        batch = whole_split(data, split)
        np.testing.assert_allclose(batch["inputs"][:, :13], inputs[rows, :13], rtol=2e-7)
        np.testing.assert_array_equal(batch["inputs"][:, 13:], inputs[rows, 13:])
        np.testing.assert_array_equal(batch["targets"], golden["targets"][rows])


def test_the_published_sizes() -> None:
    recipe = Criteo1tb("full").recipe()
    assert dict(recipe.expected_examples) == {"train": 4_195_197_692, "validation": 83_274_637, "test": 95_000_000}
    assert recipe.expected_examples["test"] == (36 // 2 + 1) * BLOCK_LINES["full"]
    for suite in ("algoperf-0.5", "algoperf-0.6"):
        entry = load_suite(suite).workloads["criteo1tb"]
        assert entry.train_examples == recipe.expected_examples["train"]
        expected = {**recipe.expected_examples, "train": EVAL_TRAIN["full"]}
        assert {split: getattr(entry.eval_examples, split) for split in expected} == expected
    stored = StoredFields(FIELD_SIZES).pack(
        {"labels": np.zeros(1, np.uint8), "counts": np.zeros((1, 13), np.float32), "buckets": np.zeros((1, 26))}
    )
    assert {name: array.shape[1] for name, array in stored.items() if array.ndim == 2} == {
        "counts": 13, "narrow": 8, "middle": 10, "wide": 8,
    }  # fmt: skip


# Parsing.


CELLS = {
    "label": st.sampled_from(["0", "1"]),
    "count": st.one_of(
        st.just(""),
        st.integers(-5, 10**12).map(str),
        st.sampled_from(["-1", "-0", "00012", "99999999", "100000000", "-12345678", "-123456789", "2.5", "1e3", "+7"]),
    ),
    "category": st.one_of(
        st.integers(0, 2**32 - 1).map("{:08x}".format),
        st.sampled_from(["", "-1", "0", "-12", "00000000"]),
        st.text("0123456789abcdefXYZ-+. ", min_size=0, max_size=14),
    ),
}
LINE = st.builds(
    lambda label, counts, categories: "\t".join([label, *counts, *categories]) + "\n",
    CELLS["label"],
    st.lists(CELLS["count"], min_size=13, max_size=13),
    st.lists(CELLS["category"], min_size=26, max_size=26),
)


@settings(max_examples=60)
@given(st.lists(LINE, min_size=1, max_size=5), st.sampled_from([FIELD_SIZES, MINI_FIELD_SIZES, TINY_FIELD_SIZES]))
def test_fast_parsing_is_plain_parsing(lines: list[str], sizes: tuple[int, ...]) -> None:
    """Stored and made a batch again, every line is what `parse_lines` makes of it."""
    stored = StoredFields(sizes)
    parsed = parse_log(Lines(Path("log"), 1, "".join(lines).encode()), sizes)
    packed = stored.pack(parsed)
    files = {"narrow": np.uint8, "middle": np.uint16, "wide": np.uint32}
    rows = {name: array.astype(files.get(name, array.dtype)) for name, array in packed.items()}
    assert_same(stored(rows), parse_lines(lines, sizes))


def test_thousands_of_lines(tmp_path: Path) -> None:
    lines = raw_logs.lines(5000, 3)
    raw_logs.write_gz(tmp_path / "day_0.gz", lines)
    parsed = [parse_log(piece, FIELD_SIZES) for piece in read_lines(tmp_path / "day_0.gz", 100_000)]
    assert len(parsed) > 5
    expected = parse_lines(lines, FIELD_SIZES)
    buckets = np.concatenate([piece["buckets"] for piece in parsed]).astype(np.float32)
    np.testing.assert_array_equal(buckets, expected["inputs"][:, 13:])
    counts = np.concatenate([piece["counts"] for piece in parsed])
    np.testing.assert_array_equal(counts, expected["inputs"][:, :13])


def test_memory_stays_small(tmp_path: Path) -> None:
    """A day of 70 MB as text, 34 MB as examples: neither is held."""
    raw_logs.write_gz(tmp_path / "day_0.gz", raw_logs.lines(10_000, 5) * 30)
    script = (
        "import sys, pathlib, re\n"
        "from timetrial.workloads.criteo1tb.recipe import parse_day\n"
        "from timetrial.workloads.criteo1tb.workload import FIELD_SIZES as sizes\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "memory = lambda: int(re.search(r'VmHWM:\\s*(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
        "before = memory()\n"
        "(folder / 'parsed').mkdir()\n"
        "assert parse_day((folder / 'day_0.gz',), sizes, None, folder / 'parsed') == 300_000\n"
        "print(memory() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    size = sum(path.stat().st_size for path in (tmp_path / "parsed").iterdir())
    assert size > 300_000 * 113
    assert int(done.stdout) * 1024 < 25_000_000


# What must not pass.


def broken(lines: list[str], number: int, change: Callable[[list[str]], list[str]]) -> list[str]:
    """Return the lines, the one of that number from 1 with its fields changed."""
    fields = lines[number - 1].rstrip("\n").split("\t")
    return [*lines[: number - 1], "\t".join(change(fields)) + "\n", *lines[number:]]


def with_field(column: int, text: str, fields: list[str]) -> list[str]:
    return [*fields[:column], text, *fields[column + 1 :]]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda fields: fields[:-1], "expected 40 fields, found 39"),
        (lambda fields: [*fields, "x"], "expected 40 fields, found 41"),
        (partial(with_field, 0, "2"), "expected a label of 0 or 1, found '2'"),
        (partial(with_field, 0, ""), "expected a label of 0 or 1, found ''"),
        (partial(with_field, 0, "10"), "expected a label of 0 or 1, found '10'"),
        (partial(with_field, 5, "many"), "field 6: expected a count, found 'many'"),
        (partial(with_field, 5, "12x"), "field 6: expected a count, found '12x'"),
        (partial(with_field, 5, "-"), "field 6: expected a count, found '-'"),
        (partial(with_field, 13, "nan"), "field 14: expected a count, found 'nan'"),
        (partial(with_field, 39, "123456789abcdef"), "field 40: expected a category of 8 digits"),
    ],
)
def test_a_bad_line_is_named(change: Callable[[list[str]], list[str]], problem: str, tmp_path: Path) -> None:
    raw_logs.write_gz(tmp_path / "day_0.gz", broken(raw_logs.lines(900, 1), 707, change))
    with pytest.raises(FileError) as error:
        [parse_log(piece, FIELD_SIZES) for piece in read_lines(tmp_path / "day_0.gz", 20_000)]
    assert str(error.value).startswith(f"{tmp_path / 'day_0.gz'}: line 707: {problem}")


def test_a_bad_line_through_the_commands(tmp_path: Path) -> None:
    days = raw_logs.make(tmp_path / "raw", train=(100,), last=200)
    raw_logs.write_gz(tmp_path / "raw" / "day_0.gz", broken(days[0], 41, partial(with_field, 3, "x")))
    output = prepare("criteo1tb", tmp_path / "raw", tmp_path / "data", code=2)
    assert "day_0.gz: line 41: field 4: expected a count, found 'x'" in output.replace("\n", " ")


def failure(raw: Path, *, whole: bool = False, block_lines: int = TINY_BLOCK) -> str:
    recipe = CriteoRecipe(field_sizes=TINY_FIELD_SIZES, block_lines=block_lines, published=whole)
    with pytest.raises(UserError) as error:
        prepare_dataset(recipe, raw, raw.parent / "data", jobs=1)
    return str(error.value)


def test_truncated_and_damaged_archives(tmp_path: Path) -> None:
    raw_logs.make(tmp_path / "raw", train=(2000,))
    path = tmp_path / "raw" / "day_0.gz"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:5000] + b"oops" + whole[5004:], b"no archive", b""):
        path.write_bytes(damaged)
        assert failure(tmp_path / "raw").startswith(f"{path}: ")


def test_missing_files(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    assert failure(raw).startswith(f"{raw / 'day_0.gz'}: no such file")
    raw_logs.make(raw)
    (raw / "day_23.gz").unlink()
    assert failure(raw).startswith(f"{raw / 'day_23.gz'}: no such file")
    raw_logs.make(raw)
    assert failure(raw, whole=True).startswith(f"{raw / 'day_2.gz'}: no such file")
    (raw / "day_0").write_text("")
    assert "day 0 is also there as day_0; expected one of them" in failure(raw)


def test_cut_days(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw_logs.make(raw, train=(200,), form="cut")
    assert [path.name for path in day_files(raw, 0)] == ["day_0_00", "day_0_01", "day_0_02", "day_0_03"]
    (raw / "day_0_01").rename(tmp_path / "away")
    assert failure(raw).startswith(f"{raw / 'day_0_01'}: no such file, though day_0_03 is there")
    (tmp_path / "away").rename(raw / "day_0_01")
    with (raw / "day_0_01").open("a") as file:
        file.writelines(raw_logs.lines(1, 9))
    folder = tmp_path / "part"
    folder.mkdir()
    with pytest.raises(FileError, match=r"day_0_01: expected 64 lines, found 65"):
        parse_day(day_files(raw, 0), TINY_FIELD_SIZES, TINY_BLOCK, folder)


def test_a_day_too_short_or_empty(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw_logs.make(raw, last=2 * TINY_BLOCK)
    assert f"day_23.gz: expected more than {2 * TINY_BLOCK} lines in day 23, found {2 * TINY_BLOCK}" in failure(raw)
    raw_logs.write_gz(raw / "day_1.gz", [])
    assert failure(raw).startswith(f"{raw / 'day_1.gz'}: holds no lines")
    (raw / "day_1.gz").write_bytes(gzip.compress(bytes(3_000_000)))
    assert "day_1.gz: line 1: longer than" in failure(raw)


# Training.


def test_ranks_and_resuming_on_prepared_data(prepared: tuple[Path, dict[int, list[str]]]) -> None:
    data = prepared_data("criteo1tb", prepared[0])
    check_ranks_and_seeking(data, 24, ranks=(1, 2, 3, 4, 6, 8), steps=16)
    check_ranks_and_seeking(data, 35, ranks=(5, 7), steps=8)
    check_resuming(data, 24)
    with pytest.raises(UserError, match="a multiple of the 5 ranks"):
        data.train_source(np.random.SeedSequence(0), 24, rank=0, ranks=5)


def test_copying_is_exact(prepared: tuple[Path, dict[int, list[str]]], tmp_path: Path) -> None:
    test = prepared[0] / "criteo1tb" / "parts" / "test"
    assert copy_examples(test, TINY_FIELD_SIZES, 10, 110, tmp_path) == 100
    for name in ("labels", "counts", "narrow"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), np.load(test / f"{name}.npy")[10:110])
