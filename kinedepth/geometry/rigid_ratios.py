"""Depth ratios of whatever moves as one: the scene, and every body in it that moves on its own.

The network sees a point among its neighbours in windows of eight frames, and takes a change that
is small against the tracks' noise for smaller than it is. What moves as one tells more: all its
points share one motion, over a second or so. :mod:`kinedepth.geometry.rigid` has the model; depth
over depth in another frame follows from it even where a body's size and distance do not.

In a block of frames the largest rigid group is fitted, then the largest among the other
points, and so on; the network's ratios are a weak prior. A group whose motion a turning camera
explains as well says nothing. Where a point is in a group, its ratio is the mean of the group's
and the network's, each weighted by the inverse of its variance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from kinedepth.camera import Intrinsics
from kinedepth.geometry._projective_adjustment import (
    Observations,
    Reconstruction,
    adjust,
    compare,
    point_information,
)
from kinedepth.geometry.confidence import parallax_to_noise
from kinedepth.geometry.enclosed import share_with_enclosed
from kinedepth.geometry.groups import find_rigid_group
from kinedepth.geometry.rigid import LEAST_CONFIDENCE, LEAST_POINTS, observations

_MOST_FRAMES = 16
"""Of more only some are looked at."""
LEAST_SEEN = 5
"""Frames looked at that show a point, for it to be judged."""
_PRIOR_STD = 0.1
"""Least standard deviation of the network's log ratios while groups are sought: its errors are
alike in all points of a body, and many that agree must not outvote what is seen."""
_SHARPNESS = 4.0
"""Inverse variance of tracked positions over the one that depth from parallax takes: small
bodies of like motion are otherwise taken for one."""
_MOST_GROUPS = 8
_FAINT, _ITERATIONS = 1e-3, 15
"""Weight of the network's ratios while a group is fitted at last, and steps of that."""
_LEAST_NOISE = 0.02
"""Least variance of tracks over the prior's: no tracker is surer."""
_ALIKE = 4.0
"""Tracks' errors in so many frames in a row are one error: it grows slowly along a track."""
_ASTRAY = 4.0
"""Times its standard deviation that the network's log ratio is unsure of where a point moves with
nothing else: on too small a body, or because its track is lost."""
_CORRECTION_FRAMES = 1.0
"""Standard deviation of the Gaussian over time that smooths what groups correct."""
_LARGEST_CHANGE = 2.0
"""No log ratio within a block is larger."""


@dataclass(frozen=True)
class GroupRatios:
    """What the rigid groups of some frames say.

    Attributes:
        log_ratio: ``(F, N)`` log depth up to a constant for each point; NaN where a point is in
            no group.
        std: ``(N,)`` standard deviation of its change over the block; infinite where NaN.
        astray: ``(N,)`` bool, points that move with no group although they are seen enough.
    """

    log_ratio: NDArray[np.float64]
    std: NDArray[np.float64]
    astray: NDArray[np.bool_]


