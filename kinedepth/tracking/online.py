"""Following points through frames that come one by one, for as long as they come.

What is lost is replaced: a point that stays hidden or leaves the frame is given up, and a cell of
the grid in which nothing is seen any more gets a new point at its centre. So about as many points
are alive as were asked for, spread over the frame, whatever the camera does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinedepth.tracking._passes import shrink, working_size
from kinedepth.tracking.flow import FlowFollower, FlowSettings
from kinedepth.tracks import grid_points

ONLINE_SIDE = 480
"""Longest image side, in pixels, that frames are tracked at when they must not wait."""

ONLINE_FLOW = FlowSettings(intervals=(1, 4, 16))
"""Half of the intervals, half of the time; what that costs is in ``benchmarks/live_speed.py``."""

PATIENCE = 8
"""Frames in a row that a point may be hidden before it is given up."""

EMPTY = -1
"""Number of a slot without a point."""

_CROWD = 2
"""Points that a cell keeps when points are needed elsewhere."""


class PointPool:
    """Points in slots: a slot keeps its point until that is lost, then takes a new one.

    There is one slot for each cell of one or more grids over the frame, in the order of the
    grids. Numbers count up and are never used twice.

    Attributes:
        frame: index of the frame shown last, from 0; -1 before the first.
        number: ``(S,)`` int64, the point in each slot, or :data:`EMPTY`.
        since: ``(S,)`` int64, the frame in which that point was put down.
        xy: ``(S, 2)`` float32, pixels of the frame (centres at +0.5); finite.
        visible: ``(S,)`` bool; false in empty slots.
    """

    def __init__(
        self,
        width: int,
        height: int,
        points: Sequence[int],
        *,
        settings: FlowSettings = ONLINE_FLOW,
        side: int = ONLINE_SIDE,
        patience: int = PATIENCE,
        first_number: int = 0,
    ) -> None:
        """``points`` are about as many for each grid; cells are near square."""
        self._size = np.array([width, height])
        self._working = working_size(width, height, side)
        self._scale = np.array(self._working) / self._size
        self._follower = FlowFollower(*self._working, settings)
        self._patience = patience
        self.grids = [grid_shape(width, height, count) for count in points]
        slots = sum(columns * rows for columns, rows in self.grids)
        self.frame = -1
        self.number = np.full(slots, EMPTY, np.int64)
        self.since = np.zeros(slots, np.int64)
        self.xy = np.zeros((slots, 2), np.float32)
        self.visible = np.zeros(slots, bool)
        self._hidden = np.zeros(slots, np.int64)  # frames in a row
        self._followed = np.zeros(0, np.intp)  # slots, in the follower's order
        self.next_number = first_number

    def __len__(self) -> int:
        """S, the number of slots."""
        return len(self.number)

    def advance(self, image: NDArray[np.uint8]) -> None:
        """Carry the points into ``image (H, W, 3)`` RGB, and replace those that are lost."""
        self.frame += 1
        self._follower.advance(shrink(image, *self._working))
        if len(self._followed):
            self._read()
        lost = self._lost()
        first = 0
        seeds: list[NDArray[np.float32]] = []
        slots: list[NDArray[np.intp]] = []
        for columns, rows in self.grids:
            mine = np.arange(first, first + columns * rows)
            first += columns * rows
            wanted = self._empty_cells(mine[~lost[mine]], columns, rows)
            free = mine[lost[mine] | (self.number[mine] == EMPTY)]
            if len(wanted) > len(free):
                given_up = self._surplus(mine[~lost[mine]], columns, rows, len(wanted) - len(free))
                lost[given_up] = True
                free = np.concatenate([free, given_up])
            count = min(len(wanted), len(free))
            seeds.append(wanted[:count])
            slots.append(free[:count])
        self._drop(lost)
        self._seed(np.concatenate(slots), np.concatenate(seeds))

    def _read(self) -> None:
        """Take over where the follower has the points."""
        xy = (self._follower.positions() + 0.5) / self._scale
        self.xy[self._followed] = np.clip(xy, -0.5 * self._size, 1.5 * self._size)
        self.visible[self._followed] = self._follower.visible()
        self._hidden = np.where(self.visible, 0, self._hidden + 1)

    def _lost(self) -> NDArray[np.bool_]:
        """``(S,)`` points hidden for too long, or out of the frame."""
        outside = ((self.xy < 0) | (self.xy > self._size)).any(1)
        return (self.number != EMPTY) & (outside | (self._hidden > self._patience))

    def _cells(
        self, slots: NDArray[np.intp], columns: int, rows: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The slots whose points are seen, and the cell of each."""
        seen = slots[self.visible[slots]]
        place = (self.xy[seen] / self._size * [columns, rows]).astype(np.intp)
        column, row = np.clip(place, 0, [columns - 1, rows - 1]).T
        return seen, row * columns + column

    def _empty_cells(self, slots: NDArray[np.intp], columns: int, rows: int) -> NDArray[np.float32]:
        """Centres ``(E, 2)`` of cells in which no point is seen, the loneliest first."""
        seen, cells = self._cells(slots, columns, rows)
        centres = grid_points(int(self._size[0]), int(self._size[1]), columns, rows)
        centres = centres[np.setdiff1d(np.arange(columns * rows), cells)]
        if not len(seen) or not len(centres):
            return centres
        away = np.linalg.norm(centres[:, None] - self.xy[seen], axis=-1).min(axis=1)
        return centres[np.argsort(-away, kind="stable")]

    def _surplus(
        self, slots: NDArray[np.intp], columns: int, rows: int, most: int
    ) -> NDArray[np.intp]:
        """Up to ``most`` slots of crowded cells, the youngest points of the fullest cells first."""
        seen, cells = self._cells(slots, columns, rows)
        order = np.lexsort([self.since[seen], cells])
        seen, cells = seen[order], cells[order]
        rank = np.arange(len(cells)) - np.searchsorted(cells, cells)
        chosen = np.argsort(-rank, kind="stable")[:most]
        return seen[chosen[rank[chosen] >= _CROWD]]

    def _drop(self, lost: NDArray[np.bool_]) -> None:
        if not lost.any():
            return
        self.number[lost] = EMPTY
        self.visible[lost] = False
        staying = ~lost[self._followed]
        self._follower.keep(staying)
        self._followed = self._followed[staying]

    def _seed(self, slots: NDArray[np.intp], xy: NDArray[np.float32]) -> None:
        if not len(slots):
            return
        self._follower.seed(xy * self._scale - 0.5)
        self._followed = np.concatenate([self._followed, slots])
        self.number[slots] = np.arange(self.next_number, self.next_number + len(slots))
        self.next_number += len(slots)
        self.since[slots] = self.frame
        self.xy[slots] = xy
        self.visible[slots] = True
        self._hidden[slots] = 0


def grid_shape(width: int, height: int, count: int) -> tuple[int, int]:
    """Columns and rows of near-square cells over a frame, about ``count`` of them."""
    columns = max(1, round((count * width / height) ** 0.5))
    return columns, max(1, round(count / columns))
