"""Dense depth from Python."""

import numpy as np
import pytest
from small_depth_runs import Brightness
from vda_reference import moving_picture

import kinedepth
from kinedepth.dense.registry import DepthOptions, make_depth_model
from kinedepth.depth_files import load_depth_video
from kinedepth.errors import KinedepthError
from kinedepth.video import Video


class TestEstimateDepth:
    def test_any_object_that_predicts_is_a_model(self):
        pictures = moving_picture(5)
        progress = []
        found = kinedepth.estimate_depth(
            Video.from_array(pictures, fps=12), Brightness(), progress=lambda *p: progress.append(p)
        )
        assert np.array_equal(found.depth, pictures.mean(axis=-1, dtype=np.float32))
        assert (found.kind, found.per_frame) == ("affine_invariant", True)
        assert found.fps == pytest.approx(12)
        assert progress[-1] == (5, 5)

    def test_what_is_too_large_for_memory_lies_on_disk(self, monkeypatch):
        video = Video.from_array(moving_picture(5))
        small = kinedepth.estimate_depth(video, Brightness()).depth
        monkeypatch.setattr("kinedepth._frame_store.LARGEST_IN_MEMORY", 1000)
        large = kinedepth.estimate_depth(video, Brightness()).depth
        assert isinstance(large, np.memmap)
        assert not isinstance(small, np.memmap)
        assert np.array_equal(large, small)

    def test_a_folder_keeps_the_depth(self, tmp_path):
        video = Video.from_array(moving_picture(5))
        for _ in range(2):  # The second time it is replaced.
            found = kinedepth.estimate_depth(video, Brightness(), folder=tmp_path / "kept")
        assert isinstance(found.depth, np.memmap)
        kept = load_depth_video(tmp_path / "kept" / "depth.npz")
        assert np.array_equal(kept.depth, found.depth)

    @pytest.mark.parametrize("kept", [False, True])
    def test_a_model_that_gives_too_few_frames_is_told(self, tmp_path, kept):
        video = Video.from_array(moving_picture(5))
        folder = tmp_path / "kept" if kept else None
        with pytest.raises(KinedepthError, match="depth of 3 of 5 frames"):
            kinedepth.estimate_depth(video, Brightness(short_by=2), folder=folder)
        assert not kept or list(folder.iterdir()) == []

    def test_options_that_do_not_exist_are_told_with_those_that_do(self):
        video = Video.from_array(moving_picture(2))
        with pytest.raises(KinedepthError, match=r"no option 'size' .*weights, input_size"):
            kinedepth.estimate_depth(video, size=3)
        with pytest.raises(KinedepthError, match="takes no options; got input_size"):
            kinedepth.estimate_depth(video, Brightness(), input_size=3)

    def test_a_model_can_be_made_once_for_many_videos(self, things):
        options = DepthOptions(weights=things / "tiny.pth", input_size=28)
        model = make_depth_model("vda-small", options)
        found = [
            kinedepth.estimate_depth(Video.from_array(moving_picture(count)), model)
            for count in (3, 5)
        ]
        assert [len(depth) for depth in found] == [3, 5]
