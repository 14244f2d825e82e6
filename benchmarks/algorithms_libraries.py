"""Ours beside the libraries': see `benchmarks/algorithms.py --libraries`.

Needs, beside the development extras, `pip install lion-pytorch pytorch_optimizer`; what is not installed is left out
and said.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch

from algorithms import GivenGradients, in_turns, optimizing

Build = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]

# By our module and class: options, and the library's class with its own.
PAIRS: Mapping[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "nadamw (torch's NAdam is another rule of the same work)": (
        "nadamw:NAdamWOptimizer", {"lr": 1e-3}, "torch.optim:NAdam", {"lr": 1e-3, "foreach": True},
    ),
    "lion": ("lion:LionOptimizer", {"lr": 1e-4}, "lion_pytorch:Lion", {"lr": 1e-4}),
    "ademamix": ("ademamix:AdEMAMixOptimizer", {"lr": 1e-3}, "pytorch_optimizer:AdEMAMix", {"lr": 1e-3}),
    "lamb": ("lamb:LAMBOptimizer", {"lr": 1e-3}, "pytorch_optimizer:Lamb", {"lr": 1e-3}),
    "mars_adamw": ("mars_adamw:MARSAdamWOptimizer", {"lr": 1e-3}, "pytorch_optimizer:MARS", {"lr": 1e-3}),
    "adamg": ("adamg:AdamGOptimizer", {"lr": 1.0}, "pytorch_optimizer:AdamG", {"lr": 1.0}),
    "adafactor (torch's is the original variant)": (
        "adafactor:AdafactorOptimizer", {"lr": 1e-3}, "torch.optim:Adafactor", {"lr": 1e-3},
    ),
    "prodigy": ("prodigy:ProdigyOptimizer", {"lr": 1.0}, "prodigyopt:Prodigy", {"lr": 1.0}),
    "schedule_free_adamw": (
        "schedule_free_adamw:ScheduleFreeAdamWOptimizer", {"lr": 1e-3}, "schedulefree:AdamWScheduleFree", {"lr": 1e-3},
    ),
    "muon": ("muon:MuonOptimizer", {"lr": 1e-2}, "torch.optim:Muon", {"lr": 1e-2}),
}  # fmt: skip


def compare(million: float, steps: int) -> None:
    """Print milliseconds a million parameters of both, in turns, and their ratio; Muon on the matrices alone."""
    print(f"{'rule':<58}{'ours':>8}{'library':>9}{'ratio':>7}")
    for name, (ours, own_options, library, options) in PAIRS.items():
        module, _, attribute = library.partition(":")
        try:
            their_class = getattr(import_module(module), attribute)
        except ImportError:
            print(f"{name:<58}{module} is not installed")
            continue
        own_module, _, own_attribute = ours.partition(":")
        our_class = getattr(import_module(f"timetrial.algorithms.{own_module}"), own_attribute)
        sides = []
        for build, chosen in ((our_class, own_options), (their_class, options)):
            task = GivenGradients(million, steps)
            weights = list(task.model.parameters())
            if name == "muon":
                weights = [layer.weight for layer in task.model.layers]  # type: ignore[misc, union-attr]
            optimizer = build(weights, **chosen)
            if hasattr(optimizer, "train"):
                optimizer.train()  # a schedule-free optimizer's mode
            numbers = sum(weight.numel() for weight in weights)
            sides.append((optimizing(optimizer, task), numbers))
        (our_step, numbers), (their_step, _) = sides
        taken, theirs = in_turns(our_step, their_step, steps)
        our_time, their_time = (statistics.median(times) / numbers * 1e6 for times in (taken, theirs))
        print(f"{name:<58}{our_time:>8.2f}{their_time:>9.2f}{our_time / their_time:>7.2f}", flush=True)
