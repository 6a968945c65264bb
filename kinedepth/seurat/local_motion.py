"""How the neighbourhood of a track grows, shrinks and shears: local fits to nearby tracks.

A patch of a surface that recedes by a factor r shrinks by 1 / r in the image, so the scale of
a similarity fitted to nearby tracks between the window's first frame and frame t estimates
the depth ratio: log r = -log scale. Several such fits are features of the network's tokens
(:func:`features`), one of them is where its prediction starts, and the same fit is the
baseline that the network has to beat (:func:`robust_log_ratio`).

Shapes: ``position (B, T, N, 2)`` are the tracks in question, ``support (B, T, S, 2)`` those
that surround them, both in half widths of the image; visibility is ``(B, T, N)`` or ``(B, T, S)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_NOISE_FLOOR = 4e-4
"""Residuals below this (half widths; an eighth of a pixel at 640) are never called outliers."""
_LARGEST = 2.0
"""Bound on any log ratio, as in the training targets."""
_LEAST_NEIGHBOURS = 3
_UNSEEN = 1e3


@dataclass(frozen=True)
class Neighbours:
    """The nearest supporting tracks of each track, chosen in the window's first frame.

    Attributes:
        start: ``(B, N, k)`` complex, their places in the first frame, nearest first.
        place: ``(B, T, N, k)`` complex, their places over time.
        visible: ``(B, T, N, k)`` 0 or 1: seen in this frame and in the first.
        distance: ``(B, N, k)`` in the first frame.
    """

    start: Tensor
    place: Tensor
    visible: Tensor
    distance: Tensor

    def nearest(self, count: int) -> Neighbours:
        """Only the ``count`` nearest."""
        parts = (self.start, self.place, self.visible, self.distance)
        return Neighbours(*(part[..., :count].contiguous() for part in parts))


@dataclass(frozen=True)
class Fit:
    """A similarity around each track, first frame to frame t: place = turn * start + shift.

    Places are complex numbers x + iy, in which a rotation with scale is one multiplication.

    Attributes:
        log_ratio: ``(B, T, N)`` minus the log of the scale; 0 where too few neighbours are seen.
        turn: ``(B, T, N)`` complex: scale times exp(i * rotation).
        shift: ``(B, T, N)`` complex.
        residual: ``(B, T, N, k)`` distance of each neighbour from where the fit puts it.
        weight: ``(B, T, N, k)`` how much each neighbour counted.
    """

    log_ratio: Tensor
    turn: Tensor
    shift: Tensor
    residual: Tensor
    weight: Tensor

    def distance_of(self, place: Tensor) -> Tensor:
        """``(B, T, N)``: how far tracks at ``place (B, T, N)`` are from where the fit puts them."""
        return (place - self.turn * place[:, :1] - self.shift).abs()


def as_complex(position: Tensor) -> Tensor:
    """``(..., 2)`` positions as complex numbers ``(...)``."""
    return torch.view_as_complex(position.float().contiguous())


def find_neighbours(
    position: Tensor, support: Tensor, support_visible: Tensor, count: int, exclude_self: bool
) -> Neighbours:
    """The ``count`` nearest supporting tracks in the first frame (fewer if there are fewer).

    ``exclude_self`` leaves out the nearest, for tracks that are themselves the support.
    """
    distance = torch.cdist(position[:, 0], support[:, 0])
    # A supporting track that is not seen in the first frame has no place to measure from.
    distance = distance.masked_fill(~support_visible[:, None, 0], _UNSEEN)
    skip = int(exclude_self)
    wanted = min(count + skip, distance.shape[-1])
    nearest, index = distance.topk(wanted, dim=-1, largest=False)
    if exclude_self and wanted > 1:
        nearest, index = nearest[..., 1:], index[..., 1:]
    batch, frames, _ = support_visible.shape
    chosen = index[:, None].expand(-1, frames, -1, -1).flatten(2)
    shape = (batch, frames, *index.shape[1:])
    place = as_complex(support).gather(2, chosen).view(shape)
    seen = (support_visible & support_visible[:, :1]).gather(2, chosen).view(shape)
    return Neighbours(place[:, 0], place, seen.float(), nearest)


def fit_similarity(neighbours: Neighbours, weight: Tensor, through: Tensor | None = None) -> Fit:
    """Weighted least-squares similarity of the neighbourhood, first frame to frame t.

    ``through``, complex ``(B, T, N)``, makes the fit pass through the track itself instead of
    through the neighbours' weighted mean, so that neighbours on another surface, which moves
    otherwise, stand out.
    """
    total = weight.sum(-1).clamp_min(1e-6)
    start = neighbours.start[:, None]
    if through is None:
        centre_start = (weight * start).sum(-1) / total
        centre = (weight * neighbours.place).sum(-1) / total
    else:
        centre_start, centre = through[:, :1], through
    before = start - centre_start[..., None]
    after = neighbours.place - centre[..., None]
    weighted = weight * before.conj()
    extent = (weighted * before).sum(-1).real.clamp_min(1e-9)
    turn = (weighted * after).sum(-1) / extent
    residual = (after - turn[..., None] * before).abs()

    known = (neighbours.visible.sum(-1) >= _LEAST_NEIGHBOURS) & (total > 1e-3)
    log_ratio = torch.where(known, -turn.abs().clamp_min(1e-4).log(), 0.0)
    log_ratio = log_ratio.clamp(-_LARGEST, _LARGEST)
    return Fit(log_ratio, turn, centre - turn * centre_start, residual, weight)


def fit_robust(neighbours: Neighbours, through: Tensor | None = None, iterations: int = 5) -> Fit:
    """:func:`fit_similarity` by iteratively reweighted least squares with Cauchy weights.

    The scale of the weights is the median residual of the neighbours seen, so up to half of
    them may sit on other surfaces.
    """
    hidden = neighbours.visible == 0
    middle = ((neighbours.visible.sum(-1, keepdim=True) - 1) / 2).long().clamp_min(0)
    fit = fit_similarity(neighbours, neighbours.visible, through)
    for _ in range(iterations):
        # Hidden neighbours sort to the end, past the median of those seen.
        ordered = fit.residual.masked_fill(hidden, torch.inf).sort(dim=-1).values
        median = ordered.gather(-1, middle).nan_to_num(posinf=0.0)
        width = 2 * (1.4826 * median).clamp_min(_NOISE_FLOOR)
        weight = neighbours.visible / (1 + (fit.residual / width).square())
        fit = fit_similarity(neighbours, weight, through)
    return fit


def robust_log_ratio(
    position: Tensor,
    support: Tensor,
    support_visible: Tensor,
    count: int = 16,
    exclude_self: bool = False,
) -> Tensor:
    """The IRLS baseline: ``(B, T, N)`` log ratio from the ``count`` nearest supporting tracks."""
    return fit_robust(
        find_neighbours(position, support, support_visible, count, exclude_self)
    ).log_ratio


def affine_log_ratio(neighbours: Neighbours, weight: Tensor) -> Tensor:
    """``(B, T, N)``: minus half the log of the area that a weighted affine fit magnifies by.

    An affine map of the plane is place = p * start + q * conj(start) + shift; it magnifies
    areas by |p|^2 - |q|^2.
    """
    total = weight.sum(-1, keepdim=True).clamp_min(1e-6)
    start = neighbours.start[:, None]
    before = start - (weight * start).sum(-1, keepdim=True) / total
    after = neighbours.place - (weight * neighbours.place).sum(-1, keepdim=True) / total
    weighted = weight * before
    extent = (weighted * before.conj()).sum(-1).real
    stretch = (weighted * before).sum(-1)  # zero for a round neighbourhood
    straight = (weighted.conj() * after).sum(-1)
    mirrored = (weighted * after).sum(-1)
    # Normal equations of (p, q): a Hermitian 2x2 system.
    determinant = extent.square() - stretch.abs().square()
    p = (extent * straight - stretch.conj() * mirrored) / determinant.clamp_min(1e-12)
    q = (extent * mirrored - stretch * straight) / determinant.clamp_min(1e-12)
    area = (p.abs().square() - q.abs().square()).abs()
    log_ratio = (-0.5 * area.clamp_min(1e-8).log()).clamp(-_LARGEST, _LARGEST)
    # Neighbours on one line span no area.
    known = (weight.sum(-1) > _LEAST_NEIGHBOURS) & (determinant > 0.01 * extent.square())
    return torch.where(known, log_ratio, 0.0)


def _compress(value: Tensor, *scales: float) -> list[Tensor]:
    """``asinh(scale * value)`` for each scale: linear near zero, logarithmic far from it."""
    return [torch.asinh(scale * value) for scale in scales]


NEIGHBOUR_COUNTS = (8, 16, 32)
FEATURES = 41
"""How many features :func:`features` gives a token."""


def features(
    position: Tensor,
    support: Tensor,
    support_visible: Tensor,
    exclude_self: bool = False,
) -> tuple[Tensor, Tensor]:
    """Features of every token, and where the prediction starts.

    Returns:
        ``(B, T, N, FEATURES)`` features and ``(B, T, N)`` the starting log ratio: the robust fit
        to the 16 nearest, also where the track itself is hidden.
    """
    widest = find_neighbours(position, support, support_visible, NEIGHBOUR_COUNTS[-1], exclude_self)
    place = as_complex(position)
    columns: list[Tensor] = []
    start = position.new_zeros(position.shape[:-1])
    differences: list[Tensor] = []
    for count in NEIGHBOUR_COUNTS:
        near = widest.nearest(count)
        centred, anchored = fit_robust(near, iterations=3), fit_robust(near, place, iterations=3)
        if count == 16:
            start = centred.log_ratio
            differences.append(affine_log_ratio(near, centred.weight))
            columns += _compress(centred.turn.angle(), 4.0, 64.0)
        else:
            differences.append(centred.log_ratio)
        columns += _compress(centred.distance_of(place), 8.0, 64.0)
        differences += [
            anchored.log_ratio,
            fit_similarity(near, near.visible).log_ratio,
        ]
        columns += [
            _spread(centred, near),
            _spread(anchored, near),
            centred.weight.mean(-1),
            anchored.weight.mean(-1),
        ]
    columns += _compress(start, 4.0, 64.0)
    for other in differences:
        columns += _compress(other - start, 4.0, 64.0)
    reach = widest.distance.clamp_max(2.0)[..., min(15, widest.distance.shape[-1] - 1)]
    columns.append(reach[:, None].expand_as(start))
    return torch.stack(columns, dim=-1), start


def _spread(fit: Fit, neighbours: Neighbours) -> Tensor:
    """Compressed root-mean-square residual of the neighbours seen."""
    seen = neighbours.visible.sum(-1).clamp_min(1.0)
    squared = (neighbours.visible * fit.residual.clamp_max(2.0).square()).sum(-1) / seen
    return torch.asinh(64.0 * squared.sqrt())
