"""Lifted tracks as an ``.npz`` in the layout of TAPVid-3D, with what that layout leaves out.

====================  =================  ==============================================
key                   shape, type        meaning
====================  =================  ==============================================
``tracks_XYZ``        (T, N, 3) float32  camera-space points; x right, y down, z forward
``visibility``        (T, N) bool        whether the point is seen
``queries_xyt``       (N, 3) float32     pixel and frame that each track starts from
``fx_fy_cx_cy``       (4,) float64       intrinsics in pixels
``tracks_xy``         (T, N, 2) float32  the 2D tracks, pixels (pixel centres at +0.5)
``log_ratio``         (T, N) float32     log of depth over depth at the query frame
``image_size``        (2,) int64         width and height in pixels
``metric``            () bool            whether ``tracks_XYZ`` is in metres
``log_ratio_std``     (T, N) float32     standard deviation of ``log_ratio``; may be missing
``extrinsics_w2c``    (T, 4, 4) float32  world to camera, where known; may be missing
``log_scale_std``     (N,) float32       standard error of the log scale of each track; only
                                         where tracks are anchored
====================  =================  ==============================================
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from kinedepth._safe_npz import load_arrays
from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path
from kinedepth.rows import npy_header
from kinedepth.tracks import LiftedTracks, Tracks, Tracks3D

_KEYS = (
    "visibility",
    "tracks_XYZ",
    "queries_xyt",
    "fx_fy_cx_cy",
    "tracks_xy",
    "log_ratio",
    "image_size",
    "metric",
)
_OPTIONAL = ("log_ratio_std", "extrinsics_w2c", "log_scale_std")

_BLOCK = 256
"""Frames of tracks in memory at a time."""


def save_tracks3d(path: str | Path, tracks: LiftedTracks) -> None:
    """Write ``tracks`` to ``path``, whole or not at all, some frames at a time.

    Raises:
        KinedepthError: if its shapes disagree or values are not finite, or the file cannot be
            written.
    """
    some = tracks.cut(range(min(1, tracks.frames)))
    arrays = _per_frame(some)
    per_frame = {key: (tracks.frames, *array.shape[1:]) for key, array in arrays.items()}
    camera = tracks.intrinsics
    fixed: dict[str, NDArray] = {
        "queries_xyt": tracks.queries_xyt,
        "fx_fy_cx_cy": camera.as_vector().astype(np.float64),
        "image_size": np.array([camera.width, camera.height], dtype=np.int64),
        "metric": np.array(tracks.metric, dtype=bool),
    }
    if some.log_scale_std is not None:
        fixed["log_scale_std"] = np.asarray(some.log_scale_std, dtype=np.float32)
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for key, array in fixed.items():
            with archive.open(f"{key}.npy", "w") as member:
                npy_format.write_array(member, array, allow_pickle=False)
        for key, shape in per_frame.items():
            # The size may pass 4 GiB, which has to be said before the first byte: zip64.
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                member.write(npy_header(shape, arrays[key].dtype))
                for first in range(0, tracks.frames, _BLOCK):
                    block = tracks.cut(range(first, min(first + _BLOCK, tracks.frames)))
                    values = _per_frame(block)
                    _check("These tracks", {**fixed, **values}, tracks.frames)
                    member.write(np.ascontiguousarray(values[key]).data)


def _per_frame(tracks3d: Tracks3D) -> dict[str, NDArray]:
    """What the file holds for each frame."""
    arrays: dict[str, NDArray] = {
        "tracks_XYZ": np.asarray(tracks3d.xyz, dtype=np.float32),
        "visibility": tracks3d.tracks.visible,
        "tracks_xy": tracks3d.tracks.xy,
        "log_ratio": np.asarray(tracks3d.log_ratio, dtype=np.float32),
    }
    for key in ("log_ratio_std", "extrinsics_w2c"):
        value = getattr(tracks3d, key)
        if value is not None:
            arrays[key] = np.asarray(value, dtype=np.float32)
    return arrays


def load_tracks3d(path: str | Path) -> Tracks3D:
    """Read what :func:`save_tracks3d` wrote.

    Raises:
        KinedepthError: if the file is missing, damaged, or does not hold what it should.
    """
    arrays = load_arrays(Path(path))
    _check(str(path), arrays)
    width, height = (int(value) for value in arrays["image_size"])
    fx, fy, cx, cy = (float(value) for value in arrays["fx_fy_cx_cy"])
    try:
        intrinsics = Intrinsics(fx, fy, cx, cy, width, height)
    except KinedepthError as error:
        raise KinedepthError(f"{path}: {error}") from error
    tracks = Tracks(
        xy=arrays["tracks_xy"],
        visible=arrays["visibility"],
        query_frame=arrays["queries_xyt"][:, 2].astype(np.int64),
    )
    return Tracks3D(
        xyz=arrays["tracks_XYZ"].astype(np.float32),
        log_ratio=arrays["log_ratio"].astype(np.float32),
        tracks=tracks,
        intrinsics=intrinsics,
        metric=bool(arrays["metric"]),
        **{key: arrays[key].astype(np.float32) for key in _OPTIONAL if key in arrays},
    )


def _check(source: str, arrays: dict[str, NDArray], clip_frames: int | None = None) -> None:
    """Raise unless ``arrays`` are complete, finite and of shapes that belong together.

    Args:
        source: named in the message.
        arrays: of a whole clip, or of some of its frames.
        clip_frames: of the whole clip; None where they are it.
    """
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise KinedepthError(
            f"{source} lacks {', '.join(missing)}; only files of lifted tracks can be read."
        )
    frames, points = (*arrays["visibility"].shape, 0, 0)[:2]
    shapes: dict[str, tuple[int, ...]] = {
        "visibility": (frames, points),
        "tracks_XYZ": (frames, points, 3),
        "queries_xyt": (points, 3),
        "fx_fy_cx_cy": (4,),
        "tracks_xy": (frames, points, 2),
        "log_ratio": (frames, points),
        "image_size": (2,),
        "metric": (),
        "log_ratio_std": (frames, points),
        "extrinsics_w2c": (frames, 4, 4),
        "log_scale_std": (points,),
    }
    for key, shape in shapes.items():
        if key not in arrays:
            continue
        array = arrays[key]
        if array.shape != shape or array.dtype.kind not in "fiub":
            raise KinedepthError(
                f"{source}: {key} has shape {array.shape} and type {array.dtype}, but numbers of "
                f"shape {shape} are needed."
            )
        if not np.isfinite(array).all():
            raise KinedepthError(f"{source}: {key} holds NaN or infinite values.")
    start, last = arrays["queries_xyt"][:, 2], (clip_frames or frames) - 1
    if ((start < 0) | (start > last) | (start != np.round(start))).any():
        raise KinedepthError(f"{source}: queries_xyt names frames that are not among 0 to {last}.")
