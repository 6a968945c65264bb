"""Anchoring as the paper does it (Eq. 10-11): a scale for each visible run of each track."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def fit_runs(
    log_depth: NDArray[np.floating],
    log_ratio: NDArray[np.floating],
    visible: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Log scale ``(T, N)`` of depth over ratio; depth is ``exp(log_scale + log_ratio)``.

    In each visible run of a track the scale is the median of the source's depth along it over
    the median of the ratios in the same frames (Eq. 10). The paper says nothing of hidden frames
    and of runs without a reading: they take the scale of the run before, or, before the first,
    that of the first.

    Args:
        log_depth: ``(T, N)`` log of the source's depth; NaN where there is no reading.
        log_ratio: ``(T, N)`` log of depth over depth at the query frame.
        visible: ``(T, N)`` bool.

    Returns:
        NaN for tracks without any reading.
    """
    depth, ratio = np.exp(log_depth), np.exp(log_ratio)
    log_scale = np.full(depth.shape, np.nan)
    for n in range(depth.shape[1]):
        for run in visible_runs(visible[:, n]):
            known = np.isfinite(depth[run, n])
            if known.any():
                medians = np.median(depth[run, n][known]), np.median(ratio[run, n][known])
                log_scale[run, n] = np.log(medians[0] / medians[1])
    return held(log_scale)


def visible_runs(visible: NDArray[np.bool_]) -> Iterator[slice]:
    """The runs of frames in which one track, ``visible (T,)``, is seen."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], visible, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield slice(int(start), int(stop))


def held(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(T, N)`` with each NaN replaced by the last value before it, else the first after it."""
    frames = np.arange(len(values))[:, None]
    known = np.isfinite(values)
    before = np.maximum.accumulate(np.where(known, frames, -1), axis=0)
    first = np.where(known.any(axis=0), known.argmax(axis=0), 0)
    return np.take_along_axis(values, np.where(before < 0, first, before), axis=0)
