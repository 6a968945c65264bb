"""Depth of long videos, window by window, with every frame encoded once.

A frame is part of up to three windows, but only the temporal modules look beyond it. So its
features up to there are computed once, held while a later window needs them, and dropped. The
last part of the head is run only where its output has an effect. Frames are read and depth is
given out as it goes: memory does not grow with the length of the video.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinedepth.dense.video_depth_anything.config import TEMPORAL_LENGTH
from kinedepth.dense.video_depth_anything.head import FrameFeatures, resize
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.dense.video_depth_anything.precision import Precision, autocast, check_precision
from kinedepth.dense.video_depth_anything.preprocessing import (
    DEFAULT_INPUT_SIZE,
    network_size,
    prepare_frames,
)
from kinedepth.dense.video_depth_anything.stitching import Stitcher
from kinedepth.dense.video_depth_anything.windows import (
    Strategy,
    Window,
    WindowPlan,
    needed_slots,
    plan_windows,
    schedule,
)
from kinedepth.depth import DepthVideo
from kinedepth.errors import KinedepthError

# One after the other a CPU is no slower, as its caches hold the maps of one frame only.
_FRAMES_AT_ONCE = {"cuda": 16, "mps": 4, "cpu": 1}


class FrameSource(Protocol):
    """What is asked of a video; ``kinedepth.video.Video`` has it."""

    width: int
    height: int
    fps: float

    def __len__(self) -> int: ...

    def blocks(
        self, size: int = 16, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """``(index of the first frame, frames (B, H, W, 3) uint8 RGB)`` in order."""


@dataclass(frozen=True)
class WindowedInference:
    """How a long video is run.

    Attributes:
        strategy: how windows are tied together, see ``windows.Strategy``.
        window: frames in a window; 32 as in training.
        input_size: pixels of the short side in the network; 518 as in training.
        precision: of the network but for its last layers, which are always float32.
        frames_at_once: frames that pass the encoder, and the last part of the head, together;
            None for what suits the device. It changes time and memory, not the result.
        refine_tail: run a last window that has no new frame to show, but blends into up to
            seven frames that the window before has shown already. As published; without it the
            end comes sooner and a little different.
        as_published: encode all frames of every window again and finish every slot, padding
            and all, as the published code does. The result is the same; it is there to compare.
    """

    strategy: Strategy = "keyframes"
    window: int = TEMPORAL_LENGTH
    input_size: int = DEFAULT_INPUT_SIZE
    precision: Precision = "float32"
    frames_at_once: int | None = None
    refine_tail: bool = True
    as_published: bool = False

    def __post_init__(self) -> None:
        check_precision(self.precision)
        if self.frames_at_once is not None and self.frames_at_once < 1:
            raise KinedepthError(f"At least one frame at once; got {self.frames_at_once}.")
        self.plan  # noqa: B018  raises where strategy and window do not fit

    @property
    def plan(self) -> WindowPlan:
        """How windows share frames."""
        return plan_windows(self.strategy, self.window)


def stream_depth(
    network: VideoDepth, video: FrameSource, settings: WindowedInference | None = None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield ``(index of the first frame, depth (B, H, W) float32)``, in order, once final.

    Args:
        network: ready to run, on the device to use.
        video: the frames; ``H, W`` of the depth is their size.
        settings: how to run; None for the defaults.

    The numbers mean what ``network.config.kind`` says, with the same unknowns in all frames
    (but for the strategy ``none``, where each window of relative depth has its own). Blocks hold
    up to a window's frames. Nothing is read before the first block is asked for.

    Raises:
        KinedepthError: if the video has fewer frames than it said.
    """
    settings = settings or WindowedInference()
    length, plan = len(video), settings.plan
    align = network.config.output == "relative" and settings.strategy != "none"
    stitcher = Stitcher(plan, length, align)
    run = _WindowRun(network, video, settings)
    run_to: Literal["published", "effect", "new"] = "effect" if settings.refine_tail else "new"
    first = 0
    for window in schedule(plan, length, "published" if settings.as_published else run_to):
        if settings.as_published:
            slots = list(range(plan.size))
        else:
            slots = needed_slots(plan, window, length, align)
        final = stitcher.add(window, run.depth(window, slots))
        if final:
            yield first, np.stack(final)
            first += len(final)
            del final  # or it would be held while the next window runs


