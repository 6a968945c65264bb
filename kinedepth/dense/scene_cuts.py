"""Where a video cuts from one scene to another, found with PySceneDetect.

Depth knows nothing of the other side of a cut: what ties frames together has to begin anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import MissingExtraError
from kinedepth.video import Video

_LONG_SIDE = 256
"""Pixels to which frames are reduced: a cut shows at any size, and noise does not."""

_SHORTEST_SCENE = 8
"""Frames, where later ones are known: a scene of a few gains nothing from a start of its own."""


class SceneCutDetector:
    """Tells for each frame of a stream, as it comes, whether a new scene begins with it.

    It looks at no later frame, so it costs no delay.

    Args:
        fps: frames a second of the stream.

    Raises:
        MissingExtraError: if PySceneDetect is not installed.
    """

    def __init__(self, fps: float = 25.0) -> None:
        detectors, timecode = _scenedetect()
        # Any length: to wait and see how long a scene lasts would cost a delay.
        self._detector = detectors.ContentDetector(min_scene_len=1)
        self._timecode = timecode
        self._fps = fps
        self._count = 0

    def push(self, frame: NDArray[np.uint8]) -> bool:
        """Whether the next ``frame (H, W, 3)`` uint8 RGB is the first of a new scene."""
        index, self._count = self._count, self._count + 1
        cuts = self._detector.process_frame(self._timecode(index, self._fps), _reduced(frame))
        return any(cut.frame_num == index for cut in cuts)


def find_scene_cuts(video: Video) -> list[int]:
    """The frames with which a new scene begins, ascending, without frame 0.

    The whole video is read once. Each frame's change is compared with that of its neighbours,
    later ones too, so that fast motion is not taken for a cut.

    Raises:
        MissingExtraError: if PySceneDetect is not installed.
    """
    detectors, timecode = _scenedetect()
    detector = detectors.AdaptiveDetector(min_scene_len=_SHORTEST_SCENE)
    cuts: list[Any] = []
    for first, frames in video.blocks():
        for index, frame in enumerate(frames, start=first):
            cuts += detector.process_frame(timecode(index, video.fps), _reduced(frame))
    cuts += detector.post_process(timecode(len(video), video.fps))
    return sorted({cut.frame_num for cut in cuts} - {0})


def scenes_of(cuts: Iterable[int], length: int) -> list[range]:
    """The frames of each scene of a video of ``length`` frames with these cuts."""
    bounds = [0, *cuts, length]
    return [range(start, stop) for start, stop in itertools.pairwise(bounds)]


def _reduced(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame in OpenCV's order of colours, its long side no more than :data:`_LONG_SIDE`."""
    height, width = frame.shape[:2]
    factor = _LONG_SIDE / max(height, width)
    if factor < 1:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.ascontiguousarray(frame[..., ::-1])


def _scenedetect() -> tuple[Any, Any]:
    try:
        from scenedetect import FrameTimecode, detectors
    except ImportError:
        raise MissingExtraError("scenedetect-headless", "scenes") from None
    return detectors, FrameTimecode
