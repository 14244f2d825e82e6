"""Beam search against the reference's, on a table, a small Transformer and the full one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_files import Golden, fill, load_golden
from torch import Tensor

from timetrial.workloads.wmt.beam_search_torch import beam_search
from timetrial.workloads.wmt.incremental_torch import IncrementalDecoder
from timetrial.workloads.wmt.model_torch import Transformer
from timetrial.workloads.wmt.tokens import END_OF_SENTENCE
from timetrial.workloads.wmt.workload import Wmt, WmtConfig

SMALL = WmtConfig(vocabulary=24, width=32, heads=4, feed_forward=48, layers=2, max_length=256, longest_sentence=256)
RUNS = range(6)


class Table:
    """Next-token logits that depend on the sentence and the previous token alone."""

    def __init__(self, logits: Tensor, beams: int) -> None:
        self._beams = beams
        self._logits = logits.repeat_interleave(beams, dim=0)

    def __call__(self, tokens: Tensor) -> Tensor:
        return self._logits[torch.arange(len(tokens)), tokens]

    def select(self, rows: Tensor) -> None:
        """Nothing but its sentence is remembered of a row, and the rows of a sentence stay together."""
        sentences = (rows // self._beams).view(-1, self._beams)
        assert torch.equal(sentences, sentences[:, :1].expand_as(sentences))
        assert (sentences[1:, 0] > sentences[:-1, 0]).all()
        self._logits = self._logits[rows]


def search(next_token: Any, sentences: int, run: dict[str, Any], *, only_best: bool = False) -> Any:
    return beam_search(
        next_token,
        sentences=sentences,
        beams=run["beam_size"],
        length_penalty=run["alpha"],
        max_length=run["max_decode_len"],
        end=run["eos_id"],
        device=torch.device("cpu"),
        only_best=only_best,
    )


def assert_run(beams: Any, run: dict[str, Any]) -> None:
    assert beams.sequences.tolist() == run["sequences"]
    np.testing.assert_allclose(beams.scores.numpy(), run["scores"], rtol=2e-6)
    if "predict_step_output" in run:
        assert beams.best().tolist() == run["predict_step_output"]


@pytest.fixture(scope="module")
def golden(shared: Path) -> Any:
    return load_golden(shared, "beam_search")


@pytest.fixture(scope="module")
def small(golden: Golden) -> Transformer:
    part = golden.content["small_transformer"]
    model = Transformer(SMALL).eval()
    parameters = [row if len(row) == 4 else [row[0], row[1], None, row[-1]] for row in part["parameters"]]
    assert [row[0] for row in parameters] == [name for name, _ in model.named_parameters()]
    fill(model, Golden(content={"parameters": parameters}, arrays={}))
    return model


@pytest.mark.parametrize("number", RUNS)
def test_table(golden: Golden, number: int) -> None:
    run = golden.content["table"]["runs"][number]
    table = torch.from_numpy(golden.arrays["table_logits"])
    assert_run(search(Table(table, run["beam_size"]), 3, run), run)


def test_every_run_of_the_table_is_tested(golden: Golden) -> None:
    assert len(golden.content["table"]["runs"]) == len(RUNS)
    assert len(golden.content["small_transformer"]["runs"]) == 2


@pytest.mark.parametrize("number", RUNS)
def test_the_best_is_the_same_where_only_the_best_is_wanted(golden: Golden, number: int) -> None:
    run = golden.content["table"]["runs"][number]
    table = torch.from_numpy(golden.arrays["table_logits"])
    found = search(Table(table, run["beam_size"]), 3, run, only_best=True)
    assert found.sequences[:, -1].tolist() == [beams[-1] for beams in run["sequences"]]


def test_wanting_the_best_alone_saves_steps() -> None:
    """Ends are likely at every step, so that the first finished one cannot be beaten, but four are not full yet."""
    counting = [Counting(torch.tensor([0.02, 0.02, 0.9, 0.06]).log()) for _ in range(2)]
    all_beams, best = (search(c, 2, RUN, only_best=only) for c, only in zip(counting, (False, True), strict=True))
    assert counting[1].steps < counting[0].steps
    assert torch.equal(all_beams.best(), best.best())


@pytest.mark.parametrize("number", [0, 1])
def test_small_transformer(golden: Golden, small: Transformer, number: int) -> None:
    part = golden.content["small_transformer"]
    run, sources = part["runs"][number], torch.tensor(part["inputs"])
    with torch.inference_mode():
        assert_run(search(IncrementalDecoder(small, sources), len(sources), run), run)


def test_incremental_decoding_equals_teacher_forcing(golden: Golden, small: Transformer) -> None:
    part = golden.content["small_transformer"]
    sources, targets = torch.tensor(part["inputs"]), torch.tensor(part["teacher_forced"]["targets"])
    with torch.inference_mode():
        forced = small(sources, targets)
        decoder = IncrementalDecoder(small, sources)
        shifted = torch.cat([torch.zeros_like(targets[:, :1]), targets[:, :-1]], dim=1)
        steps = torch.stack([decoder(column) for column in shifted.unbind(1)], dim=1)
    np.testing.assert_allclose(forced, golden.arrays["small_teacher_forced_logits"], atol=5e-6)
    np.testing.assert_allclose(steps, golden.arrays["small_incremental_logits"], atol=5e-6)
    np.testing.assert_allclose(steps[targets > 0], forced[targets > 0], atol=5e-6)


@pytest.mark.slow
def test_full_size_transformer(shared: Path, golden: Golden) -> None:
    wmt, run = load_golden(shared, "wmt"), golden.content["full_size_wmt"]
    model = Transformer(Wmt("full").config).eval()
    fill(model, wmt)
    sources = wmt.batch()["inputs"]
    with torch.inference_mode():
        assert_run(search(IncrementalDecoder(model, sources), len(sources), run), run)


def test_an_exhaustive_search_finds_the_likeliest_sequence() -> None:
    """With as many beams as sequences nothing is pruned; with alpha 0 scores are sums of log-probabilities."""
    logits = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0))
    run = {"beam_size": 125, "alpha": 0.0, "max_decode_len": 4, "eos_id": END_OF_SENTENCE}
    log_probs = logits.log_softmax(dim=-1)
    best = search(Pruned(logits), 3, run).scores[:, -1]
    for sentence in range(3):
        table = log_probs[sentence]
        two = max(table[0, END_OF_SENTENCE], *(table[0, i] + table[i, END_OF_SENTENCE] for i in (0, 1, 3, 4)))
        three = max(table[0, i] + table[i, j] + table[j, END_OF_SENTENCE] for i in (0, 1, 3, 4) for j in (0, 1, 3, 4))
        torch.testing.assert_close(best[sentence], max(two, three))


class Pruned(Table):
    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits, 125)


def test_sentences_do_not_influence_each_other(small: Transformer, golden: Golden) -> None:
    part = golden.content["small_transformer"]
    run, sources = part["runs"][1], torch.tensor(part["inputs"])
    with torch.inference_mode():
        together = search(IncrementalDecoder(small, sources), len(sources), run)
        for row in range(len(sources)):
            alone = search(IncrementalDecoder(small, sources[row : row + 1]), 1, run)
            assert torch.equal(alone.sequences[0], together.sequences[row])


class Counting:
    """Says the same at every step, and counts the steps."""

    def __init__(self, logits: Tensor) -> None:
        self.steps = 0
        self._logits = logits

    def __call__(self, tokens: Tensor) -> Tensor:
        self.steps += 1
        return self._logits.expand(len(tokens), -1)

    def select(self, rows: Tensor) -> None:
        """Remember nothing."""


RUN = {"beam_size": 2, "alpha": 0.6, "max_decode_len": 50, "eos_id": END_OF_SENTENCE}


def test_it_stops_when_nothing_better_can_come() -> None:
    next_token = Counting(torch.tensor([0.02, 0.02, 0.9, 0.06]).log())
    beams = search(next_token, 3, RUN)
    assert next_token.steps < 10
    assert (beams.best() == END_OF_SENTENCE).all()
    np.testing.assert_allclose(beams.scores[:, -1], np.log(0.9), rtol=1e-5)


def test_without_an_end_it_runs_to_the_last_token() -> None:
    next_token = Counting(torch.tensor([0.0, 1.0, -torch.inf, 0.0]))
    beams = search(next_token, 2, RUN)
    assert next_token.steps == 49
    assert (beams.best() == 1).all()


def test_nan_gives_some_tokens_and_no_crash() -> None:
    """A diverged model is still evaluated; its loss tells."""
    beams = search(Counting(torch.full((4,), torch.nan)), 2, RUN)
    assert beams.sequences.shape == (2, 2, 50)
    assert ((beams.sequences >= 0) & (beams.sequences < 4)).all()
