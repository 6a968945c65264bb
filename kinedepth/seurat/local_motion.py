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


@dataclass(frozen=True)
class Neighbours:
    """The nearest supporting tracks of each track, chosen in the window's first frame.

    Attributes:
        start: ``(B, N, k, 2)`` their positions in the first frame, nearest first.
        position: ``(B, T, N, k, 2)`` their positions over time.
        visible: ``(B, T, N, k)`` 0 or 1: seen in this frame and in the first.
        distance: ``(B, N, k)`` in the first frame.
    """

    start: Tensor
    position: Tensor
    visible: Tensor
    distance: Tensor

    def nearest(self, count: int) -> Neighbours:
        """Only the ``count`` nearest."""
        return Neighbours(
            self.start[:, :, :count],
            self.position[..., :count, :],
            self.visible[..., :count],
            self.distance[..., :count],
        )


@dataclass(frozen=True)
class Fit:
    """A similarity fitted around each track, first frame to frame t.

    Attributes:
        log_ratio: ``(B, T, N)`` minus the log of the scale; 0 where too few neighbours are seen.
        rotation: ``(B, T, N)`` radians in the image.
        residual: ``(B, T, N, k)`` distance of each neighbour from where the fit puts it.
        weight: ``(B, T, N, k)`` how much each neighbour counted.
        matrix: ``(B, T, N, 2)`` scale times cosine and sine of the rotation.
        centre_start: ``(B, T, N, 2)`` what the similarity turns about, in the first frame.
        centre: ``(B, T, N, 2)`` where that goes.
    """

    log_ratio: Tensor
    rotation: Tensor
    residual: Tensor
    weight: Tensor
    matrix: Tensor
    centre_start: Tensor
    centre: Tensor

    def distance_of(self, position: Tensor) -> Tensor:
        """``(B, T, N)``: how far tracks ``(B, T, N, 2)`` are from where their fit puts them."""
        before = position[:, :1] - self.centre_start
        after = position - self.centre
        return (after - _turn(self.matrix, before)).norm(dim=-1)


def _turn(matrix: Tensor, vector: Tensor) -> Tensor:
    """Apply scaled rotations ``(..., 2)`` (cosine, sine) to ``vector (..., 2)``."""
    cosine, sine = matrix.unbind(-1)
    x, y = vector.unbind(-1)
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)


def find_neighbours(
    position: Tensor, support: Tensor, support_visible: Tensor, count: int, exclude_self: bool
) -> Neighbours:
    """The ``count`` nearest supporting tracks in the first frame (fewer if there are fewer).

    ``exclude_self`` leaves out the nearest, for tracks that are themselves the support.
    """
    distance = torch.cdist(position[:, 0], support[:, 0])
    # A supporting track that is not seen in the first frame has no place to measure from.
    distance = distance.masked_fill(~support_visible[:, None, 0], 1e3)
    skip = int(exclude_self)
    wanted = min(count + skip, distance.shape[-1])
    nearest, index = distance.topk(wanted, dim=-1, largest=False)
    if exclude_self and wanted > 1:
        nearest, index = nearest[..., 1:], index[..., 1:]
    batch = torch.arange(len(index), device=index.device)[:, None, None]
    # (B, S, T, 2) gathered by (B, N, k), then time moved back to the front.
    around = support.transpose(1, 2)[batch, index].permute(0, 3, 1, 2, 4)
    seen = support_visible.transpose(1, 2)[batch, index].permute(0, 3, 1, 2)
    both = (seen & seen[:, :1]).to(position.dtype)
    return Neighbours(around[:, 0], around, both, nearest)


