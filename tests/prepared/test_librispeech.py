"""LibriSpeech: prepared from folders or archives, tokenised, and read."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import commands
import numpy as np
import pytest
import raw_librispeech
import soundfile
import torch

from timetrial.errors import UserError
from timetrial.prepared.build import prepare
from timetrial.prepared.folder import open_prepared
from timetrial.suite import load_suite
from timetrial.workloads import speech_data
from timetrial.workloads.base import HostBatch
from timetrial.workloads.example_sources import ExampleData
from timetrial.workloads.layers.spectrogram import LogMelSpectrogram
from timetrial.workloads.librispeech_conformer.workload import LibrispeechConformer
from timetrial.workloads.librispeech_deepspeech.workload import LibrispeechDeepspeech
from timetrial.workloads.speech import CharacterTokens
from timetrial.workloads.speech_recipe import LibrispeechRecipe
from timetrial.workloads.speech_subsets import SUBSETS

SEED = np.random.SeedSequence(11)
TINY = LibrispeechConformer("tiny").recipe()
PIECES = replace(TINY, alphabet=None, vocabulary=40, target_length=14)
"""With a SentencePiece model of 40 tokens, which the small transcripts suffice for."""
SPLITS = {"train": ["train-clean-100", "train-clean-360", "train-other-500"]}
SPLITS |= {"validation": ["dev-clean", "dev-other"], "test": ["test-clean"]}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw_librispeech.make(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare(TINY, raw, folder, jobs=1)
    return folder


@pytest.fixture(scope="module")
def pieces(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    prepare(PIECES, raw, folder, jobs=1)
    return folder


@pytest.fixture(scope="module")
def data(prepared: Path) -> ExampleData:
    return LibrispeechConformer("tiny").data_prepared(open_prepared(TINY, prepared))


def utterances(raw: Path, subset: str) -> list[tuple[str, np.ndarray]]:
    """Return transcript and samples of a subset's utterances, sorted by name, read in the plainest way."""
    found = {}
    for path in (raw / "LibriSpeech" / subset).rglob("*.trans.txt"):
        for line in path.read_text().splitlines():
            name, text = line.split(" ", 1)
            found[name] = (text, soundfile.read(path.parent / f"{name}.flac", dtype="int16")[0])
    return [found[name] for name in sorted(found)]


def expected(raw: Path, split: str) -> list[tuple[str, np.ndarray]]:
    every = [each for subset in SPLITS[split] for each in utterances(raw, subset)]
    kept = [(text, sound) for text, sound in every if len(text) <= 8 and len(sound) <= 8_000]
    assert 0 < len(kept) < len(every), "some are too long, as the test needs it"
    assert any(len(text) > 8 and len(sound) <= 8_000 for text, sound in every) or split != "train"
    return kept


def joined(data: ExampleData, split: str) -> HostBatch:
    batches = list(data.eval_batches(split, 3))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def same_utterances(batch: HostBatch, utterances: list[tuple[str, np.ndarray]], decode: Callable[..., str]) -> None:
    assert len(batch["inputs"]) == len(utterances)
    for row, (text, sound) in enumerate(utterances):
        assert batch["input_lengths"][row] == len(sound)
        np.testing.assert_array_equal(batch["inputs"][row, : len(sound)], sound)
        assert not batch["inputs"][row, len(sound) :].any()
        tokens, length = batch["targets"][row], batch["target_lengths"][row]
        assert decode(tokens[:length]) == text
        assert (tokens[:length] > 0).all()
        assert not tokens[length:].any()
    assert batch["inputs"].dtype == np.float32
    assert all(batch[name].dtype == np.int64 for name in ("input_lengths", "targets", "target_lengths"))


def files(data: Path) -> dict[str, str]:
    """Return the hashes of a prepared dataset's files, but for what tells of where they came from."""
    return {path: sha for path, sha in commands.tree(data).items() if not path.endswith(("part.json", "manifest.json"))}


# Through the commands.


@pytest.mark.parametrize(
    "workload", ["librispeech_conformer", pytest.param("librispeech_deepspeech", marks=pytest.mark.slow)]
)
def test_train_and_evaluate(prepared: Path, tmp_path: Path, workload: str) -> None:
    row = commands.train(workload, prepared, tmp_path, batch_size=4, eval_batch_size=3)
    assert row["validation/wer"] > 0


