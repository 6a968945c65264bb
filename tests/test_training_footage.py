"""Footage for RollingDepth: what is read of it, which snippets are drawn, how they are scaled."""

import dataclasses
import sys
import types

import cv2
import numpy as np
import pytest
import torch

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_truth import CameraPath
from kinedepth.training.footage import ClipFootage, ShrunkFootage, shared_view
from kinedepth.training.footage_folders import find_stills, find_videos
from kinedepth.training.hypersim import ray_length_to_depth
from kinedepth.training.rendered_clips import TrainingClip, read_clips, write_training_clips
from kinedepth.training.snippets import (
    check_footage,
    draw_snippets,
    normalise_snippets,
    squeeze_range,
)
from kinedepth.training.tartanair import find_tartanair, read_poses


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered_clip(frames=40, height=24, width=32, cameras=None):
    """Every pixel of frame t has brightness and disparity t + 1, plus its column / 100."""
    disparity = np.arange(1, frames + 1)[:, None, None] + np.arange(width) / 100
    disparity = np.broadcast_to(disparity, (frames, height, width))
    return TrainingClip(
        name="numbered",
        frames=np.repeat(np.floor(disparity)[..., None], 3, axis=-1).astype(np.uint8),
        disparity=disparity.astype(np.float32),
        flow=None,
        intrinsics=None if cameras is None else np.array([[16, 0, 16], [0, 16, 12], [0, 0, 1.0]]),
        camera_to_world=cameras,
        static=cameras is not None,
    )


def drawn_frames(footage, length, count=200, longest=25):
    """Which frames each snippet shows, read from their brightness."""
    batch = draw_snippets(generator(), [footage], count, length, 8, longest)
    return ((batch.images[:, :, 0, 0, 0] + 1) * 127.5 - 1).round()


def write_tartanair(folder, poses, size=(48, 64), depth=None):
    for name in ("image_left", "depth_left"):
        (folder / name).mkdir(parents=True)
    for index in range(len(poses)):
        image = np.full((*size, 3), (index, 10, 20), np.uint8)  # Blue, green, red.
        cv2.imwrite(str(folder / "image_left" / f"{index:06d}_left.png"), image)
        values = np.full(size, 2.0, np.float32) if depth is None else depth[index]
        np.save(folder / "depth_left" / f"{index:06d}_left_depth.npy", values)
    np.savetxt(folder / "pose_left.txt", poses)


class TestSnippets:
    def test_frames_of_a_snippet_are_evenly_spaced_and_of_all_dilations_there_is_room_for(self):
        frames = drawn_frames(ClipFootage(numbered_clip()), 3)
        steps = frames.diff(dim=1)
        assert torch.allclose(steps[:, 0], steps[:, 1])
        assert set(steps[:, 0].round().int().tolist()) == set(range(1, 20))
        assert frames.min() >= 0
        assert frames.max() <= 39.01

    def test_the_longest_dilation_is_not_exceeded(self):
        steps = drawn_frames(ClipFootage(numbered_clip()), 2, longest=4).diff(dim=1)
        assert set(steps.round().int().flatten().tolist()) == {1, 2, 3, 4}

    def test_a_snippet_whose_last_frame_sees_too_little_of_the_first_is_shortened(self):
        """A wall at depth 1 fills the view, 2 wide; the camera moves 0.1 sideways a frame. So of
        the first frame's view 1 - 0.05 n is left after n frames, 30 % after 14."""
        poses = np.tile(np.eye(4), (40, 1, 1))
        poses[:, 0, 3] = 0.1 * np.arange(40)
        clip = numbered_clip(cameras=poses)
        wall = dataclasses.replace(clip, disparity=np.ones_like(clip.disparity))
        spans = drawn_frames(ClipFootage(wall), 3).diff(dim=1).sum(dim=1)
        assert 8 <= spans.max() <= 14

    def test_image_and_depth_are_cropped_and_mirrored_alike(self):
        clip = numbered_clip()
        ramp = np.broadcast_to(np.arange(1, 33) * 4, clip.disparity.shape)
        clip = dataclasses.replace(
            clip,
            frames=np.repeat(ramp[..., None], 3, axis=-1).astype(np.uint8),
            disparity=ramp.astype(np.float32),
        )
        batch = draw_snippets(generator(), [ClipFootage(clip)], 16, 2, 16)
        slopes = batch.images[:, :, 0].diff(dim=-1).mean(dim=(1, 2, 3))
        assert (batch.depth.diff(dim=-1).mean(dim=(1, 2, 3)).sign() == slopes.sign()).all()
        assert slopes.sign().unique().tolist() == [-1, 1]
        assert batch.images.shape == (16, 2, 3, 16, 16)
        assert batch.depth.shape == batch.known.shape == (16, 2, 16, 16)

    def test_single_frames_come_from_stills_and_longer_snippets_never(self):
        still = dataclasses.replace(
            ClipFootage(dataclasses.replace(numbered_clip(), frames=np.zeros((40, 24, 32, 3)))),
            stills=True,
        )
        both = [still, ClipFootage(numbered_clip())]
        dark = draw_snippets(generator(), both, 20, 1, 8).images == -1
        assert dark.all()
        assert (draw_snippets(generator(), both, 20, 2, 8).images > -1).all()

    def test_a_seed_fixes_a_batch(self):
        footage = [ClipFootage(numbered_clip())]
        first, again, other = (draw_snippets(generator(s), footage, 4, 2, 8) for s in (1, 1, 2))
        assert torch.equal(first.images, again.images)
        assert torch.equal(first.depth, again.depth)
        assert not torch.equal(first.images, other.images)


