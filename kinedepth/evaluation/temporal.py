"""Temporal alignment error (TAE): do the depths of neighbouring frames tell of one scene?

Video Depth Anything (CVPR 2025) takes the aligned depth of a frame to the next with the true
camera motion and compares, both ways: 100 times the mean relative difference. 0 is best. The
scene has to stand still; what moves by itself counts as error.

The published benchmark computes it with flaws that add error to perfect depth, and sometimes
take some away. :func:`as_published` repeats them, so that figures can be compared with the
published ones; :func:`temporal_error` mends them:

=========================================  ===================================================
as published                               here
=========================================  ===================================================
where several points fall on one pixel,    z-buffer: a point behind a nearer one is not
the last one written stays, so hidden      compared
surfaces are compared with what hides them
frames are cropped, intrinsics are not:    intrinsics of the cropped frame
points are displaced
positions are rounded to whole pixels: on  the other depth is interpolated at the exact place
slanted surfaces that is an error of up to
half a pixel's change of depth
points behind the camera overwrite others  left out
depth that was clipped to the data set's   left out: clipped depth does not move with the
farthest is compared                       camera
no overlap between two frames counts as    such a pair does not count
a perfect 0
=========================================  ===================================================

**Interpolation and its bound.** 1 / depth of a plane is affine in pixel coordinates, so 1 / depth
is what is interpolated (bilinearly), and planes come out exact at any slant. On a curved surface
the error is at most an eighth of the sum of the second differences of 1 / depth along x and y,
relative to 1 / depth. Where the four depths around a position differ by more than ``EDGE``, there
is an edge, and between two surfaces there is no depth: the one of the four nearest to the
point's is taken. Occlusion is tested against the points within one cell of pixels on all sides,
which closes gaps between them up to a magnification of 3; a point counts as hidden if it is
farther than the nearest of those by ``EDGE``, so occluders nearer to what they hide than that
are not seen, and a plane so oblique that it changes by ``EDGE`` within two pixels hides its own
far side (``coverage`` tells how much is compared). What only the other frame shows cannot be
known to hide a point, and counts as error, as it does when published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics

EDGE = 0.05
"""Relative difference in depth that separates two surfaces."""


@dataclass(frozen=True)
class OneWay:
    """One frame's depth compared with another's.

    Attributes:
        error: mean of |read - moved| / read, not in per cent; None where nothing could be
            compared.
        coverage: compared points as a share of the frame's pixels.
    """

    error: float | None
    coverage: float


Compare = Callable[[NDArray, NDArray, Intrinsics, Intrinsics, NDArray], OneWay]
"""Compares a source with a target depth given both cameras and the motion between them."""


@dataclass(frozen=True)
class TemporalError:
    """TAE of a clip.

    Attributes:
        tae: 100 times the mean over compared directions; None if there are none.
        coverage: mean share of a frame's pixels that were compared; None likewise.
    """

    tae: float | None
    coverage: float | None


class TemporalErrorSum:
    """TAE of frames that come one after the other; only the last one is kept.

    Args:
        compare: :func:`temporal_error` or :func:`as_published`.
    """

    def __init__(self, compare: Compare) -> None:
        self._compare = compare
        self._last: tuple[NDArray, Intrinsics, NDArray] | None = None
        self._parts: list[OneWay] = []

    def add(self, depth: NDArray, camera: Intrinsics, camera_to_world: NDArray) -> None:
        """Take the next frame.

        Args:
            depth: ``(H, W)``; NaN where it does not count.
            camera: its intrinsics, as ``compare`` wants them.
            camera_to_world: ``(4, 4)``; a pose that is not finite leaves out the two pairs
                that need it.
        """
        before, self._last = self._last, (depth, camera, camera_to_world)
        if before is None:
            return
        other, other_camera, other_pose = before
        if not (np.isfinite(camera_to_world).all() and np.isfinite(other_pose).all()):
            return
        forth = np.linalg.inv(camera_to_world) @ other_pose
        back = np.linalg.inv(forth)
        self._parts += [
            self._compare(other, depth, other_camera, camera, forth),
            self._compare(depth, other, camera, other_camera, back),
        ]

    def result(self) -> TemporalError:
        """The mean over all directions in which something could be compared."""
        errors = [part.error for part in self._parts if part.error is not None]
        if not errors:
            return TemporalError(None, None)
        coverage = float(np.mean([part.coverage for part in self._parts]))
        return TemporalError(100 * float(np.mean(errors)), coverage)


def temporal_alignment_error(
    depth: Sequence[NDArray] | NDArray,
    intrinsics: Sequence[Intrinsics],
    camera_to_world: NDArray,
    compare: Compare | None = None,
) -> TemporalError:
    """TAE of ``depth (T, H, W)`` seen by T cameras; ``compare`` is :func:`temporal_error`."""
    total = TemporalErrorSum(compare or temporal_error)
    for frame, camera, pose in zip(depth, intrinsics, camera_to_world, strict=True):
        total.add(frame, camera, pose)
    return total.result()


def temporal_error(
    source: NDArray,
    target: NDArray,
    source_camera: Intrinsics,
    target_camera: Intrinsics,
    motion: NDArray,
) -> OneWay:
    """Compare one way: the points of ``source``, moved, with ``target`` where they come to lie.

    Args:
        source, target: ``(H, W)`` depth in one unit, NaN where it does not count.
        source_camera, target_camera: intrinsics of exactly these (cropped) frames.
        motion: ``(4, 4)``, from the source's camera axes to the target's.
    """
    height, width = target.shape
    depth, x, y = _moved(source, source_camera, target_camera, motion)
    # Centres of the first row and column lie at 0.5: cells join 2x2 centres, the first from 0.
    x, y = x - 0.5, y - 0.5
    near = np.flatnonzero((depth > 0) & (x >= -1) & (x < width) & (y >= -1) & (y < height))
    depth, x, y = depth[near], x[near], y[near]
    column, row = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    nearest = _nearest_around(depth, column + 1, row + 1, (height + 1, width + 1))
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    seen = np.flatnonzero(inside & (depth <= nearest * (1 + EDGE)))
    depth, x, y = depth[seen], x[seen], y[seen]
    # A point on the last row or column of centres belongs to the cell before it.
    column = np.minimum(column[seen], max(width - 2, 0))
    row = np.minimum(row[seen], max(height - 2, 0))
    read = _read(target, depth, x - column, y - row, column, row)
    error = np.abs(read - depth) / read
    error = error[np.isfinite(error)]
    if error.size == 0:
        return OneWay(None, 0.0)
    return OneWay(float(error.mean()), error.size / source.size)


def as_published(
    source: NDArray,
    target: NDArray,
    source_camera: Intrinsics,
    target_camera: Intrinsics,
    motion: NDArray,
) -> OneWay:
    """Compare one way exactly as the published benchmark does, flaws included.

    Args:
        source, target: ``(H, W)`` depth, every pixel of which counts.
        source_camera, target_camera: the cameras of the frames **before** the crop.
        motion: as for :func:`temporal_error`.
    """
    height, width = target.shape
    depth, x, y = _moved(source, source_camera, target_camera, motion)
    column, row = np.round(x - 0.5), np.round(y - 0.5)
    with np.errstate(invalid="ignore"):
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    if not inside.any():
        return OneWay(0.0, 0.0)
    pixel = row[inside].astype(np.intp) * width + column[inside].astype(np.intp)
    # The last one written stays; said by its rank, since NumPy promises no order of writing.
    last = np.full(height * width, -1, dtype=np.intp)
    np.maximum.at(last, pixel, np.arange(pixel.size))
    moved = np.where(last >= 0, depth[inside][last], 0.0).reshape(height, width)
    counted = (moved > 0) & (target > 0)
    if not counted.any():
        return OneWay(0.0, 0.0)
    error = np.abs(target - moved)[counted] / target[counted]
    return OneWay(float(error.mean()), error.size / source.size)


def _moved(
    source: NDArray, source_camera: Intrinsics, target_camera: Intrinsics, motion: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Depth, x and y ``(H * W,)`` in the target camera of the source's pixels, row by row.

    Not finite where the source does not count; depth is negative behind the target.
    """
    height, width = source.shape
    right = (np.arange(width) + 0.5 - source_camera.cx) / source_camera.fx
    down = ((np.arange(height) + 0.5 - source_camera.cy) / source_camera.fy)[:, None]
    # Each coordinate is depth times a plane over the image: that of the ray, turned.
    depth = source.astype(np.float64)
    x, y, z = (
        depth * (turn[0] * right + (turn[1] * down + turn[2])) + turn[3] for turn in motion[:3]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        x = x / z * target_camera.fx + target_camera.cx
        y = y / z * target_camera.fy + target_camera.cy
    return z.ravel(), x.ravel(), y.ravel()


def _nearest_around(
    depth: NDArray[np.float64],
    column: NDArray[np.intp],
    row: NDArray[np.intp],
    shape: tuple[int, int],
) -> NDArray[np.float64]:
    """For each point, the least depth ``(K,)`` of all points in its cell and the eight around.

    That is the z-buffer read over 2x2 pixels, with every point drawn over the 2x2 pixels about
    it: two points meet if their cells touch.
    """
    buffer = np.full(shape, np.inf)
    np.minimum.at(buffer.reshape(-1), row * shape[1] + column, depth)
    nearest = np.asarray(cv2.erode(buffer, np.ones((3, 3), np.uint8)), dtype=np.float64)
    return nearest[row, column]


def _read(
    target: NDArray,
    depth: NDArray[np.float64],
    right: NDArray[np.float64],
    down: NDArray[np.float64],
    column: NDArray[np.intp],
    row: NDArray[np.intp],
) -> NDArray[np.float64]:
    """The target's depth ``(K,)`` at positions within cells; NaN if a corner does not count.

    Args:
        target: ``(H, W)``.
        depth: ``(K,)`` of the points, for the choice at edges.
        right, down: ``(K,)`` place within the cell, 0 to 1.
        column, row: ``(K,)`` the cell, by its upper left pixel.
    """
    height, width = target.shape
    if height < 2 or width < 2:
        return np.full(depth.shape, np.nan)
    with np.errstate(divide="ignore"):
        disparity = (1 / target.astype(np.float64)).ravel()
    corner = row * width + column
    corners = [disparity[corner + step] for step in (0, 1, width, width + 1)]
    top = corners[0] + right * (corners[1] - corners[0])
    bottom = corners[2] + right * (corners[3] - corners[2])
    read = top + down * (bottom - top)
    far = np.minimum(np.minimum(corners[0], corners[1]), np.minimum(corners[2], corners[3]))
    near = np.maximum(np.maximum(corners[0], corners[1]), np.maximum(corners[2], corners[3]))
    edge = np.flatnonzero(near > far * (1 + EDGE))
    choices = np.stack([values[edge] for values in corners])
    choice = np.abs(1 / choices - depth[edge]).argmin(axis=0)
    read[edge] = choices[choice, np.arange(len(edge))]
    return 1 / read
