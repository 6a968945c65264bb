"""What may serve as an anchor, and what its depth is taken for."""

import numpy as np
import pytest
from anchoring_scenes import CAMERA, FRAMES, HEIGHT, WIDTH, depth_of, plane, readings, scene

from kinedepth.anchoring import anchor_tracks, open_anchor
from kinedepth.depth import DepthVideo
from kinedepth.errors import KinedepthError
from kinedepth.tracks import GUESSED_SCALE_STD, Tracks3D
from kinedepth.video import Video


class TestKinds:
    def test_depth_without_a_unit_gives_one_scale_but_no_metres(self):
        lifted = scene()
        source = readings(lifted, 7 * depth_of(lifted.tracks), "scale_invariant")
        anchored = anchor_tracks(lifted, source)
        assert not anchored.tracks.metric
        assert "unknown unit" in anchored.unit
        assert np.allclose(anchored.tracks.depth, 7 * depth_of(lifted.tracks), rtol=1e-4)

    @pytest.mark.parametrize("per_frame", [False, True])
    @pytest.mark.parametrize("kind", ["affine_invariant", "affine_invariant_disparity"])
    def test_an_unknown_shift_is_found_from_motion(self, kind, per_frame):
        lifted = scene()
        depth = depth_of(lifted.tracks)
        right = 1 / depth if kind.endswith("disparity") else depth
        shift = np.full((FRAMES, 1), 0.3)
        if per_frame:
            shift += np.random.default_rng(0).normal(0, 0.02, (FRAMES, 1))
        source = readings(lifted, 5 * right - shift, kind, per_frame)
        anchored = anchor_tracks(lifted, source)
        assert not anchored.reason
        factor = np.log(anchored.tracks.depth / depth)
        assert np.ptp(factor) < 0.02
        assert not anchored.tracks.metric

    @pytest.mark.parametrize("kind", ["affine_invariant", "affine_invariant_disparity"])
    def test_a_shift_that_motion_cannot_tell_is_not_invented(self, kind):
        lifted = scene()
        still = Tracks3D(lifted.xyz, np.zeros_like(lifted.log_ratio), lifted.tracks, CAMERA)
        noise = np.random.default_rng(0).normal(0, 0.05, lifted.log_ratio.shape)
        value = 1 / depth_of(lifted.tracks)[:1] + noise
        anchored = anchor_tracks(still, readings(lifted, value, kind))
        assert "shift" in anchored.reason
        assert anchored.tracks is still

    def test_no_reading_at_all_is_told(self):
        lifted = scene()
        with pytest.raises(KinedepthError, match="no depth at any visible point"):
            anchor_tracks(lifted, readings(lifted, np.full(lifted.log_ratio.shape, np.nan)))

    def test_an_unknown_fit_is_told(self):
        lifted = scene()
        with pytest.raises(KinedepthError, match="'robust' or 'paper'"):
            anchor_tracks(lifted, readings(lifted, depth_of(lifted.tracks)), "loose")


class PerfectModel:
    name, kind, per_frame = "perfect", "metric", True

    def predict(self, video, progress=None):
        return map(plane, range(len(video)))


