"""Batches in the public benchmark's form and back, told apart by what is in them, never by the workload's name.

There, sounds and transcripts come with paddings (1 where nothing is real) instead of lengths, and graphs as one named
tuple (spec: workloads/librispeech_conformer.md, 1; workloads/ogbg.md, 1). All other batches are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from timetrial.api import Batch


class GraphsTuple(NamedTuple):
    """A batch of graphs, with jraph's field names."""

    nodes: Tensor
    edges: Tensor
    receivers: Tensor
    senders: Tensor
    globals: Any
    n_node: Tensor
    n_edge: Tensor


def to_public(batch: Batch) -> dict[str, Any]:
    """Return a batch of the workload as a public submission expects it."""
    if "input_lengths" in batch:
        return _speech_to_public(batch)
    if "senders" in batch:
        graphs = GraphsTuple(
            nodes=batch["inputs"],
            edges=batch["edges"],
            receivers=batch["receivers"],
            senders=batch["senders"],
            globals={},
            n_node=batch["n_node"],
            n_edge=batch["n_edge"],
        )
        return {"inputs": graphs, "targets": batch["targets"], "weights": batch["weights"]}
    return dict(batch)


def to_native(batch: Mapping[str, Any]) -> Batch:
    """Return a public batch as the workload's own model takes it, whatever a submission did to it."""
    inputs = batch["inputs"]
    if isinstance(inputs, Tensor):
        return batch if isinstance(batch, dict) else dict(batch)
    if hasattr(inputs, "n_node"):
        return {
            "inputs": inputs.nodes,
            "edges": inputs.edges,
            "senders": inputs.senders,
            "receivers": inputs.receivers,
            "n_node": inputs.n_node,
            "n_edge": inputs.n_edge,
            "targets": batch["targets"],
            "weights": batch["weights"],
        }
    sounds, paddings = inputs
    native = {"inputs": sounds, "input_lengths": lengths_of(paddings)}
    if "targets" in batch:
        targets, target_paddings = batch["targets"]
        native |= {"targets": targets.long(), "target_lengths": lengths_of(target_paddings)}
    if batch.get("weights") is not None:
        native["weights"] = batch["weights"]
    return native


def lengths_of(paddings: Tensor) -> Tensor:
    """Return how many positions of each row are real (n,), int64, from paddings (n, positions)."""
    return (paddings == 0).sum(dim=1)


def paddings_of(lengths: Tensor, positions: int) -> Tensor:
    """Return paddings (n, positions), float32: 0 at the first `lengths` positions of each row, 1 behind."""
    return (torch.arange(positions, device=lengths.device) >= lengths.unsqueeze(1)).float()


def _speech_to_public(batch: Batch) -> dict[str, Any]:
    public: dict[str, Any] = {
        "inputs": (batch["inputs"], paddings_of(batch["input_lengths"], batch["inputs"].shape[1])),
        # As there, token ids are floats.
        "targets": (batch["targets"].float(), paddings_of(batch["target_lengths"], batch["targets"].shape[1])),
    }
    if "weights" in batch:
        public["weights"] = batch["weights"]
    return public
