"""Ratios of rigid groups: exact where tracks are, the network's where tracks tell nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.geometry.enclosed import share_with_enclosed
from kinedepth.geometry.refining import refine_ratios
from kinedepth.time_to_contact import frame_times
from kinedepth.tracks import Tracks, Tracks3D

FPS = 30.0
CAMERA = Intrinsics(300.0, 300.0, 320.0, 180.0, 640, 360)


def box(points, centre, size, seed=0):
    """``(points, 3)`` places of a body."""
    return np.asarray(centre) + size * np.random.default_rng(seed).uniform(-0.5, 0.5, (points, 3))


def flight(frames, velocity):
    """``(T, 1, 3)`` of something at a steady speed, in units a second."""
    return frame_times(frames, FPS)[:, None, None] * np.asarray(velocity)


def scene(*bodies, noise=0.0, shrunk=1.0, std=0.1, query_frame=0, seed=1):
    """Tracks of places ``(T, N, 3)``; a network tells ``shrunk`` times the true log ratios."""
    longest = max(len(body) for body in bodies)
    place = np.concatenate([np.broadcast_to(b, (longest, *b.shape[1:])) for b in bodies], axis=1)
    frames, points = place.shape[:2]
    jitter = noise * np.random.default_rng(seed).normal(size=(frames, points, 2))
    depth = place[..., 2]
    true = np.log(depth / depth[query_frame])
    away = np.abs(np.arange(frames) - query_frame)[:, None] / max(frames - 1, 1)
    log_ratio = (shrunk * true).astype(np.float32)
    xy = CAMERA.project(place) + jitter
    tracks = Tracks3D(
        xyz=CAMERA.unproject(xy, np.exp(log_ratio)).astype(np.float32),
        log_ratio=log_ratio,
        tracks=Tracks(xy, np.ones((frames, points), bool), np.array(query_frame)),
        intrinsics=CAMERA,
        log_ratio_std=np.broadcast_to(std * away, (frames, points)).astype(np.float32),
    )
    return tracks, true


def still(points=30, seed=5):
    """A backdrop ``(1, points, 3)``, above and below, where no body hides it."""
    half = points // 2
    above = box(half, [0, -4, 9], [14, 1.5, 2], seed)
    return np.concatenate([above, box(points - half, [0, 4, 9], [14, 1.5, 2], seed + 1)])[None]


def small_body(frames, velocity=(0.0, 0.0, -1.5), centre=(0.5, 0.2, 4), points=14, seed=2):
    """``(T, points, 3)``: half a unit large, 40 pixels at first."""
    return box(points, centre, [0.6, 0.6, 0.3], seed) + flight(frames, velocity)


def refined(tracks):
    return refine_ratios(tracks, frame_times(tracks.frames, FPS))


def test_a_small_body_that_approaches_before_a_still_backdrop_gets_its_true_ratios():
    tracks, true = scene(still(), small_body(24), shrunk=0.4)
    found = refined(tracks)
    assert true[-1, 30:].max() < -0.3
    np.testing.assert_allclose(found.log_ratio[:, 30:], true[:, 30:], atol=0.01)
    np.testing.assert_allclose(found.log_ratio[:, :30], 0, atol=0.005)


def test_bodies_of_different_speeds_are_told_apart():
    bodies = [
        small_body(24, (0, 0, speed), (x, y, 4), seed=seed)
        for speed, x, y, seed in ((-1.5, -1.5, 0.3, 2), (-0.8, 1.4, -0.6, 3), (1.0, 0.2, 0.8, 4))
    ]
    tracks, true = scene(still(), *bodies, shrunk=0.4)
    np.testing.assert_allclose(refined(tracks).log_ratio, true, atol=0.02)


def test_a_camera_that_travels_gives_the_ratios_of_the_whole_scene():
    tracks, true = scene(still(40) + flight(24, (0.4, 0.1, -2.0)), shrunk=0.7)
    np.testing.assert_allclose(refined(tracks).log_ratio, true, atol=0.005)


def test_a_wrong_focal_length_hardly_matters_where_nothing_turns():
    tracks, true = scene(still(), small_body(24), shrunk=0.4)
    wrong = replace(tracks, intrinsics=Intrinsics(450.0, 450.0, 320.0, 180.0, 640, 360))
    np.testing.assert_allclose(refined(wrong).log_ratio[:, 30:], true[:, 30:], atol=0.02)


def test_where_the_camera_turns_a_focal_length_that_is_only_guessed_is_found():
    pan = 0.4 * np.sin(np.linspace(0, 3, 24))[:, None] * [0.3, 1.0, 0.2]
    place = still(60) + flight(24, (0.8, 0.2, -0.5))
    place = np.einsum("tij,tnj->tni", Rotation.from_rotvec(pan).as_matrix(), place)
    tracks, true = scene(place, shrunk=0.7)
    wrong = replace(tracks, intrinsics=Intrinsics(360.0, 360.0, 320.0, 180.0, 640, 360))
    times = frame_times(24, FPS)
    error = np.abs(refine_ratios(wrong, times, focal_known=False).log_ratio - true)
    assert error.mean() < 0.005
    assert error.mean() < 0.5 * np.abs(refine_ratios(wrong, times).log_ratio - true).mean()


def test_a_camera_that_only_turns_leaves_what_the_network_says():
    turn = Rotation.from_rotvec(np.linspace(0, 0.1, 12)[:, None] * [0.3, 1.0, 0.1]).as_matrix()
    place = np.einsum("tij,nj->tni", turn, still(40)[0])
    tracks, _ = scene(place, noise=0.3)
    said = replace(
        tracks, log_ratio=np.linspace(0, -0.2, 12, dtype=np.float32)[:, None].repeat(40, 1)
    )
    found = refined(said)
    np.testing.assert_allclose(found.log_ratio, said.log_ratio, atol=1e-5)
    np.testing.assert_allclose(found.log_ratio_std, tracks.log_ratio_std, atol=1e-5)


def test_fewer_points_than_a_group_needs_leave_what_the_network_says():
    tracks, _ = scene(small_body(16, points=7), shrunk=0.4)
    np.testing.assert_allclose(refined(tracks).log_ratio, tracks.log_ratio, atol=1e-6)


def test_the_network_is_trusted_less_where_a_point_moves_with_nothing_else():
    tracks, _ = scene(still(), small_body(16, points=3), shrunk=0.4)
    found = refined(tracks)
    np.testing.assert_allclose(found.log_ratio, tracks.log_ratio, atol=1e-5)
    np.testing.assert_allclose(found.log_ratio_std[:, 30:], 4 * tracks.log_ratio_std[:, 30:])
    np.testing.assert_allclose(found.log_ratio_std[:, :30], tracks.log_ratio_std[:, :30])


def test_points_that_are_hardly_seen_keep_what_the_network_says():
    tracks, true = scene(still(), small_body(24), shrunk=0.4)
    visible = tracks.tracks.visible.copy()
    visible[2:, -1] = False
    seen = replace(tracks, tracks=replace(tracks.tracks, visible=visible))
    found = refined(seen)
    np.testing.assert_allclose(found.log_ratio[:, -1], tracks.log_ratio[:, -1], atol=1e-5)
    np.testing.assert_allclose(found.log_ratio[:, 30:-1], true[:, 30:-1], atol=0.01)


def test_ratios_refer_to_the_query_frame_and_positions_go_along_their_rays():
    tracks, true = scene(still(), small_body(24), shrunk=0.4, query_frame=9)
    found = refined(tracks)
    assert not found.log_ratio[9].any()
    assert not found.log_ratio_std[9].any()
    np.testing.assert_allclose(found.log_ratio[:, 30:], true[:, 30:], atol=0.01)
    np.testing.assert_allclose(CAMERA.project(found.xyz), tracks.tracks.xy, atol=1e-2)
    np.testing.assert_allclose(found.depth, np.exp(found.log_ratio), rtol=1e-5)


def test_a_clip_of_several_blocks_has_no_seams():
    body = small_body(90, (0.1, 0, -0.8))
    tracks, true = scene(still(20), body, shrunk=0.4)
    found = refined(tracks)
    np.testing.assert_allclose(found.log_ratio[:, 20:], true[:, 20:], atol=0.03)
    jumps = np.abs(np.diff(found.log_ratio - true, axis=0))
    assert jumps[:, 20:].max() < 0.003


def test_the_network_is_outvoted_only_where_it_is_less_sure():
    body = small_body(24)
    sure, true = scene(still(), body, shrunk=0.8, std=1e-4)
    found = refined(sure)
    np.testing.assert_allclose(found.log_ratio[:, 30:], 0.8 * true[:, 30:], atol=0.01)


@pytest.mark.parametrize("noise", [0.1, 0.4])
def test_errors_are_as_large_as_the_standard_deviation_says(noise):
    off = []
    for seed in range(2):
        body = small_body(16, points=20, seed=seed)
        tracks, true = scene(still(20), body, noise=noise, shrunk=0.4, std=0.5, seed=seed)
        found = refined(tracks)
        off.append(np.abs(found.log_ratio - true)[-1, 20:] / found.log_ratio_std[-1, 20:])
    assert (np.concatenate(off) < 1).mean() > 0.5
    assert (np.concatenate(off) < 2).mean() > 0.85


def test_tracks_without_standard_deviations_are_refined_too():
    tracks, true = scene(still(), small_body(24), shrunk=0.4)
    found = refined(replace(tracks, log_ratio_std=None))
    np.testing.assert_allclose(found.log_ratio[:, 30:], true[:, 30:], atol=0.02)


def test_a_single_frame_is_left_alone():
    tracks, _ = scene(still(10))
    assert refine_ratios(tracks, np.zeros(1)) is tracks


def test_times_of_other_frames_are_told():
    tracks, _ = scene(still(10), small_body(12))
    with pytest.raises(KinedepthError, match="12 frames, but 5 times"):
        refine_ratios(tracks, frame_times(5, FPS))


def circle_of_members(middle, group_of_middle):
    """Seven points that grow by a fifth about the middle one, and its place in both frames."""
    angle = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    place = np.stack([np.r_[ring, [middle[0]]], np.r_[1.2 * ring, [middle[1]]]])
    log_ratio = np.zeros((2, 7))
    log_ratio[1, :6] = np.log(1 / 1.2) + 0.01 * np.array([1, -1, 1, -1, 1, -1])
    std = np.r_[np.full(6, 0.01), np.inf]
    group = np.r_[np.zeros(6, int), group_of_middle]
    return share_with_enclosed(place, np.ones((2, 7), bool), group, log_ratio, std, 0.05)


def test_a_point_that_stays_amid_a_body_that_grows_takes_what_is_said_around_it():
    log_ratio, std = circle_of_members([(0, 0), (0, 0)], -1)
    assert log_ratio[1, 6] == pytest.approx(np.log(1 / 1.2))
    assert 0.01 < std[6] < 0.03
    np.testing.assert_array_less(std[:6], 0.0101)


def test_a_point_that_does_not_grow_with_those_around_it_takes_nothing():
    assert circle_of_members([(0.5, 0), (0.5, 0)], -1)[1][6] == np.inf


def test_a_point_of_another_group_takes_nothing():
    assert circle_of_members([(0, 0), (0, 0)], 1)[1][6] == np.inf
