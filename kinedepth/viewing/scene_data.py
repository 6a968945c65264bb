"""The numbers inside the 3D page: tracks as small integers, pictures as small JPEGs.

Everything is JSON; arrays are base64 of little-endian integers in C order. The page's script
hands the integers to the graphics card as they are and scales them there.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.tracks import GUESSED_SCALE_STD, LiftedTracks, Tracks3D
from kinedepth.viewing.colour_scale import ColourScale, colour_scale, has_common_scale
from kinedepth.viewing.hollowness import FULL_STD, HOLLOW_STD, LARGEST_STD, tame_std
from kinedepth.viewing.sampling import sample_step

if TYPE_CHECKING:
    from kinedepth.video import Video

MOST_ENTRIES = 900_000
"""Most positions (frames x tracks) a page holds; beyond, frames are skipped.

Each takes six bytes of position, two of log ratio, one of its standard deviation and a bit of
visibility, and base64 makes four of three: about 11 MB."""

MOST_TRACKS = 20_000
"""Most tracks a page holds; beyond, tracks are skipped too."""

MOST_PICTURES = 60
PICTURE_WIDTH = 320
PICTURE_BYTES = 3_500_000
"""Limits of the video's pictures in the page; the bytes are of all together in base64."""

_BLOCK_FRAMES = 16


@dataclass(frozen=True)
class Selection:
    """Which frames and tracks of the clip the page holds.

    Attributes:
        frames: of the clip, ascending with a constant step.
        tracks: of the clip, ascending with a constant step.
    """

    frames: range
    tracks: range


def select(lifted: LiftedTracks) -> Selection:
    """Everything if it fits; else every k-th frame, and of very many tracks every k-th."""
    count, frames = len(lifted), lifted.frames
    tracks = range(0, count, max(1, math.ceil(count / MOST_TRACKS)))
    step = max(sample_step(lifted), math.ceil(frames * len(tracks) / MOST_ENTRIES))
    return Selection(range(0, frames, step), tracks)


def pack_scene(lifted: LiftedTracks, selection: Selection) -> dict[str, Any]:
    """The tracks as the page reads them.

    Positions are stored on a grid of 65536 steps a side in the box ``low`` to ``high``, log
    ratios on one of 65535 steps in ``-largest`` to ``largest``; both are exact to half a step.
    Positions far outside the bulk of the scene are first moved along their ray to its edge,
    and the few without a usable depth get their track's median and count as hidden. Standard
    deviations are stored in 255 steps of 0 to ``largest``.
    """
    tracks3d = lifted.cut(selection.frames)
    xyz, visible, moved = _tame_positions(tracks3d)
    columns = slice(selection.tracks.start, selection.tracks.stop, selection.tracks.step)
    xyz, visible = xyz[:, columns], visible[:, columns]
    log_ratio = _tame_log_ratio(tracks3d)[:, columns]
    camera = tracks3d.intrinsics

    # The initial values serve clips without any track.
    low, high = xyz.min((0, 1), initial=np.inf), xyz.max((0, 1), initial=-np.inf)
    low = np.where(np.isfinite(low), low, 0.0)
    high = np.maximum(high, low + 1e-6)
    largest = float(np.abs(log_ratio).max(initial=1e-6))
    scales = [colour_scale(lifted, "ratio")]
    if has_common_scale(tracks3d):
        scales.append(colour_scale(lifted, "depth"))
    return {
        "frames": len(selection.frames),
        "tracks": len(selection.tracks),
        "frameStep": selection.frames.step,
        "trackStep": selection.tracks.step,
        "clipFrames": lifted.frames,
        "clipTracks": len(lifted),
        "metric": tracks3d.metric,
        "commonScale": has_common_scale(tracks3d),
        "scale": _pack_scale_std(tracks3d, columns),
        "movedShare": moved,
        "camera": {
            "fx": camera.fx,
            "fy": camera.fy,
            "cx": camera.cx,
            "cy": camera.cy,
            "width": camera.width,
            "height": camera.height,
        },
        "position": {
            "low": low.tolist(),
            "high": high.tolist(),
            "data": _base64(np.rint((xyz - low) / (high - low) * 65535).astype("<u2")),
        },
        "logRatio": {
            "largest": largest,
            "data": _base64(np.rint(log_ratio / largest * 32767).astype("<i2")),
        },
        "uncertainty": _pack_uncertainty(tracks3d, columns),
        "cameraToWorld": _pack_poses(tracks3d),
        "visible": {"data": _base64(np.packbits(visible, bitorder="little"))},
        "queryFrame": lifted.query_frame[columns].tolist(),
        "focus": _focus(xyz[visible] if visible.any() else xyz.reshape(-1, 3)),
        "guides": _guides(xyz[..., 2], has_common_scale(tracks3d), " m" if tracks3d.metric else ""),
        "scales": {scale.by: _pack_scale(scale) for scale in scales},
    }


