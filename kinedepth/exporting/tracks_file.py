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

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinedepth._safe_npz import load_arrays
from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path
from kinedepth.tracks import Tracks, Tracks3D

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


def save_tracks3d(path: str | Path, tracks3d: Tracks3D) -> None:
    """Write ``tracks3d`` to ``path``, whole or not at all.

    Raises:
        KinedepthError: if its shapes disagree or values are not finite, or the file cannot be
            written.
    """
    tracks, camera = tracks3d.tracks, tracks3d.intrinsics
    arrays: dict[str, Any] = {
        "tracks_XYZ": np.asarray(tracks3d.xyz, dtype=np.float32),
        "visibility": tracks.visible,
        "queries_xyt": tracks3d.queries_xyt,
        "fx_fy_cx_cy": camera.as_vector().astype(np.float64),
        "tracks_xy": tracks.xy,
        "log_ratio": np.asarray(tracks3d.log_ratio, dtype=np.float32),
        "image_size": np.array([camera.width, camera.height], dtype=np.int64),
        "metric": np.array(tracks3d.metric, dtype=bool),
    }
    for key in _OPTIONAL:
        value = getattr(tracks3d, key)
        if value is not None:
            arrays[key] = np.asarray(value, dtype=np.float32)
    _check("These tracks", arrays)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


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


def _check(source: str, arrays: dict[str, NDArray]) -> None:
    """Raise unless ``arrays`` are complete, finite and of shapes that belong together."""
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
    start = arrays["queries_xyt"][:, 2]
    if ((start < 0) | (start >= frames) | (start != np.round(start))).any():
        raise KinedepthError(
            f"{source}: queries_xyt names frames that are not among 0 to {frames - 1}."
        )
