"""Shared by the tests of RollingDepth: reference outputs, and a tiny pipeline made on the spot."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from kinedepth.dense.rolling_depth.attention import SnippetAttention
from kinedepth.dense.rolling_depth.components import Components, load_components
from kinedepth.dense.rolling_depth.tiny import SCHEDULE, write_index, write_text_encoder

diffusers = pytest.importorskip("diffusers")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "parity" / "rolling"

needs_reference = pytest.mark.skipif(
    not SHARED.is_dir(),
    reason="reference outputs of the published code (shared/parity/rolling) are not here",
)


def reference(name: str) -> dict[str, np.ndarray]:
    with np.load(SHARED / f"{name}.npz") as file:
        return dict(file)


@functools.lru_cache(maxsize=1)
def reference_components() -> Components:
    return load_components(SHARED / "pipeline")


def tiny_unet(in_channels: int = 8):
    return diffusers.UNet2DConditionModel(
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=2,
        use_linear_projection=True,
    )


def tiny_vae():
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    )


@functools.lru_cache(maxsize=1)
def tiny_components() -> Components:
    """Random weights, the same in every run; an eighth of the frame's size in the latents."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet, vae, prompt = tiny_unet(), tiny_vae(), torch.randn(1, 2, 8)
    unet.set_attn_processor(SnippetAttention())
    for network in (unet, vae):
        network.eval().requires_grad_(False)
    return Components(unet, vae, diffusers.DDIMScheduler(**SCHEDULE), prompt)


def write_tiny_pipeline(folder: Path) -> None:
    """The tiny pipeline as files, laid out as the published one."""
    parts = tiny_components()
    diffusers.UNet2DConditionModel.save_pretrained(parts.unet, folder / "unet")
    parts.vae.save_pretrained(folder / "vae")
    parts.scheduler.save_pretrained(folder / "scheduler")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        write_text_encoder(folder, channels=8)
    write_index(folder)


def moving_picture(frames: int, height: int = 64, width: int = 96) -> np.ndarray:
    """``(frames, height, width, 3)`` uint8 of waves that drift at different speeds."""
    t, y, x = np.ogrid[:frames, :height, :width]
    waves = [np.sin(x / 9 + t / 5) + np.cos(y / 7), np.sin((x + y) / 8 - t / 7), np.cos(y - t / 3)]
    picture = np.stack(np.broadcast_arrays(*waves), axis=-1)
    return np.round(127 + 60 * picture).astype(np.uint8)


def relative_error(found: np.ndarray | torch.Tensor, expected: np.ndarray) -> float:
    found = np.asarray(found)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