class TestScale:
    def test_the_percentiles_of_all_frames_together_become_minus_one_and_one(self):
        disparity = np.linspace(1, 3, 2 * 40 * 50).reshape(1, 2, 40, 50).astype(np.float32)
        depth, known = normalise_snippets(disparity)
        low, high = np.percentile(disparity, [2, 98])
        expected = np.clip((disparity - low) / (high - low) * 2 - 1, -1, 1)
        np.testing.assert_allclose(depth, expected, atol=1e-5)
        assert known.all()
        # The second frame is nearer than the first, and stays so.
        assert depth[0, 0].mean() < -0.4
        assert depth[0, 1].mean() > 0.4

    def test_scale_and_shift_of_disparity_do_not_matter(self):
        disparity = np.random.default_rng(0).uniform(0.1, 1, (3, 2, 8, 8)).astype(np.float32)
        first, _ = normalise_snippets(disparity)
        second, _ = normalise_snippets(7 * disparity + 2)
        np.testing.assert_allclose(first, second, atol=1e-4)

    def test_what_is_unknown_counts_neither_for_the_range_nor_in_it(self):
        disparity = np.linspace(1, 3, 400).reshape(1, 1, 20, 20).astype(np.float32)
        alone, _ = normalise_snippets(disparity[:, :, 1:])
        disparity[:, :, 0] = 0
        depth, known = normalise_snippets(disparity)
        np.testing.assert_allclose(depth[:, :, 1:], alone, atol=1e-6)
        assert not known[:, :, 0].any()
        assert (depth[:, :, 0] == -1).all()

    def test_a_wall_that_faces_the_camera_has_no_range(self):
        depth, _ = normalise_snippets(np.full((1, 2, 8, 8), 0.3, np.float32))
        assert not depth.any()

    def test_a_squeezed_range_is_smaller_and_frames_are_a_little_off_each_other(self):
        depth = torch.linspace(-1, 1, 64).reshape(8, 8).expand(200, 3, 8, 8)
        squeezed = squeeze_range(generator(), depth)
        assert squeezed.abs().max() <= 1
        spans = squeezed.amax(dim=(2, 3)) - squeezed.amin(dim=(2, 3))
        assert spans.min() > 0.5
        assert spans.min() < 0.8
        assert spans.max() > 1.8
        means = squeezed.mean(dim=(2, 3))
        apart = (means[:, 0] - means[:, 1]).abs()
        assert 0 < apart.median() < 0.15
        # Order is kept: nothing but scale and shift.
        assert (squeezed.flatten(2).diff(dim=-1) >= 0).all()


class TestShrinking:
    def test_planes_and_their_cameras_stay_what_they_are(self):
        """Disparity is affine in the pixel, so block means are its values at block centres."""
        poses = np.tile(np.eye(4), (40, 1, 1))
        small = ShrunkFootage(ClipFootage(numbered_clip(cameras=poses)), 4)
        assert small.size == (6, 8)
        _, disparity = small.read(3)
        centres = 4 * (np.arange(8) + 0.5) - 0.5
        np.testing.assert_allclose(disparity[0], 4 + centres / 100, rtol=1e-5)
        camera = small.cameras.intrinsics[0]
        assert (camera.fx, camera.cx, camera.cy, camera.width) == (4, 4, 3, 8)

    def test_a_block_with_an_unknown_pixel_is_unknown(self):
        clip = numbered_clip()
        clip = dataclasses.replace(clip, disparity=clip.disparity.copy())
        clip.disparity[:, 5, 9] = np.nan
        _, disparity = ShrunkFootage(ClipFootage(clip), 4).read(0)
        assert (disparity == 0).sum() == 1
        assert disparity[1, 2] == 0

    def test_nothing_left_is_told(self):
        with pytest.raises(KinedepthError, match="cannot be shrunk by 25"):
            ShrunkFootage(ClipFootage(numbered_clip()), 25)


