"""Everything that a run leaves in its output folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinedepth.exporting.atomic import prepare_output_folder
from kinedepth.exporting.summary import Stopwatch, write_summary
from kinedepth.exporting.tracks_file import save_tracks3d
from kinedepth.tracks import LiftedTracks
from kinedepth.video import Video
from kinedepth.viewing import write_overlay, write_rerun, write_scene_page

if TYPE_CHECKING:
    from kinedepth.lifting import Lifted

StageProgress = Callable[[str, int, int], None]
"""Called with the name of the stage, how much is done and how much there is."""


def save_run(
    lifted: Lifted,
    folder: Path,
    *,
    overwrite: bool = False,
    progress: StageProgress | None = None,
) -> list[Path]:
    """Write tracks, overlay film, 3D page and summary of a run into ``folder``.

    Where the Rerun SDK is installed, a recording is written as well. Each file appears whole or
    not at all. The tracks come first, because they are what took long to find; the summary
    comes last, so a folder that holds one is complete.

    Args:
        lifted: what was found.
        folder: created if need be.
        overwrite: replace an earlier run in ``folder``; other files in it are never touched.
        progress: told how far each file is.

    Returns:
        The files written, in that order.

    Raises:
        KinedepthError: if the folder holds an earlier run, or a file cannot be written.
    """
    folder = prepare_output_folder(folder, overwrite)
    facts = {**lifted.facts, "seconds": lifted.seconds}
    return write_outputs(lifted.tracks, lifted.video, folder, facts, progress)


def write_outputs(
    tracks: LiftedTracks,
    video: Video,
    folder: Path,
    facts: Mapping[str, Any],
    progress: StageProgress | None = None,
) -> list[Path]:
    """Write the files of a run that ``folder`` does not hold yet; what is there is of this run.

    Args:
        tracks: what was found; read some frames at a time.
        video: what it was found in.
        folder: see :func:`kinedepth.exporting.atomic.prepare_output_folder`.
        facts: for the summary; ``seconds`` of each stage are added to.
        progress: told how far each file is.

    Returns:
        The files of the run, the summary last.
    """
    watch = Stopwatch()
    tell = progress or (lambda stage, done, total: None)
    written: list[Path] = []

    def write(name: str, writer: Callable[[Path], None]) -> None:
        path = folder / name
        if not path.exists():
            tell(name, 0, 1)
            with watch.stage(name):
                writer(path)
            tell(name, 1, 1)
        written.append(path)

    write("tracks.npz", lambda path: save_tracks3d(path, tracks))
    overlay = "overlay.mp4"
    frames_drawn = partial(tell, overlay)
    write(overlay, lambda path: write_overlay(video, tracks, path, frames_drawn))
    write("scene.html", lambda path: write_scene_page(tracks, path, video, title=video.name))
    if importlib.util.find_spec("rerun") is not None:
        write("scene.rrd", lambda path: write_rerun(tracks, path, video))
    summary = folder / "summary.json"
    write_summary(summary, {**facts, "seconds": {**facts["seconds"], **watch.seconds}})
    return [*written, summary]
