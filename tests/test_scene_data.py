import base64

import cv2
import numpy as np
import pytest
from scene_page_reader import positions_of, read_scene, unpack
from viewing_tracks import (
    FRAMES,
    HEIGHT,
    WIDTH,
    anchored,
    black_video,
    moving_grid,
    turning_camera,
    with_std,
)

from kinedepth.tracks import GUESSED_SCALE_STD, Tracks3D, grid_points
from kinedepth.video import Video
from kinedepth.viewing import scene_data
from kinedepth.viewing.colour_scale import RATIO_TABLE, colour_scale
from kinedepth.viewing.hollowness import LARGEST_STD


def test_positions_in_the_page_are_exact_to_half_a_step(tmp_path):
    tracks3d = moving_grid()
    positions, half_step = positions_of(read_scene(tracks3d, tmp_path))
    assert (np.abs(positions - tracks3d.xyz) <= half_step * 1.001 + 1e-6).all()


def test_log_ratios_and_visibility_survive_the_page(tmp_path):
    seen = np.random.default_rng(0).random((FRAMES, 30)) > 0.3
    tracks3d = moving_grid(visible=seen)
    scene = read_scene(tracks3d, tmp_path)
    largest = scene["logRatio"]["largest"]
    log_ratio = unpack(scene["logRatio"], "<i2", (FRAMES, 30)) / 32767 * largest
    np.testing.assert_allclose(log_ratio, tracks3d.log_ratio, atol=largest / 32767)
    bits = np.frombuffer(base64.b64decode(scene["visible"]["data"]), np.uint8)
    visible = np.unpackbits(bits, bitorder="little", count=FRAMES * 30).reshape(FRAMES, 30)
    np.testing.assert_array_equal(visible, seen)


@pytest.mark.parametrize("largest", [0.004, 0.3, 1.9])
def test_standard_deviations_in_the_page_are_exact_to_half_a_step(largest, tmp_path):
    std = np.random.default_rng(1).random((FRAMES, 30)).astype(np.float32) * largest
    packed = read_scene(with_std(moving_grid(), std), tmp_path)["uncertainty"]
    step = packed["largest"] / 255
    assert step <= largest / 255 * 1.0001
    found = unpack(packed, np.uint8, (FRAMES, 30)) * step
    assert np.abs(found - std).max() <= step / 2 * 1.001


def test_a_standard_deviation_that_is_not_a_number_is_as_large_as_can_be(tmp_path):
    std = np.full((FRAMES, 30), 0.1)
    std[3, 4], std[5, 6] = np.nan, np.inf
    packed = read_scene(with_std(moving_grid(), std), tmp_path)["uncertainty"]
    assert packed["largest"] == LARGEST_STD
    data = unpack(packed, np.uint8, (FRAMES, 30))
    assert data[3, 4] == data[5, 6] == 255
    assert (data == 255).sum() == 2


def test_tracks_without_standard_deviation_make_a_page_that_says_nothing_of_it(tmp_path):
    scene = read_scene(moving_grid(), tmp_path)
    assert scene["uncertainty"] is None
    assert scene["cameraToWorld"] is None
    assert scene["commonScale"] is False


def test_camera_poses_in_the_page_put_points_into_the_world(tmp_path):
    poses = turning_camera()
    tracks3d = anchored(moving_grid(), poses=poses)
    scene = read_scene(tracks3d, tmp_path)
    rows = unpack(scene["cameraToWorld"], "<f4", (FRAMES, 3, 4))
    homogeneous = np.concatenate([tracks3d.xyz, np.ones((FRAMES, 30, 1))], axis=-1)
    world = np.einsum("tij,tnj->tni", rows, homogeneous)
    back = np.einsum("tij,tnj->tni", poses[:, :3, :3], world) + poses[:, None, :3, 3]
    np.testing.assert_allclose(back, tracks3d.xyz, atol=1e-5)


def test_a_thinned_page_keeps_the_poses_and_deviations_of_its_own_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(scene_data, "MOST_ENTRIES", 100)
    poses, std = turning_camera(), np.linspace(0, 1, FRAMES, dtype=np.float32)[:, None]
    scene = read_scene(with_std(anchored(moving_grid(), poses=poses), std), tmp_path)
    assert scene["frameStep"] == 3
    rows = unpack(scene["cameraToWorld"], "<f4", (3, 3, 4))
    np.testing.assert_allclose(rows, np.linalg.inv(poses[::3])[:, :3], atol=1e-6)
    found = unpack(scene["uncertainty"], np.uint8, (3, 30)) * scene["uncertainty"]["largest"] / 255
    np.testing.assert_allclose(found[:, 7], std[::3, 0], atol=2e-3)


def test_tracks_of_one_unknown_scale_are_not_said_to_be_metric(tmp_path):
    scale_std = np.full(30, 0.02)
    scale_std[[3, 8]] = GUESSED_SCALE_STD
    depths = np.linspace(2.5, 33, 30)
    scene = read_scene(anchored(moving_grid(query_depth=depths), scale_std=scale_std), tmp_path)
    assert (scene["metric"], scene["commonScale"]) == (False, True)
    assert scene["scale"]["guessed"] == [3, 8]
    found = unpack(scene["scale"], "<u2", 30) * scene["scale"]["largest"] / 65535
    np.testing.assert_allclose(found, np.minimum(scale_std, LARGEST_STD), atol=2e-5)
    assert [guide["label"] for guide in scene["guides"]] == ["depth 5", "depth 10", "depth 20"]


