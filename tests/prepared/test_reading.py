"""Reading prepared files: arrays in a row, record files, examples made in threads."""

import shutil
from pathlib import Path
from threading import get_ident

import numpy as np
import pytest
from commands import check_ranks_and_seeking, check_resuming
from hypothesis import given
from hypothesis import strategies as st

from timetrial.errors import UserError
from timetrial.prepared.chunks import Chunked
from timetrial.prepared.folder import load_array
from timetrial.prepared.records import Records, write_records
from timetrial.workloads.base import SPLITS, HostBatch
from timetrial.workloads.example_sources import EvaluationSplit, ExampleData, Row

lengths = st.lists(st.integers(0, 5), min_size=1, max_size=5)


@given(lengths, st.data())
def test_arrays_in_a_row_read_like_their_concatenation(lengths: list[int], data: st.DataObject) -> None:
    arrays = [
        np.arange(10 * number, 10 * number + 2 * length).reshape(length, 2) for number, length in enumerate(lengths)
    ]
    whole = np.concatenate(arrays)
    chunked = Chunked(arrays)
    assert (len(chunked), chunked.shape, chunked.dtype) == (len(whole), whole.shape, whole.dtype)
    if len(whole):
        rows = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)), dtype=np.int64)
        np.testing.assert_array_equal(chunked.take(rows, axis=0), whole.take(rows, axis=0))
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(0, len(whole) + 2))
    np.testing.assert_array_equal(chunked[start:stop], whole[start:stop])


def test_a_file_that_is_no_array_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"not an array")
    with pytest.raises(UserError, match=r"x.npy: is no array"):
        load_array(tmp_path / "x.npy")


def write(folder: Path) -> tuple[list[Path], list[bytes]]:
    """Write three record files; return them and all records."""
    paths = [folder / f"{number}.array_record" for number in range(3)]
    records = [bytes([number]) * (1 + 1000 * (number % 3)) for number in range(30)]
    for number, path in enumerate(paths):
        assert write_records(path, records[10 * number : 10 * number + 10]) == 10
    return paths, records


def test_records_are_read_by_number(tmp_path: Path) -> None:
    paths, written = write(tmp_path)
    records = Records(paths, [10, 10, 10])
    assert len(records) == 30
    for number in (29, 0, 10, 9, 11, 20, 19):
        assert records.read(number) == written[number]


def test_broken_records_name_their_file(tmp_path: Path) -> None:
    paths, _ = write(tmp_path)
    with pytest.raises(UserError, match=r"1.array_record: expected 9 records, found 10"):
        Records(paths, [10, 9, 10]).read(12)
    content = bytearray(paths[1].read_bytes())
    spot = content.index(bytes([17]) * 1000)
    content[spot + 500] ^= 1
    paths[1].write_bytes(content)
    records = Records(paths, [10, 10, 10])
    assert records.read(12) == bytes([12])
    with pytest.raises(UserError, match=r"1.array_record: record 7 is broken"):
        records.read(17)
    paths[2].write_bytes(paths[2].read_bytes()[:-100])
    with pytest.raises(UserError, match=r"2.array_record: "):
        Records(paths, [10, 10, 10]).read(25)


def test_a_full_disk_is_an_os_error() -> None:
    with pytest.raises(OSError, match="No space left on device"):
        write_records(Path("/dev/full"), [bytes(100_000)] * 100)


def make(row: int, random: np.random.Generator) -> HostBatch:
    return {"inputs": np.array([row, random.standard_normal()]), "targets": np.int64(row)}


def mixed(own: HostBatch, before: HostBatch, random: np.random.Generator) -> HostBatch:
    weight = random.random()
    return {name: weight * own[name] + (1 - weight) * before[name] for name in own}


def data(*, mix: bool = False, examples: int = 23) -> ExampleData:
    split = EvaluationSplit(examples=7, example=lambda row: {"inputs": np.array([row, 0.0]), "targets": np.int64(row)})
    return ExampleData(examples, make, {"validation": split}, mix=mixed if mix else None, threads=3)


