"""A lift of a video of any length into a folder, in a way that survives being stopped.

frames -> 2D tracks -> ratios in windows -> joined    into arrays in a hidden folder of the output
                                                      folder, with checkpoints all along
arrays -> tracks.npz, overlay.mp4, scene.html, ...    some frames at a time
       -> summary.json; then the hidden folder goes

Nothing that grows with the length of the video is held in memory, unless tracks are anchored:
anchors need whole tracks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kinedepth
from kinedepth import hub
from kinedepth._run_folder import check_folder, check_same_run, fingerprint
from kinedepth.anchoring.anchor import AnchorFit, check_fit
from kinedepth.anchoring.sources import AnchorSource
from kinedepth.exporting.atomic import RUN_FILES, prepare_output_folder
from kinedepth.exporting.summary import Stopwatch
from kinedepth.lifting.pipeline import OWN_SCALE, StageProgress, find_scale, find_tracks
from kinedepth.lifting.setup import LiftSetup
from kinedepth.lifting.work import WorkOnDisk
from kinedepth.run_outputs import write_outputs
from kinedepth.seurat.checkpoint import find_model
from kinedepth.tracks import LiftedTracks

UNFINISHED = ".unfinished-lift"
"""Folder inside the output folder that holds what is done of a run."""

_WRITING = "writing"


@dataclass(frozen=True)
class LiftResult:
    """What a run left.

    Attributes:
        written: the files, ``summary.json`` last.
        facts: what was run, in plain values.
        seconds: what each stage took; of a run that was stopped, since it went on.
    """

    written: list[Path]
    facts: dict[str, Any]
    seconds: dict[str, float]


def check_lift_folder(folder: Path, resume: bool = False, overwrite: bool = False) -> None:
    """Raise KinedepthError unless a run may begin, or go on, in ``folder``; change nothing.

    Asked before the work begins, so that nobody waits for results that have no place to go.
    """
    unfinished = WorkOnDisk.is_at(folder / UNFINISHED)
    check_folder(folder, RUN_FILES, unfinished, resume, overwrite)


@dataclass(frozen=True)
class LiftRun:
    """A lift into a folder.

    Attributes:
        setup: what to lift, see :func:`kinedepth.lifting.setup.prepare_lift`.
        folder: where the results go.
        anchor: depth that gives the tracks one scale; None for relative depth.
        anchor_fit: "robust" or "paper".
        tell: shows the user a sentence.
        progress: told how far each stage is.
    """

    setup: LiftSetup
    folder: Path
    anchor: AnchorSource | None = None
    anchor_fit: AnchorFit = "robust"
    tell: Callable[[str], None] = lambda sentence: None
    progress: StageProgress | None = None

    def run(self, resume: bool = False, overwrite: bool = False) -> LiftResult:
        """Find the tracks and write everything.

        Args:
            resume: go on with what an earlier run left unfinished, if there is something. On the
                same kind of device and with as many threads, the files are then the same to the
                last byte as those of a run that was never stopped, but for the summary.
            overwrite: replace an earlier run, finished or not.

        Raises:
            KinedepthError: anything wrong with the input, or a full disk; what was done stays
                in the folder and can be gone on with.
        """
        check_lift_folder(self.folder, resume, overwrite)
        check_fit(self.anchor_fit)
        work = self._open_work(resume)
        with work:
            try:
                result = self._lift(work, replace=overwrite or resume)
            except BaseException:
                if work.has_begun:
                    kept = f"What is done of the lift is kept in {self.folder}"
                    self.tell(f"{kept}; run the same command with --resume to go on.")
                else:
                    work.remove()  # Nothing is lost, and the next run need not be told about it.
                raise
            work.remove()
        return result

    def _open_work(self, resume: bool) -> WorkOnDisk:
        place, header = self.folder / UNFINISHED, self._header()
        if resume and WorkOnDisk.is_at(place):
            work = WorkOnDisk.open(place)
            check_same_run(work.header, header, self.folder)
            return work
        if resume:
            self.tell(f"{self.folder} holds nothing to go on with; starting at frame 0.")
        return WorkOnDisk.create(place, header)

    def _header(self) -> dict[str, Any]:
        """Everything that the tracks depend on."""
        setup = self.setup
        asked: dict[str, Any] = {
            "method": setup.method,
            "rigid": setup.rigid,
            "tracker": setup.tracker_name,
            "intrinsics": setup.camera.as_vector().tolist(),
        }
        if setup.queries is not None:
            points = setup.queries.xy.tobytes() + setup.queries.frame.tobytes()
            asked["queries"] = hashlib.sha256(points).hexdigest()
        tracks = getattr(setup.tracker, "path", None)
        if tracks is not None and Path(tracks).is_file():
            asked["tracks"] = hub.sha256_of(Path(tracks))
        if self.anchor is not None:
            asked |= {"anchor": self.anchor.name, "anchor_fit": self.anchor_fit}
        return {
            "video": fingerprint(setup.video),
            "model": setup.network.config.name,
            "weights": hub.sha256_of(find_model(setup.model)),
            "options": asked,
            "device": next(setup.network.parameters()).device.type,
            "kinedepth": kinedepth.__version__,
        }

    def _lift(self, work: WorkOnDisk, replace: bool) -> LiftResult:
        setup, watch = self.setup, Stopwatch()
        resumed_at = work.done("tracking")
        relative = find_tracks(setup, work, watch, self.progress)
        tracks: LiftedTracks = relative
        scale = OWN_SCALE
        if self.anchor is not None:
            tracks, scale = find_scale(
                relative.whole(), setup.video, self.anchor, self.anchor_fit, watch, self.progress
            )
        if not work.done(_WRITING):
            # From here on, every file of a run in the folder is one of this run, and whole.
            prepare_output_folder(self.folder, replace)
            work.checkpoint(_WRITING, 1)
        facts = {**setup.facts(len(tracks)), **scale, "resumed_at_frame": resumed_at or None}
        facts["seconds"] = dict(watch.seconds)
        written = write_outputs(tracks, setup.video, self.folder, facts, self.progress)
        return LiftResult(written, facts, dict(watch.seconds))
