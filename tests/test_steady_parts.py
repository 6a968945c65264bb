"""The parts of which steadying is made: smoothing, kriging, blocks and stored fields."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from steady_scenes import frame_noise, tracks_over, true_depth

from kinedepth.steadying.field import FlickerField
from kinedepth.steadying.flicker import flicker_of, smoothed
from kinedepth.steadying.kriging import Cells, FrameError
from kinedepth.steadying.steadier import OVERLAP, flicker_of_block, plan_blocks, seeds
from kinedepth.video import Video


def test_smoothing_solves_its_normal_equations():
    rng = np.random.default_rng(0)
    value, weight = rng.normal(size=(9, 3)), rng.uniform(0.1, 1, (9, 3))
    difference = np.diff(np.eye(9), axis=0)
    for column, found in enumerate(smoothed(value, weight, 5.0).T):
        matrix = np.diag(weight[:, column]) + 5 * difference.T @ difference
        expected = np.linalg.solve(matrix, weight[:, column] * value[:, column])
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_random_walk_of_the_expected_size_is_no_flicker():
    walk = np.random.default_rng(0).normal(0, 0.005, (200, 50)).cumsum(axis=0)
    assert np.abs(flicker_of(walk, np.ones_like(walk), 0.006, 0.002)).max() == 0


def test_white_noise_is_flicker_and_a_drift_beneath_it_is_not():
    rng = np.random.default_rng(0)
    white = rng.normal(0, 0.1, (300, 1))
    walk = rng.normal(0, 0.005, (300, 1)).cumsum(axis=0)
    found = flicker_of(white + walk, np.ones((300, 1)), 0.005, 0.002)
    assert np.sqrt(np.mean((found - white) ** 2)) < 0.03


def test_kriging_passes_through_sure_cells_and_returns_to_the_mean_far_away():
    rng = np.random.default_rng(0)
    place = rng.uniform(0, 4, (12, 3)) * 2
    value = rng.normal(0, 0.1, 12)
    error = FrameError.fit(Cells(place, value, np.full(12, 1e-8)), 0.1)
    np.testing.assert_allclose(error.at(place), value, atol=1e-3)
    np.testing.assert_allclose(error.at(np.full((1, 3), 100.0)), error.mean, atol=1e-12)


def test_a_lattice_holds_what_kriging_gives_at_its_nodes():
    rng = np.random.default_rng(1)
    cells = Cells(rng.uniform(0, 3, (20, 3)), rng.normal(0, 0.1, 20), np.full(20, 1e-4))
    error = FrameError.fit(cells, 0.1)
    axes = (np.linspace(0, 3, 4), np.linspace(0, 2, 3), np.linspace(-1, 3, 5))
    value, known = error.on_lattice(axes)
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    nodes = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    np.testing.assert_allclose(error.mean + value.ravel(), error.at(nodes), atol=1e-9)
    assert 0 <= known.min() <= known.max() < 1


def test_a_frame_without_points_has_no_error_and_an_infinite_variance():
    nothing = Cells.of(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    error = FrameError.fit(nothing, 0.1)
    assert (error.mean, error.mean_variance) == (0, np.inf)


@given(st.integers(2, 2000))
def test_blocks_cover_every_frame_and_only_neighbours_overlap(frames):
    blocks = plan_blocks(frames)
    assert (blocks[0].start, blocks[-1].stop) == (0, frames)
    assert max(len(block) for block in blocks) <= 80
    for before, after in itertools.pairwise(blocks):
        assert before.stop - after.start >= OVERLAP - 1
    for before, after in zip(blocks[:-2], blocks[2:], strict=True):
        assert before.stop <= after.start


def test_every_stretch_of_frames_has_new_points():
    video = Video.from_array(np.zeros((30, 36, 64, 3), np.uint8))
    queries = seeds(video)
    assert set(queries.frame) == {6, 18}
    queries.check_inside(64, 36, 30)
    two = seeds(Video.from_array(np.zeros((2, 36, 64, 3), np.uint8)))
    assert set(two.frame) == {1}


def test_a_field_is_read_back_as_it_was_written(tmp_path):
    truth = true_depth(8)
    field = flicker_of_block(
        tracks_over(truth), (truth * np.exp(frame_noise(0.1, 8))).astype(np.float32), "metric", 5
    )
    field.save(tmp_path / "field.npz")
    again = FlickerField.load(tmp_path / "field.npz")
    assert (again.start, again.stop) == (5, 13)
    np.testing.assert_array_equal(again.log_factor(7, truth[2]), field.log_factor(7, truth[2]))
