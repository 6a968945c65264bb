"""Trackers by name: adding one is one file and one line in :data:`TRACKERS`."""

from __future__ import annotations

from collections.abc import Callable

from kinedepth.errors import KinedepthError
from kinedepth.tracking.base import Tracker
from kinedepth.tracking.baselines import ChainedFlowTracker, LucasKanadeTracker
from kinedepth.tracking.file import FileTracker
from kinedepth.tracking.flow import FlowTracker

TRACKERS: dict[str, Callable[[], Tracker]] = {
    "flow": FlowTracker,
    "flow-chained": ChainedFlowTracker,
    "lucas-kanade": LucasKanadeTracker,
}
"""What each name makes. ``file:PATH`` stands beside them, because it takes a path."""


def make_tracker(spec: str) -> Tracker:
    """The tracker that ``spec`` names: one of :data:`TRACKERS`, or ``file:PATH``.

    Raises:
        KinedepthError: no tracker has that name.
    """
    if spec in TRACKERS:
        return TRACKERS[spec]()
    kind, _, path = spec.partition(":")
    if kind == "file" and path:
        return FileTracker(path)
    raise KinedepthError(
        f"There is no tracker called {spec!r}; choose one of: {', '.join(sorted(TRACKERS))}, "
        f"or file:PATH for tracks made elsewhere."
    )
