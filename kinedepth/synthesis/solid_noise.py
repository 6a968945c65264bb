"""Smooth random functions of space, band-limited to what a pixel can show."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_TILE = 64
"""Voxels along each side of the periodic tile of noise."""

_VOXELS_PER_WAVE = 4.0
"""Dominant wavelength of the tile, in voxels: enough for trilinear reading to look smooth."""


class SolidNoise:
    """One random tile of noise, repeated through space and read at any wavelength.

    The tile holds one octave: its power sits around a wavelength of ``_VOXELS_PER_WAVE``
    voxels, its mean is zero and its standard deviation one.
    """

    def __init__(self, generator: torch.Generator) -> None:
        white = torch.randn((_TILE,) * 3, generator=generator, device=generator.device)
        frequency = torch.fft.fftfreq(_TILE, device=generator.device)
        grid = torch.stack(torch.meshgrid(frequency, frequency, frequency, indexing="ij"))
        octaves_away = (grid.norm(dim=0) * _VOXELS_PER_WAVE).clamp_min(1e-6).log2()
        band = torch.exp(-0.5 * (octaves_away / 0.4).square())
        tile = torch.fft.ifftn(torch.fft.fftn(white) * band).real
        tile = tile / tile.std()
        # One voxel of the far side again, so that trilinear reading wraps without a seam.
        self._tile = functional.pad(tile[None, None], (0, 1, 0, 1, 0, 1), mode="circular")

    def octave(self, points: Tensor, wavelength: float) -> Tensor:
        """One octave ``(P,)`` at ``points (P, 3)``, with details about ``wavelength`` in size."""
        turns = points * (_VOXELS_PER_WAVE / _TILE / wavelength)
        place = (turns - turns.floor()) * 2 - 1
        return functional.grid_sample(
            self._tile, place.view(1, 1, 1, -1, 3), align_corners=True
        ).view(-1)

    def layered(
        self,
        points: Tensor,
        footprint: Tensor,
        wavelength: float,
        octaves: int,
        roughness: float = 0.6,
    ) -> Tensor:
        """Octaves ``(P,)`` from ``wavelength`` downwards, each half as long as the one before.

        Args:
            points: ``(P, 3)`` in the unit of ``wavelength``.
            footprint: ``(P,)`` what a pixel spans there, same unit; finer octaves fade out.
            wavelength: of the coarsest octave.
            octaves: how many.
            roughness: amplitude of an octave over the one before; 0 to 1.

        Returns:
            Values with zero mean and, before fading, a standard deviation of about 0.8 (reading
            between voxels averages a fifth of the tile's away).
        """
        amplitudes = [roughness**level for level in range(octaves)]
        scale = 1 / math.sqrt(sum(amplitude**2 for amplitude in amplitudes))
        total = torch.zeros_like(footprint)
        finest = float(footprint.amin()) if footprint.numel() else math.inf
        for level, amplitude in enumerate(amplitudes):
            length = wavelength / 2**level
            if length <= _INVISIBLE * finest:
                break
            # Shifted and with its axes swapped, so that octaves do not share their tile's seams.
            moved = points.roll(level, dims=-1) + 7.31 * level * length
            total += (scale * amplitude) * resolved(length, footprint) * self.octave(moved, length)
        return total


_INVISIBLE, _CLEAR = 2.0, 5.0
"""Pixels per wave at which a detail is gone, and from which it is shown in full."""


def resolved(wavelength: float, footprint: Tensor) -> Tensor:
    """Share ``(P,)`` in [0, 1] of a detail's contrast that survives pixels of ``footprint``."""
    return ((wavelength / footprint - _INVISIBLE) / (_CLEAR - _INVISIBLE)).clamp(0, 1)


def soft_step(distance: Tensor, footprint: Tensor) -> Tensor:
    """Share of a pixel beyond an edge at signed ``distance`` (a step, box-filtered)."""
    return (distance / footprint + 0.5).clamp(0, 1)
