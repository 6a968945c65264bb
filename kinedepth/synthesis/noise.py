"""What trackers do to true tracks: jitter with heavy tails, drift, switches, wrong visibility.

Training on clean tracks makes a network that reads every tracker's noise as motion in depth. The
default strengths are fitted to the embedded tracker on rendered clips
(``benchmarks/tracker_noise.py``) and reach further out, since real films are harder to follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kinedepth.synthesis.motion import happens, log_uniform, uniform


@dataclass(frozen=True)
class TrackerNoise:
    """Strength of each fault; lengths in half widths of the image, pairs are ranges of a window.

    A track's error is a walk away from its seed (``memory``) plus an error of each frame alone
    (``blur``); part of both is shared with the tracks around it.
    """

    clean_share: float = 0.1  # of windows, left as they are
    jitter: tuple[float, float] = (1.5e-4, 5e-3)  # a window's typical step of the walk
    spread: float = 0.7  # of the log of a track's own jitter about its window's
    outburst: float = 0.03  # probability of a step six times larger
    memory: tuple[float, float] = (0.5, 1.0)  # autoregressive coefficient of the walk; 1 is drift
    blur: tuple[float, float] = (0.2, 1.0)  # error of each frame alone, relative to a step
    shared: tuple[float, float] = (0.0, 0.9)  # share of the variance that neighbours have in common
    shared_length: tuple[float, float] = (0.03, 0.15)  # how far it reaches
    lost_factor: float = 16.0  # larger steps while hidden or lost
    switched: tuple[float, float] = (0.0, 0.05)  # share of tracks that jump to a neighbour
    lost: tuple[float, float] = (3e-3, 8e-2)  # probability a frame that a seen point is lost
    found: float = 0.2  # probability a frame that a lost point is found again
    imagined: tuple[float, float] = (0.01, 0.35)  # probability that a hidden point is called seen
    sticky: float = 0.4  # share of windows in which a hidden or lost point never comes back
    clamped: float = 0.5  # share of windows in which tracks stop at the image's border

    @classmethod
    def mild(cls) -> TrackerNoise:
        """Little of everything and nothing shared: what one might guess without measuring."""
        return cls(
            jitter=(1e-4, 1e-3),
            spread=0.0,
            outburst=0.0,
            memory=(0.0, 0.5),
            blur=(0.0, 0.2),
            shared=(0.0, 0.0),
            lost_factor=1.0,
            switched=(0.0, 0.0),
            lost=(1e-3, 1e-2),
            found=0.5,
            imagined=(0.01, 0.05),
            sticky=0.0,
        )


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
    count, frames = position.shape[:2]
    device = position.device
    clean = happens(generator, (count, 1, 1), noise.clean_share)
    claimed = _claims(generator, visible, seed_frame, noise)
    claimed = torch.where(clean, visible, claimed)

    position = _switch(generator, position, noise, clean)
    at_seed = _at_seed(position, seed_frame)
    step = _steps(generator, at_seed, visible & claimed, noise)
    keep = uniform(generator, (count, 1, 1), *noise.memory)
    error = _accumulate(step, keep, seed_frame)
    blur = uniform(generator, (count, 1, 1, 1), *noise.blur)
    elsewhere = torch.arange(frames, device=device)[None, :, None] != seed_frame[:, None]
    alone = _steps(generator, at_seed, torch.ones_like(visible), noise, like=step)
    error = error + blur * alone * elsewhere[..., None]
    position = position + error * ~clean[..., None]

    sticky = happens(generator, (count, 1, 1), noise.sticky)
    forwards = claimed.to(torch.int8).cummin(dim=1).values.bool()
    from_start = (seed_frame == 0)[:, None]
    claimed = torch.where(sticky & from_start, forwards, claimed)

    clamped = happens(generator, (count, 1, 1, 1), noise.clamped)
    edge = torch.stack([torch.ones_like(aspect), aspect], dim=-1)[:, None, None]
    position = torch.where(clamped, torch.clamp(position, -edge, edge), position)
    return position, claimed


def _claims(
    generator: torch.Generator, visible: Tensor, seed_frame: Tensor, noise: TrackerNoise
) -> Tensor:
    """What the tracker says of visibility ``(B, T, N)``: seen points get lost and found again."""
    count, frames, tracks = visible.shape
    device = visible.device
    lose = log_uniform(generator, (count, 1), *noise.lost)
    imagine = log_uniform(generator, (count, 1, 1), *noise.imagined)
    chance = torch.rand((count, frames, tracks), generator=generator, device=device)
    lost = torch.zeros_like(visible)
    # Tracks are followed away from their seed in both directions.
    ahead = behind = torch.zeros_like(visible[:, 0])
    for frame in range(frames):
        for now, forward in ((frame, True), (frames - 1 - frame, False)):
            before = ahead if forward else behind
            state = torch.where(before, chance[:, now] >= noise.found, chance[:, now] < lose)
            past = now > seed_frame if forward else now < seed_frame
            state = state & past
            lost[:, now] |= state
            ahead, behind = (state, behind) if forward else (ahead, state)
    return torch.where(visible, ~lost, chance < imagine)


def _at_seed(position: Tensor, seed_frame: Tensor) -> Tensor:
    """Where each track is in its seed frame, ``(B, N, 2)``."""
    index = seed_frame[:, None, :, None].expand(-1, 1, -1, 2)
    return position.gather(1, index)[:, 0]


def _steps(
    generator: torch.Generator,
    at_seed: Tensor,
    followed: Tensor,
    noise: TrackerNoise,
    like: Tensor | None = None,
) -> Tensor:
    """Random steps ``(B, T, N, 2)``, larger for unlucky tracks, moments and lost points.

    With ``like``, as large as those steps typically are for each track.
    """
    count, frames, tracks = followed.shape
    device = at_seed.device
    shape = (count, frames, tracks, 1)
    share = uniform(generator, (count, 1, 1, 1), *noise.shared)
    draw = torch.randn((count, frames, tracks, 2), generator=generator, device=device)
    draw = (1 - share).sqrt() * draw + share.sqrt() * _field(generator, at_seed, frames, noise)
    if like is not None:
        return draw * like.abs().median(dim=1, keepdim=True).values / 0.6745
    size = log_uniform(generator, (count, 1, 1, 1), *noise.jitter)
    own = noise.spread * torch.randn((count, 1, tracks, 1), generator=generator, device=device)
    burst = 1 + 5 * happens(generator, shape, noise.outburst)
    lost = 1 + (noise.lost_factor - 1) * (~followed)[..., None]
    return draw * size * own.exp() * burst * lost


def _field(
    generator: torch.Generator, at_seed: Tensor, frames: int, noise: TrackerNoise, waves: int = 24
) -> Tensor:
    """Smooth random field of unit variance, ``(B, T, N, 2)``, anew in every frame.

    A sum of plane waves with Gaussian frequencies has a Gaussian correlation in space: neighbours
    on the same texture are led astray together.
    """
    count = len(at_seed)
    device = at_seed.device
    length = log_uniform(generator, (count, 1, 1), *noise.shared_length)
    frequency = torch.randn((count, 2, waves), generator=generator, device=device) / length
    phase = 2 * math.pi * torch.rand((count, 1, waves), generator=generator, device=device)
    wave = torch.cos(at_seed @ frequency + phase) * math.sqrt(2 / waves)
    strength = torch.randn((count, frames, waves, 2), generator=generator, device=device)
    return wave[:, None] @ strength


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
