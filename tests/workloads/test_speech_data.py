"""The generated utterances and their way to the speech models."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from timetrial.errors import UserError
from timetrial.suite import load_suite
from timetrial.workloads.base import HostBatch, Split
from timetrial.workloads.generated import fingerprint
from timetrial.workloads.librispeech_conformer.workload import LibrispeechConformer
from timetrial.workloads.librispeech_deepspeech.workload import LibrispeechDeepspeech
from timetrial.workloads.registry import load_workload
from timetrial.workloads.sources import ArrayData
from timetrial.workloads.speech import CharacterTokens, SpeechWorkload
from timetrial.workloads.speech_generator import DATASETS, MINI, TINY, generate
from timetrial.workloads.speech_preprocessing import as_floats, texts_of, tokenise
from timetrial.workloads.speech_sentences import make_language

NAMES = ("librispeech_conformer", "librispeech_deepspeech")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
both = pytest.mark.parametrize("name", NAMES)
both_sizes = pytest.mark.parametrize("preset", ["tiny", pytest.param("mini", marks=pytest.mark.slow)])


@cache
def made(preset: str) -> HostBatch:
    return generate({"tiny": TINY, "mini": MINI}[preset])


@cache
def data(name: str, preset: str = "tiny") -> ArrayData:
    return load(name, preset).data_from(made(preset))


def load(name: str, preset: str, variant: str | None = None) -> SpeechWorkload[Any]:
    workload = load_workload(name, preset, variant)
    assert isinstance(workload, SpeechWorkload)
    return workload


# The generator.


@both_sizes
def test_the_bytes_are_those_of_the_hash(preset: str) -> None:
    assert fingerprint(made(preset)) == DATASETS[preset].sha256
    assert LibrispeechConformer.datasets is LibrispeechDeepspeech.datasets is DATASETS


@both_sizes
def test_splits_share_no_speaker_and_no_sentence(preset: str) -> None:
    arrays = made(preset)
    for part in ("speakers", "texts"):
        seen = [{bytes(row) for row in np.atleast_2d(arrays[f"{split}.{part}"].T).T} for split in SPLITS]
        assert len(set.union(*seen)) == sum(map(len, seen)), part


@both_sizes
def test_sounds_have_room_for_their_transcripts(preset: str) -> None:
    """CTC needs a step for every token and one between equal ones; a step is 640 samples."""
    arrays = made(preset)
    for split in SPLITS:
        lengths = arrays[f"{split}.sound_lengths"].astype(int)
        needed = [len(text) + sum(map(str.__eq__, text, text[1:])) for text in texts_of(arrays[f"{split}.texts"])]
        assert (lengths // 640 >= needed).all()
        sounds = arrays[f"{split}.sounds"]
        assert all(
            not sound[length:].any() and sound[:length].any() for sound, length in zip(sounds, lengths, strict=True)
        )
        assert (np.abs(sounds.astype(int)).max(axis=1) < 32767).mean() > 0.95, "few are clipped"


@pytest.mark.slow
def test_words_have_a_heavy_tail() -> None:
    words = " ".join(texts_of(made("mini")["train.texts"])).split()
    counts = np.sort(np.unique(words, return_counts=True)[1])[::-1]
    assert 0.08 < counts[0] / counts.sum() < 0.25
    assert counts[:10].sum() > 0.35 * counts.sum()
    assert (counts == 1).sum() > 0.2 * len(counts), "many words are heard once"
    heard = np.isin(" ".join(texts_of(made("mini")["validation.texts"])).split(), words).mean()
    assert 0.9 < heard < 1.0, "some words of validation were never heard"


def test_words_have_neighbours_that_differ_in_a_letter() -> None:
    words = make_language(np.random.Generator(np.random.PCG64(1)), 300).words
    assert len(set(words)) == 300
    near = [any(len(a) == len(b) and sum(map(str.__ne__, a, b)) == 1 for b in words) for a in words]
    assert np.mean(near) > 0.7


# Preprocessing and batches.


def test_tokens_of_transcripts() -> None:
    tokens = CharacterTokens()
    targets, lengths = tokenise(["A B", "", "'Z"], tokens.encode, 4)
    assert targets.tolist() == [[3, 1, 4, 0], [0, 0, 0, 0], [2, 28, 0, 0]]
    assert lengths.tolist() == [3, 0, 2]
    assert targets.dtype == lengths.dtype == np.int64
    with pytest.raises(UserError, match="'LONG': expected at most 3 tokens, found 4"):
        tokenise(["LONG"], tokens.encode, 3)


def test_sounds_become_floats_and_nothing_else_changes() -> None:
    batch = as_floats({"inputs": np.array([[-32768, 0, 32767]], dtype=np.int16), "targets": np.array([[1]])})
    assert batch["inputs"].dtype == np.float32
    assert batch["inputs"].tolist() == [[-32768.0, 0.0, 32767.0]]
    assert batch["targets"].tolist() == [[1]]


@both
def test_batches_are_what_the_workload_takes(name: str) -> None:
    workload, made_data = load(name, "tiny"), data(name)
    workload.check_batch(made_data.train_source(np.random.SeedSequence(0), 6).batch(0))
    for split in SPLITS:
        batches = list(made_data.eval_batches(split, 5))
        assert sum(len(batch["inputs"]) for batch in batches) == made_data.eval_examples(split)
        for batch in batches:
            workload.check_batch(batch)
    texts = texts_of(made("tiny")["validation.texts"])
    first = next(iter(made_data.eval_batches("validation", 2)))
    said = [workload.detokenize(row[:n]) for row, n in zip(first["targets"], first["target_lengths"], strict=True)]
    assert said == texts[:2]


@both
def test_any_step_can_be_had_at_any_time_by_any_rank(name: str) -> None:
    seed = np.random.SeedSequence(3)
    in_order = [data(name).train_source(seed, 6).batch(step) for step in range(10)]
    again = data(name).train_source(seed, 6)
    ranks = [data(name).train_source(seed, 6, rank=rank, ranks=2) for rank in (0, 1)]
    for step in (9, 3, 4):
        whole, halves = again.batch(step), [rank.batch(step) for rank in ranks]
        for field, array in in_order[step].items():
            np.testing.assert_array_equal(whole[field], array)
            np.testing.assert_array_equal(halves[0][field], array[0::2])
            np.testing.assert_array_equal(halves[1][field], array[1::2])


@both
def test_the_suite_has_the_sizes_of_the_data(name: str) -> None:
    suite = load_suite("mini-1").workloads[name]
    assert suite.train_examples == MINI.train
    assert (suite.eval_examples.validation, suite.eval_examples.test) == (MINI.validation, MINI.test)


# Learning.


@pytest.mark.parametrize(
    ("name", "variant"),
    [(name, variant) for name in NAMES for variant in (None, *load_workload(name, "tiny").variants)],
)
def test_a_few_steps_lower_the_loss(name: str, variant: str | None) -> None:
    half = load(name, "tiny", variant).torch()
    torch.manual_seed(0)
    model = half.build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    source = data(name).train_source(np.random.SeedSequence(0), 8)
    losses = []
    for step in range(30):
        batch = {field: torch.from_numpy(array) for field, array in source.batch(step).items()}
        loss = half.loss(batch, half.forward(model, batch)).mean
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.slow
def test_a_linear_model_stays_above_the_targets() -> None:
    """A linear map of seven stacked steps of the models' own spectrogram, 28 frames, trained by CTC."""
    rate = linear_model_wer()
    for name in NAMES:
        target = load_suite("mini-1").workloads[name].validation_target
        assert rate > 1.5 * target, f"{name}: a linear model reaches {rate:.3f}, the target is {target}"


