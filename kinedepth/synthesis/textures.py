"""Procedural solid textures: colour as a function of a place in a body.

Places are body coordinates times the body's half extents, so that a texture has the same scale
on all bodies, sticks to its body as that moves, and deforms along with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kinedepth.synthesis.motion import log_uniform, random_rotation, uniform
from kinedepth.synthesis.scene import Scenes
from kinedepth.synthesis.solid_noise import SolidNoise, resolved, soft_step

Richness = Literal["rich", "poor"]
"""``rich``: detail everywhere. ``poor``: most bodies nearly plain, with a few marks."""

WALLS, FLOOR, CEILING = 0, 1, 2
"""The surroundings have a texture each for these; see :meth:`Textures.surface_of`."""

_TABLE = 1024
"""Entries in a texture's table of random numbers, looked up by the cell a place lies in."""


@dataclass(frozen=True)
class Texture:
    """How one surface looks.

    Attributes:
        pattern: name of the pattern, a key of ``_PATTERNS``.
        colours: ``(3, 3)`` RGB in [0, 1]: ground, figure, and the colour that detail drifts to.
        wavelength: size of the pattern, in scene units.
        turn: ``(3, 3)`` rotation and shift: ``(3,)`` offset of the pattern in its body.
        detail: strength of the irregular shading laid over the pattern, natural log units.
        detail_wavelength: of its coarsest octave, in scene units.
        detail_octaves: how many octaves it has.
        marks: share of cells that hold a mark (a blot); 0 for none.
        table: ``(_TABLE, 4)`` random numbers in [0, 1).
    """

    pattern: str
    colours: Tensor
    wavelength: float
    turn: Tensor
    shift: Tensor
    detail: float
    detail_wavelength: float
    detail_octaves: int
    marks: float
    table: Tensor


class Textures:
    """The textures of one scene: one a body, and three for the surroundings."""

    def __init__(self, noise: SolidNoise, surfaces: list[Texture]) -> None:
        self._noise = noise
        self._surfaces = surfaces

    def __len__(self) -> int:
        return len(self._surfaces)

    def colour(self, surface: int, points: Tensor, footprint: Tensor) -> Tensor:
        """RGB ``(P, 3)`` in [0, 1] of a surface at ``points (P, 3)``.

        Args:
            surface: index of a body, or of a part of the surroundings (``surface_of``).
            points: body coordinates times half extents, scene units.
            footprint: ``(P,)`` what a pixel spans there, scene units, > 0.
        """
        texture = self._surfaces[surface]
        placed = points @ texture.turn.T + texture.shift
        figure = _PATTERNS[texture.pattern](texture, self._noise, placed, footprint)
        ground, ink, drift = texture.colours
        colour = torch.lerp(ground, ink, figure[:, None])
        if texture.marks > 0:
            mark = torch.maximum(
                _blots(texture, placed, footprint, 2.5 * texture.wavelength, texture.marks),
                _blots(texture, placed + 5.7, footprint, 0.8 * texture.wavelength, texture.marks),
            )
            colour = torch.lerp(colour, drift, mark[:, None])
        detail = self._noise.layered(
            placed, footprint, texture.detail_wavelength, texture.detail_octaves, roughness=0.8
        )
        colour = torch.lerp(colour, drift, (0.3 * texture.detail * detail[:, None]).clamp(0, 0.5))
        return (colour * (texture.detail * detail[:, None]).exp()).clamp(0, 1)

    @staticmethod
    def surface_of(scenes: Scenes, body: Tensor, local: Tensor) -> Tensor:
        """Surface indices ``(P,)`` of places ``local (P, 3)``, body coordinates, on ``body (P,)``.

        Bodies count as they do in the scene; the surroundings (the last body) split into
        walls, floor (y is down) and ceiling.
        """
        last = scenes.kind.shape[1] - 1
        is_level = local.abs().argmax(dim=-1) == 1
        part = torch.where(local[:, 1] > 0, FLOOR, CEILING)
        part = torch.where(is_level, part, WALLS)
        return torch.where(body == last, last + part, body)


def sample_textures(
    generator: torch.Generator, scenes: Scenes, index: int, richness: Richness = "rich"
) -> Textures:
    """Draw textures for every body of scene ``index``."""
    size = scenes.size[index]
    noise = SolidNoise(generator)
    bodies = len(size) - 1
    surfaces = [_sample_texture(generator, richness, 1.0) for _ in range(bodies)]
    room = float(size[-1].amax())
    # Ground that runs to a horizon needs shading as coarse as the distance it is seen from.
    surfaces += [_sample_texture(generator, richness, max(1.0, 0.25 * room)) for _ in range(3)]
    if is_open_ground(scenes, index):
        sky = _sample_sky(generator, richness, room)
        surfaces[bodies + WALLS] = sky
        surfaces[bodies + CEILING] = sky
    return Textures(noise, surfaces)


