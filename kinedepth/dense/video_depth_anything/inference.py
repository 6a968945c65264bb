"""Depth of long videos, window by window, with every frame encoded once.

Frames are read and depth is given out as it goes: memory does not grow with the length of the
video, and a run can be stopped between any two frames and gone on with.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from kinedepth.dense.video_depth_anything.config import PATCH, TEMPORAL_LENGTH
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.dense.video_depth_anything.precision import Precision, autocast, check_precision
from kinedepth.dense.video_depth_anything.preprocessing import DEFAULT_INPUT_SIZE, network_size
from kinedepth.dense.video_depth_anything.stitching import Seam, Stitcher
from kinedepth.dense.video_depth_anything.window_run import FrameSource, WindowRun
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

_FRAMES_AT_ONCE = {"cuda": 16, "mps": 4}
# A CPU is fastest while a pass fits its caches: some hundred patches in the encoder, and in the
# last part of the head, whose maps are large, a single frame.
_PATCHES_AT_ONCE, _MOST_FRAMES_AT_ONCE = 800, 8
# Of the memory that is free on a GPU, for further windows beside the first.
_SHARE_OF_FREE_MEMORY = 0.5
_MOST_WINDOWS_AT_ONCE = 4


@dataclass(frozen=True)
class WindowedInference:
    """How a long video is run.

    Attributes:
        strategy: how windows are tied together, see ``windows.Strategy``.
        window: frames in a window; 32 as in training.
        input_size: pixels of the short side in the network; 518 as in training.
        precision: of the network but for its last layers, which are always float32.
        frames_at_once: frames that pass the encoder, and the last part of the head, together;
            None for what suits the device and the size. It changes time and memory, not the
            result.
        windows_at_once: windows that pass the temporal modules together; None for 1, or on a
            CUDA device as many as fit into half of the memory that the first one left free, up
            to 4. It changes time and memory, not the result.
        refine_tail: run a last window that has no new frame to show, but blends into up to
            seven frames that the window before has shown already. As published; without it the
            end comes sooner and a little different.
        as_published: encode all frames of every window again, the whole window together, and
            finish every slot, padding and all, as the published code does. The result is the
            same; it is there to compare.
    """

    strategy: Strategy = "keyframes"
    window: int = TEMPORAL_LENGTH
    input_size: int = DEFAULT_INPUT_SIZE
    precision: Precision = "float32"
    frames_at_once: int | None = None
    windows_at_once: int | None = None
    refine_tail: bool = True
    as_published: bool = False

    def __post_init__(self) -> None:
        check_precision(self.precision)
        for name, count in (("frame", self.frames_at_once), ("window", self.windows_at_once)):
            if count is not None and count < 1:
                raise KinedepthError(f"At least one {name} at once; got {count}.")
        if self.input_size < 1:
            raise KinedepthError(f"The input size has to be positive; got {self.input_size}.")
        self.plan  # noqa: B018  raises where strategy and window do not fit

    @property
    def plan(self) -> WindowPlan:
        """How windows share frames."""
        return plan_windows(self.strategy, self.window)


@dataclass(frozen=True)
class RunPoint:
    """A place between two windows from which a run can go on.

    Attributes:
        window: how many windows are done.
        frames_done: how many frames these gave out.
        frames_at_once, windows_at_once: as the run has them; a run that goes on has the same,
            so that it gives the same to the last bit.
        seam: what the last window left.
    """

    window: int
    frames_done: int
    frames_at_once: int
    windows_at_once: int
    seam: Seam = field(default_factory=Seam, repr=False)

    def to_arrays(self) -> dict[str, NDArray]:
        """As plain numeric arrays, to be saved."""
        numbers = (self.window, self.frames_done, self.frames_at_once, self.windows_at_once)
        return {"point": np.array(numbers, dtype=np.int64), **self.seam.to_arrays()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> RunPoint:
        """The point that :meth:`to_arrays` was called on."""
        window, frames_done, frames_at_once, windows_at_once = map(int, arrays["point"])
        seam = Seam.from_arrays(arrays)
        return cls(window, frames_done, frames_at_once, windows_at_once, seam)


class WindowedDepth:
    """A run over a video in windows, which can be stopped and gone on with.

    Args:
        network: ready to run, on the device to use.
        video: the frames; ``H, W`` of the depth is their size.
        settings: how to run.
        start: the point to go on from, of a run with the same three; None for the beginning.
    """

    def __init__(
        self,
        network: VideoDepth,
        video: FrameSource,
        settings: WindowedInference,
        start: RunPoint | None = None,
    ) -> None:
        device = network.device
        size = network_size(video.height, video.width, settings.input_size)
        self._network = network
        self._settings = settings
        self._length = len(video)
        self._start = start or RunPoint(
            window=0,
            frames_done=0,
            frames_at_once=settings.frames_at_once or _frames_at_once(device, size),
            windows_at_once=settings.windows_at_once or 1,
        )
        self._align = network.config.output == "relative" and settings.strategy != "none"
        self._run = WindowRun(
            network,
            video,
            settings.plan,
            size,
            autocast(device, settings.precision),
            frames_at_once=self._start.frames_at_once,
            decoded_at_once=settings.frames_at_once or _FRAMES_AT_ONCE.get(device.type, 1),
            encode_once=not settings.as_published,
        )
        self._before = self._start
        self._after: RunPoint | None = None

    def frames(self) -> Iterator[NDArray[np.float32]]:
        """Depth ``(H, W)`` of each frame, once final, from the start point on; to be called once.

        Raises:
            KinedepthError: if the video has fewer frames than it said, or the network gives
                values that are no numbers.
        """
        plan, start = self._settings.plan, self._start
        stitcher = Stitcher(plan, self._length, self._align, start.seam)
        windows = itertools.islice(self._schedule(), start.window, None)
        done, at_once = start.frames_done, start.windows_at_once
        while group := list(itertools.islice(windows, at_once)):
            self._after = None
            self._before = RunPoint(
                group[0].index, done, start.frames_at_once, at_once, stitcher.seam
            )
            depth = self._run.depth(group, [self._slots(window) for window in group])
            if group[0].is_first and self._settings.windows_at_once is None:
                at_once = _windows_that_fit(self._network.device)
            for window in group:
                frames, count = stitcher.add(window, depth.pop(0))
                done += count
                if window is group[-1] and not window.is_last:
                    self._after = RunPoint(
                        window.index + 1, done, start.frames_at_once, at_once, stitcher.seam
                    )
                yield from frames

    def point(self, frames_done: int) -> RunPoint | None:
        """The last point at or before ``frames_done``, the number of frames given out so far.

        A run that goes on from it gives the frames from ``point.frames_done`` on.
        """
        if self._after is not None and frames_done >= self._after.frames_done:
            return self._after
        return self._before

    def _schedule(self) -> Iterator[Window]:
        run_to: Literal["published", "effect", "new"] = "new"
        if self._settings.as_published:
            run_to = "published"
        elif self._settings.refine_tail:
            run_to = "effect"
        return schedule(self._settings.plan, self._length, run_to)

    def _slots(self, window: Window) -> list[int]:
        plan = self._settings.plan
        if self._settings.as_published:
            return list(range(plan.size))
        return needed_slots(plan, window, self._length, self._align)


def stream_depth(
    network: VideoDepth, video: FrameSource, settings: WindowedInference | None = None
) -> Iterator[NDArray[np.float32]]:
    """Yield the depth ``(H, W)`` float32 of each frame, in order, once final.

    Args:
        network: ready to run, on the device to use.
        video: the frames; ``H, W`` of the depth is their size.
        settings: how to run; None for the defaults.

    The numbers mean what ``network.config.kind`` says, with the same unknowns in all frames
    (but for the strategy ``none``, where each window of relative depth has its own). Nothing is
    read before the first frame is asked for.

    Raises:
        KinedepthError: if the video has fewer frames than it said, or the network gives values
            that are no numbers.
    """
    return WindowedDepth(network, video, settings or WindowedInference()).frames()


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
    for index, depth in enumerate(stream_depth(network, video, settings)):
        out[index] = depth
    return DepthVideo(out, network.config.kind, video.fps)


def _frames_at_once(device: torch.device, size: tuple[int, int]) -> int:
    """Frames of a size in the network that best pass the encoder together."""
    patches = size[0] * size[1] // PATCH**2
    if device.type in _FRAMES_AT_ONCE:
        return _FRAMES_AT_ONCE[device.type]
    return max(1, min(_MOST_FRAMES_AT_ONCE, _PATCHES_AT_ONCE // patches))


def _windows_that_fit(device: torch.device) -> int:
    """Windows at once on a device that has just run its first one."""
    if device.type != "cuda":
        return 1
    one = torch.cuda.max_memory_allocated(device)
    free, _ = torch.cuda.mem_get_info(device)
    # What the allocator holds without using it is free as well.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, min(_MOST_WINDOWS_AT_ONCE, int(_SHARE_OF_FREE_MEMORY * free / one)))
