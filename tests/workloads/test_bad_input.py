"""Bad input gives a clear error or NaN, in every workload and variant, and never a number that looks right."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from every_variant import BASES, VARIANTS, name_of
from torch import Tensor, nn

from timetrial.errors import UserError
from timetrial.suite import load_suite
from timetrial.trial.stream import to_device
from timetrial.workloads.base import HostBatch, TorchWorkload, Workload
from timetrial.workloads.batches import Axis, Field
from timetrial.workloads.losses import ctc_loss, mean_absolute_error, sigmoid_cross_entropy, softmax_cross_entropy
from timetrial.workloads.registry import load_workload

CPU = torch.device("cpu")

every_base = pytest.mark.parametrize("base", BASES)
every_variant = pytest.mark.parametrize("case", VARIANTS, ids=name_of)


def random_batch(workload: Workload[Any], size: int = 4, seed: int = 0) -> HostBatch:
    return workload.random_batch(np.random.default_rng(seed), size)


def field_of(workload: Workload[Any], name: str, array: np.ndarray) -> Field:
    """The field, or among several the one that the array is meant to be."""
    choice = workload.batch_fields()[name]
    options = choice if isinstance(choice, tuple) else (choice,)
    return next(option for option in options if option.takes(array))


def arrays_of(workload: Workload[Any]) -> Iterator[tuple[str, np.ndarray, Field]]:
    for name, array in random_batch(workload).items():
        yield name, array, field_of(workload, name, array)


def refused(workload: Workload[Any], match: str, **changes: np.ndarray) -> None:
    with pytest.raises(UserError, match=match):
        workload.check_batch({**random_batch(workload), **changes})


# What is good passes.


@every_variant
@pytest.mark.parametrize("seed", range(3))
def test_random_batches_pass(case: tuple[str, str | None], seed: int) -> None:
    workload = load_workload(case[0], "tiny", case[1])
    workload.check_batch(random_batch(workload, seed=seed))


@every_base
def test_random_batches_pass_at_every_preset(base: str) -> None:
    for preset in load_workload(base, "tiny").presets:
        workload = load_workload(base, preset)
        workload.check_batch(random_batch(workload, size=2))


@every_base
def test_padding_passes(base: str) -> None:
    """Rows of zeros with weights of zero, as the last batch of a split has (OGBG pads with graphs)."""
    workload = load_workload(base, "tiny")
    if base == "ogbg":
        return workload.check_batch(random_batch(workload))
    padded = {
        name: np.pad(array, [(0, 2), *[(0, 0)] * (array.ndim - 1)]) for name, array in random_batch(workload).items()
    }
    if base == "imagenet_vit":  # mixed targets are for training, which has no padding
        padded["targets"] = padded["targets"].argmax(axis=1)
    weights = workload.batch_fields()["weights"]
    assert isinstance(weights, Field)
    shape = [len(padded["targets"]), *padded["targets"].shape[1 : len(weights.axes)]]
    padded["weights"] = np.ones(shape) * (np.arange(shape[0]) < shape[0] - 2).reshape(-1, *[1] * (len(shape) - 1))
    return workload.check_batch(padded)


@pytest.mark.parametrize("base", ["digits_mlp", "digits_resnet"])
def test_real_data_pass(base: str) -> None:
    workload = load_workload(base, "tiny")
    data = workload.data()
    workload.check_batch(data.train_source(np.random.SeedSequence(0), 100).batch(0))
    for split in ("train", "validation", "test"):
        for batch in data.eval_batches(split, 100):
            workload.check_batch(batch)


# What is bad is refused, by name.


@every_base
def test_missing_and_unknown_arrays(base: str) -> None:
    workload = load_workload(base, "tiny")
    batch = random_batch(workload)
    for name, _, field in arrays_of(workload):
        if not field.optional:
            with pytest.raises(UserError, match=rf"^batch, {name}: expected .* found no such array$"):
                workload.check_batch({key: array for key, array in batch.items() if key != name})
    refused(workload, "unknown array in a batch 'weigths'", weigths=np.ones(4))


@every_base
def test_wrong_dtypes(base: str) -> None:
    workload = load_workload(base, "tiny")
    wrong = {"mask": "complex64", "numbers": "float64", "probabilities": "uint8", "integers": "float32"}
    for name, array, field in arrays_of(workload):
        dtype = wrong.get(field.kind, "int32")
        refused(workload, rf"^batch, {name}: expected .* dtype .*, found dtype {dtype}", **{name: array.astype(dtype)})
        refused(workload, rf"^batch, {name}: .* found a list$", **{name: array.tolist()})


@every_base
def test_wrong_shapes(base: str) -> None:
    workload = load_workload(base, "tiny")
    for name, array, field in arrays_of(workload):
        refused(workload, rf"^batch, {name}: expected .* of shape", **{name: array[np.newaxis]})
        for number, axis in enumerate(field.axes):
            shorter = np.delete(array, -1, axis=number)
            if isinstance(axis, int):
                refused(workload, rf"^batch, {name}: expected .* of shape", **{name: shorter})
                continue
            if axis.at_most is not None or axis.at_least > 0:
                allowed = 0 if axis.at_most is None else axis.at_most + 1
                refused(
                    workload,
                    rf"^batch, {name}: .*{axis.name}",
                    **{name: np.resize(array, resized(array, number, allowed))},
                )
            if is_shared(workload, axis):
                refused(workload, f"expected .* {axis.name}", **{name: shorter})


def resized(array: np.ndarray, axis: int, size: int) -> tuple[int, ...]:
    return (*array.shape[:axis], size, *array.shape[axis + 1 :])


def is_shared(workload: Workload[Any], axis: Axis) -> bool:
    """Whether another array has the axis, too."""
    return sum(axis in field.axes for _, _, field in arrays_of(workload)) > 1


@every_base
def test_values_that_are_not_numbers(base: str) -> None:
    workload = load_workload(base, "tiny")
    floats = [(name, array) for name, array, field in arrays_of(workload) if array.dtype == np.float32]
    for name, array in floats:
        for value in (np.nan, np.inf, -np.inf):
            broken = array.copy()
            broken.reshape(-1)[-1] = value
            place = r"\[" + ", ".join(str(size - 1) for size in array.shape) + r"\]"
            refused(workload, rf"^batch, {name}: expected .*, found {value} at {place}$", **{name: broken})
    assert floats or base in {"wmt", "finewebedu_lm"}


@every_base
def test_values_out_of_range(base: str) -> None:
    workload = load_workload(base, "tiny")
    sizes = {
        axis.name: size
        for _, array, field in arrays_of(workload)
        for axis, size in zip(field.axes, array.shape, strict=True)
        if isinstance(axis, Axis)
    }
    tried = 0
    for name, array, field in arrays_of(workload):
        limits = [None if field.at_least is None else field.at_least - 1]
        if field.kind in {"mask", "probabilities"}:
            limits = [-1, 2]
        elif field.below is not None:
            limits.append(sizes[field.below] if isinstance(field.below, str) else field.below)
        elif isinstance(field.at_most, str):
            limits.append(sizes[field.at_most] + 1)
        elif field.at_most is not None:
            limits.append(np.ravel(field.at_most)[-1] + 1)
        for value in (limit for limit in limits if limit is not None):
            broken = array.astype(np.int64) if array.dtype == bool else array.copy()
            broken.reshape(-1)[-1] = value
            refused(workload, rf"^batch, {name}: expected .*, found {value:.10g}", **{name: broken})
            tried += 1
    assert tried >= 2


def test_the_message_says_all() -> None:
    workload = load_workload("imagenet_vit", "tiny")
    with pytest.raises(UserError) as caught:
        workload.check_batch({**random_batch(workload), "inputs": np.zeros((4, 3, 16, 18), np.float32)})
    assert str(caught.value) == (
        "batch, inputs: expected numbers of shape (examples, 3, height (a multiple of 4), width (a multiple of 4)) and "
        "dtype float32, found dtype float32 and shape (4, 3, 16, 18)"
    )


# What hangs together.


def test_criteo_categories() -> None:
    workload = load_workload("criteo1tb", "tiny")
    inputs = random_batch(workload)["inputs"]
    inputs[2, 13] = 10.0
    workload.check_batch({**random_batch(workload), "inputs": inputs})  # the size itself: float32 may round up to it
    inputs[2, 13] = 3.5
    refused(workload, "batch, inputs: expected whole numbers for the categorical fields, found 3.5", inputs=inputs)


def test_probabilities_sum_to_one() -> None:
    workload = load_workload("imagenet_vit", "tiny")
    targets = random_batch(workload)["targets"]
    refused(workload, r"expected probabilities that sum to 1, found 0.9\d* at \[0\]", targets=0.9 * targets)


@pytest.mark.parametrize("base", ["librispeech_conformer", "librispeech_deepspeech"])
def test_blanks_in_a_transcript(base: str) -> None:
    workload = load_workload(base, "tiny")
    targets = random_batch(workload)["targets"]
    targets[1, 0] = 0
    refused(workload, r"batch, targets: expected no blank within a transcript, found 0 at \[1, 0\]", targets=targets)


def test_packed_rows_are_described_whole_or_not_at_all() -> None:
    workload = load_workload("wmt", "tiny")
    batch = random_batch(workload)
    workload.check_batch({name: batch[name] for name in ("inputs", "targets", "weights")})
    del batch["targets_segmentation"]
    with pytest.raises(UserError, match="batch, targets_segmentation: expected to have it together"):
        workload.check_batch(batch)


def test_graphs_hang_together() -> None:
    workload = load_workload("ogbg", "tiny")
    batch = random_batch(workload)
    padding = int(batch["n_node"].nonzero()[0].max())

    def changed(name: str, index: int, change: int) -> np.ndarray:
        array = batch[name].copy()
        array[index] += change
        return array

    refused(
        workload,
        "batch, n_node: expected sizes that sum to the 69 rows of inputs, found 70",
        n_node=changed("n_node", 0, 1),
    )
    refused(workload, "batch, n_edge: expected sizes that sum to", n_edge=changed("n_edge", 0, -1))
    crossing = batch["senders"].copy()
    crossing[0] = batch["n_node"][0]
    refused(
        workload,
        rf"batch, senders: expected nodes of the edge's own graph 0, found {crossing[0]} at \[0\]",
        senders=crossing,
    )
    labelled = batch["weights"].copy()
    labelled[padding] = True
    refused(workload, "batch, weights: expected a padding graph without labels at the end", weights=labelled)


def test_a_graph_without_nodes() -> None:
    """With labels it is refused; without, as padding has it, its logits are finite."""
    workload = load_workload("ogbg", "tiny")
    batch = random_batch(workload, size=8)
    empty = len(batch["n_node"]) - 1
    assert batch["n_node"][empty] == 0
    logits = trained(workload).forward(batch)
    assert logits[empty].isfinite().all()
    batch["weights"][empty] = True
    with pytest.raises(
        UserError, match=rf"batch, n_node: expected at least one node in a graph .* found 0 at \[{empty}\]"
    ):
        workload.check_batch(batch)


# What the check does not see: NaN that the model makes, or that a submission puts in.


class Built:
    """A tiny workload's PyTorch half and a model of random parameters."""

    def __init__(self, half: TorchWorkload, model: nn.Module) -> None:
        self.half, self.model = half, model

    def forward(self, batch: HostBatch, *, train: bool = False) -> Tensor:
        return self.half.forward(self.model, to_device(batch, CPU), train=train, update_batch_norm=False, dropout=0.0)

    def metrics(self, batch: HostBatch) -> dict[str, float]:
        evaluation = self.half.evaluation()
        evaluation.update(self.model, to_device(batch, CPU))
        return evaluation.result()


