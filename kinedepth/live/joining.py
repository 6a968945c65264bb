"""Joining the newest windows' estimates while frames keep coming.

``lift`` joins the windows of a video once they are all there. Here the same least squares
(:func:`kinedepth.seurat.windows.fuse`) is solved over the last frames only, again with each new
window. Some frames back, where no window to come reaches, a track's value is final, and what is
newer is told relative to it. So memory and time stay the same however long the video runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinedepth.seurat.uncertainty import Calibration, doubt_features, squared_doubts
from kinedepth.seurat.windows import WindowEstimate, fuse


class Ratios(NamedTuple):
    """Log depth ratios of P slots in one frame; NaN where no window told of the track yet.

    Attributes:
        log_ratio: ``(P,)`` log of depth over depth in the track's first frame.
        std: ``(P,)`` its standard deviation.
        slope: ``(P,)`` change of ``log_ratio`` from the frame before.
    """

    log_ratio: NDArray[np.float64]
    std: NDArray[np.float64]
    slope: NDArray[np.float64]

    @classmethod
    def unknown(cls, slots: int) -> Ratios:
        """Of tracks that nothing is known of."""
        nothing = np.full(slots, np.nan)
        return cls(nothing, nothing.copy(), nothing.copy())


class RunningJoin:
    """Log depth ratios of tracks in slots, from windows that keep coming.

    Args:
        slots: P, how many tracks there are at most.
        settled: frames after which a value is final: the span of the longest window.
        reach: frames over which windows are joined, more than ``settled``.
        calibration: how the errors of the windows' model are spread.
    """

    def __init__(self, slots: int, settled: int, reach: int, calibration: Calibration) -> None:
        self._settled = settled
        self._reach = reach
        self._calibration = calibration
        self._estimates: list[WindowEstimate] = []
        self._since = np.zeros(slots, np.int64)
        self._told = np.zeros(slots, bool)
        # Up to which frame a slot's value is final, that value, and the doubts summed over the
        # frames on the way there.
        self._upto = np.zeros(slots, np.int64)
        self._final = np.zeros(slots)
        self._doubt = np.zeros((slots, 3))

    def begin(self, slots: NDArray[np.integer], frame: int) -> None:
        """New tracks in ``slots (M,)``, put down in ``frame``; what was there is forgotten."""
        self._since[slots] = self._upto[slots] = frame
        self._told[slots] = False
        self._final[slots] = 0
        self._doubt[slots] = 0

    def add(self, estimate: WindowEstimate) -> None:
        """A window's estimate, whose ``known (P,)`` says which slots it tells of."""
        if estimate.known is not None:
            self._told |= estimate.known
        self._estimates.append(estimate)

    def solve(self, now: int) -> Ratios:
        """What all windows so far say of frame ``now``, which is no earlier than at the last call.

        Frames that no window of a track reaches go on as it moved before.
        """
        first = max(0, now + 1 - self._reach)
        self._estimates = [each for each in self._estimates if each.window.start >= first]
        if not self._estimates:
            return Ratios.unknown(len(self._final))
        shifted = [self._shifted(each, first) for each in self._estimates]
        joined = fuse(shifted, now + 1 - first)
        anchor = np.maximum(self._upto - first, 0)
        change = joined - joined[anchor, np.arange(len(anchor))]
        doubt = _summed(squared_doubts(shifted, joined), anchor)

        log_ratio = self._final + change[-1]
        scale, squares, hidden = (self._doubt + doubt[-1]).T
        std = self._calibration.std(doubt_features(scale, squares, hidden, now - self._since))
        self._settle(first, max(now - self._settled, first), change, doubt)
        unknown = np.where(self._told, 0.0, np.nan)
        return Ratios(log_ratio + unknown, std + unknown, joined[-1] - joined[-2] + unknown)

    def _shifted(self, estimate: WindowEstimate, first: int) -> WindowEstimate:
        """The estimate, its frames counted from ``first``, less tracks put down since it began."""
        window = estimate.window
        known = self._since <= window.start
        if estimate.known is not None:
            known &= estimate.known
        return replace(estimate, window=replace(window, start=window.start - first), known=known)

    def _settle(
        self, first: int, upto: int, change: NDArray[np.float64], doubt: NDArray[np.float64]
    ) -> None:
        """Take the values ``(T, P)`` up to a frame as final."""
        ready = self._upto < upto
        self._final[ready] += change[upto - first, ready]
        self._doubt[ready] += doubt[upto - first, ready]
        self._upto[ready] = upto


def _summed(doubts: NDArray[np.float64], anchor: NDArray[np.int64]) -> NDArray[np.float64]:
    """``(T, P, 3)`` doubts summed over the frames after each anchor up to each frame."""
    scale = doubts[..., 0]
    # A frame that no window of a track reaches yet is as doubtful as the worst of the others.
    worst = np.where(np.isfinite(scale), scale, 0.0).max(axis=0)
    doubts[..., 0] = np.where(np.isfinite(scale), scale, worst)
    after = np.arange(len(doubts))[:, None] > anchor
    return np.asarray(np.where(after[..., None], doubts, 0.0).cumsum(axis=0))
