"""The largest group of points that moves as one: found, and told from everything else."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinedepth.geometry._projective_adjustment import (
    Observations,
    Reconstruction,
    adjust,
    adjust_together,
    compare,
)
from kinedepth.geometry._starts import (
    equally_far,
    turning_cameras,
    turning_cameras_together,
    two_starts,
)

_LEAST_START_FRAMES, _MOST_START_FRAMES, _START_POINTS = 8, 12, 150
"""A start is found on half of the frames, within these bounds, and on so many points at most."""
_START_ITERATIONS, _FULL_ITERATIONS, _POINT_ITERATIONS = 30, 30, 8

_CONSENSUS = 1.5
"""Deviation from the fit, in standard deviations, up to which a point supports a start."""
_CLEAR_MAJORITY = 0.85
"""With more support than this a start needs no rival."""
_RIVALS, _CLUSTERS, _CLUSTER_POINTS = 24, 3, 7
"""Rival starts come from a few clusters of neighbouring points each."""
_FINALISTS = 3
"""So many of the best starts are fitted to all points that they explain, and compared again."""

_ROUNDS = 6
_OUTSIDE = 3.0
"""A point belongs no more where it deviates by so many times the group's typical deviation."""
_LEAST_LIMIT, _LARGEST_LIMIT = 0.4, 3.0
"""Bounds of that limit in standard deviations of the prior."""
_LARGEST_DEVIATION = 7.0
"""One slip of the tracker shall not outweigh a whole track."""


@dataclass(frozen=True)
class RigidGroup:
    """Cameras and points fitted to the largest rigid group.

    Attributes:
        reconstruction: points outside the group are where they fit its cameras best.
        member: ``(N,)`` bool.
        deviation: ``(N,)`` root mean square distance of each track from the fit, in standard
            deviations of the prior; infinite for a point that is seen in fewer than two frames.
    """

    reconstruction: Reconstruction
    member: NDArray[np.bool_]
    deviation: NDArray[np.float64]


def find_rigid_group(
    seen: Observations,
    estimate_focal: bool = False,
    seed: int = 0,
) -> RigidGroup:
    """Fit cameras to the largest rigid group of points.

    A start is sought on a part of the frames and points: with the ratios held and with them
    ignored, on all points, and where those leave many points unexplained, on random handfuls of
    neighbours too; the one that explains most points is kept. Then points that deviate too far
    leave, the rest is fitted again, and those who now fit return. What is many and small is
    adjusted together, since each call costs more than its arithmetic.

    Args:
        seen: all points, each seen somewhere.
        estimate_focal: move the focal length, too.
        seed: of the random handfuls.
    """
    first = np.argmax(seen.ray_weight > 0, axis=0)
    begin = equally_far(seen, turning_cameras(seen), first)
    found = _spread(seen, begin, _best_start(seen, seed))
    member = np.ones(seen.ray.shape[1], dtype=bool)
    found, off = _place_points(seen, begin, found)
    for round_ in range(_ROUNDS):
        before, member = member, _close(off)
        if round_ > 0 and (member == before).all():
            break
        found, _ = adjust(
            _only(seen, member), found, _FULL_ITERATIONS, estimate_focal=estimate_focal
        )
        found = unit_depth(found, member)
        found, off = _place_points(seen, begin, found, keep=member)
    return RigidGroup(found, member, off)


def deviation(found: Reconstruction, seen: Observations) -> NDArray[np.float64]:
    """``(N,)`` root mean square deviation of rays, each frame's capped, in standard deviations."""
    residuals = compare(found, seen)
    squared = (residuals.ray**2).sum(-1)
    squared = np.where(residuals.behind, np.inf, squared)
    count = (seen.ray_weight > 0).sum(0)
    mean = np.minimum(squared, _LARGEST_DEVIATION**2).sum(0) / np.maximum(count, 1)
    return np.where(count > 1, np.sqrt(mean), np.inf)


def unit_depth(found: Reconstruction, member: NDArray[np.bool_] | None = None) -> Reconstruction:
    """The scene in units of the members' median distance from the first camera.

    Inverse depths and translations of the other sign fit as well; most points are given a
    positive one.
    """
    point = found.point if member is None or not member.any() else found.point[member]
    inverse = float(np.median(point[:, 3] / np.linalg.norm(point[:, :3], axis=-1)))
    return found.rescaled(1 / inverse) if abs(inverse) > 1e-9 else found