def trained(workload: Workload[Any]) -> Built:
    torch.manual_seed(0)
    half = workload.torch()
    model = half.build_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Built(half, model)


def evaluation_batch(workload: Workload[Any]) -> HostBatch:
    """A random batch as an evaluation has it: not packed, with class numbers."""
    batch = {name: array for name, array in random_batch(workload).items() if not name.endswith(("position", "tion"))}
    if batch["targets"].dtype == np.float32 and "imagenet" in type(workload).__module__:
        batch["targets"] = batch["targets"].argmax(axis=1)
    return batch


@every_variant
def test_nan_is_in_the_loss_and_reaches_no_target(case: tuple[str, str | None]) -> None:
    """In the inputs, or in the parameters where inputs are tokens. Better, the metric is NaN, too, or the worst."""
    base, variant = case
    workload = load_workload(base, "tiny", variant)
    built, batch = trained(workload), evaluation_batch(workload)
    if batch["inputs"].dtype == np.float32:
        batch["inputs"] = np.full_like(batch["inputs"], np.nan)
    else:
        with torch.no_grad():
            next(iter(built.model.parameters())).fill_(torch.nan)
    tensors = to_device(batch, CPU)
    loss = built.half.loss(tensors, built.forward(batch, train=True)).mean
    assert loss.isnan()
    metrics = built.metrics(batch)
    losses = [value for name, value in metrics.items() if name in {"loss", "ctc_loss"}]
    assert losses
    assert all(math.isnan(value) for value in losses)
    if base.startswith("digits") or base in {"cifar", "mnist"}:
        assert metrics["accuracy"] == 0
        return
    entry = load_suite("algoperf-0.6").workload(base)
    assert not entry.reached(metrics[entry.metric], entry.validation_target)


