"""When a track comes back from hiding on another surface: evidence for a change of scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinedepth.anchoring.paper import visible_runs

_LEAST_CHANGE = np.log(1.3)
"""A smaller change is taken for error of the source: no jump is worth it."""
_LEAST_READINGS = 8
"""Readings needed on each side."""
_SIGNIFICANT = 6.0
"""Standard errors that a change has to exceed."""


def changes_of_scale(
    residual: NDArray[np.float64], visible: NDArray[np.bool_], readings_worth: float = 0.25
) -> tuple[NDArray[np.float64], int]:
    """How the scale of each track departs from its own, frame by frame.

    A scale may change only while the point is hidden (the tracker may have taken up another
    point), and only where the readings on both sides insist: by more than 30 %, and six standard
    errors. While hidden, the scale goes over linearly in the logarithm.

    Args:
        residual: ``(T, N)`` of log depth after the fit of one scale a track; NaN without reading.
        visible: ``(T, N)`` bool.
        readings_worth: how many independent readings one of them amounts to.

    Returns:
        ``(T, N)`` to add to the log scale, 0 for tracks whose scale stays, and the number of
        changes.
    """
    offset = np.zeros(residual.shape)
    count = 0
    for n in range(residual.shape[1]):
        runs = list(visible_runs(visible[:, n]))
        if len(runs) < 2:
            continue
        pieces = _pieces(residual[:, n], runs, readings_worth)
        if len(pieces) > 1:
            count += len(pieces) - 1
            offset[:, n] = _over_time(residual[:, n], pieces)
    return offset, count


def _pieces(
    residual: NDArray[np.float64], runs: list[slice], readings_worth: float
) -> list[tuple[int, int]]:
    """The track as pieces (first frame, frame after the last) of one scale each."""
    strongest, cut = 0.0, 0
    for index in range(1, len(runs)):
        before = _readings(residual, runs[0].start, runs[index - 1].stop)
        after = _readings(residual, runs[index].start, runs[-1].stop)
        strength = _strength(before, after, readings_worth)
        if strength > strongest:
            strongest, cut = strength, index
    if strongest == 0:
        return [(runs[0].start, runs[-1].stop)]
    return _pieces(residual, runs[:cut], readings_worth) + _pieces(
        residual, runs[cut:], readings_worth
    )


def _readings(residual: NDArray[np.float64], start: int, stop: int) -> NDArray[np.float64]:
    part = residual[start:stop]
    return part[np.isfinite(part)]


def _strength(
    before: NDArray[np.float64], after: NDArray[np.float64], readings_worth: float
) -> float:
    """The change in standard errors; 0 where it is not significant."""
    if min(len(before), len(after)) < _LEAST_READINGS:
        return 0.0
    middles = float(np.median(before)), float(np.median(after))
    change = abs(middles[1] - middles[0])
    variance = 0.0
    for part, middle in zip((before, after), middles, strict=True):
        spread = max(1.4826 * float(np.median(np.abs(part - middle))), 0.01)
        # A median is less exact than a mean by pi / 2 in variance.
        variance += 0.5 * np.pi * spread**2 / max(len(part) * readings_worth, 1.0)
    strength = change / float(np.sqrt(variance))
    return strength if change > _LEAST_CHANGE and strength > _SIGNIFICANT else 0.0


def _over_time(residual: NDArray[np.float64], pieces: list[tuple[int, int]]) -> NDArray[np.float64]:
    """Offset ``(T,)``: the median of each piece, linear between them."""
    frames, values = [], []
    for start, stop in pieces:
        middle = float(np.median(_readings(residual, start, stop)))
        frames += [start, stop - 1]
        values += [middle, middle]
    return np.interp(np.arange(len(residual)), frames, values)
