"""Where rays meet the bodies of a scene, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kinedepth.synthesis.scene import SPHERE, Scenes

NEAREST = 0.03
"""Depth, in scene units, below which nothing is seen (and points count as behind)."""


@dataclass(frozen=True)
class Hits:
    """What rays meet.

    Attributes:
        depth: ``(B, T, N)`` z-depth; infinite only where a ray leaves the surroundings.
        body: ``(B, T, N)`` int64 index of the body met.
    """

    depth: Tensor
    body: Tensor


def rays(scenes: Scenes, position: Tensor) -> Tensor:
    """Rays ``(B, ..., 3)`` with z = 1 through image ``position (B, ..., 2)``, in half widths."""
    focal = scenes.focal.view(-1, *[1] * (position.ndim - 1))
    ahead = torch.ones_like(position[..., :1])
    return torch.cat([position / focal, ahead], dim=-1)


def cast(scenes: Scenes, position: Tensor) -> Hits:
    """Meet the scene along rays through ``position (B, T, N, 2)``, one set a frame.

    In a body's own coordinates the ray is o + depth * d; since rays have z = 1 in the camera
    frame, the parameter is the z-depth itself.
    """
    inverse = torch.linalg.inv(scenes.to_camera[..., :3])  # (B, T, M, 3, 3)
    origin = -(inverse @ scenes.to_camera[..., 3:])[..., 0]  # (B, T, M, 3)
    direction = torch.einsum("btmij,btnj->btmni", inverse, rays(scenes, position))
    origin = origin[..., None, :]

    enter, leave = cube_crossings(origin[:, :, :-1], direction[:, :, :-1])
    missed = (enter > leave) | (enter < NEAREST)
    cube = enter.masked_fill(missed, torch.inf)
    sphere = sphere_entry(origin[:, :, :-1], direction[:, :, :-1])
    is_sphere = scenes.kind[:, None, :-1, None] == SPHERE
    depth = torch.where(is_sphere, sphere, cube)
    depth = depth.masked_fill(~scenes.present[:, None, :-1, None], torch.inf)

    # The surroundings are seen from inside: the ray ends where it would leave them.
    _, wall = cube_crossings(origin[:, :, -1:], direction[:, :, -1:])
    wall = wall.masked_fill(wall < NEAREST, torch.inf)
    nearest, body = torch.cat([depth, wall], dim=2).min(dim=2)
    return Hits(nearest, body)


def cube_crossings(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Where a ray enters and leaves the cube [-1, 1]^3 (slab method)."""
    tiny = torch.where(direction < 0, -1e-9, 1e-9)
    safe = torch.where(direction.abs() < 1e-9, tiny, direction)
    low, high = (-1 - origin) / safe, (1 - origin) / safe
    return torch.minimum(low, high).amax(-1), torch.maximum(low, high).amin(-1)


def sphere_entry(origin: Tensor, direction: Tensor) -> Tensor:
    """Where a ray enters the unit sphere; infinite if it misses or starts inside."""
    squared = direction.square().sum(-1)
    middle = (origin * direction).sum(-1)
    discriminant = middle.square() - squared * (origin.square().sum(-1) - 1)
    entry = (-middle - discriminant.clamp_min(0).sqrt()) / squared
    return entry.masked_fill((discriminant < 0) | (entry < NEAREST), torch.inf)
