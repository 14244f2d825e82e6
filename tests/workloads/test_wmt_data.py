"""The generated translation data: languages, tails, ceiling, batches, and what a dictionary alone reaches."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from timetrial.suite import load_suite
from timetrial.workloads.generated import fingerprint
from timetrial.workloads.metrics.bleu import CorpusBleu
from timetrial.workloads.wmt.generator import MINI, TINY, generate, make_corpus, sources, translations
from timetrial.workloads.wmt.tokenizer import mini_tokenizer
from timetrial.workloads.wmt.workload import EVALUATED, Wmt, ids_as_words

CORPORA = {"mini": MINI, "tiny": TINY}
presets = pytest.mark.parametrize("preset", list(CORPORA))


class Texts:
    """The sentences of `mini` in both languages, and the best possible translations, by split."""

    def __init__(self) -> None:
        self.words, said = make_corpus(MINI)
        self.sources = {split: sources(self.words, what) for split, what in said.items()}
        self.targets = {split: translations(self.words, what) for split, what in said.items()}
        self.best = translations(self.words, said["validation"], free=False)


@pytest.fixture(scope="module")
def texts() -> Texts:
    return Texts()


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    return {preset: generate(corpus) for preset, corpus in CORPORA.items()}


def bleu(hypotheses: list[str], references: list[str]) -> float:
    metric = CorpusBleu()
    metric.add(hypotheses, references)
    return metric.score()


@presets
def test_the_hash(arrays: dict[str, Any], preset: str) -> None:
    assert fingerprint(arrays[preset]) == Wmt.datasets[preset].sha256


def test_text_survives_the_tokenizer(arrays: dict[str, Any], texts: Texts) -> None:
    """No piece is unknown, and what is detokenised is the text, without which BLEU would have another ceiling."""
    tokenizer = mini_tokenizer()
    for side, lines in (("inputs", texts.sources["validation"]), ("targets", texts.targets["validation"])):
        tokens = arrays["mini"][f"validation_{side}"]
        lengths = (np.cumsum(tokens[:, ::-1], axis=1)[:, ::-1] > 0).sum(axis=1)
        assert [tokenizer.decode(row[:n].tolist()) for row, n in zip(tokens, lengths, strict=True)] == lines
        assert (lengths == (tokens > 0).sum(axis=1)).all()


def test_words_have_zipf_s_tail(texts: Texts) -> None:
    """Frequencies fall with the rank to a power near -1; a fifth of the word forms occur once or twice."""
    counts = Counter(word for line in texts.targets["train"] for word in line[:-1].split())
    ranked = np.sort(list(counts.values()))[::-1]
    ranks = np.arange(20, 1500)
    exponent = np.polyfit(np.log(ranks + 1), np.log(ranked[ranks]), 1)[0]
    assert -1.4 < exponent < -0.8, exponent
    assert (ranked <= 2).mean() > 0.15


def test_splits_are_disjoint_but_for_short_sentences(texts: Texts) -> None:
    known = set(texts.sources["train"])
    for split in ("validation", "test"):
        assert np.mean([line in known for line in texts.sources[split]]) < 0.03


def test_the_ceiling_is_the_free_synonyms(texts: Texts) -> None:
    """Some 3 % of the words cannot be predicted; what is left is far above the target."""
    references = texts.targets["validation"]
    words = [
        pair for a, b in zip(texts.best, references, strict=True) for pair in zip(a.split(), b.split(), strict=True)
    ]
    assert 0.02 < np.mean([best != found for best, found in words]) < 0.05
    ceiling = bleu(texts.best, references)
    assert 85 < ceiling < 97, ceiling
    assert ceiling > load_suite("mini-1").workloads["wmt"].validation_target + 20


def test_agreement_and_order_by_hand(texts: Texts) -> None:
    """The parts of a sentence that are always there: the marks of questions and negations, as many words."""
    for source, target in zip(texts.sources["train"][:500], texts.targets["train"][:500], strict=True):
        assert source.endswith("ka?") == target.endswith("?")
        assert ("nim" in source[:-1].split()) == ("no" in target.split())
        assert abs(len(target.split()) - len(source.removesuffix(" ka?").split())) == 0


def word_by_word(train: list[tuple[list[str], list[str]]]) -> dict[str, str]:
    """Return each source word's likeliest translation by IBM model 1 (Brown et al. 1993), five iterations."""
    pairs = [(s, t, n) for n, (source, target) in enumerate(train) for s in source for t in target]
    known_sources, s = np.unique([pair[0] for pair in pairs], return_inverse=True)
    known_targets, t = np.unique([pair[1] for pair in pairs], return_inverse=True)
    width = len(known_targets)
    cells, cell = np.unique(s * width + t, return_inverse=True)
    slot = np.unique(np.array([pair[2] for pair in pairs]) * width + t, return_inverse=True)[1]
    probability = np.ones(len(cells))
    for _ in range(5):
        expected = probability[cell] / np.bincount(slot, probability[cell])[slot]
        count = np.bincount(cell, expected)
        probability = count / np.bincount(cells // width, count)[cells // width]
    likeliest_last = cells[np.argsort(probability, kind="stable")]
    return {known_sources[number // width]: known_targets[number % width] for number in likeliest_last}


def split_words(line: str) -> list[str]:
    return [*line[:-1].split(), line[-1]]


@pytest.mark.slow
def test_a_dictionary_alone_stays_far_below_the_target(texts: Texts) -> None:
    train = zip(texts.sources["train"], texts.targets["train"], strict=True)
    known = word_by_word([(split_words(source), split_words(target)) for source, target in train])
    found = [" ".join(known.get(word, word) for word in split_words(line)) for line in texts.sources["validation"]]
    reached = bleu(found, texts.targets["validation"])
    target = load_suite("mini-1").workloads["wmt"].validation_target
    assert reached < 0.5 * target, f"word by word: BLEU {reached:.1f}, target {target}"


@presets
def test_batches_are_what_the_model_takes(arrays: dict[str, Any], preset: str) -> None:
    workload = Wmt(preset)
    data = workload.data_from(arrays[preset])
    source = data.train_source(np.random.SeedSequence(3), 8)
    for step in range(3):
        batch = source.batch(step)
        workload.check_batch(batch)
        assert batch.keys() == workload.random_batch(np.random.default_rng(0), 2).keys()
    assert source.batch(0)["inputs"].shape == (8, workload.config.max_length)
    for split, count in EVALUATED[preset].items():
        batches = list(data.eval_batches(split, 24))
        for batch in batches:
            workload.check_batch(batch)
            assert (batch["targets"] == 2).sum(axis=1).tolist() == [1] * len(batch["targets"])
        assert data.eval_examples(split) == sum(len(batch["inputs"]) for batch in batches) == count


def test_an_evaluation_s_train_split_is_training_data(arrays: dict[str, Any]) -> None:
    data = Wmt("tiny").data_from(arrays["tiny"])
    (batch,) = data.eval_batches("train", 100)
    rows = data.train_source(np.random.SeedSequence(0), data.train_examples).batch(0)
    row, position = rows["targets"].ravel().tolist(), rows["targets_position"]
    text = " ".join(map(str, row))
    assert position.max() < 12
    for sentence in batch["targets"].tolist():
        assert " ".join(str(token) for token in sentence if token) in text


def test_any_step_on_any_rank(arrays: dict[str, Any]) -> None:
    """Across the border of an epoch: two ranks' rows are the single rank's, and jumping ahead changes nothing."""
    data = Wmt("tiny").data_from(arrays["tiny"])
    border = data.train_examples // 8
    alone = data.train_source(np.random.SeedSequence(1), 8)
    ranks = [data.train_source(np.random.SeedSequence(1), 8, rank=rank, ranks=2) for rank in range(2)]
    for step in (border + 1, border, 0):
        whole = alone.batch(step)
        parts = [source.batch(step) for source in ranks]
        for name, array in whole.items():
            np.testing.assert_array_equal(array[0::2], parts[0][name])
            np.testing.assert_array_equal(array[1::2], parts[1][name])


@pytest.mark.parametrize("variant", [None, *Wmt.variants])
def test_a_few_steps_reduce_the_loss(arrays: dict[str, Any], variant: str | None) -> None:
    torch.manual_seed(0)
    workload = Wmt("tiny", variant)
    half, source = workload.torch(), workload.data_from(arrays["tiny"]).train_source(np.random.SeedSequence(0), 16)
    model = half.build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for step in range(80):
        batch = {name: torch.from_numpy(array) for name, array in source.batch(step).items()}
        loss = half.loss(batch, half.forward(model, batch, dropout=0.0)).mean
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.65 * np.mean(losses[:5]), losses


def test_mini_evaluates_text() -> None:
    """Its pieces are detokenised; token ids as words are for `tiny`."""
    half = Wmt("mini").torch()
    tokens = mini_tokenizer().encode_all(["mane gi tokude vaslat."])[0]
    assert half._detokenize is not None
    assert half._detokenize(tokens) == "mane gi tokude vaslat."
    assert Wmt("tiny").torch()._detokenize is ids_as_words
