"""Every workload and variant at published size equals the reference (golden/README.md); the public numbers decide.

What only one workload has (a full-size table, packed rows, the front end, ...) is in `test_<workload>_golden.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_cases import (
    GOLDEN,
    Case,
    check_double_precision,
    check_dropout,
    check_evaluation,
    check_frozen_statistics,
    check_training,
    file_name,
    golden_case,
)
from golden_files import assert_initial_values, assert_parameters, load_golden

from timetrial.workloads.registry import load_workload

ALL = [(base, variant) for base, variants in GOLDEN.items() for variant in variants]
SLOW = {"finewebedu_lm", "librispeech_conformer", "librispeech_deepspeech", "wmt"}
"""Tens of millions of parameters: a few seconds a test."""


def parameters(names: list[tuple[str, str | None]], slow: set[str] = SLOW) -> list[object]:
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name[0] in slow else [], id=file_name(*name)) for name in names
    ]


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, shared: Path) -> Case:
    return golden_case(shared, *request.param)


every_case = pytest.mark.parametrize("case", parameters(ALL), indirect=True)


CONSTANTS = ("preprocessor.", "subsample.")
"""What the speech models' reference keeps in its checkpoints and we make anew: windows, filters, timescales."""


@pytest.mark.parametrize("name", parameters(ALL, slow=set()))
def test_parameters_and_buffers(shared: Path, name: tuple[str, str | None]) -> None:
    """Names, order, shapes and total; of the buffers those that a checkpoint has, but for constants."""
    golden = load_golden(shared, file_name(*name))
    with torch.device("meta"):
        model = load_workload(name[0], "full", name[1]).torch().build_model()
    assert_parameters(model, golden)
    saved = model.state_dict()
    buffers = [[n, list(b.shape), str(b.dtype).removeprefix("torch.")] for n, b in model.named_buffers() if n in saved]
    expected = [entry[:3] for entry in golden.content["buffers"] if entry[3]]
    assert buffers == [
        entry for entry in expected if not entry[0].startswith(CONSTANTS) and not entry[0].endswith(".dim")
    ]


@every_case
def test_evaluation(case: Case) -> None:
    check_evaluation(case)


@every_case
def test_training(case: Case) -> None:
    # A handful of ResNet's millions of ReLUs see inputs within rounding of zero, and which side they fall on depends
    # on the machine's kernels: in float64, and where the activation has no kink, the agreement is far closer.
    kinks = {"imagenet_resnet": 5e-3, "imagenet_resnet_silu": 1e-5, "imagenet_resnet_large_bn_init": 5e-3}
    check_training(case, gradient_rtol=kinks.get(case.golden.content["workload"]))


WITH_STATISTICS = [
    (base, variant)
    for base, variant in ALL
    if base in {"cifar", "imagenet_resnet", "librispeech_conformer", "librispeech_deepspeech"}
    and variant != "norm_and_spec_aug"
]


@pytest.mark.parametrize("case", parameters(WITH_STATISTICS), indirect=True)
def test_frozen_statistics(case: Case) -> None:
    check_frozen_statistics(case)


WITHOUT_DROPOUT = {"cifar", "finewebedu_lm", "imagenet_resnet", "mnist"}
WITH_DROPOUT = [(base, variant) for base, variant in ALL if base not in WITHOUT_DROPOUT]


@pytest.mark.parametrize("case", parameters(WITH_DROPOUT), indirect=True)
def test_dropout(case: Case) -> None:
    # The golden batch norms of the speech models are badly scaled without a quarter of the activations.
    check_dropout(case, factor=5 if "librispeech" in case.golden.content["workload"] else 1)


# Speech and language models have islands of single precision: their own test files.
IN_DOUBLE = [(base, variant) for base, variant in ALL if base not in SLOW]


@pytest.mark.parametrize("case", parameters(IN_DOUBLE, slow={"fastmri"}), indirect=True)
def test_double_precision(case: Case) -> None:
    """ViT's positions are of single precision."""
    base = case.golden.content["family"]
    check_double_precision(
        case,
        rtol=1e-6 if base == "imagenet_vit" else 1e-9,
        gradient_rtol=1e-9 if base == "imagenet_resnet" else 1e-6,
    )


@pytest.mark.parametrize("name", parameters([name for name in ALL if name[0] != "criteo1tb"]))
def test_initial_values(shared: Path, name: tuple[str, str | None]) -> None:
    """Criteo's table is too large for this: see test_criteo1tb_golden.py."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = load_workload(name[0], "full", name[1]).torch().build_model()
    assert_initial_values(model, load_golden(shared, file_name(*name)))
