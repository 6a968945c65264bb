"""Marigold (Ke et al., CVPR 2024), a latent diffusion model of single images, frame by frame.

The pipeline is diffusers' own. Every frame begins with the same noise: what differs between
frames then comes from the frames.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from kinedepth.dense.frame_adapters import FrameDepth
from kinedepth.dense.per_frame import PerFrameDepth
from kinedepth.dense.registry import DepthOptions
from kinedepth.dense.rolling_depth.components import load_components, quietly
from kinedepth.dense.rolling_depth.config import PIXELS_PER_LATENT, SMALLEST_RESOLUTION
from kinedepth.dense.video_depth_anything.precision import check_usable
from kinedepth.errors import KinedepthError

_STEPS, _RESOLUTION = 4, 768
"""As published, where the pipeline's folder does not say."""


class MarigoldNetwork(torch.nn.Module):
    """Images to depth, through all denoising steps.

    Args:
        pipeline: diffusers' ``MarigoldDepthPipeline``.
        steps: of denoising.
        resolution: pixels of the long side in the network; 0 for the frames' own size.
        seed: of the noise.
    """

    def __init__(self, pipeline: Any, *, steps: int, resolution: int, seed: int) -> None:
        super().__init__()
        self.unet, self.vae = pipeline.unet, pipeline.vae
        self._pipeline = pipeline
        self._steps, self._resolution, self._seed = steps, resolution, seed

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        """``predicted_depth (B, H, W)`` from 0 (near) to 1, of ``(B, 3, H, W)`` from 0 to 1."""
        found = self._pipeline(
            pixel_values,
            num_inference_steps=self._steps,
            processing_resolution=self._resolution,
            generator=torch.Generator("cpu").manual_seed(self._seed),
            output_type="pt",
        )
        return SimpleNamespace(predicted_depth=found.prediction[:, 0])


class MarigoldAdapter:
    """Nothing but the range of values: the pipeline resizes by itself."""

    most_at_once: int | None = 1  # One noise for each frame of a batch would differ.

    def prepare(self, frames: Tensor) -> Tensor:
        """As ``FrameAdapter`` asks."""
        return frames.float() / 255

    def finish(self, output: Any, height: int, width: int) -> FrameDepth:
        """As ``FrameAdapter`` asks."""
        return FrameDepth(output.predicted_depth.float())


def load(name: str, weights: Path, options: DepthOptions, device: torch.device) -> PerFrameDepth:
    """Marigold from a folder in the layout of diffusers, ready to run.

    Args:
        name: as the registry knows it.
        weights: the folder of the pipeline.
        options: ``steps``, ``resolution``, ``seed`` and ``precision`` are looked at.
        device: where to run.

    Raises:
        KinedepthError: a part is missing or damaged, the pipeline predicts something else than
            depth, or an option's value makes no sense.
        MissingExtraError: diffusers or transformers is not installed.
    """
    precision = options.precision or "float32"
    check_usable(precision, device)
    dtype: torch.dtype = getattr(torch, precision)
    parts = load_components(weights, dtype, pipeline="Marigold")
    from diffusers import MarigoldDepthPipeline

    settings = _settings(weights)
    predicts = settings.get("prediction_type") or "depth"
    if predicts != "depth":
        raise KinedepthError(
            f"The pipeline in {weights} predicts {predicts}, but {name} is a model of depth."
        )
    steps = options.steps or settings.get("default_denoising_steps") or _STEPS
    resolution = options.resolution
    if resolution is None:
        resolution = settings.get("default_processing_resolution") or _RESOLUTION
    _check(steps, resolution)
    parts = parts.to(device, dtype)
    made: Any
    with quietly():
        made = MarigoldDepthPipeline(
            parts.unet,
            parts.vae,
            parts.scheduler,
            None,
            None,
            prediction_type="depth",
            default_denoising_steps=steps,
            default_processing_resolution=resolution,
        )
    made.empty_text_embedding = parts.prompt
    made.set_progress_bar_config(disable=True)
    network = MarigoldNetwork(made, steps=steps, resolution=resolution, seed=options.seed or 0)
    return PerFrameDepth(network, MarigoldAdapter(), name=name, kind="affine_invariant")


def _settings(folder: Path) -> dict[str, Any]:
    """What the pipeline says of itself; nothing where it says nothing."""
    index = folder / "model_index.json"
    settings = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    return settings if isinstance(settings, dict) else {}


def _check(steps: int, resolution: int) -> None:
    if not 1 <= steps <= 1000:
        raise KinedepthError(f"The number of steps has to be from 1 to 1000; got {steps}.")
    if resolution and (resolution < SMALLEST_RESOLUTION or resolution % PIXELS_PER_LATENT):
        raise KinedepthError(
            f"A resolution of {resolution} does not fit the network: give a multiple of "
            f"{PIXELS_PER_LATENT} from {SMALLEST_RESOLUTION} up, or 0 for the frames' own size."
        )
