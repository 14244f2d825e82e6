"""Generated datasets: made once, checked at every use, never half of one, by however many processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from timetrial.errors import UserError
from timetrial.workloads.base import HostBatch
from timetrial.workloads.generated import Generated, cache_folder, fingerprint


def ramp(size: int, log: Path | None = None) -> HostBatch:
    """Two arrays; writes a line to the log each time."""
    if log is not None:
        with log.open("a") as file:
            file.write("made\n")
    return {"inputs": np.arange(size, dtype=np.uint16), "targets": np.arange(size, dtype=np.uint8) % 3}


def dataset(generate: Callable[[], HostBatch] = partial(ramp, 100)) -> Generated:
    return Generated(name="ramp", sha256=fingerprint(ramp(100)), generate=generate)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIMETRIAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_made_once_and_mapped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    made = dataset(partial(ramp, 100, log))
    assert not made.is_cached()
    for _ in range(3):
        arrays = made.arrays()
        np.testing.assert_array_equal(arrays["inputs"], np.arange(100))
        assert isinstance(arrays["inputs"], np.memmap)
    assert made.is_cached()
    assert log.read_text() == "made\n"


@pytest.mark.parametrize("damage", ["a byte", "the end", "a file", "another file", "nonsense"])
def test_what_is_broken_is_made_anew(damage: str) -> None:
    made = dataset()
    made.arrays()
    file = made.folder / "inputs.npy"
    content = bytearray(file.read_bytes())
    match damage:
        case "a byte":
            content[-5] ^= 1
            file.write_bytes(content)
        case "the end":
            file.write_bytes(content[:-7])
        case "a file":
            file.unlink()
        case "another file":
            np.save(made.folder / "more.npy", np.zeros(3))
        case "nonsense":
            file.write_bytes(b"")
    arrays = made.arrays()
    assert fingerprint(arrays) == made.sha256
    assert sorted(path.name for path in made.folder.iterdir()) == ["inputs.npy", "targets.npy"]


def slow(log: Path) -> HostBatch:
    arrays = ramp(100, log)
    time.sleep(0.3)
    return arrays


def fill(made: Generated) -> None:
    made.arrays()


def test_of_many_processes_one_generates(tmp_path: Path) -> None:
    log = tmp_path / "log"
    made = dataset(partial(slow, log))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fill, args=(made,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert log.read_text() == "made\n"


def test_a_kill_while_writing_leaves_nothing_that_counts(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = dataset()
    context = multiprocessing.get_context("fork")

    def killed_at_the_second_file() -> None:
        save, saved = np.save, []

        def save_or_die(file: object, array: np.ndarray, **options: bool) -> None:
            if saved:
                os.kill(os.getpid(), signal.SIGKILL)
            save(file, array, **options)  # type: ignore[arg-type]
            saved.append(file)

        monkeypatch.setattr(np, "save", save_or_die)
        made.arrays()

    process = context.Process(target=killed_at_the_second_file)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not made.is_cached()
    assert list(cache.glob("*.partial-*"))
    made.arrays()
    assert not list(cache.glob("*.partial-*")), "what the killed process left is gone"


def test_a_machine_that_computes_otherwise_is_told() -> None:
    with pytest.raises(UserError, match="ramp: the generator made data with the hash"):
        dataset(partial(ramp, 101)).arrays()
    assert not dataset().is_cached()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("TIMETRIAL_CACHE", str(blocked))
    with pytest.raises(UserError, match=r"file/ramp-.*TIMETRIAL_CACHE"):
        dataset().arrays()


def test_the_cache_is_where_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TIMETRIAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "timetrial"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "timetrial"


def test_the_fingerprint_sees_names_types_and_shapes() -> None:
    base = np.arange(6, dtype=np.uint16)
    variants = [{"a": base}, {"b": base}, {"a": base.astype(np.int16)}, {"a": base.reshape(2, 3)}, {"a": base + 1}]
    assert len({fingerprint(arrays) for arrays in variants}) == len(variants)
    assert fingerprint({"a": base.astype(">u2")}) == fingerprint({"a": base})
