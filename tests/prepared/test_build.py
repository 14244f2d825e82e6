"""The engine: whole parts or none, nothing made twice, everything broken named and mended."""

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from commands import tree
from toy_recipe import Toy

from timetrial.errors import UserError
from timetrial.prepared.build import prepare, size_text, verify
from timetrial.prepared.folder import open_prepared, read_manifest
from timetrial.prepared.workers import Progress
from timetrial.records.lock import exclusive


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    for number in range(3):
        (folder / f"train_{number}.txt").write_text("\n".join(map(str, range(10 * number, 10 * number + 4))) + "\n")
    (folder / "validation.txt").write_text("7\n8\n")
    return folder


def test_a_dataset_is_prepared_and_opened(raw: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    manifest, made = prepare(Toy(), raw, tmp_path / "data", jobs=2, on_progress=seen.append)
    assert made == 8
    assert manifest.examples == {"train": 12, "validation": 2}
    assert [part.name for part in manifest.parts] == ["train_0", "train_1", "train_2", "validation"]
    assert (seen[-1].stage, seen[-1].stages, seen[-1].parts_done, seen[-1].parts) == (2, 2, 4, 4)
    prepared = open_prepared(Toy(), tmp_path / "data")
    numbers = prepared.array("train", "numbers")
    assert numbers[0 : len(numbers)].tolist() == [23 + n for n in (*range(4), *range(10, 14), *range(20, 24))]
    assert list(prepared.arrays("validation")) == ["numbers"]
    assert sorted(path.name for path in (tmp_path / "data" / "toy" / "parts").iterdir()) == [
        "train_0", "train_1", "train_2", "validation",
    ], "temporary parts are gone"  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "data" / "toy").iterdir()) == ["manifest.json", "parts"]


def test_a_kill_after_the_manifest_leaves_nothing_for_good(raw: Path, tmp_path: Path) -> None:
    prepare(Toy(), raw, tmp_path / "data", jobs=1)
    whole = tree(tmp_path / "data")
    for left in ("parts/read-train_0", "partial/train_1"):
        (tmp_path / "data" / "toy" / left).mkdir(parents=True)
        (tmp_path / "data" / "toy" / left / "numbers.npy").write_bytes(b"half")
    assert prepare(Toy(), raw, tmp_path / "data", jobs=1)[1] == 0
    assert tree(tmp_path / "data") == whole


