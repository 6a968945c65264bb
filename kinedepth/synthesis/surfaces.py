"""What the rays of one frame meet: the place on the body, its normal and its depth.

``raycast.cast`` gives depth for many scenes and frames at once; this gives all that shading
needs, for one frame, and skips the rays that pass a body by.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kinedepth.synthesis.raycast import NEAREST, cube_crossings, rays, sphere_entry
from kinedepth.synthesis.scene import SPHERE, Scenes

_FAR = 1e4
"""Depth, in scene units, given to rays that leave the surroundings through nothing."""


@dataclass(frozen=True)
class SurfacePoints:
    """Where rays end.

    Attributes:
        depth: ``(P,)`` z-depth.
        body: ``(P,)`` int64.
        face: ``(P,)`` int64, which of a cube's six faces (axis, then side); 0 on spheres.
        local: ``(P, 3)`` body coordinates.
        normal: ``(P, 3)`` unit length, camera frame, towards the camera's side.
        cosine: ``(P,)`` of the angle between ray and normal, 0 to 1.
    """

    depth: Tensor
    body: Tensor
    face: Tensor
    local: Tensor
    normal: Tensor
    cosine: Tensor


def meet(scenes: Scenes, index: int, frame: int, position: Tensor) -> SurfacePoints:
    """Meet scene ``index`` in ``frame`` along rays through ``position (P, 2)``, in half widths."""
    ray = rays(scenes[index : index + 1], position[None])[0]
    maps = scenes.to_camera[index, frame]
    inverse = torch.linalg.inv(maps[..., :3])
    depth = torch.full_like(position[:, 0], torch.inf)
    body = torch.full_like(depth, len(maps) - 1, dtype=torch.int64)
    for each in torch.nonzero(scenes.present[index])[:, 0].tolist():
        is_surroundings = each == len(maps) - 1
        among = None if is_surroundings else _may_meet(maps[each], scenes.focal[index], position)
        candidates = ray if among is None else ray[among]
        origin, direction = _into_body(maps[each], inverse[each], candidates)
        if is_surroundings:
            entry = cube_crossings(origin, direction)[1]
            entry = torch.where(entry < NEAREST, torch.inf, entry)
        elif scenes.kind[index, each] == SPHERE:
            entry = sphere_entry(origin, direction)
        else:
            entry, leave = cube_crossings(origin, direction)
            entry = entry.masked_fill((entry > leave) | (entry < NEAREST), torch.inf)
        before = depth if among is None else depth[among]
        is_nearer = entry < before
        if among is None:
            depth = torch.where(is_nearer, entry, depth)
            body = body.masked_fill(is_nearer, each)
        else:
            depth[among] = torch.where(is_nearer, entry, before)
            body[among] = body[among].masked_fill(is_nearer, each)
    return _describe(scenes, index, maps, inverse, ray, depth.clamp_max(_FAR), body)


def _into_body(map_: Tensor, inverse: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    """Origin ``(3,)`` and directions ``(P, 3)`` of rays from the camera, in body coordinates."""
    return -(inverse @ map_[:, 3]), ray @ inverse.T


def _may_meet(map_: Tensor, focal: Tensor, position: Tensor) -> Tensor | None:
    """Indices of the positions in the body's bounding rectangle; None for all of them."""
    signs = torch.tensor([-1.0, 1.0], device=map_.device)
    corners = torch.cartesian_prod(signs, signs, signs) @ map_[:, :3].T + map_[:, 3]
    if bool((corners[:, 2] < NEAREST).any()):
        return None
    seen = focal * corners[:, :2] / corners[:, 2:]
    inside = (position >= seen.amin(0)) & (position <= seen.amax(0))
    return torch.nonzero(inside[:, 0] & inside[:, 1])[:, 0]


def _describe(
    scenes: Scenes,
    index: int,
    maps: Tensor,
    inverse: Tensor,
    ray: Tensor,
    depth: Tensor,
    body: Tensor,
) -> SurfacePoints:
    """Places and normals on the bodies that the rays were found to meet."""
    face = torch.zeros_like(body)
    local = torch.zeros_like(ray)
    normal = torch.zeros_like(ray)
    for each in present_values(body):
        mine = torch.nonzero(body == each)[:, 0]
        origin, direction = _into_body(maps[each], inverse[each], ray[mine])
        place = origin + depth[mine, None] * direction
        outward = place
        if scenes.kind[index, each] != SPHERE:
            axis = place.abs().argmax(dim=-1, keepdim=True)
            sign = place.gather(1, axis).sign()
            outward = torch.zeros_like(place).scatter(1, axis, sign)
            face[mine] = (2 * axis + (sign > 0))[:, 0]
        local[mine] = place
        # Normals travel with the inverse transpose of the map.
        normal[mine] = outward @ inverse[each]
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    cosine = -(normal * ray).sum(-1) / ray.norm(dim=-1)
    # The surroundings are seen from inside: their outward normal points away.
    normal = torch.where(cosine[:, None] < 0, -normal, normal)
    return SurfacePoints(depth, body, face, local, normal, cosine.abs())


def present_values(labels: Tensor) -> list[int]:
    """The different values among small whole numbers ``labels (P,)``, ascending."""
    return torch.nonzero(torch.bincount(labels))[:, 0].tolist()
