"""Depth from parallax: exact where tracks are, silent where they tell nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.geometry import rigid
from kinedepth.geometry.blocks import plan_blocks
from kinedepth.geometry.contact import anchor_by_contact
from kinedepth.geometry.rigid import RigidSolution, solve_rigid

CAMERA = Intrinsics(300.0, 300.0, 320.0, 180.0, 640, 360)


@dataclass
class Scene:
    """True tracks of a closed-form scene; the world is the first camera's frame."""

    xy: np.ndarray
    depth: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    visible: np.ndarray

    @property
    def log_ratio(self) -> np.ndarray:
        return np.log(self.depth / self.depth[0])

    def solve(self, **changes) -> RigidSolution:
        arguments = {"log_ratio": self.log_ratio, "xy": self.xy, "visible": self.visible}
        settings = {k: changes.pop(k) for k in list(changes) if k not in arguments}
        return solve_rigid(*{**arguments, **changes}.values(), CAMERA, **settings)


def scene(frames=16, points=40, baseline=0.5, moving=0, noise=0.0, seed=0) -> Scene:
    """Points at depths 1 to 4 before a camera that turns and travels; some fly off on their own."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, frames)
    rotation = Rotation.from_rotvec(np.outer(time, [0.05, 0.12, -0.04])).as_matrix()
    translation = baseline * np.stack([time, 0.3 * np.sin(3 * time), 0.5 * time], axis=-1)
    z = np.exp(rng.uniform(0, 1.4, points))
    place = np.c_[rng.uniform(-0.6, 0.6, points), rng.uniform(-0.35, 0.35, points), np.ones(points)]
    world = np.broadcast_to(place * z[:, None], (frames, points, 3)).copy()
    if moving:
        flight = np.stack([-0.6 * time, 0.5 * np.sin(4 * time), 0.2 * time], axis=-1)
        world[:, :moving] += flight[:, None]
    seen = np.einsum("tij,tnj->tni", rotation, world) + translation[:, None]
    xy = CAMERA.project(seen) + noise * rng.normal(size=(frames, points, 2))
    return Scene(xy, seen[..., 2], rotation, translation, np.ones((frames, points), bool))


def relative_error(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Of depth, after one scale for all frames and points."""
    ratio = found / true
    return np.abs(ratio / np.nanmedian(ratio) - 1)


def test_depth_and_cameras_are_exact_where_tracks_are():
    truth = scene()
    found = truth.solve()
    assert found.observable
    assert found.reason == ""
    assert found.rigid.all()
    assert relative_error(found.depth, truth.depth).max() < 1e-6
    np.testing.assert_allclose(found.rotation, truth.rotation, atol=1e-6)
    unit = np.median(truth.depth[0])
    np.testing.assert_allclose(found.translation * unit, truth.translation, atol=1e-6)


def test_median_depth_is_one_at_first():
    found = scene().solve()
    assert np.median(found.depth[0]) == pytest.approx(1, abs=1e-6)


def test_ratios_that_say_nothing_are_not_needed():
    truth = scene()
    found = truth.solve(log_ratio=np.full(truth.xy.shape[:2], np.nan))
    assert relative_error(found.depth, truth.depth).max() < 1e-5


def test_biased_ratios_are_corrected_by_the_geometry():
    truth = scene()
    wrong = truth.log_ratio * 1.3
    found = truth.solve(log_ratio=wrong)
    left = np.abs(np.log(found.depth / found.depth[0]) - truth.log_ratio)
    assert np.median(left) < 0.2 * np.median(np.abs(wrong - truth.log_ratio))
    assert np.median(relative_error(found.depth, truth.depth)) < 0.02


def test_a_scene_twice_as_large_looks_the_same():
    truth = scene()
    larger = Scene(truth.xy, 2 * truth.depth, truth.rotation, 2 * truth.translation, truth.visible)
    np.testing.assert_array_equal(truth.solve().depth, larger.solve().depth)


def test_the_order_of_points_does_not_matter():
    truth = scene(noise=0.2)
    order = np.random.default_rng(1).permutation(truth.xy.shape[1])
    plain = truth.solve()
    shuffled = truth.solve(log_ratio=truth.log_ratio[:, order], xy=truth.xy[:, order])
    np.testing.assert_allclose(shuffled.depth, plain.depth[:, order], rtol=2e-3)


def test_ratios_may_refer_to_any_frame():
    truth = scene()
    query = np.arange(truth.xy.shape[1]) % len(truth.xy)
    shifted = truth.log_ratio - truth.log_ratio[query, np.arange(len(query))]
    found = truth.solve(log_ratio=shifted, query_frame=query)
    assert relative_error(found.depth, truth.depth).max() < 1e-6


def test_points_that_come_and_go_are_solved_from_what_is_seen():
    truth = scene(frames=20)
    visible = truth.visible.copy()
    visible[10:, :10] = False
    visible[:8, 30:] = False
    xy = np.where(visible[..., None], truth.xy, np.nan)
    found = truth.solve(xy=xy, visible=visible)
    assert relative_error(found.depth, truth.depth).max() < 1e-6


