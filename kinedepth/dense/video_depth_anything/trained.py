"""Weights trained with this package: a safetensors file that carries its configuration.

Names are those of published files, so ``checkpoint.load_published`` reads the tensors as well,
given the configuration.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kinedepth.dense.video_depth_anything.checkpoint import load_published, published_state
from kinedepth.dense.video_depth_anything.config import VideoDepthConfig
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path


def save_trained(path: str | Path, network: VideoDepth, training: dict[str, Any]) -> None:
    """Write the network's weights as float32, with its configuration and a record of training.

    Args:
        path: ``*.safetensors``.
        network: on any device.
        training: plain values: steps, seconds, held-out figures and the like.

    Raises:
        KinedepthError: if the file cannot be written.
    """
    tensors = {
        name: value.detach().float().cpu().contiguous()
        for name, value in published_state(network).items()
    }
    metadata = {
        "config": json.dumps(dataclasses.asdict(network.config)),
        "training": json.dumps(training),
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)


def load_trained(path: str | Path, device: torch.device | str = "cpu") -> VideoDepth:
    """The network of a file that :func:`save_trained` wrote, ready to run.

    Raises:
        KinedepthError: if there is no such file, it is damaged, or it does not say its
            configuration (published weights do not: ``load_published`` takes those).
    """
    return load_published(path, read_config(path), device)


def read_config(path: str | Path) -> VideoDepthConfig:
    """The configuration inside a file of :func:`save_trained`.

    Raises:
        KinedepthError: as :func:`load_trained`.
    """
    metadata = _metadata(path)
    try:
        config = _config_of(json.loads(metadata["config"]))
        with torch.device("meta"):
            VideoDepth(config)  # Whether its widths go together, its layers know.
        return config
    # RuntimeError: JSON of many brackets, or layers that do not fit each other.
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError):
        raise KinedepthError(
            f"{path} does not say what network its weights are of; it was not written by "
            f"kinedepth train vda."
        ) from None


def read_training(path: str | Path) -> dict[str, Any]:
    """The record of training inside a file of :func:`save_trained`; empty if there is none.

    Raises:
        KinedepthError: if there is no such file or it is damaged.
    """
    try:
        record = json.loads(_metadata(path).get("training", "{}"))
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise KinedepthError(f"{path} holds a record of training that cannot be read.")
    return record


def _metadata(path: str | Path) -> dict[str, str]:
    if not Path(path).is_file():
        raise KinedepthError(f"There is no weights file {path}.")
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise KinedepthError(f"{path} is not a readable safetensors file ({error}).") from None


def _config_of(values: dict[str, Any]) -> VideoDepthConfig:
    """JSON turns tuples into lists; a configuration is hashable and has tuples."""
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    config = VideoDepthConfig(**plain)
    _check_config(config)
    return config


_LARGEST = 16384
"""Of any number in a configuration: far beyond networks of use, and small enough to compare."""

_DEEPEST = 256


def _check_config(config: VideoDepthConfig) -> None:
    """Raise TypeError or ValueError unless a network can be built from what was stored."""
    sizes = (
        *(config.width, config.depth, config.heads),
        *(config.head_features, *config.head_channels),
        *(config.position_grid, config.temporal_heads),
    )
    if not all(type(number) is int for number in (*sizes, *config.taps)):
        raise TypeError("a number of the configuration is no whole number")
    if not isinstance(config.name, str):
        raise TypeError("the name of the configuration is no text")
    if min(sizes) < 1 or max(sizes) > _LARGEST or config.depth > _DEEPEST:
        raise ValueError("a number of the configuration is out of range")
    if len(config.taps) != 4 or len(config.head_channels) != 4:
        raise ValueError("the head takes four resolutions")
    if not all(0 <= tap < config.depth for tap in config.taps):
        raise ValueError("the head reads a block that is not there")
    if config.width % config.heads:
        raise ValueError("a width does not divide into the heads")
    if config.output not in ("relative", "metric"):
        raise ValueError("the output is of no known kind")
