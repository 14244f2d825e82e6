"""What only the speech models have: a front end, lengths, decodes, double precision behind single features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_cases import GOLDEN, Case, check_double_precision, golden_case
from golden_files import Golden, assert_summary
from torch import Tensor, nn

from timetrial.workloads.metrics.word_errors import greedy_decode

pytestmark = pytest.mark.slow

NAMES = [(base, variant) for base in ("librispeech_conformer", "librispeech_deepspeech") for variant in GOLDEN[base]]


@pytest.fixture(scope="module", params=NAMES, ids=str)
def case(request: pytest.FixtureRequest, shared: Path) -> Case:
    return golden_case(shared, *request.param)


def test_front_end(case: Case) -> None:
    features, frames = case.model.preprocessor(case.batch["inputs"], case.batch["input_lengths"])
    summary = case.golden.content["extra"]["frontend"]["features"]
    assert_summary(features, summary, case.golden.arrays, atol=1e-4)
    assert frames.tolist() == (1 - case.golden.arrays["frontend_paddings"]).sum(axis=1).tolist()


@torch.no_grad()
def test_lengths_and_decodes(case: Case) -> None:
    steps = case.half.steps(case.batch)
    paddings = torch.from_numpy(case.golden.arrays["eval_logit_paddings"])
    assert steps.tolist() == (1 - paddings).sum(dim=1).tolist()
    rows = case.golden.content["extra"]["greedy_decode"]["tokens"]
    assert greedy_decode(case.forward(), steps) == [[token for token in row if token] for row in rows]


class StoredFeatures(nn.Module):
    """The golden file's features in place of a front end, widened: the double-precision runs had a float32 one."""

    def __init__(self, golden: Golden) -> None:
        super().__init__()
        self._features = torch.from_numpy(golden.arrays["frontend_features"]).double()
        self._frames = torch.from_numpy(1 - golden.arrays["frontend_paddings"]).sum(dim=1).long()

    def forward(self, sound: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self._features, self._frames


def test_double_precision(case: Case) -> None:
    front_end = case.model.preprocessor
    case.model.preprocessor = StoredFeatures(case.golden)
    try:
        check_double_precision(case, rtol=1e-6)
    finally:
        case.model.preprocessor = front_end
