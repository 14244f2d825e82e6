"""What a workload is: a framework-free half (data, sizes, configuration) and a framework half (the model).

The framework-free half stands in `<workload>/workload.py`; the PyTorch half in `<workload>/model_torch.py`,
so that a twin in another framework can stand beside it.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

import numpy as np

from timetrial.errors import UnknownNameError, UserError
from timetrial.prepared.folder import Prepared, open_prepared
from timetrial.prepared.recipe import Recipe
from timetrial.workloads.batches import check_fields

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import Tensor, nn

    from timetrial.api import Batch, Loss, LossType, ParameterKind
    from timetrial.workloads.batches import Fields
    from timetrial.workloads.generated import Generated

Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
DataKind: TypeAlias = Literal["generated", "prepared"]
HostBatch: TypeAlias = dict[str, np.ndarray]
"""A batch in host memory: `inputs`, `targets`, maybe `weights` and what the workload adds."""

Config = TypeVar("Config", bound="DataclassInstance")


class BatchSource(Protocol):
    """Training data: the batch of step `index` is a pure function of the source's seed and `index`."""

    def batch(self, index: int) -> HostBatch:
        """Return the batch of step `index`, counted from 0."""


class Data(Protocol):
    """The dataset of a workload: training batches in a seeded order, evaluation splits in a fixed one."""

    @property
    def train_examples(self) -> int:
        """Number of examples in the training split."""

    def eval_examples(self, split: Split) -> int:
        """Return how many examples `eval_batches` yields in all."""

    def train_source(
        self, seed: np.random.SeedSequence, batch_size: int, *, rank: int = 0, ranks: int = 1
    ) -> BatchSource:
        """Return the training data in the order that `seed` decides, or one of `ranks` disjoint parts of each batch.

        `batch_size` is that of the whole batch: the batches of step i of all ranks together are the batch of step i
        of a single rank. Raises UserError where the batch cannot be divided.
        """

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[HostBatch]:
        """Yield an evaluation split once, in a fixed order; `train` is a fixed subset of the training data."""


class Evaluation(Protocol):
    """A running evaluation: sees the batches of a split one by one and never holds the split in memory."""

    examples: int
    """Examples seen so far, padding not counted."""

    def update(self, model: nn.Module, batch: Batch) -> None:
        """Run the model on one batch and add to the sums."""

    def result(self) -> dict[str, float]:
        """Return the metrics of all that was seen."""


