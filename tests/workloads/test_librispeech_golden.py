"""Both LibriSpeech models and their variants at full size against the golden vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_files import (
    assert_gradients,
    assert_initial_values,
    assert_loss,
    assert_parameters,
    assert_sites,
    assert_summary,
    assert_updated_buffers,
    dropout_stand_in,
)
from speech_files import SpeechGolden, StoredFeatures

from timetrial.workloads.metrics.word_errors import greedy_decode

pytestmark = pytest.mark.slow

NAMES = [
    "librispeech_conformer",
    "librispeech_conformer_attention_temperature",
    "librispeech_conformer_layernorm",
    "librispeech_conformer_gelu",
    "librispeech_deepspeech",
    "librispeech_deepspeech_tanh",
    "librispeech_deepspeech_norm_and_spec_aug",
]


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest, shared: Path) -> SpeechGolden:
    return SpeechGolden(shared, request.param)


def test_parameters(case: SpeechGolden) -> None:
    assert_parameters(case.model, case.golden)


def test_evaluation_logits(case: SpeechGolden) -> None:
    with torch.no_grad():
        logits = case.forward(train=False)
    expected = case.golden.content["eval"]
    assert_summary(logits, expected["logits"], case.golden.arrays, atol=5 * case.golden.noise())
    paddings = torch.from_numpy(case.golden.arrays["eval_logit_paddings"])
    assert case.torch.steps(case.batch).tolist() == (1 - paddings).sum(dim=1).tolist()
    decoded = greedy_decode(logits, case.torch.steps(case.batch))
    rows = case.golden.content["extra"]["greedy_decode"]["tokens"]
    assert decoded == [[token for token in row if token] for row in rows]


def test_front_end(case: SpeechGolden) -> None:
    features, frames = case.model.preprocessor(case.batch["inputs"], case.batch["input_lengths"])
    summary = case.golden.content["extra"]["frontend"]["features"]
    assert_summary(features, summary, case.golden.arrays, atol=1e-4)
    assert frames.tolist() == (1 - case.golden.arrays["frontend_paddings"]).sum(axis=1).tolist()


@pytest.mark.parametrize("combination", ["no_weights", "weights", "no_weights_ls0.1", "weights_ls0.1"])
def test_losses(case: SpeechGolden, combination: str) -> None:
    with torch.no_grad():
        logits = case.forward(train=False)
    batch = dict(case.batch)
    if not combination.startswith("no"):
        batch["weights"] = torch.from_numpy(case.golden.arrays["in_weights"])
    loss = case.torch.loss(batch, logits, label_smoothing=0.1 if "ls" in combination else 0.0)
    assert_loss(loss, case.golden.content["loss"][combination], case.golden.arrays)


def test_training_pass(case: SpeechGolden) -> None:
    train = case.golden.content["train"]
    expected = train["logits"] if train["differs_from_eval"] else case.golden.content["eval"]["logits"]
    case.model = case.filled_model()
    frozen = case.forward(train=True)
    assert_unmoved(case)
    logits = case.forward(train=True, update_batch_norm=True)
    assert torch.equal(logits, frozen)
    assert_summary(logits, expected, case.golden.arrays, atol=5 * case.golden.noise("train"))
    loss = case.torch.loss(case.batch, logits)
    assert_loss(loss, train["loss"], case.golden.arrays)
    if "updated_buffers" in train:
        assert_updated_buffers(case.model, case.golden)
    loss.mean.backward()
    assert_gradients(case.model, case.golden)


def assert_unmoved(case: SpeechGolden) -> None:
    before = dict(case.filled_model().named_buffers())
    for name, buffer in case.model.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_dropout_sites(case: SpeechGolden) -> None:
    expected = case.golden.content["dropout_stand_in"]
    with torch.no_grad(), dropout_stand_in() as sites:
        logits = case.forward(train=True, dropout=0.25)
    assert_sites(sites, case.golden)
    assert_summary(logits, expected["logits"], case.golden.arrays, atol=10 * case.golden.noise())
    np.testing.assert_allclose(
        case.torch.loss(case.batch, logits).summed.item(), expected["loss"]["no_weights"], rtol=1e-5
    )


def test_double_precision(case: SpeechGolden) -> None:
    case.model = case.filled_model().double()
    case.model.preprocessor = StoredFeatures(case.golden)
    expected = case.golden.content["eval"]["fp64"]
    with torch.no_grad():
        logits = case.forward(train=False)
    sampled = [logits.flatten()[(i * 1000003) % logits.numel()].item() for i in range(32)]
    np.testing.assert_allclose(sampled, expected["sample32"], rtol=0, atol=1e-6)
    summed = case.torch.loss(case.batch, logits).summed.item()
    np.testing.assert_allclose(summed, expected["loss"]["no_weights"], rtol=1e-6)
    loss = case.torch.loss(case.batch, case.forward(train=True))
    np.testing.assert_allclose(loss.mean.item(), case.golden.content["train"]["fp64"]["objective"], rtol=1e-6)
    loss.mean.backward()
    assert_gradients(case.model, case.golden, precision="fp64")
    case.model = case.filled_model()


def test_initial_values(case: SpeechGolden) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = case.torch.build_model()
    assert_initial_values(model, case.golden)
