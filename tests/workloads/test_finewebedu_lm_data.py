"""The generated language: its properties, the stream it is read from, and what counting makes of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from count_models import COUNT_MODELS, CountModel

from timetrial.errors import UserError
from timetrial.suite import load_suite
from timetrial.trial.evaluation import evaluate
from timetrial.trial.seeds import Seeds
from timetrial.trial.stream import to_device
from timetrial.workloads.base import Data, HostBatch
from timetrial.workloads.finewebedu_lm.generator import MINI, TINY, Sizes, draw, generate
from timetrial.workloads.finewebedu_lm.grammar import END_OF_TEXT, WORD_SLOTS, Grammar, word_tables, zipf_counts
from timetrial.workloads.finewebedu_lm.preprocessing import cut, join_documents, to_batch, token_data
from timetrial.workloads.finewebedu_lm.workload import FinewebeduLm
from timetrial.workloads.generated import fingerprint

CPU = torch.device("cpu")
LEXICON = MINI.lexicon
SMALL = dataclasses.replace(MINI, train=3_000, validation=64, documents=500)


@pytest.fixture(scope="module")
def tiny() -> Data:
    workload = FinewebeduLm("tiny")
    return workload.data_from(generate(TINY))


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    """Some 390,000 tokens of the language of `mini`."""
    return generate(SMALL)["train"].astype(np.int64)


def test_tiny_is_what_it_was() -> None:
    assert fingerprint(generate(TINY)) == FinewebeduLm.datasets["tiny"].sha256


@pytest.mark.parametrize(("preset", "sizes"), [("mini", MINI), ("tiny", TINY)])
def test_vocabulary_is_the_model_s(preset: str, sizes: Sizes) -> None:
    config = FinewebeduLm(preset).config
    assert (sizes.lexicon.vocabulary, sizes.sequence_length) == (config.vocabulary, config.sequence_length)
    assert sizes.lexicon.first_id("end") == END_OF_TEXT


def test_every_phrase_has_probability_one_and_ends() -> None:
    grammar = Grammar(LEXICON.classes)
    assert grammar.tables.shape[2] == 256
    words, probabilities = word_tables(LEXICON, np.random.default_rng(0))
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-12)
    assert words.max() == LEXICON.vocabulary - 1


def test_zipf_counts_by_hand() -> None:
    """Weights 6 : 3 : 2 of the 8 slots beyond one each: 4.4, 2.2, 1.5 rounded down, the rest to the first."""
    np.testing.assert_array_equal(zipf_counts(3, 11), [6, 3, 2])
    np.testing.assert_array_equal(zipf_counts(2, 8, np.array([1, 4])), [3, 5])
    assert zipf_counts(188, WORD_SLOTS).min() >= 1


def test_words_have_a_heavy_tail(small: np.ndarray) -> None:
    """The exponent over ranks 10 to 700 is about 1, and every piece occurs."""
    counts = np.sort(np.bincount(small, minlength=LEXICON.vocabulary))[::-1]
    slope = np.polyfit(np.log(np.arange(10, 701)), np.log(counts[9:700]), 1)[0]
    assert -1.25 < slope < -0.85, slope
    assert counts[-1] > 0
    assert counts[:10].sum() > 0.25 * counts.sum()


def test_brackets_match(small: np.ndarray) -> None:
    """Within each document, read as a stack."""
    pairs = {LEXICON.first_id(right): LEXICON.first_id(left) for left, right in ("()", "[]", "{}")}
    stack, opened = [], 0
    for token in small[: np.flatnonzero(small == END_OF_TEXT)[-1]]:
        if token in pairs.values():
            stack.append(token)
            opened += 1
        elif token in pairs:
            assert stack.pop() == pairs[token]
        elif token == END_OF_TEXT:
            assert not stack
    assert opened > 1000


def test_names_come_back_in_their_document_and_not_elsewhere(small: np.ndarray) -> None:
    """After the same pair of pieces within the last 100 tokens the next piece is most often the same; else never so."""
    inner = LEXICON.first_id("family_name")
    places = np.flatnonzero((small[1:-1] >= inner) & (small[2:] >= inner))
    places = places[places > 1000] + 2
    same = {"near": [0, 0], "far": [0, 0]}
    for place in places[:3000]:
        for kind, window in (("near", small[place - 100 : place - 1]), ("far", small[place - 1000 : place - 600])):
            hits = np.flatnonzero((window[:-2] == small[place - 2]) & (window[1:-1] == small[place - 1]))
            if len(hits):
                same[kind][0] += int(window[hits[-1] + 2] == small[place])
                same[kind][1] += 1
    assert same["near"][1] > 1000
    assert same["near"][0] > 0.9 * same["near"][1]
    assert same["far"][0] < 0.5 * same["far"][1]


def test_topics_show_in_the_words(small: np.ndarray) -> None:
    """The two halves of a document share more nouns than halves of different documents, by a factor."""
    first, stop = LEXICON.first_id("noun_0s"), LEXICON.first_id("adjective_0")
    documents = np.split(small, np.flatnonzero(small == END_OF_TEXT))
    halves = []
    for document in documents:
        nouns = document[(document >= first) & (document < stop)] - first
        if len(nouns) >= 20:
            half = len(nouns) // 2
            halves.append([np.bincount(part, minlength=stop - first) / len(part) for part in np.split(nouns, [half])])
    left, right = np.array(halves).swapaxes(0, 1)
    assert (left * right).sum(axis=1).mean() > 1.3 * (left * np.roll(right, 1, axis=0)).sum(axis=1).mean()


def test_splits_share_no_sequence() -> None:
    arrays = generate(SMALL)
    train = {piece.tobytes() for piece in np.lib.stride_tricks.sliding_window_view(arrays["train"], 24)}
    for piece in cut(arrays["validation"], MINI.sequence_length):
        assert piece[:24].tobytes() not in train


def test_entropy_bounds_are_near_one_another() -> None:
    _, below, above = draw(SMALL)
    assert 0 < above - below < 0.02
    assert 8 < np.exp(below) < 14


def test_documents_are_joined_by_hand() -> None:
    joined = join_documents(np.array([5, 6, 7, 8], dtype=np.uint16), np.array([1, 0, 3]), 0)
    np.testing.assert_array_equal(joined, [5, 0, 6, 7, 8, 0])
    assert joined.dtype == np.uint16
    with pytest.raises(UserError, match="expected lengths that sum to 4 tokens, found 3"):
        join_documents(np.arange(4), np.array([1, 2]), 0)


def test_a_stream_is_cut_by_hand() -> None:
    """Eleven tokens, sequences of four: two pieces of five, the eleventh is dropped, the fifth only a target."""
    pieces = cut(np.arange(11, dtype=np.uint16), 4)
    batch = to_batch({"pieces": pieces})
    np.testing.assert_array_equal(batch["inputs"], [[0, 1, 2, 3], [5, 6, 7, 8]])
    np.testing.assert_array_equal(batch["targets"], [[1, 2, 3, 4], [6, 7, 8, 9]])
    assert (batch["inputs"].dtype, batch["targets"].dtype) == (np.int32, np.int64)


def test_a_file_is_not_read_as_a_whole(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """The pieces are a view of the mapped file."""
    np.save(tmp_path / "stream.npy", np.arange(100, dtype=np.uint16))
    stream = np.load(tmp_path / "stream.npy", mmap_mode="r")
    assert np.shares_memory(cut(stream, 4), stream)
    data = token_data(stream, stream, sequence_length=4, eval_train=2)
    assert data.train_examples == 20
    assert type(data.train_source(np.random.SeedSequence(0), 4).batch(0)["inputs"]) is np.ndarray


def test_sizes_are_the_suite_s() -> None:
    entry = load_suite("mini-1").workload("finewebedu_lm")
    assert (MINI.train, MINI.validation) == (entry.train_examples, entry.eval_examples.validation)
    assert FinewebeduLm("mini").config.eval_train == entry.eval_examples.train
    assert (entry.eval_examples.test, entry.test_target) == (0, None)


def test_the_suite_s_budget_never_repeats_a_sequence() -> None:
    """Nor does one and a half times the budget of the self-tuning ruleset, on a machine thrice as fast."""
    entry = load_suite("mini-1").workload("finewebedu_lm")
    assert entry.train_examples >= 1.5 * 3 * entry.step_hint * entry.batch_size


def test_batches_are_good(tiny: Data) -> None:
    workload = FinewebeduLm("tiny")
    workload.check_batch(tiny.train_source(np.random.SeedSequence(0), 8).batch(0))
    for split in ("train", "validation", "test"):
        batches = list(tiny.eval_batches(split, 10))  # type: ignore[arg-type]
        assert sum(len(batch["inputs"]) for batch in batches) == tiny.eval_examples(split)  # type: ignore[arg-type]
        for batch in batches:
            workload.check_batch(batch)


def test_any_step_at_any_time_and_by_rank(tiny: Data) -> None:
    def source(**ranks: int):  # type: ignore[no-untyped-def]
        return tiny.train_source(np.random.SeedSequence(3), 6, **ranks)

    in_order = source()
    batches = [in_order.batch(step) for step in range(40)]
    resumed = source()
    for step in (39, 7, 8):
        assert_same(resumed.batch(step), batches[step])
    parts = [source(rank=rank, ranks=2).batch(11) for rank in (0, 1)]
    for name, whole in batches[11].items():
        np.testing.assert_array_equal(np.stack([part[name] for part in parts], axis=1).reshape(whole.shape), whole)


def assert_same(found: HostBatch, expected: HostBatch) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_an_evaluation_without_a_test_split(tiny: Data) -> None:
    half = FinewebeduLm("tiny").torch()
    torch.manual_seed(0)
    metrics = evaluate(half, tiny, half.build_model(), batch_size=16, device=CPU, seeds=Seeds(0))
    assert set(metrics) == {"train/ppl", "train/loss", "validation/ppl", "validation/loss"}


def test_a_few_steps_teach_something(tiny: Data) -> None:
    half = FinewebeduLm("tiny").torch()
    torch.manual_seed(0)
    model = half.build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    source = tiny.train_source(np.random.SeedSequence(0), 8)
    losses = []
    for step in range(60):
        batch = to_device(source.batch(step), CPU)
        loss = half.loss(batch, half.forward(model, batch)).mean
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < np.mean(losses[:3]) - 0.8


@pytest.fixture(scope="module")
def mini() -> HostBatch:
    return dict(FinewebeduLm.datasets["mini"].arrays())


@pytest.mark.slow
def test_mini_is_what_it_was() -> None:
    arrays, below, above = draw(MINI)
    assert fingerprint(arrays) == FinewebeduLm.datasets["mini"].sha256
    assert (np.exp(below), np.exp(above)) == pytest.approx((9.009, 9.073), abs=0.002), "as documented"


@pytest.mark.slow
def test_counting_stays_above_the_target(mini: HostBatch) -> None:
    """Trigrams, and trigrams with the words seen so far in the window, interpolated; counted over ALL training data.

    A run of the suite's horizon sees a tenth of it.
    """
    target = load_suite("mini-1").workload("finewebedu_lm").validation_target
    train = mini["train"].astype(np.int64)
    weighing = cut(train[-512 * 129 :], 128)
    model = CountModel(train[: -512 * 129], LEXICON.vocabulary)
    validation = cut(mini["validation"].astype(np.int64), 128)
    found = {name: model.perplexity(columns, weighing, validation) for name, columns in COUNT_MODELS.items()}
    assert min(found.values()) > 1.2 * target, found
