"""Video Depth Anything as a model of dense depth: in windows or live, and stoppable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from kinedepth.dense.base import FrameProgress
from kinedepth.dense.scene_cuts import SceneCutDetector, find_scene_cuts, scenes_of
from kinedepth.dense.video_depth_anything.aligned_streaming import AlignedDepthStream
from kinedepth.dense.video_depth_anything.config import TEMPORAL_LENGTH
from kinedepth.dense.video_depth_anything.inference import (
    RunPoint,
    WindowedDepth,
    WindowedInference,
)
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.dense.video_depth_anything.precision import Precision, check_usable
from kinedepth.dense.video_depth_anything.preprocessing import DEFAULT_INPUT_SIZE
from kinedepth.dense.video_depth_anything.streaming import DepthStream
from kinedepth.dense.video_depth_anything.windows import Strategy
from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError
from kinedepth.video import Video


class VideoDepthAnythingModel:
    """Depth of a video with Video Depth Anything; a ``ResumableDepthModel``.

    Args:
        network: ready to run, on the device to use.
        name: as the registry knows it.
        kind: what the numbers mean; None for what the network's configuration says.
        input_size: pixels of the short side in the network; 518 as in training.
        precision: of the network but for its last layers, which are always float32. float16 is
            for GPUs.
        strategy: how windows are tied together, see ``windows.Strategy``.
        window: frames in a window; 32 as in training.
        windows_at_once: windows that pass the temporal modules together; None for what the
            device has memory for.
        stream: give each frame's depth before the next frame is read, with the caches of
            ``streaming.DepthStream`` in place of windows.
        align_stream: align a stream of relative depth to what it has shown, so that its scale
            does not drift, see ``aligned_streaming``. Off by default, as published.
        scene_cuts: begin anew at every cut of the video, so that nothing is blended or aligned
            across it. Needs the extra ``scenes``. Each scene of relative depth then has a scale
            and a shift of its own. Off by default, as published.

    Raises:
        KinedepthError: if an option is none of these, or the device cannot run it.
        MissingExtraError: if cuts are asked for and PySceneDetect is not installed.
    """

    per_frame = False

    def __init__(
        self,
        network: VideoDepth,
        *,
        name: str,
        kind: DepthKind | None = None,
        input_size: int = DEFAULT_INPUT_SIZE,
        precision: Precision = "float32",
        strategy: Strategy = "keyframes",
        window: int = TEMPORAL_LENGTH,
        windows_at_once: int | None = None,
        stream: bool = False,
        align_stream: bool = False,
        scene_cuts: bool = False,
    ) -> None:
        check_usable(precision, network.device)
        if kind is not None and (kind == "metric") != (network.config.output == "metric"):
            raise KinedepthError(
                f"These weights give {network.config.kind} depth, not {kind}; choose the kind "
                f"that fits them."
            )
        self.name = name
        self.kind: DepthKind = kind or network.config.kind
        self._network = network
        self._settings = WindowedInference(
            strategy=strategy,
            window=window,
            input_size=input_size,
            precision=precision,
            windows_at_once=windows_at_once,
        )
        self._stream = stream
        self._align_stream = align_stream and network.config.output == "relative"
        self._scene_cuts = scene_cuts
        if scene_cuts:
            SceneCutDetector()  # Tells now, not after minutes, where it is not installed.
        self._place: _Place | None = None

    def predict(
        self,
        video: Video,
        progress: FrameProgress | None = None,
        resume: Mapping[str, NDArray] | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Final depth ``(H, W)`` float32 of each frame of ``video``, in order, at its own size.

        Args:
            video: of any size and length; frames are read as they are needed.
            progress: told after each frame.
            resume: what :meth:`state` gave; the frame after the saved ones comes first.

        A run with windows reads on and goes on after at most one window, or one group of
        windows, of work done twice. A stream looks back at what all its frames left, so it
        passes through its frames from the start once more, silently.

        Raises:
            KinedepthError: if the video ends early, the state belongs to another video or other
                options, or the network gives values that are no numbers.
        """
        place = _Place.from_arrays(resume) if resume else None
        done = place.frames_done if place else 0
        if place and place.of_run != self._of_run(video):
            raise KinedepthError(
                "The state to go on from is of another video or of other options; start anew."
            )
        frames = self._streamed(video) if self._stream else self._windowed(video, place)
        for index, depth in frames:
            if index < done:
                continue  # Given out before the stop.
            if progress:
                progress(index + 1, len(video))
            yield depth

    def state(self) -> dict[str, NDArray]:
        """What is needed to go on, valid after a frame was given out: plain numeric arrays.

        With windows these are some numbers, the cuts, and at most ten frames of depth that the
        next window is aligned to and blended with; they change once a window. A stream's state
        is the number of frames alone.

        Raises:
            KinedepthError: if no frame was given out yet.
        """
        if self._place is None:
            raise KinedepthError("There is no state before the first frame of depth.")
        return self._place.to_arrays()

    def _of_run(self, video: Video) -> tuple[int, ...]:
        settings = self._settings
        return (
            *(len(video), video.height, video.width),
            *(settings.input_size, settings.window),
            get_args(Strategy).index(settings.strategy),
            get_args(Precision).index(settings.precision),
            *(int(self._stream), int(self._align_stream), int(self._scene_cuts)),
        )

    def _windowed(
        self, video: Video, place: _Place | None
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        done = place.frames_done if place else 0
        cuts = place.cuts if place else find_scene_cuts(video) if self._scene_cuts else []
        for scene in scenes_of(cuts, len(video)):
            if scene.stop <= done:
                continue
            start = place.point if place and scene.start <= done else None
            run = WindowedDepth(self._network, _Scene(video, scene), self._settings, start)
            first = scene.start + (start.frames_done if start else 0)
            for index, depth in enumerate(run.frames(), start=first):
                given = index + 1
                point = run.point(given - scene.start) if given < scene.stop else None
                self._place = _Place(given, self._of_run(video), cuts, point)
                yield index, depth

    def _streamed(self, video: Video) -> Iterator[tuple[int, NDArray[np.float32]]]:
        stream = (AlignedDepthStream if self._align_stream else DepthStream)(
            self._network,
            video.height,
            video.width,
            self._settings.input_size,
            self._settings.precision,
        )
        detector = SceneCutDetector(video.fps) if self._scene_cuts else None
        for index, frames in video.blocks(1):
            if detector and detector.push(frames[0]):
                stream.reset()
            depth = stream.push(frames[0])
            self._place = _Place(index + 1, self._of_run(video), [], None)
            yield index, depth


class _Scene:
    """Some consecutive frames of a video, as a video."""

    def __init__(self, video: Video, frames: range) -> None:
        self.width, self.height, self.fps = video.width, video.height, video.fps
        self._video = video
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def blocks(
        self, size: int = 16, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        offset = self._frames.start
        end = self._frames.stop if stop is None else offset + stop
        for first, frames in self._video.blocks(size, offset + start, end):
            yield first - offset, frames


@dataclass(frozen=True)
class _Place:
    """How far a run has come.

    Attributes:
        frames_done: how many frames were given out.
        of_run: what has to be the same in the run that goes on, as numbers.
        cuts: the frames with which scenes begin, but for the first.
        point: in the scene of the next frame, where its windows go on; None for its start.
    """

    frames_done: int
    of_run: tuple[int, ...]
    cuts: list[int]
    point: RunPoint | None

    def to_arrays(self) -> dict[str, NDArray]:
        return {
            "frames_done": np.array(self.frames_done, dtype=np.int64),
            "of_run": np.array(self.of_run, dtype=np.int64),
            "cuts": np.array(self.cuts, dtype=np.int64),
            **(self.point.to_arrays() if self.point else {}),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> _Place:
        try:
            return cls(
                int(arrays["frames_done"]),
                tuple(int(number) for number in arrays["of_run"]),
                [int(cut) for cut in arrays["cuts"]],
                RunPoint.from_arrays(arrays) if "point" in arrays else None,
            )
        except (KeyError, ValueError, TypeError, IndexError):
            raise KinedepthError(
                "The state to go on from is damaged or of another model; start anew."
            ) from None