class TestSharedView:
    def test_of_what_moves_sideways_the_rest_is_left(self):
        poses = np.tile(np.eye(4), (2, 1, 1))
        poses[1, 0, 3] = 0.5  # The view is 2 wide at depth 1.
        cameras = CameraPath([Intrinsics(16, 16, 16, 16, 32, 32)] * 2, poses)
        wall = np.ones((32, 32), np.float32)
        assert shared_view(wall, cameras, 0, 1) == pytest.approx(0.75, abs=0.05)
        assert shared_view(wall * 1e-6, cameras, 0, 1) == 1  # Far away nothing moves.

    def test_a_camera_that_turned_around_sees_nothing_of_it(self):
        poses = np.stack([np.eye(4), np.diag([-1.0, 1.0, -1.0, 1.0])])
        cameras = CameraPath([Intrinsics(16, 16, 16, 16, 32, 32)] * 2, poses)
        assert shared_view(np.ones((32, 32), np.float32), cameras, 0, 1) == 0


class TestTartanAir:
    def test_a_camera_that_flies_forward_brings_the_wall_nearer(self, tmp_path):
        """Along x of TartanAir's axes, with no rotation: z in ours."""
        poses = [[0.5 * t, 0, 0, 0, 0, 0, 1] for t in range(3)]
        depth = [np.full((48, 64), 4 - 0.5 * t, np.float32) for t in range(3)]
        write_tartanair(tmp_path / "office" / "Easy" / "P001", poses, depth=depth)
        (sequence,) = find_videos(tmp_path)
        assert sequence.name == "office/Easy/P001"
        image, disparity = sequence.read(2)
        assert image[0, 0].tolist() == [20, 10, 2]  # RGB.
        np.testing.assert_allclose(disparity, 1 / 3)
        camera = sequence.cameras.intrinsics[0]
        assert (camera.fx, camera.cx, camera.cy) == (32, 32, 24)
        first_to_last = (
            np.linalg.inv(sequence.cameras.camera_to_world[2])
            @ (sequence.cameras.camera_to_world[0])
        )
        np.testing.assert_allclose(first_to_last @ [0, 0, 4, 1], [0, 0, 3, 1], atol=1e-12)

    def test_right_and_down_are_right_and_down(self, tmp_path):
        write_tartanair(tmp_path, [[0, 0, 0, 0, 0, 0, 1], [0, 2, 3, 0, 0, 0, 1]])
        poses = read_poses(tmp_path / "pose_left.txt")
        moved = np.linalg.inv(poses[0]) @ poses[1]
        np.testing.assert_allclose(moved[:3, 3], [2, 3, 0], atol=1e-12)

    def test_a_turn_to_the_right_is_one_about_the_axis_down(self, tmp_path):
        half = np.sqrt(0.5)
        write_tartanair(tmp_path, [[0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, half, half]])
        poses = read_poses(tmp_path / "pose_left.txt")
        ahead = np.linalg.inv(poses[0]) @ poses[1] @ [0, 0, 1, 0]
        np.testing.assert_allclose(ahead[:3], [1, 0, 0], atol=1e-12)

    def test_sky_is_far_and_what_is_no_depth_is_unknown(self, tmp_path):
        depth = np.full((48, 64), 1e4, np.float32)
        depth[0], depth[1], depth[2] = np.nan, 0, np.inf
        write_tartanair(tmp_path, [[0, 0, 0, 0, 0, 0, 1]], depth=[depth])
        _, disparity = find_tartanair(tmp_path)[0].read(0)
        assert not disparity[:3].any()
        assert (disparity[3:] == np.float32(1e-4)).all()

    def test_what_is_missing_is_told(self, tmp_path):
        write_tartanair(tmp_path / "P000", [[0] * 6 + [1]] * 3)
        np.savetxt(tmp_path / "P000" / "pose_left.txt", [[0] * 6 + [1]] * 2)
        with pytest.raises(KinedepthError, match="3 images but 2 poses"):
            find_tartanair(tmp_path)
        (tmp_path / "P000" / "pose_left.txt").write_text("1 2 3\n")
        with pytest.raises(KinedepthError, match="seven numbers a line"):
            find_tartanair(tmp_path)
        (tmp_path / "P000" / "depth_left" / "000001_left_depth.npy").unlink()
        with pytest.raises(KinedepthError, match="lacks depth_left"):
            find_tartanair(tmp_path)
        with pytest.raises(KinedepthError, match="no folder"):
            find_videos(tmp_path / "nowhere")
        with pytest.raises(KinedepthError, match="neither training clips"):
            find_videos(tmp_path / "P000" / "image_left")


