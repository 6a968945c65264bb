"""Points drawn over frames that are still coming: nothing is known of what comes next."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinedepth.viewing.colour_scale import RATIO_TABLE, ColourScale
from kinedepth.viewing.hollowness import hole_share, widest_hole
from kinedepth.viewing.legend import draw_legend
from kinedepth.viewing.overlay import TAIL_FRAMES, OverlayPainter

LIVE_LIMIT = math.log(1.4)
"""Log ratio at the ends of the scale. It is fixed: a scale that followed the points would change
what a colour means while one looks at it."""


class LivePoints(NamedTuple):
    """Points of one frame, each known again by its number.

    Attributes:
        number: ``(N,)`` int64.
        xy: ``(N, 2)`` pixels (centres at +0.5).
        visible: ``(N,)`` bool.
        log_ratio: ``(N,)``; NaN where it is not known yet.
        log_ratio_std: ``(N,)``, likewise.
    """

    number: NDArray[np.int64]
    xy: NDArray[np.float32]
    visible: NDArray[np.bool_]
    log_ratio: NDArray[np.float32]
    log_ratio_std: NDArray[np.float32]


def live_scale(limit: float = LIVE_LIMIT) -> ColourScale:
    """Colours of log ratios from ``-limit`` (nearer) to ``limit`` (farther)."""
    return ColourScale("ratio", -limit, limit, RATIO_TABLE)


class LiveOverlayPainter(OverlayPainter):
    """Draws points on each frame as it comes, as :class:`OverlayPainter` does on whole films.

    Points whose ratio is not known yet are hollow and without colour.

    Args:
        width, height: of the frames in pixels.
        points: about how many there are.
        tail_frames: length of the tails, 0 for none.
    """

    def __init__(
        self, width: int, height: int, points: int, tail_frames: int = TAIL_FRAMES
    ) -> None:
        self.scale = live_scale()
        self.tail_frames = tail_frames
        self.radius = self.dot_radius(width, height, points)
        self.widest_hole = widest_hole(self.radius)
        self.legend = draw_legend(self.scale, width, height, explain_holes=True)
        self._size = width, height
        self._recent: deque[LivePoints] = deque(maxlen=tail_frames + 1)

    def paint_points(self, frame: NDArray[np.uint8], points: LivePoints) -> NDArray[np.uint8]:
        """A copy of ``frame (H, W, 3)`` uint8 RGB with the points and their tails.

        Call it for every frame shown, in order: tails come from the calls before.
        """
        self._recent.append(points)
        self._lay_out(points.number)
        newest = len(self._recent) - 1
        canvas = self._with_faint_marks(np.ascontiguousarray(frame), newest)
        self._draw_visible_points(canvas, newest)
        self.legend.draw_on(canvas)
        return canvas

    def _lay_out(self, number: NDArray[np.int64]) -> None:
        """The recent frames' points as tracks ``(T, N)`` of the newest frame's points."""
        shape = len(self._recent), len(number)
        xy = np.zeros((*shape, 2), np.float32)
        log_ratio, std = np.full(shape, np.nan), np.full(shape, np.nan)
        self.visible = np.zeros(shape, bool)
        for row, points in enumerate(self._recent):
            _, now, then = np.intersect1d(
                number, points.number, assume_unique=True, return_indices=True
            )
            xy[row, now] = points.xy[then]
            self.visible[row, now] = points.visible[then]
            log_ratio[row, now] = points.log_ratio[then]
            std[row, now] = points.log_ratio_std[then]
        self.colour_index = self.scale.index(log_ratio).astype(np.uint16)
        self.depth = np.exp(log_ratio).astype(np.float32)
        self.holes = hole_share(std)
        self.position = self.fixed_point(xy, self._size[0])
