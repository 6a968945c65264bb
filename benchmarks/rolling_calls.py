"""RollingDepth: how often do frames pass the networks, against the published schedule?

    python benchmarks/rolling_calls.py [--frames 78] [--height 64] [--width 96]
        [--networks tiny|sd2] [--device cpu|cuda] [--precision float32] [--preset fast]

Three ways through the same video, with the same random weights, one after the other:

- published: one snippet for each call, every frame of every snippet decoded, the descent.
- batched: the same predictions, several snippets for each call, the reweighted solver.
- merged: as batched, but each frame is decoded once, after merging.

Calls and frames are counted where they enter the networks. On a CPU, seconds are those that the
processor spent in one thread, which other work on the machine does not count into. Weights are
random: counts and times do not depend on them, but how far *merged* is from *batched* does.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from _report import print_table, write_results
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from kinedepth.dense.rolling_depth.attention import SnippetAttention
from kinedepth.dense.rolling_depth.components import Components
from kinedepth.dense.rolling_depth.config import RollingDepthSettings
from kinedepth.dense.rolling_depth.presets import find_settings
from kinedepth.dense.rolling_depth.tiny import SCHEDULE
from kinedepth.dense.rolling_depth.video_run import RollingDepthRun
from kinedepth.video import Video

NETWORKS: dict[str, dict[str, Any]] = {
    "tiny": {
        "unet": (32, 64, 64, 64),
        "heads": (2, 4, 4, 4),
        "prompt": 32,
        "vae": (32, 32, 64, 64),
    },
    "sd2": {
        "unet": (320, 640, 1280, 1280),
        "heads": (5, 10, 20, 20),
        "prompt": 1024,
        "vae": (128, 256, 512, 512),
    },
}
"""Channels; *sd2* is as published (865.9 million parameters of the denoising network)."""


def make_components(networks: str, device: torch.device, dtype: torch.dtype) -> Components:
    """A pipeline with random weights, the same in every run."""
    sizes = NETWORKS[networks]
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        in_channels=8,
        out_channels=4,
        block_out_channels=sizes["unet"],
        attention_head_dim=sizes["heads"],
        cross_attention_dim=sizes["prompt"],
        use_linear_projection=True,
    )
    vae = make_vae(networks)
    unet.set_attn_processor(SnippetAttention())
    for network in (unet, vae):
        network.eval().requires_grad_(False)
    prompt = torch.randn(1, 2, sizes["prompt"])
    return Components(unet, vae, DDIMScheduler(**SCHEDULE), prompt).to(device, dtype)


def make_vae(networks: str) -> AutoencoderKL:
    """The autoencoder alone, with random weights."""
    return AutoencoderKL(
        block_out_channels=NETWORKS[networks]["vae"],
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    )


def moving_picture(frames: int, height: int, width: int) -> Video:
    """Waves that drift at different speeds."""
    t, y, x = np.ogrid[:frames, :height, :width]
    waves = [np.sin(x / 9 + t / 5) + np.cos(y / 7), np.sin((x + y) / 8 - t / 7), np.cos(y - t / 3)]
    picture = np.stack(np.broadcast_arrays(*waves), axis=-1)
    return Video.from_array(np.round(127 + 60 * picture).astype(np.uint8))


@dataclass
class Counts:
    """Calls of a part, and the frames in them."""

    calls: int = 0
    frames: int = 0


@dataclass
class Way:
    """What one way through the video took."""

    counts: dict[str, Counts] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    depth: np.ndarray = field(default_factory=lambda: np.zeros(0))


@contextlib.contextmanager
def counted(components: Components) -> Iterator[dict[str, Counts]]:
    """Counts what enters each network."""
    parts = {
        "unet": components.unet,
        "encoder": components.vae.encoder,
        "decoder": components.vae.decoder,
    }
    counts = {name: Counts() for name in parts}

    def count(name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            counts[name].calls += 1
            counts[name].frames += len(inputs[0])

        return hook

    hooks = [part.register_forward_pre_hook(count(name)) for name, part in parts.items()]
    yield counts
    for hook in hooks:
        hook.remove()


def go(components: Components, settings: RollingDepthSettings, video: Video) -> Way:
    """One way through the video, stage by stage."""
    way = Way()
    run = RollingDepthRun(components, settings, video)
    stages = ["encode", "predict", "align", "merge", *(["refine"] * bool(settings.refine_steps))]
    with contextlib.closing(run), counted(components) as way.counts:
        for stage in stages:
            began = now(components.unet.device)
            getattr(run, stage)()
            way.seconds[stage] = now(components.unet.device) - began
        way.depth = run.depth.read(range(len(video)))
    return way


def now(device: torch.device) -> float:
    """Seconds: of this thread on a CPU, of the clock on a GPU that has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.thread_time()


def main() -> None:
    """Read the arguments, run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=78)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--networks", choices=NETWORKS, default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--preset", default="fast")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device, dtype = torch.device(asked.device), getattr(torch, asked.precision)
    components = make_components(asked.networks, device, dtype)
    video = moving_picture(asked.frames, asked.height, asked.width)
    lean = find_settings(asked.preset, resolution=0)
    settings = {
        "published": replace(lean, snippets_at_once=1, solver="adam"),
        "batched": lean,
        "merged": replace(lean, decode="merged"),
    }
    go(components, lean, moving_picture(6, asked.height, asked.width))  # Warms everything up.
    ways = {name: go(components, chosen, video) for name, chosen in settings.items()}
    figures = {name: figures_of(way, asked.frames) for name, way in ways.items()}
    first = figures["published"]
    exact, once = ways["batched"].depth, ways["merged"].depth
    difference = {
        "largest": float(np.abs(once - exact).max() / np.ptp(exact)),
        "mean": float(np.abs(once - exact).mean() / np.ptp(exact)),
        "correlation": float(np.corrcoef(once.ravel(), exact.ravel())[0, 1]),
    }
    print_table(
        f"{asked.preset}, {asked.frames} frames of {asked.width}x{asked.height}, "
        f"{asked.networks} networks on {device.type}",
        ["", "UNet calls", "UNet", "encoded", "decoded", "networks s", "co-align s", "faster"],
        [
            [
                name,
                f"{found['unet_calls_per_frame']:.2f}",
                *(f"{found[f'{part}_per_frame']:.2f}" for part in ("unet", "encoder", "decoder")),
                f"{found['network_seconds']:.2f}",
                f"{found['align_seconds']:.2f}",
                f"{first['network_seconds'] / found['network_seconds']:.2f}",
            ]
            for name, found in figures.items()
        ],
    )
    print("Columns 2 to 5 are for each frame of the video; faster: of the networks alone.")
    print(
        f"merged against batched: largest difference {difference['largest']:.4f}, mean "
        f"{difference['mean']:.5f} of the range, correlation {difference['correlation']:.5f}"
    )
    name = f"rolling_calls_{asked.networks}_{device.type}"
    print(write_results(name, {"ways": figures, "merged_against_batched": difference}))


def figures_of(way: Way, frames: int) -> dict[str, float]:
    """What is printed and written of one way."""
    found = {f"{name}_per_frame": counts.frames / frames for name, counts in way.counts.items()}
    found["unet_calls_per_frame"] = way.counts["unet"].calls / frames
    found["align_seconds"] = way.seconds["align"]
    found["network_seconds"] = sum(way.seconds.values()) - way.seconds["align"]
    found["frames_per_second"] = frames / sum(way.seconds.values())
    return found


if __name__ == "__main__":
    main()
