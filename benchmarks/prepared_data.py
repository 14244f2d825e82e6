"""How fast prepared data are read and raw data are parsed, beside the simplest loop that does the same.

    python benchmarks/prepared_data.py [--only images] [--rounds 5] [--json]

Made-up files in the true raw formats, of the published sizes, prepared and read by one thread. Ours and the loop beside
it take turns; given are the medians of examples a second and the median of the ratios. By the processor's time, so that
other work on the machine counts for nothing; files are in memory by then.

Bars: decoding at least 0.9 of a bare loop (images, speech, slices), Criteo at least 2 million examples a second.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import asdict, dataclass, replace
from itertools import count, islice
from pathlib import Path

import h5py
import numpy as np
import soundfile
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "prepared"))

import raw_criteo1tb
import raw_fastmri
import raw_imagenet
import raw_librispeech
import raw_ogbg

from timetrial.prepared.build import prepare
from timetrial.prepared.folder import Prepared, open_prepared
from timetrial.prepared.lines import read_lines
from timetrial.prepared.recipe import Recipe
from timetrial.workloads.base import BatchSource, Data, HostBatch
from timetrial.workloads.criteo1tb.data import ClickData
from timetrial.workloads.criteo1tb.logs import parse_log
from timetrial.workloads.criteo1tb.preprocessing import parse_lines
from timetrial.workloads.criteo1tb.recipe import CriteoRecipe
from timetrial.workloads.criteo1tb.workload import FIELD_SIZES
from timetrial.workloads.example_sources import ExampleData, ExampleSource
from timetrial.workloads.fastmri.data import FastmriData
from timetrial.workloads.fastmri.preprocessing import column_masks
from timetrial.workloads.fastmri.preprocessing import prepare as process
from timetrial.workloads.fastmri.recipe import FastmriRecipe
from timetrial.workloads.ogbg.recipe import OgbgRecipe
from timetrial.workloads.registry import load_workload
from timetrial.workloads.speech_data import speech_data
from timetrial.workloads.speech_recipe import LibrispeechRecipe
from timetrial.workloads.wmt.preprocessing import pack, pad_row

Turn = Callable[[], int]
"""Does some work and returns how many examples it was."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Examples a second of one core."""

    what: str
    ours: float
    beside: str
    other: float
    ratio: float


def in_turns(what: str, ours: Turn, beside: str, other: Turn, rounds: int) -> Speed:
    """Let both run in turns."""
    rates: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for turn, found in zip((ours, other), rates, strict=True):
            start = time.process_time()
            examples = turn()
            if number:  # the first turn warms up
                found.append(examples / (time.process_time() - start))
    return Speed(
        what=what,
        ours=statistics.median(rates[0]),
        beside=beside,
        other=statistics.median(rates[1]),
        ratio=statistics.median(ours / other for ours, other in zip(*rates, strict=True)),
    )


def prepared(recipe: Recipe, raw: Path, folder: Path) -> Prepared:
    """Prepare a dataset and open it."""
    prepare(recipe, raw, folder, jobs=1)
    return open_prepared(recipe, folder)


def batches(data: Data, batch_size: int, steps: int) -> Turn:
    """Return a turn that makes training batches, and waits for those that are made ahead of time: always as many."""
    if isinstance(data, ExampleData):
        data._threads = 1
    source: BatchSource = data.train_source(np.random.SeedSequence(0), batch_size)
    numbers = count()

    def turn() -> int:
        for number in islice(numbers, steps):
            source.batch(number)
        if isinstance(source, ExampleSource):
            wait([future for _, making in source._ahead.values() for future in making])
        return steps * batch_size

    return turn


def images(folder: Path, rounds: int) -> Iterator[Speed]:
    """JPEG files of 500 x 375."""
    raw = raw_imagenet.make(folder / "raw", images=20, validation=1, test=1, size=(500, 375))
    files = [path.read_bytes() for path in sorted((raw / "train").rglob("*.JPEG"))]
    opened = prepared(load_workload("imagenet_resnet", "tiny", data="prepared").recipe(), raw, folder)

    def decode() -> int:
        for file in files:
            np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        return len(files)

    def decode_and_resize() -> int:
        for file in files:
            image = Image.open(io.BytesIO(file)).convert("RGB")
            np.asarray(image.crop((60, 40, 410, 320)).resize((224, 224), Image.Resampling.BILINEAR))
        return len(files)

    for name in ("imagenet_resnet", "imagenet_vit"):
        data = load_workload(name, "full").data_prepared(opened)
        yield in_turns(f"{name}: training batches", batches(data, 50, 4), "decode a JPEG", decode, rounds)
        yield in_turns(
            f"{name}: training batches", batches(data, 50, 4), "decode, crop, resize", decode_and_resize, rounds
        )


