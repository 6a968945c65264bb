"""Depth of a live stream: one frame in, its depth out.

The published training-free scheme: a frame's features pass the network once, and its temporal
attentions look back at what earlier frames left behind, as if those were the other slots of a
window. Nothing is aligned afterwards, so depth drifts more than that of whole windows (the
published ScanNet accuracy, the share of pixels within 25 %, falls from 0.926 to 0.836).
``aligned_streaming`` has one that aligns.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinedepth.dense.video_depth_anything.config import TEMPORAL_LENGTH
from kinedepth.dense.video_depth_anything.head import FrameFeatures, resize
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.dense.video_depth_anything.precision import Precision, autocast, check_finite
from kinedepth.dense.video_depth_anything.preprocessing import (
    DEFAULT_INPUT_SIZE,
    network_size,
    prepare_frames,
)
from kinedepth.dense.video_depth_anything.windows import plan_windows
from kinedepth.errors import KinedepthError

# A window before the new frame's: the first frame, one from afar, then an unbroken run.
_RUN = TEMPORAL_LENGTH - 3
_PLAN = plan_windows("keyframes")
# How far back the second key frame of a window lies, seen from the window's last slot.
_FAR = TEMPORAL_LENGTH - 1 + _PLAN.stride - _PLAN.key_slots[1]

States = list[list[Tensor]]
"""What a frame leaves behind: for each temporal module, for each of its attentions."""


class DepthStream:
    """Depth of frames as they come; time and memory for each stay the same for ever.

    Frame t attends to the frames 0, t - 41 and t - 29 ... t - 1, and to itself; those before
    the first are frame 0 again.

    Args:
        network: ready to run, on the device to use.
        height, width: of the frames, in pixels.
        input_size: pixels of the short side in the network.
        precision: of the network but for its last layers, which are always float32.
    """

    def __init__(
        self,
        network: VideoDepth,
        height: int,
        width: int,
        input_size: int = DEFAULT_INPUT_SIZE,
        precision: Precision = "float32",
    ) -> None:
        self._network = network
        self._frame_size = (height, width)
        self._network_size = network_size(height, width, input_size)
        self._autocast = autocast(network.device, precision)
        self._first: States | None = None
        self._recent: deque[States] = deque(maxlen=_FAR)
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one is the first, as after a cut."""
        self._first = None
        self._recent.clear()

    @torch.inference_mode()
    def push(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Depth or disparity ``(H, W)`` float32 of the next ``frame (H, W, 3)`` uint8 RGB.

        The numbers mean what ``network.config.kind`` says.

        Raises:
            KinedepthError: if the frame has another size than those before, or the network
                gives values that are no numbers.
        """
        if frame.shape != (*self._frame_size, 3):
            height, width = self._frame_size
            raise KinedepthError(
                f"The stream has frames of shape ({height}, {width}, 3); got {frame.shape}. "
                f"Start a new one where the size changes."
            )
        image = prepare_frames(frame[None], self._network_size).to(self._network.device)
        with self._autocast():
            features = self._network.frame_features(image)
            depth, states = self._ask(features)
            check_finite(depth)
            depth = self._settled(features, depth)
        self._remember(states)
        return resize(depth[None, None], self._frame_size)[0, 0].cpu().numpy()

    def _settled(self, features: FrameFeatures, depth: Tensor) -> Tensor:
        """What to give out for the new frame, of which the network gave ``depth``; both
        ``(rows, columns)``. For streams that do more than this one.
        """
        return depth

    def _ask(self, features: FrameFeatures) -> tuple[Tensor, States]:
        """Depth ``(rows, columns)`` of a frame, as the newest one, and what it leaves behind."""
        head, states = self._network.head, []
        context = self._context()

        def look_back(index: int, x: Tensor) -> Tensor:
            earlier = None if context is None else _in_order(context, index)
            result, left_behind = head.temporal_module(index).step(x, earlier)
            states.append(left_behind)
            return result

        mixed = head.mix(features.coarse, features.coarsest, mixer=look_back)
        return head.decode(mixed, features.fine, features.finest)[0], states

    def _context(self) -> list[States] | None:
        if self._first is None:
            return None
        recent = list(self._recent)
        return [self._first, recent[0], *recent[-_RUN:]]

    def _remember(self, states: States) -> None:
        if self._first is None:
            self._first = states
            self._recent.extend([states] * (_FAR - 1))  # one and the same, not copies
        self._recent.append(states)


def _in_order(context: list[States], module: int) -> list[Tensor]:
    """For each attention of a temporal module the states of all frames, joined."""
    return [torch.cat(frames, dim=1) for frames in zip(*(s[module] for s in context), strict=True)]
