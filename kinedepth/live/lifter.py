"""Points of frames that come one by one, and how their depth changes, at once.

No camera, file or thread is needed: whoever has frames pushes them.

::

    lifter = LiveLifter(points=100)
    for time, frame in camera:
        state = lifter.push(frame, time)
        state.log_ratio  # (N,) log of depth over depth where each point was first seen
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinedepth._frame_source import check_frame_size
from kinedepth.devices import find_device
from kinedepth.errors import KinedepthError
from kinedepth.live.joining import Ratios, RunningJoin
from kinedepth.seurat.checkpoint import load_checkpoint, read_calibration
from kinedepth.seurat.estimation import estimate_batch
from kinedepth.seurat.model import Seurat
from kinedepth.seurat.uncertainty import Calibration
from kinedepth.seurat.windows import Window, WindowEstimate
from kinedepth.tracking.flow import FlowSettings
from kinedepth.tracking.online import EMPTY, ONLINE_FLOW, ONLINE_SIDE, PATIENCE, PointPool
from kinedepth.tracks import Tracks

MOST_POINTS = 10_000
"""More is a mistake: far beyond what can be followed live."""

_SMALLEST_SIDE = 16
"""Pixels; smaller frames have no room for a point's surroundings."""


@dataclass(frozen=True)
class LiveSettings:
    """How a live lift spends its time; ``benchmarks/live_speed.py`` has what others cost."""

    support: int = 100
    """Points that are followed at least; those beyond the points asked for are there only to
    compare the others with. The network was trained among 64 and more."""
    every: int = 1
    """The network looks at a window every so many frames; in between, ratios go on as they did."""
    both_ways: bool = False
    """Whether it looks at each window backwards as well, as a lift does. In the same time it can
    look at twice as many windows, which brings more."""
    steps: tuple[int, ...] = (1, 2, 1, 4)
    """Frame steps of successive windows. Each window ends in the newest frame; short ones also
    tell of young points, long ones keep ratios from drifting."""
    side: int = ONLINE_SIDE
    """Longest side, in pixels, of the images that points are followed in."""
    flow: FlowSettings = ONLINE_FLOW
    """Of the tracker."""
    patience: int = PATIENCE
    """Frames in a row that a point may be hidden before another takes its place."""

    def __post_init__(self) -> None:
        least = {"support": 0, "every": 1, "side": _SMALLEST_SIDE, "patience": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise KinedepthError(f"{name} has to be {smallest} or more.")
        if not self.steps or min(self.steps) < 1:
            raise KinedepthError("Frame steps of windows have to be 1 or more.")


@dataclass(frozen=True)
class LiveState:
    """What is known of the points in the newest frame.

    Attributes:
        frame: index of the frame among those pushed, from 0.
        time: what was pushed with it.
        number: ``(N,)`` int64, which point each is; numbers count up and none is used twice.
        since: ``(N,)`` int64, the frame in which each point was put down.
        xy: ``(N, 2)`` float32 pixels (centres at +0.5).
        visible: ``(N,)`` bool; where false, ``xy`` is a guess.
        log_ratio: ``(N,)`` float32, log of depth over depth in the frame ``since``; NaN of points
            too young to tell: a window (8 frames), and at most two turns of :class:`LiveSettings`
            until a short one comes.
        log_ratio_std: ``(N,)`` float32, its standard deviation; NaN with it.
        restarted: whether all points are new because the size of the frames changed.
    """

    frame: int
    time: float
    number: NDArray[np.int64]
    since: NDArray[np.int64]
    xy: NDArray[np.float32]
    visible: NDArray[np.bool_]
    log_ratio: NDArray[np.float32]
    log_ratio_std: NDArray[np.float32]
    restarted: bool = False

    def __len__(self) -> int:
        """N, the number of points alive."""
        return len(self.number)


class LiveLifter:
    """Follows points through frames pushed one by one and tells how their depth changes.

    Deterministic: the same frames give the same states. Nothing is read ahead and nothing waits:
    a state tells of the frame just pushed. Frames may be left out; ratios need no times, only
    points that can still be followed.

    Args:
        points: about how many points to keep alive.
        model: a shipped model's name or a checkpoint file.
        settings: how to spend the time.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        KinedepthError: for an unknown model or device, or a number of points out of range.
    """

    def __init__(
        self,
        points: int = 100,
        model: str = "small",
        settings: LiveSettings | None = None,
        device: str = "auto",
    ) -> None:
        if not 1 <= points <= MOST_POINTS:
            raise KinedepthError(f"1 to {MOST_POINTS} points can be followed; got {points}.")
        self.settings = settings or LiveSettings()
        self._points = points
        self._network = network = load_checkpoint(model, find_device(device))
        both_ways = self.settings.both_ways and network.config.both_ways
        network.config = replace(network.config, both_ways=both_ways)
        self._calibration = read_calibration(model)
        self._frame = -1
        self._began = 0  # The frame from which on frames have their present size.
        self._follow: _Following | None = None
        self._warm_up()

    @property
    def window(self) -> int:
        """Frames of one window of the network."""
        return self._network.config.window

    def push(self, frame: NDArray[np.uint8], time: float) -> LiveState:
        """Carry all points into ``frame (H, W, 3)`` uint8 RGB, taken at ``time`` seconds.

        A frame of another size than the one before starts all points anew.

        Raises:
            KinedepthError: if ``frame`` is no such array, tiny, or larger than 2^26 pixels.
        """
        size = _checked_size(frame)
        self._frame += 1
        before = self._follow
        if before is None or before.size != size:
            self._began = self._frame
            numbered = 0 if before is None else before.pool.next_number
            self._follow = _Following(
                self._network, self._calibration, self.settings, self._points, size, numbered
            )
        assert self._follow is not None
        state = self._follow.push(frame, float(time))
        return replace(
            state,
            frame=self._began + state.frame,
            since=self._began + state.since,
            restarted=before is not None and before is not self._follow,
        )

    def _warm_up(self) -> None:
        """Run the network once: its first run takes many times as long as those to come."""
        length = self.window
        tracks = Tracks(
            np.zeros((length, 8, 2), np.float32), np.ones((length, 8), bool), np.array(0)
        )
        estimate_batch(self._network, [Window(0, 1, length)], [tracks], [tracks], (2, 1))


class _Seen(NamedTuple):
    """Where the points in all slots are in one frame."""

    xy: NDArray[np.float32]  # (S, 2)
    visible: NDArray[np.bool_]  # (S,)


class _Following:
    """Points in frames of one size, counted from its first.

    The first ``shown`` slots of the pool are the points asked for; behind them are those that
    are there to compare with.
    """

    def __init__(
        self,
        network: Seurat,
        calibration: Calibration,
        settings: LiveSettings,
        points: int,
        size: tuple[int, int],
        first_number: int,
    ) -> None:
        self.size = size
        self._network = network
        self._settings = settings
        besides = settings.support - points
        counts = [points, besides] if besides > 0 else [points]
        self.pool = PointPool(
            *size,
            counts,
            settings=settings.flow,
            side=settings.side,
            patience=settings.patience,
            first_number=first_number,
        )
        columns, rows = self.pool.grids[0]
        self._shown = columns * rows
        self._length = network.config.window
        span = max(settings.steps) * (self._length - 1) + 1
        self._seen: deque[_Seen] = deque(maxlen=span)
        # No window to come reaches frames further back than the longest spans. To settle them
        # well, windows around them are kept for as long again.
        self._join = RunningJoin(self._shown, span, 2 * span, calibration)
        self._ratios = Ratios.unknown(self._shown)

    def push(self, image: NDArray[np.uint8], time: float) -> LiveState:
        """Carry all points into the next frame."""
        pool, shown = self.pool, self._shown
        pool.advance(image)
        self._seen.append(_Seen(pool.xy.copy(), pool.visible.copy()))
        fresh = np.flatnonzero(pool.since[:shown] == pool.frame)
        self._join.begin(fresh, pool.frame)
        for values in self._ratios:
            values[fresh] = np.nan
        # Counted so that the first window comes as soon as its frames are there.
        turn, rest = divmod(pool.frame - (self._length - 1), self._settings.every)
        if turn >= 0 and rest == 0:
            self._estimate(turn)
        else:
            log_ratio, std, slope = self._ratios
            self._ratios = Ratios(log_ratio + slope, std, slope)
        alive = np.flatnonzero(pool.number[:shown] != EMPTY)
        return LiveState(
            frame=pool.frame,
            time=time,
            number=pool.number[alive],
            since=pool.since[alive],
            xy=pool.xy[alive],
            visible=pool.visible[alive],
            log_ratio=self._ratios.log_ratio[alive].astype(np.float32),
            log_ratio_std=self._ratios.std[alive].astype(np.float32),
        )

    def _estimate(self, turn: int) -> None:
        """Let the network look at a window that ends in the newest frame, and join it."""
        window = self._choose_window(turn)
        if window is not None:
            self._join.add(self._look(window))
        self._ratios = self._join.solve(self.pool.frame)

    def _older_than(self, window: Window) -> NDArray[np.bool_]:
        """``(S,)`` slots whose points were there when the window began."""
        return (self.pool.number != EMPTY) & (self.pool.since <= window.start)

    def _choose_window(self, turn: int) -> Window | None:
        """The longest window up to this turn's step that most points are old enough for."""
        most = self._settings.steps[turn % len(self._settings.steps)]
        alive = np.count_nonzero(self.pool.number[: self._shown] != EMPTY)
        for step in sorted({1, *self._settings.steps}, reverse=True):
            window = Window(self.pool.frame - step * (self._length - 1), step, self._length)
            if step > most or window.start < 0:
                continue
            known = np.count_nonzero(self._older_than(window)[: self._shown])
            if known and (2 * known >= alive or step == 1):
                return window
        return None

    def _look(self, window: Window) -> WindowEstimate:
        """The network's estimate of the points shown that are old enough for the window."""
        seen = [self._seen[frame - self.pool.frame - 1] for frame in window.frames]
        xy = np.stack([each.xy for each in seen])
        visible = np.stack([each.visible for each in seen])
        known = self._older_than(window)
        around = known & visible[0]
        if not around.any():
            around = known  # With nothing seen at first, guesses have to stand in.
        columns = np.flatnonzero(known[: self._shown])
        queries = Tracks(xy[:, columns], visible[:, columns], np.array(0))
        support = Tracks(xy[:, around], visible[:, around], np.array(0))
        (found,) = estimate_batch(self._network, [window], [queries], [support], self.size)

        def in_slots(values: NDArray, empty: float) -> NDArray:
            full = np.full((self._length, self._shown), empty, values.dtype)
            full[:, columns] = values
            return full

        return WindowEstimate(
            window,
            in_slots(found.log_ratio, 0.0),
            in_slots(found.scale, 1.0),
            in_slots(found.visible, False),
            known[: self._shown],
        )


def _checked_size(frame: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of a frame that points can be followed in."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise KinedepthError(
            f"A frame needs shape (H, W, 3) and type uint8; got {frame.shape} {frame.dtype}."
        )
    height, width = frame.shape[:2]
    if min(width, height) < _SMALLEST_SIDE:
        raise KinedepthError(
            f"Frames have to be {_SMALLEST_SIDE} pixels a side at least; got {width}x{height}."
        )
    check_frame_size("A frame", width, height)
    return width, height
