"""The lifted tracks as one HTML page that opens offline in any browser."""

from __future__ import annotations

import html
import json
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinedepth.tracks import LiftedTracks
from kinedepth.viewing.same_clip import check_same_clip
from kinedepth.viewing.scene_data import pack_pictures, pack_scene, select

if TYPE_CHECKING:
    from kinedepth.video import Video

SCRIPTS = (
    "clip.js",
    "state.js",
    "vectors.js",
    "space.js",
    "viewpoint.js",
    "shaders.js",
    "webgl.js",
    "renderer.js",
    "guides.js",
    "colours.js",
    "inset.js",
    "hover.js",
    "drawing.js",
    "gestures.js",
    "timeline.js",
    "settings.js",
    "words.js",
    "start.js",
)
"""The page's own viewer, in the order in which its files are joined: constants before their use."""

_ASSUMED_FPS = 25.0
"""Playback speed of tracks that come without their video."""


def write_scene_page(
    tracks: LiftedTracks,
    path: Path,
    video: Video | None = None,
    title: str = "Lifted tracks",
) -> None:
    """Write a page that shows the tracks in 3D over time, in one file, to ``path``.

    The page holds its own viewer and all its data, and loads nothing. 400 tracks over 48
    frames take about 0.3 MB, pictures about 1 MB more. From 900,000 positions
    (frames x tracks) or 1,500 frames on, every k-th frame is shown, which the page then says.

    Args:
        tracks: the lifted tracks.
        path: the ``.html`` file to write.
        video: the clip that was tracked; adds small pictures and the colours of the video.
        title: heading of the page, plain text.

    Raises:
        KinedepthError: if video and tracks differ in length or size.
    """
    from kinedepth.exporting.atomic import atomic_path

    if video is not None:
        check_same_clip(video, tracks)
    selection = select(tracks)
    scene = {"fps": _ASSUMED_FPS, "title": title, **pack_scene(tracks, selection)}
    if video is not None:
        scene["fps"] = video.fps
        scene.update(pack_pictures(video, tracks, selection))
    with atomic_path(path) as unfinished:
        Path(unfinished).write_text(_fill_template(title, scene), encoding="utf-8")


def viewer_script() -> str:
    """The files of :data:`SCRIPTS` as one script, whose names stay out of the page's global scope.

    Plain files that are joined need neither a build step nor modules, which browsers refuse to
    load from a file on disk.
    """
    files = "\n".join(_read_part(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{files}}})();'


def _read_part(name: str) -> str:
    folder = resources.files("kinedepth.viewing").joinpath("page")
    return folder.joinpath(name).read_text(encoding="utf-8")


def _fill_template(title: str, scene: dict[str, Any]) -> str:
    # "<" is escaped because "</script>" or "<!--" in a title would end the data early.
    data = json.dumps(scene, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "TITLE": html.escape(title),
        "STYLE": _read_part("style.css"),
        "SCENE": data,
        "SCRIPT": viewer_script(),
    }
    # One pass, so that a title that looks like a placeholder is not filled in turn.
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: parts[match[1]], _read_part("template.html"))