def test_a_track_that_is_never_seen_has_no_depth():
    truth = scene()
    visible = truth.visible.copy()
    visible[:, 3] = False
    xy, log_ratio = truth.xy.copy(), truth.log_ratio
    xy[:, 3] = np.nan
    log_ratio[:, 3] = np.nan
    found = truth.solve(xy=xy, visible=visible, log_ratio=log_ratio)
    assert not found.rigid[3]
    assert np.isnan(found.depth[:, 3]).all()
    assert np.isinf(found.log_depth_std[3])
    others = np.delete(np.arange(40), 3)
    assert relative_error(found.depth[:, others], truth.depth[:, others]).max() < 1e-6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("baseline", [0.0, 1e-4])
def test_a_camera_that_only_turns_or_hardly_moves_is_refused(baseline, seed):
    found = scene(baseline=baseline, noise=0.3, seed=seed).solve()
    assert not found.observable
    assert found.confidence < rigid.LEAST_CONFIDENCE
    assert "hardly moves" in found.reason
    assert np.isnan(found.depth).all()


def test_confidence_grows_with_the_baseline():
    confidence = [scene(baseline=b, noise=0.3).solve().confidence for b in (0.01, 0.1, 0.5)]
    assert confidence == sorted(confidence)
    assert confidence[-1] > 10


def test_points_that_fly_off_together_are_flagged():
    truth = scene(points=60, moving=15, noise=0.2)
    found = truth.solve()
    assert not found.rigid[:15].any()
    assert found.rigid[15:].mean() > 0.9
    assert np.isnan(found.depth[:, :15]).all()
    still = found.rigid
    assert np.nanmedian(relative_error(found.depth, truth.depth)[:, still]) < 0.01


def test_noise_makes_small_errors_that_the_standard_error_covers():
    truth = scene(points=80, noise=0.5)
    found = truth.solve()
    error = relative_error(found.depth, truth.depth)[0]
    assert np.median(error) < 0.03
    assert (error[found.rigid] < 4 * found.log_depth_std[found.rigid]).mean() > 0.95


def test_a_wrong_focal_length_is_corrected_where_asked():
    truth = scene(frames=24, points=80, baseline=1.0)
    assumed = Intrinsics(330.0, 330.0, 320.0, 180.0, 640, 360)
    found = solve_rigid(truth.log_ratio, truth.xy, truth.visible, assumed, estimate_focal=True)
    assert found.intrinsics.fx == pytest.approx(300, rel=0.01)


def test_blocks_of_a_long_clip_make_one_scene(monkeypatch):
    monkeypatch.setattr(rigid, "_BLOCK", 16)
    monkeypatch.setattr(rigid, "_OVERLAP", 6)
    truth = scene(frames=40)
    told = []
    found = truth.solve(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (4, 4)
    assert relative_error(found.depth, truth.depth).max() < 1e-5
    np.testing.assert_allclose(found.rotation, truth.rotation, atol=1e-5)


def test_blocks_cover_the_clip_and_overlap():
    blocks = plan_blocks(1000, 120, 40)
    assert blocks[0].start == 0
    assert blocks[-1].stop == 1000
    shared = [a.stop - b.start for a, b in pairwise(blocks)]
    assert min(shared) >= 40


def test_too_few_points_are_told():
    truth = scene(points=6)
    with pytest.raises(KinedepthError, match="at least 8 points"):
        truth.solve()


@pytest.mark.parametrize("name", ["log_ratio", "visible"])
def test_arrays_of_other_shapes_are_told(name):
    truth = scene()
    with pytest.raises(KinedepthError, match=f"{name} has shape"):
        truth.solve(**{name: getattr(truth, name)[:-1]})


def contact_scene(hovering: float):
    """A point 0.04 half widths above ground that comes closer; it may hang before the ground."""
    ground = np.linspace(4.0, 2.0, 10)
    depth = np.stack([np.full(10, np.nan), ground], axis=-1)
    place = np.zeros((10, 2, 2))
    place[:, 1, 1] = 0.04
    own = np.log((ground - hovering * np.linspace(0, 1, 10)) / ground[0])
    log_ratio = np.stack([own, np.log(ground / ground[0])], axis=-1)
    return depth, log_ratio, place, np.ones((10, 2), bool), np.array([False, True])


def test_a_moving_point_that_stands_on_the_ground_gets_its_depth():
    arguments = contact_scene(hovering=0.0)
    depth, anchored = anchor_by_contact(*arguments)
    assert anchored.tolist() == [True, False]
    np.testing.assert_allclose(depth[:, 0], depth[:, 1])


def test_a_point_that_does_not_move_with_the_ground_below_gets_none():
    depth, anchored = anchor_by_contact(*contact_scene(hovering=1.2))
    assert not anchored.any()
    assert np.isnan(depth[:, 0]).all()
