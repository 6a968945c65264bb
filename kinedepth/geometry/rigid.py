"""Depth and camera motion from the tracks of a rigid scene, without any depth model.

The model: r(i,t) u(i,t) = R_t X_i + q_i tau_t, where u = K^-1 (x, y, 1) is the ray of point i in
frame t, r its depth at t over a reference depth of its own, and q_i the inverse of that reference
depth. R_t and tau_t are the camera's motion. Tracks give u; predicted depth ratios are a soft
prior on r. ``docs/rigid_anchor.md`` tells the mathematics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics

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
        log_ratio_std: ``(T, N)`` standard deviation of ``log_ratio``; 0.03 where None.
        query_frame: ``(N,)`` frame in which each track starts.
        estimate_focal: refine the focal length, too; needs strong parallax.
        progress: told how far it is.

    Raises:
        KinedepthError: if arrays do not fit each other, or there are too few points or frames.
    """
    raise NotImplementedError
