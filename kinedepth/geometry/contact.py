"""A scale for moving points that touch the rigid scene, where that can be told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ASIDE, _BELOW = 0.03, 0.05
"""How far off in the image, in half widths, the ground under a point may be."""
_LEAST_FRAMES = 5
_LARGEST_SPREAD = 0.03
"""Largest median deviation of the log depth of point and ground from moving together."""
_LEAST_CHANGE = 0.3
"""Range of the log depth of the ground from which on moving together says something."""


def anchor_by_contact(
    depth: NDArray[np.float64],
    log_ratio: NDArray[np.float64],
    place: NDArray[np.float64],
    visible: NDArray[np.bool_],
    rigid: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Depth of points outside the rigid group that stand on it.

    Nothing in a track of its own motion tells how far a moving point is; but where it stands on
    the ground it is as deep as the ground right below it. That is believed only where the nearest
    track below is rigid in several frames, the ground's depth there changes, and the point's own
    predicted ratio changes with it: what hangs in the air before the ground changes otherwise.

    Args:
        depth: ``(T, N)`` of the rigid points.
        log_ratio: ``(T, N)`` predicted; NaN where not known.
        place: ``(T, N, 2)`` in half widths, y down.
        visible: ``(T, N)`` bool. rigid: ``(N,)`` bool.

    Returns:
        ``depth`` with the columns of points that stand on the scene filled in and those of the
        others NaN, and ``(N,)`` bool: which were filled in.
    """
    result = np.where(rigid, depth, np.nan)
    anchored = np.zeros(len(rigid), dtype=bool)
    for point in np.flatnonzero(~rigid):
        scale, ground = _readings(int(point), depth, log_ratio, place, visible, rigid)
        if len(scale) < _LEAST_FRAMES or np.ptp(ground) < _LEAST_CHANGE:
            continue
        middle = np.median(scale)
        if np.median(np.abs(scale - middle)) > _LARGEST_SPREAD:
            continue
        result[:, point] = np.exp(log_ratio[:, point] + middle)
        anchored[point] = True
    return result, anchored


def _readings(
    point: int,
    depth: NDArray[np.float64],
    log_ratio: NDArray[np.float64],
    place: NDArray[np.float64],
    visible: NDArray[np.bool_],
    rigid: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log scale and log depth of the ground in the frames in which rigid ground lies below."""
    scale, ground = [], []
    for t in np.flatnonzero(visible[:, point] & np.isfinite(log_ratio[:, point])):
        off = place[t] - place[t, point]
        below = visible[t] & (np.abs(off[:, 0]) < _ASIDE) & (off[:, 1] > 0) & (off[:, 1] < _BELOW)
        if not below.any():
            continue
        nearest = int(np.argmin(np.where(below, off[:, 1], np.inf)))
        if rigid[nearest] and np.isfinite(depth[t, nearest]):
            ground.append(np.log(depth[t, nearest]))
            scale.append(ground[-1] - log_ratio[t, point])
    return np.array(scale), np.array(ground)
