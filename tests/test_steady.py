"""Flicker taken out of depth: closed-form scenes, what has to stay as it is, and bad input."""

import dataclasses
import functools
import itertools
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.anchoring.readings import DepthReadings
from kinedepth.camera import Intrinsics
from kinedepth.cli import main
from kinedepth.dense import registry
from kinedepth.dense.registry import DepthModelEntry
from kinedepth.depth import DepthVideo
from kinedepth.depth_files import load_depth_video
from kinedepth.errors import KinedepthError
from kinedepth.steadying import steadier as steadier_module
from kinedepth.steadying.field import FlickerField
from kinedepth.steadying.fit import fit_flicker
from kinedepth.steadying.flicker import flicker_of, smoothed
from kinedepth.steadying.kriging import Cells, FrameError
from kinedepth.steadying.steadier import (
    OVERLAP,
    Steadier,
    flicker_of_block,
    plan_blocks,
    seeds,
    steady_depth,
)
from kinedepth.tracks import Tracks, Tracks3D
from kinedepth.video import Video, load_video

WIDTH, HEIGHT, FRAMES = 160, 96, 32
CAMERA = Intrinsics.from_field_of_view(WIDTH, HEIGHT, 60)


def true_depth(frames=FRAMES):
    """A wall, oblique, with a thing before it; both come closer by a third, each in its way."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    depth = np.empty((frames, HEIGHT, WIDTH))
    depth[:] = 6 + columns / WIDTH * 2 + rows / HEIGHT
    time = np.linspace(0, 1, frames)[:, None, None]
    depth *= np.exp(-0.4 * time)
    depth[:, 30:70, 50:100] = 2 * np.exp(-0.3 * time**2)
    return depth


def tracks_over(depth, spacing=8, ratio_noise=0.0, seed=0):
    """Points that stay where they are in the image, with the depth ratios of ``depth``."""
    x, y = np.meshgrid(
        np.arange(spacing / 2, WIDTH, spacing), np.arange(spacing / 2, HEIGHT, spacing)
    )
    xy = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    log_depth = np.log(depth[:, xy[:, 1].astype(int), xy[:, 0].astype(int)])
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, ratio_noise, log_depth.shape).cumsum(axis=0) if ratio_noise else 0.0
    query = np.arange(len(xy)) % len(depth)
    log_ratio = log_depth + noise
    log_ratio = log_ratio - log_ratio[query, np.arange(len(xy))]
    return as_tracks(xy, log_ratio, query)


def as_tracks(xy, log_ratio, query, visible=None, log_ratio_std=None):
    frames, count = log_ratio.shape
    positions = np.broadcast_to(xy, (frames, count, 2))
    visible = np.ones((frames, count), bool) if visible is None else visible
    return Tracks3D(
        xyz=CAMERA.unproject(positions, np.exp(log_ratio)).astype(np.float32),
        log_ratio=log_ratio.astype(np.float32),
        tracks=Tracks(positions, visible, query),
        intrinsics=CAMERA,
        log_ratio_std=log_ratio_std,
    )


def regional_noise(std, frames=FRAMES, seed=1):
    """Log factors ``(T, H, W)``, new in every frame, smooth over a quarter of the image."""
    rng = np.random.default_rng(seed)
    maps = [
        cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)), (0, 0), WIDTH / 8) for _ in range(frames)
    ]
    maps = np.stack(maps)
    return std * maps / maps.std()


def frame_noise(std, frames=FRAMES, seed=2):
    return np.random.default_rng(seed).normal(0, std, (frames, 1, 1))


def steadied(depth, tracks):
    depth = depth.astype(np.float32)
    field = flicker_of_block(tracks, depth, "metric")
    return np.stack([frame * np.exp(-field.log_factor(t, frame)) for t, frame in enumerate(depth)])


def flicker(depth, truth):
    """Root mean square of how log depth's error changes from frame to frame."""
    return np.sqrt(np.mean(np.diff(np.log(depth / truth), axis=0) ** 2))


def abs_rel(depth, truth):
    return np.mean(np.abs(depth - truth) / truth)


# What it does


def test_a_scale_that_differs_from_frame_to_frame_is_removed():
    truth = true_depth()
    noisy = truth * np.exp(frame_noise(0.1))
    result = steadied(noisy, tracks_over(truth))
    assert flicker(result, truth) < 0.05 * flicker(noisy, truth)
    assert abs_rel(result, truth) < 0.5 * abs_rel(noisy, truth)


