"""Windows over a video, and what becomes of their estimates: chained (Eq. 9) or fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.alignment import Pieces, join_pieces

_LEAST_SCALE = 0.001
"""Estimates are never trusted to better than this (in log depth)."""
_TYPICAL_ERROR = 0.05
"""Windows that are off by twice this (in log depth) begin to lose their say."""
_SMOOTHNESS = 1.0
"""Weight in fusion of the second differences relative to one certain estimate."""


@dataclass(frozen=True)
class Window:
    """``length`` frames from ``start``, ``step`` apart."""

    start: int
    step: int
    length: int

    @property
    def frames(self) -> range:
        """The frames of the video that the window sees."""
        return range(self.start, self.start + self.step * self.length, self.step)


@dataclass(frozen=True)
class WindowEstimate:
    """What the network says about the query tracks in one window.

    Attributes:
        window: where.
        log_ratio: ``(W, N)``, log of depth over depth in the window's first frame.
        scale: ``(W, N)`` > 0, scale of the error's Laplace distribution.
        visible: ``(W, N)`` bool, as the tracker says.
        known: ``(N,)`` bool, tracks that the window tells of at all; None for every one. Of the
            others, values have to be finite and mean nothing.
    """

    window: Window
    log_ratio: NDArray[np.float32]
    scale: NDArray[np.float32]
    visible: NDArray[np.bool_]
    known: NDArray[np.bool_] | None = None


def plan_windows(frames: int, length: int, stride: int, steps: Sequence[int]) -> list[Window]:
    """Windows of ``length`` frames at each of ``steps`` that together cover the video.

    At step s a window starts every ``stride * s`` frames; the last is moved back so that it ends
    with the video. Steps whose window would not fit are left out, except that a video shorter
    than ``length`` gets one window of its own length.
    """
    if frames < length:
        return [Window(0, 1, frames)]
    windows = []
    for step in steps:
        last = frames - 1 - step * (length - 1)
        if last < 0:
            continue
        starts = list(range(0, last + 1, stride * step))
        if starts[-1] != last:
            starts.append(last)
        windows += [Window(start, step, length) for start in starts]
    return windows


def chain(estimates: Sequence[WindowEstimate], frames: int) -> NDArray[np.float64]:
    """Eq. 9: log depth ``(frames, N)`` relative to frame 0 by adding up windows of step 1.

    Each frame is read from the latest window that starts before it; a window's own start is
    where the windows before put it.
    """
    ordered = sorted(
        (e for e in estimates if e.window.step == 1), key=lambda estimate: estimate.window.start
    )
    joined = np.zeros((frames, ordered[0].log_ratio.shape[1]))
    for estimate in ordered:
        start, span = estimate.window.start, estimate.window.length
        joined[start : start + span] = joined[start] + estimate.log_ratio
    return joined


def fuse(estimates: Sequence[WindowEstimate], frames: int) -> NDArray[np.float64]:
    """Log depth ``(frames, N)``, up to a constant a track, that fits all windows best.

    Windows at several steps overlap; each has a free offset, and a robust least squares joins
    them (``alignment.py``). Compared with adding up windows, errors do not pile up and a long
    step bridges what short ones drift over.
    """
    groups = []
    shapes = sorted({(e.window.step, e.window.length) for e in estimates})
    for step, length in shapes:
        same = [e for e in estimates if (e.window.step, e.window.length) == (step, length)]
        scale = np.stack([e.scale for e in same]).astype(np.float64)
        visible = np.stack([e.visible for e in same])
        # The inverse scale, not its square: errors of overlapping windows are not independent,
        # so a sure window adds less than the square would have it (measured).
        trust = 1 / (1 + scale / _LEAST_SCALE)
        told = [np.ones(e.scale.shape[1], bool) if e.known is None else e.known for e in same]
        trust = np.where(np.stack(told)[:, None], trust, 0.0)
        groups.append(
            Pieces(
                frames=np.array([list(e.window.frames) for e in same]),
                value=np.stack([e.log_ratio for e in same]).astype(np.float64),
                # There are 1 / step as many windows at a step, so this gives all steps an equal
                # say. What a long window says of a point that it lost is mostly about the wrong
                # track; there short windows, as in a chain, know best.
                weight=trust * np.where(visible, step, 1 / step),
            )
        )
    return join_pieces(groups, frames, sigma=_TYPICAL_ERROR, smoothness=_SMOOTHNESS)
