"""The network's share of a run over windows: every frame is read once and encoded once.

A frame is part of up to three windows, but only the temporal modules look beyond it. So its
features up to there are computed once, held while a later window needs them, and dropped. The
last part of the head is run only where its output has an effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinedepth.dense.video_depth_anything.head import FrameFeatures, resize
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.dense.video_depth_anything.precision import check_finite
from kinedepth.dense.video_depth_anything.preprocessing import prepare_frames
from kinedepth.dense.video_depth_anything.windows import Window, WindowPlan
from kinedepth.errors import KinedepthError


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


class WindowRun:
    """Reads a video once and gives the raw depth of its windows in order.

    Args:
        network: ready to run, on the device to use.
        video: the frames.
        plan: of the windows.
        size: rows and columns of frames in the network.
        autocast: makes the context in which the network runs.
        frames_at_once: frames that are read, and pass the encoder, together.
        decoded_at_once: frames that pass the last part of the head together.
        encode_once: keep features; otherwise every window prepares and encodes its frames
            again, all together.
    """

    def __init__(
        self,
        network: VideoDepth,
        video: FrameSource,
        plan: WindowPlan,
        size: tuple[int, int],
        autocast: Callable[[], torch.autocast],
        frames_at_once: int,
        decoded_at_once: int,
        encode_once: bool = True,
    ) -> None:
        self._network = network
        self._device = network.device
        self._video = video
        self._length = len(video)
        self._plan = plan
        self._size = size
        self._autocast = autocast
        self._at_once = frames_at_once
        self._decoded_at_once = decoded_at_once
        self._encode_once = encode_once
        self._blocks: Iterator[tuple[int, NDArray[np.uint8]]] | None = None
        self._read = 0
        # By frame, either of the two: what the frame gives to any window, or the image.
        self._features: dict[int, FrameFeatures] = {}
        self._images: dict[int, NDArray[np.uint8]] = {}

    @torch.inference_mode()
    def depth(
        self, windows: Sequence[Window], slots: Sequence[list[int]]
    ) -> list[Mapping[int, NDArray[np.float32]]]:
        """Raw depth ``(H, W)`` at the size of the video, of some slots of each window.

        Args:
            windows: successive ones of the schedule, following those of the last call. The
                first call may start anywhere. They pass the temporal modules together.
            slots: of each window, those whose depth is wanted.
        """
        self._forget(windows[0])
        if self._blocks is None:
            self._start_at(windows[0])
        self._read_until(min(windows[-1].start + self._plan.size, self._length))
        with self._autocast():
            features = [frame for window in windows for frame in self._slot_features(window)]
            mixed = self._network.head.mix(
                torch.cat([frame.coarse for frame in features]),
                torch.cat([frame.coarsest for frame in features]),
                len(windows),
            )
            offsets = range(0, len(features), self._plan.size)
            wanted = [o + slot for o, some in zip(offsets, slots, strict=True) for slot in some]
            decoded = self._decode(wanted, mixed, features)
        frame_size = (self._video.height, self._video.width)
        return [
            _AtFrameSize({slot: decoded[offset + slot] for slot in some}, frame_size)
            for offset, some in zip(offsets, slots, strict=True)
        ]

    def _decode(
        self, wanted: list[int], mixed: Tensor, features: list[FrameFeatures]
    ) -> dict[int, Tensor]:
        """Depth ``(rows, columns)`` at the size of the network, by position in ``features``."""
        decoded: dict[int, Tensor] = {}
        for start in range(0, len(wanted), self._decoded_at_once):
            some = wanted[start : start + self._decoded_at_once]
            depth = self._network.head.decode(
                mixed[some],
                torch.cat([features[position].fine for position in some]),
                torch.cat([features[position].finest for position in some]),
            )
            check_finite(depth)
            decoded.update(zip(some, depth, strict=True))
        return decoded

    def _slot_features(self, window: Window) -> list[FrameFeatures]:
        if self._encode_once:
            return [self._features[frame] for frame in window.frames]
        frames = np.stack([self._images[frame] for frame in window.frames])
        images = prepare_frames(frames, self._size)
        return self._network.frame_features(images.to(self._device)).split()

    def _forget(self, window: Window) -> None:
        """Drop what neither this window nor a later one shows."""
        overlap_start = window.start + self._plan.keys
        for kept in (self._features, self._images):
            for frame in [f for f in kept if f < overlap_start and f not in window.frames]:
                del kept[frame]

    def _start_at(self, window: Window) -> None:
        """Begin to read where the window's overlap begins, after its key frames."""
        # Frames pass the encoder in the same company as in a run from the start: what a frame
        # gives may depend, in its last bits, on how many pass together.
        begin = 0 if window.is_first else window.start + self._plan.keys
        begin -= begin % self._at_once
        for block in sorted({f - f % self._at_once for f in window.frames if f < begin}):
            stop = min(block + self._at_once, self._length)
            for first, frames in self._video.blocks(self._at_once, block, stop):
                self._take(first, frames)
        self._forget(window)
        self._blocks, self._read = self._video.blocks(self._at_once, begin), begin

    def _read_until(self, stop: int) -> None:
        assert self._blocks is not None
        while self._read < stop:
            first, frames = next(self._blocks, (0, None))
            if frames is None:
                raise KinedepthError(
                    f"The video ended after {self._read} of {self._length} frames; its file was "
                    f"probably cut off."
                )
            self._take(first, frames)
            self._read += len(frames)

    def _take(self, first: int, frames: NDArray[np.uint8]) -> None:
        indices = range(first, first + len(frames))
        if self._encode_once:
            images = prepare_frames(frames, self._size)
            with self._autocast():
                features = self._network.frame_features(images.to(self._device))
            self._features.update(zip(indices, features.split(), strict=True))
        else:
            self._images.update(zip(indices, frames, strict=True))


class _AtFrameSize(Mapping[int, NDArray[np.float32]]):
    """Depth by slot, kept as small as the network gave it and resized when asked for.

    Every item is a new array: what is resized is as large as the video, and a window of it may
    be more than the rest of the run needs.
    """

    def __init__(self, depth: Mapping[int, Tensor], size: tuple[int, int]) -> None:
        self._depth = depth
        self._size = size

    @torch.inference_mode()
    def __getitem__(self, slot: int) -> NDArray[np.float32]:
        resized = resize(self._depth[slot][None, None], self._size)[0, 0]
        return resized.cpu().numpy()

    def __iter__(self) -> Iterator[int]:
        return iter(self._depth)

    def __len__(self) -> int:
        return len(self._depth)
