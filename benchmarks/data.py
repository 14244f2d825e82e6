"""What feeding a batch costs beside the training step it feeds, for every workload of an embedded suite.

    python benchmarks/data.py [--suite mini-1] [--workload ogbg] [--steps 60] [--json]

One thread, the suite's batch sizes, real batches, the published NAdamW baseline. Making a batch and training on it
take turns, so that both see the same machine; given are the medians of their milliseconds and the ratio. Bar: feeding
takes at most 3 % of a step. Beside it: what one evaluation of all splits takes, and its share of a budget in which an
evaluation is due each period (bar: 15 %), and the optimizer's share of a step (bar: 10 %).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from timetrial.algorithms.nadamw import NAdamWOptimizer
from timetrial.errors import UserError
from timetrial.suite import SuiteWorkload, load_suite
from timetrial.trial.evaluation import evaluate
from timetrial.trial.seeds import Seeds
from timetrial.trial.stream import to_device
from timetrial.workloads.registry import workload_of

WARM_UP = 5
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Milliseconds, and shares in percent."""

    workload: str
    batch_size: int
    feed: float
    step: float
    optimizer: float
    feed_share: float
    """Of a step, feeding not counted."""
    optimizer_share: float
    evaluation: float
    evaluation_share: float
    """Of the submission time between two evaluations."""
    budget_steps: float
    """Steps that fit into the suite's budget."""


def measure(entry: SuiteWorkload, steps: int) -> Cost:
    """Train and feed in turns."""
    torch.manual_seed(0)
    workload = workload_of(entry)
    data, half = workload.data(), workload.torch()
    model = half.build_model()
    optimizer = NAdamWOptimizer(model.parameters(), lr=1e-4)
    source = data.train_source(np.random.SeedSequence(0), entry.batch_size)
    feeds, trainings, updates = [], [], []
    for index in range(WARM_UP + steps):
        start = time.perf_counter()
        batch = to_device(source.batch(index), CPU)
        fed = time.perf_counter()
        optimizer.zero_grad()
        half.loss(batch, half.forward(model, batch)).mean.backward()
        differentiated = time.perf_counter()
        optimizer.step()
        end = time.perf_counter()
        feeds.append(1e3 * (fed - start))
        trainings.append(1e3 * (end - fed))
        updates.append(1e3 * (end - differentiated))
    start = time.perf_counter()
    evaluate(half, data, model, batch_size=entry.eval_batch_size, device=CPU, seeds=Seeds(0))
    evaluation = 1e3 * (time.perf_counter() - start)
    feed, step, update = (statistics.median(times[WARM_UP:]) for times in (feeds, trainings, updates))
    period = entry.evaluation_period.seconds
    return Cost(
        workload=entry.name,
        batch_size=entry.batch_size,
        feed=feed,
        step=step,
        optimizer=update,
        feed_share=100 * feed / step,
        optimizer_share=100 * update / step,
        evaluation=evaluation,
        evaluation_share=0.1 * evaluation / period if period else float("nan"),
        budget_steps=1e3 * entry.budget / (feed + step),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="mini-1")
    parser.add_argument("--workload", action="append", help="only this one; repeatable")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each workload")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        suite = load_suite(options.suite)
        if not options.json:
            print(f"{'workload':<24}{'batch':>6}{'feed ms':>9}{'step ms':>9}{'feed %':>8}{'optimizer %':>13}", end="")
            print(f"{'eval ms':>9}{'eval %':>8}{'steps a budget':>16}")
        for name in options.workload or suite.workloads:
            cost = measure(suite.workload(name), options.steps)
            if options.json:
                print(json.dumps(asdict(cost)), flush=True)
                continue
            print(
                f"{cost.workload:<24}{cost.batch_size:>6}{cost.feed:>9.2f}{cost.step:>9.2f}{cost.feed_share:>8.2f}"
                f"{cost.optimizer_share:>13.1f}{cost.evaluation:>9.0f}{cost.evaluation_share:>8.1f}"
                f"{cost.budget_steps:>16.0f}",
                flush=True,
            )
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