def block_changes(
    log_ratio: NDArray[np.float64],
    std: NDArray[np.float64],
    xy: NDArray[np.floating],
    visible: NDArray[np.bool_],
    intrinsics: Intrinsics,
    focal_known: bool = True,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the network and the rigid groups of F frames say together of N points.

    Args:
        log_ratio: ``(F, N)`` the network's log depth ratios to any frame.
        std: ``(F, N)`` their standard deviations, growing away from that frame.
        xy: ``(F, N, 2)`` pixels.
        visible: ``(F, N)``.
        intrinsics: of the frames.
        focal_known: if not, each group's focal length is one more unknown.

    Returns:
        ``(F - 1, N)`` change of log depth from each frame to the next, and ``(F - 1, N)`` its
        standard deviation, which adds up along a track as if all of it were one error.
    """
    seen = observations(
        log_ratio, np.asarray(xy, np.float64), visible, intrinsics, np.maximum(std, _PRIOR_STD)
    )
    found = find_group_ratios(seen.trusting(_SHARPNESS, 1.0), focal_known)
    return _together(log_ratio, std, found)


def find_group_ratios(seen: Observations, focal_known: bool = True) -> GroupRatios:
    """Ratios of the rigid groups of ``F`` frames and ``N`` points, the largest group first."""
    frames, points = seen.log_ratio.shape
    some = np.linspace(0, frames - 1, min(frames, _MOST_FRAMES)).round().astype(np.int64)
    part = seen.at(some, slice(None))
    known = part.ray_weight > 0
    depth = np.ones((len(some), points))
    std = np.full(points, np.inf)
    number = np.full(points, -1)
    rest = np.flatnonzero(known.sum(0) >= min(LEAST_SEEN, len(some)))
    groups = 0
    while len(rest) >= LEAST_POINTS and groups < _MOST_GROUPS:
        left = part.at(slice(None), rest)
        found = find_rigid_group(left, estimate_focal=not focal_known)
        if found.member.sum() < LEAST_POINTS:
            break
        member, left = rest[found.member], left.at(slice(None), np.flatnonzero(found.member))
        rest = rest[~found.member]
        groups += 1
        scene = replace(found.reconstruction, point=found.reconstruction.point[found.member])
        if parallax_to_noise(scene, left, np.ones(len(member), bool)) < LEAST_CONFIDENCE:
            continue
        # The network's word comes in later, by its variance; twice would be too often.
        left = left.trusting(1.0, _FAINT)
        scene, _ = adjust(left, scene, _ITERATIONS, estimate_focal=not focal_known)
        depth[:, member], std[member] = _ratios_of(scene, left)
        number[member] = groups
    wild = (np.abs(np.log(depth)) > _LARGEST_CHANGE).any(0)
    std[wild], number[wild] = np.inf, -1
    ray_std = 1 / np.sqrt(max(part.ray_weight.max(), 1e-12))
    log_depth, std = share_with_enclosed(
        part.ray, known, number, np.log(depth), std, _ALIKE * ray_std
    )
    # Depth over depth is close to linear in time over a frame or two; its logarithm is not.
    between = [np.interp(np.arange(frames), some, each) for each in np.exp(log_depth).T]
    log_ratio = np.where(np.isfinite(std), np.log(np.stack(between, axis=-1)), np.nan)
    astray = ~np.isfinite(std)
    astray[np.setdiff1d(np.arange(points), rest)] = False
    return GroupRatios(log_ratio, std, astray)


def _ratios_of(
    scene: Reconstruction, seen: Observations
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Depth over depth in the first frame ``(F, M)``, and the standard deviation ``(M,)`` of the
    log of its change from where a point is first seen to where it is last."""
    frames = len(seen.log_ratio)
    depth = np.maximum(scene.in_cameras()[..., 2], 1e-6)
    known = seen.ray_weight > 0
    first, last = known.argmax(0), frames - 1 - known[::-1].argmax(0)
    # d log P_z / d (X, q) in the last frame less that in the first.
    row = np.concatenate([scene.rotation[:, 2], scene.translation[:, 2:]], axis=-1)
    each = np.arange(depth.shape[1])
    slope = row[last] / depth[last, each, None] - row[first] / depth[first, each, None]
    information = point_information(scene, seen)
    size = np.trace(information, axis1=-2, axis2=-1)[:, None, None]
    covariance = np.linalg.inv(information + 1e-9 * np.maximum(size, 1e-9) * np.eye(4))
    variance = np.einsum("ni,nij,nj->n", slope, covariance, slope)
    return depth / depth[:1], np.sqrt(variance * _noise(scene, seen) * _ALIKE)


def _noise(scene: Reconstruction, seen: Observations) -> NDArray[np.float64]:
    """``(M,)`` variance of the tracks over the prior's, from what the fit leaves.

    The mean of a track's own and of its group's, per degree of freedom: each frame has six
    unknowns that all members share, each member three of its own.
    """
    residual = (compare(scene, seen).ray ** 2).sum(-1)
    known = seen.ray_weight > 0
    count = 2 * known.sum(0)
    frames, members = known.shape
    shared = 6 * (frames - 1) / members
    own = residual.sum(0) / np.maximum(count - 3 - shared, 1.0)
    together = residual.sum() / max(count.sum() - (3 + shared) * members, 1.0)
    return np.maximum((own + together) / 2, _LEAST_NOISE)


def _together(
    network: NDArray[np.float64], network_std: NDArray[np.float64], found: GroupRatios
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of both by their variances, and its standard deviation: changes ``(F - 1, N)``.

    Standard deviations are handed out evenly over the block and add up along a track as if all
    were one error, since most of an error is shared by neighbouring frames.
    """
    growth = np.abs(np.diff(network_std, axis=0)) * np.where(found.astray, _ASTRAY, 1.0)
    span = np.maximum(growth.sum(0), 1e-6)
    share = span**2 / (span**2 + found.std**2)
    alone = np.diff(network, axis=0)
    rigid = np.diff(np.where(np.isfinite(found.std), found.log_ratio, 0.0), axis=0)
    # What the network misjudges it misjudges for a while; what flickers is the noise of single
    # frames in the group's motion. Reflected at the ends, smoothing keeps the sum.
    correction = gaussian_filter1d(share * (rigid - alone), _CORRECTION_FRAMES, axis=0)
    mean = alone + correction
    return mean, growth * np.sqrt(1 - share)
