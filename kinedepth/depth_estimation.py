"""Dense depth of a video, from Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinedepth import hub
from kinedepth._frame_store import gather_frames
from kinedepth.consistent_depth import make_consistent
from kinedepth.dense.base import DepthModel, FrameProgress
from kinedepth.dense.registry import DepthOptions, make_depth_model
from kinedepth.depth import DepthVideo
from kinedepth.depth_files import load_depth_video
from kinedepth.devices import find_device
from kinedepth.errors import KinedepthError
from kinedepth.exporting.depth_outputs import DepthOutputs
from kinedepth.video import Video, load_video


def estimate_depth(
    source: str | Path | Video,
    model: str | DepthModel = "vda-small",
    *,
    frames: str | slice | None = None,
    device: str = "auto",
    folder: str | Path | None = None,
    accept_licence: bool = False,
    progress: FrameProgress | None = None,
    **options: Any,
) -> DepthVideo:
    """Depth (or disparity) of every pixel of a video.

    ::

        depth = estimate_depth("clip.mp4", "vda-small", precision="bfloat16")
        depth.depth   # (T, H, W) float32, at the video's own size
        depth.kind    # "affine_invariant_disparity": what these numbers mean

    Args:
        source: a video file, a folder or pattern of images, a TAPVid-3D npz, or a ``Video``.
        model: a name of :data:`kinedepth.dense.registry.DEPTH_MODELS`, or an object with
            ``predict``, see :class:`kinedepth.dense.base.DepthModel`.
        frames: ``"start:stop:step"`` of the source's frames.
        device: "auto", "cpu", "cuda" or "mps".
        folder: where to keep the depth, as ``depth.npz``; a ``depth.npz`` that is there is
            replaced. None keeps it for as long as the result lives.
        accept_licence: agree to the licence of weights that are not free for any use. It is
            shown, on standard error, before any download.
        progress: told how many frames are done.
        options: for a model given by name, see
            :class:`kinedepth.dense.registry.DepthOptions`: weights (a file that is here
            already), input_size, precision, strategy, window, stream, align_stream, scene_cuts.

    Returns:
        The depth. Up to 256 MiB it lies in memory; more is a read-only memory map, of
        ``folder/depth.npz`` or of a temporary file that goes with the array, so that memory
        stays bounded for a video of any length.

    Raises:
        KinedepthError: anything wrong with the input or the setup, in one sentence.
    """
    video = source if isinstance(source, Video) else load_video(source, frames, fewest=1)
    if isinstance(model, str):
        permit, asked = hub.permission(accept_licence), DepthOptions.of(options)
        estimator = make_depth_model(model, asked, find_device(device), permit)
        if asked.consistent:
            estimator = make_consistent(estimator)
    elif options:
        raise KinedepthError(
            f"A model that is made already takes no options; got {', '.join(options)}."
        )
    else:
        estimator = model
    found = _all_frames(estimator, video, progress)
    if folder is None:
        shape = (len(video), video.height, video.width)
        depth = gather_frames(found, shape)
        return DepthVideo(depth, estimator.kind, video.fps, estimator.per_frame)
    with DepthOutputs(
        folder,
        ["npz"],
        width=video.width,
        height=video.height,
        fps=video.fps,
        frames=len(video),
        kind=estimator.kind,
        per_frame=estimator.per_frame,
        overwrite=True,
    ) as outputs:
        for index, frame in enumerate(found):
            outputs.write(index, None, frame)
    return load_depth_video(outputs.paths[0])


def _all_frames(
    model: DepthModel, video: Video, progress: FrameProgress | None
) -> Iterator[NDArray[np.float32]]:
    """What the model gives, neither less nor more than a depth for each frame."""
    given = 0
    for depth in model.predict(video, progress):
        if given == len(video) or depth.shape != (video.height, video.width):
            raise KinedepthError(
                f"{model.name} gave depth of shape {depth.shape} as frame {given} of "
                f"{len(video)} of {video.width}x{video.height}."
            )
        given += 1
        yield depth
    if given < len(video):
        raise KinedepthError(f"{model.name} gave depth of {given} of {len(video)} frames.")
