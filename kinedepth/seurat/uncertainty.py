"""How far a joined log depth ratio may be off: a standard deviation for every point and frame.

The network learns the scale of its own error in each window. Errors of overlapping windows are
far from independent (they look at the same noisy tracks), so the covariance of the least squares
that joins them would be much too sure. Instead the windows' scales are added up along the track
from its query frame on, and a small log-linear model, fitted on rendered clips with known depth
(``benchmarks/calibration.py``), turns that and what the windows disagree by into a standard
deviation of which about 68 % of errors lie inside one, 95 % inside two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.seurat.windows import WindowEstimate

_LEAST = 1e-4
"""Sums below this (in log depth) are not told apart."""
_MOST = 2.0
"""No standard deviation is larger: depth is then unknown within a factor of seven."""


@dataclass(frozen=True)
class Calibration:
    """Coefficients of the logarithm of the standard deviation; the default is rough.

    ``log std = offset + path * log(sum of scales from the query frame) + disagreement *
    log(disagreement of the windows on the way) + distance * log(1 + frames from the query) +
    hidden * (share of frames hidden on the way)``.
    """

    offset: float = 0.0
    path: float = 0.8
    disagreement: float = 0.2
    distance: float = 0.0
    hidden: float = 0.5

    def log_std(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log standard deviation ``(...)`` for :func:`path_features` ``(..., 4)``."""
        weights = np.array([self.path, self.disagreement, self.distance, self.hidden])
        return self.offset + features @ weights


def log_ratio_std(
    estimates: Sequence[WindowEstimate],
    joined: NDArray[np.floating],
    query_frame: NDArray[np.int64],
    calibration: Calibration,
) -> NDArray[np.float32]:
    """Standard deviation ``(T, N)`` of a joined log ratio; 0 in each track's query frame.

    Args:
        estimates: the windows that were joined.
        joined: ``(T, N)`` log depth, up to a constant for each track.
        query_frame: ``(N,)``, where each track's ratio is 1.
        calibration: of the model that made the estimates.
    """
    features = path_features(estimates, joined, query_frame)
    std = np.minimum(np.exp(calibration.log_std(features)), _MOST)
    std[query_frame, np.arange(std.shape[1])] = 0
    return std.astype(np.float32)


def path_features(
    estimates: Sequence[WindowEstimate],
    joined: NDArray[np.floating],
    query_frame: NDArray[np.int64],
) -> NDArray[np.float64]:
    """What is known of the way from each query frame to each frame, ``(T, N, 4)``.

    Log of the summed scales; log of the root mean square disagreement; log(1 + frames); and the
    share of frames in which the tracker lost the point.
    """
    scale, disagreement, hidden = _per_frame(estimates, joined)
    frames = len(scale)
    away = np.abs(np.arange(frames)[:, None] - query_frame)
    count = np.maximum(away, 1)
    return np.stack(
        [
            np.log(_on_the_way(scale, query_frame) + _LEAST),
            0.5 * np.log(_on_the_way(disagreement**2, query_frame) / count + _LEAST**2),
            np.log1p(away),
            _on_the_way(hidden, query_frame) / count,
        ],
        axis=-1,
    )


def _per_frame(
    estimates: Sequence[WindowEstimate], joined: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each frame ``(T, N)``: error scale that it adds, disagreement of windows, hidden or not.

    A window's scale grows with the distance to its first frame; what one frame adds is the
    scale at the window's end over its length. The surest window around a frame counts.
    """
    rate = np.full(joined.shape, np.inf)
    squares = np.zeros(joined.shape)
    count = np.zeros(joined.shape)
    seen = np.zeros(joined.shape)
    for estimate in estimates:
        window = estimate.window
        inside = slice(window.start, window.frames[-1] + 1)
        span = max(1, window.frames[-1] - window.start)
        rate[inside] = np.minimum(rate[inside], estimate.scale[-1] / span)
        frames = list(window.frames)
        difference = estimate.log_ratio - joined[frames]
        difference = difference - np.median(difference, axis=0)
        squares[frames] += difference**2
        count[frames] += 1
        seen[frames] += estimate.visible
    known = np.maximum(count, 1)
    return rate, np.sqrt(squares / known), 1.0 - seen / known


def _on_the_way(value: NDArray[np.float64], query_frame: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of ``value (T, N)`` over the frames after the query frame up to each frame, ``(T, N)``.

    Before the query frame, over the frames from there on up to the one before it.
    """
    total = np.concatenate([np.zeros_like(value[:1]), value.cumsum(axis=0)])
    at_query = np.arange(value.shape[1])
    after = total[1:] - total[query_frame + 1, at_query]
    before = total[query_frame, at_query] - total[:-1]
    later = np.arange(len(value))[:, None] >= query_frame
    return np.where(later, after, before)
