"""Checkpoints from which a killed trial goes on as if nothing had happened."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from timetrial.api import TrainingAlgorithm
from timetrial.records.files import atomic_file
from timetrial.trial.task import TrialTask


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically; with it goes the state of every global generator."""
    with atomic_file(path) as file:
        torch.save({**state, "generators": _generators()}, file)


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Read a checkpoint, or None where there is none; `restore_generators` is the caller's last act."""
    if not path.exists():
        return None
    # Its own trial wrote it, and it may hold any plain object of the submission's: hence not weights_only.
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=False)
    return state


def training_state(model: nn.Module, algorithm: TrainingAlgorithm, task: TrialTask) -> dict[str, Any]:
    """Return the part of a checkpoint that is the training's: model, algorithm, and the generator it draws on."""
    return {
        "model": model.state_dict(),
        "algorithm": algorithm.state_dict(),
        "generator": task.generator.get_state(),
    }


def restore_training(state: dict[str, Any], model: nn.Module, algorithm: TrainingAlgorithm, task: TrialTask) -> None:
    """Put back what `training_state` returned, out of a checkpoint."""
    model.load_state_dict(state["model"])
    algorithm.load_state_dict(state["algorithm"])
    task.generator.set_state(state["generator"].cpu())


def restore_generators(state: dict[str, Any]) -> None:
    """Put the global generators of PyTorch, numpy and Python back to where the checkpoint left them."""
    generators = state["generators"]
    torch.set_rng_state(generators["torch"].cpu())
    if generators["cuda"]:
        torch.cuda.set_rng_state_all([generator.cpu() for generator in generators["cuda"]])
    np.random.set_state(generators["numpy"])  # what a submission may draw on without asking
    random.setstate(generators["python"])


def _generators() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": np.random.get_state(),
        "python": random.getstate(),
    }