def fit_similarity(
    neighbours: Neighbours, weight: Tensor, anchor: tuple[Tensor, Tensor] | None = None
) -> Fit:
    """Weighted least-squares similarity of the neighbourhood, first frame to frame t.

    ``anchor = (position in the first frame (B, N, 2), position over time (B, T, N, 2))`` makes
    the fit pass through the track itself instead of through the neighbours' weighted mean, so
    that neighbours on another surface, which moves otherwise, stand out.
    """
    total = weight.sum(-1, keepdim=True).clamp_min(1e-6)
    start = neighbours.start[:, None]
    if anchor is None:
        centre_start = (weight[..., None] * start).sum(-2) / total
        centre = (weight[..., None] * neighbours.position).sum(-2) / total
    else:
        centre_start, centre = anchor[0][:, None], anchor[1]
    before = start - centre_start[..., None, :]
    after = neighbours.position - centre[..., None, :]
    extent = (weight * before.square().sum(-1)).sum(-1).clamp_min(1e-9)
    cosine = (weight * (before * after).sum(-1)).sum(-1) / extent
    crossed = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
    sine = (weight * crossed).sum(-1) / extent
    matrix = torch.stack([cosine, sine], dim=-1)
    residual = (after - _turn(matrix[..., None, :], before)).norm(dim=-1)

    log_scale = 0.5 * (cosine.square() + sine.square()).clamp_min(1e-8).log()
    known = (neighbours.visible.sum(-1) >= _LEAST_NEIGHBOURS) & (total[..., 0] > 1e-3)
    log_ratio = torch.where(known, -log_scale, torch.zeros_like(log_scale))
    rotation = torch.where(known, torch.atan2(sine, cosine), torch.zeros_like(sine))
    log_ratio = log_ratio.clamp(-_LARGEST, _LARGEST)
    return Fit(log_ratio, rotation, residual, weight, matrix, centre_start.expand_as(centre), centre)


def fit_robust(
    neighbours: Neighbours, anchor: tuple[Tensor, Tensor] | None = None, iterations: int = 5
) -> Fit:
    """:func:`fit_similarity` by iteratively reweighted least squares with Cauchy weights.

    The scale of the weights is the median residual of the neighbours seen, so up to half of
    them may sit on other surfaces.
    """
    weight = neighbours.visible
    fit = fit_similarity(neighbours, weight, anchor)
    for _ in range(iterations):
        seen = fit.residual.masked_fill(neighbours.visible == 0, torch.nan)
        middle = seen.nanmedian(dim=-1, keepdim=True).values.nan_to_num(0.0)
        width = 2 * (1.4826 * middle).clamp_min(_NOISE_FLOOR)
        weight = neighbours.visible / (1 + (fit.residual / width).square())
        fit = fit_similarity(neighbours, weight, anchor)
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


def _affine_log_ratio(neighbours: Neighbours, weight: Tensor) -> Tensor:
    """``(B, T, N)``: minus half the log of the area that an affine fit magnifies by."""
    total = weight.sum(-1, keepdim=True).clamp_min(1e-6)
    start = neighbours.start[:, None]
    before = start - ((weight[..., None] * start).sum(-2) / total)[..., None, :]
    after = neighbours.position
    after = after - ((weight[..., None] * after).sum(-2) / total)[..., None, :]
    weighted = weight[..., None] * before
    moment = torch.einsum("...ki,...kj->...ij", weighted, before)
    cross = torch.einsum("...ki,...kj->...ij", after, weighted)
    area = _determinant(cross).abs() / _determinant(moment).clamp_min(1e-12)
    log_ratio = (-0.5 * area.clamp_min(1e-8).log()).clamp(-_LARGEST, _LARGEST)
    # Neighbours on one line span no area.
    spread = _determinant(moment) / moment.diagonal(dim1=-2, dim2=-1).sum(-1).square().clamp_min(
        1e-12
    )
    known = (weight.sum(-1) > _LEAST_NEIGHBOURS) & (spread > 1e-3)
    return torch.where(known, log_ratio, torch.zeros_like(log_ratio))


def _determinant(matrix: Tensor) -> Tensor:
    return matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]


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
    widest = find_neighbours(
        position, support, support_visible, NEIGHBOUR_COUNTS[-1], exclude_self
    )
    anchor = (position[:, 0], position)
    columns: list[Tensor] = []
    start = torch.zeros_like(position[..., 0])
    differences: list[Tensor] = []
    for count in NEIGHBOUR_COUNTS:
        near = widest.nearest(count)
        centred, anchored = fit_robust(near, iterations=3), fit_robust(near, anchor, iterations=3)
        if count == 16:
            start = centred.log_ratio
            differences.append(_affine_log_ratio(near, centred.weight))
            columns += _compress(centred.rotation, 4.0, 64.0)
        else:
            differences.append(centred.log_ratio)
        columns += _compress(centred.distance_of(position), 8.0, 64.0)
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
