"""Shared by the tests of Video Depth Anything: weights, a tiny network, reference outputs."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kinedepth.dense.video_depth_anything import checkpoint
from kinedepth.dense.video_depth_anything.config import VITS, VideoDepthConfig
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.dense.video_depth_anything.temporal import sinusoidal_positions

SHARED = Path(__file__).resolve().parents[2] / "shared" / "parity" / "vda"

needs_reference = pytest.mark.skipif(
    not SHARED.is_dir(),
    reason="reference outputs of the published code (shared/parity/vda) are not here",
)

TINY = VideoDepthConfig(
    name="tiny",
    width=32,
    depth=4,
    heads=2,
    taps=(0, 1, 2, 3),
    head_features=64,
    head_channels=(16, 16, 64, 64),
    position_grid=3,
    temporal_heads=2,
)


def reference(name: str) -> dict[str, np.ndarray]:
    with np.load(SHARED / f"{name}.npz") as file:
        return dict(file)


def published_keys(size: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes, in the order of the published state dict."""
    keys = json.loads((SHARED / f"vda_{size}_keys.json").read_text())
    return {name: tuple(shape) for name, shape in keys.items()}


def deterministic_weights(
    shapes: dict[str, tuple[int, ...]], last_bias: float = 0.3
) -> dict[str, torch.Tensor]:
    """One stream of normal numbers for all tensors in order, scaled so that signals stay sane."""
    stream = np.random.RandomState(0)
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith(".pe"):
            tensors[name] = sinusoidal_positions(*shape[1:])
            continue
        offset, spread = _distribution(name, shape)
        values = offset + spread * stream.standard_normal(shape)
        tensors[name] = torch.from_numpy(values.astype(np.float32))
    # Depth is what the last ReLU leaves; with weights of both signs that would be little.
    tensors["head.scratch.output_conv2.2.weight"].abs_()
    tensors["head.scratch.output_conv2.2.bias"].fill_(last_bias)
    return tensors


def _distribution(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and standard deviation of a tensor's numbers."""
    module, _, kind = name.rpartition(".")
    layer = module.rpartition(".")[2]
    if kind == "gamma":
        return 0.5, 0.1
    if kind == "weight" and ("norm" in layer or ".norms." in name):
        return 1.0, 0.1
    if kind == "bias":
        return 0.0, 0.05
    if kind in ("cls_token", "pos_embed", "mask_token"):
        return 0.0, 0.2
    transposed = module in ("head.resize_layers.0", "head.resize_layers.1")
    inputs = shape[0] if transposed else int(np.prod(shape[1:]))
    return 0.0, (1.4 if ".scratch." in name else 1.0) / inputs**0.5


@functools.lru_cache(maxsize=1)
def reference_network(last_bias: float = 0.3) -> VideoDepth:
    """vits with the weights behind the reference outputs."""
    weights = deterministic_weights(published_keys("vits"), last_bias)
    return checkpoint.network_from_published(weights, VITS)


@functools.lru_cache(maxsize=1)
def tiny_network() -> VideoDepth:
    """Two heads, four blocks, and weights that are the same everywhere."""
    shapes = checkpoint.published_shapes(TINY)
    weights = deterministic_weights({name: shapes[name] for name in sorted(shapes)})
    return checkpoint.network_from_published(weights, TINY)


def moving_picture(frames: int, height: int = 42, width: int = 56) -> np.ndarray:
    """``(frames, height, width, 3)`` uint8 of waves that drift at different speeds."""
    t, y, x = np.ogrid[:frames, :height, :width]
    waves = [np.sin(x / 3 + t / 5) + np.cos(y / 4), np.sin((x + y) / 5 - t / 7), np.cos(y - t / 3)]
    picture = np.stack(np.broadcast_arrays(*waves), axis=-1)
    return np.round(127 + 60 * picture).astype(np.uint8)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