@pytest.mark.parametrize("mix", [False, True])
def test_examples_are_a_function_of_seed_and_step_on_all_ranks(mix: bool) -> None:
    check_ranks_and_seeking(data(mix=mix), 8, ranks=(2, 4, 8), steps=5)
    check_ranks_and_seeking(data(mix=mix), 15, ranks=(3, 5), steps=5)
    check_resuming(data(mix=mix), 5)


def test_every_example_once_an_epoch_each_time_augmented_anew() -> None:
    source = data().train_source(np.random.SeedSequence(1), 5)
    stream = np.concatenate([source.batch(step)["inputs"] for step in range(23)])
    for epoch in range(5):
        assert sorted(stream[23 * epoch : 23 * epoch + 23, 0]) == list(range(23))
    assert len(np.unique(stream[:, 1])) == len(stream)


def test_mixing_is_with_the_example_before_in_the_whole_batch() -> None:
    seed = np.random.SeedSequence(2)
    plain, mixing = data().train_source(seed, 6), data(mix=True).train_source(seed, 6)
    own, found = plain.batch(4)["targets"], mixing.batch(4)["targets"]
    weights = (found - np.roll(own, 1)) / (own - np.roll(own, 1))
    assert weights == pytest.approx(np.full(6, weights[0]))
    assert 0 < weights[0] < 1


def test_evaluations_are_in_order_and_examples_are_made_by_other_threads() -> None:
    threads = set()

    def example(row: int) -> HostBatch:
        threads.add(get_ident())
        return {"inputs": np.array([row])}

    found = ExampleData(1, make, {"test": EvaluationSplit(examples=11, example=example)}, threads=2)
    batches = list(found.eval_batches("test", 4))
    assert [batch["inputs"].ravel().tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert get_ident() not in threads


def test_what_goes_wrong_in_a_thread_reaches_the_caller(tmp_path: Path) -> None:
    paths, _ = write(tmp_path)
    records = Records(paths, [10, 10, 10])
    broken = ExampleData(30, lambda row, _: {"inputs": np.frombuffer(records.read(row), np.uint8)[:1]}, {})
    shutil.move(paths[1], tmp_path / "away")
    with pytest.raises(UserError, match=r"1.array_record"):
        broken.train_source(np.random.SeedSequence(0), 30).batch(0)


def ragged(number: int) -> HostBatch:
    return {"tokens": np.full(1 + number % 4, number)}


def test_a_part_is_written_as_its_row_says() -> None:
    def write(row: np.ndarray, tokens: np.ndarray) -> None:
        row[: len(tokens)] = tokens
        row[len(tokens) :] = 0

    rows = {"tokens": Row(shape=(5,), dtype=np.dtype(np.float32), write=write)}
    splits = {split: EvaluationSplit(examples=9, example=ragged, rows=rows) for split in SPLITS}
    data = ExampleData(9, lambda number, _: ragged(number), splits, rows=rows, threads=3)
    found = np.concatenate([batch["tokens"] for batch in data.eval_batches("test", 4)])
    assert found.dtype == np.float32
    assert found.tolist() == [[n if place <= n % 4 else 0 for place in range(5)] for n in range(9)]
    check_resuming(data, 4)


def test_an_error_in_a_thread_comes_out() -> None:
    def broken(number: int) -> HostBatch:
        if number == 5:
            raise UserError("record 5 is broken")
        return {"x": np.array(number)}

    splits = {split: EvaluationSplit(examples=9, example=broken) for split in ("train", "validation", "test")}
    data = ExampleData(9, lambda n, _: broken(n), splits)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="record 5"):
        list(data.eval_batches("test", 9))
    with pytest.raises(UserError, match="record 5"):
        data.train_source(np.random.SeedSequence(0), 9).batch(0)
