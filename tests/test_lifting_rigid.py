"""Rigid groups as a stage of the lift: the whole at once, block by block, and left out."""

import numpy as np
import pytest

from kinedepth.camera import Intrinsics
from kinedepth.exporting.summary import Stopwatch
from kinedepth.geometry.refining import RatioRefiner, refine_ratios
from kinedepth.lifting import lift
from kinedepth.lifting.pipeline import find_tracks
from kinedepth.lifting.setup import prepare_lift
from kinedepth.lifting.work import WorkOnDisk
from kinedepth.seurat.uncertainty import Calibration
from kinedepth.tracks import Tracks
from kinedepth.video import Video

WIDTH, HEIGHT, FRAMES = 320, 240, 75
CAMERA = Intrinsics.from_field_of_view(WIDTH, HEIGHT)


class Approach:
    """A tracker of a still backdrop, before which a small body comes nearer."""

    name = "approach"
    seeds_own_points = True

    def __init__(self, frames: int = FRAMES) -> None:
        random = np.random.default_rng(3)
        backdrop = random.uniform([-3, -3, 7], [3, -1, 10], (25, 3))
        body = random.uniform([-0.4, 0, 4], [0.4, 0.6, 4.5], (15, 3))
        time = np.arange(frames)[:, None, None] / 25
        moved = body + time * [0.1, 0.0, -0.9]
        self.place = np.concatenate([np.broadcast_to(backdrop, (frames, 25, 3)), moved], axis=1)

    def track(self, video, jobs, progress=None):
        xy = CAMERA.project(self.place)
        yield 0, Tracks(xy.astype(np.float32), np.ones(xy.shape[:2], bool), np.array(0))

    @property
    def log_ratio(self):
        return np.log(self.place[..., 2] / self.place[:1, :, 2])


def blank_video(frames: int = FRAMES) -> Video:
    return Video.from_array(np.zeros((frames, HEIGHT, WIDTH, 3), np.uint8), fps=25.0)


@pytest.fixture(scope="module")
def alone(untrained):
    return lift(blank_video(), tracker=Approach(), model=untrained, rigid=False)


@pytest.fixture(scope="module")
def together(untrained):
    return lift(blank_video(), tracker=Approach(), model=untrained)


def test_a_small_body_before_a_still_backdrop_is_read_right(together, alone):
    true = Approach().log_ratio
    error, before = (np.abs(each.tracks.log_ratio - true) for each in (together, alone))
    assert true[-1, 25:].max() < -0.7
    assert error[:, 25:].mean() < 0.02
    assert error[:, 25:].mean() < 0.5 * before[:, 25:].mean()
    assert error[:, :25].mean() < 0.01


def test_the_stage_does_what_refining_the_whole_does(together, alone):
    whole = refine_ratios(alone.tracks, alone.video.times)
    np.testing.assert_allclose(together.tracks.log_ratio, whole.log_ratio, atol=1e-6)
    std = Calibration().refined_std(whole.log_ratio_std, alone.tracks.log_ratio_std)
    np.testing.assert_allclose(together.tracks.log_ratio_std, std, rtol=1e-4)
    assert not together.tracks.log_ratio_std[0].any()
    np.testing.assert_allclose(together.tracks.xyz, whole.xyz, rtol=1e-4, atol=1e-5)


def test_the_summary_says_whether_rigid_groups_were_heard(together, alone):
    assert together.facts["rigid_groups"] is True
    assert alone.facts["rigid_groups"] is False
    assert "rigid groups" in together.seconds
    assert "rigid groups" not in alone.seconds


class PowerCutError(Exception):
    """Nothing more is made safe."""


@pytest.mark.parametrize("blocks", [1, 3])
def test_a_lift_stopped_between_two_blocks_ends_the_same(together, untrained, tmp_path, blocks):
    setup = prepare_lift(blank_video(), tracker=Approach(), model=untrained)

    def stop(stage, done, total):
        if stage == "rigid groups" and done == blocks:
            raise PowerCutError

    folder = tmp_path / "work"
    with WorkOnDisk.create(folder, {}) as work, pytest.raises(PowerCutError):
        find_tracks(setup, work, Stopwatch(), stop)
    with WorkOnDisk.open(folder) as work:
        assert work.done("rigid") == blocks
        tracks = find_tracks(setup, work, Stopwatch()).whole()
    np.testing.assert_array_equal(tracks.log_ratio, together.tracks.log_ratio)
    np.testing.assert_array_equal(tracks.log_ratio_std, together.tracks.log_ratio_std)


def test_a_lift_stopped_after_the_last_block_ends_the_same(together, untrained, tmp_path):
    setup = prepare_lift(blank_video(), tracker=Approach(), model=untrained)
    folder = tmp_path / "work"
    with WorkOnDisk.create(folder, {}) as work:
        find_tracks(setup, work, Stopwatch())
    with WorkOnDisk.open(folder) as work:
        tracks = find_tracks(setup, work, Stopwatch()).whole()
    np.testing.assert_array_equal(tracks.log_ratio, together.tracks.log_ratio)


def test_blocks_give_every_change_once_and_in_order():
    for frames in (5, 8, 9, 31, 48, 75, 200):
        refiner = RatioRefiner(np.arange(frames) / 25, 2)
        rest = np.zeros((frames, 2))
        after = 0
        for index, block in enumerate(refiner.blocks):
            size = len(block)
            said = refiner.add(
                index, rest[:size], rest[:size], np.zeros((size, 2, 2)), rest[:size] > 0, CAMERA
            )
            assert said.first == after
            after += len(said.log_ratio)
        assert after == frames - 1


def test_too_few_frames_for_a_group_have_no_blocks():
    assert RatioRefiner(np.arange(4) / 25, 3).blocks == []


def test_frames_without_times_are_still_given_blocks():
    assert RatioRefiner(np.zeros(40), 3).blocks[0] == range(8)
