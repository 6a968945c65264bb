"""Random scenes: a moving camera, still and moving bodies, and a room or open ground.

Every body is a unit sphere or the cube [-1, 1]^3 under a time-varying affine map into the
camera's frame, and the surroundings are the *inside* of such a cube. Where a ray meets the
scene, which point of a body it meets and where that point goes are then closed form, exact,
and computed for many scenes at once on any device (``raycast.py``, ``trajectories.py``).

Image coordinates are centred and in half widths of the image: x in [-1, 1], y in
[-aspect, aspect] with aspect = height / width, and a point (X, Y, Z) projects to
focal * (X, Y) / Z. Lengths are in units of the nearest body's typical depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kinedepth.synthesis.motion import (
    happens,
    log_uniform,
    look_along,
    random_rotation,
    rotation_matrix,
    smooth_path,
    uniform,
)

SPHERE, CUBE = 0, 1


@dataclass(frozen=True)
class SceneConfig:
    """Ranges that scenes are drawn from; motion is per seven frames (see ``motion.py``)."""

    aspects: tuple[float, ...] = (1.0, 3 / 4, 9 / 16, 9 / 16, 0.3)
    focal: tuple[float, float] = (0.9, 3.2)  # half widths
    far_over_near: tuple[float, float] = (1.5, 12.0)
    static_bodies: int = 7
    moving_groups: int = 4  # of two parts each
    presence: tuple[float, float] = (0.3, 1.0)  # a scene's share of its bodies that exist
    half_size: tuple[float, float] = (0.1, 0.6)  # of a body in the image, half widths
    room_share: float = 0.7  # otherwise open ground
    camera_still: float = 0.2
    camera_speed: tuple[float, float] = (0.065, 1.5)  # in near depths
    camera_forward: float = 0.3
    camera_sideways: float = 0.2
    camera_fixates: float = 0.4
    camera_rotation: tuple[float, float] = (0.004, 0.4)  # radians
    camera_shakes: float = 0.3
    camera_shake: tuple[float, float] = (0.001, 0.01)  # radians
    group_speed: tuple[float, float] = (0.04, 1.2)  # in depths of the group
    group_along_view: float = 0.35
    group_still: float = 0.2
    group_articulated: float = 0.4
    group_deforming: float = 0.3
    group_turn: tuple[float, float] = (0.02, 1.0)  # radians
    group_bend: tuple[float, float] = (0.1, 1.2)  # radians, of articulated groups' hinges
    group_stretch: tuple[float, float] = (0.03, 0.3)  # share of size, of deforming groups


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes over time; the surroundings are the last body.

    Attributes:
        to_camera: ``(B, T, M, 3, 4)``, body coordinates to camera coordinates.
        camera_to_world: ``(B, T, 3, 4)``.
        kind: ``(B, M)`` int64, ``SPHERE`` or ``CUBE``.
        present: ``(B, M)`` bool.
        size: ``(B, M, 3)`` half extents of the bodies, for textures of like scale.
        focal: ``(B,)`` in half widths. aspect: ``(B,)``, height / width.
    """

    to_camera: Tensor
    camera_to_world: Tensor
    kind: Tensor
    present: Tensor
    size: Tensor
    focal: Tensor
    aspect: Tensor

    @property
    def frames(self) -> int:
        """T, the number of frames."""
        return self.to_camera.shape[1]

    def __len__(self) -> int:
        return self.to_camera.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Scenes:
        return Scenes(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def sample_scenes(
    generator: torch.Generator,
    count: int,
    frames: int,
    config: SceneConfig = SceneConfig(),
    aspect: float | None = None,
) -> Scenes:
    """Draw ``count`` scenes of ``frames`` frames on the generator's device."""
    device = generator.device
    choices = torch.tensor(config.aspects, device=device)
    pick = torch.randint(len(choices), (count,), generator=generator, device=device)
    aspects = choices[pick] if aspect is None else torch.full((count,), aspect, device=device)
    focal = log_uniform(generator, (count,), *config.focal)
    far = log_uniform(generator, (count,), *config.far_over_near)

    centre, rotation = _camera_path(generator, count, frames, far, config)
    middle = frames // 2
    frame_of_reference = (rotation[:, middle], centre[:, middle])

    static, static_size = _static_bodies(generator, count, focal, aspects, far, config)
    static_world = _place(static[:, None], frame_of_reference).expand(-1, frames, -1, -1, -1)
    groups, group_size = _moving_groups(generator, count, frames, focal, aspects, far, config)
    room, room_size = _surroundings(generator, count, far, config)
    room_world = _place(room[:, None, None], frame_of_reference).expand(-1, frames, -1, -1, -1)
    to_world = torch.cat([static_world, _place(groups, frame_of_reference), room_world], dim=2)
    to_camera = _to_camera(to_world, rotation, centre)

    bodies = config.static_bodies + 2 * config.moving_groups
    share = uniform(generator, (count, 1), *config.presence)
    present = torch.rand((count, bodies), generator=generator, device=device) < share
    everywhere = torch.ones((count, 1), dtype=torch.bool, device=device)
    kind = torch.randint(2, (count, bodies), generator=generator, device=device)
    return Scenes(
        to_camera=to_camera,
        camera_to_world=torch.cat([rotation, centre[..., None]], dim=-1),
        kind=torch.cat([kind, torch.full_like(kind[:, :1], CUBE)], dim=1),
        present=torch.cat([present, everywhere], dim=1),
        size=torch.cat([static_size, group_size, room_size[:, None]], dim=1),
        focal=focal,
        aspect=aspects,
    )


def _camera_path(
    generator: torch.Generator, count: int, frames: int, far: Tensor, config: SceneConfig
) -> tuple[Tensor, Tensor]:
    """Camera centres ``(B, T, 3)`` and camera-to-world rotations ``(B, T, 3, 3)``."""
    device = generator.device
    style = torch.rand((count, 1), generator=generator, device=device)
    general = torch.tensor([1.0, 0.5, 1.0], device=device)
    forward = torch.tensor([0.15, 0.1, 1.0], device=device)
    sideways = torch.tensor([1.0, 0.3, 0.1], device=device)
    weights = torch.where(style < config.camera_forward, forward, general)
    is_sideways = style > 1 - config.camera_sideways
    weights = torch.where(is_sideways, sideways, weights)
    speed = log_uniform(generator, (count, 1, 1), *config.camera_speed)
    moves = ~happens(generator, (count, 1, 1), config.camera_still)
    centre = smooth_path(generator, (count,), frames, 3, weights=weights) * speed * moves

    # The point that a fixating camera keeps in view, straight ahead at mid-clip.
    target = torch.zeros((count, 1, 3), device=device)
    target[..., 2] = 1 + (far - 1)[:, None] * uniform(generator, (count, 1), 0.0, 0.7)
    direction = target - centre
    fixates = happens(generator, (count, 1, 1), config.camera_fixates)
    # Closer to the target than this, "looking at it" would spin the camera round.
    fixates = fixates & (direction.norm(dim=-1).amin(1)[:, None, None] > 0.3)
    ahead = torch.zeros_like(direction)
    ahead[..., 2] = 1.0
    base = look_along(torch.where(fixates, direction, ahead))

    turn = log_uniform(generator, (count, 1, 1), *config.camera_rotation)
    turn = torch.where(fixates, 0.3 * turn, turn)
    axes = torch.tensor([0.6, 1.0, 0.4], device=device).expand(count, 3)
    rotation_vector = smooth_path(generator, (count,), frames, 3, weights=axes) * turn
    shake = smooth_path(generator, (count,), frames, 3, periods=(2.5, 8.0))
    amount = log_uniform(generator, (count, 1, 1), *config.camera_shake)
    shakes = happens(generator, (count, 1, 1), config.camera_shakes)
    return centre, base @ rotation_matrix(rotation_vector + shake * amount * shakes)


def _directions(
    generator: torch.Generator, shape: tuple[int, int], focal: Tensor, aspect: Tensor
) -> Tensor:
    """Rays ``(B, n, 3)`` with z = 1 through random places in, or a little outside, the image."""
    x = uniform(generator, shape, -1.1, 1.1) / focal[:, None]
    y = uniform(generator, shape, -1.1, 1.1) * (aspect / focal)[:, None]
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def _static_bodies(
    generator: torch.Generator,
    count: int,
    focal: Tensor,
    aspect: Tensor,
    far: Tensor,
    config: SceneConfig,
) -> tuple[Tensor, Tensor]:
    """Maps ``(B, n, 3, 4)`` into the mid-clip camera frame, and half extents ``(B, n, 3)``."""
    shape = (count, config.static_bodies)
    depth = torch.exp(uniform(generator, shape, 0.0, 1.0) * far.log()[:, None])
    position = _directions(generator, shape, focal, aspect) * depth[..., None]
    radius = depth * uniform(generator, shape, *config.half_size) / focal[:, None]
    proportions = uniform(generator, (*shape, 3), 0.35, 1.0)
    # Some bodies are boards: posters, doors, table tops.
    thin = happens(generator, shape, 0.2)
    proportions[..., 1] = torch.where(thin, 0.08, proportions[..., 1])
    size = radius[..., None] * proportions
    axes = random_rotation(generator, shape) * size[..., None, :]
    return torch.cat([axes, position[..., None]], dim=-1), size


def _moving_groups(
    generator: torch.Generator,
    count: int,
    frames: int,
    focal: Tensor,
    aspect: Tensor,
    far: Tensor,
    config: SceneConfig,
) -> tuple[Tensor, Tensor]:
    """Maps ``(B, T, 2 G, 3, 4)`` into the mid-clip camera frame; half extents ``(B, 2 G, 3)``.

    A group is two parts joined at a hinge. It travels, turns, and may bend and deform.
    """
    device = generator.device
    groups = (count, config.moving_groups)
    depth = torch.exp(uniform(generator, groups, 0.0, 0.8) * far.log()[:, None])
    ray = _directions(generator, groups, focal, aspect)
    radius = depth * uniform(generator, groups, *config.half_size) / focal[:, None]

    # (B, G, T, 3): where the group's centre is.
    speed = depth * log_uniform(generator, groups, *config.group_speed)
    travel = smooth_path(generator, groups, frames, 3)
    along = (
        smooth_path(generator, groups, frames, 1)
        * (ray / ray.norm(dim=-1, keepdim=True))[..., None, :]
    )
    is_along = happens(generator, groups, config.group_along_view)[..., None, None]
    moves = ~happens(generator, groups, config.group_still)[..., None, None]
    travel = torch.where(is_along, along, travel) * speed[..., None, None] * moves
    centre = ray[..., None, :] * depth[..., None, None] + travel

    turn = log_uniform(generator, groups, *config.group_turn)[..., None, None]
    turns = happens(generator, groups, 0.7)[..., None, None]
    turning = rotation_matrix(smooth_path(generator, groups, frames, 3) * turn * turns)
    stretch = log_uniform(generator, groups, *config.group_stretch)[..., None, None]
    deforms = happens(generator, groups, config.group_deforming)[..., None, None]
    # Ripples are deformations with short periods.
    ripple = smooth_path(generator, groups, frames, 9, periods=(6.0, 80.0)) * stretch * deforms
    identity = torch.eye(3, device=device)
    body = turning @ (identity + ripple.clamp(-0.6, 0.6).unflatten(-1, (3, 3)))
    bend = log_uniform(generator, groups, *config.group_bend)[..., None, None]
    bends = happens(generator, groups, config.group_articulated)[..., None, None]
    hinge = rotation_matrix(smooth_path(generator, groups, frames, 3) * bend * bends)

    size = radius[..., None, None] * uniform(generator, (*groups, 2, 3), 0.35, 1.0)
    axes = random_rotation(generator, (*groups, 2)) * size[..., None, :]
    arm = torch.randn((*groups, 3), generator=generator, device=device)
    arm = arm / arm.norm(dim=-1, keepdim=True) * radius[..., None]
    first = torch.cat([body @ axes[:, :, None, 0], centre[..., None]], dim=-1)
    second_centre = (body @ (hinge @ arm[:, :, None, :, None])) + centre[..., None]
    second = torch.cat([body @ hinge @ axes[:, :, None, 1], second_centre], dim=-1)
    parts = torch.stack([first, second], dim=2)  # (B, G, 2, T, 3, 4)
    return parts.flatten(1, 2).transpose(1, 2), size.flatten(1, 2)


def _surroundings(
    generator: torch.Generator, count: int, far: Tensor, config: SceneConfig
) -> tuple[Tensor, Tensor]:
    """A room, or ground so wide that its walls are a horizon: ``(B, 3, 4)`` and ``(B, 3)``."""
    is_room = happens(generator, (count,), config.room_share)
    wide = torch.where(
        is_room,
        far * uniform(generator, (count,), 0.6, 1.4),
        far * log_uniform(generator, (count,), 2.0, 10.0),
    )
    deep = wide * uniform(generator, (count,), 0.8, 1.25)
    eye_height = log_uniform(generator, (count,), 0.25, 1.5)
    headroom = torch.where(is_room, log_uniform(generator, (count,), 0.3, 2.0), 4 * wide)
    tall = (eye_height + headroom) / 2
    size = torch.stack([wide, tall, deep], dim=-1)
    offset = torch.stack(
        [
            wide * uniform(generator, (count,), -0.6, 0.6),
            eye_height - tall,
            deep * uniform(generator, (count,), -0.3, 0.8),
        ],
        dim=-1,
    )
    tilt = torch.stack(
        [
            uniform(generator, (count,), -0.5, 0.5),
            uniform(generator, (count,), -3.1416, 3.1416),
            uniform(generator, (count,), -0.15, 0.15),
        ],
        dim=-1,
    )
    pitch_roll = rotation_matrix(tilt * torch.tensor([1.0, 0.0, 1.0], device=tilt.device))
    yaw = rotation_matrix(tilt * torch.tensor([0.0, 1.0, 0.0], device=tilt.device))
    rotation = pitch_roll @ yaw
    position = (rotation @ offset[..., None])[..., 0]
    return torch.cat([rotation * size[:, None, :], position[..., None]], dim=-1), size


def _place(maps: Tensor, pose: tuple[Tensor, Tensor]) -> Tensor:
    """Maps ``(B, T or 1, M, 3, 4)`` into a frame with this camera-to-world pose, to the world."""
    rotation, centre = pose
    moved = rotation[:, None, None] @ maps
    moved[..., 3] += centre[:, None, None]
    return moved


def _to_camera(to_world: Tensor, rotation: Tensor, centre: Tensor) -> Tensor:
    """World maps ``(B, T, M, 3, 4)`` to camera maps, for camera-to-world poses over time."""
    shifted = to_world.clone()
    shifted[..., 3] -= centre[:, :, None]
    return rotation.transpose(-1, -2)[:, :, None] @ shifted