def test_prepare_and_verify(raw: Path, prepared: Path, tmp_path: Path) -> None:
    said = commands.prepare("librispeech", raw, tmp_path / "data")
    assert f"{len(expected(raw, 'train'))} train" in said
    assert files(tmp_path / "data") == files(prepared), "one process or two, the bytes are the same"
    assert "as it was prepared" in commands.timetrial("data", "verify", "librispeech", "--data", tmp_path / "data")


@pytest.mark.parametrize("recipe", [TINY, PIECES], ids=["characters", "pieces"])
def test_archives_and_folders_give_the_same(raw: Path, tmp_path: Path, recipe: LibrispeechRecipe) -> None:
    archives = raw_librispeech.make_archives(tmp_path / "archives", raw)
    for name, source, jobs in (("folders", raw, 2), ("archives", archives, 2), ("again", archives, 1)):
        prepare(recipe, source, tmp_path / name, jobs=jobs)
    assert files(tmp_path / "archives") != files(tmp_path / "folders")
    for name in ("archives", "again"):
        data = tmp_path / name / "librispeech"
        assert files(data) == files(tmp_path / "folders" / "librispeech")
        manifest = open_prepared(recipe, tmp_path / name).manifest
        assert manifest.sha256 == open_prepared(recipe, tmp_path / "folders").manifest.sha256
        assert not list((data / "parts").glob("spool-*")), "what was spooled is removed"


def test_folders_and_archives_may_be_mixed(raw: Path, prepared: Path, tmp_path: Path) -> None:
    mixed = raw_librispeech.make_archives(tmp_path / "mixed", raw)
    (mixed / "dev-clean.tar.gz").unlink()
    shutil.copytree(raw / "LibriSpeech" / "dev-clean", mixed / "dev-clean")
    manifest, _ = prepare(TINY, mixed, tmp_path / "data", jobs=2)
    assert manifest.sha256 == open_prepared(TINY, prepared).manifest.sha256


@pytest.mark.slow
@pytest.mark.parametrize("archived", [False, True])
def test_killed_at_random_moments(tmp_path: Path, archived: bool) -> None:
    counts = {**raw_librispeech.COUNTS, "train-clean-100": 700}
    raw = raw_librispeech.make(tmp_path / "raw", counts)
    if archived:
        raw = raw_librispeech.make_archives(tmp_path / "archives", raw)
    hit = commands.prepare_under_fire("librispeech", raw, tmp_path / "data", kills=8)
    prepare(TINY, raw, tmp_path / "straight", jobs=1)
    assert commands.tree(tmp_path / "data") == commands.tree(tmp_path / "straight")
    assert hit


def test_all_that_is_read_is_told_beforehand(raw: Path, tmp_path: Path) -> None:
    reads, _ = PIECES.sizes(raw, tmp_path)
    assert reads == sum(path.stat().st_size for path in raw.rglob("*.flac"))
    archives = raw_librispeech.make_archives(tmp_path / "archives", raw)
    reads, _ = PIECES.sizes(archives, tmp_path)
    assert reads == sum(path.stat().st_size for path in archives.iterdir())


# Values.


@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluations_run_over_what_is_short_enough(raw: Path, data: ExampleData, split: str) -> None:
    same_utterances(joined(data, split), expected(raw, split), CharacterTokens().decode)


def test_what_is_as_long_as_allowed_is_kept(raw: Path, tmp_path: Path) -> None:
    """More than so many samples or characters are left out, so many are not (spec: librispeech_conformer.md, 1)."""
    shutil.copytree(raw, tmp_path / "raw")
    chapter = tmp_path / "raw" / "LibriSpeech" / "test-clean" / "99" / "1"
    chapter.mkdir(parents=True)
    cases = [(8_000, "ABCDEFGH"), (8_001, "A"), (5_000, "ABCDEFGHI"), (1, "A B")]
    lines = []
    for number, (samples, text) in enumerate(cases):
        (chapter / f"99-1-{number:04d}.flac").write_bytes(raw_librispeech.flac(np.full(samples, 7, dtype=np.int16)))
        lines.append(f"99-1-{number:04d} {text}\n")
    (chapter / "99-1.trans.txt").write_text("".join(lines))
    prepare(TINY, tmp_path / "raw", tmp_path / "data", jobs=1)
    batch = joined(speech_data.speech_data(open_prepared(TINY, tmp_path / "data"), 8_000), "test")
    found = zip(batch["input_lengths"].tolist(), batch["targets"], batch["target_lengths"], strict=True)
    texts = [(samples, CharacterTokens().decode(tokens[:length])) for samples, tokens, length in found]
    assert texts[-2:] == [(8_000, "ABCDEFGH"), (1, "A B")]
    assert len(texts) == len(expected(raw, "test")) + 2


