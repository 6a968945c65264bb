"""The lifted tracks as a recording for the Rerun viewer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import MissingExtraError
from kinedepth.tracks import LiftedTracks, Tracks3D
from kinedepth.viewing.colour_scale import ColourScale, colour_scale
from kinedepth.viewing.hollowness import hole_shares
from kinedepth.viewing.same_clip import check_same_clip
from kinedepth.viewing.sampling import sample

if TYPE_CHECKING:
    from kinedepth.video import Video

TAIL_FRAMES = 10
"""How many past frames the tail behind each point reaches back."""

SURE_RADIUS, UNSURE_RADIUS = 3.0, 1.2
"""Pixels. This viewer knows no hollow points, and no transparent ones; unsure ones are small."""

_JPEG_QUALITY = 85
_BLOCK_FRAMES = 16
_TRACK_FRAMES = 128
"""Frames of tracks in memory at a time."""


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


def write_rerun(tracks: LiftedTracks, path: Path, video: Video | None = None) -> None:
    """Write a ``.rrd`` recording of the tracks, and of the video if given, to ``path``.

    On the timeline ``frame`` it holds the camera and its pictures (``camera/picture``), the 2D
    points (``camera/points``), the 3D points (``points``) and their tails (``tails``), all as
    the camera of each frame sees them. Only visible points are logged. Where the tracks know
    how unsure they are, unsure points are smaller and carry their ``log_ratio_std``. Where they
    know how the camera moved, the same is there as it lies in the world (``world/points``,
    ``world/tails``, ``world/camera`` and its ``world/path``), in a view of its own.

    Args:
        tracks: the lifted tracks.
        path: the file to write.
        video: the clip that was tracked.

    Raises:
        MissingExtraError: if ``rerun-sdk`` is not installed.
        KinedepthError: if video and tracks differ in length or frame size.
    """
    rerun = import_rerun()
    from kinedepth.exporting.atomic import atomic_path

    if video is not None:
        check_same_clip(video, tracks)
    sampled, colours = sample(tracks), colour_scale(tracks)
    with atomic_path(path) as unfinished:
        recording = rerun.RecordingStream("kinedepth")
        world = sampled.extrinsics_w2c is not None
        recording.save(unfinished, default_blueprint=_layout(world))
        _log_camera(rerun, recording, sampled)
        if world:
            _log_world(rerun, recording, sampled)
        for first in range(0, tracks.frames, _TRACK_FRAMES):
            before = max(0, first - TAIL_FRAMES)
            some = tracks.cut(range(before, min(first + _TRACK_FRAMES, tracks.frames)))
            part = _Part(rerun, recording, some, colours, before, first - before)
            part.log_pixels()
            part.log_tracks(some.xyz, "")
            if world:
                part.log_world()
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


def _log_world(rerun: Any, recording: Any, tracks3d: Tracks3D) -> None:
    """What does not change in the world: the camera's kind, and its way."""
    _, centre = _poses(tracks3d)
    recording.log("world", rerun.ViewCoordinates.RDF, static=True)
    recording.log("world/camera", _pinhole(rerun, tracks3d), static=True)
    path = rerun.LineStrips3D([centre], colors=[[150, 158, 170]], radii=-1.0)
    recording.log("world/path", path, static=True)


def _poses(tracks3d: Tracks3D) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotations ``(T, 3, 3)`` of the cameras in the world, and their centres ``(T, 3)``."""
    assert tracks3d.extrinsics_w2c is not None
    to_world = np.linalg.inv(tracks3d.extrinsics_w2c.astype(np.float64))
    return to_world[:, :3, :3], to_world[:, :3, 3]


@dataclass(frozen=True)
class _Part:
    """Some frames of the tracks on their way into a recording.

    Attributes:
        rerun, recording: the module, and what it writes.
        tracks3d: these frames, and before them those that tails need.
        scale: of the colours, for the whole clip.
        first: number of the first of the frames.
        skip: how many of them are there for tails only.
    """

    rerun: Any
    recording: Any
    tracks3d: Tracks3D
    scale: ColourScale
    first: int
    skip: int

    def log_pixels(self) -> None:
        """The points in the picture."""
        usable, colours = self._usable(), self._colours()
        for row in self._rows():
            shown = usable[row]
            pixels = self.tracks3d.tracks.xy[row, shown]
            # Negative radii are in pixels of the screen.
            points = self.rerun.Points2D(pixels, colors=colours[row, shown], radii=-2.5)
            self.recording.log("camera/points", points)

    def log_world(self) -> None:
        """The points where they are in the world, and the camera on its way through it."""
        rotation, centre = _poses(self.tracks3d)
        for row in self._rows():
            pose = self.rerun.Transform3D(translation=centre[row], mat3x3=rotation[row])
            self.recording.log("world/camera", pose)
        xyz = np.einsum("tij,tnj->tni", rotation, self.tracks3d.xyz) + centre[:, None]
        self.log_tracks(xyz, "world/")

    def log_tracks(self, xyz: NDArray[np.floating], prefix: str) -> None:
        """Points and tails at ``xyz (T, N, 3)``, under names that begin with ``prefix``."""
        usable, colours, rerun = self._usable(), self._colours(), self.rerun
        std, holes = self.tracks3d.log_ratio_std, hole_shares(self.tracks3d, "ratio")
        for row in self._rows():
            shown = usable[row]
            radii: Any = -SURE_RADIUS
            if holes is not None:
                radii = (SURE_RADIUS - UNSURE_RADIUS) * holes[row, shown] - SURE_RADIUS
            points = rerun.Points3D(xyz[row, shown], colors=colours[row, shown], radii=radii)
            known = [] if std is None else [rerun.AnyValues(log_ratio_std=std[row, shown])]
            self.recording.log(f"{prefix}points", points, *known)

            oldest = max(0, row - TAIL_FRAMES)
            if row > oldest:
                unbroken = usable[oldest : row + 1].all(0)
                tails = list(xyz[oldest : row + 1, unbroken].swapaxes(0, 1))
                strips = rerun.LineStrips3D(tails, colors=colours[row, unbroken], radii=-0.8)
                self.recording.log(f"{prefix}tails", strips)

    def _rows(self) -> Iterator[int]:
        """Rows to log, each with the recording's time set to its frame."""
        for row in range(self.skip, self.tracks3d.frames):
            self.recording.set_time("frame", sequence=self.first + row)
            yield row

    def _usable(self) -> NDArray[np.bool_]:
        """``(T, N)`` points that are seen and have a place."""
        return np.isfinite(self.tracks3d.xyz).all(-1) & self.tracks3d.tracks.visible

    def _colours(self) -> NDArray[np.uint8]:
        return self.scale.colours(self.tracks3d.log_ratio)


def _log_pictures(rerun: Any, recording: Any, video: Video) -> None:
    for first, block in video.blocks(_BLOCK_FRAMES):
        for index, frame in enumerate(block, start=first):
            recording.set_time("frame", sequence=index)
            picture = rerun.EncodedImage(contents=jpeg(frame), media_type="image/jpeg")
            recording.log("camera/picture", picture)


def jpeg(frame: NDArray[np.uint8]) -> bytes:
    """``frame (H, W, 3)`` uint8 RGB as a JPEG: pictures are most of a recording."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), parameters)
    return encoded.tobytes()
