"""What holds for both speech workloads without golden files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from golden_files import dropout_stand_in
from torch import Tensor, nn

from timetrial.api import ParameterKind
from timetrial.errors import UserError
from timetrial.workloads.layers.padding import valid_positions
from timetrial.workloads.librispeech_conformer.workload import LibrispeechConformer
from timetrial.workloads.librispeech_deepspeech.model_torch import both_directions
from timetrial.workloads.librispeech_deepspeech.workload import LibrispeechDeepspeech
from timetrial.workloads.metrics.word_errors import WordErrorEvaluation
from timetrial.workloads.speech import CharacterTokens, SpeechWorkload
from timetrial.workloads.speech_torch import SpeechTorch

BOTH = pytest.mark.parametrize("workload", [LibrispeechConformer, LibrispeechDeepspeech])


class Case:
    """A workload at `tiny`, by default without SpecAugment, its model and a random batch."""

    def __init__(self, workload: type[SpeechWorkload[Any]], *, spec_augment: bool = False, **changes: Any) -> None:
        self.workload = workload("tiny")
        kept = {} if spec_augment else {"spec_augment": None}
        self.workload.config = replace(self.workload.config, **kept, **changes)
        self.torch = cast(SpeechTorch[Any], self.workload.torch())
        torch.manual_seed(0)
        self.model = self.torch.build_model()
        self.batch = random_batch(self.workload, 4)

    def forward(
        self,
        batch: dict[str, Tensor] | None = None,
        *,
        train: bool = False,
        update_batch_norm: bool = False,
        dropout: float | None = 0.0,
    ) -> Tensor:
        batch = self.batch if batch is None else batch
        return self.torch.forward(self.model, batch, train=train, update_batch_norm=update_batch_norm, dropout=dropout)


def random_batch(workload: SpeechWorkload[Any], size: int) -> dict[str, Tensor]:
    arrays = workload.random_batch(np.random.default_rng(0), size)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


# Parameters.


@pytest.mark.parametrize(
    ("workload", "variant", "count", "tensors"),
    [
        (LibrispeechConformer, None, 32_321_792, 138),
        (LibrispeechConformer, "attention_temperature", 32_321_792, 138),
        (LibrispeechConformer, "layernorm", 32_317_696, 130),
        (LibrispeechConformer, "gelu", 32_321_792, 138),
        (LibrispeechDeepspeech, None, 18_393_600, 82),
        (LibrispeechDeepspeech, "tanh", 18_393_600, 82),
        (LibrispeechDeepspeech, "no_resnet", 18_393_600, 82),
        (LibrispeechDeepspeech, "norm_and_spec_aug", 18_392_576, 80),
    ],
)
def test_published_parameter_counts(
    workload: type[SpeechWorkload[Any]], variant: str | None, count: int, tensors: int
) -> None:
    with torch.device("meta"):
        model = workload("full", variant).torch().build_model()
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert len(list(model.parameters())) == tensors


def test_conformer_kinds_are_what_the_parameters_are() -> None:
    case = Case(LibrispeechConformer)
    kinds = case.torch.parameter_kinds(case.model)
    assert list(kinds) == [name for name, _ in case.model.named_parameters()]
    block = {name.removeprefix("conformers.0."): kind for name, kind in kinds.items() if "conformers.0." in name}
    expected = {
        "ff1.ln.scale": ParameterKind.LAYER_NORM_SCALE,
        "ff1.ln.bias": ParameterKind.LAYER_NORM_BIAS,
        "ff1.linear1.weight": ParameterKind.WEIGHT,
        "ff1.linear1.bias": ParameterKind.BIAS,
        "mhsa.self_attention.in_proj.weight": ParameterKind.ATTENTION_QKV,
        "mhsa.self_attention.in_proj.bias": ParameterKind.ATTENTION_BIAS,
        "mhsa.self_attention.out_proj.weight": ParameterKind.ATTENTION_OUT,
        "mhsa.self_attention.qs.scale": ParameterKind.WEIGHT,
        "conv.lin1.weight": ParameterKind.WEIGHT,
        "conv.conv1.weight": ParameterKind.CONV_WEIGHT,
        "conv.bn.scale": ParameterKind.BATCH_NORM_SCALE,
        "conv.bn.bias": ParameterKind.BATCH_NORM_BIAS,
    }
    assert {name: block[name] for name in expected} == expected
    assert kinds["subsample.conv1.kernel"] is ParameterKind.CONV_WEIGHT
    assert kinds["subsample.conv1.bias"] is ParameterKind.BIAS
    assert case.torch.output_parameters(case.model) == {"lin.weight", "lin.bias"}


def test_deepspeech_kinds_are_what_the_parameters_are() -> None:
    case = Case(LibrispeechDeepspeech)
    kinds = case.torch.parameter_kinds(case.model)
    assert kinds["lstms.0.bn_normalization_layer.weight"] is ParameterKind.BATCH_NORM_SCALE
    assert kinds["ffns.0.bn_normalization_layer.bias"] is ParameterKind.BATCH_NORM_BIAS
    assert kinds["lstms.0.lstm.weight_hh_l0_reverse"] is ParameterKind.WEIGHT
    assert kinds["lstms.0.lstm.bias_ih_l0"] is ParameterKind.BIAS
    assert kinds["subsample.conv2.kernel"] is ParameterKind.CONV_WEIGHT
    assert case.torch.output_parameters(case.model) == {"lin.weight", "lin.bias"}


# Variants that have no golden file, and what LSTMs do.


def test_both_directions_equal_a_packed_sequence() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(6, 4, batch_first=True, bidirectional=True)
    x, lengths = torch.randn(3, 7, 6), torch.tensor([7, 3, 1])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=7)
    ours = both_directions(lstm, x, lengths) * valid_positions(lengths, 7).unsqueeze(-1)
    torch.testing.assert_close(ours, expected)


def test_no_resnet_chains_the_blocks() -> None:
    """Each block on its own is what golden checks with residual sums; without them only the chain is new."""
    case = Case(LibrispeechDeepspeech, residual=False, recurrent_blocks=2, feed_forward_blocks=2)
    model = case.model.eval()
    assert LibrispeechDeepspeech("full", "no_resnet").config == replace(
        LibrispeechDeepspeech("full").config, residual=False
    )
    with torch.no_grad():
        features, frames = model.preprocessor(case.batch["inputs"], case.batch["input_lengths"])
        x, lengths = model.subsample(features, frames, 0.0)
        valid = valid_positions(lengths, x.shape[1]).unsqueeze(-1)
        for block in model.lstms:
            normalised = block.bn_normalization_layer(x, valid.squeeze(-1))
            packed = nn.utils.rnn.pack_padded_sequence(normalised, lengths, batch_first=True, enforce_sorted=False)
            x, _ = nn.utils.rnn.pad_packed_sequence(block.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        for block in model.ffns:
            normalised = block.bn_normalization_layer(x, valid.squeeze(-1))
            x = (normalised @ block.lin.weight.T + block.lin.bias).relu() * valid
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        expected = (x - mean) / (variance + 1e-6).sqrt() @ model.lin.weight.T + model.lin.bias
        torch.testing.assert_close(case.forward(), expected, rtol=1e-4, atol=1e-4)


# What a call sets.


@BOTH
def test_padding_reaches_no_real_step(workload: type[SpeechWorkload[Any]]) -> None:
    case = Case(workload)
    logits = case.forward()
    garbage = dict(case.batch)
    outside = ~valid_positions(case.batch["input_lengths"], case.workload.config.samples)
    garbage["inputs"] = case.batch["inputs"].masked_fill(outside, 30_000.0)
    assert torch.equal(case.forward(garbage), logits)
    # 1280 samples are eight frames: the convolutions' SAME padding, which looks at the parity, stays as it was.
    longer = {**case.batch, "inputs": nn.functional.pad(case.batch["inputs"], (0, 1280))}
    steps = case.torch.steps(case.batch)
    assert torch.equal(case.torch.steps(longer), steps)
    real = valid_positions(steps, logits.shape[1])
    torch.testing.assert_close(case.forward(longer)[:, : logits.shape[1]][real], logits[real], rtol=1e-4, atol=1e-5)


@BOTH
def test_dropout_is_per_call_and_in_training_only(workload: type[SpeechWorkload[Any]]) -> None:
    case = Case(workload, dropout=0.25)
    with torch.no_grad(), dropout_stand_in() as sites:
        given = case.forward(train=True, dropout=0.25)
        by_default = case.forward(train=True, dropout=None)
        without = case.forward(train=True, dropout=0.0)
        count = len(sites)
        case.forward(train=False, dropout=0.25)
    assert count > 0
    assert len(sites) == count
    assert torch.equal(given, by_default)
    assert not torch.equal(given, without)


@BOTH
def test_spec_augment_is_for_training_and_seeded(workload: type[SpeechWorkload[Any]]) -> None:
    case = Case(workload, spec_augment=True)
    passes = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        passes.append(case.forward(train=True))
    assert torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0], passes[2])
    assert torch.equal(case.forward(train=False), case.forward(train=False))


@BOTH
def test_running_statistics_move_only_where_asked(workload: type[SpeechWorkload[Any]]) -> None:
    case = Case(workload)
    before = {name: buffer.clone() for name, buffer in case.model.named_buffers()}
    case.forward(train=True, update_batch_norm=False)
    case.forward(train=False, update_batch_norm=True)
    assert all(torch.equal(buffer, before[name]) for name, buffer in case.model.named_buffers())
    case.forward(train=True, update_batch_norm=True)
    moved = {name for name, buffer in case.model.named_buffers() if not torch.equal(buffer, before[name])}
    assert moved == {name for name in before if name.endswith(("running_mean", "running_var"))}


# Training and evaluation.


@BOTH
@pytest.mark.parametrize("size", [1, 3, 5])
def test_batches_and_padding_change_no_metric(workload: type[SpeechWorkload[Any]], size: int) -> None:
    case = Case(workload)
    batch = random_batch(case.workload, 7)
    whole = case.torch.evaluation()
    whole.update(case.model, batch)
    parts = case.torch.evaluation()
    for start in range(0, 7, size):
        part = {name: tensor[start : start + size] for name, tensor in batch.items()}
        missing = size - len(part["inputs"])
        if missing:
            part = {
                name: torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])]) for name, tensor in part.items()
            }
            part["weights"] = torch.tensor([1.0] * (size - missing) + [0.0] * missing)
        parts.update(case.model, part)
    assert parts.examples == whole.examples == 7
    assert set(whole.result()) == {"wer", "wer_textbook", "ctc_loss"}
    for name, value in whole.result().items():
        np.testing.assert_allclose(parts.result()[name], value, rtol=1e-6)


class Scripted:
    """Stands in for a workload: logits and losses are given."""

    def __init__(self, tokens: list[list[int]], losses: list[float]) -> None:
        self._logits = nn.functional.one_hot(torch.tensor(tokens), 29).float()
        self._losses = torch.tensor(losses)

    def forward(self, model: nn.Module, batch: dict[str, Tensor], **how: Any) -> Tensor:
        return self._logits

    def loss(self, batch: dict[str, Tensor], logits: Tensor) -> Any:
        from timetrial.api import Loss

        return Loss(self._losses.sum(), torch.tensor(1.0), self._losses)

    def steps(self, batch: dict[str, Tensor]) -> Tensor:
        return torch.full((len(self._logits),), self._logits.shape[1])


def test_evaluation_by_hand() -> None:
    tokens = CharacterTokens()
    target, right, wrong = tokens.encode("A B"), [3, 1, 0, 4], [3, 0, 1, 3]
    batch = {"targets": torch.tensor([target, target]), "target_lengths": torch.tensor([3, 3])}
    evaluation = WordErrorEvaluation(cast(Any, Scripted([right, wrong], [1.5, 3.0])), tokens.decode)
    evaluation.update(nn.Identity(), batch)
    assert evaluation.examples == 2
    # One of four words is wrong; the public figure has two more words an utterance.
    assert evaluation.result() == {"wer": 1 / 8, "wer_textbook": 1 / 4, "ctc_loss": 4.5 / 6}


def test_an_example_of_nan_loss_is_all_wrong() -> None:
    tokens = CharacterTokens()
    batch = {"targets": torch.tensor([tokens.encode("A B")]), "target_lengths": torch.tensor([3])}
    evaluation = WordErrorEvaluation(cast(Any, Scripted([[3, 1, 0, 4]], [torch.nan])), tokens.decode)
    evaluation.update(nn.Identity(), batch)
    assert evaluation.result()["wer_textbook"] == 1.0
    assert np.isnan(evaluation.result()["ctc_loss"])


# Tokens and errors.


def test_character_tokens() -> None:
    tokens = CharacterTokens()
    assert tokens.decode(tokens.encode("DON'T STOP")) == "DON'T STOP"
    assert tokens.encode(" Z") == [1, 28]
    assert tokens.decode([0, 3, 0, 0]) == "A"
    with pytest.raises(UserError, match="'É' is not one of the characters"):
        tokens.encode("CAFÉ")


@BOTH
@pytest.mark.parametrize("preset", ["full", "mini", "tiny"])
def test_random_batches_have_the_right_shapes_and_finite_losses(
    workload: type[SpeechWorkload[Any]], preset: str
) -> None:
    built = workload(preset)
    batch = built.random_batch(np.random.default_rng(1), 3)
    config = built.config
    assert batch["inputs"].shape == (3, config.samples)
    assert batch["inputs"].dtype == np.float32
    assert batch["targets"].shape == (3, config.target_length)
    assert batch["targets"].dtype == batch["target_lengths"].dtype == batch["input_lengths"].dtype == np.int64
    assert (batch["target_lengths"] >= 1).all()
    assert (batch["targets"] > 0).sum(axis=1).tolist() == batch["target_lengths"].tolist()
    assert batch["targets"].max() < config.vocabulary
    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    steps = cast(SpeechTorch[Any], built.torch()).steps(tensors)
    assert (steps >= 2 * tensors["target_lengths"]).all()


@BOTH
def test_without_prepared_data_there_is_no_tokenizer(
    workload: type[SpeechWorkload[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMETRIAL_DATA", str(tmp_path))
    with pytest.raises(UserError, match="timetrial data prepare librispeech"):
        workload("full").detokenize([1])
