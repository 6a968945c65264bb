"""TAE: zero for perfect depth of a still scene, what it says of flicker, and what is published."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.camera import Intrinsics
from kinedepth.evaluation.depth_truth import Crop
from kinedepth.evaluation.temporal import (
    TemporalErrorSum,
    as_published,
    temporal_alignment_error,
    temporal_error,
)

CAMERA = Intrinsics(70.0, 72.0, 40.5, 30.2, 80, 60)


def pose(yaw=0.0, pitch=0.0, position=(0.0, 0.0, 0.0)):
    """Camera to world."""
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn @ tilt, position
    return matrix


PATH = np.stack([pose(0.01 * t, -0.004 * t, (0.03 * t, -0.01 * t, 0.04 * t)) for t in range(6)])


def rays(camera, matrix):
    """Origin, and directions ``(H, W, 3)`` of length 1 along the optical axis, in the world."""
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    own = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], -1)
    return matrix[:3, 3], own @ matrix[:3, :3].T


def plane(matrix, normal=(0.3, -0.4, 1.0), offset=3.0, camera=CAMERA):
    """Exact depth of the plane ``normal . X = offset``."""
    origin, directions = rays(camera, matrix)
    return (offset - origin @ np.array(normal)) / (directions @ np.array(normal))


def ball(matrix, centre=(0.0, 0.0, 0.0), radius=4.0, camera=CAMERA):
    """Exact depth of the far side of a ball, the camera within."""
    origin, directions = rays(camera, matrix)
    away = origin - np.array(centre)
    square = (directions**2).sum(-1)
    half = directions @ away / square
    return -half + np.sqrt(half**2 - (away @ away - radius**2) / square)


def box_before_wall(matrix, camera=CAMERA):
    """A square at depth 1 of the world before a wall at depth 3, both facing the camera."""
    wall = plane(matrix, (0, 0, 1), 3.0, camera)
    near = plane(matrix, (0, 0, 1), 1.0, camera)
    origin, directions = rays(camera, matrix)
    hit = origin + near[..., None] * directions
    return np.where((np.abs(hit[..., 0]) < 0.25) & (np.abs(hit[..., 1]) < 0.2), near, wall)


def tae(frames, poses=PATH, compare=temporal_error, camera=CAMERA):
    return temporal_alignment_error(frames, [camera] * len(frames), poses, compare)


def test_exact_depth_of_a_slanted_plane_before_a_moving_camera_has_no_error():
    frames = [plane(matrix) for matrix in PATH]
    found = tae(frames)
    # 1 / depth of a plane is affine in the image, so nothing but rounding is left.
    assert found.tae < 1e-9
    assert found.coverage > 0.9
    assert tae(frames, compare=as_published).tae > 0.1


def test_on_a_curved_surface_the_error_stays_within_the_bound_of_interpolation():
    frames = [ball(matrix) for matrix in PATH]
    disparity = [1 / frame for frame in frames]
    bound = max(
        sum(np.abs(np.diff(d, 2, axis=axis)).max() for axis in (0, 1)) / 8 / d.min()
        for d in disparity
    )
    found = tae(frames).tae
    assert 0 < found <= 100 * bound
    assert 100 * bound < 0.05
    assert found < tae(frames, compare=as_published).tae / 20


def test_scale_that_alternates_by_s_gives_the_closed_form():
    # A still camera; depth z (1 + s) and z (1 - s) in turn. Both ways differ by 2 s z, over
    # z (1 - s) one way and z (1 + s) the other: the mean is 2 s / (1 - s^2).
    s = 0.03
    frames = [plane(PATH[0]) * (1 + s * (-1) ** t) for t in range(6)]
    found = tae(frames, np.repeat(PATH[:1], 6, axis=0))
    assert found.tae == pytest.approx(100 * 2 * s / (1 - s**2), rel=1e-9)


def test_scale_noise_of_s_a_frame_gives_s_times_two_over_the_root_of_pi():
    # Two independent normal errors differ by a normal one of deviation s sqrt(2), whose mean
    # magnitude is s sqrt(2) sqrt(2 / pi).
    s, frames = 0.01, 2000
    noise = np.random.default_rng(0).standard_normal(frames)
    camera = Intrinsics(4.0, 4.0, 2.0, 2.0, 4, 4)
    depth = plane(np.eye(4), camera=camera)
    found = tae(
        (1 + s * noise)[:, None, None] * depth, np.tile(np.eye(4), (frames, 1, 1)), camera=camera
    )
    # The mean of 2000 magnitudes scatters by about 2 %.
    assert found.tae == pytest.approx(100 * s * 2 / np.sqrt(np.pi), rel=0.05)


def test_an_occluder_adds_nothing_here_and_much_as_published():
    # Sideways by whole pixels of the wall, so that rounding is no part of it.
    step = 3.0 / CAMERA.fx
    poses = np.stack([pose(position=(2 * step * t, 0, 0)) for t in range(5)])
    wall = [plane(matrix, (0, 0, 1)) for matrix in poses]
    frames = [box_before_wall(matrix) for matrix in poses]
    assert tae(wall, poses).tae < 1e-9
    assert tae(wall, poses, as_published).tae < 1e-9
    found = tae(frames, poses)
    assert found.tae < 1e-9
    assert found.coverage > 0.75
    assert tae(frames, poses, as_published).tae > 1


def test_an_occluder_before_a_camera_that_also_turns_adds_less_than_a_tenth_of_the_published():
    frames = [box_before_wall(matrix) for matrix in PATH]
    assert tae(frames).tae < 0.1 * tae(frames, compare=as_published).tae


def test_cropping_needs_the_intrinsics_of_the_crop():
    crop = Crop(6, -4, 9, -2)
    frames = [crop.cut(plane(matrix)) for matrix in PATH]
    assert crop.camera(CAMERA) == Intrinsics(70.0, 72.0, 31.5, 24.2, 69, 50)
    assert tae(frames, camera=crop.camera(CAMERA)).tae < 1e-9
    assert tae(frames, camera=CAMERA).tae > 0.05


def test_cameras_may_zoom():
    zooming = [Intrinsics(60.0 + 3 * t, 60.0 + 3 * t, 40, 30, 80, 60) for t in range(6)]
    frames = [plane(matrix, camera=camera) for matrix, camera in zip(PATH, zooming, strict=True)]
    assert temporal_alignment_error(frames, zooming, PATH).tae < 1e-9


def test_a_frame_of_unknown_pose_leaves_out_its_two_pairs():
    frames = [plane(matrix) for matrix in PATH]
    frames[2] = frames[2] * 1.5
    poses = PATH.copy()
    poses[2] = -np.inf
    assert tae(frames, poses).tae < 1e-9
    assert tae(frames).tae > 1


def test_frames_that_do_not_overlap_do_not_count_though_they_are_published_as_perfect():
    poses = np.stack([pose(), pose(yaw=np.pi)])
    frames = [np.full((60, 80), 2.0)] * 2
    assert tae(frames, poses).tae is None
    assert tae(frames, poses, as_published).tae == 0


def test_a_single_frame_has_no_temporal_error():
    assert tae([plane(PATH[0])], PATH[:1]).tae is None


def test_points_behind_the_other_camera_are_left_out():
    # The second camera stands beyond the box, which has it behind; it sees the wall only.
    first, second = pose(), pose(position=(0, 0, 1.5))
    ahead = np.linalg.inv(second) @ first
    found = temporal_error(box_before_wall(first), plane(second, (0, 0, 1)), CAMERA, CAMERA, ahead)
    assert found.error < 1e-9
    assert found.coverage > 0.02


def test_what_only_the_other_frame_shows_may_hide_points_and_counts_as_error():
    # A limit: the way back, wall points lie behind a box that the second frame does not show.
    first, second = pose(), pose(position=(0, 0, 1.5))
    back = np.linalg.inv(first) @ second
    found = temporal_error(plane(second, (0, 0, 1)), box_before_wall(first), CAMERA, CAMERA, back)
    assert found.error > 0.5


def test_what_does_not_count_is_not_compared():
    frames = [plane(matrix) for matrix in PATH]
    for frame in frames:
        frame[20:30, 30:50] *= 3
    assert tae(frames).tae > 0.1
    for frame in frames:
        frame[20:30, 30:50] = np.nan
    found = tae(frames)
    assert found.tae < 1e-9
    assert found.coverage < 0.92
    assert tae([np.full((60, 80), np.nan)] * 2, PATH[:2]).tae is None


@settings(deadline=None, max_examples=15)
@given(
    st.floats(0.2, 5),
    st.floats(-2, 2),
    st.floats(-1, 1),
    st.lists(st.floats(-5, 5), min_size=3, max_size=3),
)
def test_unit_and_place_of_the_world_do_not_matter(unit, yaw, pitch, shift):
    noise = 1 + 0.01 * np.random.default_rng(1).standard_normal((3, 1, 1))
    frames = noise * np.stack([plane(matrix) for matrix in PATH[:3]])
    poses = PATH[:3].copy()
    poses[:, :3, 3] *= unit
    moved = pose(yaw, pitch, shift) @ poses
    assert tae(unit * frames, moved).tae == pytest.approx(tae(frames, PATH[:3]).tae, rel=1e-6)


def test_both_ways_are_compared_so_that_playing_backwards_changes_nothing():
    noise = 1 + 0.02 * np.random.default_rng(2).standard_normal((6, 1, 1))
    frames = noise * np.stack([plane(matrix) for matrix in PATH])
    assert tae(frames[::-1], PATH[::-1]).tae == pytest.approx(tae(frames).tae, rel=1e-12)


def test_frames_may_come_one_by_one():
    frames = [1.01**t * plane(matrix) for t, matrix in enumerate(PATH)]
    total = TemporalErrorSum(temporal_error)
    for frame, matrix in zip(frames, PATH, strict=True):
        total.add(frame, CAMERA, matrix)
    assert total.result() == tae(frames)
