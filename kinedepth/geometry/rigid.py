"""Depth and camera motion from the tracks of a rigid scene, without any depth model.

The model: r(i,t) u(i,t) = R_t X_i + q_i tau_t, where u = K^-1 (x, y, 1) is the ray of point i in
frame t, r its depth at t over a reference depth of its own, and q_i the inverse of that reference
depth. R_t and tau_t are the camera's motion. Tracks give u; predicted depth ratios are a soft
prior on r. ``docs/rigid_anchor.md`` tells the mathematics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.geometry._projective_adjustment import Observations
from kinedepth.geometry.blocks import BlockScene, MergedScene, merge_blocks, plan_blocks
from kinedepth.geometry.confidence import depth_uncertainty, parallax_to_noise
from kinedepth.geometry.contact import anchor_by_contact
from kinedepth.geometry.groups import find_rigid_group

LEAST_CONFIDENCE = 2.0
"""Parallax over noise below which depth is not observable."""
LEAST_POINTS = 8
"""Points that a rigid group needs: five fix two cameras, the rest tells noise from parallax."""

_POSITION_STD = 0.003
"""Prior standard deviation of a tracked position, in half widths of the image."""
_RATIO_STD = 0.03
"""Prior standard deviation of a predicted log ratio."""
_LEAST_FRAMES_SEEN = 3
_BLOCK, _OVERLAP = 120, 40
"""Frames that are solved together, and frames that two blocks share."""
_LARGEST_DEPTH = 1e3
"""Points farther than so many units are as good as infinitely far."""

RigidProgress = Callable[[int, int], None]
"""Called with the number of blocks of frames solved, and how many there are."""


@dataclass(frozen=True)
class RigidSolution:
    """Depth in one common scale, and where the camera was.

    The unit of length is the median depth of the rigid points at the first frame in which any
    of them is seen; no tracks tell how long it is in metres.

    Attributes:
        depth: ``(T, N)`` float32 z-depth. Points outside the rigid group are anchored where they
            touch it (see ``anchored``) and NaN otherwise; so is everything where not
            ``observable``.
        rotation: ``(T, 3, 3)`` world to camera; the world is the first camera's frame.
        translation: ``(T, 3)`` world to camera.
        rigid: ``(N,)`` bool, the points of the largest group that moves as one with the scene.
        anchored: ``(N,)`` bool, points outside the group whose scale comes from rigid points
            that they touch: uncertain.
        log_depth_std: ``(N,)`` float32, standard error of the logarithm of each depth's scale as
            the fit sees it; infinite where depth is NaN.
        confidence: parallax, after the best rotation of the camera, over what the fit leaves of
            the tracks: a signal-to-noise ratio. Below ``LEAST_CONFIDENCE`` depth is not
            observable.
        observable: whether the tracks tell depth at all.
        reason: why not, in plain words; empty where ``observable``.
        intrinsics: as given, or with the focal length that was estimated.
    """

    depth: NDArray[np.float32]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    rigid: NDArray[np.bool_]
    anchored: NDArray[np.bool_]
    log_depth_std: NDArray[np.float32]
    confidence: float
    observable: bool
    reason: str
    intrinsics: Intrinsics

    @property
    def extrinsics_w2c(self) -> NDArray[np.float32]:
        """``(T, 4, 4)`` world to camera, the world being the first camera's frame."""
        matrix = np.tile(np.eye(4, dtype=np.float32), (len(self.rotation), 1, 1))
        matrix[:, :3, :3] = self.rotation
        matrix[:, :3, 3] = self.translation
        return matrix


