"""RollingDepth as a model of dense depth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from kinedepth import hub
from kinedepth.dense.base import FrameProgress
from kinedepth.dense.rolling_depth.components import (
    Components,
    load_components,
    load_tiny_decoder,
)
from kinedepth.dense.rolling_depth.config import RollingDepthSettings
from kinedepth.dense.rolling_depth.latents import resize
from kinedepth.dense.rolling_depth.presets import find_settings
from kinedepth.dense.rolling_depth.video_run import RollingDepthRun
from kinedepth.dense.video_depth_anything.precision import Precision, check_usable
from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError
from kinedepth.video import Video

if TYPE_CHECKING:
    from kinedepth.dense.registry import DepthOptions

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class RollingDepthModel:
    """Depth of a video with RollingDepth (Ke et al., "Video Depth without Video Models", 2024).

    Inverse depth, up to one scale and one shift for the whole video. Every frame depends on all
    others, so the first is given out when nearly all work is done; a run that is stopped before
    begins anew.

    Args:
        components: of the pipeline, on the device to use.
        settings: None for the preset *fast*.
        name: as the registry knows it.
    """

    kind: DepthKind = "affine_invariant_disparity"
    per_frame = False

    def __init__(
        self,
        components: Components,
        settings: RollingDepthSettings | None = None,
        *,
        name: str = "rollingdepth",
    ) -> None:
        self.name = name
        self._components = components
        self._settings = settings or RollingDepthSettings()

    def predict(
        self, video: Video, progress: FrameProgress | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Depth ``(H, W)`` float32 of each frame, in order, at the video's own size.

        Larger is nearer. Values are about from -1 to 1 over the whole video.

        Args:
            video: of any size, from two frames up. Device memory does not grow with it; what
                has to wait lies in temporary files, see ``video_run``.
            progress: told the share of the work that is done, counted in frames.

        Raises:
            KinedepthError: the clip is too short for a dilation, the device or the disk has too
                little room, or the networks give values that are no numbers.
        """
        frames = len(video)

        def steps_done(done: int, total: int) -> None:
            if progress:
                # Whole only when the last frame is given out.
                progress(min(frames - 1, frames * done // total), frames)

        run = RollingDepthRun(self._components, self._settings, video, steps_done)
        with contextlib.closing(run):
            run.run()
            for frame in range(frames):
                depth = torch.from_numpy(run.depth.read([frame]))
                size = (video.height, video.width)
                yield resize(depth[:, None], size)[0, 0].numpy()
        if progress:
            progress(frames, frames)


def load(
    name: str, weights: Path, options: DepthOptions, device: torch.device
) -> RollingDepthModel:
    """The model with the pipeline in a folder, ready to run.

    Args:
        name: as the registry knows it.
        weights: the folder of the pipeline.
        options: those that were given; ``weights`` is not looked at.
        device: where to run.

    Raises:
        KinedepthError: a part of the pipeline is missing or damaged, or an option's value makes
            no sense.
        MissingExtraError: diffusers or transformers is not installed.
    """
    apart = ("weights", "tiny_decoder")
    asked = {key: value for key, value in options.given().items() if key not in apart}
    if "dilations" in asked:
        asked["dilations"] = tuple(asked["dilations"])
    settings = find_settings(**asked)
    # 16 bits are emulated on a CPU, and slower.
    suitable: Precision = "float32" if device.type == "cpu" else "float16"
    precision = settings.precision or suitable
    check_usable(precision, device)
    components = load_components(weights, _TYPES[precision])
    if options.tiny_decoder is not None:
        folder = find_tiny_decoder(options.tiny_decoder)
        components.tiny_decoder = load_tiny_decoder(folder, _TYPES[precision])
    components = components.to(device, _TYPES[precision])
    return RollingDepthModel(components, settings, name=name)


def find_tiny_decoder(named: str) -> Path:
    """The folder of a tiny autoencoder: one that is here, or the published one.

    Args:
        named: a folder, or ``taesd``, which is downloaded after its (permissive) licence was
            shown.

    Raises:
        KinedepthError: there is no such folder, or it cannot be downloaded.
    """
    if Path(named).is_dir():
        return Path(named)
    if named != "taesd":
        raise KinedepthError(
            f"There is no folder {named} with a tiny autoencoder; give one, or taesd."
        )
    return hub.fetch(hub.TINY_AUTOENCODER, hub.permission())
