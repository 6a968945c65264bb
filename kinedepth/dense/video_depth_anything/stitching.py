"""Depth of windows, each with its own scale and shift, to one depth for the whole video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.alignment import crossfade_weights, fit_scale_and_shift
from kinedepth.dense.video_depth_anything.windows import Window, WindowPlan

Frame = NDArray[np.float32]


@dataclass(frozen=True)
class Seam:
    """What a window leaves to the next one; nothing else of the past is needed to go on.

    Attributes:
        keys: aligned depth ``(H, W)`` of the frames in the next window's key slots.
        tail: aligned depth ``(H, W)`` of the frames in its overlap slots; None where the next
            window has all the weight.
    """

    keys: tuple[Frame, ...] = ()
    tail: tuple[Frame | None, ...] = ()

    def to_arrays(self) -> dict[str, NDArray]:
        """As plain arrays: ``keys (K, H, W)``, ``tail (O, H, W)``, ``tail_slots (O,)``."""
        held = [slot for slot, frame in enumerate(self.tail) if frame is not None]
        frames = [frame for frame in self.tail if frame is not None]
        return {
            "keys": _stack(self.keys),
            "tail": _stack(frames),
            "tail_slots": np.array(held, dtype=np.int64),
            "tail_length": np.array(len(self.tail), dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> Seam:
        """The seam that :meth:`to_arrays` was called on."""
        tail: list[Frame | None] = [None] * int(arrays["tail_length"])
        for slot, frame in zip(arrays["tail_slots"], arrays["tail"], strict=True):
            tail[slot] = frame
        return cls(tuple(arrays["keys"]), tuple(tail))


class Stitcher:
    """Aligns windows one after the other and gives out frames once they are final.

    It holds no more than the key frames and the end of the last window.

    Args:
        plan: how windows share frames.
        length: frames of the video.
        align: whether windows differ by a scale and a shift (relative depth) or are only
            blended (metric depth).
        seam: what the window before the first one to be added left; None to start at frame 0.
    """

    def __init__(
        self, plan: WindowPlan, length: int, align: bool, seam: Seam | None = None
    ) -> None:
        self._plan = plan
        self._length = length
        self._align = align
        self.seam = seam or Seam()

    def add(self, window: Window, depth: Mapping[int, Frame]) -> tuple[Iterator[Frame], int]:
        """Take the next window; give the frames, following earlier ones, now final.

        ``seam`` is that of the next window as soon as this returns; the frames are made as they
        are asked for, so that a window's frames are never all in memory at full size.

        Args:
            window: of the schedule, in order.
            depth: slot to raw depth ``(H, W)``, at least the slots that ``needed_slots`` names.

        Returns:
            The frames ``(H, W)`` in order, and how many they are.
        """
        plan, before = self._plan, self.seam
        shown = min(plan.size, self._length - window.start)  # slots before the padding
        first = 0 if window.is_first else plan.keys
        aligned = self._alignment(window, depth)

        def output(slot: int) -> Frame | None:
            number = slot - first
            after = aligned(slot) if slot in depth else None
            if window.is_first or number >= len(before.tail):
                return after
            return self._handed_over(number, before.tail[number], after)

        # What the next window shows again is final only if that window cannot change it.
        next_overlap = plan.size - plan.overlap
        tail: dict[int, Frame | None] = {}
        if window.is_last:
            self.seam = Seam()
        else:
            tail = {slot: output(slot) for slot in range(next_overlap, shown)}
            self.seam = Seam(self._next_keys(window, aligned), tuple(tail.values()))
        end = min(next_overlap, shown) if plan.blend and not window.is_last else shown
        begin = first if plan.blend or window.is_first else first + plan.overlap
        kept = {id(frame) for frame in (*before.tail, *tail.values())}

        def final() -> Iterator[Frame]:
            for slot in range(begin, end):
                frame = tail[slot] if slot in tail else output(slot)
                assert frame is not None, "a slot that is needed is missing"
                # Who receives a frame may change it.
                yield frame.copy() if id(frame) in kept else frame

        return final(), max(0, end - begin)

    def _alignment(self, window: Window, depth: Mapping[int, Frame]) -> Callable[[int], Frame]:
        """Gives a slot in the scale of the windows before, without negative values."""
        scale, shift = 1.0, 0.0
        reference = self.seam.keys or tuple(f for f in self.seam.tail if f is not None)
        if not window.is_first and self._align and reference:
            raw = np.stack([depth[slot] for slot in range(len(reference))])
            scale, shift = fit_scale_and_shift(raw, np.stack(reference))

        def aligned(slot: int) -> Frame:
            if (scale, shift) == (1.0, 0.0):
                return depth[slot]  # The network gives nothing negative.
            return np.maximum(np.float32(scale) * depth[slot] + np.float32(shift), np.float32(0))

        return aligned

    def _handed_over(self, number: int, before: Frame | None, after: Frame | None) -> Frame | None:
        """Overlapping frame ``number`` from two windows."""
        if not self._plan.blend:
            return before
        weight = crossfade_weights(self._plan.overlap)[number]
        # A frame without weight need not be there.
        if weight == 0 or after is None:
            return before
        if weight == 1 or before is None:
            return after
        return (1 - weight) * before + weight * after

    def _next_keys(self, window: Window, aligned: Callable[[int], Frame]) -> tuple[Frame, ...]:
        if not (self._align and self._plan.keys):
            return ()
        # Frame 0 stays as the first window saw it for ever, so that errors cannot add up.
        first = aligned(0) if window.is_first else self.seam.keys[0]
        return (first, *(aligned(slot) for slot in self._plan.key_slots[1:]))


def _stack(frames: tuple[Frame, ...] | list[Frame]) -> Frame:
    return np.stack(frames) if frames else np.zeros((0, 0, 0), dtype=np.float32)
