"""What all tests share."""

import os
import tarfile
from pathlib import Path

import hypothesis
import pytest
import torch

from timetrial.records.plan import TrialResult
from timetrial.suite import Suite, load_suite

# One thread a process, also in the processes that tests start.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

# Whoever runs the tests may have prepared datasets; these are not to find them.
os.environ["TIMETRIAL_DATA"] = str(Path(__file__).parent / "no-such-folder")

# A shared machine may stall for longer than any deadline.
hypothesis.settings.register_profile("timetrial", deadline=None)
hypothesis.settings.load_profile("timetrial")

_BESIDE = Path(__file__).resolve().parents[2] / "shared"

TINY_SUITE = Path(__file__).parent / "tiny-test.toml"
"""Seconds a trial; evaluations are due by steps."""


def pytest_runtest_teardown() -> None:
    """Undo what a trial sets for its process, and hypothesis cannot do without."""
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of specifications, golden vectors and public logs; skips where there is none."""
    folder = Path(os.environ.get("TIMETRIAL_SHARED", _BESIDE))
    if not folder.is_dir():
        pytest.skip(f"needs the shared folder of golden vectors and public logs (looked at {folder})")
    return folder


@pytest.fixture(scope="session")
def algoperf_logs(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public logs of four submissions (shared/leaderboard/README.md), unpacked."""
    archive = shared / "leaderboard" / "algoperf-0.5-external-four.tar.xz"
    if not archive.is_file():
        pytest.skip(f"needs the public logs ({archive})")
    folder = tmp_path_factory.mktemp("algoperf_logs")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def reached() -> TrialResult:
    """How a trial ended that reached its target; tests replace in it what they are about."""
    return TrialResult(
        ended="target_reached",
        reason="reached accuracy 0.6",
        time_to_target=1.0,
        steps=100,
        examples=3200,
        submission_time=1.0,
        seconds={},
        total=1.0,
        harness_us_per_step=1.0,
        cpu_time=1.0,
        load=(0.0, 0.0),
        resumes=0,
    )


@pytest.fixture(scope="session")
def tiny_suite() -> Suite:
    """A suite of the digits workloads at preset `tiny`, whose evaluations are due by steps."""
    return load_suite(TINY_SUITE)