def solve_rigid(
    log_ratio: NDArray[np.floating],
    xy: NDArray[np.floating],
    visible: NDArray[np.bool_],
    intrinsics: Intrinsics,
    *,
    log_ratio_std: NDArray[np.floating] | None = None,
    query_frame: NDArray[np.integer] | int = 0,
    estimate_focal: bool = False,
    progress: RigidProgress | None = None,
) -> RigidSolution:
    """Depth of tracked points in one common scale, from their parallax.

    Args:
        log_ratio: ``(T, N)`` predicted log of depth over depth at each point's query frame; NaN
            where there is no prediction.
        xy: ``(T, N, 2)`` pixels (centres at +0.5).
        visible: ``(T, N)`` bool; hidden positions do not count.
        intrinsics: of the frames that ``xy`` is measured in.
        log_ratio_std: ``(T, N)`` standard deviation of ``log_ratio``, taken as 0.03 at least;
            0.03 where None.
        query_frame: ``(N,)`` frame in which each track starts. A track's reference depth is an
            unknown of its own, so this only needs to fit ``log_ratio``.
        estimate_focal: refine the focal length, too; needs strong parallax.
        progress: told how far it is.

    Raises:
        KinedepthError: if arrays do not fit each other, or there are too few points or frames.
    """
    log_ratio, xy, visible = _checked(log_ratio, xy, visible)
    frames, points = visible.shape
    seen = observations(log_ratio, xy, visible, intrinsics, log_ratio_std)
    known = (seen.ray_weight > 0).sum(0) >= min(_LEAST_FRAMES_SEEN, frames)
    if known.sum() < LEAST_POINTS:
        raise KinedepthError(
            f"Depth from parallax needs at least {LEAST_POINTS} points that are seen in "
            f"{min(_LEAST_FRAMES_SEEN, frames)} frames or more; {int(known.sum())} are. "
            f"Follow more points."
        )
    blocks, refined = [], intrinsics
    planned = plan_blocks(frames, _BLOCK, _OVERLAP)
    for index, block in enumerate(planned):
        # The focal length is that of the clip; the first block settles it.
        scene, factor = _solve_block(seen, block, estimate_focal and index == 0)
        if factor != 1.0:
            refined = replace(intrinsics, fx=intrinsics.fx * factor, fy=intrinsics.fy * factor)
            seen = observations(log_ratio, xy, visible, refined, log_ratio_std)
        blocks.append(scene)
        if progress is not None:
            progress(index + 1, len(planned))
    confidence = min(block.confidence for block in blocks)
    reason = _why_not(blocks)
    merged = merge_blocks(blocks) if not reason else None
    if merged is None:
        reason = reason or "two stretches of the clip share too few points to be related"
        return _nothing(frames, points, confidence, reason, blocks, refined)
    merged = _in_median_depths(merged, visible)
    place = (xy - [intrinsics.cx, intrinsics.cy]) / (intrinsics.width / 2)
    relative = np.where(seen.ratio_weight > 0, log_ratio, np.nan)
    depth, anchored = anchor_by_contact(merged.depth, relative, place, visible, merged.member)
    return RigidSolution(
        depth=depth.astype(np.float32),
        rotation=merged.rotation,
        translation=merged.translation,
        rigid=merged.member,
        anchored=anchored,
        log_depth_std=merged.log_depth_std.astype(np.float32),
        confidence=confidence,
        observable=True,
        reason="",
        intrinsics=refined,
    )


