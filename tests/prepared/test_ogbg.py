"""ogbg-molpcba: from OGB's tables to batches, and what must not pass."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import raw_ogbg
from commands import assert_same, check_resuming, prepare, prepare_under_fire, prepared_data, timetrial, train, tree

from timetrial.errors import UserError
from timetrial.prepared.build import prepare as prepare_dataset
from timetrial.prepared.folder import open_prepared
from timetrial.suite import load_suite
from timetrial.workloads.ogbg import recipe
from timetrial.workloads.ogbg.graphs import Graph, padded_batch
from timetrial.workloads.ogbg.preprocessing import GraphData
from timetrial.workloads.ogbg.recipe import OgbgRecipe
from timetrial.workloads.ogbg.workload import EVAL_TRAIN, EVAL_TRAIN_FULL, Ogbg

GRAPHS = 120
RAW_NAMES = {"train": "train", "validation": "valid", "test": "test"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[raw_ogbg.Molecule]]:
    """The folder of prepared data, and the raw molecules."""
    folder = tmp_path_factory.mktemp("ogbg")
    molecules = raw_ogbg.make(folder / "raw" / "pcba", graphs=GRAPHS)
    prepare("ogbg", folder / "raw", folder / "data")
    return folder / "data", molecules


@pytest.fixture
def raw(prepared: tuple[Path, list[raw_ogbg.Molecule]], tmp_path: Path) -> Path:
    """A copy of the raw folder, to be broken."""
    return Path(shutil.copytree(prepared[0].parent / "raw" / "pcba", tmp_path / "raw" / "ogbg_molpcba"))


def graph(molecule: raw_ogbg.Molecule, tasks: int) -> Graph:
    """Return what the sheet makes of a molecule: all bonds, then all reversed; labels that are missing are NaN."""
    ends = np.array(molecule.ends, np.int64).reshape(-1, 2)
    bonds = np.array(molecule.bonds, np.float32).reshape(-1, 3)
    return Graph(
        nodes=np.array(molecule.atoms, np.float32),
        edges=np.concatenate([bonds, bonds]),
        senders=np.concatenate([ends[:, 0], ends[:, 1]]),
        receivers=np.concatenate([ends[:, 1], ends[:, 0]]),
        labels=np.array([float(label) if label else np.nan for label in molecule.labels[:tasks]], np.float32),
    )


def parts_of(data: Path) -> dict[str, str]:
    return tree(data / "ogbg" / "parts") | {"manifest": (data / "ogbg" / "manifest.json").read_text()}


# From raw files to a trial.


def test_prepare_verify_train_evaluate(prepared: tuple[Path, list[raw_ogbg.Molecule]], tmp_path: Path) -> None:
    data, _ = prepared
    assert "as it was prepared" in timetrial("data", "verify", "ogbg", "--data", data)
    assert sorted(path.name for path in (data / "ogbg" / "parts").iterdir()) == ["test", "train", "validation"]
    row = train("ogbg", data, tmp_path, batch_size=8, eval_batch_size=16)
    assert 0 < row["validation/mean_average_precision"] <= 1


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_evaluation_is_the_raw_molecules_in_the_splits_order(
    prepared: tuple[Path, list[raw_ogbg.Molecule]], split: str
) -> None:
    data, molecules = prepared
    workload = Ogbg("tiny")
    rows = raw_ogbg.split_rows(GRAPHS)[RAW_NAMES[split]][: EVAL_TRAIN if split == "train" else None]
    found = prepared_data("ogbg", data)
    assert found.eval_examples(split) == len(rows)
    graphs = [graph(molecules[row], workload.config.tasks) for row in rows]
    for batch in found.eval_batches(split, 16):
        workload.check_batch(batch)
        count = len(graphs_in(batch))
        assert_same(batch, padded_batch(graphs[:count], workload.budget(16)))
        graphs = graphs[count:]
    assert not graphs


def test_all_tasks_at_full_size_and_the_published_counts(
    prepared: tuple[Path, list[raw_ogbg.Molecule]], tmp_path: Path
) -> None:
    """All but the counts as at full size: 128 tasks, in order."""
    data, molecules = prepared
    recipe = OgbgRecipe(tasks=128, published=False)
    prepare_dataset(recipe, data.parent / "raw", tmp_path, jobs=1)
    labels = open_prepared(recipe, tmp_path).array("validation", "labels")[:]
    rows = raw_ogbg.split_rows(GRAPHS)["valid"]
    expected = [[int(float(text)) if text else -1 for text in molecules[row].labels] for row in rows]
    assert labels.tolist() == expected
    full = Ogbg("full").recipe()
    assert full.settings == {"tasks": 128}
    assert dict(full.expected_examples) == {"train": 350_343, "validation": 43_793, "test": 43_793}
    for suite in ("algoperf-0.5", "algoperf-0.6"):
        entry = load_suite(suite).workloads["ogbg"]
        assert entry.train_examples == full.expected_examples["train"]
        expected_sizes = {**full.expected_examples, "train": EVAL_TRAIN_FULL}
        assert {split: getattr(entry.eval_examples, split) for split in expected_sizes} == expected_sizes
    with pytest.raises(UserError, match="expected 350343 train examples, found 84"):
        prepare_dataset(full, data.parent / "raw", tmp_path / "full", jobs=1)


def test_same_bytes_elsewhere(prepared: tuple[Path, list[raw_ogbg.Molecule]], tmp_path: Path) -> None:
    """Another folder, another number of processes."""
    raw_ogbg.make(tmp_path / "elsewhere" / "pcba", graphs=GRAPHS)
    prepare_dataset(Ogbg("tiny").recipe(), tmp_path / "elsewhere", tmp_path / "data", jobs=1)
    assert parts_of(tmp_path / "data") == parts_of(prepared[0])


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    raw_ogbg.make(tmp_path / "raw" / "pcba", graphs=3000)
    prepare("ogbg", tmp_path / "raw", tmp_path / "straight")
    assert prepare_under_fire("ogbg", tmp_path / "raw", tmp_path / "shot", kills=8) > 0
    assert parts_of(tmp_path / "shot") == parts_of(tmp_path / "straight")


def test_memory_stays_small(tmp_path: Path) -> None:
    """A table of 88 MB as text, 36 MB as an array: neither is held."""
    row = b"5,0,4,5,3,0,2,0,0\n6,12,4,5,103,0,2,0,10\n"
    (tmp_path / "node-feat.csv.gz").write_bytes(gzip.compress(row * 2_000_000, 1))
    script = (
        "import sys, pathlib, re\n"
        "from timetrial.workloads.ogbg.recipe import NODES, read_integers\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "memory = lambda: int(re.search(r'VmHWM:\\s*(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
        "before = memory()\n"
        "assert read_integers(NODES, folder / 'node-feat.csv.gz', folder) == 4_000_000\n"
        "print(memory() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert (tmp_path / "table.npy").stat().st_size > 36_000_000
    assert int(done.stdout) * 1024 < 60_000_000


def test_molecules_are_gathered_in_bounded_memory(tmp_path: Path) -> None:
    """Of 76 MB in the files, a few thousand molecules at a time are in memory."""
    count, atoms = 100_000, 26
    random = np.random.default_rng(0)
    ends = np.tile(np.stack([np.arange(atoms - 1), np.arange(1, atoms)], axis=1), (count, 1))
    tables = {
        recipe.N_NODE: np.full((count, 1), atoms, np.uint16),
        recipe.N_BOND: np.full((count, 1), atoms - 1, np.uint16),
        recipe.NODES: random.integers(0, 9, (count * atoms, 9), dtype=np.uint8),
        recipe.BONDS: random.integers(0, 3, (count * (atoms - 1), 3), dtype=np.uint8),
        recipe.ENDS: ends.astype(np.uint16),
        recipe.LABELS: random.integers(0, 3, (count, 128), dtype=np.uint8),
        recipe.SPLITS["train"]: random.permutation(count).astype(np.uint32)[:, None],
    }
    for table, array in tables.items():
        (tmp_path / table.part).mkdir()
        np.save(tmp_path / table.part / "table.npy", array)
    chosen, labels = tables[recipe.SPLITS["train"]][:, 0], tables[recipe.LABELS]
    del tables, ends
    (tmp_path / "train").mkdir()
    tracemalloc.start()
    assert recipe.gather(tmp_path, tmp_path, "train", tmp_path / "train") == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    written = sum(path.stat().st_size for path in (tmp_path / "train").iterdir())
    assert peak < written / 3
    np.testing.assert_array_equal(np.load(tmp_path / "train" / "labels.npy"), labels[chosen])


# The order of training.


def graphs_in(batch: dict[str, np.ndarray]) -> list[tuple[bytes, ...]]:
    """Return the graphs of a batch, each as the bytes of its arrays."""
    n_node, n_edge = batch["n_node"], batch["n_edge"]
    count = int(np.flatnonzero(n_node)[-1])  # the padding graph is the last with nodes
    nodes, edges = np.cumsum([0, *n_node]), np.cumsum([0, *n_edge])
    return [
        (
            batch["inputs"][nodes[k] : nodes[k + 1]].tobytes(),
            batch["edges"][edges[k] : edges[k + 1]].tobytes(),
            (batch["senders"][edges[k] : edges[k + 1]] - nodes[k]).tobytes(),
            (batch["receivers"][edges[k] : edges[k + 1]] - nodes[k]).tobytes(),
            batch["targets"][k].tobytes(),
            batch["weights"][k].tobytes(),
        )
        for k in range(count)
    ]


def taken(data: GraphData, step: int, batch_size: int, rank: int = 0, ranks: int = 1) -> list[tuple[bytes, ...]]:
    batch = data.train_source(np.random.SeedSequence(3), batch_size, rank=rank, ranks=ranks).batch(step)
    return graphs_in(batch)


@pytest.mark.parametrize(
    ("ranks", "batch_size"), [(1, 24), (2, 24), (3, 24), (4, 24), (5, 30), (6, 24), (7, 28), (8, 24)]
)
def test_ranks_divide_every_batch(prepared: tuple[Path, list[raw_ogbg.Molecule]], ranks: int, batch_size: int) -> None:
    data = prepared_data("ogbg", prepared[0])
    for step in (0, 5, 9):
        whole = taken(data, step, batch_size)
        for rank in range(ranks):
            assert taken(data, step, batch_size, rank, ranks) == whole[rank::ranks]


def test_every_graph_once_an_epoch(prepared: tuple[Path, list[raw_ogbg.Molecule]]) -> None:
    data, molecules = prepared
    found = prepared_data("ogbg", data)
    source = found.train_source(np.random.SeedSequence(1), 8)
    stream = [each for step in range(40) for each in graphs_in(source.batch(step))]
    examples = found.train_examples
    assert len(stream) > 2 * examples
    workload = Ogbg("tiny")
    rows = raw_ogbg.split_rows(GRAPHS)["train"]
    graphs = [graph(molecules[row], workload.config.tasks) for row in rows]
    expected = sorted(each for one in graphs for each in graphs_in(padded_batch([one], workload.budget(8))))
    assert sorted(stream[:examples]) == sorted(stream[examples : 2 * examples]) == expected
    assert stream[:examples] != stream[examples : 2 * examples]


def test_resuming(prepared: tuple[Path, list[raw_ogbg.Molecule]]) -> None:
    check_resuming(prepared_data("ogbg", prepared[0]), 8)


# What must not pass.


def failure(raw: Path) -> str:
    with pytest.raises(UserError) as error:
        prepare_dataset(Ogbg("tiny").recipe(), raw, raw.parent / "data", jobs=1)
    return str(error.value)


def changed(path: Path, change: Callable[[list[str]], list[str]]) -> Path:
    """Change a table's lines."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in change(lines)).encode(), 1))
    return path


