"""Video Depth Anything by the names that the registry knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kinedepth.dense.video_depth_anything.checkpoint import load_published
from kinedepth.dense.video_depth_anything.config import VITB, VITL, VITS, VideoDepthConfig
from kinedepth.dense.video_depth_anything.depth_model import VideoDepthAnythingModel
from kinedepth.dense.video_depth_anything.trained import read_config
from kinedepth.errors import KinedepthError

if TYPE_CHECKING:
    from kinedepth.dense.registry import DepthOptions

CONFIGS: dict[str, VideoDepthConfig] = {
    "vda-small": VITS,
    "vda-base": VITB,
    "vda-large": VITL,
    "vda-metric-small": VITS.as_metric(),
    "vda-metric-base": VITB.as_metric(),
    "vda-metric-large": VITL.as_metric(),
}
"""What each name stands for, where weights are published under it."""

TRAINED = {"vda": "relative", "vda-metric": "metric"}
"""Names for weights that this package trained, of any size; what their output has to be."""


def load(
    name: str, weights: Path, options: DepthOptions, device: torch.device
) -> VideoDepthAnythingModel:
    """The model called ``name`` with the weights of a file, ready to run.

    Args:
        name: one of :data:`CONFIGS` or :data:`TRAINED`.
        weights: ``.pth`` (read without running code) or ``.safetensors``, under the published
            names of the tensors; for :data:`TRAINED` a file of ``kinedepth train vda``, which
            carries its configuration.
        options: those that were given; ``weights`` is not looked at.
        device: where to run.

    Raises:
        KinedepthError: the file is damaged or of another size, or an option's value makes no
            sense.
    """
    asked = {key: value for key, value in options.given().items() if key != "weights"}
    if asked.get("stream"):
        for option in ("strategy", "window"):
            if option in asked:
                raise KinedepthError(
                    f"A stream has no windows, so the option {option} has no effect; leave it or "
                    f"stream out."
                )
    elif asked.get("align_stream"):
        raise KinedepthError("Only a stream can be aligned to what it has shown; ask for stream.")
    config = _trained_config(name, weights) if name in TRAINED else CONFIGS[name]
    network = load_published(weights, config, device)
    return VideoDepthAnythingModel(network, name=name, **asked)


def _trained_config(name: str, weights: Path) -> VideoDepthConfig:
    config = read_config(weights)
    if config.output != TRAINED[name]:
        fitting = next(other for other, output in TRAINED.items() if output == config.output)
        raise KinedepthError(
            f"{weights} was trained to give {config.output} depth, not {TRAINED[name]}; choose "
            f"the model {fitting}."
        )
    return config
