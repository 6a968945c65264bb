"""Windows of rendered scenes, with the picture around each point of each track."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ablation.budget import Budget
from kinedepth.synthesis.clips import one_thread_an_operation, render_frames
from kinedepth.synthesis.motion import happens, uniform
from kinedepth.synthesis.scene import SceneConfig, sample_scenes
from kinedepth.synthesis.windows import WindowConfig, grid_seeds, noisy_tracks

WIDTH, HEIGHT = 96, 54
"""Of the rendered frames: small, since each window costs eight of them."""
SIDE = 5
"""Pixels a side of a patch."""
CHANNELS = 3 * SIDE**2
_SEED = 62_000_000


def draw_rendered(count: int, seed: int, budget: Budget) -> dict[str, Tensor]:
    """``count`` windows as named tensors, with ``PART.patches (count, T, N, CHANNELS)`` uint8.

    Patches are cut where the noisy tracks are, since that is where one would cut them.
    """
    config = WindowConfig(support_grids=(budget.grid,), queries=budget.queries)
    parts: list[dict[str, Tensor]] = []
    for number in range(seed, seed + count):
        generator = torch.Generator().manual_seed(_SEED + number)
        scenes = sample_scenes(generator, 1, config.frames, SceneConfig(), HEIGHT / WIDTH)
        with one_thread_an_operation():
            richness = "rich" if number % 2 else "poor"
            rgb, _ = render_frames(generator, scenes, WIDTH, HEIGHT, richness, None)
        edge = torch.stack([torch.ones_like(scenes.aspect), scenes.aspect], -1)[:, None]
        places = uniform(generator, (1, budget.queries, 2), -1.0, 1.0) * edge
        late = happens(generator, places.shape[:2], config.late_queries)
        frame = torch.randint(config.frames, places.shape[:2], generator=generator) * late
        even = grid_seeds(budget.grid, scenes.aspect)
        found: dict[str, Tensor] = {}
        for part, seeds, start in (
            ("queries", places, frame),
            ("support", even, torch.zeros(even.shape[:2])),
        ):
            tracks = noisy_tracks(generator, scenes, seeds, start, config)
            found |= {f"{part}.{name}": value for name, value in vars(tracks).items()}
            found[f"{part}.patches"] = cut(torch.from_numpy(rgb), tracks.position[0])[None]
        parts.append(found)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def cut(rgb: Tensor, position: Tensor) -> Tensor:
    """Patches ``(T, N, CHANNELS)`` uint8 of frames ``(T, H, W, 3)`` around ``(T, N, 2)``.

    Positions are in half widths of the image; beyond its border, the border goes on.
    """
    height, width = rgb.shape[1:3]
    step = (torch.arange(SIDE) - SIDE // 2) * (2 / width)
    around = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1).reshape(1, 1, -1, 2)
    place = position[:, :, None] + around
    place = place / torch.tensor([1.0, height / width])
    image = rgb.permute(0, 3, 1, 2).float()
    patches = grid_sample(image, place, padding_mode="border", align_corners=False)
    return patches.permute(0, 2, 3, 1).flatten(2).round().to(torch.uint8)