def with_line(number: int, text: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [*lines[: number - 1], text, *lines[number:]]


@pytest.mark.parametrize(
    ("table", "change", "problem"),
    [
        ("raw/node-feat", with_line(7, "1,2,3"), "line 7: expected 9 fields, found 3"),
        ("raw/node-feat", with_line(7, "1,2,3,4,5,6,7,8,256"), "line 7: expected a whole number from 0 to 255"),
        ("raw/edge-feat", with_line(3, "1,x,3"), "line 3: expected a whole number from 0 to 255, found 'x'"),
        ("raw/edge-feat", with_line(3, "1,,3"), "line 3: expected a whole number from 0 to 255, found ''"),
        ("raw/num-node-list", with_line(2, "0"), "line 2: expected a whole number from 1 to 65535, found '0'"),
        ("raw/num-node-list", lambda lines: lines[:-1], "expected 119 lines by num-node-list.csv.gz, found 120"),
        ("raw/node-feat", lambda lines: lines[:-1], "lines by num-node-list.csv.gz, found"),
        ("raw/edge", lambda lines: [*lines, "0,1"], "lines by num-edge-list.csv.gz, found"),
        ("raw/edge-feat", lambda lines: lines[1:], "lines by num-edge-list.csv.gz, found"),
        ("raw/graph-label", lambda lines: lines[:-1], "expected 120 lines by num-node-list.csv.gz, found 119"),
        ("raw/graph-label", with_line(4, "0.0," * 127 + "2.0"), "line 4: field 128: expected a label of 0 or 1"),
        ("raw/graph-label", with_line(4, "0.5," * 127 + "1.0"), "line 4: field 1: expected a label of 0 or 1"),
        ("split/scaffold/valid", with_line(3, "120"), "line 3: expected a molecule below 120, found 120"),
        ("split/scaffold/test", lambda lines: [*lines, lines[0]], "is in a split already"),
        ("split/scaffold/train", lambda lines: [], "holds no lines"),
        ("raw/edge", lambda lines: [*lines[:-1], "0,30"], "atom 30 in a molecule of"),
        ("raw/edge", lambda lines: [lines[0], lines[0][::-1], *lines[2:]], "line 2: this bond is there twice"),
    ],
)
def test_a_bad_table_is_named(raw: Path, table: str, change: Callable[[list[str]], list[str]], problem: str) -> None:
    path = changed(raw / f"{table}.csv.gz", change)
    message = failure(raw.parent)
    assert problem in message
    if "lines by" not in problem:
        assert message.startswith(f"{path}: ")


def test_damaged_archives_and_missing_files(raw: Path) -> None:
    path = raw / "raw" / "graph-label.csv.gz"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"no archive", b""):
        path.write_bytes(damaged)
        assert failure(raw.parent).startswith(f"{path}: ")
    output = prepare("ogbg", raw.parent, raw.parent / "data", code=2)
    assert "graph-label.csv.gz" in output.replace("\n", "")
    path.unlink()
    assert failure(raw.parent).startswith(f"{path}: no such file")
    shutil.rmtree(raw)
    assert "pcba/raw: no such folder; expected pcba.zip, unpacked" in failure(raw.parent)