def _close(off: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Who is close to the fit, by what is usual among all who are not far from it.

    Not among the members so far: a group that measures itself by itself shrinks to nothing.
    """
    near = off < _LARGEST_LIMIT
    usual = np.median(off[near]) if near.any() else np.inf
    return off < np.clip(_OUTSIDE * usual, _LEAST_LIMIT, _LARGEST_LIMIT)


def _only(seen: Observations, member: NDArray[np.bool_]) -> Observations:
    return replace(
        seen, ray_weight=seen.ray_weight * member, ratio_weight=seen.ratio_weight * member
    )


@dataclass(frozen=True)
class _Start:
    """A reconstruction of some ``frames`` and ``points``, all of which it explains."""

    frames: NDArray[np.int64]
    points: NDArray[np.int64]
    reconstruction: Reconstruction


def _best_start(seen: Observations, seed: int) -> _Start:
    """The start that explains most points."""
    frames = len(seen.log_ratio)
    count = min(frames, max(_LEAST_START_FRAMES, min(frames // 2, _MOST_START_FRAMES)))
    some = np.linspace(0, frames - 1, count).round().astype(np.int64)
    # Points that are seen long; every k-th of them, so that they spread over the image.
    long = np.flatnonzero((seen.ray_weight[some] > 0).sum(0) >= min(3, len(some)))
    chosen = long[:: max(1, -(-len(long) // _START_POINTS))]
    part = seen.at(some, chosen)
    first = np.argmax(part.ray_weight > 0, axis=0)
    begin = equally_far(part, turning_cameras(part), first)
    candidates = two_starts(part, begin, _START_ITERATIONS)
    support = [_support(part, start) for start in candidates]
    if max(support) < _CLEAR_MAJORITY * len(chosen):
        candidates += _rivals(part, first, np.random.default_rng(seed))
        support += [_support(part, start) for start in candidates[len(support) :]]
        order = np.argsort(support, stable=True)[-_FINALISTS:]
        candidates += _finalists(part, first, [candidates[index] for index in order])
        support += [_support(part, start) for start in candidates[len(support) :]]
    best = candidates[int(np.argmax(support))]
    explained = _explained(part, best)
    if explained.sum() < _CLUSTER_POINTS:
        explained[:] = True
    best = unit_depth(replace(best, point=best.point[explained]))
    return _Start(some, chosen[explained], best)


def _explained(part: Observations, start: Reconstruction) -> NDArray[np.bool_]:
    """``(N,)`` bool, the points that a start explains at least roughly."""
    return deviation(start, part) < 2 * _CONSENSUS


def _support(part: Observations, start: Reconstruction) -> float:
    """How many points a start explains, those it explains well counting more."""
    off = deviation(start, part) / _CONSENSUS
    return float(np.maximum(1 - off**2, 0).sum())


def _rivals(
    part: Observations, first: NDArray[np.int64], random: np.random.Generator
) -> list[Reconstruction]:
    """Starts that random handfuls of points lead to, all points placed where they fit these."""
    chosen = _handfuls(part, random)
    once = np.diff(chosen, prepend=-1) > 0
    handfuls = [
        _only(part.at(slice(None), few), counted) for few, counted in zip(chosen, once, strict=True)
    ]
    turned = turning_cameras_together(handfuls)
    starts = [
        equally_far(handful, rotation, first[few])
        for handful, rotation, few in zip(handfuls, turned, chosen, strict=True)
    ]
    cameras = [found for found, _ in adjust_together(handfuls, starts, _START_ITERATIONS)]
    return _everyone_placed(part, first, cameras)


def _finalists(
    part: Observations, first: NDArray[np.int64], starts: list[Reconstruction]
) -> list[Reconstruction]:
    """Each start fitted to all that it explains, which is more than what it was found with."""
    theirs = [_only(part, _explained(part, start)) for start in starts]
    fitted = [found for found, _ in adjust_together(theirs, starts, _START_ITERATIONS)]
    return _everyone_placed(part, first, fitted)


def _everyone_placed(
    part: Observations, first: NDArray[np.int64], cameras: list[Reconstruction]
) -> list[Reconstruction]:
    """All points where they fit each one's cameras best."""
    everyone = [
        replace(equally_far(part, each.rotation, first), translation=each.translation)
        for each in cameras
    ]
    placed = adjust_together([part] * len(everyone), everyone, _POINT_ITERATIONS, cameras_held=True)
    return [found for found, _ in placed]


def _handfuls(part: Observations, random: np.random.Generator) -> NDArray[np.int64]:
    """Points from a few clusters of neighbours each: more likely of one group than any others.

    ``(rivals, points)`` indices in order; where clusters overlap an index is there twice.
    """
    seen = part.ray_weight > 0
    middle = (part.ray * seen[..., None]).sum(0) / np.maximum(seen.sum(0), 1)[:, None]
    distance = np.linalg.norm(middle[:, None] - middle[None], axis=-1)
    nearest = np.argsort(distance, axis=1)[:, :_CLUSTER_POINTS]
    clusters = [
        random.choice(len(middle), min(_CLUSTERS, len(middle)), replace=False)
        for _ in range(_RIVALS)
    ]
    return np.sort([nearest[each].ravel() for each in clusters], axis=1)


def _spread(seen: Observations, begin: Reconstruction, start: _Start) -> Reconstruction:
    """Cameras for all frames from those of some: interpolated, then fitted to the start's points.

    Between frames of the start the turns are known from ``begin``.
    """
    cameras = start.reconstruction
    every = np.arange(len(begin.rotation))
    nearest = np.abs(every[:, None] - start.frames).argmin(1)
    onwards = np.einsum("tij,tkj->tik", begin.rotation, begin.rotation[start.frames[nearest]])
    translation = [
        np.interp(every, start.frames, cameras.translation[:, axis]) for axis in range(3)
    ]
    between = replace(
        cameras,
        rotation=onwards @ cameras.rotation[nearest],
        translation=np.stack(translation, axis=-1),
    )
    fitted, _ = adjust(seen.at(slice(None), start.points), between, _START_ITERATIONS)
    return replace(unit_depth(fitted), point=begin.point)


def _place_points(
    seen: Observations,
    begin: Reconstruction,
    found: Reconstruction,
    keep: NDArray[np.bool_] | None = None,
) -> tuple[Reconstruction, NDArray[np.float64]]:
    """Points where they fit the cameras best, all but those to ``keep``; and their deviation.

    Each starts anew from the direction it is first seen in: where it ended in an earlier round
    may be a place that it cannot leave.
    """
    first = np.argmax(seen.ray_weight > 0, axis=0)
    fresh = equally_far(seen, found.rotation, first).point
    if keep is not None:
        fresh[keep] = found.point[keep]
    placed, _ = adjust(seen, replace(found, point=fresh), _POINT_ITERATIONS, cameras_held=True)
    return placed, deviation(placed, seen)
