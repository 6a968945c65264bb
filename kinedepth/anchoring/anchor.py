"""Tracks with a scale of their own each, and a depth source, become tracks in one scale."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kinedepth.anchoring.changes import changes_of_scale
from kinedepth.anchoring.neighbours import combine, predict_from_neighbours
from kinedepth.anchoring.paper import fit_runs
from kinedepth.anchoring.readings import DepthReadings
from kinedepth.anchoring.robust import fit_scales
from kinedepth.anchoring.shift import fit_shift
from kinedepth.errors import KinedepthError
from kinedepth.tracks import GUESSED_SCALE_STD, Tracks3D

AnchorFit = Literal["robust", "paper"]
"""How scales are fitted: ``robust``, one for each track, jointly with the source's flicker; or
``paper``, one for each visible run (Eq. 10-11)."""

_GUESS_FROM = 5
"""Nearest tracks whose median scale stands in where a track's own cannot be had."""


@dataclass(frozen=True)
class Anchored:
    """Tracks after anchoring.

    Attributes:
        tracks: in one scale; unchanged where ``reason`` says why they could not be anchored.
            The scale of a track that was never visible, or along which the source has no depth,
            is a guess from other tracks, as ``log_scale_std`` says. ``paper`` estimates no
            errors: they are 0 where there is a scale.
        unit: what depth is measured in, in plain words.
        reason: why the tracks could not be anchored; empty if they were.
        facts: what was found, in plain values.
    """

    tracks: Tracks3D
    unit: str
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Scales:
    """Log scales ``(T, N)``, NaN where none was found, their errors ``(N,)``, and facts."""

    log_scale: NDArray[np.float64]
    std: NDArray[np.float64]
    facts: dict[str, Any]


def check_fit(fit: str) -> None:
    """Raise unless ``fit`` is one of :data:`AnchorFit`."""
    if fit not in get_args(AnchorFit):
        raise KinedepthError(f"Unknown anchor fit '{fit}'; choose 'robust' or 'paper'.")


def anchor_tracks(tracks: Tracks3D, readings: DepthReadings, fit: AnchorFit = "robust") -> Anchored:
    """Give tracks the scale that a depth source has along them.

    Metric depth gives metres; scale-invariant depth one common unknown unit; so does
    affine-invariant depth or disparity where the tracks' motion tells its shift
    (:mod:`kinedepth.anchoring.shift`), and otherwise the tracks stay as they are.

    Args:
        tracks: as lifted, depth 1 at each query frame.
        readings: of the source, along these tracks.
        fit: see :data:`AnchorFit`.

    Returns:
        Finite positions for all tracks, with ``log_ratio`` as their depth has it.

    Raises:
        KinedepthError: if shapes differ, the fit is unknown, or there is no reading at all.
    """
    check_fit(fit)
    if readings.value.shape != tracks.log_ratio.shape:
        raise KinedepthError(
            f"Depth was read at {readings.value.shape} places, but the tracks have "
            f"{tracks.log_ratio.shape}."
        )
    if not np.isfinite(readings.value).any():
        raise KinedepthError(
            "The anchor has no depth at any visible point of the tracks; is it the depth of "
            "this clip, and larger than 0?"
        )
    facts: dict[str, Any] = {"kind": readings.kind, "fit": fit}
    value, spread = readings.value.astype(np.float64), readings.spread.astype(np.float64)
    if readings.kind in ("affine_invariant", "affine_invariant_disparity"):
        nearer = readings.kind == "affine_invariant_disparity"
        shift = fit_shift(value, tracks.log_ratio, nearer, readings.per_frame)
        facts |= {"shift_precision": shift.precision}
        if not shift.observable:
            return _not_anchored(tracks, facts)
        value = value + shift.shift[:, None]
    else:
        nearer = False
    log_depth, log_spread = _in_logarithms(value, spread, nearer)
    found = (_fit_robust if fit == "robust" else _fit_paper)(tracks, log_depth, log_spread)
    metric = readings.kind == "metric"
    return fill_unknown_scales(
        tracks, found.log_scale + tracks.log_ratio, found.std, {**facts, **found.facts}, metric
    )