def speech(folder: Path, rounds: int) -> Iterator[Speed]:
    """FLAC files of 10 to 15 s."""
    counts = {"train-clean-100": 128, "dev-clean": 2, "test-clean": 2}
    raw = raw_librispeech.make(folder / "raw", counts, samples=(160_000, 240_000), letters=(100, 240))
    recipe = load_workload("librispeech_conformer", "tiny", data="prepared").recipe()
    assert isinstance(recipe, LibrispeechRecipe)
    recipe = replace(recipe, samples=320_000, target_length=256, part_utterances=200)
    data = speech_data(prepared(recipe, raw, folder), 320_000)
    files = [path.read_bytes() for path in sorted(raw.glob("LibriSpeech/train-clean-100/**/*.flac"))]

    def decode() -> int:
        for file in files:
            soundfile.read(io.BytesIO(file), dtype="int16")
        return len(files)

    yield in_turns("librispeech: training batches", batches(data, 64, 2), "decode a FLAC file", decode, rounds)


def slices(folder: Path, rounds: int) -> Iterator[Speed]:
    """HDF5 volumes of 32 slices of 640 x 368 and 372."""
    options = {"volumes": (3, 2), "slices": 32, "rows": 640, "columns": (368, 372), "size": 320}
    raw_fastmri.make(folder / "raw", **options)  # type: ignore[arg-type]
    recipe = FastmriRecipe(image_size=320, part_volumes=8, published=False)
    data = FastmriData(prepared(recipe, folder / "raw", folder), 320)
    volumes = [h5py.File(path) for path in sorted((folder / "raw").glob("*train/*.h5"))]

    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number in range(48):
            file = volumes[number % len(volumes)]
            yield file["kspace"][number % 32], file["reconstruction_esc"][number % 32]

    def bare() -> int:
        return sum(1 for _ in read())

    def whole() -> int:
        for kspace, reference in read():
            mask = column_masks(np.zeros((1, 2), np.int64), kspace.shape[1])
            process(kspace[None], mask, reference[None], np.ones(1, np.float32))
        return 48

    yield in_turns("fastmri: training batches", batches(data, 16, 3), "read from HDF5", bare, rounds)
    yield in_turns("fastmri: training batches", batches(data, 16, 3), "read from HDF5 and process", whole, rounds)


def clicks(folder: Path, rounds: int) -> Iterator[Speed]:
    """Click logs, with the published numbers of buckets."""
    (folder / "raw").mkdir()
    lines = raw_criteo1tb.lines(20_000, seed=0)
    text = "".join(lines)
    for day, repeats in ((0, 40), (23, 1)):
        (folder / "raw" / f"day_{day}").write_text(text * repeats)
    recipe = CriteoRecipe(field_sizes=FIELD_SIZES, block_lines=5_000, published=False)
    data = ClickData(prepared(recipe, folder / "raw", folder), FIELD_SIZES, 5_000, 1_000)

    def parse() -> int:
        return sum(len(parse_log(piece, FIELD_SIZES)["labels"]) for piece in read_lines(folder / "raw" / "day_23"))

    def parse_each() -> int:
        for line in lines[:1_000]:
            parse_lines([line], FIELD_SIZES)
        return 1_000

    yield in_turns("criteo1tb: batches of 262,144", batches(data, 262_144, 2), "parse lines (ours)", parse, rounds)
    yield in_turns("criteo1tb: parse lines", parse, "line by line", parse_each, rounds)


