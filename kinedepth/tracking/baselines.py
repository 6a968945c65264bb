"""Two plain trackers that the embedded one is measured against.

Both chain from frame to frame and never look further back: what they lose, they lose for good.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.tracking._dense_flow import DenseFlow
from kinedepth.tracking._passes import FollowingTracker

TOLERANCE = 1.0
"""Pixels of forward-backward disagreement that are always forgiven..."""
RELATIVE_TOLERANCE = 0.05
"""... and the further share of the motion between the two frames that is."""


class _ChainingFollower:
    """Carries points frame to frame; a point is hidden from its first failed check onwards."""

    def __init__(self, width: int, height: int) -> None:
        self._size = np.array([width, height])
        self._grey: NDArray[np.uint8] | None = None
        self._xy = np.zeros((0, 2))
        self._visible = np.zeros(0, bool)

    def advance(self, image: NDArray[np.uint8]) -> None:
        """Carry all points into ``image (h, w, 3)``."""
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        if self._grey is not None and len(self._xy):
            moved, error = self._carry(self._grey, grey, self._xy)
            motion = np.hypot(*(moved - self._xy).T)
            inside = ((moved > -0.5) & (moved < self._size - 0.5)).all(1)
            consistent = error <= TOLERANCE + RELATIVE_TOLERANCE * motion
            self._xy = np.clip(moved, -0.5 * self._size, 1.5 * self._size)
            self._visible = self._visible & inside & consistent
        self._grey = grey

    def _carry(
        self, before: NDArray[np.uint8], after: NDArray[np.uint8], xy: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points ``(N, 2)`` in the frame after, and their forward-backward error ``(N,)``."""
        raise NotImplementedError

    def seed(self, xy: NDArray[np.float64]) -> None:
        """Add points ``(M, 2)``."""
        self._xy = np.concatenate([self._xy, xy])
        self._visible = np.concatenate([self._visible, np.ones(len(xy), bool)])

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Forget the points outside ``mask``."""
        self._xy, self._visible = self._xy[mask], self._visible[mask]

    def positions(self) -> NDArray[np.float64]:
        """``(N, 2)``."""
        return self._xy

    def visible(self) -> NDArray[np.bool_]:
        """``(N,)``."""
        return self._visible

    def state(self) -> dict[str, NDArray]:
        """The newest frame and what is known in it."""
        assert self._grey is not None, "asked before a frame was shown"
        return {"grey": self._grey, "xy": self._xy, "visible": self._visible}

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Become what a follower was that gave this ``state``."""
        self._grey, self._xy, self._visible = (state[n] for n in ("grey", "xy", "visible"))


class _LucasKanadeFollower(_ChainingFollower):
    def _carry(
        self, before: NDArray[np.uint8], after: NDArray[np.uint8], xy: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        start = np.ascontiguousarray(xy, np.float32)
        there, found, _ = _lucas_kanade(before, after, start)
        back, found_back, _ = _lucas_kanade(after, before, there)
        error = np.hypot(*(back - start).T).astype(np.float64)
        error[(found[:, 0] == 0) | (found_back[:, 0] == 0)] = np.inf
        moved = np.where(np.isfinite(there), there, start).astype(np.float64)
        return moved, error


def _lucas_kanade(a: NDArray, b: NDArray, xy: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    return cv2.calcOpticalFlowPyrLK(a, b, xy, None, winSize=(21, 21), maxLevel=4)  # type: ignore[call-overload]


class _FlowChainFollower(_ChainingFollower):
    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self._flow = DenseFlow()

    def _carry(
        self, before: NDArray[np.uint8], after: NDArray[np.uint8], xy: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._flow.between(before, after).carry(xy)


class LucasKanadeTracker(FollowingTracker):
    """Pyramidal Lucas-Kanade (Bouguet, 2001) with a forward-backward check at every step."""

    name = "lucas-kanade"

    def make_follower(self, width: int, height: int) -> _LucasKanadeFollower:
        """For working images of this size."""
        return _LucasKanadeFollower(width, height)


class ChainedFlowTracker(FollowingTracker):
    """Dense flow followed from each frame to the next; hidden once the way back disagrees."""

    name = "flow-chained"

    def make_follower(self, width: int, height: int) -> _FlowChainFollower:
        """For working images of this size."""
        return _FlowChainFollower(width, height)