def test_a_scale_that_differs_from_region_to_region_is_mostly_removed():
    truth = true_depth()
    noisy = truth * np.exp(regional_noise(0.08) + frame_noise(0.05))
    result = steadied(noisy, tracks_over(truth))
    assert flicker(result, truth) < 0.25 * flicker(noisy, truth)
    assert abs_rel(result, truth) < 0.5 * abs_rel(noisy, truth)


def test_ratios_that_drift_by_little_do_not_hinder():
    truth = true_depth()
    noisy = truth * np.exp(regional_noise(0.08) + frame_noise(0.05))
    result = steadied(noisy, tracks_over(truth, ratio_noise=0.005))
    assert flicker(result, truth) < 0.35 * flicker(noisy, truth)


def test_a_single_frame_that_is_off_is_put_right_and_others_stay():
    truth = true_depth()
    noisy = truth.copy()
    noisy[11] *= 1.3
    result = steadied(noisy, tracks_over(truth))
    np.testing.assert_allclose(result[11], truth[11], rtol=0.03)
    np.testing.assert_allclose(np.delete(result, 11, 0), np.delete(truth, 11, 0), rtol=0.02)


def test_what_is_near_does_not_take_the_correction_of_what_is_behind():
    truth = true_depth()
    error = np.zeros_like(truth)
    near = truth[0] < 3
    error[:, near] = frame_noise(0.1)[:, :, 0]
    noisy = truth * np.exp(error)
    result = steadied(noisy, tracks_over(truth))
    assert flicker(result[:, near], truth[:, near]) < 0.2 * 0.1 * np.sqrt(2)
    assert flicker(result[:, ~near], truth[:, ~near]) < 0.02


def test_tracks_that_are_wrong_do_not_lead_astray():
    truth = true_depth()
    noisy = truth * np.exp(frame_noise(0.1))
    tracks = tracks_over(truth)
    log_ratio = tracks.log_ratio.copy()
    wrong = np.random.default_rng(3).permutation(log_ratio.shape[1])[::5]
    log_ratio[:, wrong] += np.random.default_rng(4).normal(0, 0.5, log_ratio[:, wrong].shape)
    result = steadied(noisy, dataclasses.replace(tracks, log_ratio=log_ratio))
    assert flicker(result, truth) < 0.15 * flicker(noisy, truth)


# What has to stay as it is


def test_steady_depth_stays_as_it_is():
    truth = true_depth()
    result = steadied(truth, tracks_over(truth, ratio_noise=0.005))
    np.testing.assert_allclose(result, truth, rtol=0.01)


def test_a_slow_error_stays_because_nobody_knows_who_drifts():
    truth = true_depth()
    slow = truth * np.exp(0.2 * np.sin(np.linspace(0, np.pi, FRAMES)))[:, None, None]
    result = steadied(slow, tracks_over(truth, ratio_noise=0.005))
    assert np.abs(np.log(result / slow)).max() < 0.06


def test_what_is_taken_out_has_mean_zero_over_time():
    truth = true_depth()
    noisy = truth * np.exp(frame_noise(0.1) + regional_noise(0.05))
    field = flicker_of_block(tracks_over(truth), noisy.astype(np.float32), "metric")
    assert abs(field.frame.mean()) < 1e-3
    assert np.abs(field.region.mean(axis=0)).max() < 0.01


def test_without_a_visible_point_depth_stays_as_it_is():
    truth = true_depth()
    noisy = (truth * np.exp(frame_noise(0.1))).astype(np.float32)
    tracks = tracks_over(truth)
    hidden = np.zeros_like(tracks.tracks.visible)
    hidden_tracks = dataclasses.replace(
        tracks, tracks=Tracks(tracks.tracks.xy, hidden, tracks.tracks.query_frame)
    )
    np.testing.assert_array_equal(steadied(noisy, hidden_tracks), noisy)


def test_where_only_one_corner_has_points_the_rest_is_corrected_as_a_whole():
    truth = true_depth()
    noisy = truth * np.exp(frame_noise(0.1))
    tracks = tracks_over(truth)
    corner = (tracks.tracks.xy[0] < (60, 40)).all(axis=1)
    visible = np.broadcast_to(corner, tracks.tracks.visible.shape)
    few = dataclasses.replace(
        tracks, tracks=Tracks(tracks.tracks.xy, visible, tracks.tracks.query_frame)
    )
    result = steadied(noisy, few)
    assert flicker(result, truth) < 0.1 * flicker(noisy, truth)
    changes = np.log(result / noisy)[:, 80:, 120:]
    np.testing.assert_allclose(changes, changes[:, :1, :1] + 0 * changes, atol=0.01)