def test_an_evaluation_s_training_utterances(raw: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no more than it would draw, all of them; else so many, always the same."""
    workload, opened = LibrispeechDeepspeech("tiny"), open_prepared(TINY, prepared)
    every = joined(workload.data_prepared(opened), "train")
    same_utterances(every, expected(raw, "train"), CharacterTokens().decode)
    monkeypatch.setattr(speech_data, "EVAL_TRAIN", 7)
    some = [joined(workload.data_prepared(opened), "train") for _ in range(2)]
    commands.assert_same(some[0], some[1])
    numbers = [np.abs(every["inputs"] - sound).sum(axis=1).argmin() for sound in some[0]["inputs"]]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 7 < len(every["inputs"])


def test_every_utterance_once_an_epoch(raw: Path, data: ExampleData) -> None:
    kept = expected(raw, "train")
    number_of = {sound.tobytes(): number for number, (_, sound) in enumerate(kept)}
    source = data.train_source(SEED, len(kept))
    orders = []
    for epoch in range(2):
        batch = source.batch(epoch)
        rows = zip(batch["inputs"], batch["input_lengths"], strict=True)
        orders.append([number_of[row[:length].astype(np.int16).tobytes()] for row, length in rows])
        same_utterances(batch, [kept[number] for number in orders[-1]], CharacterTokens().decode)
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(len(kept)))
    assert orders[0] != orders[1]


def test_sentencepiece_tokens(raw: Path, pieces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained on train-clean-100 alone; an end of sentence closes a transcript, and detokenising opens it again."""
    prepared = open_prepared(PIECES, pieces)
    tokenizer = speech_data.prepared_tokenizer(prepared)
    every = [each for subset in SPLITS["validation"] for each in utterances(raw, subset)]
    kept = [
        (text, sound)
        for text, sound in every
        if len(text) <= 14 and len(sound) <= 8_000 and len(tokenizer.encode(text)) <= 14
    ]
    batch = joined(speech_data.speech_data(prepared, 8_000), "validation")
    same_utterances(batch, kept, tokenizer.decode)
    ends = batch["targets"][np.arange(len(kept)), batch["target_lengths"] - 1]
    assert (ends == 2).all()
    assert not (batch["targets"] == 1).any()
    assert batch["targets"].max() < 40

    monkeypatch.setenv("TIMETRIAL_DATA", str(pieces))
    workload = LibrispeechConformer("tiny", data="prepared")
    workload.config = replace(workload.config, alphabet=None, vocabulary=40, target_length=14)
    assert workload.recipe() == PIECES
    half = workload.torch()
    assert half._detokenize(batch["targets"][0][: batch["target_lengths"][0]]) == kept[0][0]
    assert half._detokenize([]) == ""
    workload.check_batch(batch)


def test_the_tokenizer_knows_only_the_first_training_subset(raw: Path, pieces: Path, tmp_path: Path) -> None:
    changed = tmp_path / "raw"
    shutil.copytree(raw, changed)
    path = next((changed / "LibriSpeech" / "train-clean-360").rglob("*.trans.txt"))
    path.write_text("\n".join(f"{line} AA" for line in path.read_text().splitlines()))
    model = "librispeech/parts/tokenizer/tokenizer.model"
    prepare(PIECES, changed, tmp_path / "data", jobs=2)
    assert (tmp_path / "data" / model).read_bytes() == (pieces / model).read_bytes()
    path = next((changed / "LibriSpeech" / "train-clean-100").rglob("*.trans.txt"))
    path.write_text(path.read_text().replace("\n", " ABABAB ABAB ABABAB\n"))
    manifest, made = prepare(PIECES, changed, tmp_path / "other", jobs=2)
    assert (tmp_path / "other" / model).read_bytes() != (pieces / model).read_bytes()
    # Prepared in the same place, all that was made with the old tokenizer is made anew.
    (tmp_path / "data" / "librispeech" / "manifest.json").unlink()
    found, again = prepare(PIECES, changed, tmp_path / "data", jobs=2)
    assert found.sha256 == manifest.sha256
    assert again == made == len(manifest.parts)


def test_sizes_at_full_are_the_suite_s() -> None:
    """Spec: librispeech_conformer.md, 1."""
    for workload in (LibrispeechConformer("full"), LibrispeechDeepspeech("full")):
        recipe = workload.recipe()
        assert (recipe.samples, recipe.target_length, recipe.vocabulary) == (320_000, 256, 1_024)
        for suite in ("algoperf-0.5", "algoperf-0.6"):
            entry = load_suite(suite).workload("librispeech_conformer")
            sizes = entry.eval_examples
            found = {"train": entry.train_examples, "validation": sizes.validation, "test": sizes.test}
            assert recipe.expected_examples == found == {"train": 263_840, "validation": 5_348, "test": 2_472}
            assert sizes.train == speech_data.EVAL_TRAIN
    assert [each.utterances for each in SUBSETS.values()] == [28_539, 104_014, 148_688, 2_703, 2_864, 2_620]
    assert {split: [n for n, each in SUBSETS.items() if each.split == split] for split in SPLITS} == SPLITS


def test_golden_vectors(shared: Path, tmp_path: Path) -> None:
    """From a FLAC file on the disk to the reference's features (golden/README.md, 7)."""
    content = json.loads((shared / "golden" / "preprocess_librispeech.json").read_text())
    arrays = dict(np.load(shared / "golden" / "preprocess_librispeech.npz"))
    waveform = arrays["waveform"].astype(np.int16)
    np.testing.assert_array_equal(waveform, arrays["waveform"])
    raw = raw_librispeech.make(tmp_path, dict.fromkeys(SUBSETS, 1))
    for path in raw.rglob("*.flac"):
        path.write_bytes(raw_librispeech.flac(waveform[:20_000] if "dev" in str(path) else waveform))
    recipe = replace(TINY, samples=32_000, target_length=20)
    prepare(recipe, raw, tmp_path / "data", jobs=1)
    data = speech_data.speech_data(open_prepared(recipe, tmp_path / "data"), 32_000)
    for split, case in (("test", "no_padding"), ("validation", "padded_from_20000")):
        batch = next(data.eval_batches(split, 1))
        sound, lengths = torch.from_numpy(batch["inputs"]), torch.from_numpy(batch["input_lengths"])
        features, frames = LogMelSpectrogram()(sound, lengths)
        np.testing.assert_allclose(features[0].numpy(), arrays[f"features_{case}"], rtol=0, atol=1e-4)
        assert frames.item() == content[case]["frame_paddings"].count(0)


# Order.


def test_ranks_and_seeking(data: ExampleData) -> None:
    commands.check_ranks_and_seeking(data, 8, ranks=(1, 2, 4, 8), steps=6)
    commands.check_ranks_and_seeking(data, 15, ranks=(3, 5), steps=3)
    commands.check_ranks_and_seeking(data, 42, ranks=(6, 7), steps=2)


def test_resuming(data: ExampleData) -> None:
    commands.check_resuming(data, 3)


def test_batches_fit_the_workload(data: ExampleData) -> None:
    workload = LibrispeechConformer("tiny")
    workload.check_batch(data.train_source(SEED, 8).batch(0))
    for split in ("train", "validation", "test"):
        for batch in data.eval_batches(split, 5):
            workload.check_batch(batch)


# What is no good.


def first(folder: Path, pattern: str) -> Path:
    return min((folder / "LibriSpeech" / "train-clean-100").rglob(pattern))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[30] ^= 1  # of the MD5
    path.write_bytes(content)


def stereo(path: Path) -> None:
    soundfile.write(path, np.zeros((5_000, 2), dtype=np.int16), 16_000, format="FLAC", subtype="PCM_16")


def slow(path: Path) -> None:
    soundfile.write(path, np.zeros(5_000, dtype=np.int16), 8_000, format="FLAC", subtype="PCM_16")


def wave(path: Path) -> None:
    soundfile.write(path, np.zeros(5_000, dtype=np.int16), 16_000, format="WAV", subtype="PCM_16")


SOUND_BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, "cannot be read"),
    "nothing": (lambda path: path.write_bytes(b""), "cannot be read"),
    "no sound": (lambda path: path.write_text("<html>"), "cannot be read"),
    "other samples": (flip, "MD5"),
    "missing": (Path.unlink, "no such file"),
    "stereo": (stereo, "expected FLAC, PCM_16, 1 channel, 16000 Hz, found FLAC, PCM_16, 2 channels"),
    "slow": (slow, "8000 Hz"),
    "WAV": (wave, "found WAV"),
}
TEXT_BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "o such file"),
    "one line less": (lambda path: path.write_text(path.read_text().partition("\n")[2]), "no transcript of"),
    "no words": (lambda path: path.write_text("8-100-0000\n"), "line 1: expected an utterance's name and its words"),
    "binary": (lambda path: path.write_bytes(b"\xff\xfe"), "line 1: expected ASCII"),
}