def is_open_ground(scenes: Scenes, index: int) -> bool:
    """Whether the surroundings of scene ``index`` are ground under a sky rather than a room.

    Open ground is told by its height: ``scene.py`` makes its walls twice as tall as wide.
    """
    wide, tall, _ = scenes.size[index, -1].tolist()
    return tall > 1.99 * wide


def _sample_texture(generator: torch.Generator, richness: Richness, coarse: float) -> Texture:
    """A texture whose irregular shading reaches up to ``coarse`` scene units."""
    device = generator.device
    # Even in poor scenes something carries a pattern: one surface in six.
    plain = richness == "poor" and _number(generator, 0, 1) > 1 / 6
    names = sorted(name for name in _PATTERNS if name != "plain")
    pick = int(torch.randint(len(names), (), generator=generator, device=device))
    straight = _number(generator, 0, 1) < 0.5
    turn = random_rotation(generator, ())
    table = torch.rand((_TABLE, 4), generator=generator, device=device)
    shift = uniform(generator, (3,), -20.0, 20.0)
    colours = _sample_colours(generator, contrast=0.12 if plain else 0.3)
    wavelength = float(log_uniform(generator, (), 0.06, 0.5))
    strength = float(log_uniform(generator, (), 0.15, 0.45))
    faint = float(log_uniform(generator, (), 0.015, 0.06))
    start = float(log_uniform(generator, (), 0.2, 0.8))
    marks = _number(generator, 0.04, 0.25)
    octaves = 7
    while start < coarse:
        start, octaves = 2 * start, octaves + 1
    return Texture(
        pattern="plain" if plain else names[pick],
        colours=colours,
        wavelength=wavelength,
        turn=torch.eye(3, device=device) if straight else turn,
        shift=shift,
        detail=faint if plain else strength,
        detail_wavelength=start,
        # Plain surfaces keep the coarse half of their shading alone.
        detail_octaves=octaves - 4 if plain else octaves,
        marks=marks if plain else 0.0,
        table=table,
    )


def _sample_sky(generator: torch.Generator, richness: Richness, room: float) -> Texture:
    device = generator.device
    colours = torch.tensor([[0.62, 0.74, 0.88], [0.9, 0.92, 0.95], [0.95, 0.95, 0.95]])
    return Texture(
        pattern="plain",
        colours=colours.to(device) * _number(generator, 0.8, 1.0),
        wavelength=1.0,
        turn=torch.eye(3, device=device),
        shift=uniform(generator, (3,), -20.0, 20.0) * room,
        detail=_number(generator, 0.05, 0.15) * (1.0 if richness == "rich" else 0.4),
        detail_wavelength=room,
        detail_octaves=7,
        marks=0.0,
        table=torch.rand((_TABLE, 4), generator=generator, device=device),
    )


def _sample_colours(generator: torch.Generator, contrast: float) -> Tensor:
    """Three muted colours ``(3, 3)``; the first two differ in brightness by ``contrast``."""
    device = generator.device
    brightness = uniform(generator, (3, 1), 0.2, 0.8)
    darker = _number(generator, 0, 1) < 0.5
    apart = contrast * _number(generator, 1.0, 1.8)
    first = float(brightness[0])
    goes_down = first - apart > 0.08 and (darker or first + apart > 0.95)
    brightness[1] = first - apart if goes_down else min(first + apart, 0.95)
    tint = torch.randn((3, 3), generator=generator, device=device)
    tint = tint - tint.mean(dim=1, keepdim=True)
    saturation = uniform(generator, (3, 1), 0.02, 0.22)
    return (brightness * (1 + saturation * tint)).clamp(0.02, 0.98)


def _number(generator: torch.Generator, low: float, high: float) -> float:
    return float(uniform(generator, (), low, high))


def _look_up(texture: Texture, cell: Tensor) -> Tensor:
    """Random numbers ``(P, 4)`` that belong to integer cells ``(P, 3)``."""
    weights = torch.tensor([73.0, 157.0, 311.0], device=cell.device)
    return texture.table[(cell * weights).sum(-1).long() % _TABLE]


# Patterns: (texture, noise, points (P, 3), footprint (P,)) -> share of the figure (P,), 0 to 1.


def _plain(texture: Texture, noise: SolidNoise, points: Tensor, footprint: Tensor) -> Tensor:
    return torch.zeros_like(footprint)


def _clouds(texture: Texture, noise: SolidNoise, points: Tensor, footprint: Tensor) -> Tensor:
    value = noise.layered(points, footprint, 4 * texture.wavelength, 7, roughness=0.7)
    return (0.5 + 0.4 * value).clamp(0, 1)


def _patches(texture: Texture, noise: SolidNoise, points: Tensor, footprint: Tensor) -> Tensor:
    """Blots with hard borders: noise cut at a level."""
    value = noise.layered(points, footprint, 3 * texture.wavelength, 4, roughness=0.45)
    # The noise climbs by about 2 pi / wavelength a unit, which turns levels into distances.
    return soft_step(value * (3 * texture.wavelength / 6.3), footprint)


