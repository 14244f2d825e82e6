"""What all tests share."""

import os
from pathlib import Path

import hypothesis
import pytest

from timetrial.suite import Suite, parse_suite

# One thread a process, also in the processes that tests start.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

# A shared machine may stall for longer than any deadline.
hypothesis.settings.register_profile("timetrial", deadline=None)
hypothesis.settings.load_profile("timetrial")

_BESIDE = Path(__file__).resolve().parents[2] / "shared"

TINY_SUITE = """
name = "tiny-test"
title = "Seconds, for tests; evaluations are due by steps"
source = "tests/conftest.py"

[protocol]
setup_on_clock = true
stop_when = "validation_target"
precision = "float32"
sampler = "sobol"
threads = 1

[rulesets.external]
studies = 2
trials = 2

[rulesets.self]
studies = 2
trials = 1
budget_factor = 1.5

[workloads.digits_mlp]
preset = "tiny"
metric = "accuracy"
direction = "maximize"
validation_target = 0.6
test_target = 0.6
budget = 20.0
evaluation_period = { steps = 10 }
step_hint = 100
batch_size = 32
eval_batch_size = 150
train_examples = 1_000
eval_examples = { train = 400, validation = 400, test = 397 }

[workloads.digits_resnet]
preset = "tiny"
metric = "loss"
direction = "minimize"
validation_target = 1.5
test_target = 1.5
budget = 20.0
evaluation_period = { steps = 10 }
step_hint = 100
batch_size = 32
eval_batch_size = 400
train_examples = 1_000
eval_examples = { train = 400, validation = 400, test = 397 }
"""


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of specifications, golden vectors and public logs; skips where there is none."""
    folder = Path(os.environ.get("TIMETRIAL_SHARED", _BESIDE))
    if not folder.is_dir():
        pytest.skip(f"needs the shared folder of golden vectors and public logs (looked at {folder})")
    return folder


@pytest.fixture(scope="session")
def tiny_suite() -> Suite:
    """A suite of the digits workloads at preset `tiny`, whose evaluations are due by steps."""
    return parse_suite(TINY_SUITE, "tiny-test.toml")


@pytest.fixture
def tiny_suite_file(tmp_path: Path) -> Path:
    """The tiny suite as a file, for the command line."""
    path = tmp_path / "tiny-test.toml"
    path.write_text(TINY_SUITE)
    return path
