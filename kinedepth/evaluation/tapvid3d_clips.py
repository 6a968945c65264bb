"""Clips of the TAPVid-3D benchmark (Koppula et al., "TAPVid-3D: A Benchmark for Tracking Any
Point in 3D", NeurIPS 2024): the truth about one, a prediction for it, and their files.

A clip of the benchmark is one ``.npz`` with ``images_jpeg_bytes`` (T), ``queries_xyt (N, 3)``,
``tracks_XYZ (T, N, 3)``, ``visibility (T, N)`` and ``fx_fy_cx_cy (4,)``. A prediction is an
``.npz`` of the same file name with ``tracks_XYZ`` and ``visibility``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth._safe_npz import load_arrays, load_tapvid3d
from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError


@dataclass(frozen=True)
class ClipTruth:
    """What is true about the N tracks of a clip of T frames.

    Attributes:
        xyz: ``(T, N, 3)`` float64 metres in the camera frame of each time step; x right, y down,
            z forward. Finite where a point is visible and where it is queried; where it is
            hidden and its position unknown, NaN.
        visible: ``(T, N)`` bool.
        queries_xyt: ``(N, 3)`` float64: pixel x and y, and the frame each track is asked for in.
        intrinsics: of the image that these pixels belong to.

    Raises:
        KinedepthError: if shapes disagree, something needed is not finite, or a query names a
            frame that the clip does not have.
    """

    xyz: NDArray[np.float64]
    visible: NDArray[np.bool_]
    queries_xyt: NDArray[np.float64]
    intrinsics: Intrinsics

    def __post_init__(self) -> None:
        xyz, visible = _checked_tracks(self.xyz, self.visible)
        queries = _as_floats("queries_xyt", self.queries_xyt)
        frames, points = visible.shape
        if queries.shape != (points, 3):
            raise KinedepthError(
                f"queries_xyt has shape {queries.shape}, but {points} tracks ask for ({points}, 3)."
            )
        start = queries[:, 2]
        # NaN fails the first comparison, so that it is refused here, too.
        if not ((start >= 0) & (start < frames) & (start == np.round(start))).all():
            raise KinedepthError(f"queries_xyt names frames that are not among 0 to {frames - 1}.")
        known = _finite(xyz)
        needed = visible.copy()
        needed[start.astype(np.int64), np.arange(points)] = True
        if not known[needed].all():
            frame, point = np.argwhere(needed & ~known)[0]
            raise KinedepthError(
                f"The true position of point {point} in frame {frame}, where it is visible or "
                f"queried, is NaN or infinite."
            )
        object.__setattr__(self, "xyz", np.where(known[..., None], xyz, np.nan))
        object.__setattr__(self, "visible", visible)
        object.__setattr__(self, "queries_xyt", queries)

    @property
    def query_frame(self) -> NDArray[np.int64]:
        """``(N,)``: the frame each track is asked for in."""
        return self.queries_xyt[:, 2].astype(np.int64)


@dataclass(frozen=True)
class ClipPrediction:
    """What a method says about the N tracks of a clip of T frames.

    Attributes:
        xyz: ``(T, N, 3)`` float64 in the camera frame of each time step, in any unit of length;
            x right, y down, z forward. Finite everywhere, also where the method says hidden:
            the truth may say otherwise there.
        visible: ``(T, N)`` bool.

    Raises:
        KinedepthError: if shapes disagree or a position is not finite.
    """

    xyz: NDArray[np.float64]
    visible: NDArray[np.bool_]

    def __post_init__(self) -> None:
        xyz, visible = _checked_tracks(self.xyz, self.visible)
        known = _finite(xyz)
        if not known.all():
            frame, point = np.argwhere(~known)[0]
            raise KinedepthError(
                f"The predicted position of point {point} in frame {frame} is NaN or infinite; "
                f"give hidden points a best guess and mark them invisible."
            )
        object.__setattr__(self, "xyz", xyz)
        object.__setattr__(self, "visible", visible)

    def check_belongs_to(self, truth: ClipTruth) -> None:
        """Raise unless frames and points are as many as those of ``truth``."""
        if self.visible.shape != truth.visible.shape:
            frames, points = self.visible.shape
            true_frames, true_points = truth.visible.shape
            raise KinedepthError(
                f"The prediction has {frames} frames and {points} points, but the truth has "
                f"{true_frames} frames and {true_points} points; is it one for another clip?"
            )


def load_truth(path: str | Path) -> ClipTruth:
    """The truth of a clip from its TAPVid-3D file.

    The image size, which the file does not spell out, is that of its first image.

    Raises:
        KinedepthError: if the file is missing, damaged, lacks something, or does not hold what
            :class:`ClipTruth` needs.
    """
    clip = load_tapvid3d(Path(path))
    try:
        width, height = _jpeg_size(clip["images_jpeg_bytes"][0])
        fx, fy, cx, cy = (float(value) for value in clip["fx_fy_cx_cy"])
        intrinsics = Intrinsics(fx, fy, cx, cy, width, height)
        return ClipTruth(clip["tracks_XYZ"], clip["visibility"], clip["queries_xyt"], intrinsics)
    except KinedepthError as error:
        raise KinedepthError(f"{path}: {error}") from error


def load_prediction(path: str | Path, truth: ClipTruth | None = None) -> ClipPrediction:
    """A prediction from an ``.npz`` with ``tracks_XYZ`` and ``visibility``.

    Args:
        path: the file; further arrays in it are ignored.
        truth: of the clip that the prediction is for, where its size is to be checked.

    Raises:
        KinedepthError: if the file is missing, damaged, lacks something, does not hold what
            :class:`ClipPrediction` needs, or has other frames or points than ``truth``.
    """
    arrays = load_arrays(Path(path))
    missing = [key for key in ("tracks_XYZ", "visibility") if key not in arrays]
    if missing:
        raise KinedepthError(
            f"{path} is no prediction for TAPVid-3D: it lacks {' and '.join(missing)} "
            f"(it holds {', '.join(arrays) or 'nothing'})."
        )
    try:
        prediction = ClipPrediction(arrays["tracks_XYZ"], arrays["visibility"])
        if truth is not None:
            prediction.check_belongs_to(truth)
    except KinedepthError as error:
        raise KinedepthError(f"{path}: {error}") from error
    return prediction


def _checked_tracks(
    xyz: NDArray, visible: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Positions and visibility as float64 and bool, once their shapes are seen to agree."""
    xyz = _as_floats("tracks_XYZ", xyz)
    if xyz.ndim != 3 or xyz.shape[2] != 3 or xyz.size == 0:
        raise KinedepthError(
            f"tracks_XYZ needs shape (T, N, 3) with T and N of at least 1; got {xyz.shape}."
        )
    seen = _as_floats("visibility", visible)
    if seen.shape != xyz.shape[:2]:
        raise KinedepthError(
            f"visibility has shape {seen.shape}, but tracks_XYZ asks for {xyz.shape[:2]}."
        )
    # A probability taken for a truth value would make every point visible.
    if not np.isin(seen, (0, 1)).all():
        raise KinedepthError(
            "visibility holds values other than 0 and 1; are these probabilities, to be "
            "compared with a threshold first?"
        )
    return xyz, seen.astype(bool)


def _finite(xyz: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points ``(T, N)`` have all three coordinates."""
    return np.asarray(np.isfinite(xyz).all(axis=-1))


def _as_floats(name: str, values: NDArray) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise KinedepthError(f"{name} has type {array.dtype}, but numbers are needed.")
    return array.astype(np.float64)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height of an encoded image as it is stored, whatever way up it is to be shown."""
    image = None
    if data:  # OpenCV raises its own error for an empty buffer, but returns None for a bad one.
        how = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    if image is None:
        raise KinedepthError("The first of images_jpeg_bytes is not an image that can be decoded.")
    return image.shape[1], image.shape[0]