@pytest.mark.parametrize("case", [case for case in VARIANTS if case[0] not in {"wmt", "finewebedu_lm"}], ids=name_of)
def test_one_bad_example_does_not_make_the_others_bad(case: tuple[str, str | None]) -> None:
    """In evaluation: NaN in one example is NaN in its own loss alone."""
    workload = load_workload(case[0], "tiny", case[1])
    built, batch = trained(workload), evaluation_batch(workload)
    batch["inputs"][0] = np.nan  # for OGBG: a node of the first graph
    per_example = built.half.loss(to_device(batch, CPU), built.forward(batch)).per_example
    assert per_example[0].isnan().any()
    assert per_example[1:].isfinite().all()


@pytest.mark.parametrize("base", ["librispeech_conformer", "librispeech_deepspeech"])
def test_an_utterance_too_short_for_its_transcript(base: str) -> None:
    """Its loss is infinite, as published; in the word error rate it counts like any other."""
    workload = load_workload(base, "tiny")
    built, batch = trained(workload), random_batch(workload)
    batch["target_lengths"][0] = batch["targets"].shape[1]
    batch["targets"][0] = 5
    batch["input_lengths"][0] = 640
    workload.check_batch(batch)
    per_example = built.half.loss(to_device(batch, CPU), built.forward(batch)).per_example
    assert per_example.isinf().tolist() == [True, False, False, False]
    metrics = built.metrics(batch)
    assert metrics["ctc_loss"] == math.inf
    assert math.isfinite(metrics["wer"])


