"""What every model of dense depth has in common, however it works inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinedepth.depth import DepthKind
from kinedepth.video import Video

FrameProgress = Callable[[int, int], None]
"""Called with how many frames are done and how many there are."""


class DepthModel(Protocol):
    """Pixels to depth, frame by frame in order, in memory that does not grow with the video.

    Attributes:
        name: as the registry knows it, e.g. ``vda-small``.
        kind: what its numbers mean; the unknowns (a scale, a shift) are the same in all frames,
            unless the model is a per-frame one, see ``per_frame``.
        per_frame: each frame is predicted on its own, so that the unknowns of ``kind`` may
            change from frame to frame (flicker).
    """

    name: str
    kind: DepthKind
    per_frame: bool

    def predict(
        self, video: Video, progress: FrameProgress | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Final depth ``(H, W)`` of each frame of ``video``, in order, at the video's own size.

        Frames are read as they are needed and given out once nothing later can change them.

        Raises:
            KinedepthError: if the video cannot be handled by this model.
        """
        ...


class ResumableDepthModel(DepthModel, Protocol):
    """A model whose run can be stopped between two frames and gone on with later.

    ``state`` and ``predict(resume=...)`` belong together: a run that goes on from a state gives
    what an uninterrupted one would have given, to the last bit on the same device.
    """

    def predict(
        self,
        video: Video,
        progress: FrameProgress | None = None,
        resume: Mapping[str, NDArray] | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """As of :class:`DepthModel`; with ``resume``, from the frame after the saved ones."""
        ...

    def state(self) -> dict[str, NDArray]:
        """What is needed to go on, valid after a frame was given out: plain numeric arrays.

        ``frames_done`` () int64 tells how many frames were given out.
        """
        ...
