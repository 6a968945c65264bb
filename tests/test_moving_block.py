"""Fusing in a moving block: as good as solving at once, whatever the clip."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.rows import RowsInMemory
from kinedepth.seurat.moving_block import fuse_in_blocks, plan_blocks
from kinedepth.seurat.windows import WindowEstimate, fuse, plan_windows


def noisy_estimates(frames: int, tracks: int, seed: int, noise: float = 0.01):
    """Windows of random walks in log depth, whose error grows along them; some are outliers."""
    generator = np.random.default_rng(seed)
    log_depth = 0.03 * generator.normal(size=(frames, tracks)).cumsum(axis=0)
    estimates = []
    for window in plan_windows(frames, 8, 4, (1, 2, 4)):
        true = log_depth[list(window.frames)] - log_depth[window.start]
        along = np.linspace(0, 1, window.length)[:, None]
        error = noise * generator.normal(size=(1, tracks)) * along
        error += 0.2 * noise * generator.normal(size=true.shape)
        error[:, generator.random(tracks) < 0.02] *= 20
        visible = np.repeat(generator.random((1, tracks)) < 0.9, window.length, axis=0)
        scale = np.abs(noise * along * generator.uniform(0.5, 2, (1, tracks))) + 0.001
        found = (true + error * (along > 0)).astype(np.float32)
        estimates.append(WindowEstimate(window, found, scale.astype(np.float32), visible))
    return estimates


def fused_in_blocks(estimates, frames, size, overlap, done=0, joined=None):
    joined = joined or RowsInMemory((frames, estimates[0].log_ratio.shape[1]), np.float64)
    blocks = [b for b in plan_blocks(frames, size, overlap) if b.final.start >= done]
    windows = [each.window for each in estimates]
    for _ in fuse_in_blocks(windows, lambda some: [estimates[i] for i in some], joined, blocks):
        pass
    return joined.array


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5000), st.integers(8, 600), st.integers(0, 200))
def test_every_frame_is_final_once_and_in_order(frames, size, overlap):
    overlap = min(overlap, (size - 1) // 2)
    blocks = plan_blocks(frames, size, overlap)
    assert [f for block in blocks for f in block.final] == list(range(frames))
    for block in blocks:
        assert 0 <= block.first < block.stop <= min(frames, block.first + size)
        assert block.first in (0, block.final.start - overlap)
        assert block.stop in (frames, block.final.stop + overlap)


@settings(max_examples=5, deadline=None)
@given(st.integers(530, 900), st.integers(0, 1000), st.sampled_from([0.002, 0.02, 0.3]))
def test_ratios_are_within_one_per_cent_of_solving_at_once(frames, seed, noise):
    estimates = noisy_estimates(frames, 12, seed, noise)
    at_once = fuse(estimates, frames)
    in_blocks = fused_in_blocks(estimates, frames, 512, 128)
    ratio = np.exp((in_blocks - in_blocks[0]) - (at_once - at_once[0]))
    assert np.abs(ratio - 1).max() < 0.01


def test_a_long_track_of_which_little_is_sure_is_not_flattened():
    frames = 800
    log_depth = np.linspace(0, 1, frames)[:, None]
    estimates = []
    for window in plan_windows(frames, 8, 4, (1, 2, 4)):
        ratio = (log_depth[list(window.frames)] - log_depth[window.start]).astype(np.float32)
        seen = np.zeros(ratio.shape, bool)
        estimates.append(WindowEstimate(window, ratio, np.full_like(ratio, 0.3), seen))
    for joined in (fuse(estimates, frames), fused_in_blocks(estimates, frames, 512, 128)):
        assert joined[-1, 0] - joined[0, 0] == pytest.approx(1, abs=1e-3)


def test_what_fits_into_one_block_is_solved_as_ever():
    estimates = noisy_estimates(120, 5, 0)
    np.testing.assert_array_equal(fused_in_blocks(estimates, 120, 512, 128), fuse(estimates, 120))


def test_blocks_of_many_tracks_are_those_of_each_track_alone():
    estimates = noisy_estimates(60, 130, 1)
    found = fused_in_blocks(estimates, 60, 512, 128)
    np.testing.assert_allclose(found, fuse(estimates, 60), atol=1e-12)


@pytest.mark.parametrize("done", [1, 2])
def test_going_on_after_a_block_changes_nothing(done):
    estimates = noisy_estimates(300, 4, 2)
    whole = fused_in_blocks(estimates, 300, 128, 32)
    begun = RowsInMemory(whole.shape, np.float64)
    final = plan_blocks(300, 128, 32)[done].final.start
    begun.array[:final] = whole[:final]
    assert (fused_in_blocks(estimates, 300, 128, 32, final, begun) == whole).all()
