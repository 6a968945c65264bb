"""Depth of windows, each with its own scale and shift, to one depth for the whole video."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kinedepth.alignment import crossfade_weights, fit_scale_and_shift
from kinedepth.dense.video_depth_anything.windows import Window, WindowPlan

Frame = NDArray[np.float32]


class Stitcher:
    """Aligns windows one after the other and gives out frames once they are final.

    It holds no more than the key frames and the end of the last window.

    Args:
        plan: how windows share frames.
        length: frames of the video.
        align: whether windows differ by a scale and a shift (relative depth) or are only
            blended (metric depth).
    """

    def __init__(self, plan: WindowPlan, length: int, align: bool) -> None:
        self._plan = plan
        self._length = length
        self._align = align
        self._key_reference: list[Frame] = []  # aligned, for the next window's key slots
        self._tail: list[Frame | None] = []  # aligned, for the next window's overlap slots

    def add(self, window: Window, depth: Mapping[int, Frame]) -> list[Frame]:
        """Take the next window and return the frames, following earlier ones, now final.

        Args:
            window: of the schedule, in order.
            depth: slot to raw depth ``(H, W)``, at least the slots that ``needed_slots`` names.
        """
        plan = self._plan
        shown = min(plan.size, self._length - window.start)  # slots before the padding
        first = 0 if window.is_first else plan.keys
        aligned = self._aligned(window, depth)
        output = [aligned.get(slot) for slot in range(first, shown)]
        if not window.is_first:
            pairs = zip(self._tail, output[: plan.overlap], strict=False)
            overlap = [self._handed_over(number, *pair) for number, pair in enumerate(pairs)]
            output[: len(overlap)] = overlap
        # What the next window shows again is final only if that window cannot change it.
        next_overlap = plan.size - plan.overlap - first
        end = next_overlap if plan.blend and not window.is_last else len(output)
        begin = 0 if plan.blend or window.is_first else plan.overlap
        if window.is_last:
            self._tail, self._key_reference = [], []
        else:
            self._remember_keys(window, aligned)
            self._tail = output[next_overlap:]
        final = [frame for frame in output[begin:end] if frame is not None]
        assert len(final) == len(output[begin:end]), "a slot that is needed is missing"
        return final

    def _aligned(self, window: Window, depth: Mapping[int, Frame]) -> dict[int, Frame]:
        """Every slot in the scale of the windows before, none negative."""
        scale, shift = 1.0, 0.0
        reference = self._key_reference or [f for f in self._tail if f is not None]
        if not window.is_first and self._align and reference:
            raw = np.stack([depth[slot] for slot in range(len(reference))])
            scale, shift = fit_scale_and_shift(raw, np.stack(reference))
        if (scale, shift) == (1.0, 0.0):
            return dict(depth)  # The network gives nothing negative.
        return {
            slot: np.maximum(np.float32(scale) * frame + np.float32(shift), np.float32(0))
            for slot, frame in depth.items()
        }

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

    def _remember_keys(self, window: Window, aligned: Mapping[int, Frame]) -> None:
        if not (self._align and self._plan.keys):
            return
        # Frame 0 stays as the first window saw it for ever, so that errors cannot add up.
        first = aligned[0] if window.is_first else self._key_reference[0]
        later = [aligned[slot] for slot in self._plan.key_slots[1:]]
        self._key_reference = [first, *later]