def pack_pictures(video: Video, lifted: LiftedTracks, selection: Selection) -> dict[str, Any]:
    """Small pictures of the video, and its colour where each track was queried.

    Streams the video once. Returns the keys ``pictures``, a list of the shown frame's number
    and its JPEG in base64, and ``videoColour``, ``(N, 3)`` uint8 RGB.
    """
    columns = np.asarray(selection.tracks, dtype=np.int64)
    query_frame, query_xy = lifted.query_frame[columns], lifted.queries_xyt[columns, :2]
    pixel = np.clip(np.floor(query_xy), 0, [video.width - 1, video.height - 1]).astype(int)
    colour = np.full((len(columns), 3), 200, np.uint8)

    every = math.ceil(len(selection.frames) / MOST_PICTURES)
    wanted = {selection.frames[shown]: shown for shown in range(0, len(selection.frames), every)}
    width = min(PICTURE_WIDTH, video.width)
    size = (width, max(1, round(video.height * width / video.width)))
    small: list[tuple[int, NDArray[np.uint8]]] = []
    for first, block in video.blocks(_BLOCK_FRAMES):
        for index, frame in enumerate(block, start=first):
            here = np.flatnonzero(query_frame == index)
            colour[here] = frame[pixel[here, 1], pixel[here, 0]]
            if index in wanted:
                picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
                small.append((wanted[index], np.asarray(picture, np.uint8)))
    return {
        "pictures": [{"frame": shown, "jpeg": jpeg} for shown, jpeg in _within_budget(small)],
        "videoColour": {"data": _base64(colour)},
    }


def _within_budget(pictures: list[tuple[int, NDArray[np.uint8]]]) -> list[tuple[int, str]]:
    """The pictures as base64 JPEGs, at the best quality at which all of them fit."""
    encoded: list[tuple[int, str]] = []
    for quality in (82, 65, 45, 25):
        encoded = []
        for shown, rgb in pictures:
            parameters = [cv2.IMWRITE_JPEG_QUALITY, quality]
            _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), parameters)
            encoded.append((shown, base64.b64encode(jpeg.tobytes()).decode("ascii")))
        if sum(len(text) for _, text in encoded) <= PICTURE_BYTES:
            break
    return encoded


def _tame_positions(
    tracks3d: Tracks3D,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], float]:
    """Finite positions ``(T, N, 3)`` near the bulk, visibility, and the share that moved.

    One wild depth would otherwise stretch the box, coarsen its grid and make everything else a
    speck. Points move along their ray, so that they stay on their pixel.
    """
    xyz = tracks3d.xyz.astype(np.float64)
    usable = np.isfinite(xyz).all(-1) & (xyz[..., 2] > 0)
    visible = tracks3d.tracks.visible & usable
    camera = tracks3d.intrinsics

    depth = np.where(usable, xyz[..., 2], np.nan)
    judged = depth[visible] if visible.any() else depth[usable]
    if judged.size == 0:
        judged = np.ones(1)
    nearest, farthest = np.percentile(judged, [1, 99]) * [0.4, 2.5]
    overall = float(np.median(judged))
    for track in np.flatnonzero(~usable.all(0)):
        own = depth[usable[:, track], track]
        depth[~usable[:, track], track] = np.median(own) if own.size else overall
    tamed = np.clip(depth, nearest, farthest)

    pixel_ray = camera.unproject(tracks3d.tracks.xy.astype(np.float64), np.ones(depth.shape))
    divisor = np.where(usable, xyz[..., 2], 1)[..., None]
    ray = np.where(usable[..., None], xyz / divisor, pixel_ray)
    # One frame size beyond each edge holds every point worth showing.
    corners = np.array([[-1.0, -1.0], [2.0, 2.0]]) * [camera.width, camera.height]
    edge = camera.unproject(corners, np.ones(2))[:, :2]
    tame_ray = np.clip(ray[..., :2], edge[0], edge[1])
    moved = (tamed != depth) | (tame_ray != ray[..., :2]).any(-1) | ~usable
    ray[..., :2] = tame_ray
    return ray * tamed[..., None], visible, float(moved.mean()) if moved.size else 0.0