class TestSources:
    video = Video.from_array(np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8))

    def anchored(self, source, tracks=None):
        return open_anchor(source, self.video).anchor(tracks or scene(), self.video)

    def test_a_model_of_dense_depth_anchors(self):
        depth = self.anchored(PerfectModel()).tracks.depth
        assert np.allclose(depth, depth_of(scene().tracks), rtol=1e-4)

    def test_stored_depth_anchors(self, tmp_path):
        depth = np.stack([plane(t) for t in range(FRAMES)])
        np.savez(tmp_path / "depth.npz", depth=depth, kind="metric")
        for source in (f"file:{tmp_path / 'depth.npz'}", DepthVideo(depth, "metric", 25.0)):
            anchored = self.anchored(source)
            assert np.allclose(anchored.tracks.depth, depth_of(scene().tracks), rtol=1e-4)

    def test_stored_depth_of_another_length_is_told_before_any_work(self):
        short = DepthVideo(np.ones((FRAMES - 2, 4, 4), np.float32), "metric", 25.0)
        with pytest.raises(KinedepthError, match=f"22 frames, but the clip has {FRAMES}"):
            open_anchor(short, self.video)

    def test_depth_in_millimetres_is_doubted(self):
        depth = np.stack([plane(t) for t in range(FRAMES)]) * 1000
        with pytest.warns(UserWarning, match="millimetres"):
            self.anchored(DepthVideo(depth, "metric", 25.0))

    def test_an_unknown_anchor_is_told_with_those_there_are(self):
        with pytest.raises(KinedepthError, match=r"no anchor called 'lidar'.*vda-small"):
            open_anchor("lidar", self.video)

    def test_the_field_of_view_that_a_model_estimates_is_passed_on(self):
        class Knowing(PerfectModel):
            field_of_view = 55.0

        assert self.anchored(Knowing()).facts["field_of_view"] == 55.0

    def test_parallax_anchors_what_is_rigid_and_guesses_the_rest(self, monkeypatch):
        lifted = scene()
        depth = depth_of(lifted.tracks).astype(np.float32)
        depth[:, 30] = np.nan
        known = np.arange(49) != 30
        found = rigid_solution(depth, known)
        monkeypatch.setattr("kinedepth.geometry.rigid.solve_rigid", lambda *_, **__: found)
        tracks = self.anchored("rigid", lifted).tracks
        assert np.allclose(tracks.depth[:, known], depth[:, known], rtol=1e-5)
        assert np.isfinite(tracks.xyz).all()
        assert tracks.log_scale_std[30] == GUESSED_SCALE_STD
        assert tracks.extrinsics_w2c.shape == (FRAMES, 4, 4)
        assert not tracks.metric

    def test_parallax_that_is_too_small_leaves_tracks_as_they_are(self, monkeypatch):
        lifted = scene()
        nothing = rigid_solution(np.full(lifted.log_ratio.shape, np.nan), np.zeros(49, bool))
        monkeypatch.setattr("kinedepth.geometry.rigid.solve_rigid", lambda *_, **__: nothing)
        anchored = self.anchored("rigid", lifted)
        assert anchored.reason == "the camera only turns"
        assert anchored.tracks is lifted


def rigid_solution(depth, rigid):
    from kinedepth.geometry.rigid import RigidSolution

    return RigidSolution(
        depth=depth,
        rotation=np.tile(np.eye(3), (FRAMES, 1, 1)),
        translation=np.zeros((FRAMES, 3)),
        rigid=rigid,
        anchored=np.zeros(len(rigid), bool),
        log_depth_std=np.where(rigid, 0.02, np.inf).astype(np.float32),
        confidence=30.0 if rigid.any() else 1.0,
        observable=bool(rigid.any()),
        reason="" if rigid.any() else "the camera only turns",
        intrinsics=CAMERA,
    )


class TestLifting:
    @pytest.fixture
    def tracks_file(self, tmp_path):
        tracks = scene().tracks
        path = tmp_path / "tracks.npz"
        np.savez(path, tracks_xy=tracks.xy, visibility=tracks.visible)
        return f"file:{path}"

    def test_a_lift_with_an_anchor_is_in_metres_and_says_so(self, untrained, tracks_file):
        from kinedepth.lifting import lift

        lifted = lift(
            TestSources.video, tracker=tracks_file, model=untrained, anchor=PerfectModel()
        )
        assert lifted.tracks.metric
        assert lifted.facts["scale"] == "metres"
        assert lifted.facts["anchor"]["source"] == "perfect"
        ratio = lifted.tracks.depth / depth_of(lifted.tracks.tracks)
        assert np.median(ratio) == pytest.approx(1.0, abs=0.1)

    def test_a_lift_that_cannot_be_anchored_stays_relative_and_warns(self, untrained, tracks_file):
        from kinedepth.lifting import lift

        constant = np.random.default_rng(0).random((FRAMES, HEIGHT, WIDTH)).astype(np.float32)
        source = DepthVideo(constant, "affine_invariant_disparity", 25.0)
        with pytest.warns(UserWarning, match="Depth stays relative"):
            lifted = lift(TestSources.video, tracker=tracks_file, model=untrained, anchor=source)
        assert not lifted.tracks.metric
        assert np.allclose(lifted.tracks.depth[0], 1.0)