def test_the_page_uses_the_colours_of_the_overlay(tmp_path):
    tracks3d = moving_grid()
    scale, packed = colour_scale(tracks3d), read_scene(tracks3d, tmp_path)["scales"]["ratio"]
    assert (packed["low"], packed["high"]) == (scale.low, scale.high)
    assert base64.b64decode(packed["table"]) == RATIO_TABLE.tobytes()


def test_only_metric_tracks_can_be_coloured_by_depth_in_the_page(tmp_path):
    assert set(read_scene(moving_grid(), tmp_path)["scales"]) == {"ratio"}
    assert set(read_scene(moving_grid(metric=True), tmp_path)["scales"]) == {"ratio", "depth"}


def test_one_outlier_neither_ruins_the_precision_nor_leaves_its_pixel(tmp_path):
    tracks3d = moving_grid()
    xyz = tracks3d.xyz.copy()
    xyz[3, 7] *= 1e6
    wild = Tracks3D(xyz, tracks3d.log_ratio, tracks3d.tracks, tracks3d.intrinsics)
    scene = read_scene(wild, tmp_path)
    positions, half_step = positions_of(scene)
    assert half_step.max() < 1e-3
    assert scene["movedShare"] == pytest.approx(1 / (FRAMES * 30))
    pixel = tracks3d.intrinsics.project(positions[3, 7])
    np.testing.assert_allclose(pixel, tracks3d.tracks.xy[3, 7], atol=0.1)
    others = np.ones((FRAMES, 30), bool)
    others[3, 7] = False
    error = np.abs(positions - tracks3d.xyz)[others]
    assert (error <= half_step * 1.001 + 1e-6).all()


def test_positions_that_are_not_numbers_are_hidden_and_kept_out_of_the_page(tmp_path):
    tracks3d = moving_grid()
    xyz, log_ratio = tracks3d.xyz.copy(), tracks3d.log_ratio.copy()
    xyz[2, 4], log_ratio[2, 4] = np.nan, np.nan
    xyz[:, 5, 2] = -1
    broken = Tracks3D(xyz, log_ratio, tracks3d.tracks, tracks3d.intrinsics)
    scene = read_scene(broken, tmp_path)
    positions, _ = positions_of(scene)
    assert np.isfinite(positions).all()
    assert (positions[..., 2] > 0).all()
    bits = np.frombuffer(base64.b64decode(scene["visible"]["data"]), np.uint8)
    visible = np.unpackbits(bits, bitorder="little", count=FRAMES * 30).reshape(FRAMES, 30)
    assert visible[2, 4] == 0
    assert not visible[:, 5].any()
    assert visible.sum() == FRAMES * 30 - 1 - FRAMES


def test_the_page_holds_small_pictures_and_the_colours_under_the_queries(tmp_path):
    frames = np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    frames[:, :, : WIDTH // 2] = (250, 20, 10)
    frames[1:, :, :] //= 2
    scene = read_scene(moving_grid(), tmp_path, Video.from_array(frames, fps=10))
    assert [picture["frame"] for picture in scene["pictures"]] == list(range(FRAMES))
    jpeg = np.frombuffer(base64.b64decode(scene["pictures"][0]["jpeg"]), np.uint8)
    picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1]
    assert picture.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(picture[60, 40], (250, 20, 10), atol=8)
    colours = unpack(scene["videoColour"], np.uint8, (30, 3))
    left = grid_points(WIDTH, HEIGHT, 6, 5)[:, 0] < WIDTH / 2
    np.testing.assert_array_equal(colours[left], np.tile([250, 20, 10], (15, 1)))
    np.testing.assert_array_equal(colours[~left], 0)
    assert scene["fps"] == pytest.approx(10)


def test_a_long_clip_has_few_pictures_within_their_budget(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (150, HEIGHT, WIDTH, 3), dtype=np.uint8)
    monkeypatch.setattr(scene_data, "PICTURE_BYTES", 600_000)
    scene = read_scene(moving_grid(150), tmp_path, Video.from_array(noise))
    assert len(scene["pictures"]) <= scene_data.MOST_PICTURES
    assert sum(len(picture["jpeg"]) for picture in scene["pictures"]) <= 600_000
    assert scene["pictures"][-1]["frame"] < 150


def test_a_clip_too_long_for_one_page_is_shown_every_few_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(scene_data, "MOST_ENTRIES", 1000)
    tracks3d = moving_grid(100)
    scene = read_scene(tracks3d, tmp_path, black_video(100))
    assert scene["frameStep"] == 3
    assert (scene["frames"], scene["clipFrames"]) == (34, 100)
    positions, half_step = positions_of(scene)
    assert (np.abs(positions - tracks3d.xyz[::3]) <= half_step * 1.001 + 1e-6).all()


def test_very_many_tracks_are_thinned(tmp_path, monkeypatch):
    monkeypatch.setattr(scene_data, "MOST_TRACKS", 12)
    scene = read_scene(moving_grid(), tmp_path)
    assert (scene["trackStep"], scene["tracks"], scene["clipTracks"]) == (3, 10, 30)


def test_guides_of_a_metric_scene_lie_at_round_depths_within_it(tmp_path):
    depths = np.linspace(2.5, 33, 30)
    scene = read_scene(moving_grid(metric=True, query_depth=depths), tmp_path)
    assert [guide["label"] for guide in scene["guides"]] == ["5 m", "10 m", "20 m"]
