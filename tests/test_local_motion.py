"""Local fits against closed-form similarities, and the invariances they must have."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.seurat.density import density_log_ratio
from kinedepth.seurat.local_motion import (
    FEATURES,
    affine_log_ratio,
    features,
    find_neighbours,
    fit_robust,
    robust_log_ratio,
)


def cloud(points: int = 40, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((points, 2), generator=generator) * 1.6 - 0.8


def moved(points: torch.Tensor, matrix: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """``(1, 2, N, 2)``: the points, then the points mapped."""
    return torch.stack([points, points @ matrix.T + shift])[None]


def similarity(scale: float, angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return scale * torch.tensor([[c, -s], [s, c]])


def all_visible(tracks: torch.Tensor) -> torch.Tensor:
    return torch.ones(tracks.shape[:-1], dtype=torch.bool)


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(0.3, 3.0),
    angle=st.floats(-3.0, 3.0),
    x=st.floats(-0.5, 0.5),
    y=st.floats(-0.5, 0.5),
)
def test_the_ratio_of_a_similarity_is_one_over_its_scale(scale, angle, x, y):
    tracks = moved(cloud(), similarity(scale, angle), torch.tensor([x, y]))
    log_ratio = robust_log_ratio(tracks, tracks, all_visible(tracks), exclude_self=True)
    assert torch.allclose(log_ratio[0, 0], torch.zeros(40), atol=1e-5)
    assert torch.allclose(log_ratio[0, 1], torch.full((40,), -math.log(scale)), atol=1e-3)


def test_outliers_under_a_third_do_not_move_the_robust_fit():
    tracks = moved(cloud(), similarity(1.2, 0.1), torch.zeros(2))
    tracks[0, 1, ::4] += 0.3
    near = find_neighbours(tracks, tracks, all_visible(tracks), 16, exclude_self=True)
    assert (near.place[0, 1] - near.start[0]).abs().max() > 0.2  # the outliers are among them
    robust = fit_robust(near, iterations=20).log_ratio[0, 1]
    assert torch.allclose(robust.median(), torch.tensor(-math.log(1.2)), atol=2e-3)


def test_an_affine_fit_reads_the_area_it_magnifies_by():
    matrix = torch.tensor([[1.1, 0.3], [-0.2, 0.9]])
    tracks = moved(cloud(), matrix, torch.tensor([0.1, 0.0]))
    near = find_neighbours(tracks, tracks, all_visible(tracks), 16, exclude_self=True)
    expected = -0.5 * torch.linalg.det(matrix).log()
    assert torch.allclose(
        affine_log_ratio(near, near.visible)[0, 1], expected.expand(40), atol=1e-4
    )


def test_points_that_recede_crowd_together_and_density_says_farther():
    tracks = moved(cloud(), similarity(0.8, 0.0), torch.zeros(2))
    log_ratio = density_log_ratio(tracks, tracks, all_visible(tracks), exclude_self=True)
    assert (log_ratio[0, 1] > 0).all()
    assert torch.allclose(log_ratio[0, 0], torch.zeros(40), atol=1e-6)


def test_features_do_not_depend_on_the_order_of_supporting_tracks():
    support = moved(cloud(60, 1), similarity(1.1, 0.2), torch.zeros(2))
    queries = moved(cloud(10, 2), similarity(1.1, 0.2), torch.zeros(2))
    seen = all_visible(support)
    seen[0, 1, ::5] = False
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    first, _ = features(queries, support, seen)
    second, _ = features(queries, support[:, :, order], seen[:, :, order])
    assert first.shape == (1, 2, 10, FEATURES)
    assert torch.allclose(first, second, atol=1e-4)


@pytest.mark.parametrize("points", [1, 2, 3, 5])
def test_too_few_supporting_tracks_still_give_finite_features(points):
    support = moved(cloud(points), similarity(1.1, 0.2), torch.zeros(2))
    queries = moved(cloud(4, 5), similarity(1.1, 0.2), torch.zeros(2))
    values, start = features(queries, support, all_visible(support))
    assert values.isfinite().all()
    assert start.isfinite().all()


def test_all_points_on_one_spot_give_finite_features():
    tracks = torch.zeros(1, 8, 20, 2)
    values, start = features(tracks, tracks, all_visible(tracks), exclude_self=True)
    assert values.isfinite().all()
    assert start.abs().max() <= 2


def test_hidden_neighbours_do_not_count():
    tracks = moved(cloud(), similarity(1.3, 0.0), torch.zeros(2))
    seen = all_visible(tracks)
    seen[0, 1, ::3] = False
    spoilt = tracks.clone()
    spoilt[0, 1, ::3] = 5.0
    clean = robust_log_ratio(tracks[:, :, 1::3], tracks, seen)
    assert torch.equal(clean, robust_log_ratio(tracks[:, :, 1::3], spoilt, seen))