def text(folder: Path, rounds: int) -> Iterator[Speed]:
    """Sentence pairs of about thirty tokens, in rows of 256."""
    random = np.random.default_rng(0)
    lengths = random.integers(4, 60, (4_096, 2))
    sentences = [[random.integers(3, 32_000, length) for length in lengths[:, side]] for side in (0, 1)]
    rows = [(np.concatenate(side), lengths[:, number]) for number, side in enumerate(sentences)]
    pairs: HostBatch = {side: pad_row(*row) for side, row in zip(("inputs", "targets"), rows, strict=True)}

    def ours() -> int:
        pack(pairs, 256)
        return 4_096

    def naive() -> int:
        for start in range(0, 4_096, 256):
            packed = [_new_row()]
            for source, target in zip(
                sentences[0][start : start + 256], sentences[1][start : start + 256], strict=True
            ):
                row = packed[-1]
                if row["used"][0] + len(source) > 256 or row["used"][1] + len(target) > 256:
                    row = _new_row()
                    packed.append(row)
                row["sentences"] += 1
                for side, tokens in enumerate((source, target)):
                    place = slice(row["used"][side], row["used"][side] + len(tokens))
                    row["tokens"][side, place] = tokens
                    row["positions"][side, place] = np.arange(len(tokens))
                    row["segments"][side, place] = row["sentences"]
                    row["used"][side] += len(tokens)
        return 4_096

    def pad_ours() -> int:
        pad_row(*rows[0])
        return 4_096

    def pad_naive() -> int:
        padded = np.zeros((4_096, int(lengths[:, 0].max())), np.int64)
        for row, tokens in zip(padded, sentences[0], strict=True):
            row[: len(tokens)] = tokens
        return 4_096

    yield in_turns("wmt: pack pairs", ours, "a loop over pairs", naive, rounds)
    yield in_turns("wmt: pad sentences", pad_ours, "a loop over sentences", pad_naive, rounds)


def _new_row() -> dict[str, object]:
    arrays = {name: np.zeros((2, 256), np.int64) for name in ("tokens", "positions", "segments")}
    return {**arrays, "used": [0, 0], "sentences": 0}


def graphs(folder: Path, rounds: int) -> Iterator[Speed]:
    """Molecules of the published average size."""
    raw_ogbg.make(folder / "raw" / "pcba", graphs=4_000, atoms=(10, 43))
    opened = prepared(OgbgRecipe(tasks=128, published=False), folder / "raw", folder)
    data = load_workload("ogbg", "full").data_prepared(opened)
    stored = {name: array[0 : len(array)] for name, array in opened.arrays("train").items()}
    stops = {name: np.cumsum(stored[name]) for name in ("n_node", "n_bond")}

    def naive() -> int:
        nodes, edges, senders, receivers, labels = [], [], [], [], []
        first = 0
        for number in range(450):
            atoms = slice(stops["n_node"][number] - stored["n_node"][number], stops["n_node"][number])
            bonds = slice(stops["n_bond"][number] - stored["n_bond"][number], stops["n_bond"][number])
            ends = stored["edge_index"][bonds].astype(np.int64) + first
            nodes.append(stored["node_feat"][atoms].astype(np.float32))
            edges += 2 * [stored["edge_feat"][bonds].astype(np.float32)]
            senders += [ends[:, 0], ends[:, 1]]
            receivers += [ends[:, 1], ends[:, 0]]
            labels.append(np.where(stored["labels"][number] == 1, 1.0, 0.0).astype(np.float32))
            first += int(stored["n_node"][number])
        for arrays in (nodes, edges, senders, receivers):
            np.concatenate(arrays)
        np.stack(labels)
        return 450

    turn = batches(data, 512, 4)
    yield in_turns("ogbg: batches of at most 512", turn, "a loop over molecules", naive, rounds)


PARTS: dict[str, Callable[[Path, int], Iterator[Speed]]] = {
    "images": images,
    "speech": speech,
    "slices": slices,
    "clicks": clicks,
    "text": text,
    "graphs": graphs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(PARTS), help="only this one; repeatable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each")
    options = parser.parse_args()
    if not options.json:
        print(f"{'examples a second':<36}{'ours':>12}  {'beside':<28}{'rate':>12}{'ratio':>8}")
    for name in options.only or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            for speed in PARTS[name](Path(folder), options.rounds):
                if options.json:
                    print(json.dumps(asdict(speed)), flush=True)
                    continue
                print(
                    f"{speed.what:<36}{speed.ours:>12,.0f}  {speed.beside:<28}{speed.other:>12,.0f}{speed.ratio:>8.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
