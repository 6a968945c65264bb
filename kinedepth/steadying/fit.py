"""The flicker of a per-frame model's depth, from what it says along tracks.

``log z(i, t) = log s_i + l(i, t) + E(t, p) + noise``: depth z that the model gives at track i in
frame t is the track's unknown scale s_i, times its depth ratio exp(l), off by a factor exp(E)
that is smooth over places p of the frame (:mod:`kinedepth.steadying.kriging`) and free to differ
in every frame. Scales and errors are found by turns, robustly; then only what flickers of E is
kept (:mod:`kinedepth.steadying.flicker`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.anchoring.readings import DepthReadings
from kinedepth.anchoring.robust import fit_scales
from kinedepth.errors import KinedepthError
from kinedepth.steadying.field import FlickerField
from kinedepth.steadying.flicker import flicker_of
from kinedepth.steadying.kriging import CELL, Cells, FrameError
from kinedepth.tracks import Tracks3D

LENGTH = 0.12
"""Correlation length of an error over the frame, as a share of the frame's longer side."""
DEPTH_LENGTH = 0.5
"""Correlation length of an error in log depth."""

_ROUNDS = 6
_READING_STD = 0.02
"""Typical error of log depth read at a point, beside what its surroundings and its ratio add."""
_REGIONAL_STD = (0.01, 0.3)
"""Least and largest strength of the part of an error that differs from place to place."""
_DRIFT_STD = 0.005
"""Error of a log ratio over one frame, where tracks do not tell their own."""
_FRAME_NOISE = 0.002
"""White error of a frame's mean that ratios and readings cause, not the model."""
_REGION_NOISE = 0.005
"""White error likewise of the part that differs from place to place."""
_MEAN_KNOWN = 0.02
"""A frame's mean with this standard error counts as half known."""


@dataclass(frozen=True)
class _Points:
    """What is known along N tracks in T frames.

    ``target`` is log depth less log ratio; ``base`` its inverse variance, 0 without a reading;
    ``place`` ``(T, N, 3)`` in correlation lengths.
    """

    target: NDArray[np.float64]
    base: NDArray[np.float64]
    place: NDArray[np.float64]


def fit_flicker(tracks: Tracks3D, readings: DepthReadings, start: int = 0) -> FlickerField:
    """What flickers of a source's depth, everywhere in every frame.

    Args:
        tracks: lifted tracks through T frames; they may start in any of them.
        readings: of the source, along these tracks.
        start: number that the first frame has in the field.

    Raises:
        KinedepthError: if the source's ratios mean nothing, or the readings are of other tracks.
    """
    if readings.kind not in ("metric", "scale_invariant"):
        raise KinedepthError(
            f"Depth of the kind {readings.kind} has no ratios to compare with those of tracks; "
            f"steadying needs metric or scale_invariant depth."
        )
    if readings.value.shape != tracks.log_ratio.shape:
        raise KinedepthError(
            f"Readings of shape {readings.value.shape} do not belong to tracks of "
            f"{tracks.log_ratio.shape}."
        )
    size = (tracks.intrinsics.width, tracks.intrinsics.height)
    value = readings.value.astype(np.float64)
    known = np.isfinite(value) & (value > 0)
    safe = np.where(known, value, 1.0)
    log_depth = np.where(known, np.log(safe), np.nan)
    log_spread = np.where(known, readings.spread / safe, 0.0)
    first = fit_scales(log_depth, tracks.log_ratio, log_spread, tracks.log_ratio_std)

    variance = _READING_STD**2 + log_spread**2
    if tracks.log_ratio_std is not None:
        variance = variance + tracks.log_ratio_std.astype(np.float64) ** 2
    length = LENGTH * max(size)
    # A frame that is off as a whole is put right first, so that places mean the same over time;
    # counted from the middle of all depths, they do not depend on the unit.
    middle = first.flicker + (np.nanmedian(log_depth) if known.any() else 0.0)
    depth_place = (log_depth - middle[:, None]) / DEPTH_LENGTH
    place = np.dstack([tracks.tracks.xy / length, np.where(known, depth_place, 0.0)])
    target = np.where(known, log_depth - tracks.log_ratio, 0.0)
    errors = _fit_errors(_Points(target, known / variance, place), first.flicker)
    return _flickering_part(errors, middle, size, _drift(tracks), start)


