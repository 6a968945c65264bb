"""How much sooner a batch of clips is done by two Ray workers than by one process.

Whole runs of `kinedepth batch` on rendered clips, one kind after the other in every round, so that
what else the machine does hits all alike. Each Ray worker has one thread; the one process is timed
with one thread and with two.

    python benchmarks/batch_speed.py
    python benchmarks/batch_speed.py --clips 4 --rounds 1
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _report import print_table, write_results

from kinedepth.synthesis.clip_files import write_clips

WIDTH, HEIGHT, FRAMES = 160, 120, 24
KINDS = {
    "one process, one thread": (1, []),
    "one process, two threads": (2, []),
    "two Ray workers, one thread each": (1, ["--ray", "local", "--workers", "2"]),
    "two processes, one thread each": (1, ["--workers", "2"]),
}
ASKED = "two Ray workers, one thread each"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="batch-") as name:
        folder = Path(name)
        write_clips(folder / "clips", arguments.clips, FRAMES, 1, WIDTH, HEIGHT)
        (folder / "list.txt").write_text(
            "".join(f"{path}\n" for path in sorted((folder / "clips").glob("*.mp4")))
        )
        runs = [
            (number, kind, *_run(kind, folder, f"{number} {kind}"))
            for number in range(arguments.rounds)
            for kind in KINDS
        ]

    rows = []
    for number, kind, seconds, cores, load in runs:
        one, two = (
            next(s for n, k, s, *_ in runs if n == number and k == f"one process, {threads}")
            for threads in ("one thread", "two threads")
        )
        times = [f"{one / seconds:.2f}", f"{two / seconds:.2f}"]
        rows.append(
            [str(number + 1), kind, f"{seconds:.1f}", *times, f"{cores:.2f}", f"{load:.1f}"]
        )
    columns = ["round", "kind", "s", "times one thread", "times two threads", "cores had", "load"]
    title = f"{arguments.clips} clips of {WIDTH}x{HEIGHT}, {FRAMES} frames"
    print_table(title, columns, rows)
    ratios = {
        baseline: statistics.median(float(row[i]) for row in rows if row[1] == ASKED)
        for i, baseline in ((3, "one process, one thread"), (4, "one process, two threads"))
    }
    print(f"Two Ray workers, median: {ratios}")
    if arguments.clips == 20:
        runs_told = [dict(zip(columns, row, strict=True)) for row in rows]
        write_results(
            "batch_speed", {"two Ray workers, times as fast as": ratios, "runs": runs_told}
        )


def _run(kind: str, folder: Path, output: str) -> tuple[float, float, float]:
    """Seconds of one whole run, how many cores it had on average, and the load before it."""
    threads, options = KINDS[kind]
    limits = {"OMP_NUM_THREADS": str(threads), "OPENCV_FOR_THREADS_NUM": str(threads)}
    load = os.getloadavg()[0]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    words = ["batch", str(folder / "list.txt"), "-o", str(folder / output), *options]
    subprocess.run(
        [sys.executable, "-m", "kinedepth", *words, "--", "--queries", "grid:10"],
        env={**os.environ, **limits},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, used / seconds, load


if __name__ == "__main__":
    main()
