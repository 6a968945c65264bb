"""Time to contact: seconds until a point reaches the camera plane, from depth ratios alone.

With r(t) = d(t) / d(0), the depth ratio of a point, its closing rate is

    c(t) = -(dr / dt) / r = -(dd / dt) / d        in 1 / s,

and 1 / c the time until its depth is 0 if it goes on as it does. No depth, size or speed has to
be known: any scale of d cancels. At constant closing speed r is linear in time (its logarithm is
not), so c is read off a straight line fitted to r over a short window of time.

Uncertainty is kept in c, which passes smoothly through 0 where a point neither approaches nor
recedes. An interval of c that reaches 0 or below is an interval of time that reaches infinity:
contact then is not claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from kinedepth._closing_rate import LEAST_FRAMES, fit_closing_rate
from kinedepth.errors import KinedepthError
from kinedepth.tracks import Tracks3D

WINDOW = 0.25
"""Seconds that a fit spans. Ratios come smoothed, so longer windows gain little where the speed
is steady and lose much where it is not (``benchmarks/time_to_contact.py``)."""

SYSTEMATIC_ERROR = 0.01
"""Standard deviation of the log ratio's change over a window that residuals do not show.

Neighbouring frames' ratios come from the same windows of the same network, so most of their
error is shared and tilts the line. With what :func:`_unsteadiness` adds, intervals of 90 % held
89 % of the true closing rates on rendered clips of jerky motion, and more where it is steady."""

_LONGER = 3
"""Times the window that the line is fitted to whose tilt tells whether the speed is steady."""


@dataclass(frozen=True)
class TimeToContact:
    """How fast points close in, and what follows for the time until they arrive.

    Attributes:
        times: ``(T,)`` seconds of each frame.
        closing_rate: ``(T, N)`` 1 / s; positive where a point approaches, NaN where too few
            frames around show it.
        closing_rate_std: ``(T, N)`` its standard deviation; NaN with it.
        margin: ``(T, N)`` half width of the interval of the closing rate; NaN with it.
        confidence: that the true closing rate lies in the interval.
    """

    times: NDArray[np.float64]
    closing_rate: NDArray[np.float64]
    closing_rate_std: NDArray[np.float64]
    margin: NDArray[np.float64]
    confidence: float

    @property
    def seconds(self) -> NDArray[np.float64]:
        """``(T, N)`` s: best estimate; infinite unless the whole interval says approach."""
        return np.where(self.approaches, _inverse(self.closing_rate), np.inf)

    @property
    def soonest(self) -> NDArray[np.float64]:
        """``(T, N)`` s: contact is hardly sooner; infinite if even then there is none, NaN where
        nothing is known."""
        fastest = self.closing_rate + self.margin
        return np.where(np.isnan(fastest), np.nan, _inverse(fastest))

    @property
    def latest(self) -> NDArray[np.float64]:
        """``(T, N)`` s: contact is hardly later; infinite where the point may not come at all."""
        return _inverse(self.closing_rate - self.margin)

    @property
    def approaches(self) -> NDArray[np.bool_]:
        """``(T, N)``: the whole interval of the closing rate lies above 0."""
        return np.asarray(self.closing_rate - self.margin > 0)

    def warnings(
        self, seconds: float, visible: NDArray[np.bool_], persistence: int = 3
    ) -> NDArray[np.bool_]:
        """``(T, N)``: where contact within ``seconds`` is as good as certain, and has been.

        The latest time has to be below ``seconds``; with the interval's confidence q this holds
        with probability (1 + q) / 2, 95 % for 90 %. And it has to be so in ``persistence``
        frames in a row in which the point is visible, this one being the last, so that a single
        glitch does not warn.

        Raises:
            KinedepthError: if ``seconds`` or ``persistence`` is not positive.
        """
        check_warning(seconds)
        if persistence < 1:
            raise KinedepthError(f"A warning lasts at least one frame; got {persistence}.")
        urgent = (self.latest < seconds) & visible
        run = np.zeros(urgent.shape[1], dtype=np.int64)
        warned = np.zeros_like(urgent)
        for frame, now in enumerate(urgent):
            run = np.where(now, run + 1, 0)
            warned[frame] = run >= persistence
        return warned


def time_to_contact(
    tracks3d: Tracks3D,
    times: ArrayLike,
    window: float = WINDOW,
    confidence: float = 0.9,
    systematic_error: float = SYSTEMATIC_ERROR,
) -> TimeToContact:
    """Closing rate of every track in every frame, with an interval.

    In each frame a line is fitted to the ratios of the frames around it, by least squares that
    count outliers less; frames in which the point is hidden do not count. At the ends of the clip
    the window is moved inside. The standard deviation joins

    - what residuals show;
    - an error of the ratio's change over the window that they do not: ``systematic_error`` or,
      where the tracks carry ``log_ratio_std (T, N)``, what that grows by if it is more;
    - how unsteady the closing speed is, which a line takes for steady.

    Args:
        tracks3d: lifted tracks; only ``log_ratio``, its deviation and visibility are used.
        times: ``(T,)`` seconds of the frames, increasing.
        window: seconds that a fit spans; at least :data:`LEAST_FRAMES` frames are taken.
        confidence: of the intervals, between 0 and 1.
        systematic_error: see :data:`SYSTEMATIC_ERROR`.

    Raises:
        KinedepthError: if there are too few frames, or times, window or confidence are not
            what they have to be.
    """
    seconds = _checked_times(times, len(tracks3d.log_ratio))
    if not (np.isfinite(window) and window > 0):
        raise KinedepthError(f"The window has to be a positive number of seconds; got {window}.")
    if not 0 < confidence < 1:
        raise KinedepthError(f"A confidence lies between 0 and 1; got {confidence}.")
    rate, random, freedom = _rates(tracks3d, seconds, window)
    long_rate, _, _ = _rates(tracks3d, seconds, _LONGER * window)
    hidden = _systematic(tracks3d, seconds, window, systematic_error)
    unsteady = _unsteadiness(rate - long_rate, random, seconds, window)
    std = np.sqrt(random**2 + hidden**2 + unsteady**2)
    quantile = student_t.ppf((1 + confidence) / 2, np.nan_to_num(freedom, nan=1.0))
    return TimeToContact(seconds, rate, std, quantile * std, confidence)


def check_warning(seconds: float) -> None:
    """Raise KinedepthError unless one can warn within so many seconds."""
    if not (np.isfinite(seconds) and seconds > 0):
        raise KinedepthError(f"A warning needs a positive number of seconds; got {seconds}.")


def frame_times(count: int, fps: float) -> NDArray[np.float64]:
    """Seconds ``(count,)`` of frames at a constant rate.

    Raises:
        KinedepthError: if the rate is not positive.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise KinedepthError(f"The frame rate has to be a positive number; got {fps}.")
    return np.arange(count) / fps


