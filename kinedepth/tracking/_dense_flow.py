"""Dense optical flow between two frames, in both directions, and its disagreement at points.

The flow is DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016) as
OpenCV implements it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.tracking._sampling import bilinear

SMALLEST_SIDE = 32
"""Images with a shorter side are padded to this many pixels, below which DIS has no levels."""


@dataclass(frozen=True)
class FlowPair:
    """Flow from frame a to frame b and back.

    Attributes:
        forward: ``(h, w, 2)`` float32, pixels of a to displacements towards b.
        backward: ``(h, w, 2)`` float32, pixels of b to displacements towards a.
    """

    forward: NDArray[np.float32]
    backward: NDArray[np.float32]

    def carry(self, xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points ``(N, 2)`` of frame a in frame b, and their forward-backward error ``(N,)``.

        The error is the distance, in pixels, between a point and where the way there and back
        leaves it.
        """
        there = bilinear(self.forward, xy[:, 0], xy[:, 1]).astype(np.float64)
        arrived = xy + there
        back = bilinear(self.backward, arrived[:, 0], arrived[:, 1]).astype(np.float64)
        return arrived, np.hypot(*(there + back).T)


class DenseFlow:
    """Computes :class:`FlowPair` objects for grey frames of one size.

    OpenCV's medium preset, at half of its effort: patches every 4 pixels instead of 3 and 12
    steps of descent instead of 25 cost 0.5 points of Jaccard and save 30 % of the time; its
    fast preset would cost 3 to 10 points.
    """

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._dis.setPatchStride(4)
        self._dis.setGradientDescentIterations(12)

    def between(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> FlowPair:
        """Flow both ways between grey frames ``(h, w)``."""
        return FlowPair(self._flow(a, b), self._flow(b, a))

    def _flow(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = a.shape
        below, right = max(0, SMALLEST_SIDE - height), max(0, SMALLEST_SIDE - width)
        if below or right:
            a, b = (np.pad(image, ((0, below), (0, right)), mode="edge") for image in (a, b))
        flow = self._dis.calc(a, b, None)  # type: ignore[call-overload]
        return np.ascontiguousarray(flow[:height, :width], dtype=np.float32)
