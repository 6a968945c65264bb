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

from kinedepth.errors import KinedepthError
from kinedepth.tracks import Tracks3D

LEAST_FRAMES = 5
"""Frames that a fit needs at least: two for the line, the rest to see how well it fits."""

SYSTEMATIC_ERROR = 0.02
"""Standard deviation of the log ratio's change over a window that residuals do not show.

Neighbouring frames' ratios come from the same windows of the same network, so most of their
error is shared and bends a whole window; measured on rendered clips
(``benchmarks/time_to_contact.py``)."""

_REWEIGHTINGS = 4
_OUTLIER = 2.5
"""In robust standard deviations: where a residual begins to count less."""
_LEAST_NOISE = 1e-4
"""Residuals below this (log ratio) are never called outliers."""


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
    window: float = 0.5,
    confidence: float = 0.9,
    systematic_error: float = SYSTEMATIC_ERROR,
) -> TimeToContact:
    """Closing rate of every track in every frame, with an interval.

    In each frame a line is fitted to the ratios of the frames around it, by least squares that
    count outliers less; frames in which the point is hidden do not count. At the ends of the clip
    the window is moved inside. The standard deviation joins what residuals show with
    ``systematic_error`` and, where the tracks carry ``log_ratio_std (T, N)``, with the larger of
    the two.

    Args:
        tracks3d: lifted tracks; only ``log_ratio`` and visibility are used.
        times: ``(T,)`` seconds of the frames, increasing.
        window: seconds that a fit spans; at least :data:`LEAST_FRAMES` frames are taken.
        confidence: of the intervals, between 0 and 1.
        systematic_error: see :data:`SYSTEMATIC_ERROR`.

    Raises:
        KinedepthError: if there are too few frames, or times, window or confidence are not
            what they have to be.
    """
    log_ratio = np.asarray(tracks3d.log_ratio, dtype=np.float64)
    visible = tracks3d.tracks.visible
    seconds = _checked_times(times, len(log_ratio))
    if not (np.isfinite(window) and window > 0):
        raise KinedepthError(f"The window has to be a positive number of seconds; got {window}.")
    if not 0 < confidence < 1:
        raise KinedepthError(f"A confidence lies between 0 and 1; got {confidence}.")
    reported = getattr(tracks3d, "log_ratio_std", None)
    floor = np.full(log_ratio.shape, float(systematic_error))
    if reported is not None:
        floor = np.maximum(floor, np.asarray(reported, dtype=np.float64))

    rate, std, freedom = (np.full(log_ratio.shape, np.nan) for _ in range(3))
    for frame in range(len(seconds)):
        around = _frames_around(frame, seconds, window)
        rate[frame], std[frame], freedom[frame] = _fit(
            log_ratio[around], visible[around], seconds[around] - seconds[frame], floor[frame]
        )
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


def _fit(
    log_ratio: NDArray[np.float64],
    visible: NDArray[np.bool_],
    time: NDArray[np.float64],
    floor: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Closing rate at time 0, its standard deviation and the degrees of freedom, each ``(N,)``.

    Args:
        log_ratio, visible: ``(W, N)`` in the window.
        time: ``(W,)`` seconds.
        floor: ``(N,)`` of the log ratio's change over the window.
    """
    seen = visible.astype(np.float64)
    count = seen.sum(axis=0)
    known = count >= LEAST_FRAMES
    # Relative to the middle of the window, so that noise in the logarithm is noise in the ratio.
    reference = np.nanmedian(np.where(visible | ~known, log_ratio, np.nan), axis=0)
    ratio = np.exp(np.clip(log_ratio - reference, -5, 5))
    x = time[:, None]
    weight = seen.copy()
    for step in range(_REWEIGHTINGS + 1):
        offset, slope, inverse = _line(ratio, x, weight)
        residual = (ratio - offset - slope * x) * seen
        if step < _REWEIGHTINGS:
            size = np.where(visible, np.abs(residual), np.nan)
            spread = 1.4826 * np.nanmedian(np.where(known, size, 0.0), axis=0)
            limit = _OUTLIER * np.maximum(spread, _LEAST_NOISE)
            weight = seen * np.minimum(1.0, limit / np.maximum(np.abs(residual), 1e-12))
    freedom = np.maximum(weight.sum(axis=0) - 2, 1.0)
    variance = (weight * residual**2).sum(axis=0) / freedom
    a, b, c = inverse  # var(offset), cov, var(slope), for unit noise
    offset = np.maximum(offset, 1e-6)
    rate = -slope / offset
    # d(rate) = -(d(slope) + rate * d(offset)) / offset
    random = variance * (c + 2 * rate * b + rate**2 * a) / offset**2
    span = max(float(time[-1] - time[0]), 1e-9)
    std = np.sqrt(random + (floor / span) ** 2)
    return tuple(np.where(known, values, np.nan) for values in (rate, std, freedom))  # type: ignore[return-value]


def _line(
    y: NDArray[np.float64], x: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
]:
    """Weighted least-squares offset and slope ``(N,)``, and the inverse of the normal matrix."""
    total = np.maximum(weight.sum(axis=0), 1e-12)
    mean_x = (weight * x).sum(axis=0) / total
    mean_y = (weight * y).sum(axis=0) / total
    spread = np.maximum((weight * (x - mean_x) ** 2).sum(axis=0), 1e-12)
    slope = (weight * (x - mean_x) * (y - mean_y)).sum(axis=0) / spread
    offset = mean_y - slope * mean_x
    return offset, slope, (1 / total + mean_x**2 / spread, -mean_x / spread, 1 / spread)


def _inverse(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / rate where it is positive, infinity elsewhere."""
    return np.where(rate > 0, 1 / np.where(rate > 0, rate, 1.0), np.inf)
