"""The main job: a video in, 3D tracks out. Reads like the paper's Figure 3.

frames -> tracker -> query tracks and supporting tracks of every window
       -> Seurat  -> log depth ratios in every window
       -> chained or fused over the video -> 3D tracks
       -> anchored to depth from elsewhere, if there is any -> 3D tracks in one scale
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinedepth.anchoring.anchor import Anchored, AnchorFit, check_fit
from kinedepth.anchoring.sources import Anchor, AnchorSource, open_anchor
from kinedepth.camera import DEFAULT_FIELD_OF_VIEW, Intrinsics
from kinedepth.devices import find_device
from kinedepth.errors import KinedepthError
from kinedepth.exporting.summary import Stopwatch
from kinedepth.seurat.checkpoint import load_checkpoint, read_calibration
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.estimation import estimate_windows
from kinedepth.seurat.uncertainty import log_ratio_std
from kinedepth.seurat.windows import Window, WindowEstimate, chain, fuse, plan_windows
from kinedepth.tracking.base import Tracker, TrackingJob
from kinedepth.tracking.registry import make_tracker
from kinedepth.tracks import GridQueries, Queries, Tracks, Tracks3D, grid, grid_points
from kinedepth.video import Video, load_video

WINDOW_STEPS = {"fused": (1, 2, 4), "chained": (1,)}
"""Frame steps of the windows that each method looks through."""

StageProgress = Callable[[str, int, int], None]
"""Called with the name of the stage, how much is done and how much there is."""


@dataclass(frozen=True)
class Lifted:
    """What :func:`lift` found.

    Attributes:
        tracks: the 3D tracks.
        video: what they were found in.
        seconds: how long each stage took.
        facts: what was run, in plain values.
    """

    tracks: Tracks3D
    video: Video
    seconds: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write tracks, summary, overlay film and 3D page into ``folder``."""
        from kinedepth.run_outputs import save_run

        save_run(self, Path(folder), overwrite=overwrite)


def lift(
    source: str | Path | Video,
    queries: GridQueries | Queries | ArrayLike | None = None,
    *,
    query_frame: int = 0,
    frames: str | slice | None = None,
    tracker: str | Tracker = "flow",
    model: str = "small",
    method: str = "fused",
    intrinsics: Intrinsics | tuple[float, float, float, float] | None = None,
    field_of_view: float | None = None,
    anchor: Anchor | AnchorSource | None = None,
    anchor_fit: AnchorFit = "robust",
    device: str = "auto",
    progress: StageProgress | None = None,
) -> Lifted:
    """Lift points of a video to 3D.

    Args:
        source: a video file, a folder or glob of images, a TAPVid-3D npz, or a ``Video``.
        queries: points to follow: ``grid(20)`` (the default), ``Queries``, or ``(N, 2)`` pixels
            (centres at +0.5). With a tracker that brings its own points, leave it out.
        query_frame: where a grid or plain pixels sit in time.
        frames: ``"start:stop:step"`` of the source's frames.
        tracker: a name or spec ("flow", "file:tracks.npz"), or an object with ``track``.
        model: a shipped model's name or a checkpoint file.
        method: "fused" (windows at several steps, joined by least squares) or "chained" (Eq. 9).
        intrinsics: ``(fx, fy, cx, cy)`` in pixels of the frame.
        field_of_view: degrees across the longer side, when the intrinsics are not known;
            the source's own intrinsics, then 60 degrees, are used if neither is given.
        anchor: depth that gives the tracks one scale: "file:PATH", "rigid", the name of a depth
            model, or depth itself (:func:`kinedepth.anchoring.open_anchor`).
        anchor_fit: "robust" or "paper" (Eq. 10-11).
        device: "auto", "cpu", "cuda" or "mps".
        progress: told how far each stage is.

    Returns:
        Tracks whose depth is 1 at each one's query frame: a track's own scale is not observable
        from its motion alone. With an anchor, tracks in one scale, unless ``facts["anchor"]``
        gives a reason why it could not tell it, of which a warning tells as well.

    Raises:
        KinedepthError: anything wrong with the input, in one sentence.
    """
    watch = Stopwatch()
    if method not in WINDOW_STEPS:
        raise KinedepthError(f"Unknown method '{method}'; choose 'fused' or 'chained'.")
    check_fit(anchor_fit)
    network = load_checkpoint(model, find_device(device))
    video = source if isinstance(source, Video) else load_video(source, frames)
    camera, camera_source = find_intrinsics(video, intrinsics, field_of_view)
    follower = make_tracker(tracker) if isinstance(tracker, str) else tracker
    # Opened before the long work, so that an anchor that does not fit is told at once.
    scale = None if anchor is None else open_anchor(anchor, video, device=find_device(device))

    with watch.stage("tracking"):
        config = network.config
        windows = plan_windows(len(video), config.window, config.stride, WINDOW_STEPS[method])
        if getattr(follower, "seeds_own_points", False):
            tracks, support = _own_points(follower, video, windows)
        else:
            wanted = find_queries(queries, video, query_frame)
            report = (lambda done, total: progress("tracking", done, total)) if progress else None
            tracks, support = follow(follower, video, wanted, windows, config, report)

    with watch.stage("seurat"):
        report = (lambda done, total: progress("seurat", done, total)) if progress else None
        size = (video.width, video.height)
        estimates = estimate_windows(network, tracks, support, size, progress=report)

    with watch.stage("joining"):
        log_ratio = join(estimates, tracks, method)
        std = log_ratio_std(estimates, log_ratio, tracks.query_frame, read_calibration(model))

    tracks_3d = Tracks3D(
        xyz=camera.unproject(tracks.xy, np.exp(log_ratio)).astype(np.float32),
        log_ratio=log_ratio,
        tracks=tracks,
        intrinsics=camera,
        log_ratio_std=std,
    )
    anchored = None
    if scale is not None:
        with watch.stage("anchoring"):
            report = (lambda done, total: progress("anchoring", done, total)) if progress else None
            anchored = scale.anchor(tracks_3d, video, anchor_fit, report)
            tracks_3d = anchored.tracks
    facts = {
        "source": video.name,
        "frames": len(video),
        "size": [video.width, video.height],
        "tracks": len(tracks),
        "tracker": getattr(follower, "name", type(follower).__name__),
        "model": config.name,
        "method": method,
        "windows": len(windows),
        "intrinsics": camera.as_vector().tolist(),
        "intrinsics_source": camera_source,
        "device": str(next(network.parameters()).device),
        **_scale_facts(scale, anchored),
    }
    return Lifted(tracks_3d, video, dict(watch.seconds), facts)


