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
from kinedepth.viewing.hollowness import hole_shares
from kinedepth.viewing.same_clip import check_same_clip

if TYPE_CHECKING:
    from kinedepth.video import Video

TAIL_FRAMES = 10
"""How many past frames the tail behind each point reaches back."""

_SURE_RADIUS, _UNSURE_RADIUS = 3.0, 1.2
"""Pixels. This viewer knows no hollow points, and no transparent ones; unsure ones are small."""

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
    the camera of each frame sees them. Only visible points are logged. Where the tracks know
    how unsure they are, unsure points are smaller and carry their ``log_ratio_std``. Where they
    know how the camera moved, the same is there as it lies in the world (``world/points``,
    ``world/tails``, ``world/camera`` and its ``world/path``), in a view of its own.

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
        world = tracks3d.extrinsics_w2c is not None
        recording.save(unfinished, default_blueprint=_layout(world))
        _log_camera(rerun, recording, tracks3d)
        _log_points(rerun, recording, tracks3d)
        if world:
            _log_world(rerun, recording, tracks3d)
        if video is not None:
            _log_pictures(rerun, recording, video)
        recording.flush()
        recording.disconnect()  # closes the file


def _layout(world: bool) -> Any:
    """Tracks in 3D beside the video; with a second tab for the world where it is known."""
    from rerun import blueprint

    dark = [18, 21, 26]  # because unchanged depth is nearly white
    name = "Tracks in 3D"
    around: Any = blueprint.Spatial3DView(
        origin="/", contents=["+ /**", "- /world/**"], name=name, background=dark
    )
    if world:
        in_world = blueprint.Spatial3DView(origin="/world", name="In the world", background=dark)
        around = blueprint.Tabs(around, in_world)
    return blueprint.Blueprint(
        blueprint.Horizontal(
            around,
            blueprint.Spatial2DView(origin="/camera", name="Video"),
            column_shares=[3, 2],
        ),
        collapse_panels=True,
    )


def _log_camera(rerun: Any, recording: Any, tracks3d: Tracks3D) -> None:
    recording.log("/", rerun.ViewCoordinates.RDF, static=True)
    recording.log("camera", _pinhole(rerun, tracks3d), static=True)


def _pinhole(rerun: Any, tracks3d: Tracks3D) -> Any:
    camera = tracks3d.intrinsics
    depth = tracks3d.depth[np.isfinite(tracks3d.depth)]
    return rerun.Pinhole(
        focal_length=[camera.fx, camera.fy],
        principal_point=[camera.cx, camera.cy],
        resolution=[camera.width, camera.height],
        camera_xyz=rerun.ViewCoordinates.RDF,
        image_plane_distance=0.3 * float(np.median(depth)) if depth.size else 0.3,
    )


def _log_points(rerun: Any, recording: Any, tracks3d: Tracks3D) -> None:
    usable = _usable(tracks3d)
    colours = colour_scale(tracks3d).colours(tracks3d.log_ratio)
    for index in range(tracks3d.tracks.frames):
        recording.set_time("frame", sequence=index)
        shown = usable[index]
        pixels = tracks3d.tracks.xy[index, shown]
        tint = colours[index, shown]
        # Negative radii are in pixels of the screen.
        recording.log("camera/points", rerun.Points2D(pixels, colors=tint, radii=-2.5))
    _log_tracks(rerun, recording, tracks3d, tracks3d.xyz, "")


def _log_world(rerun: Any, recording: Any, tracks3d: Tracks3D) -> None:
    """The points where they are in the world, and the camera on its way through it."""
    assert tracks3d.extrinsics_w2c is not None
    to_world = np.linalg.inv(tracks3d.extrinsics_w2c.astype(np.float64))
    rotation, centre = to_world[:, :3, :3], to_world[:, :3, 3]
    xyz = np.einsum("tij,tnj->tni", rotation, tracks3d.xyz) + centre[:, None]
    recording.log("world", rerun.ViewCoordinates.RDF, static=True)
    recording.log("world/camera", _pinhole(rerun, tracks3d), static=True)
    path = rerun.LineStrips3D([centre], colors=[[150, 158, 170]], radii=-1.0)
    recording.log("world/path", path, static=True)
    for index in range(tracks3d.tracks.frames):
        recording.set_time("frame", sequence=index)
        pose = rerun.Transform3D(translation=centre[index], mat3x3=rotation[index])
        recording.log("world/camera", pose)
    _log_tracks(rerun, recording, tracks3d, xyz, "world/")


def _log_tracks(
    rerun: Any, recording: Any, tracks3d: Tracks3D, xyz: NDArray[np.floating], prefix: str
) -> None:
    """Points and tails at ``xyz (T, N, 3)``, under names that begin with ``prefix``."""
    usable = _usable(tracks3d)
    colours = colour_scale(tracks3d).colours(tracks3d.log_ratio)
    holes = hole_shares(tracks3d, "ratio")
    for index in range(tracks3d.tracks.frames):
        recording.set_time("frame", sequence=index)
        shown = usable[index]
        radii: Any = -_SURE_RADIUS
        if holes is not None:
            radii = (_SURE_RADIUS - _UNSURE_RADIUS) * holes[index, shown] - _SURE_RADIUS
        points = rerun.Points3D(xyz[index, shown], colors=colours[index, shown], radii=radii)
        known = []
        if tracks3d.log_ratio_std is not None:
            known = [rerun.AnyValues(log_ratio_std=tracks3d.log_ratio_std[index, shown])]
        recording.log(f"{prefix}points", points, *known)

        first = max(0, index - TAIL_FRAMES)
        if index > first:
            unbroken = usable[first : index + 1].all(0)
            tails = xyz[first : index + 1, unbroken].swapaxes(0, 1)
            tint = colours[index, unbroken]
            recording.log(
                f"{prefix}tails", rerun.LineStrips3D(list(tails), colors=tint, radii=-0.8)
            )


def _usable(tracks3d: Tracks3D) -> NDArray[np.bool_]:
    """``(T, N)`` points that are seen and have a place."""
    return np.isfinite(tracks3d.xyz).all(-1) & tracks3d.tracks.visible


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
