"""How long the report takes to build and to open, and what it weighs, at the size of a whole leaderboard.

    python benchmarks/report.py [--submissions 11] [--keep report.html] [--json]

A made-up pool of 11 submissions x 14 workloads x 5 studies x 5 trials (3,850 trials, 100 evaluations and 7
hyperparameters each) is scored with 10,000 resamples and written as a page; headless Chromium then opens it, three
times after a first that is not counted. Bars: under 6 MB, and open (load event, script run) in under 2 s. Needs
Debian's `chromium` and `chromium-driver`, or any others on the path, for the second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np

from timetrial.records.history import TrialHistory
from timetrial.report.page import html_page
from timetrial.report.pool import Pool
from timetrial.scoring.score import score_histories
from timetrial.suite import Suite, SuiteWorkload, load_suite

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # Chromium's own needs what containers do not grant; the page is ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)


def synthetic_pool(submissions: int = 11, *, evaluations: int = 100, resamples: int = 10_000) -> Pool:
    """Make up a pool under algoperf-0.5: curves that approach the target exponentially, some too slowly."""
    suite = load_suite("algoperf-0.5")
    rng = np.random.default_rng(0)
    names = [f"submission_{number:02d}" for number in range(submissions)]
    trials = [
        _trial(suite.workload(workload), name, i, study, trial, evaluations, rng)
        for i, name in enumerate(names)
        for workload in (*suite.workloads, *_drawn(suite))
        for study in range(5)
        for trial in range(1, 6)
    ]
    report = score_histories(trials, suite, resamples=resamples)
    return Pool(report=report, suite=suite, trials=trials, command="timetrial report made-up")


def _drawn(suite: Suite) -> tuple[str, ...]:
    return suite.held_out.drawn if suite.held_out else ()


def _trial(
    workload: SuiteWorkload, name: str, i: int, study: int, trial: int, evaluations: int, rng: np.random.Generator
) -> TrialHistory:
    times = np.linspace(0.01, 1.0, evaluations) * workload.budget
    speed = rng.lognormal(1.0 - 0.06 * i, 0.25)  # e-foldings of the distance to the target within the budget
    distance = 3 * np.exp(-3 * speed * times / workload.budget) - 0.05 + rng.normal(0, 0.01, evaluations)
    worse = 1 if workload.direction == "minimize" else -1
    values = workload.validation_target * (1 + 0.3 * worse * distance)
    return TrialHistory(
        submission=name,
        study=study,
        workload=workload.name,
        trial=trial,
        steps=np.arange(evaluations) * 100,
        times=times,
        metrics={f"validation/{workload.metric}": values, f"test/{workload.metric}": values},
        hyperparameters={
            "learning_rate": float(10 ** rng.uniform(-4, -1)),
            "weight_decay": float(10 ** rng.uniform(-4, 0)),
            "one_minus_beta1": float(10 ** rng.uniform(-2, -0.5)),
            "beta2": float(rng.uniform(0.9, 0.999)),
            "warmup_factor": float(rng.choice([0.02, 0.05, 0.1])),
            "dropout_rate": float(rng.choice([0.0, 0.1])),
            "label_smoothing": float(rng.choice([0.0, 0.1, 0.2])),
        },
        path=Path(name, f"study_{study}", workload.name, f"trial_{trial}"),
    )


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium with an empty profile, driven by the driver on the path; closed at the end."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = which("chromium") or which("chromium-browser") or which("google-chrome") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1200,900"):
            options.add_argument(flag)
        service = webdriver.ChromeService(executable_path=which("chromedriver"))
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield driver
        finally:
            driver.quit()


def seconds_to_open(driver: Any, page: Path) -> float:
    """Seconds from the start of navigation until the page is laid out and its script has run."""
    driver.get(page.resolve().as_uri())
    milliseconds = driver.execute_script(
        "document.body.getBoundingClientRect();"  # layout is done by then, or done now
        "return performance.getEntriesByType('navigation')[0].loadEventEnd"
    )
    if driver.execute_script("return document.documentElement.dataset.ready") != "true":
        raise RuntimeError(f"{page}: the page's script did not run to its end")
    return float(milliseconds) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submissions", type=int, default=11)
    parser.add_argument("--keep", type=Path, help="keep the page here")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pool = synthetic_pool(options.submissions)
    start = time.perf_counter()
    content = html_page(pool).encode()
    figures: dict[str, Any] = {"build_s": time.perf_counter() - start, "megabytes": len(content) / 1e6}
    with tempfile.TemporaryDirectory() as folder:
        page = options.keep or Path(folder, "report.html")
        page.write_bytes(content)
        if which("chromedriver"):
            with chromium() as driver:
                opened = [seconds_to_open(driver, page) for _ in range(4)][1:]
            figures["open_s"] = statistics.median(opened)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"build {figures['build_s']:.2f} s, {figures['megabytes']:.2f} MB, ", end="")
    print(f"opens in {figures['open_s']:.2f} s" if "open_s" in figures else "not opened: no chromedriver")


if __name__ == "__main__":
    main()
