"""What a lift is to do, with everything that was asked for looked up and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from kinedepth.camera import DEFAULT_FIELD_OF_VIEW, Intrinsics
from kinedepth.devices import find_device
from kinedepth.errors import KinedepthError
from kinedepth.seurat.checkpoint import load_checkpoint
from kinedepth.seurat.model import Seurat
from kinedepth.seurat.windows import Window, plan_windows
from kinedepth.tracking.base import Tracker, TrackingJob
from kinedepth.tracking.registry import make_tracker
from kinedepth.tracks import GridQueries, Queries, grid, grid_points
from kinedepth.video import Video, load_video

_ASSUMED = " (assumed)"
"""How the source of intrinsics ends that nobody gave."""
WINDOW_STEPS = {"fused": (1, 2, 4), "chained": (1,)}
"""Frame steps of the windows that each method looks through."""


@dataclass(frozen=True)
class LiftSetup:
    """A lift that is ready to begin; make one with :func:`prepare_lift`.

    Attributes:
        video: the frames.
        queries: points to follow; None where the tracker brings its own.
        tracker: follows them.
        network: reads depth ratios from windows of tracks; on the device to run on.
        model: the name or file that the network came from.
        method: how windows are joined, "fused" or "chained".
        rigid: whether rigid groups say with the network how depth changes.
        windows: that are looked through.
        camera: intrinsics of the frames.
        camera_source: where they come from.
    """

    video: Video
    queries: Queries | None
    tracker: Tracker
    network: Seurat
    model: str
    method: str
    rigid: bool
    windows: list[Window]
    camera: Intrinsics
    camera_source: str

    @property
    def camera_known(self) -> bool:
        """Whether the intrinsics are more than a guess."""
        return is_camera_known(self.camera_source)

    @property
    def tracker_name(self) -> str:
        """What the tracker calls itself."""
        return getattr(self.tracker, "name", type(self.tracker).__name__)

    def facts(self, tracks: int) -> dict[str, Any]:
        """What was run, in plain values.

        Args:
            tracks: how many were found.
        """
        return {
            "source": self.video.name,
            "frames": len(self.video),
            "size": [self.video.width, self.video.height],
            "tracks": tracks,
            "tracker": self.tracker_name,
            "model": self.network.config.name,
            "method": self.method,
            "rigid_groups": self.rigid,
            "windows": len(self.windows),
            "intrinsics": self.camera.as_vector().tolist(),
            "intrinsics_source": self.camera_source,
            "device": str(next(self.network.parameters()).device),
        }


def prepare_lift(
    source: str | Path | Video,
    queries: GridQueries | Queries | ArrayLike | None = None,
    *,
    query_frame: int = 0,
    frames: str | slice | None = None,
    tracker: str | Tracker = "flow",
    model: str = "small",
    method: str = "fused",
    rigid: bool = True,
    intrinsics: Intrinsics | tuple[float, float, float, float] | None = None,
    field_of_view: float | None = None,
    device: str = "auto",
) -> LiftSetup:
    """Look up and check what :func:`kinedepth.lifting.lift` was asked for, with its arguments.

    Raises:
        KinedepthError: anything wrong with the input, in one sentence.
    """
    if method not in WINDOW_STEPS:
        raise KinedepthError(f"Unknown method '{method}'; choose 'fused' or 'chained'.")
    network = load_checkpoint(model, find_device(device))
    video = source if isinstance(source, Video) else load_video(source, frames)
    camera, camera_source = find_intrinsics(video, intrinsics, field_of_view)
    follower = make_tracker(tracker) if isinstance(tracker, str) else tracker
    own_points = getattr(follower, "seeds_own_points", False)
    config = network.config
    return LiftSetup(
        video=video,
        queries=None if own_points else find_queries(queries, video, query_frame),
        tracker=follower,
        network=network,
        model=model,
        method=method,
        rigid=rigid,
        windows=plan_windows(len(video), config.window, config.stride, WINDOW_STEPS[method]),
        camera=camera,
        camera_source=camera_source,
    )


def find_intrinsics(
    video: Video,
    given: Intrinsics | tuple[float, float, float, float] | None,
    field_of_view: float | None,
) -> tuple[Intrinsics, str]:
    """The camera to use and where it comes from: given, the source's own, or a field of view."""
    if given is not None and field_of_view is not None:
        raise KinedepthError("Give either intrinsics or a field of view, not both.")
    if isinstance(given, Intrinsics):
        if (given.width, given.height) != (video.width, video.height):
            raise KinedepthError(
                f"The intrinsics are for {given.width}x{given.height} pixels, but the video has "
                f"{video.width}x{video.height}; scale them with Intrinsics.scaled_to."
            )
        return given, "given"
    if given is not None:
        return Intrinsics(*given, video.width, video.height), "given"
    if field_of_view is None and video.intrinsics is not None:
        return video.intrinsics, "source"
    degrees = DEFAULT_FIELD_OF_VIEW if field_of_view is None else field_of_view
    camera = Intrinsics.from_field_of_view(video.width, video.height, degrees)
    return camera, f"field of view of {degrees:g} degrees" + (
        _ASSUMED if field_of_view is None else ""
    )


def is_camera_known(source: str) -> bool:
    """Whether intrinsics with this source, as of :func:`find_intrinsics`, are more than a guess."""
    return not source.endswith(_ASSUMED)


def find_queries(
    queries: GridQueries | Queries | ArrayLike | None, video: Video, query_frame: int
) -> Queries:
    """Queries in pixels and frames of this video, checked to lie inside it."""
    if queries is None:
        queries = grid(20)
    if isinstance(queries, GridQueries):
        found = queries.at(video.width, video.height, query_frame)
    elif isinstance(queries, Queries):
        found = queries
    else:
        found = Queries(np.asarray(queries, dtype=np.float32), np.array(query_frame))
    found.check_inside(video.width, video.height, len(video))
    return found


class LiftJobs(Sequence[TrackingJob]):
    """The tracking jobs of a lift, made as they are asked for: a long video has thousands.

    The first is the queries over the whole video; one for each window follows, a grid of
    supporting points seeded in the window's first frame.

    Args:
        video: the frames.
        queries: of the first job.
        windows: of the others.
        support_grid: supporting points a side.
    """

    def __init__(
        self, video: Video, queries: Queries, windows: Sequence[Window], support_grid: int
    ) -> None:
        self._whole = TrackingJob(queries, range(len(video)))
        self._windows = windows
        self._seeds = grid_points(video.width, video.height, support_grid, support_grid)

    def __len__(self) -> int:
        return 1 + len(self._windows)

    @overload
    def __getitem__(self, index: int) -> TrackingJob: ...
    @overload
    def __getitem__(self, index: slice) -> list[TrackingJob]: ...
    def __getitem__(self, index: int | slice) -> TrackingJob | list[TrackingJob]:
        """Job ``index``; window i of the lift is job i + 1."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index == 0:
            return self._whole
        window = self._windows[index - 1]
        return TrackingJob(Queries(self._seeds, np.array(window.start)), window.frames)
