"""Which frames make up each window of a long video (Section 3.3, Figure 3 of the paper).

A window has slots. In every window but the first, the first slots show *key frames* that tie it
to the distant past, the next ones *overlap* with the end of the window before, and the rest
shows new frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from kinedepth.dense.video_depth_anything.config import TEMPORAL_LENGTH
from kinedepth.errors import KinedepthError

Strategy = Literal["keyframes", "overlap", "none"]
"""How windows are tied together, after Table 5 of the paper.

- ``keyframes``: two key frames give the scale and shift, eight overlapping frames are blended.
- ``overlap``: eight overlapping frames give the scale and shift.
- ``none``: windows know nothing of each other.
"""

_OVERLAP = 8
_SECOND_KEY = 12 / 32  # of the window before


@dataclass(frozen=True)
class WindowPlan:
    """How windows of a size share frames.

    Attributes:
        size: slots in a window.
        key_slots: slots of the previous window whose frames come first in this one; slot 0
            leads all the way back to frame 0.
        overlap: slots after those that show the last frames of the window before again.
        blend: whether the depth of overlapping frames passes over from one window to the next,
            linearly; otherwise the earlier window's stays.

    Raises:
        KinedepthError: if a window has no room for new frames, or key slots lie outside it.
    """

    size: int
    key_slots: tuple[int, ...] = ()
    overlap: int = 0
    blend: bool = False

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise KinedepthError(
                f"A window of {self.size} frames has no room for new ones: "
                f"{self.size - self.stride} of them are shared with the window before."
            )
        # Key frames other than frame 0 have to be frames that their window saw in passing.
        if any(not self.keys <= slot < self.size for slot in self.key_slots[1:]) or (
            self.key_slots and self.key_slots[0] != 0
        ):
            raise KinedepthError(f"The key slots {self.key_slots} do not fit this window.")
        if self.blend and self.overlap < 2:
            raise KinedepthError("Blending needs at least two overlapping frames.")

    @property
    def keys(self) -> int:
        """Number of key frames in a window."""
        return len(self.key_slots)

    @property
    def stride(self) -> int:
        """New frames in every window but the first."""
        return self.size - self.keys - self.overlap

    @property
    def first_new(self) -> int:
        """The first slot that shows a new frame, in every window but the first."""
        return self.keys + self.overlap


def plan_windows(strategy: Strategy = "keyframes", size: int = TEMPORAL_LENGTH) -> WindowPlan:
    """The plan of a strategy with windows of ``size`` frames; 32 are as in training.

    Raises:
        KinedepthError: unknown strategy, or windows too short for it.
    """
    if strategy == "keyframes":
        second = max(2, round(_SECOND_KEY * size))
        return WindowPlan(size, key_slots=(0, second), overlap=_OVERLAP, blend=True)
    if strategy == "overlap":
        return WindowPlan(size, overlap=_OVERLAP)
    if strategy == "none":
        return WindowPlan(size)
    raise KinedepthError(
        f"Unknown strategy '{strategy}'; known are {', '.join(get_args(Strategy))}."
    )


@dataclass(frozen=True)
class Window:
    """One window of a schedule.

    Attributes:
        index: counted from 0.
        start: the frame that slot 0 would show but for the key frames; slot s after them shows
            frame ``start + s``.
        frames: for each slot the frame it shows; past the end, the last frame again.
        is_last: whether none comes after.
    """

    index: int
    start: int
    frames: tuple[int, ...]
    is_last: bool

    @property
    def is_first(self) -> bool:
        """Whether no window comes before."""
        return self.index == 0


def schedule(
    plan: WindowPlan, length: int, run_to: Literal["published", "effect", "new"] = "effect"
) -> Iterator[Window]:
    """The windows of a video of ``length`` frames, in order.

    Args:
        plan: how windows share frames.
        length: frames of the video, at least 1.
        run_to: where to stop. ``published``: a window at every stride within the video
            (of plans that blend; a last window without new frames is no use to others).
            ``effect``: without a last window that changes nothing, the same result.
            ``new``: without one that adds no frame, but would pull the last few frames, already
            shown by the window before, towards its own opinion.
    """
    count = _count(plan, length, run_to)
    frames: tuple[int, ...] = ()
    for index in range(count):
        start = index * plan.stride
        shown = [min(start + slot, length - 1) for slot in range(plan.size)]
        if index:
            shown[: plan.keys] = [frames[slot] for slot in plan.key_slots]
        frames = tuple(shown)
        yield Window(index, start, frames, is_last=index == count - 1)


def _count(plan: WindowPlan, length: int, run_to: str) -> int:
    if length < 1:
        raise KinedepthError("A video without frames has no windows.")
    count = -(-length // plan.stride)
    if run_to == "published" and plan.blend:
        return count
    # The first overlapping frame keeps the earlier window's depth entirely.
    needed = plan.keys + 1 if plan.blend and run_to == "effect" else plan.first_new
    while count > 1 and (count - 1) * plan.stride + needed >= length:
        count -= 1
    return count


def needed_slots(plan: WindowPlan, window: Window, length: int, aligned: bool) -> list[int]:
    """Slots of a window whose depth has any effect on the result, ascending.

    Args:
        plan, window: the plan, and a window of its schedule.
        length: frames of the video.
        aligned: whether windows are aligned by scale and shift.
    """
    real = range(min(plan.size, length - window.start))  # past these is padding
    if window.is_first:
        needed = set(real)
    else:
        needed = set(real) - set(range(plan.first_new))
        if plan.blend:
            # Weights of a window run from 0 to 1: the first overlapping frame has none.
            needed |= set(real) & set(range(plan.keys + 1, plan.first_new))
        if aligned:
            needed |= set(range(plan.keys or plan.overlap))
    if plan.blend and not window.is_last:
        # Where the next window has all the weight.
        needed.discard(plan.size - 1)
    if aligned and not window.is_last:
        # The next window's reference; frame 0 stays as the first window saw it.
        needed |= set(plan.key_slots[0 if window.is_first else 1 :])
    return sorted(needed)