class TorchWorkload(Protocol):
    """The PyTorch half of a workload: pure functions of their arguments, but for PyTorch's generators.

    Nothing in `forward` and `loss` waits for the device. Classes inherit from this one for its defaults.
    """

    def build_model(self) -> nn.Module:
        """Build and initialise the model on the CPU, drawing on PyTorch's global generator."""

    def parameter_kinds(self, model: nn.Module) -> dict[str, ParameterKind]:
        """Return what each of `model.named_parameters()` is: by default what the modules that own them tell."""
        from timetrial.workloads.layers.kinds import parameter_kinds  # imports PyTorch

        return parameter_kinds(model)

    def output_parameters(self, model: nn.Module) -> frozenset[str]:
        """Return the names of the output layer's parameters."""

    def forward(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        train: bool = True,
        update_batch_norm: bool = True,
        dropout: float | None = None,
    ) -> Tensor:
        """Set the mode, run the model on a batch, return its logits; see `timetrial.api.Task.forward`."""

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the loss; see `timetrial.api.Task.loss`."""

    def evaluation(self) -> Evaluation:
        """Start an evaluation of one split."""

    def split(self, batch: Batch, size: int) -> Iterator[Batch]:
        """Yield a batch in pieces of `size` examples, the last maybe smaller, for `timetrial.api.Task.backward`.

        Every tensor is cut along its first axis; a workload whose batches are no stacks of examples overrides this.
        The pieces' `per_example` losses in a row must be those of the whole batch.
        """
        for start in range(0, len(next(iter(batch.values()))), size):
            yield {name: tensor[start : start + size] for name, tensor in batch.items()}


class Workload(ABC, Generic[Config]):
    """Dataset, model, loss and metrics at one preset; a variant is a change to the configuration."""

    loss_type: ClassVar[LossType]
    presets: ClassVar[Mapping[str, Any]]
    """Configuration by preset: `full` (the published benchmark), `mini` (a core's minutes), `tiny` (tests).

    For the published workloads, a training step of one CPU core on a batch of `batch_sizes` takes 5 to 40 ms at
    `mini` and less than 5 ms at `tiny`; of `mini`'s, AdamW takes less than a tenth.
    """
    batch_sizes: ClassVar[Mapping[str, int]] = {}
    """Default batch size by preset, for timings and tests; what a race uses is its suite's to say.

    What a step on it takes stands beside it: `benchmarks/workload_steps.py`, PyTorch 2.13.0, CPU time on one of two
    shared cloud cores that were busy, the smallest of 60 steps; medians of a run were up to 40 % more.
    """
    variants: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """By the variant's suffix: a function from the base's configuration to the variant's."""

    weight_multipliers: ClassVar[Mapping[str, float]] = {}
    """By preset, what the model multiplies its matrices by, where that is not 1: see `multiplied_torch`."""

    multiplied_kinds: ClassVar[frozenset[ParameterKind] | None] = None
    """Which of them it multiplies; None: all."""

    datasets: ClassVar[Mapping[str, Generated]] = {}
    """By preset, the generated dataset, where there is one."""

    def __init__(self, preset: str, variant: str | None = None, data: DataKind | None = None) -> None:
        """Take a preset and a variant's suffix; `data` says which data, by default generated ones if there are any."""
        if preset not in self.presets:
            raise UnknownNameError(f"preset of {type(self).__name__}", preset, self.presets)
        config = self.presets[preset]
        self.preset = preset
        self.config: Config = self.variants[variant](config) if variant else config
        self.data_kind: DataKind = data or ("generated" if preset in self.datasets else "prepared")

    def data(self) -> Data:
        """Return the dataset at this preset; raises UserError where it is not to be had, saying what to do."""
        if (generated := self.generated()) is not None:
            # Still mapped, but plain arrays: `take` of a memory map is slower.
            return self.data_from({name: np.asarray(array) for name, array in generated.arrays().items()})
        return self.data_prepared(open_prepared(self.recipe()))

    def check_data(self) -> None:
        """Raise UserError where the dataset is not to be had, saying what to do; nothing is generated or read."""
        if self.generated() is None:
            open_prepared(self.recipe())

    def identities(self) -> dict[str, str]:
        """Return the SHA-256 of the data and of the model, by what a record calls them; raises as `check_data`."""
        return {"data": self.data_identity(), "model": self.model_identity()}

    def data_identity(self) -> str:
        """Return a SHA-256 that tells the data from others of the same name."""
        if (generated := self.generated()) is not None:
            return generated.sha256
        return open_prepared(self.recipe()).manifest.sha256

    def model_identity(self) -> str:
        """Return a SHA-256 of the model's sizes, switches and multiplier, which tells it from others of its name."""
        multiplier = self.weight_multipliers.get(self.preset)
        told: dict[str, Any] = {"config": asdict(self.config), "weight_multiplier": multiplier}
        if multiplier is not None and self.multiplied_kinds is not None:
            told["multiplied_kinds"] = sorted(kind.name for kind in self.multiplied_kinds)
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def generated(self) -> Generated | None:
        """Return the generated dataset that this workload runs on; None where it runs on other data."""
        if self.data_kind == "prepared":
            return None
        if self.preset not in self.datasets:
            raise UserError(f"{type(self).__name__}: there are no generated data at the preset {self.preset!r}")
        return self.datasets[self.preset]

    def data_from(self, arrays: HostBatch) -> Data:
        """Return the arrays of a generated dataset as training and evaluation data."""
        raise NotImplementedError

    def recipe(self) -> Recipe:
        """Return how the dataset of this preset is prepared from its distribution; raises UserError for no way."""
        raise UserError(f"{type(self).__name__}: its data come with timetrial; there is nothing to prepare")

    def data_prepared(self, prepared: Prepared) -> Data:
        """Return a prepared dataset as training and evaluation data."""
        raise NotImplementedError

    @abstractmethod
    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be, for training and evaluation."""

    def check_batch(self, batch: HostBatch) -> None:
        """Raise UserError, naming the array, what was expected and what was found, where a batch is no good.

        Reads every value: see `timetrial.workloads.batches` for when that is done.
        """
        check_fields(self.batch_fields(), batch)

    @abstractmethod
    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return a batch of noise with the shapes, dtypes and keys of a training batch: for tests and timings."""

    @abstractmethod
    def torch(self) -> TorchWorkload:
        """Return the PyTorch half; the only method here that imports PyTorch."""