def _checked(
    log_ratio: NDArray[np.floating], xy: NDArray[np.floating], visible: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """The arrays in double precision, where a point counts as visible only where finite."""
    log_ratios: NDArray[np.float64] = np.asarray(log_ratio, dtype=np.float64)
    places: NDArray[np.float64] = np.asarray(xy, dtype=np.float64)
    if places.ndim != 3 or places.shape[2] != 2 or places.shape[0] < 2:
        raise KinedepthError(
            f"Depth from parallax needs positions of shape (T, N, 2) in two frames or more; "
            f"got {places.shape}."
        )
    seen: NDArray[np.bool_] = np.asarray(visible, dtype=bool)
    for name, array in (("log_ratio", log_ratios), ("visible", seen)):
        if array.shape != places.shape[:2]:
            raise KinedepthError(
                f"{name} has shape {array.shape}, but the positions ask for {places.shape[:2]}."
            )
    return log_ratios, places, seen & np.isfinite(places).all(-1)


def observations(
    log_ratio: NDArray[np.float64],
    xy: NDArray[np.float64],
    visible: NDArray[np.bool_],
    intrinsics: Intrinsics,
    log_ratio_std: NDArray[np.floating] | None,
) -> Observations:
    """Positions in pixels and predicted ratios with their weights; see :func:`solve_rigid`."""
    ray = (xy - [intrinsics.cx, intrinsics.cy]) / [intrinsics.fx, intrinsics.fy]
    ray_std = _POSITION_STD * intrinsics.width / 2 / intrinsics.fx
    std = np.full(visible.shape, _RATIO_STD)
    if log_ratio_std is not None:
        # Errors of a track's predictions go together, so that many of them tell little more.
        std = np.maximum(np.asarray(log_ratio_std, dtype=np.float64), _RATIO_STD)
    if std.shape != visible.shape:
        raise KinedepthError(
            f"log_ratio_std has shape {std.shape}, but the positions ask for {visible.shape}."
        )
    predicted = visible & np.isfinite(log_ratio) & np.isfinite(std)
    return Observations(
        ray=np.where(visible[..., None], ray, 0.0),
        log_ratio=np.where(predicted, log_ratio, 0.0),
        ray_weight=visible / ray_std**2,
        ratio_weight=np.where(predicted, 1 / np.where(predicted, std, 1.0) ** 2, 0.0),
    )


def _solve_block(
    seen: Observations, block: range, estimate_focal: bool
) -> tuple[BlockScene, float]:
    """The scene of one block of frames, and the factor of the focal length."""
    points = seen.log_ratio.shape[1]
    here = seen.at(slice(block.start, block.stop), slice(None))
    known = (here.ray_weight > 0).sum(0) >= min(_LEAST_FRAMES_SEEN, len(block))
    place = np.full((points, 3), np.nan)
    std = np.full(points, np.inf)
    nowhere = np.tile(np.eye(3), (len(block), 1, 1)), np.zeros((len(block), 3))
    if known.sum() < LEAST_POINTS:
        return BlockScene(block, *nowhere, place, known, std, 0.0), 1.0
    part = here.at(slice(None), np.flatnonzero(known))
    group = find_rigid_group(part, estimate_focal)
    found = group.reconstruction
    confidence = parallax_to_noise(found, part, group.member)
    inverse, std[known] = depth_uncertainty(found, part)
    index = np.flatnonzero(known)[group.member]
    place[index] = found.point[group.member, :3] / inverse[group.member, None]
    std[np.flatnonzero(known)[~group.member]] = np.inf
    scene = BlockScene(block, found.rotation, found.translation, place, known, std, confidence)
    return scene, found.focal_factor


def _why_not(blocks: list[BlockScene]) -> str:
    """Why depth is not observable, if it is not."""
    for block in blocks:
        where = (
            f" in frames {block.frames.start} to {block.frames.stop - 1}" if len(blocks) > 1 else ""
        )
        if block.member.sum() < LEAST_POINTS:
            return f"fewer than {LEAST_POINTS} points move as one{where}"
        if block.confidence < LEAST_CONFIDENCE:
            return (
                f"the camera hardly moves from its place{where}: parallax is "
                f"{block.confidence:.1f} times the tracks' noise, and depth needs "
                f"{LEAST_CONFIDENCE:g}"
            )
    return ""


def _in_median_depths(scene: MergedScene, visible: NDArray[np.bool_]) -> MergedScene:
    """The scene in units of the median depth of the rigid points seen first."""
    counted = visible & scene.member & (scene.depth > 0)
    first = int(np.argmax(counted.any(1)))
    unit = float(np.median(scene.depth[first, counted[first]])) if counted.any() else 1.0
    # What is hidden may lie behind the camera, where z-depth has no meaning as a scale.
    depth = np.clip(scene.depth / unit, 1 / _LARGEST_DEPTH, _LARGEST_DEPTH)
    return replace(scene, depth=depth, translation=scene.translation / unit)


def _nothing(
    frames: int,
    points: int,
    confidence: float,
    reason: str,
    blocks: list[BlockScene],
    intrinsics: Intrinsics,
) -> RigidSolution:
    """No depth; of a single block its turning camera is still known."""
    rotation = blocks[0].rotation if len(blocks) == 1 else np.tile(np.eye(3), (frames, 1, 1))
    return RigidSolution(
        depth=np.full((frames, points), np.nan, np.float32),
        rotation=rotation,
        translation=np.zeros((frames, 3)),
        rigid=blocks[0].member if len(blocks) == 1 else np.zeros(points, bool),
        anchored=np.zeros(points, bool),
        log_depth_std=np.full(points, np.inf, np.float32),
        confidence=confidence,
        observable=False,
        reason=reason,
        intrinsics=intrinsics,
    )
