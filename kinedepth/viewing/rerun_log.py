"""The lifted tracks as a recording for the Rerun viewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import MissingExtraError
from kinedepth.tracks import Tracks3D
from kinedepth.viewing.colour_scale import colour_scale
from kinedepth.viewing.same_clip import check_same_clip

if TYPE_CHECKING:
    from kinedepth.video import Video

TAIL_FRAMES = 10
"""How many past frames the tail behind each point reaches back."""

_JPEG_QUALITY = 85
_BLOCK_FRAMES = 16


def import_rerun() -> Any:
    """The module ``rerun``.

    Raises:
        MissingExtraError: if the extra that brings it is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise MissingExtraError("rerun-sdk", "view") from error
    return rerun


def write_rerun(tracks3d: Tracks3D, path: Path, video: Video | None = None) -> None:
    """Write a ``.rrd`` recording of the tracks, and of the video if given, to ``path``.

    On the timeline ``frame`` it holds the camera and its pictures (``camera/picture``), the 2D
    points (``camera/points``), the 3D points (``points``) and their tails (``tails``), all as
    the camera of each frame sees them. Only visible points are logged.

    Args:
        tracks3d: the lifted tracks.
        path: the file to write.
        video: the clip that was tracked.

    Raises:
        MissingExtraError: if ``rerun-sdk`` is not installed.
        KinedepthError: if video and tracks differ in length or frame size.
    """
    rerun = import_rerun()
    from kinedepth.exporting.atomic import atomic_path

    if video is not None:
        check_same_clip(video, tracks3d)
    with atomic_path(path) as unfinished:
        recording = rerun.RecordingStream("kinedepth")
        recording.save(unfinished, default_blueprint=_layout())
        _log_camera(rerun, recording, tracks3d)
        _log_points(rerun, recording, tracks3d)
        if video is not None:
            _log_pictures(rerun, recording, video)
        recording.flush()
        recording.disconnect()  # closes the file


def _layout() -> Any:
    """Tracks in 3D beside the video."""
    from rerun import blueprint

    return blueprint.Blueprint(
        blueprint.Horizontal(
            # Dark, because unchanged depth is nearly white.
            blueprint.Spatial3DView(origin="/", name="Tracks in 3D", background=[18, 21, 26]),
            blueprint.Spatial2DView(origin="/camera", name="Video"),
            column_shares=[3, 2],
        ),
        collapse_panels=True,
    )


def _log_camera(rerun: Any, recording: Any, tracks3d: Tracks3D) -> None:
    camera = tracks3d.intrinsics
    recording.log("/", rerun.ViewCoordinates.RDF, static=True)
    depth = tracks3d.depth[np.isfinite(tracks3d.depth)]
    pinhole = rerun.Pinhole(
        focal_length=[camera.fx, camera.fy],
        principal_point=[camera.cx, camera.cy],
        resolution=[camera.width, camera.height],
        camera_xyz=rerun.ViewCoordinates.RDF,
        image_plane_distance=0.3 * float(np.median(depth)) if depth.size else 0.3,
    )
    recording.log("camera", pinhole, static=True)


def _log_points(rerun: Any, recording: Any, tracks3d: Tracks3D) -> None:
    usable = np.isfinite(tracks3d.xyz).all(-1) & tracks3d.tracks.visible
    colours = colour_scale(tracks3d).colours(tracks3d.log_ratio)
    for index in range(tracks3d.tracks.frames):
        recording.set_time("frame", sequence=index)
        shown = usable[index]
        pixels, points = tracks3d.tracks.xy[index, shown], tracks3d.xyz[index, shown]
        tint = colours[index, shown]
        # Negative radii are in pixels of the screen.
        recording.log("camera/points", rerun.Points2D(pixels, colors=tint, radii=-2.5))
        recording.log("points", rerun.Points3D(points, colors=tint, radii=-3.0))

        first = max(0, index - TAIL_FRAMES)
        if index > first:
            unbroken = usable[first : index + 1].all(0)
            tails = tracks3d.xyz[first : index + 1, unbroken].swapaxes(0, 1)
            tint = colours[index, unbroken]
            recording.log("tails", rerun.LineStrips3D(list(tails), colors=tint, radii=-0.8))


def _log_pictures(rerun: Any, recording: Any, video: Video) -> None:
    for first, block in video.blocks(_BLOCK_FRAMES):
        for index, frame in enumerate(block, start=first):
            recording.set_time("frame", sequence=index)
            picture = rerun.EncodedImage(contents=_jpeg(frame), media_type="image/jpeg")
            recording.log("camera/picture", picture)


def _jpeg(frame: NDArray[np.uint8]) -> bytes:
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), parameters)
    return encoded.tobytes()
