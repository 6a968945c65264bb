"""What trackers do to true tracks: jitter with heavy tails, drift, switches, wrong visibility.

Training on clean tracks makes a network that reads every tracker's noise as motion in depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kinedepth.synthesis.motion import happens, log_uniform, uniform


@dataclass(frozen=True)
class TrackerNoise:
    """Strength of each fault; lengths in half widths of the image."""

    clean_share: float = 0.1  # of windows, left as they are
    jitter: tuple[float, float] = (2e-4, 1e-2)  # a window's typical error a frame
    spread: float = 0.7  # of the log of a track's own jitter about its window's
    outburst: float = 0.04  # probability of a step six times larger
    memory: tuple[float, float] = (0.3, 1.0)  # autoregressive coefficient; 1 is drift
    hidden_factor: float = 6.0  # larger steps while hidden
    switched: tuple[float, float] = (0.0, 0.05)  # share of tracks that jump to a neighbour
    missed: float = 0.02  # seen points called hidden
    imagined: float = 0.06  # hidden points called seen
    sticky: float = 0.5  # share of windows in which a hidden point never comes back
    clamped: float = 0.5  # share of windows in which tracks stop at the image's border


def disturb(
    generator: torch.Generator,
    position: Tensor,
    visible: Tensor,
    seed_frame: Tensor,
    aspect: Tensor,
    noise: TrackerNoise,
) -> tuple[Tensor, Tensor]:
    """Disturb true tracks as a tracker would.

    Args:
        generator: on the device of the tracks.
        position: ``(B, T, N, 2)`` in half widths.
        visible: ``(B, T, N)`` bool.
        seed_frame: ``(B, N)`` where each track starts; it is exact there and drifts both ways.
        aspect: ``(B,)`` height / width.
        noise: how much of what.

    Returns:
        Position and visibility of the same shapes.
    """
    count, frames, tracks, _ = position.shape
    device = position.device
    clean = happens(generator, (count, 1, 1), noise.clean_share)

    position = _switch(generator, position, noise, clean)
    step = _steps(generator, position, visible, noise)
    keep = uniform(generator, (count, 1, 1), *noise.memory)
    error = _accumulate(step, keep, seed_frame)
    position = position + error * ~clean[..., None]

    flipped = torch.rand((count, frames, tracks), generator=generator, device=device)
    seeded = torch.arange(frames, device=device)[None, :, None] == seed_frame[:, None]
    wrong = torch.where(visible, flipped < noise.missed, flipped < noise.imagined)
    claimed = visible ^ (wrong & ~clean & ~seeded)
    sticky = happens(generator, (count, 1, 1), noise.sticky)
    forwards = claimed.to(torch.int8).cummin(dim=1).values.bool()
    from_start = (seed_frame == 0)[:, None]
    claimed = torch.where(sticky & from_start, forwards, claimed)

    clamped = happens(generator, (count, 1, 1, 1), noise.clamped)
    edge = torch.stack([torch.ones_like(aspect), aspect], dim=-1)[:, None, None]
    position = torch.where(clamped, torch.clamp(position, -edge, edge), position)
    return position, claimed


def _steps(
    generator: torch.Generator, position: Tensor, visible: Tensor, noise: TrackerNoise
) -> Tensor:
    """Random steps ``(B, T, N, 2)``, larger for unlucky tracks, moments and hidden points."""
    count, frames, tracks, _ = position.shape
    device = position.device
    shape = (count, frames, tracks, 1)
    size = log_uniform(generator, (count, 1, 1, 1), *noise.jitter)
    own = noise.spread * torch.randn((count, 1, tracks, 1), generator=generator, device=device)
    burst = 1 + 5 * happens(generator, shape, noise.outburst)
    hidden = 1 + (noise.hidden_factor - 1) * (~visible)[..., None]
    draw = torch.randn(position.shape, generator=generator, device=device)
    return draw * size * own.exp() * burst * hidden


def _accumulate(step: Tensor, keep: Tensor, seed_frame: Tensor) -> Tensor:
    """Autoregressive sums of ``step`` away from each track's seed frame, zero there."""
    frames = step.shape[1]
    error = torch.zeros_like(step)
    ahead = torch.zeros_like(step[:, 0])
    behind = torch.zeros_like(step[:, 0])
    for frame in range(1, frames):
        after = (frame > seed_frame)[..., None]
        ahead = torch.where(after, keep * ahead + step[:, frame], 0.0)
        error[:, frame] += ahead
        mirrored = frames - 1 - frame
        before = (mirrored < seed_frame)[..., None]
        behind = torch.where(before, keep * behind + step[:, mirrored], 0.0)
        error[:, mirrored] += behind
    return error


def _switch(
    generator: torch.Generator, position: Tensor, noise: TrackerNoise, clean: Tensor
) -> Tensor:
    """From some frame on, let a few tracks follow the motion of a near track instead."""
    count, frames, tracks, _ = position.shape
    if tracks < 4:
        return position
    device = position.device
    share = uniform(generator, (count, 1), *noise.switched)
    chosen = torch.rand((count, tracks), generator=generator, device=device) < share
    when = torch.randint(1, max(2, frames), (count, 1, tracks), generator=generator, device=device)
    near = torch.cdist(position[:, 0], position[:, 0]).topk(4, largest=False).indices
    pick = torch.randint(1, 4, (count, tracks, 1), generator=generator, device=device)
    other_index = near.gather(2, pick)[..., 0]
    batch = torch.arange(count, device=device)[:, None]
    other = position.transpose(1, 2)[batch, other_index].transpose(1, 2)
    moment = when[..., None].expand(-1, -1, -1, 2).clamp_max(frames - 1)
    offset = position.gather(1, moment) - other.gather(1, moment)
    late = torch.arange(frames, device=device)[None, :, None] >= when
    switched = (late & chosen[:, None] & ~clean)[..., None]
    return torch.where(switched, other + offset, position)
