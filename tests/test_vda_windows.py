"""Schedules of windows and the stitching of their depth, without any network."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.dense.video_depth_anything.stitching import Stitcher
from kinedepth.dense.video_depth_anything.windows import (
    WindowPlan,
    needed_slots,
    plan_windows,
    schedule,
)
from kinedepth.errors import KinedepthError

any_plan = st.builds(
    plan_windows, st.sampled_from(["keyframes", "overlap", "none"]), st.integers(11, 48)
)
any_end = st.sampled_from(["published", "effect", "new"])


@settings(deadline=None)
@given(plan=any_plan, length=st.integers(1, 200), run_to=any_end)
def test_windows_cover_every_frame_in_order_and_never_look_past_the_end(plan, length, run_to):
    newest = -1
    for window in schedule(plan, length, run_to):
        assert len(window.frames) == plan.size
        assert max(window.frames) < length
        news = window.frames[0 if window.is_first else plan.first_new :]
        expected = [min(newest + 1 + number, length - 1) for number in range(len(news))]
        assert list(news) == expected
        newest = min(newest + len(news), length - 1)
    assert newest == length - 1


@settings(deadline=None)
@given(length=st.integers(33, 300), size=st.sampled_from([16, 32, 48]))
def test_key_frames_lead_back_to_the_first_frame_and_into_the_window_before(length, size):
    plan = plan_windows("keyframes", size)
    windows = list(schedule(plan, length))
    for before, window in itertools.pairwise(windows):
        assert window.frames[0] == 0
        assert window.frames[1] == before.frames[plan.key_slots[1]]
        overlap = window.frames[plan.keys : plan.first_new]
        assert overlap == before.frames[-plan.overlap :]


@settings(deadline=None)
@given(plan=any_plan, length=st.integers(1, 200))
def test_only_padding_and_repeats_are_left_out_of_the_shorter_schedules(plan, length):
    published, effect, new = (
        list(schedule(plan, length, run_to)) for run_to in ("published", "effect", "new")
    )
    assert len(published) >= len(effect) >= len(new)
    for shorter in (effect, new):
        assert [w.frames for w in shorter] == [w.frames for w in published[: len(shorter)]]


def all_given(added):
    frames, count = list(added[0]), added[1]
    assert len(frames) == count
    return frames


def stitched(plan, truth, seed, align, run_to="effect", lean=True):
    """Windows of ``truth (T, H, W)``, each in a scale and shift of its own, put together."""
    rng = np.random.default_rng(seed)
    length = len(truth)
    stitcher, frames = Stitcher(plan, length, align), []
    for window in schedule(plan, length, run_to):
        scale, shift = (rng.uniform(0.5, 2), rng.uniform(-0.3, 0.3)) if align else (1, 0)
        if window.is_first:
            scale, shift = 1, 0
        slots = needed_slots(plan, window, length, align) if lean else range(plan.size)
        raw = {s: (truth[window.frames[s]] * scale + shift).astype(np.float32) for s in slots}
        frames += all_given(stitcher.add(window, raw))
    return np.stack(frames)


@settings(deadline=None, max_examples=60)
@given(
    plan=any_plan.filter(lambda plan: plan.overlap > 0),
    length=st.integers(1, 120),
    seed=st.integers(0, 99),
    run_to=any_end,
    lean=st.booleans(),
)
def test_windows_each_off_by_a_scale_and_a_shift_give_the_truth_back(
    plan, length, seed, run_to, lean
):
    truth = np.random.default_rng(seed).uniform(0.5, 4, size=(length, 3, 4)).astype(np.float32)
    found = stitched(plan, truth, seed, align=True, run_to=run_to, lean=lean)
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() < 1e-4


@settings(deadline=None, max_examples=30)
@given(plan=any_plan, length=st.integers(1, 120))
def test_metric_windows_that_agree_pass_unchanged(plan, length):
    truth = np.random.default_rng(length).uniform(0.5, 4, size=(length, 3, 4)).astype(np.float32)
    assert np.abs(stitched(plan, truth, 0, align=False) - truth).max() < 1e-6


def noisy_windows(plan, length, lean):
    """Windows that disagree: what is needed of each must be all that has an effect."""
    rng = np.random.default_rng(3)
    stitcher, frames = Stitcher(plan, length, align=True), []
    for window in schedule(plan, length, "effect" if lean else "published"):
        depth = rng.uniform(0, 3, size=(plan.size, 4, 5)).astype(np.float32)
        slots = needed_slots(plan, window, length, True) if lean else range(plan.size)
        frames += all_given(stitcher.add(window, {slot: depth[slot] for slot in slots}))
    return np.stack(frames)


@pytest.mark.parametrize("size", [12, 16, 32])
def test_slots_that_are_not_needed_have_no_effect(size):
    plan = plan_windows("keyframes", size)
    for length in range(1, 80):
        lean, full = (noisy_windows(plan, length, lean) for lean in (True, False))
        assert np.array_equal(lean, full), length
    last = list(schedule(plan_windows(), 54))[-1]
    assert len(needed_slots(plan_windows(), last, 54, True)) == 2 + 7


def test_depth_that_alignment_would_make_negative_is_cut_off_at_zero():
    plan = WindowPlan(4, overlap=2)
    truth = np.linspace(2, -1, 6, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    truth[:, 0] += 1
    found = stitched(plan, truth, 0, align=True)
    assert found.min() == 0


def test_plans_that_leave_no_room_for_new_frames_are_refused():
    with pytest.raises(KinedepthError, match="no room for new ones"):
        plan_windows("keyframes", 10)
    with pytest.raises(KinedepthError, match="Unknown strategy 'all'; known are keyframes"):
        plan_windows("all")
    with pytest.raises(KinedepthError, match="key slots"):
        WindowPlan(8, key_slots=(3,), overlap=2)
    with pytest.raises(KinedepthError, match="two overlapping frames"):
        WindowPlan(8, overlap=1, blend=True)
