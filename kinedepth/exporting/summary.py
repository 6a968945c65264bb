"""What a run did, how long it took and on what: ``summary.json``."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import kinedepth
from kinedepth.exporting.atomic import atomic_path

try:
    import resource
except ImportError:  # Windows has no such module.
    resource = None  # type: ignore[assignment]


class Stopwatch:
    """Wall-clock seconds of named stages.

    ::

        watch = Stopwatch()
        with watch.stage("tracking"):
            ...
        watch.seconds  # {"tracking": 12.3}

    A stage that is entered again adds to its time; one that fails is still counted.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside the block as ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed


def write_summary(path: str | Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``facts`` and the circumstances of the run as JSON, whole or not at all.

    Args:
        path: the file.
        facts: what the run has to say; NumPy values and paths are turned into plain ones and
            numbers that are not finite into null, which JSON has no words for.

    Returns:
        What was written: the facts plus ``version``, ``platform`` and ``peak_memory_mib``.
    """
    summary = _plain(
        {
            **facts,
            "version": kinedepth.__version__,
            "platform": describe_platform(),
            "peak_memory_mib": peak_memory(),
        }
    )
    with atomic_path(path) as temporary:
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return summary


def describe_platform() -> dict[str, Any]:
    """The kind of machine and the versions that timings depend on; nothing that identifies it."""
    return {
        "cpu": _cpu_model(),
        "cpu_cores": os.cpu_count(),
        "os": platform.system(),
        "python": platform.python_version(),
        "torch": _installed_version("torch"),
    }


def peak_memory() -> float | None:
    """The most memory this process has held so far, in MiB; None where it is not known."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    units_per_mib = 1024**2 if sys.platform == "darwin" else 1024  # Bytes there, KiB elsewhere.
    return round(peak / units_per_mib, 1)


def _cpu_model() -> str:
    try:
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine()


def _installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _plain(value: Any) -> Any:
    """``value`` in terms that JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | range):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return str(value)
