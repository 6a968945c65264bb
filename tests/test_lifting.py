"""The main job on scenes whose answer is known in closed form.

A plane that faces the camera and recedes shrinks about the image centre by exactly its depth
ratio, and an untrained network says what its robust local fit says, so what is tested here is
the path from tracks to 3D: windows, chaining, fusion, query frames, cameras.
"""

import numpy as np
import pytest
import torch

import kinedepth
from kinedepth.camera import Intrinsics
from kinedepth.devices import find_device
from kinedepth.errors import KinedepthError
from kinedepth.lifting import find_intrinsics, lift
from kinedepth.tracks import Queries, Tracks, grid
from kinedepth.video import Video

FRAMES, WIDTH, HEIGHT = 30, 160, 120


def blank_video(frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> Video:
    return Video.from_array(np.zeros((frames, height, width, 3), np.uint8), fps=10.0)


def log_depth(frames: int = FRAMES) -> np.ndarray:
    time = np.arange(frames) / FRAMES
    return 0.5 * time + 0.1 * np.sin(6 * time)


class RecedingPlane:
    """A tracker that knows the answer: every point shrinks towards the image centre."""

    name = "receding plane"

    def track(self, video, jobs, progress=None):
        centre = np.array([video.width / 2, video.height / 2])
        depth = np.exp(log_depth(len(video)))
        for index, job in enumerate(jobs):
            # (T, N): how much the image has shrunk since each point's own query frame.
            shrink = depth[job.queries.frame][None] / depth[list(job.frames)][:, None]
            xy = centre + (job.queries.xy - centre) * shrink[..., None]
            frame = (job.queries.frame - job.frames.start) // job.frames.step
            yield index, Tracks(xy, np.ones(xy.shape[:2], bool), frame)


class OwnTracks(RecedingPlane):
    """The same plane as tracks that someone else made."""

    name = "file"
    seeds_own_points = True

    def track(self, video, jobs, progress=None):
        from kinedepth.tracking.base import TrackingJob

        queries = grid(9).at(video.width, video.height, 0)
        return super().track(video, [TrackingJob(queries, range(len(video)))], progress)


@pytest.mark.parametrize("method", ["fused", "chained"])
@pytest.mark.parametrize("tracker", [RecedingPlane(), OwnTracks()], ids=lambda t: t.name)
def test_a_receding_plane_is_lifted_to_its_true_depth(untrained, method, tracker):
    lifted = lift(blank_video(), grid(5), tracker=tracker, model=untrained, method=method)
    expected = log_depth() - log_depth()[0]
    assert np.abs(lifted.tracks.log_ratio - expected[:, None]).max() < 0.02
    assert np.allclose(lifted.tracks.depth[0], 1.0)


def test_every_track_has_depth_one_at_its_own_query_frame(untrained):
    queries = Queries(np.array([[40, 40], [100, 60], [80, 90]]), np.array([0, 12, 29]))
    lifted = lift(blank_video(), queries, tracker=RecedingPlane(), model=untrained)
    for n, frame in enumerate(queries.frame):
        expected = log_depth() - log_depth()[frame]
        assert lifted.tracks.depth[frame, n] == pytest.approx(1.0)
        assert np.abs(lifted.tracks.log_ratio[:, n] - expected).max() < 0.02
    assert np.array_equal(lifted.tracks.queries_xyt[:, 2], queries.frame)


def test_an_upright_video_is_lifted_like_a_wide_one(untrained):
    video = blank_video(width=HEIGHT, height=WIDTH)
    lifted = lift(video, grid(5), tracker=RecedingPlane(), model=untrained)
    expected = log_depth() - log_depth()[0]
    assert np.abs(lifted.tracks.log_ratio - expected[:, None]).max() < 0.02


@pytest.mark.parametrize("frames", [2, 5, 8, 9])
def test_clips_of_a_window_or_less_are_lifted(untrained, frames):
    lifted = lift(blank_video(frames), grid(5), tracker=RecedingPlane(), model=untrained)
    expected = log_depth(frames) - log_depth(frames)[0]
    assert np.abs(lifted.tracks.log_ratio - expected[:, None]).max() < 0.02


def test_positions_unproject_the_tracks_with_the_camera_in_use(untrained):
    lifted = lift(
        blank_video(), grid(4), tracker=RecedingPlane(), model=untrained, field_of_view=90
    )
    assert lifted.tracks.intrinsics.fx == pytest.approx(WIDTH / 2)
    assert np.allclose(
        lifted.tracks.intrinsics.project(lifted.tracks.xyz), lifted.tracks.tracks.xy, atol=1e-2
    )


def test_tracks_hidden_from_first_to_last_stay_finite(untrained):
    class Hidden(RecedingPlane):
        def track(self, video, jobs, progress=None):
            for index, tracks in super().track(video, jobs):
                yield index, Tracks(tracks.xy, np.zeros_like(tracks.visible), tracks.query_frame)

    lifted = lift(blank_video(), grid(3), tracker=Hidden(), model=untrained)
    assert np.isfinite(lifted.tracks.xyz).all()


def test_the_public_face_lifts_a_path(untrained, tmp_path):
    import cv2

    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (72, 96, 3)).astype(np.uint8), (5, 5), 0)
    for frame in range(10):
        zoom = cv2.getRotationMatrix2D((48, 36), 0, 1 + 0.01 * frame)
        cv2.imwrite(str(tmp_path / f"{frame:03d}.png"), cv2.warpAffine(image, zoom, (96, 72)))
    lifted = kinedepth.lift(tmp_path, queries=kinedepth.grid(4), model=untrained)
    centre = lifted.tracks.log_ratio[-1][[5, 6, 9, 10]]
    assert np.median(centre) == pytest.approx(-np.log(1.09), abs=0.02)


class TestRefusals:
    def test_an_unknown_method(self, untrained):
        with pytest.raises(KinedepthError, match="'fused' or 'chained'"):
            lift(blank_video(), model=untrained, method="guessed")

    def test_an_unknown_model(self):
        with pytest.raises(KinedepthError, match="Unknown model 'huge'"):
            lift(blank_video(), model="huge")

    def test_intrinsics_of_another_size(self):
        camera = Intrinsics(500, 500, 320, 180, 640, 360)
        with pytest.raises(KinedepthError, match="are for 640x360 pixels"):
            find_intrinsics(blank_video(), camera, None)

    def test_intrinsics_and_a_field_of_view_at_once(self):
        with pytest.raises(KinedepthError, match="not both"):
            find_intrinsics(blank_video(), (100, 100, 80, 60), 60.0)

    def test_queries_outside_the_frame(self, untrained):
        with pytest.raises(KinedepthError, match="lies outside"):
            lift(blank_video(), [[500, 20]], model=untrained)

    @pytest.mark.parametrize("name", ["cuda", "mps"])
    def test_a_device_that_is_not_there(self, name, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        with pytest.raises(KinedepthError, match=f"no {name} device"):
            find_device(name)
        assert find_device("auto").type == "cpu"