def linear_model_wer() -> float:
    """Return the validation word error rate (public form) of a linear model."""
    from timetrial.workloads.layers.spectrogram import LogMelSpectrogram
    from timetrial.workloads.losses import ctc_loss
    from timetrial.workloads.metrics.word_errors import WordErrors, greedy_decode, public_text

    front_end, half, workload = LogMelSpectrogram().eval(), load(NAMES[0], "mini").torch(), load(NAMES[0], "mini")

    def features(batch: HostBatch) -> dict[str, torch.Tensor]:
        tensors = {field: torch.from_numpy(np.array(array)) for field, array in batch.items()}
        mel, _ = front_end(tensors["inputs"], tensors["input_lengths"])
        mel = torch.nn.functional.pad(mel, (0, 0, 12, 12 + -mel.shape[1] % 4))
        stacked = mel.unfold(1, 28, 4).flatten(2)
        return {**tensors, "features": stacked, "steps": half.steps(tensors)}

    source = data(NAMES[0], "mini").train_source(np.random.SeedSequence(0), MINI.train)
    train = features(source.batch(0))
    torch.manual_seed(0)
    linear = torch.nn.Linear(train["features"].shape[2], workload.config.vocabulary)
    steps = 800
    optimizer = torch.optim.Adam(linear.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(MINI.train, (32,))
        batch = {field: tensor[rows] for field, tensor in train.items()}
        logits = linear(batch["features"])
        ctc_loss(logits, batch["steps"], batch["targets"], batch["target_lengths"]).mean.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    errors = WordErrors()
    for arrays in data(NAMES[0], "mini").eval_batches("validation", 64):
        batch = features(arrays)
        decoded = greedy_decode(linear(batch["features"]), batch["steps"])
        for row, length, found in zip(arrays["targets"], arrays["target_lengths"], decoded, strict=True):
            errors.add(public_text(workload.detokenize(row[:length])), public_text(workload.detokenize(found)))
    return errors.rate