def _fit_errors(points: _Points, flicker: NDArray[np.float64]) -> list[FrameError]:
    """E of every frame, scales and errors by turns, from the ``flicker (T,)`` of whole frames."""
    known = points.base > 0
    predicted = np.broadcast_to(flicker[:, None], known.shape).copy()
    log_scale = _means(points.target - predicted, points.base)
    regional_std = 0.05
    errors: list[FrameError] = []
    for _ in range(_ROUNDS):
        weight = _reweighted(points, points.target - log_scale - predicted)
        log_scale = _means(points.target - predicted, weight)
        error = points.target - log_scale
        errors = [
            FrameError.fit(Cells.of(*frame), regional_std)
            for frame in zip(points.place, error, weight, strict=True)
        ]
        for t, frame_error in enumerate(errors):
            predicted[t, known[t]] = frame_error.at(points.place[t, known[t]])
        regional_std = _regional_std(errors)
    return errors


def _means(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean of each column; 0 where there is no weight."""
    return (weight * values).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)


def _reweighted(points: _Points, residual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of Cauchy's loss, two typical residuals wide."""
    known = points.base > 0
    if not known.any():
        return points.base
    normalised = np.square(residual) * points.base
    noise = max(2.2 * float(np.median(normalised[known])), 0.01)  # 1.4826 squared.
    return points.base / (noise * (1 + normalised / (4 * noise)))


def _regional_std(errors: list[FrameError]) -> float:
    """Strength of f that explains how far the cells depart from the means of their frames."""
    parts = np.array([error.scatter() for error in errors if len(error.cells) > 1])
    if len(parts) == 0:
        return _REGIONAL_STD[0]
    square, weight = parts.sum(axis=0)
    return float(np.clip(np.sqrt(max(square / weight, 0.0)), *_REGIONAL_STD))


def _drift(tracks: Tracks3D) -> float:
    """Typical error of a log ratio from one frame to the next, as the tracks tell it."""
    if tracks.log_ratio_std is None:
        return _DRIFT_STD
    away = np.abs(np.arange(tracks.tracks.frames)[:, None] - tracks.tracks.query_frame)
    next_to_it = tracks.log_ratio_std[(away == 1) & tracks.tracks.visible]
    return max(float(np.median(next_to_it)), 1e-4) if len(next_to_it) else _DRIFT_STD


def _flickering_part(
    errors: list[FrameError],
    middle: NDArray[np.float64],
    size: tuple[int, int],
    drift: float,
    start: int,
) -> FlickerField:
    axes = _lattice(errors, size)
    found = [error.on_lattice(axes) for error in errors]
    value, known = (np.stack(parts) for parts in zip(*found, strict=True))
    mean = np.array([error.mean for error in errors])
    variance = np.array([error.mean_variance for error in errors])
    mean_known = 1 / (1 + variance / _MEAN_KNOWN**2)
    return FlickerField(
        start=start,
        frame=flicker_of(mean * mean_known, mean_known, drift, _FRAME_NOISE).astype(np.float32),
        region=flicker_of(value, known, drift, _REGION_NOISE).astype(np.float32),
        middle=middle.astype(np.float32),
        log_depth=(axes[2] * DEPTH_LENGTH).astype(np.float32),
    )


def _lattice(
    errors: list[FrameError], size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Planes of a lattice over the frame and all depths of cells, at most a cell apart.

    It reaches beyond the depths until nothing is known there.
    """
    length = LENGTH * max(size)
    across, down = (
        np.linspace(0, side / length, int(np.ceil(side / length / CELL)) + 1) for side in size
    )
    depths = np.concatenate([error.cells.place[:, 2] for error in errors])
    low, high = (float(depths.min()), float(depths.max())) if len(depths) else (0.0, 0.0)
    count = int(np.ceil((high - low) / CELL)) + 1
    margin = 6
    into = np.asarray(low + CELL * np.arange(-margin, count + margin), dtype=np.float64)
    return across, down, into