def short(folder: Path) -> None:
    """Make the first utterance one that is kept, so that its sound is looked at."""
    path = first(folder, "*.trans.txt")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{lines[0].split()[0]} HI", *lines[1:]]) + "\n")
    first(folder, "*.flac").write_bytes(raw_librispeech.flac(np.arange(6_000, dtype=np.int16)))


@pytest.mark.parametrize("break_", SOUND_BREAKS.values(), ids=SOUND_BREAKS.keys())
def test_a_broken_sound_is_named(raw: Path, tmp_path: Path, break_: tuple[Callable[[Path], object], str]) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    short(tmp_path / "raw")
    path = first(tmp_path / "raw", "*.flac")
    break_[0](path)
    check_named(TINY, tmp_path, path, break_[1])


@pytest.mark.parametrize("break_", TEXT_BREAKS.values(), ids=TEXT_BREAKS.keys())
@pytest.mark.parametrize("recipe", [TINY, PIECES], ids=["characters", "pieces"])
def test_a_broken_transcript_is_named(
    raw: Path, tmp_path: Path, break_: tuple[Callable[[Path], object], str], recipe: LibrispeechRecipe
) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    path = first(tmp_path / "raw", "*.trans.txt")
    break_[0](path)
    check_named(recipe, tmp_path, path, break_[1])