def _checked_times(times: ArrayLike, frames: int) -> NDArray[np.float64]:
    seconds = np.asarray(times, dtype=np.float64)
    if seconds.shape != (frames,):
        raise KinedepthError(f"The tracks have {frames} frames, but times {seconds.shape}.")
    if frames < LEAST_FRAMES:
        raise KinedepthError(
            f"Time to contact needs at least {LEAST_FRAMES} frames; the clip has {frames}."
        )
    if not np.isfinite(seconds).all() or not (np.diff(seconds) > 0).all():
        raise KinedepthError("The frames' times have to be finite and increasing.")
    return seconds


def _frames_around(frame: int, seconds: NDArray[np.float64], window: float) -> slice:
    """As many frames as ``window`` spans at the clip's own rate, ``frame`` in the middle."""
    step = float(np.median(np.diff(seconds)))
    count = min(max(LEAST_FRAMES, round(window / step) + 1), len(seconds))
    first = min(max(frame - count // 2, 0), len(seconds) - count)
    return slice(first, first + count)


def _rates(
    tracks3d: Tracks3D, seconds: NDArray[np.float64], window: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Closing rates, their standard deviation by residuals, degrees of freedom, each ``(T, N)``."""
    log_ratio = np.asarray(tracks3d.log_ratio, dtype=np.float64)
    visible = tracks3d.tracks.visible
    frames, points = visible.shape
    result = np.empty((3, frames, points))
    for frame in range(frames):
        around = _frames_around(frame, seconds, window)
        time = seconds[around] - seconds[frame]
        result[:, frame] = fit_closing_rate(log_ratio[around], visible[around], time)
    return result[0], result[1], result[2]


def _systematic(
    tracks3d: Tracks3D, seconds: NDArray[np.float64], window: float, least: float
) -> NDArray[np.float64]:
    """``(T, N)`` 1 / s: error of the ratio's change over each frame's window, over its span."""
    reported = getattr(tracks3d, "log_ratio_std", None)
    frames, points = tracks3d.tracks.visible.shape
    result = np.empty((frames, points))
    for frame in range(frames):
        around = _frames_around(frame, seconds, window)
        error = np.full(points, float(least))
        if reported is not None:
            # It grows along the way from the query frame, on which errors add up.
            error = np.maximum(error, np.abs(np.diff(reported[around], axis=0)).sum(axis=0))
        result[frame] = error / (seconds[around][-1] - seconds[around][0])
    return result


def _unsteadiness(
    difference: NDArray[np.float64],
    random: NDArray[np.float64],
    seconds: NDArray[np.float64],
    window: float,
) -> NDArray[np.float64]:
    """``(T, N)`` 1 / s: by how much rates of short and long windows differ, noise taken off.

    At constant speed both are the same, whatever the speed. Root mean square over the frames of
    the long window, since a difference passes through 0 where it changes its sign.
    """
    excess = np.empty_like(difference)
    squares = difference**2 - random**2
    for frame in range(len(seconds)):
        around = _frames_around(frame, seconds, _LONGER * window)
        known = np.isfinite(squares[around])
        total = np.where(known, squares[around], 0.0).sum(axis=0)
        excess[frame] = total / np.maximum(known.sum(axis=0), 1)
    return np.sqrt(np.maximum(excess, 0.0))


def _inverse(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / rate where it is positive, infinity elsewhere."""
    return np.where(rate > 0, 1 / np.where(rate > 0, rate, 1.0), np.inf)