def _scale_facts(source: AnchorSource | None, anchored: Anchored | None) -> dict[str, Any]:
    """What the summary says of the scale of depth."""
    own = "each track has depth 1 at its query frame"
    if source is None or anchored is None:
        return {"scale": own}
    facts = {"source": source.name, **anchored.facts, "reason": anchored.reason}
    if anchored.reason:
        warnings.warn(f"Depth stays relative: {anchored.reason}.", stacklevel=3)
        return {"scale": own, "anchor": facts}
    return {"scale": anchored.unit, "anchor": facts}


def join(estimates: list[WindowEstimate], tracks: Tracks, method: str) -> NDArray[np.float32]:
    """Log depth ratio ``(T, N)`` to each track's query frame from the windows' estimates."""
    joined = (fuse if method == "fused" else chain)(estimates, tracks.frames)
    at_query = joined[tracks.query_frame, np.arange(len(tracks))]
    return (joined - at_query).astype(np.float32)


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
        " (assumed)" if field_of_view is None else ""
    )


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


def follow(
    tracker: Tracker,
    video: Video,
    queries: Queries,
    windows: list[Window],
    config: SeuratConfig,
    progress: Callable[[int, int], None] | None,
) -> tuple[Tracks, dict[Window, Tracks]]:
    """Query tracks over the video, and a grid of supporting tracks through each window."""
    seeds = grid_points(video.width, video.height, config.support_grid, config.support_grid)
    jobs = [TrackingJob(queries, range(len(video)))]
    jobs += [TrackingJob(Queries(seeds, np.array(w.start)), w.frames) for w in windows]
    found = dict(tracker.track(video, jobs, progress))
    return found[0], {window: found[index + 1] for index, window in enumerate(windows)}


def _own_points(
    tracker: Tracker, video: Video, windows: list[Window]
) -> tuple[Tracks, dict[Window, Tracks]]:
    """Tracks of someone else as queries, and as support those seen when a window begins."""
    nothing = Queries(np.zeros((1, 2), np.float32), np.array(0))
    (_, tracks), *_ = tracker.track(video, [TrackingJob(nothing, range(len(video)))])
    support = {}
    for window in windows:
        frames = list(window.frames)
        # With nothing seen at first there is nothing to compare with; all tracks then stand in.
        seen = tracks.visible[frames[0]]
        chosen = np.flatnonzero(seen) if seen.any() else np.arange(len(tracks))
        support[window] = Tracks(
            tracks.xy[frames][:, chosen], tracks.visible[frames][:, chosen], np.array(0)
        )
    return tracks, support
