"""The generated datasets that a run needs, made before its first trial: side by side, off every clock."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed

from timetrial.records.plan import TrialPlan
from timetrial.workloads.generated import Generated
from timetrial.workloads.registry import workload_of


def missing_datasets(plans: Iterable[TrialPlan]) -> list[Generated]:
    """Return the generated datasets of the trials' workloads that are not in the cache, each once."""
    entries = {(plan.workload.base, plan.workload.preset, plan.workload.data): plan.workload for plan in plans}
    workloads = [workload_of(entry) for entry in entries.values()]
    found = [workload.generated() for workload in workloads]
    datasets = {dataset.name: dataset for dataset in found if dataset is not None}
    return [dataset for dataset in datasets.values() if not dataset.is_cached()]


def generate(datasets: Iterable[Generated], jobs: int, on_done: Callable[[Generated], None]) -> None:
    """Generate datasets into the cache, `jobs` at a time; calls `on_done` after each. Raises UserError."""
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_fill_cache, dataset): dataset for dataset in datasets}
        try:
            for done in as_completed(waiting):
                done.result()
                on_done(waiting[done])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fill_cache(dataset: Generated) -> None:
    dataset.arrays()
