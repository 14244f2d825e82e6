"""How long reading and scoring the public logs takes, cold start of the interpreter included.

    python benchmarks/scoring.py --logs SHARED/leaderboard/algoperf-0.5-external-four.tar.xz [--repeats 5] [--json]

`--logs` is the archive of four submissions (1,380 trials), or a folder that it was unpacked into. Measured, each
in a fresh process on one core: `timetrial score LOGS --suite algoperf-0.5 --compat` without and with 10,000
resamples, and without them on ten copies of the submissions under other names. Given are median and fastest
wall time of the repeats and the median CPU time (the two differ on a shared machine). Bars: 0.8 s of wall time
without resamples, and a growth of at most ten for ten copies.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

COPIES = 10
_CALL = "import typer; from timetrial.cli.score import score; typer.run(score)"


def measure(logs: Path, *options: str, repeats: int) -> dict[str, float]:
    """Seconds that scoring a folder takes in a fresh interpreter; a first call, not counted, warms the disk."""
    command = [sys.executable, "-c", _CALL, str(logs), "--suite", "algoperf-0.5", "--compat", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    wall, cpu = [], []
    for _ in range(repeats + 1):
        start, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        after = os.times()
        wall.append(time.perf_counter() - start)
        cpu.append(after.children_user - before.children_user + after.children_system - before.children_system)
    return {
        "median_s": statistics.median(wall[1:]),
        "fastest_s": min(wall[1:]),
        "median_cpu_s": statistics.median(cpu[1:]),
    }


def copies(logs: Path, folder: Path) -> Path:
    """Lay out ten submissions for each one, as links to the original files."""
    for submission in sorted(path for path in logs.iterdir() if path.is_dir()):
        for copy in range(COPIES):
            (folder / f"{submission.name}_{copy}").symlink_to(submission.resolve(), target_is_directory=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as temporary:
        logs, tenfold = options.logs, Path(temporary, "tenfold")
        if logs.is_file():
            with tarfile.open(logs) as archive:
                archive.extractall(Path(temporary, "logs"), filter="data")
            logs = Path(temporary, "logs")
        tenfold.mkdir()
        figures = {
            "without_resamples": measure(logs, "--resamples", "0", repeats=options.repeats),
            "with_10000_resamples": measure(logs, "--resamples", "10000", repeats=options.repeats),
            "ten_copies": measure(copies(logs, tenfold), "--resamples", "0", repeats=max(1, options.repeats // 2)),
        }
    growth = figures["ten_copies"]["fastest_s"] / figures["without_resamples"]["fastest_s"]
    if options.json:
        print(json.dumps({**figures, "growth_for_ten_copies": growth}, indent=2))
        return
    for name, row in figures.items():
        wall = f"median {row['median_s']:.3f} s, fastest {row['fastest_s']:.3f} s"
        print(f"{name:>22}: {wall}, CPU {row['median_cpu_s']:.3f} s")
    print(f"{'growth':>22}: {growth:.1f} times the fastest time for ten copies")


if __name__ == "__main__":
    main()
