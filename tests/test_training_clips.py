"""Clips to train video depth on: exact flow, whole files, one sentence for what is wrong."""

import json

import numpy as np
import pytest
import torch

from kinedepth.errors import KinedepthError
from kinedepth.synthesis.clips import CLIP_CONFIG, ClipRules, find_scene
from kinedepth.synthesis.rendering import pixel_positions
from kinedepth.synthesis.surface_flow import surface_flow
from kinedepth.synthesis.trajectories import follow
from kinedepth.training.rendered_clips import read_clips, write_training_clips


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips")
    write_training_clips(path, 2, frames=4, width=56, height=42, seed=3)
    return path


def test_flow_is_where_the_tracks_of_the_same_pixels_go():
    """Two ways to the same truth: the tracker of scene points, and the flow of pixels."""
    width, height, frame = 40, 30, 2
    scenes, _ = find_scene(5, 6, height / width, CLIP_CONFIG, ClipRules())
    flow = surface_flow(scenes, 0, frame, width, height)
    here = pixel_positions(scenes, 0, width, height)
    tracks = follow(scenes, here[None], torch.full((1, len(here)), frame))
    moved = (tracks.position[0, frame + 1] - here) * width / 2
    assert torch.equal(torch.from_numpy(flow.visible.ravel()), tracks.visible[0, frame + 1])
    seen = flow.visible
    np.testing.assert_allclose(
        flow.flow[seen], moved.numpy().reshape(height, width, 2)[seen], atol=2e-4
    )
    assert 0.5 < seen.mean() < 1


def test_in_a_still_scene_the_flow_is_what_depth_and_cameras_say(folder):
    clip = next(clip for clip in read_clips(folder) if clip.static)
    height, width = clip.size
    to_next = np.linalg.inv(clip.camera_to_world[1]) @ clip.camera_to_world[0]
    rows, columns = np.mgrid[:height, :width] + 0.5
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(clip.intrinsics).T
    points = rays / clip.disparity[0, ..., None].astype(float)
    projected = (points @ to_next[:3, :3].T + to_next[:3, 3]) @ clip.intrinsics.T
    expected = projected[..., :2] / projected[..., 2:] - np.stack([columns, rows], axis=-1)
    seen = np.isfinite(clip.flow[0, ..., 0])
    assert seen.mean() > 0.5
    # Depth and flow are kept in half precision.
    np.testing.assert_allclose(clip.flow[0][seen], expected[seen], atol=0.01)


def test_a_seed_fixes_the_clips_and_whole_ones_are_kept(folder, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert write_training_clips(folder, 2, frames=4, width=56, height=42, seed=3) == []
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps
    write_training_clips(tmp_path, 1, frames=4, width=56, height=42, seed=3)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == before[path.name]


def test_every_other_clip_of_a_mixed_set_is_static(folder):
    assert [clip.static for clip in read_clips(folder)] == [True, False]


def test_other_settings_for_clips_that_are_there_are_told(folder):
    with pytest.raises(KinedepthError, match="made with other settings"):
        write_training_clips(folder, 2, frames=5, width=56, height=42, seed=3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"count": 0}, "at least one clip"),
        ({"frames": 1}, "at least two frames"),
        ({"width": 55}, "even number"),
        ({"scenes": "none"}, "static, moving, mixed or rooms"),
        ({"seed": -1}, "whole number"),
    ],
)
def test_what_cannot_be_rendered_is_told(options, sentence, tmp_path):
    with pytest.raises(KinedepthError, match=sentence):
        write_training_clips(tmp_path, **{"count": 1, **options})


class TestReading:
    def copy(self, folder, tmp_path):
        for path in folder.glob("clip0000*"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        return tmp_path

    def test_a_folder_without_clips_is_told(self, tmp_path):
        with pytest.raises(KinedepthError, match="kinedepth train clips"):
            read_clips(tmp_path)
        with pytest.raises(KinedepthError, match="There is no folder"):
            read_clips(tmp_path / "nowhere")

    def test_a_clip_without_its_last_file_does_not_count(self, folder, tmp_path):
        copy = self.copy(folder, tmp_path)
        (copy / "clip0000.json").unlink()
        with pytest.raises(KinedepthError, match="holds no training clips"):
            read_clips(copy)

    @pytest.mark.parametrize("kind", ["frames", "disparity", "flow"])
    def test_a_file_that_was_cut_off_is_named(self, folder, tmp_path, kind):
        path = self.copy(folder, tmp_path) / f"clip0000_{kind}.npy"
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(KinedepthError, match=f"clip0000_{kind}.npy is not a readable array"):
            read_clips(tmp_path)

    @pytest.mark.parametrize("kind", ["frames", "disparity", "flow"])
    def test_arrays_that_do_not_belong_together_are_told(self, folder, tmp_path, kind):
        path = self.copy(folder, tmp_path) / f"clip0000_{kind}.npy"
        np.save(path, np.load(path)[:, 1:])
        if kind == "frames":  # The frames say how large the others have to be.
            kind = "disparity"
        with pytest.raises(KinedepthError, match=f"{kind} of .*has shape"):
            read_clips(tmp_path)

    def test_clips_from_elsewhere_need_neither_flow_nor_cameras(self, folder, tmp_path):
        copy = self.copy(folder, tmp_path)
        (copy / "clip0000_flow.npy").unlink()
        (copy / "clip0000.json").write_text(json.dumps({"source": "elsewhere"}))
        (clip,) = read_clips(copy)
        assert clip.flow is None
        assert clip.intrinsics is None
        assert not clip.static


def test_in_rooms_nothing_moves_and_the_range_of_depth_changes_twofold(tmp_path):
    write_training_clips(tmp_path, 1, frames=24, width=32, height=32, seed=5, scenes="rooms")
    (clip,) = read_clips(tmp_path)
    assert clip.static
    low, high = np.percentile(clip.disparity.astype(np.float32), [2, 98], axis=(1, 2))
    narrow, wide = np.percentile(high - low, [5, 95])
    # The rule looks at fewer rays than there are pixels.
    assert wide / narrow > 1.9
    with pytest.raises(KinedepthError, match="other settings"):
        write_training_clips(tmp_path, 1, frames=24, width=32, height=32, seed=5, scenes="static")
