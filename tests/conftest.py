"""What all tests share."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of specifications, golden vectors and public logs; skips where there is none."""
    folder = Path(os.environ.get("TIMETRIAL_SHARED", _BESIDE))
    if not folder.is_dir():
        pytest.skip(f"needs the shared folder of golden vectors and public logs (looked at {folder})")
    return folder
