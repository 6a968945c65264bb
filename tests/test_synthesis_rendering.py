import cv2
import numpy as np
import pytest
import torch

from kinedepth.errors import KinedepthError
from kinedepth.synthesis.clips import (
    CLIP_CONFIG,
    STATIC_SCENE_CONFIG,
    STILL_CAMERA_CONFIG,
    Clip,
    ClipRules,
    make_clip,
)
from kinedepth.synthesis.raycast import cast
from kinedepth.synthesis.rendering import pixel_positions, render, sample_photography
from kinedepth.synthesis.scene import sample_scenes
from kinedepth.synthesis.textures import sample_textures

WIDTH, HEIGHT, FRAMES = 160, 120, 16


def sample_image(image: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Bilinear values of ``image (H, W, ...)`` at pixels ``xy (N, 2)`` with centres at +0.5."""
    x, y = (xy - 0.5).astype(np.float32).T
    remapped = cv2.remap(image, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return remapped[0]


def world_points(clip: Clip) -> np.ndarray:
    """``(T, N, 3)`` places of the tracks in the world."""
    rotation, shift = clip.extrinsics_w2c[:, :3, :3], clip.extrinsics_w2c[:, :3, 3]
    return np.einsum("tji,tnj->tni", rotation, clip.tracks_xyz - shift[:, None])


@pytest.fixture(scope="module")
def clip() -> Clip:
    # Seed chosen for a scene with moving bodies in view and points that get hidden.
    return make_clip(3, FRAMES, WIDTH, HEIGHT, tracks=200)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def small() -> Clip:
    return make_clip(1, 4, 64, 48, "poor", tracks=20)


class TestRender:
    def test_depth_is_that_of_the_ray_through_each_pixel_centre(self):
        scenes = sample_scenes(seeded(9), 2, 3, aspect=0.75)
        textures = sample_textures(seeded(), scenes, 1)
        rgb, depth = render(
            scenes, 1, 2, 64, 48, textures, sample_photography(seeded(), scenes.frames)
        )
        assert rgb.shape == (48, 64, 3)
        assert rgb.dtype == np.uint8
        assert depth.dtype == np.float32
        place = pixel_positions(scenes, 1, 64, 48)
        expected = cast(scenes[1:2], place.expand(1, 3, -1, -1)).depth[0, 2].reshape(48, 64)
        close = np.isclose(depth, expected.numpy(), rtol=1e-3)
        assert close.mean() > 0.995

    def test_pixel_centres_span_the_image_from_minus_one_to_one(self):
        scenes = sample_scenes(seeded(), 1, 2, aspect=0.5)
        place = pixel_positions(scenes, 0, 4, 2)
        assert place[:4, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
        assert place[[0, 4], 1].tolist() == [-0.25, 0.25]

    def test_noise_differs_between_frames_but_not_between_renderings(self):
        scenes = sample_scenes(seeded(9), 1, 3, aspect=0.75)
        textures = sample_textures(seeded(), scenes, 0)
        photography = sample_photography(seeded(), 3)
        first, again, other = (
            render(scenes, 0, frame, 64, 48, textures, photography)[0] for frame in (1, 1, 2)
        )
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


class TestClip:
    def test_a_clip_has_the_shapes_and_types_it_promises(self, clip):
        assert clip.frames.shape == (FRAMES, HEIGHT, WIDTH, 3)
        assert clip.depth.shape == (FRAMES, HEIGHT, WIDTH)
        assert clip.tracks_xyz.shape == (FRAMES, 200, 3)
        assert clip.tracks_xy.shape == (FRAMES, 200, 2)
        assert clip.visibility.shape == (FRAMES, 200)
        assert clip.queries_xyt.shape == (200, 3)
        assert clip.extrinsics_w2c.shape == (FRAMES, 4, 4)
        assert clip.body.shape == (200,)
        floats = (clip.depth, clip.tracks_xyz, clip.tracks_xy, clip.queries_xyt)
        assert all(array.dtype == np.float32 for array in (*floats, clip.extrinsics_w2c))
        assert all(np.isfinite(array).all() for array in (*floats, clip.extrinsics_w2c))

    def test_a_visible_point_is_as_deep_as_the_rendered_surface_there(self, clip):
        errors = []
        for t in range(FRAMES):
            depth = clip.depth[t]
            spread = cv2.dilate(depth, np.ones((3, 3))) / cv2.erode(depth, np.ones((3, 3)))
            column, row = np.floor(clip.tracks_xy[t].T).astype(int)
            column, row = column.clip(0, WIDTH - 1), row.clip(0, HEIGHT - 1)
            smooth = clip.visibility[t] & (spread[row, column] < 1.1)
            # Inverse depth is linear on a plane, so it is what may be interpolated.
            rendered = 1 / sample_image(1 / depth, clip.tracks_xy[t])
            errors.append(np.abs(rendered / clip.tracks_xyz[t, :, 2] - 1)[smooth])
        errors = np.concatenate(errors)
        assert len(errors) > 1000
        assert np.median(errors) < 1e-4
        assert (errors < 0.01).mean() > 0.98

    def test_points_hidden_inside_the_frame_lie_behind_the_rendered_surface(self, clip):
        behind = []
        for t in range(FRAMES):
            x, y = clip.tracks_xy[t].T
            inside = (x > 0) & (x < WIDTH) & (y > 0) & (y < HEIGHT)
            hidden = inside & ~clip.visibility[t] & (clip.tracks_xyz[t, :, 2] > 0)
            column, row = x[hidden].astype(int), y[hidden].astype(int)
            behind.append(clip.tracks_xyz[t, hidden, 2] > clip.depth[t, row, column])
        behind = np.concatenate(behind)
        assert len(behind) > 10
        assert behind.mean() > 0.9  # not all: the nearest pixel may lie across an edge

    def test_tracks_are_projections_of_the_points_in_space(self, clip):
        seen = clip.visibility
        projected = clip.intrinsics.project(clip.tracks_xyz[seen])
        np.testing.assert_allclose(projected, clip.tracks_xy[seen], atol=1e-2)

    def test_points_on_still_bodies_stand_still_in_the_world(self, clip):
        world = world_points(clip)
        room = 2 * CLIP_CONFIG.moving_groups + CLIP_CONFIG.static_bodies
        still = (clip.body < CLIP_CONFIG.static_bodies) | (clip.body == room)
        assert still.any()
        assert np.abs(world - world[:1])[:, still].max() < 2e-3

    def test_extrinsics_are_rigid(self, clip):
        rotation = clip.extrinsics_w2c[:, :3, :3]
        identity = np.broadcast_to(np.eye(3), rotation.shape)
        np.testing.assert_allclose(rotation @ rotation.swapaxes(1, 2), identity, atol=1e-5)
        np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)

    def test_a_point_keeps_its_brightness_nearly(self, clip):
        def grey(t):
            return sample_image(clip.frames[t].astype(np.float32), clip.tracks_xy[t]).mean(-1)

        steps = [
            np.abs(grey(t + 1) - grey(t))[clip.visibility[t] & clip.visibility[t + 1]]
            for t in range(FRAMES - 1)
        ]
        contrast = clip.frames.std()
        assert np.median(np.concatenate(steps)) < 0.1 * contrast
        both = clip.visibility[0] & clip.visibility[-1]
        assert np.median(np.abs(grey(FRAMES - 1) - grey(0))[both]) < 0.3 * contrast

    def test_tracks_follow_the_texture_to_a_fraction_of_a_pixel(self, clip):
        errors = []
        for t in range(FRAMES - 1):
            both = clip.visibility[t] & clip.visibility[t + 1]
            before, after = (cv2.cvtColor(clip.frames[t + i], cv2.COLOR_RGB2GRAY) for i in (0, 1))
            start = (clip.tracks_xy[t, both] - 0.5)[:, None]
            found, _, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, winSize=(11, 11))
            errors.append(np.linalg.norm(found[:, 0] + 0.5 - clip.tracks_xy[t + 1, both], axis=1))
        assert np.median(np.concatenate(errors)) < 0.3

    def test_queries_are_visible_where_they_start(self, clip):
        x, y, frame = clip.queries_xyt.T
        index = np.arange(len(frame))
        assert (frame == 0).all()
        assert ((x > 0) & (x < WIDTH) & (y > 0) & (y < HEIGHT)).all()
        assert clip.visibility[frame.astype(int), index].all()
        start = clip.tracks_xy[frame.astype(int), index]
        np.testing.assert_allclose(start, clip.queries_xyt[:, :2], atol=0.02)

    def test_queries_may_start_in_random_frames(self):
        clip = make_clip(5, 6, 64, 48, tracks=50, queries="random")
        frame = clip.queries_xyt[:, 2].astype(int)
        assert set(frame) == set(range(6))
        assert clip.visibility[frame, np.arange(50)].all()
        start = clip.tracks_xy[frame, np.arange(50)]
        np.testing.assert_allclose(start, clip.queries_xyt[:, :2], atol=0.02)

    def test_a_clip_obeys_its_rules(self, clip):
        rules = ClipRules()
        assert clip.depth.min() > 0.8 * rules.nearest
        assert rules.visible[0] - 0.1 < clip.visibility.mean() < rules.visible[1] + 0.05
        seen = clip.visibility[-1]
        ratio = np.abs(np.log(clip.tracks_xyz[-1, seen, 2] / clip.tracks_xyz[0, seen, 2]))
        assert (ratio > 0.05).mean() > rules.changing - 0.1
        assert np.median(ratio) < rules.change + 0.1

    def test_a_seed_fixes_the_clip(self, small):
        again = make_clip(1, 4, 64, 48, "poor", tracks=20)
        assert np.array_equal(again.frames, small.frames)
        assert np.array_equal(again.tracks_xy, small.tracks_xy)
        other = make_clip(2, 4, 64, 48, "poor", tracks=20)
        assert not np.array_equal(other.tracks_xy, small.tracks_xy)

    def test_making_a_clip_leaves_the_number_of_threads_alone(self):
        threads = torch.get_num_threads()
        make_clip(1, 2, 32, 32, tracks=4)
        assert torch.get_num_threads() == threads

    def test_in_a_static_scene_every_point_stands_still(self):
        clip = make_clip(0, 6, 64, 48, config=STATIC_SCENE_CONFIG, tracks=50)
        world = world_points(clip)
        assert np.abs(world - world[:1]).max() < 2e-3

    def test_before_a_still_camera_only_bodies_move(self):
        clip = make_clip(0, 24, 64, 48, config=STILL_CAMERA_CONFIG, tracks=80)
        pose = clip.extrinsics_w2c
        np.testing.assert_allclose(pose, np.broadcast_to(pose[:1], pose.shape), atol=1e-6)
        moved = np.abs(clip.tracks_xyz[-1] - clip.tracks_xyz[0]).max(-1)
        assert (moved < 1e-4).any()
        assert (moved > 0.05).any()

    def test_progress_is_told_after_every_frame(self):
        told = []
        make_clip(1, 3, 32, 32, tracks=4, progress=lambda done, total: told.append((done, total)))
        assert told == [(1, 3), (2, 3), (3, 3)]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"frames": 1}, "two frames"),
            ({"width": 65}, "even number"),
            ({"height": 4096}, "2048"),
            ({"tracks": 0}, "one track"),
        ],
    )
    def test_impossible_sizes_are_refused(self, arguments, message):
        with pytest.raises(KinedepthError, match=message):
            make_clip(0, **{"frames": 2, "width": 64, "height": 48, **arguments})

    def test_rules_that_no_scene_obeys_are_an_error(self, monkeypatch):
        monkeypatch.setattr("kinedepth.synthesis.clips._ATTEMPTS", 3)
        with pytest.raises(KinedepthError, match="obeys the rules"):
            make_clip(0, 4, 64, 48, rules=ClipRules(visible=(1.1, 1.2)))