def estimate_depth(
    network: VideoDepth,
    video: FrameSource,
    settings: WindowedInference | None = None,
    out: NDArray[np.float32] | None = None,
) -> DepthVideo:
    """The depth of a whole video; arguments as for :func:`stream_depth`.

    Args:
        network, video, settings: as there.
        out: ``(T, H, W)`` float32 to write into, a memory map for long videos; None for a new
            array in memory.
    """
    shape = (len(video), video.height, video.width)
    if out is None:
        out = np.empty(shape, dtype=np.float32)
    if out.shape != shape:
        raise KinedepthError(f"The depth needs an array of shape {shape}; got {out.shape}.")
    for first, depth in stream_depth(network, video, settings):
        out[first : first + len(depth)] = depth
    return DepthVideo(out, network.config.kind, video.fps)


class _WindowRun:
    """Reads a video once and gives the raw depth of its windows in order."""

    def __init__(
        self, network: VideoDepth, video: FrameSource, settings: WindowedInference
    ) -> None:
        self._network = network
        self._device = network.device
        self._plan = settings.plan
        self._autocast = autocast(network.device, settings.precision)
        self._encode_once = not settings.as_published
        self._at_once = settings.frames_at_once or _FRAMES_AT_ONCE.get(self._device.type, 1)
        self._frame_size = (video.height, video.width)
        self._network_size = network_size(video.height, video.width, settings.input_size)
        self._length = len(video)
        self._blocks = video.blocks(self._at_once)
        self._read = 0
        # By frame, either of the two: what the frame gives to any window, or the image.
        self._features: dict[int, FrameFeatures] = {}
        self._images: dict[int, Tensor] = {}

    @torch.inference_mode()
    def depth(self, window: Window, slots: list[int]) -> dict[int, NDArray[np.float32]]:
        """Raw depth ``(H, W)`` at the size of the video, of some slots."""
        self._forget(window)
        self._read_until(min(window.start + self._plan.size, self._length))
        with self._autocast():
            features = self._slot_features(window)
            mixed = self._network.head.mix(
                torch.cat([frame.coarse for frame in features]),
                torch.cat([frame.coarsest for frame in features]),
            )
            depth: dict[int, NDArray[np.float32]] = {}
            for start in range(0, len(slots), self._at_once):
                some = slots[start : start + self._at_once]
                depth.update(zip(some, self._decode(some, mixed, features), strict=True))
        return depth

    def _decode(
        self, slots: list[int], mixed: Tensor, features: list[FrameFeatures]
    ) -> NDArray[np.float32]:
        network_depth = self._network.head.decode(
            mixed[slots],
            torch.cat([features[slot].fine for slot in slots]),
            torch.cat([features[slot].finest for slot in slots]),
        )
        return resize(network_depth[:, None], self._frame_size)[:, 0].cpu().numpy()

    def _slot_features(self, window: Window) -> list[FrameFeatures]:
        if self._encode_once:
            return [self._features[frame] for frame in window.frames]
        features: list[FrameFeatures] = []
        for start in range(0, len(window.frames), self._at_once):
            some = window.frames[start : start + self._at_once]
            images = torch.stack([self._images[frame] for frame in some])
            features += self._network.frame_features(images.to(self._device)).split()
        return features

    def _forget(self, window: Window) -> None:
        """Drop what neither this window nor a later one shows."""
        overlap_start = window.start + self._plan.keys
        for kept in (self._features, self._images):
            for frame in [f for f in kept if f < overlap_start and f not in window.frames]:
                del kept[frame]

    def _read_until(self, stop: int) -> None:
        while self._read < stop:
            _, frames = next(self._blocks, (0, None))
            if frames is None:
                raise KinedepthError(
                    f"The video ended after {self._read} of {self._length} frames; its file was "
                    f"probably cut off."
                )
            images = prepare_frames(frames, self._network_size)
            indices = range(self._read, self._read + len(frames))
            if self._encode_once:
                with self._autocast():
                    features = self._network.frame_features(images.to(self._device))
                self._features.update(zip(indices, features.split(), strict=True))
            else:
                self._images.update(zip(indices, images, strict=True))
            self._read += len(frames)