def _wave(distance: Tensor, wavelength: float, footprint: Tensor, duty: float = 0.5) -> Tensor:
    """Bars along ``distance (P,)``, one a ``wavelength``, covering ``duty`` of it."""
    phase = distance / wavelength
    away = (phase - phase.round()).abs() * wavelength
    half = 0.5 * duty * wavelength
    # What the pixel [away - footprint / 2, away + footprint / 2] and the bar have in common.
    end = (away + 0.5 * footprint).clamp_max(half)
    begin = (away - 0.5 * footprint).clamp_min(-half)
    bars = ((end - begin) / footprint).clamp(0, 1)
    return torch.lerp(torch.full_like(bars, duty), bars, resolved(wavelength, footprint))


def _stripes(texture: Texture, noise: SolidNoise, points: Tensor, footprint: Tensor) -> Tensor:
    bend = noise.layered(points, footprint, 12 * texture.wavelength, 2)
    return _wave(points[:, 0] + 0.3 * texture.wavelength * bend, texture.wavelength, footprint)


def _checks(texture: Texture, noise: SolidNoise, points: Tensor, footprint: Tensor) -> Tensor:
    figure = torch.zeros_like(footprint)
    for axis in range(3):
        bars = _wave(points[:, axis], 2 * texture.wavelength, footprint)
        figure = figure + bars - 2 * figure * bars
    return figure


def _bricks(texture: Texture, noise: SolidNoise, points: Tensor, footprint: Tensor) -> Tensor:
    high = texture.wavelength
    row = (points[:, 1] / high).round()
    # Along both horizontal axes at once, so that faces of either orientation show joints.
    along = points[:, 0] + points[:, 2] + row.remainder(2) * high
    joints = 1 - (1 - _wave(points[:, 1] + 0.5 * high, high, footprint, 0.12)) * (
        1 - _wave(along + high, 2 * high, footprint, 0.06)
    )
    cell = torch.stack([(along / (2 * high)).round(), row, torch.zeros_like(row)], dim=-1)
    tint = 0.45 * _look_up(texture, cell)[:, 0] * resolved(2 * high, footprint)
    return torch.maximum(joints, tint)


def _blots(
    texture: Texture, points: Tensor, footprint: Tensor, spacing: float, share: float
) -> Tensor:
    """Balls, at most one in each cell of a grid with this spacing, in ``share`` of the cells."""
    cell = (points / spacing).floor()
    random = _look_up(texture, cell)
    radius = spacing * (0.08 + 0.3 * random[:, 3])
    # As far from the cell's border as the ball is large, so that it is never cut.
    wanted = torch.stack([random[:, 0], random[:, 1], random[:, 2]], dim=-1)
    centre = radius[:, None] + wanted * (spacing - 2 * radius[:, None])
    inside = radius - (points - cell * spacing - centre).norm(dim=-1)
    present = (random[:, 0] * 7919).frac() < share
    # A ball smaller than a pixel colours only its share of it.
    blot = soft_step(inside, footprint) * (2 * radius / footprint).clamp_max(1) * present
    return torch.lerp(torch.full_like(blot, 0.1 * share), blot, resolved(spacing, footprint))


def _dots(texture: Texture, noise: SolidNoise, points: Tensor, footprint: Tensor) -> Tensor:
    large = _blots(texture, points, footprint, 1.5 * texture.wavelength, 0.9)
    small = _blots(texture, points + 3.3, footprint, 0.6 * texture.wavelength, 0.7)
    return torch.maximum(large, 0.8 * small)


def _marble(texture: Texture, noise: SolidNoise, points: Tensor, footprint: Tensor) -> Tensor:
    warp = noise.layered(points, footprint, 4 * texture.wavelength, 5)
    phase = points[:, 0] / (2 * texture.wavelength) + 0.8 * warp
    veins = 1 - (phase - phase.round()).abs() * 2
    return torch.lerp(
        torch.full_like(veins, 0.3), veins.square(), resolved(texture.wavelength, footprint)
    )


def _wood(texture: Texture, noise: SolidNoise, points: Tensor, footprint: Tensor) -> Tensor:
    warp = noise.layered(points, footprint, 6 * texture.wavelength, 3)
    # Far from the origin the rings are nearly planes, as in boards.
    radius = points[:, [0, 2]].norm(dim=-1) + 0.5 * texture.wavelength * warp
    return 0.7 * _wave(radius, texture.wavelength, footprint, 0.4)


_PATTERNS: dict[str, Callable[[Texture, SolidNoise, Tensor, Tensor], Tensor]] = {
    "bricks": _bricks,
    "checks": _checks,
    "clouds": _clouds,
    "dots": _dots,
    "marble": _marble,
    "patches": _patches,
    "stripes": _stripes,
    "wood": _wood,
    "plain": _plain,
}