class TestHypersim:
    def test_length_of_a_ray_becomes_depth(self):
        """A wall at 3 m: the ray to the middle of the side edge of 60 degrees has 3 / cos 30."""
        x = (np.arange(64) + 0.5 - 32) / (32 / np.tan(np.radians(30)))
        y = (np.arange(48) + 0.5 - 24) / (32 / np.tan(np.radians(30)))
        length = 3 * np.sqrt(1 + x**2 + y[:, None] ** 2)
        np.testing.assert_allclose(ray_length_to_depth(length), 3, rtol=1e-6)
        assert length[24, 63] == pytest.approx(3 / np.cos(np.radians(30)), rel=0.02)

    @pytest.fixture
    def scene(self, tmp_path, monkeypatch):
        """Stored with numpy: the library that reads the real files is not needed to test this."""

        class File:
            def __init__(self, path, mode):
                self._path = path

            def __enter__(self):
                try:
                    return {"dataset": np.load(self._path)}
                except ValueError as error:
                    raise OSError("no HDF5") from error

            def __exit__(self, *error):
                pass

        monkeypatch.setitem(sys.modules, "h5py", types.SimpleNamespace(File=File))
        images = tmp_path / "ai_001_001" / "images"
        preview, geometry = (
            images / f"scene_cam_00_{kind}" for kind in ("final_preview", "geometry_hdf5")
        )
        preview.mkdir(parents=True)
        geometry.mkdir()
        for index in (0, 7):
            cv2.imwrite(
                str(preview / f"frame.{index:04d}.tonemap.jpg"), np.full((48, 64, 3), 90, np.uint8)
            )
        length = np.full((48, 64), 2.0, np.float16)
        length[:4] = np.nan
        with (geometry / "frame.0000.depth_meters.hdf5").open("wb") as file:
            np.save(file, length)
        return tmp_path

    def test_images_with_depth_are_stills(self, scene):
        (camera,) = find_stills(scene)
        assert camera.name == "ai_001_001 scene_cam_00"
        assert camera.stills
        assert len(camera) == 1
        image, disparity = camera.read(0)
        assert image.shape == (48, 64, 3)
        assert not disparity[:4].any()
        assert disparity[24, 32] == pytest.approx(0.5, rel=1e-3)
        assert disparity[24, 63] > 0.55  # A ray to the side is longer than its depth.

    def test_stills_make_no_snippets_of_two(self, scene):
        with pytest.raises(KinedepthError, match="no footage for snippets of 2 frames"):
            check_footage(find_stills(scene), (1, 2), 16)

    def test_what_is_missing_or_damaged_is_told(self, scene, tmp_path, monkeypatch):
        (camera,) = find_stills(scene)
        camera.depths[0].write_bytes(b"half")
        with pytest.raises(KinedepthError, match="not readable depth"):
            camera.read(0)
        monkeypatch.setitem(sys.modules, "h5py", None)
        with pytest.raises(KinedepthError, match=r"kinedepth\[hypersim\]"):
            camera.read(0)
        with pytest.raises(KinedepthError, match="holds no images of Hypersim"):
            find_stills(scene / "ai_001_001" / "images" / "scene_cam_00_geometry_hdf5")


def test_rendered_clips_are_footage_with_cameras(tmp_path):
    write_training_clips(tmp_path, 1, frames=4, width=40, height=32, seed=1, scenes="static")
    (footage,) = find_videos(tmp_path, shrink=2)
    (clip,) = read_clips(tmp_path)
    assert footage.size == (16, 20)
    assert footage.static
    assert len(footage) == 4
    assert footage.cameras.intrinsics[0].fx == pytest.approx(clip.intrinsics[0, 0] / 2)
    image, disparity = footage.read(1)
    assert image.shape == (16, 20, 3)
    assert (disparity > 0).all()


@pytest.mark.parametrize(
    ("lengths", "size", "sentence"),
    [((1,), 12, "multiples of 8; got 12"), ((1,), 32, "too small"), ((41,), 8, "no footage")],
)
def test_footage_that_does_not_fit_is_told(lengths, size, sentence):
    with pytest.raises(KinedepthError, match=sentence):
        check_footage([ClipFootage(numbered_clip())], lengths, size)
