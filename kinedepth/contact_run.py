"""A run of ``kinedepth ttc``: from a source and its frame rate to the files it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import RUN_FILES
from kinedepth.exporting.summary import Stopwatch, write_summary
from kinedepth.exporting.ttc_table import write_contact_table
from kinedepth.geometry.refining import refine_ratios
from kinedepth.lifting import Lifted
from kinedepth.lifting.setup import is_camera_known
from kinedepth.time_to_contact import TimeToContact
from kinedepth.video import Video, load_video
from kinedepth.viewing.ttc_overlay import write_contact_overlay

CONTACT_FILES = ("ttc.csv", "ttc.mp4", "summary.json")
"""What a run leaves; the summary comes last and says that it is complete."""

PERSISTENCE = 3
"""Frames in a row that have to agree before a point is warned of."""

StageProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ContactRun:
    """Time to contact of the points of a video.

    Attributes:
        lifted: the tracks.
        contact: their time to contact.
        warn: seconds to warn within; None for no warnings.
        window: seconds over which closing rates were read.
    """

    lifted: Lifted
    contact: TimeToContact
    warn: float | None
    window: float

    @cached_property
    def warned(self) -> NDArray[np.bool_]:
        """``(T, N)``: points warned of."""
        visible = self.lifted.tracks.tracks.visible
        if self.warn is None:
            return np.zeros_like(visible)
        return self.contact.warnings(self.warn, visible, PERSISTENCE)

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        times = self.contact.times
        return float((len(times) - 1) / (times[-1] - times[0]))

    def facts(self) -> dict[str, Any]:
        """What the summary says, in plain values."""
        frames = np.flatnonzero(self.warned.any(axis=1))
        return {
            **self.lifted.facts,
            "fps": self.fps,
            "window_seconds": self.window,
            "confidence": self.contact.confidence,
            "warn_seconds": self.warn,
            "warn_persistence_frames": PERSISTENCE,
            "warned_frames": len(frames),
            "warned_tracks": int(self.warned.any(axis=0).sum()),
            "first_warning_time": float(self.contact.times[frames[0]]) if len(frames) else None,
            "soonest": self._soonest(),
        }

    def _soonest(self) -> dict[str, float] | None:
        """The visible point whose latest time of contact is the smallest of the clip."""
        tracks = self.lifted.tracks.tracks
        latest = np.where(tracks.visible, self.contact.latest, np.inf)
        frame, track = np.unravel_index(int(np.argmin(latest)), latest.shape)
        if not np.isfinite(latest[frame, track]):
            return None
        x, y = tracks.xy[frame, track]
        return {
            "frame": int(frame),
            "track": int(track),
            "x": float(x),
            "y": float(y),
            "ttc": float(self.contact.seconds[frame, track]),
            "low": float(self.contact.soonest[frame, track]),
            "high": float(self.contact.latest[frame, track]),
        }


def load_timed_video(
    source: str, frames: str | None, fps: float | None
) -> tuple[Video, NDArray[np.float64]]:
    """A video and the seconds ``(T,)`` of its frames.

    Args:
        source: as of ``load_video``.
        frames: which of its frames.
        fps: of the source before frames are chosen; the video's own times if not given.

    Raises:
        KinedepthError: if the source has no times and no frame rate is given, the rate is not
            positive, or the video cannot be opened.
    """
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise KinedepthError(f"The frame rate has to be a positive number; got {fps}.")
    path = Path(source)
    if fps is None and (path.is_dir() or path.suffix.lower() == ".npz" or "*" in source):
        raise KinedepthError(f"{source} holds images without times; give their --fps.")
    video = load_video(source, frames)
    if fps is None:
        return video, video.times
    return video, video.times * (load_video(source).fps / fps)


def with_rigid_ratios(
    lifted: Lifted, times: NDArray[np.float64], progress: StageProgress | None = None
) -> Lifted:
    """``lifted`` with ratios of what moves as one (:func:`refine_ratios`).

    Args:
        lifted: the tracks.
        times: ``(T,)`` seconds of their frames.
        progress: told how far it is.
    """
    watch = Stopwatch()
    with watch.stage("rigid groups"):
        report = partial(progress, "rigid groups") if progress else None
        known = is_camera_known(lifted.facts["intrinsics_source"])
        tracks = refine_ratios(lifted.tracks, times, report, known)
    facts = {**lifted.facts, "rigid_groups": True}
    return replace(lifted, tracks=tracks, seconds={**lifted.seconds, **watch.seconds}, facts=facts)


def check_contact_folder(folder: Path, overwrite: bool = False) -> None:
    """Raise KinedepthError if a run could not be saved to ``folder``; change nothing."""
    if folder.exists() and not folder.is_dir():
        raise KinedepthError(f"{folder} is a file; give a folder to write the results into.")
    # The summary of a lift must not be replaced by one of another kind of run.
    foreign = [name for name in RUN_FILES if name != "summary.json" and (folder / name).exists()]
    if foreign:
        raise KinedepthError(f"{folder} holds {foreign[0]} of a lift; choose another folder.")
    earlier = [name for name in CONTACT_FILES if (folder / name).exists()]
    if earlier and not overwrite:
        raise KinedepthError(
            f"{folder} already holds {earlier[0]} of an earlier run; choose another folder or "
            f"add --overwrite."
        )


def save_run(
    run: ContactRun, folder: Path, overwrite: bool = False, progress: StageProgress | None = None
) -> None:
    """Write :data:`CONTACT_FILES` into ``folder``, each whole or not at all, the summary last.

    Raises:
        KinedepthError: if the folder holds another run, or a file cannot be written.
    """
    check_contact_folder(folder, overwrite)
    tell = progress or (lambda stage, done, total: None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in reversed(CONTACT_FILES):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise KinedepthError(f"{folder} cannot be written to ({error.strerror}).") from error
    tracks, watch = run.lifted.tracks.tracks, Stopwatch()
    with watch.stage("ttc.csv"):
        write_contact_table(folder / "ttc.csv", tracks, run.contact, run.warned)
    with watch.stage("ttc.mp4"):
        write_contact_overlay(
            run.lifted.video,
            tracks,
            run.contact,
            folder / "ttc.mp4",
            run.warned,
            run.fps,
            partial(tell, "ttc.mp4"),
        )
    seconds = {**run.lifted.seconds, **watch.seconds}
    write_summary(folder / "summary.json", {**run.facts(), "seconds": seconds})
