"""How far a joined log depth ratio may be off: a standard deviation for every point and frame.

The network learns the scale of its own error in each window. Errors of overlapping windows are
far from independent (they look at the same noisy tracks), so the covariance of the least squares
that joins them would be much too sure. Instead the windows' scales are added up along the track
from its query frame on, and a small log-linear model, fitted on rendered clips with known depth
(``benchmarks/calibration.py``), turns that and what the windows disagree by into a standard
deviation of which about 68 % of errors lie inside one, 95 % inside two. Rigid groups, where they
are heard (``kinedepth/geometry/refining.py``), know how far their own ratios may be off while the
group is what it seems; the rest of the model tells how far that is true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.seurat.windows import WindowEstimate

_LEAST = 1e-4
"""Sums below this (in log depth) are not told apart."""
_LEAST_REFINED = 1e-3
"""The same of standard deviations, once rigid groups have been heard."""
_MOST = 2.0
"""No standard deviation is larger: depth is then unknown within a factor of seven."""


@dataclass(frozen=True)
class Calibration:
    """Coefficients of the logarithm of the standard deviation; the default is rough.

    ``log std = offset + path * log(sum of scales from the query frame) + disagreement *
    log(disagreement of the windows on the way) + distance * log(1 + frames from the query) +
    hidden * (share of frames hidden on the way)``; once rigid groups have been heard,
    ``rigid_offset + rigid_own * log(what they and the network say together) + rigid_network *
    log(what the network alone said)``.
    """

    offset: float = 0.0
    path: float = 0.8
    disagreement: float = 0.2
    distance: float = 0.0
    hidden: float = 0.5
    rigid_offset: float = -0.3
    rigid_own: float = 0.45
    rigid_network: float = 0.5

    def log_std(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log standard deviation ``(...)`` for :func:`doubt_features` ``(..., 4)``."""
        weights = np.array([self.path, self.disagreement, self.distance, self.hidden])
        return self.offset + features @ weights

    def std(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard deviation ``(...)`` for :func:`doubt_features` ``(..., 4)``, 2 at most."""
        return np.minimum(np.exp(self.log_std(features)), _MOST)

    def log_refined_std(
        self, together: NDArray[np.floating], alone: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Log standard deviation once rigid groups have been heard.

        Args:
            together: what refining makes of the standard deviations, any shape.
            alone: those of the network, of the same shape.
        """
        return np.asarray(
            self.rigid_offset
            + self.rigid_own * np.log(together + _LEAST_REFINED)
            + self.rigid_network * np.log(alone + _LEAST_REFINED)
        )

    def refined_std(
        self, together: NDArray[np.floating], alone: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Standard deviation once rigid groups have been heard; 0 where the network's is 0."""
        std = np.minimum(np.exp(self.log_refined_std(together, alone)), _MOST)
        return np.where(alone == 0, 0, std).astype(np.float32)


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
    totals = running_totals(squared_doubts(estimates, joined))
    return std_from_totals(totals, QueryTotals.of(totals, query_frame), calibration)


def std_from_totals(
    totals: NDArray[np.float64], queries: QueryTotals, calibration: Calibration, first: int = 0
) -> NDArray[np.float32]:
    """Standard deviation ``(B, N)`` in B frames from ``first`` on.

    Args:
        totals: ``(B + 1, N, 3)``, :func:`running_totals` up to each of these frames.
        queries: the same at each track's query frame.
        calibration: of the model that made the estimates.
        first: the frame that the totals begin with.
    """
    std = calibration.std(path_features(totals, queries, first))
    frames = first + np.arange(len(std))
    std[frames[:, None] == queries.frame] = 0
    return std.astype(np.float32)


@dataclass(frozen=True)
class QueryTotals:
    """Running totals where each track begins.

    Attributes:
        frame: ``(N,)`` the query frames.
        before: ``(N, 3)`` totals over the frames before it.
        after: ``(N, 3)`` totals with it.
    """

    frame: NDArray[np.int64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    @classmethod
    def of(cls, totals: NDArray[np.float64], query_frame: NDArray[np.int64]) -> QueryTotals:
        """Read from the totals ``(T + 1, N, 3)`` of a whole video."""
        column = np.arange(len(query_frame))
        return cls(query_frame, totals[query_frame, column], totals[query_frame + 1, column])


def running_totals(
    doubts: NDArray[np.float64], before: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Sums ``(B + 1, N, 3)`` of ``doubts (B, N, 3)`` over all frames before each.

    Args:
        doubts: :func:`squared_doubts` of some frames.
        before: ``(N, 3)`` totals over the frames before these; None for none.
    """
    start = np.zeros_like(doubts[0]) if before is None else before
    return np.concatenate([start[None], doubts]).cumsum(axis=0)


def path_features(
    totals: NDArray[np.float64], queries: QueryTotals, first: int = 0
) -> NDArray[np.float64]:
    """:func:`doubt_features` of the way from each query frame to each frame, ``(B, N, 4)``.

    The way are the frames after the query frame up to the frame itself or, before the query
    frame, from the frame to the one before the query.

    Args: as of :func:`std_from_totals`.
    """
    frames = first + np.arange(len(totals) - 1)[:, None]
    later = (frames >= queries.frame)[..., None]
    way = np.where(later, totals[1:] - queries.after, queries.before - totals[:-1])
    scale, squares, hidden = np.moveaxis(way, -1, 0)
    return doubt_features(scale, squares, hidden, np.abs(frames - queries.frame))


def doubt_features(
    scale: NDArray[np.float64],
    squares: NDArray[np.float64],
    hidden: NDArray[np.float64],
    away: NDArray[np.integer],
) -> NDArray[np.float64]:
    """What the standard deviation is read from, ``(..., 4)``.

    Log of the summed scales; log of the root mean square disagreement; log(1 + frames); and the
    share of frames in which the tracker lost the point.

    Args:
        scale, squares, hidden: ``(...)``, error scales, squared disagreements and hidden frames,
            summed over a way.
        away: ``(...)``, its frames.
    """
    count = np.maximum(away, 1)
    return np.stack(
        [
            np.log(scale + _LEAST),
            0.5 * np.log(squares / count + _LEAST**2),
            np.log1p(away),
            hidden / count,
        ],
        axis=-1,
    )


def squared_doubts(
    estimates: Sequence[WindowEstimate], joined: NDArray[np.floating]
) -> NDArray[np.float64]:
    """:func:`doubts` as they add up along a way, ``(T, N, 3)``: the disagreement squared."""
    scale, disagreement, hidden = doubts(estimates, joined)
    return np.stack([scale, disagreement**2, hidden], axis=-1)


def doubts(
    estimates: Sequence[WindowEstimate], joined: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each frame ``(T, N)``: error scale that it adds, disagreement of windows, hidden or not.

    A window's scale grows with the distance to its first frame; what one frame adds is the
    scale at the window's end over its length. The surest window around a frame counts; where
    there is none, the scale is infinite. Windows disagree with what they were joined to.
    """
    rate = np.full(joined.shape, np.inf)
    squares = np.zeros(joined.shape)
    count = np.zeros(joined.shape)
    seen = np.zeros(joined.shape)
    for estimate in estimates:
        window = estimate.window
        known = np.True_ if estimate.known is None else estimate.known
        inside = slice(window.start, window.frames[-1] + 1)
        span = max(1, window.frames[-1] - window.start)
        added = np.where(known, estimate.scale[-1] / span, np.inf)
        rate[inside] = np.minimum(rate[inside], added)
        frames = list(window.frames)
        difference = estimate.log_ratio - joined[frames]
        difference = difference - np.median(difference, axis=0)
        squares[frames] += known * difference**2
        count[frames] += known
        seen[frames] += known & estimate.visible
    told = np.maximum(count, 1)
    return rate, np.sqrt(squares / told), 1.0 - seen / told