def test_pixels_without_depth_stay_without():
    truth = true_depth()
    noisy = truth * np.exp(frame_noise(0.1))
    noisy[:, :20, :20] = 0
    noisy[:, 50, 50] = np.nan
    result = steadied(noisy, tracks_over(truth))
    assert (result[:, :20, :20] == 0).all()
    assert np.isnan(result[:, 50, 50]).all()
    assert np.isfinite(np.delete(result.reshape(FRAMES, -1), 50 * WIDTH + 50, axis=1)).all()


@functools.cache
def noisy_example():
    truth = true_depth(12)
    noisy = truth * np.exp(frame_noise(0.1, 12) + regional_noise(0.05, 12))
    tracks = tracks_over(truth, spacing=12)
    return noisy, tracks, steadied(noisy, tracks)


@settings(max_examples=4, deadline=None)
@given(st.floats(1e-3, 1e3))
def test_depth_in_another_unit_gives_the_same_in_that_unit(unit):
    noisy, tracks, plain = noisy_example()
    np.testing.assert_allclose(steadied(unit * noisy, tracks), unit * plain, rtol=1e-3)


# The parts


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
    for before, after in zip(blocks, blocks[2:], strict=False):
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


# Videos of any length


@pytest.fixture
def known_tracks(monkeypatch):
    """Lets lifting give the true ratios of the frames it is asked for; lists these."""
    asked = []

    def use(truth):
        def lift(part, queries, progress=None, **_):
            if progress:
                progress("tracking", 1, 2)
                progress("seurat", 1, 1)
            first = int(part.frame(0)[0, 0, 0]) + 256 * int(part.frame(0)[0, 0, 1])
            asked.append((first, len(part)))

            @dataclasses.dataclass
            class Found:
                tracks: Tracks3D

            return Found(tracks_over(truth[first : first + len(part)]))

        monkeypatch.setattr(steadier_module, "lift", lift)
        return asked

    return use