def fill_unknown_scales(
    tracks: Tracks3D,
    log_depth: NDArray[np.floating],
    log_scale_std: NDArray[np.floating],
    facts: dict[str, Any],
    metric: bool = False,
) -> Anchored:
    """Tracks at a depth that some of them lack.

    Those without one move as their ratios say, at the median depth that the nearest tracks have
    in their query frame, with a standard error of :data:`GUESSED_SCALE_STD`.

    Args:
        tracks: as lifted.
        log_depth: ``(T, N)``; all NaN for tracks without a depth, of which there is at least one
            that has one.
        log_scale_std: ``(N,)`` of the others.
        facts: to go on with.
        metric: whether depth is in metres.
    """
    missing = ~np.isfinite(log_depth).all(axis=0)
    facts = {**facts, "tracks_without_depth": int(missing.sum())}
    xy, start = tracks.tracks.xy, tracks.tracks.query_frame
    filled = log_depth.astype(np.float64)
    std = np.minimum(log_scale_std, GUESSED_SCALE_STD).astype(np.float32)
    known = np.flatnonzero(~missing)
    for n in np.flatnonzero(missing):
        frame = start[n]
        count = min(_GUESS_FROM, len(known))
        nearest = known[np.ravel(cKDTree(xy[frame, known]).query(xy[frame, n], k=count)[1])]
        filled[:, n] = np.median(log_depth[frame, nearest]) + tracks.log_ratio[:, n]
        std[n] = GUESSED_SCALE_STD
    return Anchored(
        tracks=replace(_at_depth(tracks, filled, metric), log_scale_std=std),
        unit="metres" if metric else "one common, unknown unit",
        facts=facts,
    )


def _in_logarithms(
    value: NDArray[np.float64], spread: NDArray[np.float64], larger_is_nearer: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log depth and its spread; a value that is not positive is no reading."""
    positive = np.isfinite(value) & (value > 0)
    safe = np.where(positive, value, 1.0)
    log_depth = np.where(positive, -np.log(safe) if larger_is_nearer else np.log(safe), np.nan)
    return log_depth, np.where(positive, spread / safe, 0.0)


def _fit_paper(
    tracks: Tracks3D, log_depth: NDArray[np.float64], log_spread: NDArray[np.float64]
) -> _Scales:
    log_scale = fit_runs(log_depth, tracks.log_ratio, tracks.tracks.visible)
    std = np.where(np.isfinite(log_scale).all(axis=0), 0.0, np.inf)
    return _Scales(log_scale, std, {})


def _fit_robust(
    tracks: Tracks3D, log_depth: NDArray[np.float64], log_spread: NDArray[np.float64]
) -> _Scales:
    """One scale for a track, the source's flicker taken out, neighbours asked."""
    visible, start = tracks.tracks.visible, tracks.tracks.query_frame
    fit = fit_scales(log_depth, tracks.log_ratio, log_spread, tracks.log_ratio_std)
    offset, changes = changes_of_scale(fit.residual, visible, fit.worth)
    log_scale = fit.log_scale + offset
    each = np.arange(len(start))
    predicted, error = predict_from_neighbours(
        log_scale + tracks.log_ratio, fit.std, tracks.log_ratio, tracks.tracks.xy, visible, start
    )
    at_query = log_scale[start, each]
    merged, std = combine(at_query, fit.std, predicted, error)
    # A track without a scale of its own has no offset either: its neighbours' word is all.
    log_scale = np.where(np.isfinite(at_query), log_scale + (merged - at_query), merged)
    std = np.where(np.isfinite(fit.std) | np.isfinite(merged), std, np.inf)
    flicker = fit.flicker[np.isfinite(log_depth).any(axis=1)]
    facts = {
        "flicker": float(1.4826 * np.median(np.abs(flicker))),
        "changes_of_scale": changes,
    }
    return _Scales(log_scale, std, facts)


def _at_depth(tracks: Tracks3D, log_depth: NDArray[np.float64], metric: bool) -> Tracks3D:
    """The tracks at another depth ``(T, N)``, with ratios to match."""
    start = tracks.tracks.query_frame
    log_ratio = log_depth - log_depth[start, np.arange(len(start))]
    xyz = tracks.intrinsics.unproject(tracks.tracks.xy, np.exp(log_depth))
    return replace(
        tracks,
        xyz=xyz.astype(np.float32),
        log_ratio=log_ratio.astype(np.float32),
        metric=metric,
    )


def _not_anchored(tracks: Tracks3D, facts: dict[str, Any]) -> Anchored:
    return Anchored(
        tracks=tracks,
        unit="depth at each track's query frame",
        reason=(
            "the anchor's depth is known up to a scale and a shift, and the points' depth changes "
            "too little to tell the shift; take an anchor of metric depth"
        ),
        facts=facts,
    )
