"""`criteo1tb`: generated click logs and the preprocessing that they share with Criteo's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from timetrial.errors import UserError
from timetrial.suite import load_suite
from timetrial.trial.stream import to_device
from timetrial.workloads.base import Data, HostBatch
from timetrial.workloads.criteo1tb.generator import first_codes, generate, is_wide, standardised, zipf
from timetrial.workloads.criteo1tb.preprocessing import fingerprint64, hash_categories, hex_texts, parse_lines
from timetrial.workloads.criteo1tb.workload import FIELD_SIZES, MINI, MINI_FIELD_SIZES, TINY, Criteo1tb
from timetrial.workloads.generated import fingerprint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def small() -> HostBatch:
    """Mini's fields, teacher and tails on fewer examples."""
    return generate(replace(MINI, train=65_536, validation=16_384, test=256))


@pytest.fixture(autouse=True)
def _own_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    if "slow" not in request.keywords:
        request.getfixturevalue("monkeypatch").setenv("TIMETRIAL_CACHE", str(tmp_path_factory.mktemp("cache")))


def tiny() -> Data:
    return Criteo1tb("tiny").data()


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits / 1000))


# Preprocessing.


def golden(shared: Path) -> dict:
    return json.loads((shared / "golden" / "preprocess_criteo.json").read_text())


def test_lines_of_the_reference(shared: Path) -> None:
    expected = golden(shared)
    batch = parse_lines(expected["lines"], FIELD_SIZES)
    inputs = np.load(shared / "golden" / "preprocess_criteo.npz")["inputs"]
    np.testing.assert_allclose(batch["inputs"][:, :13], inputs[:, :13], rtol=2e-7)
    np.testing.assert_array_equal(batch["inputs"][:, 13:], inputs[:, 13:])
    np.testing.assert_array_equal(batch["targets"], expected["targets"])


def test_fingerprints_of_the_reference(shared: Path) -> None:
    short = {text: value for text, value in golden(shared)["fingerprint64_mod_2_62"].items() if len(text) <= 16}
    assert {len(text) for text in short} >= {0, 1, 3, 9, 10}
    hashes = fingerprint64(np.array([text.encode() for text in short], "S16"))
    assert [int(value) % 2**62 for value in hashes] == list(short.values())


def test_bucket_of_the_reference() -> None:
    """Spec: workloads/criteo1tb.md, 1, test vectors."""
    texts = hex_texts(np.array([0x68FD1E64, 0, 0xAD98E872], np.uint32))
    assert texts.tolist() == [b"68fd1e64", b"00000000", b"ad98e872"]
    assert hash_categories(texts, 0, FIELD_SIZES[0]).tolist() == [6734129, 16124033, 27102521]
    missing = np.array([b"", b"-1", b"00000000"])
    assert len(set(hash_categories(missing, 25, FIELD_SIZES[25]))) == 1


def test_what_cannot_be_parsed() -> None:
    with pytest.raises(UserError, match="expected 40 fields, found 2"):
        parse_lines(["1\t2"], FIELD_SIZES)
    with pytest.raises(UserError, match="at most 16 bytes with its field's number, found 17"):
        hash_categories(np.array([b"0123456789abcdef"]), 3, 10)


def test_batches_are_what_parsing_the_raw_values_gives(small: HostBatch) -> None:
    """Rows written as lines of a log, with empty missing fields, and parsed."""
    rows = 64
    wide, starts = is_wide(MINI_FIELD_SIZES), first_codes(MINI_FIELD_SIZES)
    codes = np.empty((rows, 26), np.int64)
    codes[:, ~wide], codes[:, wide] = small["validation_narrow"][:rows], small["validation_wide"][:rows]
    counts, categories = small["counts"][small["validation_dense"][:rows]], small["categories"][starts + codes]
    lines = [
        "\t".join([str(label), *("" if x < 0 else str(x) for x in count), *(f"{x:08x}" if x else "" for x in category)])
        for label, count, category in zip(small["validation_labels"][:rows], counts, categories, strict=True)
    ]
    expected = parse_lines(lines, MINI_FIELD_SIZES)
    batch = next(iter(Criteo1tb("mini").data_from(small).eval_batches("validation", rows)))
    np.testing.assert_array_equal(batch["inputs"], expected["inputs"])
    np.testing.assert_array_equal(batch["targets"], expected["targets"])


# The generator.


def test_hash_of_tiny() -> None:
    assert fingerprint(generate(TINY)) == Criteo1tb.datasets["tiny"].sha256


@pytest.mark.slow
def test_hash_of_mini() -> None:
    assert fingerprint(generate(MINI)) == Criteo1tb.datasets["mini"].sha256


def test_zipf() -> None:
    frequencies = zipf(20_000)
    assert frequencies.sum() == 1 << 18
    np.testing.assert_allclose(frequencies[0] / frequencies[:100], np.arange(1, 101), rtol=0.02)


def test_standardised() -> None:
    np.testing.assert_allclose(standardised(np.array([1.0, 3.0]), np.array([1, 1])), [-1, 1])