def test_the_same_bytes_however_it_is_prepared(raw: Path, tmp_path: Path) -> None:
    prepare(Toy(), raw, tmp_path / "one", jobs=1)
    shutil.copytree(raw, tmp_path / "elsewhere")
    prepare(Toy(), tmp_path / "elsewhere", tmp_path / "two", jobs=3)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_what_is_finished_is_left_alone_even_without_the_raw_files(raw: Path, tmp_path: Path) -> None:
    prepare(Toy(), raw, tmp_path / "data", jobs=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.npy")}
    shutil.rmtree(raw)
    _, made = prepare(Toy(), raw, tmp_path / "data", jobs=1)
    assert made == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.npy")}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_what_is_broken_is_named_and_mended(raw: Path, tmp_path: Path, damage: str) -> None:
    data = tmp_path / "data"
    prepare(Toy(), raw, data, jobs=1)
    whole = tree(data)
    victim = data / "toy" / "parts" / "train_1" / "numbers.npy"
    content = victim.read_bytes()
    if damage == "remove":
        victim.unlink()
    else:
        victim.write_bytes(content[:-3] if damage == "truncate" else content[:-1] + bytes([content[-1] ^ 1]))
    assert [str(victim) in problem for problem in verify(data / "toy", jobs=1)] == [True]
    if damage != "flip":  # sizes are looked at whenever a dataset is opened
        with pytest.raises(UserError, match=r"train_1/numbers.npy: expected \d+ bytes, found .*timetrial data prepare"):
            open_prepared(Toy(), data)
    prepare(Toy(), raw, data, jobs=1)
    assert tree(data) == whole
    assert verify(data / "toy", jobs=1) == []


def test_another_raw_file_makes_its_parts_anew_and_those_that_depend_on_it(raw: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(UserError, match="expected 99 train examples, found 12"):
        prepare(Toy(expected={"train": 99}), raw, data, jobs=1)
    assert read_manifest(data / "toy") is None
    with pytest.raises(UserError, match="is half prepared"):
        open_prepared(Toy(), data)
    (raw / "train_2.txt").write_text("20\n21\n22\n30\n")
    _, made = prepare(Toy(), raw, data, jobs=1)
    assert made == 5, "the file that changed, and the four parts that all files decide"
    prepare(Toy(), raw, tmp_path / "anew", jobs=1)
    assert tree(data) == tree(tmp_path / "anew")


def test_other_settings_are_not_mixed(raw: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare(Toy(), raw, data, jobs=1)
    with pytest.raises(UserError, match="holds toy version 1 with factor 1, not toy version 1 with factor 2"):
        prepare(Toy(factor=2), raw, data, jobs=1)
    with pytest.raises(UserError, match="expected toy version 1 with factor 2, found toy version 1 with factor 1"):
        open_prepared(Toy(factor=2), data)
    assert verify(data / "toy", jobs=1) == []


def test_bad_raw_files_are_named_and_what_is_good_stays(raw: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (raw / "train_1.txt").write_text("one\ntwo\n")
    with pytest.raises(UserError, match=r"train_1.txt: cannot be read .*; download it again"):
        prepare(Toy(), raw, data, jobs=1)
    assert "read-train_0" in os.listdir(data / "toy" / "parts")
    (raw / "train_1.txt").write_text("10\n11\n12\n13\n")
    _, made = prepare(Toy(), raw, data, jobs=1)
    assert made < 8
    (raw / "validation.txt").unlink()
    with pytest.raises(UserError, match=r"validation.txt: no such file or folder; expected numbers to validate on"):
        prepare(Toy(), raw, tmp_path / "more", jobs=1)
    with pytest.raises(UserError, match=r"no files train_\*.txt; expected numbers to train on"):
        prepare(Toy(), tmp_path, tmp_path / "more", jobs=1)


def test_published_checksums_are_compared(raw: Path, tmp_path: Path) -> None:
    md5 = "md5:1ae1ff6b91b1cc58c3ba87fbcb8a2e68"
    with pytest.raises(UserError, match=r"validation.txt: its md5 is not the published 1ae1ff6b"):
        prepare(Toy(checksums={"validation.txt": md5}), raw, tmp_path / "data", jobs=1)
    right = f"md5:{hashlib.md5((raw / 'validation.txt').read_bytes()).hexdigest()}"
    manifest, _ = prepare(Toy(checksums={"validation.txt": right}), raw, tmp_path / "data", jobs=1)
    assert manifest.examples["validation"] == 2


def test_a_full_disk_is_said_and_nothing_half_written_stays(raw: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(UserError, match="the disk is full; what is finished stays"):
        prepare(Toy(write_to="/dev/full"), raw, data, jobs=1)
    assert {path.name for path in (data / "toy" / "parts").iterdir()} == {
        "read-train_0", "read-train_1", "read-train_2", "read-validation",
    }  # fmt: skip
    assert not (data / "toy" / "partial").exists()
    _, made = prepare(Toy(), raw, data, jobs=1)
    assert made == 4


def test_no_room_is_said_before_anything_is_written(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=3000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"about 4.2 kB are still to be written and 3 kB are free"):
        prepare(Toy(), raw, tmp_path / "data", jobs=1)
    assert not any((tmp_path / "data" / "toy" / "parts").iterdir())


def test_one_process_at_a_time(raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "toy"
    folder.mkdir(parents=True)
    with exclusive(folder / "lock"), pytest.raises(UserError, match="toy: another process is at work"):
        prepare(Toy(), raw, tmp_path / "data", jobs=1)
    assert prepare(Toy(), raw, tmp_path / "data", jobs=1)[1] == 8


def test_kills_at_any_moment_change_nothing(raw: Path, tmp_path: Path) -> None:
    prepare(Toy(), raw, tmp_path / "whole", jobs=1)
    whole = tree(tmp_path / "whole")
    data = tmp_path / "data"
    moments = random.Random(8)
    context = multiprocessing.get_context("spawn")
    at_work = 0
    for _ in range(5):
        (data / "toy" / "lock").unlink(missing_ok=True)  # of the process that was killed; now it tells of the next one
        process = context.Process(target=_prepare_slowly, args=(raw, data))
        process.start()
        while process.is_alive() and not (data / "toy" / "lock").exists():
            process.join(0.01)
        process.join(moments.uniform(0.3, 1.8))
        at_work += process.is_alive()
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        if read_manifest(data / "toy") is not None:  # then everything is there, and maybe what is to be removed
            assert whole.items() <= tree(data).items()
    assert at_work
    prepare(Toy(), raw, data, jobs=1)
    assert tree(data) == whole


def _prepare_slowly(raw: Path, data: Path) -> None:
    os.setpgid(0, 0)
    prepare(Toy(pause=0.1), raw, data, jobs=2)


def test_a_broken_manifest_is_named(raw: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare(Toy(), raw, data, jobs=1)
    path = data / "toy" / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "examples": {"train": "many"}}))
    with pytest.raises(UserError, match=r"manifest.json: examples.train: .*integer.*found 'many'"):
        open_prepared(Toy(), data)
    path.write_text("{")
    with pytest.raises(UserError, match=r"manifest.json: "):
        open_prepared(Toy(), data)
    with pytest.raises(UserError, match=r"the dataset toy is not there; `timetrial data prepare toy --from RAW"):
        open_prepared(Toy(), tmp_path / "nothing")


def test_sizes(raw: Path, tmp_path: Path) -> None:
    reads, writes = Toy().sizes(raw, tmp_path)
    assert reads == sum(path.stat().st_size for path in raw.iterdir())
    assert writes == 2 * reads
    assert [size_text(size) for size in (0, 999, 1000, 25_300_000, 1.2e12)] == [
        "0 B", "999 B", "1 kB", "25.3 MB", "1.2 TB",
    ]  # fmt: skip
    assert np.isfinite(writes)


def test_what_was_killed_while_it_tidied_up_is_tidied_by_the_next(raw: Path, tmp_path: Path) -> None:
    """The manifest was there, temporary parts still were, too."""
    prepare(Toy(), raw, tmp_path / "data", jobs=1)
    before = tree(tmp_path / "data")
    for name in ("parts/read-train_0", "partial/train_0"):
        (tmp_path / "data" / "toy" / name).mkdir(parents=True)
        (tmp_path / "data" / "toy" / name / "left.npy").touch()
    assert prepare(Toy(), raw, tmp_path / "data", jobs=1)[1] == 0
    assert tree(tmp_path / "data") == before
