"""What every benchmark does with its figures: print a table, write a file that says how."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parents[1]


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print one table; the first column is text, the others are figures."""
    table = Table(title=title, title_justify="left")
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)


def write_results(name: str, figures: Any) -> Path:
    """Write ``results/name.json`` with the commit, the machine and the command."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    record = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        # Figures written before in the same run are no change of what is measured.
        "changed_files": bool(
            _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
        ),
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_arguments()]),
        "machine": {
            "processor": _processor(),
            "cores": len(_cores()),
            "system": platform.system(),
            "python": platform.python_version(),
            "torch": _torch_version(),
        },
        "figures": figures,
    }
    path.write_text(json.dumps(record, indent=2) + "\n")
    return path


def _arguments() -> list[str]:
    """The command's arguments, with absolute folders cut to their names."""
    return [Path(a).name if a.startswith("/") else a for a in sys.argv[1:]]


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _cores() -> set[int] | range:
    import os

    return (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )


def _torch_version() -> str:
    import torch

    return torch.__version__
