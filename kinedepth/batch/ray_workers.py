"""Workers that Ray places: on this machine, or on those of a running cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinedepth.batch.attempt import Attempt, Work, attempt, use_one_thread
from kinedepth.errors import KinedepthError, MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

LOCAL = "local"
"""In place of a cluster's address: a Ray of this machine alone, which ends with the batch."""

_LOOPBACK = "127.0.0.1"
_STORE_BYTES = 100 * 2**20
"""Ray reserves memory for what tasks hand to each other, which here is next to nothing."""
_SECONDS_TO_STOP = 5.0


class RayWorkers:
    """As :class:`kinedepth.batch.processes.ProcessWorkers`, with Ray's processes.

    Every video is a task that asks for one CPU and gets one thread. Ray starts another process
    where one dies.

    Args:
        work: what to do with a video.
        count: how many videos at a time.
        address: of a running cluster, as Ray takes it ("auto", "HOST:6379"), or :data:`LOCAL`.
        gpus: that each video asks for, a part of one allowed.

    Raises:
        KinedepthError: if Ray is not installed, or the cluster is not to be reached.
    """

    def __init__(self, work: Work, count: int, address: str = LOCAL, gpus: float = 0.0) -> None:
        self.count = count
        self._work = work
        self._ray = _import_ray(address)
        _connect(self._ray, address, count)
        self._task = self._ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_attempt)
        self._busy: dict[Any, tuple[str, float]] = {}

    def start(self, video: str, folder: Path) -> None:
        """Hand a video to Ray."""
        self._busy[self._task.remote(self._work, video, folder)] = video, time.perf_counter()

    def next(self) -> tuple[str, Attempt]:
        """Wait until a try has ended; returns the video and how it went."""
        (done, *_), _ = self._ray.wait(list(self._busy), num_returns=1)
        video, began = self._busy.pop(done)
        try:
            return video, self._ray.get(done)
        except self._ray.exceptions.RayError as error:
            reason = _what_happened(self._ray, error)
            return video, Attempt(time.perf_counter() - began, reason, again=True)

    def close(self) -> None:
        """Stop what runs and leave the cluster; a local Ray ends."""
        for task in self._busy:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.cancel(task, force=False)  # As by Ctrl-C: half-written files go.
        if self._busy:
            self._ray.wait(list(self._busy), num_returns=len(self._busy), timeout=_SECONDS_TO_STOP)
        self._busy = {}
        self._ray.shutdown()


def _attempt(work: Work, video: str, folder: Path) -> Attempt:
    use_one_thread()
    return attempt(work, video, folder)


def _import_ray(address: str) -> ModuleType:
    # Ray reads these when it is imported. It reports its use to its makers unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL:
        # Else its servers take the address of the network even where they are given this one.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError:
        raise MissingExtraError("Ray", "ray") from None
    return ray


def _connect(ray: ModuleType, address: str, count: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address != LOCAL:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise KinedepthError(
                f"There is no Ray cluster at {address} ({_last_line(error)})."
            ) from error
        return
    if ray.util.get_node_ip_address() != _LOOPBACK:  # Somebody imported it before us.
        raise KinedepthError(
            "This Ray would listen to other machines; leave out --ray to work without it."
        )
    ray.init(
        address=LOCAL,
        num_cpus=count,
        include_dashboard=False,
        object_store_memory=_STORE_BYTES,
        _node_ip_address=_LOOPBACK,
        **quiet,
    )


def _what_happened(ray: ModuleType, error: Exception) -> str:
    if isinstance(error, ray.exceptions.WorkerCrashedError):
        return "The process that worked on it was killed, perhaps for want of memory."
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "Ray ended the process that worked on it because memory ran out."
    return f"Ray could not run it ({_last_line(error)})."


def _last_line(error: Exception) -> str:
    """What Ray says in the end; before it come colours, addresses and its own traceback."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip().rstrip(".")
