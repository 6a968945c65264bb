"""A few of the kills of ``benchmarks/kills.py``; it forks, so it has a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "kills.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_runs_killed_at_random_moments_end_as_if_they_had_not_been(tmp_path):
    options = ["--kills", "3", "--only", "lift,predict", "--no-write", "--keep", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = [line for line in done.stdout.splitlines() if "'kills'" in line]
    assert len(counts) == 2
    assert all(f"'kills': {kills}" in line for kills, line in zip((2, 1), counts, strict=True))