def _tame_log_ratio(tracks3d: Tracks3D) -> NDArray[np.float64]:
    """Finite log ratios within a factor of 1000, far beyond any colour scale."""
    return np.clip(np.nan_to_num(tracks3d.log_ratio.astype(np.float64)), -6.9, 6.9)


def _pack_uncertainty(tracks3d: Tracks3D, columns: slice) -> dict[str, Any] | None:
    """Standard deviation of the log ratio, and between which of them points turn hollow."""
    if tracks3d.log_ratio_std is None:
        return None
    std = tame_std(tracks3d.log_ratio_std[:, columns])
    largest = float(std.max(initial=1e-3))
    return {
        "full": FULL_STD,
        "hollow": HOLLOW_STD,
        "largest": largest,
        "data": _base64(np.rint(std / largest * 255).astype(np.uint8)),
    }


def _pack_poses(tracks3d: Tracks3D) -> dict[str, Any] | None:
    """Of each shown frame, the upper three rows of the matrix from camera to world."""
    if tracks3d.extrinsics_w2c is None:
        return None
    to_world = np.linalg.inv(tracks3d.extrinsics_w2c.astype(np.float64))
    return {"data": _base64(to_world[:, :3].astype("<f4"))}


def _pack_scale_std(tracks3d: Tracks3D, columns: slice) -> dict[str, Any] | None:
    """How unsure each track's scale is, and which ones lie at the depth of their neighbours."""
    if tracks3d.log_scale_std is None:
        return None
    std = tracks3d.log_scale_std[columns]
    return {
        "largest": LARGEST_STD,
        "data": _base64(np.rint(tame_std(std) / LARGEST_STD * 65535).astype("<u2")),
        "guessed": np.flatnonzero(std >= GUESSED_SCALE_STD).tolist(),
    }


def _focus(points: NDArray[np.float64]) -> dict[str, float]:
    """Median depth of ``points (M, 3)`` and the distance from the camera that holds the bulk."""
    if len(points) == 0:
        points = np.array([[0.0, 0.0, 1.0]])
    radius = float(np.percentile(np.linalg.norm(points, axis=1), 90))
    return {"depth": float(np.median(points[:, 2])), "radius": radius}


def _guides(depth: NDArray[np.float64], common: bool, unit: str) -> list[dict[str, Any]]:
    """Round depths at which the page draws the camera's field of view, with their labels."""
    low, high = np.percentile(depth, [5, 95]) if depth.size else (1.0, 1.0)
    if not common:
        near_and_far = [d for d in (0.125, 0.25, 0.5, 2.0, 4.0, 8.0) if low < d < high]
        return [{"depth": d, "label": f"depth {d:g}"} for d in sorted([1.0, *near_and_far])]
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    round_depths = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    inside = [d for d in round_depths if low < d < high] or [float(low)]
    prefix = "" if unit else "depth "
    return [{"depth": d, "label": f"{prefix}{d:.3g}{unit}"} for d in inside[-4:]]


def _pack_scale(scale: ColourScale) -> dict[str, Any]:
    ticks = [{"at": at, "word": word, "figure": figure} for at, word, figure in scale.ticks()]
    return {
        "low": scale.low,
        "high": scale.high,
        "ticks": ticks,
        "table": _base64(scale.table),
    }


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
