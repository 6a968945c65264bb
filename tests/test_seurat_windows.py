"""Windows cover the video; chaining and fusing give back what the windows hold."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.seurat.windows import Window, WindowEstimate, chain, fuse, plan_windows


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(2, 120), stride=st.integers(1, 7))
def test_the_windows_of_step_one_cover_every_frame_and_overlap(frames, stride):
    windows = [w for w in plan_windows(frames, 8, stride, (1, 2, 4)) if w.step == 1]
    assert {f for w in windows for f in w.frames} == set(range(frames))
    for before, after in itertools.pairwise(windows):
        assert after.start in before.frames


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(8, 200), stride=st.integers(1, 7))
def test_no_window_reaches_past_the_video(frames, stride):
    for window in plan_windows(frames, 8, stride, (1, 2, 4)):
        assert window.start >= 0
        assert window.frames[-1] < frames


def test_a_video_shorter_than_a_window_gets_one_window_of_its_length():
    assert plan_windows(5, 8, 4, (1, 2, 4)) == [Window(0, 1, 5)]


def true_estimates(log_depth: np.ndarray, steps: tuple[int, ...]) -> list[WindowEstimate]:
    return [
        WindowEstimate(
            window,
            (log_depth[list(window.frames)] - log_depth[window.start]).astype(np.float32),
            np.full((window.length, log_depth.shape[1]), 0.01, np.float32),
            np.ones((window.length, log_depth.shape[1]), bool),
        )
        for window in plan_windows(len(log_depth), 8, 4, steps)
    ]


@settings(max_examples=20, deadline=None)
@given(frames=st.integers(2, 60), seed=st.integers(0, 100))
def test_chaining_true_windows_gives_the_true_depth(frames, seed):
    log_depth = 0.05 * np.random.default_rng(seed).normal(size=(frames, 3)).cumsum(0)
    chained = chain(true_estimates(log_depth, (1,)), frames)
    assert np.abs(chained - (log_depth - log_depth[0])).max() < 1e-5


def test_fusing_true_windows_gives_the_true_depth_up_to_a_constant():
    time = np.arange(50)[:, None] / 50
    log_depth = np.concatenate([time, 0.5 * time**2, -time], axis=1)
    fused = fuse(true_estimates(log_depth, (1, 2, 4)), 50)
    assert np.abs((fused - fused[0]) - (log_depth - log_depth[0])).max() < 2e-3


def test_the_order_of_windows_does_not_matter():
    log_depth = 0.05 * np.random.default_rng(0).normal(size=(30, 2)).cumsum(0)
    estimates = true_estimates(log_depth, (1, 2))
    assert np.array_equal(chain(estimates, 30), chain(estimates[::-1], 30))
    assert np.allclose(fuse(estimates, 30), fuse(estimates[::-1], 30))