def numbered_video(frames):
    """Frames whose first pixel tells their number."""
    images = np.zeros((frames, HEIGHT, WIDTH, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(frames) % 256, np.arange(frames) // 256
    return Video.from_array(images)


def test_a_long_video_is_steadied_in_blocks_without_seams(known_tracks):
    frames = 130
    truth = true_depth(frames)
    asked = known_tracks(truth)
    noisy = (truth * np.exp(frame_noise(0.1, frames))).astype(np.float32)
    result = steady_depth(numbered_video(frames), DepthVideo(noisy, "metric", 25.0, True))
    assert len(asked) == 3
    assert result.kind == "metric"
    changes = np.abs(np.diff(np.log(result.depth / truth), axis=0)).max(axis=(1, 2))
    assert changes.max() < 0.05
    assert flicker(result.depth, truth) < 0.05 * flicker(noisy, truth)


def test_blocks_that_are_done_are_not_looked_at_again(known_tracks, tmp_path):
    frames = 130
    truth = true_depth(frames).astype(np.float32)
    asked = known_tracks(truth)
    video = numbered_video(frames)

    def make():
        return Steadier(video, lambda start, stop: truth[start:stop], "metric", tmp_path)

    make().fit()
    (tmp_path / sorted(path.name for path in tmp_path.iterdir())[1]).unlink()
    facts = make().fit()
    assert len(asked) == 4
    assert asked[3] == asked[1]
    assert facts == {"frame_flicker": 0.0, "region_flicker": 0.0}


# The command line


class Flickering:
    """Depth of an oblique wall that never changes, off by another factor in every frame."""

    name, per_frame = "flickering", True

    def __init__(self, kind="metric"):
        self.kind = kind

    def predict(self, video, progress=None):
        factors = np.exp(frame_noise(0.1, len(video)).ravel())
        columns = np.arange(video.width, dtype=np.float32)
        wall = np.broadcast_to(2 + columns / video.width, (video.height, video.width))
        for factor in factors:
            yield (factor * wall).astype(np.float32)


def load_flickering(name, weights, options, device):
    return Flickering()


@pytest.fixture
def still_clip(tmp_path, monkeypatch):
    """A textured picture that does not move, as a video, and a model called flickering."""
    entry = DepthModelEntry(f"{__name__}:load_flickering", "metric", ("consistent",), True)
    monkeypatch.setitem(registry.DEPTH_MODELS, "flickering", entry)
    shift = dataclasses.replace(entry, kind="affine_invariant")
    monkeypatch.setitem(registry.DEPTH_MODELS, "flickering-shift", shift)
    (tmp_path / "weights").write_bytes(b"none")
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.uniform(0, 255, (64, 96, 3)), (0, 0), 1.5)
    picture = np.clip(128 + 3 * (picture - picture.mean()), 0, 255).astype(np.uint8)
    (tmp_path / "clip").mkdir()
    for index in range(12):
        cv2.imwrite(str(tmp_path / "clip" / f"{index:03d}.png"), picture)
    return tmp_path


def kine(capsys, *arguments):
    with pytest.raises(SystemExit) as ending:
        main([str(argument) for argument in arguments])
    return ending.value.code or 0, capsys.readouterr()


def depth_command(folder, model="flickering"):
    command = ["depth", folder / "clip", "-o", folder / "out", "--model", model]
    return [*command, "--weights", folder / "weights", "--format", "npz", "--device", "cpu"]


def test_the_command_takes_flicker_out(capsys, still_clip):
    code, told = kine(capsys, *depth_command(still_clip), "--steady")
    assert code == 0, told.err
    assert "Flicker taken out: 1" in told.out or "Flicker taken out: 9" in told.out
    stored = load_depth_video(still_clip / "out").depth
    given = np.stack(list(Flickering().predict(load_video(still_clip / "clip"))))
    changes = [np.abs(np.diff(np.log(depth), axis=0)).mean() for depth in (stored, given)]
    assert changes[0] < 0.1 * changes[1]
    summary = json.loads((still_clip / "out" / "summary.json").read_text())
    assert 0.05 < summary["steadied"]["frame_flicker"] < 0.15
    assert not (still_clip / "out" / ".unfinished-depth").exists()


def test_the_command_refuses_depth_up_to_a_shift_before_any_work(capsys, still_clip):
    code, told = kine(capsys, *depth_command(still_clip, "flickering-shift"), "--steady")
    assert code == 2
    assert "known up to a shift" in told.err
    assert "--consistent" in told.err
    assert not (still_clip / "out").exists()


def test_depth_is_made_consistent_first_and_what_still_flickers_goes_then(capsys, still_clip):
    code, told = kine(capsys, *depth_command(still_clip), "--consistent", "--steady")
    assert code == 0, told.err
    summary = json.loads((still_clip / "out" / "summary.json").read_text())
    assert summary["options"]["consistent"] is True
    # Most of the factors of whole frames, 10 %, is gone before steadying looks.
    assert summary["steadied"]["frame_flicker"] < 0.03
    stored = load_depth_video(still_clip / "out").depth
    assert np.abs(np.diff(np.log(stored), axis=0)).mean() < 0.005


def test_progress_is_told_within_blocks_and_never_goes_back(known_tracks, tmp_path):
    truth = true_depth(130).astype(np.float32)
    known_tracks(truth)
    told = []
    steadier = Steadier(numbered_video(130), lambda a, b: truth[a:b], "metric", tmp_path)
    steadier.fit(lambda done, total: told.append((done, total)))
    done = [each for each, _ in told]
    assert done == sorted(done)
    assert {total for _, total in told} == {130}
    assert len(set(done)) >= 6
    assert done[-1] == 130


# Bad input


@pytest.mark.parametrize("kind", ["affine_invariant", "affine_invariant_disparity"])
def test_depth_known_up_to_a_shift_is_refused(kind):
    depth = DepthVideo(np.ones((4, HEIGHT, WIDTH), np.float32), kind, 25.0, True)
    with pytest.raises(KinedepthError, match="known up to a shift, so"):
        steady_depth(numbered_video(4), depth)
    readings = DepthReadings(np.ones((4, 3), np.float32), np.zeros((4, 3), np.float32), kind)
    with pytest.raises(KinedepthError, match="no ratios"):
        fit_flicker(tracks_over(true_depth(4)), readings)


def test_depth_of_other_frames_is_told():
    depth = DepthVideo(np.ones((5, HEIGHT, WIDTH), np.float32), "metric", 25.0)
    with pytest.raises(KinedepthError, match="depth of 5 frames, but the video has 4"):
        steady_depth(numbered_video(4), depth)


def test_readings_of_other_tracks_are_told():
    readings = DepthReadings(np.ones((4, 3), np.float32), np.zeros((4, 3), np.float32), "metric")
    with pytest.raises(KinedepthError, match="do not belong"):
        fit_flicker(tracks_over(true_depth(4)), readings)


def test_a_frame_that_is_not_there_is_told(known_tracks, tmp_path):
    truth = true_depth(4).astype(np.float32)
    steadier = Steadier(numbered_video(4), lambda a, b: truth[a:b], "metric", tmp_path)
    with pytest.raises(KinedepthError, match="Frame 4 was asked for"):
        steadier.log_factor(4, truth[0])


def test_a_file_that_is_no_field_is_told(tmp_path):
    np.savez(tmp_path / "field.npz", start=np.array(0))
    with pytest.raises(KinedepthError, match="holds no flicker"):
        FlickerField.load(tmp_path / "field.npz")
