"""Frames of a scene as a camera would see them, with exact depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kinedepth.synthesis.motion import smooth_path, uniform
from kinedepth.synthesis.scene import Scenes
from kinedepth.synthesis.surfaces import SurfacePoints, meet, present_values
from kinedepth.synthesis.textures import Textures, is_open_ground

_EDGE_SAMPLES = 3
"""A pixel at an edge averages this many rays squared."""

_GRAZING_SAMPLES, _GRAZING = 2, 0.3
"""And so many where the cosine between ray and normal is below ``_GRAZING``."""

_FLOOR_FACE = 3
"""The face at y = +1 of the surroundings, as ``SurfacePoints`` counts them."""


@dataclass(frozen=True)
class Photography:
    """Light and camera of one clip.

    Attributes:
        light: ``(3,)`` unit vector towards the light, world frame.
        ambient: brightness of faces turned away from the light, 0 to 1.
        exposure: ``(T,)`` gain of each frame, near 1.
        vignetting: share of brightness lost in the corners.
        noise: standard deviation of the sensor's noise, in grey levels of 255.
        noise_seed: seeds the noise, which differs between frames.
    """

    light: Tensor
    ambient: float
    exposure: Tensor
    vignetting: float
    noise: float
    noise_seed: int


def sample_photography(generator: torch.Generator, frames: int) -> Photography:
    """Draw the light and camera of a clip of ``frames`` frames."""
    light = torch.randn(3, generator=generator, device=generator.device)
    light[1] = -light[1].abs() - 0.3  # from above; y is down
    drift = 0.015 * smooth_path(generator, (), frames, 1)[:, 0]
    return Photography(
        light=light / light.norm(),
        ambient=float(uniform(generator, (), 0.45, 0.7)),
        exposure=1 + drift.clamp(-0.06, 0.06),
        vignetting=float(uniform(generator, (), 0.0, 0.25)),
        noise=float(uniform(generator, (), 0.5, 2.5)),
        noise_seed=int(torch.randint(2**31, (), generator=generator, device=generator.device)),
    )


def pixel_positions(scenes: Scenes, index: int, width: int, height: int) -> Tensor:
    """Centres ``(height * width, 2)`` of the pixels, row by row, in half widths.

    Pixels are square where height / width is the scene's aspect, and stretched otherwise.
    """
    device = scenes.focal.device
    x = (torch.arange(width, device=device) + 0.5) * (2 / width) - 1
    y = ((torch.arange(height, device=device) + 0.5) * (2 / height) - 1) * scenes.aspect[index]
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)


def render(
    scenes: Scenes,
    index: int,
    frame: int,
    width: int,
    height: int,
    textures: Textures,
    photography: Photography,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """One frame of scene ``index``.

    A ray through the centre of every pixel gives its depth and colour; pixels at edges and on
    surfaces seen obliquely average several rays for their colour.

    Returns:
        ``rgb (H, W, 3)`` uint8, and ``depth (H, W)`` float32: exact z-depth at pixel centres,
        in scene units.
    """
    centres = pixel_positions(scenes, index, width, height)
    pixel = 2 / width
    points = meet(scenes, index, frame, centres)
    colour = _shade(scenes, index, frame, points, pixel, textures, photography)

    at_edge = _edges(points, width, height)
    is_oblique = (points.cosine < _GRAZING) & ~at_edge
    for wanted, side in ((at_edge, _EDGE_SAMPLES), (is_oblique, _GRAZING_SAMPLES)):
        pixels = torch.nonzero(wanted)[:, 0]
        step = (torch.arange(side, device=centres.device) + 0.5) / side - 0.5
        fine = centres[pixels, None] + torch.cartesian_prod(step, step) * pixel
        samples = meet(scenes, index, frame, fine.flatten(0, 1))
        shaded = _shade(scenes, index, frame, samples, pixel / side, textures, photography)
        colour[pixels] = shaded.unflatten(0, (len(pixels), side**2)).mean(dim=1)

    photo = _photograph(colour, centres, frame, photography)
    rgb = photo.reshape(height, width, 3).cpu().numpy()
    return rgb, points.depth.reshape(height, width).cpu().numpy()


def _edges(points: SurfacePoints, width: int, height: int) -> Tensor:
    """``(P,)`` bool: pixels with a neighbour that sees another body or another face."""
    surface = (points.body * 6 + points.face).reshape(1, 1, height, width).float()
    around = functional.pad(surface, (1, 1, 1, 1), mode="replicate")
    highest = functional.max_pool2d(around, 3, stride=1)
    lowest = -functional.max_pool2d(-around, 3, stride=1)
    return (highest != lowest).reshape(-1)


def _shade(
    scenes: Scenes,
    index: int,
    frame: int,
    points: SurfacePoints,
    pixel: float,
    textures: Textures,
    photography: Photography,
) -> Tensor:
    """Colours ``(P, 3)`` of surface points; ``pixel`` is the spacing of rays in half widths."""
    # What a ray's share of the image spans on a surface: stretched in one direction where seen
    # obliquely, so the mean of the two directions is taken.
    footprint = points.depth * (pixel / scenes.focal[index]) / points.cosine.clamp_min(0.05).sqrt()
    place = points.local * scenes.size[index][points.body]
    surface = textures.surface_of(scenes, points.body, points.local)
    colour = torch.empty_like(place)
    for each in present_values(surface):
        mine = torch.nonzero(surface == each)[:, 0]
        colour[mine] = textures.colour(each, place[mine], footprint[mine])

    light = scenes.camera_to_world[index, frame, :, :3].T @ photography.light
    # Half of the light wraps around to faces turned away: mild shading, so that a body that
    # turns keeps nearly the same brightness.
    lambert = 0.5 + 0.5 * (points.normal @ light)
    brightness = photography.ambient + (1 - photography.ambient) * lambert
    if is_open_ground(scenes, index):
        is_sky = (points.body == len(scenes.kind[index]) - 1) & (points.face != _FLOOR_FACE)
        brightness = torch.where(is_sky, torch.ones_like(brightness), brightness)
    else:
        brightness = brightness * _corner_shadow(scenes, index, points)
    return colour * brightness[:, None]


def _corner_shadow(scenes: Scenes, index: int, points: SurfacePoints) -> Tensor:
    """``(P,)`` factor that darkens a room towards the edges between its walls."""
    last = len(scenes.kind[index]) - 1
    to_wall = (1 - points.local.abs()) * scenes.size[index, last]
    # The smallest distance is to the wall the point is on; the second to the nearest corner.
    second = to_wall.sort(dim=-1).values[:, 1].clamp_min(0)
    reach = 0.2 * scenes.size[index, last].amin()
    shadow = 1 - 0.35 * torch.exp(-second / reach)
    return torch.where(points.body == last, shadow, torch.ones_like(shadow))


def _photograph(colour: Tensor, centres: Tensor, frame: int, photography: Photography) -> Tensor:
    """Pixels ``(P, 3)`` uint8: exposure, vignetting and the sensor's noise applied to colours."""
    corner = centres.square().sum(-1) / centres[0].square().sum()
    gain = photography.exposure[frame] * (1 - photography.vignetting * corner.square())
    generator = torch.Generator(device=colour.device)
    generator.manual_seed(photography.noise_seed + frame)
    noise = torch.randn(colour.shape, generator=generator, device=colour.device)
    grey = 255 * colour * gain[:, None] + photography.noise * noise
    return grey.round().clamp(0, 255).to(torch.uint8)