@pytest.mark.parametrize("base", ["imagenet_resnet", "imagenet_vit", "wmt", "finewebedu_lm", "digits_mlp"])
@pytest.mark.parametrize("label", [-1, -100, "classes"])
def test_labels_out_of_range_are_errors_of_the_loss(base: str, label: int | str) -> None:
    workload = load_workload(base, "tiny")
    built, batch = trained(workload), evaluation_batch(workload)
    logits = built.forward(batch)
    batch["targets"].reshape(-1)[0] = logits.shape[-1] if label == "classes" else label
    with pytest.raises(IndexError, match="out of bounds"):
        built.half.loss(to_device(batch, CPU), logits)


# Shapes in the losses: without a check, a broadcast would give another number without a word.


def test_losses_refuse_shapes_that_would_broadcast() -> None:
    column, rows, lengths = torch.zeros(3, 1), torch.zeros(3), torch.ones(3, dtype=torch.int64)
    with pytest.raises(UserError, match=r"batch, weights: expected shape \(3,\), found \(3, 1\)"):
        sigmoid_cross_entropy(rows, rows, column)
    with pytest.raises(UserError, match=r"batch, targets: expected shape \(3,\), found \(3, 1\)"):
        sigmoid_cross_entropy(rows, column)
    with pytest.raises(UserError, match=r"batch, targets: expected shape \(3, 4, 4\), found \(3, 1, 4, 4\)"):
        mean_absolute_error(torch.zeros(3, 4, 4), torch.zeros(3, 1, 4, 4))
    with pytest.raises(UserError, match=r"batch, targets: expected shape \(2, 3\), found \(3, 2\)"):
        softmax_cross_entropy(torch.zeros(2, 3, 5), torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(UserError, match=r"batch, targets: expected shape \(2, 3\), found \(3, 2\)"):
        softmax_cross_entropy(torch.zeros(2, 3), torch.zeros(3, 2))
    with pytest.raises(UserError, match=r"batch, weights: expected shape \(3,\), found \(3, 1\)"):
        ctc_loss(torch.zeros(3, 4, 5), 4 * lengths, lengths[:, None], lengths, column)
