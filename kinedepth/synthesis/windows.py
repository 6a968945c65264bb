"""Windows to train and test Seurat on: noisy tracks in, true log depth ratios out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from kinedepth.synthesis.motion import happens, uniform
from kinedepth.synthesis.noise import TrackerNoise, disturb
from kinedepth.synthesis.scene import SceneConfig, Scenes, sample_scenes
from kinedepth.synthesis.trajectories import Trajectories, follow

_HIDDEN_WEIGHT = 0.3


@dataclass(frozen=True)
class WindowConfig:
    """What windows are like."""

    scenes: SceneConfig = field(default_factory=SceneConfig)
    noise: TrackerNoise = field(default_factory=TrackerNoise)
    frames: int = 8
    support_grids: tuple[int, ...] = (8, 10, 12, 14)
    queries: int = 64
    late_queries: float = 0.4  # share seeded after the first frame, so maybe hidden in it
    crowded: float = 0.25  # share of windows whose queries sit close together
    candidates: int = 2  # scenes drawn for each one kept; 1 keeps all
    telling: float = 0.08  # mean |log ratio| from which a scene is as good as any
    reversed_share: float = 0.3  # share of windows run backwards: the grid is even at their end


@dataclass(frozen=True)
class TrackSet:
    """Tracks as a tracker gives them, with the truth beside them.

    Attributes:
        position: ``(B, T, N, 2)`` in half widths; visible: ``(B, T, N)``: what the network sees.
        log_ratio: ``(B, T, N)`` true log of depth over depth in the first frame, within ±2.
        weight: ``(B, T, N)``: 1 where truly seen, 0.3 where hidden, 0 behind the camera.
        truly_visible: ``(B, T, N)`` bool.
    """

    position: Tensor
    visible: Tensor
    log_ratio: Tensor
    weight: Tensor
    truly_visible: Tensor


@dataclass(frozen=True)
class Windows:
    """A batch of windows."""

    queries: TrackSet
    support: TrackSet


def sample_windows(
    generator: torch.Generator,
    count: int,
    config: WindowConfig = WindowConfig(),
    grid: int | None = None,
) -> Windows:
    """Draw ``count`` windows on the generator's device; ``grid`` fixes the supporting grid."""
    scenes = _telling_scenes(generator, count, config)
    device = generator.device
    if grid is None:
        pick = torch.randint(len(config.support_grids), (1,), generator=generator, device=device)
        grid = config.support_grids[int(pick)]
    seeds = grid_seeds(grid, scenes.aspect)
    support = noisy_tracks(
        generator, scenes, seeds, torch.zeros(seeds.shape[:2], device=device), config
    )

    seeds = _query_seeds(generator, scenes, config)
    late = happens(generator, seeds.shape[:2], config.late_queries)
    any_frame = torch.randint(config.frames, seeds.shape[:2], generator=generator, device=device)
    queries = noisy_tracks(generator, scenes, seeds, any_frame * late, config)
    if config.reversed_share == 0:
        return Windows(queries, support)
    backwards = happens(generator, (count, 1, 1), config.reversed_share)
    return Windows(_reversed(queries, backwards), _reversed(support, backwards))


def held_out_windows(
    config: WindowConfig, count: int, seed: int, device: torch.device, grid: int = 16
) -> list[Windows]:
    """Windows to test on, in batches of at most 16: scenes kept as drawn, none run backwards."""
    plain = replace(config, candidates=1, reversed_share=0)
    batches = []
    for first in range(0, count, 16):
        generator = torch.Generator(device).manual_seed(seed + first)
        batches.append(sample_windows(generator, min(16, count - first), plain, grid))
    return batches


def grid_seeds(grid: int, aspect: Tensor) -> Tensor:
    """Cell centres ``(B, grid * grid, 2)`` of a uniform grid over images of these aspects."""
    cell = (torch.arange(grid, device=aspect.device) + 0.5) / grid * 2 - 1
    y, x = torch.meshgrid(cell, cell, indexing="ij")
    seeds = torch.stack([x, y], dim=-1).reshape(1, -1, 2).repeat(len(aspect), 1, 1)
    seeds[..., 1] *= aspect[:, None]
    return seeds


def _telling_scenes(generator: torch.Generator, count: int, config: WindowConfig) -> Scenes:
    """Scenes in which depth changes: most random scenes teach little, so some are left out."""
    scenes = sample_scenes(generator, count * config.candidates, config.frames, config.scenes)
    if config.candidates == 1:
        return scenes
    probe = grid_seeds(6, scenes.aspect)
    truth = follow(
        scenes, probe, torch.zeros(probe.shape[:2], dtype=torch.long, device=probe.device)
    )
    seen = truth.visible.float()
    change = (truth.log_ratio().abs() * seen).sum((1, 2)) / seen.sum((1, 2)).clamp_min(1)
    worth = change.clamp(0.15 * config.telling, config.telling)
    # So much motion that little stays in view teaches little, too.
    worth = worth * seen.mean((1, 2)).clamp(0.2, 0.7)
    return scenes[worth.multinomial(count, generator=generator)]


def _query_seeds(generator: torch.Generator, scenes: Scenes, config: WindowConfig) -> Tensor:
    shape = (len(scenes), config.queries)
    spread = uniform(generator, (*shape, 2), -1.0, 1.0)
    centre = uniform(generator, (len(scenes), 1, 2), -0.8, 0.8)
    close = torch.randn((*shape, 2), generator=generator, device=generator.device)
    close = (centre + 0.15 * close).clamp(-1, 1)
    crowded = happens(generator, (len(scenes), 1, 1), config.crowded)
    seeds = torch.where(crowded, close, spread)
    return seeds * torch.stack([torch.ones_like(scenes.aspect), scenes.aspect], -1)[:, None]


def noisy_tracks(
    generator: torch.Generator,
    scenes: Scenes,
    seeds: Tensor,
    seed_frame: Tensor,
    config: WindowConfig,
) -> TrackSet:
    """What a tracker might make of points seeded at ``seeds (B, N, 2)``, with the truth beside.

    Each starts in its ``seed_frame (B, N)``.
    """
    seed_frame = seed_frame.long()
    truth: Trajectories = follow(scenes, seeds, seed_frame)
    position, visible = disturb(
        generator, truth.position, truth.visible, seed_frame, scenes.aspect, config.noise
    )
    weight = torch.where(truth.visible, 1.0, _HIDDEN_WEIGHT)
    # A ratio needs its point before the camera in this frame and in the first.
    weight = weight * (truth.ahead & truth.ahead[:, :1])
    return TrackSet(position, visible, truth.log_ratio(), weight, truth.visible)


def _reversed(tracks: TrackSet, backwards: Tensor) -> TrackSet:
    """The same tracks run backwards in the windows ``(B, 1, 1)`` that say so."""

    def turned(value: Tensor) -> Tensor:
        choice = backwards.reshape(-1, *[1] * (value.ndim - 1))
        return torch.where(choice, value.flip(1), value)

    log_ratio, weight = turned(tracks.log_ratio), turned(tracks.weight)
    return TrackSet(
        turned(tracks.position),
        turned(tracks.visible),
        log_ratio - log_ratio[:, :1],
        # What was behind the camera in the new first frame has no ratio.
        weight * (weight[:, :1] > 0),
        turned(tracks.truly_visible),
    )
