"""The main job: a video in, 3D tracks out. Reads like the paper's Figure 3.

frames -> tracker -> query tracks and supporting tracks of every window
       -> Seurat  -> log depth ratios in every window
       -> chained or fused over the video -> 3D tracks
       -> refined by what moves as one (not in the paper; rigid=False leaves it out)
       -> anchored to depth from elsewhere, if there is any -> 3D tracks in one scale
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from kinedepth.anchoring.anchor import Anchored, AnchorFit, check_fit
from kinedepth.anchoring.sources import Anchor, AnchorSource, open_anchor
from kinedepth.camera import Intrinsics
from kinedepth.devices import find_device
from kinedepth.exporting.summary import Stopwatch
from kinedepth.lifting.joining import join
from kinedepth.lifting.ratios import estimate
from kinedepth.lifting.rigid import refine
from kinedepth.lifting.setup import LiftSetup, prepare_lift
from kinedepth.lifting.stored import StoredTracks3D
from kinedepth.lifting.tracks2d import track
from kinedepth.lifting.work import LiftWork, WorkInMemory
from kinedepth.tracking.base import Tracker
from kinedepth.tracks import GridQueries, Queries, Tracks3D
from kinedepth.video import Video

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
    rigid: bool = True,
    intrinsics: Intrinsics | tuple[float, float, float, float] | None = None,
    field_of_view: float | None = None,
    anchor: Anchor | AnchorSource | None = None,
    anchor_fit: AnchorFit = "robust",
    device: str = "auto",
    progress: StageProgress | None = None,
) -> Lifted:
    """Lift points of a video to 3D.

    All tracks lie in memory; :class:`kinedepth.lifting.run.LiftRun` writes those of a video of
    any length to a folder, and goes on where it was stopped.

    Args:
        source: a video file, a folder or glob of images, a TAPVid-3D npz, or a ``Video``.
        queries: points to follow: ``grid(20)`` (the default), ``Queries``, or ``(N, 2)`` pixels
            (centres at +0.5). With a tracker that brings its own points, leave it out.
        query_frame: where a grid or plain pixels sit in time.
        frames: ``"start:stop:step"`` of the source's frames.
        tracker: a name or spec ("flow", "file:tracks.npz"), or an object with ``track``.
        model: a shipped model's name or a checkpoint file.
        method: "fused" (windows at several steps, joined by least squares) or "chained" (Eq. 9).
        rigid: let groups of points that move as one say, with the network, how depth changes.
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
    check_fit(anchor_fit)
    setup = prepare_lift(
        source,
        queries,
        query_frame=query_frame,
        frames=frames,
        tracker=tracker,
        model=model,
        method=method,
        rigid=rigid,
        intrinsics=intrinsics,
        field_of_view=field_of_view,
        device=device,
    )
    # Opened before the long work, so that an anchor that does not fit is told at once.
    opened = None
    if anchor is not None:
        opened = open_anchor(anchor, setup.video, device=find_device(device))
    relative = find_tracks(setup, WorkInMemory(), watch, progress).whole()
    tracks, scale = find_scale(relative, setup.video, opened, anchor_fit, watch, progress)
    facts = {**setup.facts(len(tracks)), **scale}
    return Lifted(tracks, setup.video, dict(watch.seconds), facts)


def find_tracks(
    setup: LiftSetup,
    work: LiftWork,
    watch: Stopwatch,
    progress: StageProgress | None = None,
) -> StoredTracks3D:
    """Relative 3D tracks, found in stages, each from where ``work`` says it was stopped."""
    with watch.stage("tracking"):
        tracks, support = track(setup, work, _told(progress, "tracking"))
    with watch.stage("seurat"):
        ratios = estimate(setup, work, tracks, support, _told(progress, "seurat"))
    with watch.stage("joining"):
        joined = join(setup, work, ratios, _told(progress, "joining"))
    if not setup.rigid:
        return joined
    with watch.stage("rigid groups"):
        return refine(setup, work, joined, _told(progress, "rigid groups"))


def find_scale(
    tracks: Tracks3D,
    video: Video,
    anchor: AnchorSource | None,
    anchor_fit: AnchorFit,
    watch: Stopwatch,
    progress: StageProgress | None = None,
) -> tuple[Tracks3D, dict[str, Any]]:
    """Tracks in the anchor's scale, if there is one, and what the summary says of the scale."""
    if anchor is None:
        return tracks, OWN_SCALE
    with watch.stage("anchoring"):
        anchored = anchor.anchor(tracks, video, anchor_fit, _told(progress, "anchoring"))
    return anchored.tracks, _scale_facts(anchor, anchored)


OWN_SCALE: dict[str, Any] = {"scale": "each track has depth 1 at its query frame"}
"""What the summary says of the scale of tracks that are not anchored."""


def _scale_facts(source: AnchorSource, anchored: Anchored) -> dict[str, Any]:
    facts = {"source": source.name, **anchored.facts, "reason": anchored.reason}
    if anchored.reason:
        warnings.warn(f"Depth stays relative: {anchored.reason}.", stacklevel=4)
        return {**OWN_SCALE, "anchor": facts}
    return {"scale": anchored.unit, "anchor": facts}


def _told(progress: StageProgress | None, stage: str) -> Callable[[int, int], None] | None:
    return functools.partial(progress, stage) if progress else None