def test_a_strange_character_is_named(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    short(tmp_path / "raw")
    path = first(tmp_path / "raw", "*.trans.txt")
    path.write_text(path.read_text().replace("HI", "H1"))
    check_named(TINY, tmp_path, first(tmp_path / "raw", "*.flac"), "text 'H1': '1' is not one of the characters")


def test_a_character_that_the_tokenizer_does_not_know_is_named(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    path = min((tmp_path / "raw" / "LibriSpeech" / "dev-clean").rglob("*.trans.txt"))
    path.write_text("\n".join(f"{line.split()[0]} H1" for line in path.read_text().splitlines()))
    for sound in path.parent.glob("*.flac"):
        sound.write_bytes(raw_librispeech.flac(np.arange(6_000, dtype=np.int16)))
    check_named(PIECES, tmp_path, min(path.parent.glob("*.flac")), "text 'H1': the tokenizer does not know")


def test_too_few_words_for_a_vocabulary(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    check_named(replace(PIECES, vocabulary=5_000), tmp_path, tmp_path / "raw", "5000 pieces can be trained")


def check_named(recipe: LibrispeechRecipe, folder: Path, path: Path, problem: str) -> None:
    with pytest.raises(UserError) as error:
        prepare(recipe, folder / "raw", folder / "data", jobs=1)
    assert str(path) in str(error.value)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def other_subset(path: Path) -> None:
    shutil.copy(path.with_name("dev-clean.tar.gz"), path)


def without(suffix: str) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        with tarfile.open(path) as old:
            kept = [(member, old.extractfile(member).read()) for member in old if member.isfile()]
        drop = next(member for member, _ in kept if member.name.endswith(suffix))
        with tarfile.open(path, "w:gz") as new:
            for member, content in kept:
                if member is not drop:
                    new.addfile(member, io.BytesIO(content))

    return rewrite


def empty_archive(path: Path) -> None:
    with tarfile.open(path, "w:gz"):
        pass


ARCHIVE_BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, "cannot be read"),
    "last bytes missing": (lambda path: path.write_bytes(path.read_bytes()[:-12]), "cannot be read"),
    "damaged": (damage, "cannot be read"),
    "no archive": (lambda path: path.write_text("<html>"), "cannot be read"),
    "empty": (empty_archive, "no FLAC files in it"),
    "another": (other_subset, "expected LibriSpeech/train-clean-100/"),
    "sound missing": (without(".flac"), "no sound of"),
    "transcript missing": (without(".trans.txt"), "no transcript of"),
}


@pytest.mark.parametrize("break_", ARCHIVE_BREAKS.values(), ids=ARCHIVE_BREAKS.keys())
def test_a_broken_archive_is_named(raw: Path, tmp_path: Path, break_: tuple[Callable[[Path], object], str]) -> None:
    archives = raw_librispeech.make_archives(tmp_path / "raw", raw)
    path = archives / "train-clean-100.tar.gz"
    break_[0](path)
    check_named(TINY, tmp_path, path, break_[1])


def test_what_is_missing_is_named(raw: Path, tmp_path: Path) -> None:
    for subset in ("train-clean-100", "dev-other"):
        shutil.copytree(raw / "LibriSpeech" / subset, tmp_path / "raw" / "LibriSpeech" / subset)
    said = commands.prepare("librispeech", tmp_path / "raw", tmp_path / "data", code=2)
    assert f"{tmp_path / 'raw' / 'test-clean.tar.gz'}: no such file" in said.replace("\n", "")
    (tmp_path / "raw" / "test-clean").mkdir()
    check_named(TINY, tmp_path, tmp_path / "raw" / "test-clean", "no files <speaker>/<chapter>/*.flac")


def test_subsets_must_be_whole_at_full(raw: Path, tmp_path: Path) -> None:
    recipe = LibrispeechConformer("full").recipe()
    last = recipe.stages(raw, tmp_path)[-1]
    with pytest.raises(UserError, match="train-clean-100: expected 28539 utterances, found 26"):
        last()
    shutil.copytree(raw, tmp_path / "raw")
    shutil.rmtree(tmp_path / "raw" / "LibriSpeech" / "dev-other")
    with pytest.raises(UserError, match=r"dev-other.tar.gz: no such file"):
        recipe.stages(tmp_path / "raw", tmp_path)


def test_archives_must_be_the_published_ones_at_full(raw: Path, tmp_path: Path) -> None:
    archives = raw_librispeech.make_archives(tmp_path / "raw", raw)
    recipe = LibrispeechConformer("full").recipe()
    with pytest.raises(UserError, match=r"tar.gz: its md5 is not the published [0-9a-f]{32}; download it again"):
        prepare(recipe, archives, tmp_path / "data", jobs=1)


def test_nothing_that_is_short_enough(raw: Path, tmp_path: Path) -> None:
    recipe = replace(TINY, samples=500)
    prepare(recipe, raw, tmp_path, jobs=1)
    with pytest.raises(UserError, match="no train utterances"):
        speech_data.speech_data(open_prepared(recipe, tmp_path), 500)


# Memory.

_MEASURE = """
import resource, sys
from functools import partial
from pathlib import Path
import array_record.python.array_record_module, numpy, soundfile
from timetrial.workloads import speech_raw, speech_recipe
archive, spool, part = map(Path, sys.argv[1:])
recipe = speech_recipe.LibrispeechRecipe(
    samples=320_000, target_length=256, vocabulary=29, alphabet=speech_raw_alphabet, part_utterances=1, published=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
speech_raw.spool(archive, "train-clean-100", spool)
count = speech_recipe.make_part(partial(speech_raw.from_spool, spool, archive, 0, 400), recipe, None, part)
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
""".replace("speech_raw_alphabet", repr(CharacterTokens()._alphabet))


@pytest.mark.slow
def test_preparing_streams(tmp_path: Path) -> None:
    """An archive of 100 MB is spooled and made a part in 30 MB: a sound at a time."""
    noise = np.random.default_rng(0).integers(-20_000, 20_000, 130_000).astype(np.int16)
    content = raw_librispeech.flac(noise)
    archive = tmp_path / "train-clean-100.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=0) as tar:
        for number in range(400):
            name = f"8-100-{number:04d}"
            for file, data in ((f"{name}.flac", content), (f"8-100-{number}.trans.txt", f"{name} HI\n".encode())):
                member = tarfile.TarInfo(f"LibriSpeech/train-clean-100/8/100/{file}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    assert archive.stat().st_size > 100e6
    for name in ("spool", "part"):
        (tmp_path / name).mkdir()
    command = [sys.executable, "-c", _MEASURE, str(archive), str(tmp_path / "spool"), str(tmp_path / "part")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, grown = map(int, done.stdout.split())
    assert count == 400
    assert grown * 1024 < 30e6
