"""The standard deviation of a joined log ratio."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.seurat.uncertainty import (
    Calibration,
    QueryTotals,
    log_ratio_std,
    path_features,
    running_totals,
    std_from_totals,
)
from kinedepth.seurat.windows import WindowEstimate, plan_windows


def windows_of(log_depth: np.ndarray, scale: float, noise: float = 0.0, hidden: slice = slice(0)):
    generator = np.random.default_rng(0)
    visible = np.ones(log_depth.shape, bool)
    visible[hidden] = False
    estimates = []
    for window in plan_windows(len(log_depth), 8, 4, (1, 2)):
        frames = list(window.frames)
        value = log_depth[frames] - log_depth[frames[0]]
        value = value + noise * generator.normal(size=value.shape)
        grows = np.linspace(0.001, scale, len(frames))[:, None] * np.ones(log_depth.shape[1])
        estimates.append(
            WindowEstimate(
                window, value.astype(np.float32), grows.astype(np.float32), visible[frames]
            )
        )
    return estimates


def rising(frames: int = 30, tracks: int = 3) -> np.ndarray:
    return np.linspace(0, 0.5, frames)[:, None] * np.ones(tracks)


def std_of(estimates, log_depth, query_frame=(0, 10, 29)):
    return log_ratio_std(estimates, log_depth, np.array(query_frame), Calibration())


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 20), st.integers(0, 100))
def test_the_way_to_a_frame_is_the_sum_of_what_lies_between(frames, seed):
    generator = np.random.default_rng(seed)
    value = generator.random((frames, 4, 3))
    query = generator.integers(0, frames, 4)
    totals = running_totals(value)
    features = path_features(totals, QueryTotals.of(totals, query))
    for n, q in enumerate(query):
        for t in range(frames):
            between = value[q + 1 : t + 1, n] if t >= q else value[t:q, n]
            sums, away = between.sum(axis=0), max(1, abs(t - q))
            np.testing.assert_allclose(np.exp(features[t, n, 0]), sums[0] + 1e-4, atol=1e-9)
            np.testing.assert_allclose(features[t, n, 3], sums[2] / away, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 40), st.integers(1, 20), st.integers(0, 100))
def test_standard_deviations_block_by_block_are_those_of_the_whole(frames, block, seed):
    generator = np.random.default_rng(seed)
    value = generator.random((frames, 3, 3))
    query = generator.integers(0, frames, 3)
    whole = running_totals(value)
    queries = QueryTotals.of(whole, query)
    expected = std_from_totals(whole, queries, Calibration())
    before, found = None, []
    for first in range(0, frames, block):
        totals = running_totals(value[first : first + block], before)
        before = totals[-1]
        found.append(std_from_totals(totals, queries, Calibration(), first))
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_nothing_is_unsure_in_the_query_frame_and_more_is_the_further_away():
    std = std_of(windows_of(rising(), 0.02), rising())
    assert (std[[0, 10, 29], [0, 1, 2]] == 0).all()
    assert (np.diff(std[:, 0]) > 0).all()
    assert (np.diff(std[:, 2]) < 0).all()


def test_what_the_network_is_unsure_of_is_unsure():
    sure, unsure = (std_of(windows_of(rising(), scale), rising()) for scale in (0.01, 0.1))
    assert (unsure[1:, 0] > sure[1:, 0]).all()


def test_windows_that_disagree_are_unsure():
    calm = std_of(windows_of(rising(), 0.02), rising())
    wild = std_of(windows_of(rising(), 0.02, noise=0.05), rising())
    assert (wild[5:, 0] > 1.2 * calm[5:, 0]).all()


def test_points_out_of_sight_are_unsure():
    seen = std_of(windows_of(rising(), 0.02), rising())
    lost = std_of(windows_of(rising(), 0.02, hidden=slice(10, 20)), rising())
    assert (lost[15:, 0] > seen[15:, 0]).all()


def test_the_way_back_in_time_is_as_unsure_as_the_way_there():
    estimates = windows_of(np.zeros((8, 1)), 0.02)
    there = std_of(estimates, np.zeros((8, 1)), (0,))
    back = std_of(estimates, np.zeros((8, 1)), (7,))
    np.testing.assert_allclose(there[:, 0], back[::-1, 0], rtol=1e-6)


def test_no_standard_deviation_is_absurd():
    wild = windows_of(rising(), 1e6)
    assert np.isfinite(std_of(wild, rising())).all()
    assert std_of(wild, rising()).max() <= 2.0


deviations = st.floats(1e-5, 1.0)


@settings(deadline=None)
@given(deviations, deviations, st.floats(1.01, 3.0))
def test_less_doubt_of_either_is_less_doubt_of_network_and_rigid_groups_together(own, alone, more):
    calibration = Calibration()
    std = calibration.refined_std(np.array([own]), np.array([alone]))
    assert calibration.refined_std(np.array([more * own]), np.array([alone])) > std
    assert calibration.refined_std(np.array([own]), np.array([more * alone])) > std


def test_rigid_groups_leave_nothing_unsure_in_the_query_frame_and_nothing_absurd():
    std = Calibration().refined_std(np.array([0.0, 1e9]), np.array([0.0, 1e9]))
    assert std[0] == 0
    assert std[1] == 2