def test_categories_have_zipf_tails(small: HostBatch) -> None:
    """Field 0 of 20,000: the commonest is every tenth, the rarer half of the vocabulary every fifteenth."""
    codes = small["train_wide"][:, 0]
    assert 0.08 < (codes == 0).mean() < 0.11
    assert 0.04 < (codes >= 10_000).mean() < 0.09


def test_clicks_are_rare_and_coins_of_the_teacher(small: HostBatch) -> None:
    labels = small["train_labels"]
    assert 0.025 < labels.mean() < 0.035
    probability = sigmoid(small["validation_logits"].astype(np.float64))
    deviation = np.sqrt((probability * (1 - probability)).mean() / len(probability))
    assert abs(small["validation_labels"].mean() - probability.mean()) < 4 * deviation


def test_missing_counts_and_groups(small: HostBatch) -> None:
    missing = (small["train_dense"] == 0).mean(axis=0)
    assert (missing < 0.35).all()
    assert missing.max() > 0.1
    campaigns = {}
    wide = np.flatnonzero(is_wide(MINI_FIELD_SIZES)).tolist()
    for advert, campaign in small["train_wide"][:2000, [wide.index(0), wide.index(10)]].tolist():
        assert campaigns.setdefault(advert, campaign) == campaign


def test_splits_are_disjoint(small: HostBatch) -> None:
    rows = [
        {row.tobytes() for row in np.hstack([small[f"{split}_dense"], small[f"{split}_narrow"]])}
        for split in ("train", "validation", "test")
    ]
    assert not rows[0] & (rows[1] | rows[2])
    assert not rows[1] & rows[2]


# Batches.


def test_batches_pass_the_check() -> None:
    workload, data = Criteo1tb("tiny"), tiny()
    workload.check_batch(data.train_source(np.random.SeedSequence(0), 64).batch(0))
    for split in ("train", "validation", "test"):
        batches = list(data.eval_batches(split, 100))
        assert sum(len(batch["targets"]) for batch in batches) == data.eval_examples(split)
        for batch in batches:
            workload.check_batch(batch)


def test_any_step_at_any_time_and_ranks_divide_a_batch() -> None:
    data, seed = tiny(), np.random.SeedSequence(3)
    whole = data.train_source(seed, 12)
    whole.batch(400)
    first = whole.batch(7)
    np.testing.assert_array_equal(first["inputs"], data.train_source(seed, 12).batch(7)["inputs"])
    parts = [data.train_source(seed, 12, rank=rank, ranks=3).batch(7)["inputs"] for rank in range(3)]
    np.testing.assert_array_equal(np.stack(parts, axis=1).reshape(12, 39), first["inputs"])


def test_sizes_are_the_suites() -> None:
    entry = load_suite("mini-1").workload("criteo1tb")
    assert entry.train_examples == MINI.train
    assert entry.eval_examples.validation == MINI.validation
    assert entry.eval_examples.test == MINI.test


def test_a_few_steps_reduce_the_loss() -> None:
    torch.manual_seed(0)
    workload = Criteo1tb("tiny")
    half = workload.torch()
    model, source = half.build_model(), tiny().train_source(np.random.SeedSequence(0), 256)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(30):
        batch = to_device(source.batch(step), CPU)
        loss = half.loss(batch, half.forward(model, batch)).mean
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.slow
def test_logistic_regression_misses_the_target() -> None:
    """On all one-hot categories, no two in the same row, and the counts' logarithms: one pass of Adagrad."""
    torch.manual_seed(0)
    data = Criteo1tb("mini").data()
    starts = torch.from_numpy(first_codes(MINI_FIELD_SIZES))
    effects = torch.nn.EmbeddingBag(sum(MINI_FIELD_SIZES), 1, mode="sum")
    slopes = torch.nn.Linear(13, 1)
    for parameter in (effects.weight, slopes.weight, slopes.bias):
        torch.nn.init.zeros_(parameter)
    optimizers = [
        torch.optim.Adagrad(effects.parameters(), lr=0.03),
        torch.optim.Adam(slopes.parameters(), lr=3e-3),
    ]

    def loss_of(batch: HostBatch, reduction: str) -> torch.Tensor:
        inputs, targets = (torch.from_numpy(batch[name]) for name in ("inputs", "targets"))
        logits = slopes(inputs[:, :13]) + effects(inputs[:, 13:].long() + starts)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], targets, reduction=reduction)

    source = data.train_source(np.random.SeedSequence(0), 1024)
    for step in range(MINI.train // 1024):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss_of(source.batch(step), "mean").backward()
        for optimizer in optimizers:
            optimizer.step()
    with torch.no_grad():
        total = sum(loss_of(batch, "sum").item() for batch in data.eval_batches("validation", 4096))
    loss = total / MINI.validation
    target = load_suite("mini-1").workload("criteo1tb").validation_target
    assert loss > 1.005 * target, f"logistic regression reaches {loss:.5f}, the target is {target:.5f}"
