"""Random smooth motion: sums of sinusoids, rotations from vectors, log-uniform draws.

All functions draw from an explicit ``torch.Generator`` and return tensors on its device, so a
seed fixes a scene on a given kind of device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FRAMES_PER_UNIT = 7
"""Magnitudes of motion are stated per this many frames: the span of a window of eight."""


def uniform(generator: torch.Generator, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Uniform in [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def log_uniform(
    generator: torch.Generator, shape: tuple[int, ...], low: float, high: float
) -> Tensor:
    """Uniform in the logarithm, between ``low`` > 0 and ``high``."""
    return uniform(generator, shape, math.log(low), math.log(high)).exp()


def happens(generator: torch.Generator, shape: tuple[int, ...], probability: float) -> Tensor:
    """Boolean, true with ``probability``."""
    return torch.rand(shape, generator=generator, device=generator.device) < probability


def smooth_path(
    generator: torch.Generator,
    shape: tuple[int, ...],
    frames: int,
    dimensions: int,
    periods: tuple[float, float] = (12.0, 200.0),
    weights: Tensor | None = None,
) -> Tensor:
    """Paths ``(*shape, frames, dimensions)``: three sinusoids a dimension, zero at mid-clip.

    Scaled so that the root-mean-square displacement over ``FRAMES_PER_UNIT`` frames (or over
    the whole clip if that is shorter) is one. ``weights (*shape, dimensions)`` stretches the
    axes before that scaling.
    """
    device = generator.device
    period = log_uniform(generator, (*shape, 1, dimensions, 3), *periods)
    phase = uniform(generator, (*shape, 1, dimensions, 3), 0.0, 2 * math.pi)
    # Amplitude proportional to the period gives every sinusoid a like share of the speed.
    amplitude = period * torch.randn(period.shape, generator=generator, device=device)
    time = torch.arange(frames, device=device, dtype=torch.float32).view(-1, 1, 1)
    path = (amplitude * torch.sin(2 * math.pi * time / period + phase)).sum(-1)
    path = path - path[..., frames // 2 : frames // 2 + 1, :]
    if weights is not None:
        path = path * weights.unsqueeze(-2)
    if frames == 1:
        return path
    lag = min(FRAMES_PER_UNIT, frames - 1)
    step = path[..., lag:, :] - path[..., :-lag, :]
    speed = step.square().sum(-1).mean(-1).sqrt()[..., None, None]
    return path / speed.clamp_min(1e-6)


def rotation_matrix(vector: Tensor) -> Tensor:
    """Rotation matrices ``(..., 3, 3)`` of rotation vectors ``(..., 3)`` in radians."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1)
    skew = skew.reshape(*vector.shape[:-1], 3, 3)
    angle = vector.norm(dim=-1)[..., None, None]
    # Taylor values below 1e-4 rad keep the two quotients finite.
    small = angle < 1e-4
    safe = angle.masked_fill(small, 1.0)
    first = torch.where(small, torch.ones_like(angle), safe.sin() / safe)
    second = torch.where(small, torch.full_like(angle, 0.5), (1 - safe.cos()) / safe.square())
    return torch.eye(3, device=vector.device) + first * skew + second * (skew @ skew)


def random_rotation(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Rotations ``(*shape, 3, 3)`` with random axes and angles up to pi."""
    axis = torch.randn((*shape, 3), generator=generator, device=generator.device)
    axis = axis / axis.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return rotation_matrix(axis * uniform(generator, (*shape, 1), 0.0, math.pi))


def look_along(direction: Tensor) -> Tensor:
    """Camera-to-world rotations ``(..., 3, 3)`` whose z axis is ``direction (..., 3)``, no roll."""
    forward = direction / direction.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    down = torch.zeros_like(forward)
    down[..., 1] = 1.0
    right = torch.linalg.cross(down, forward, dim=-1)
    right = right / right.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return torch.stack([right, torch.linalg.cross(forward, right, dim=-1), forward], dim=-1)
