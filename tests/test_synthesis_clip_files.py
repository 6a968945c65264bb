import json

import av
import cv2
import numpy as np
import pytest

from kinedepth._safe_npz import load_arrays, load_tapvid3d
from kinedepth.errors import KinedepthError
from kinedepth.synthesis.clip_files import read_clip_depth, read_clip_truth, write_clip, write_clips
from kinedepth.synthesis.clips import Clip, make_clip


@pytest.fixture(scope="module")
def small() -> Clip:
    return make_clip(1, 4, 64, 48, "poor", tracks=20)


class TestClipFiles:
    @pytest.fixture
    def folder(self, small, tmp_path):
        write_clip(small, tmp_path, "one")
        return tmp_path

    def test_a_clip_becomes_four_whole_files(self, folder):
        names = {path.name for path in folder.iterdir()}
        assert names == {"one.mp4", "one.npz", "one_depth.npz", "one.json"}

    def test_the_truth_is_a_tapvid3d_clip(self, folder, small):
        arrays = load_tapvid3d(folder / "one.npz")
        np.testing.assert_array_equal(arrays["tracks_XYZ"], small.tracks_xyz)
        np.testing.assert_array_equal(arrays["visibility"], small.visibility)
        np.testing.assert_array_equal(arrays["queries_xyt"], small.queries_xyt)
        np.testing.assert_allclose(arrays["fx_fy_cx_cy"], small.intrinsics.as_vector())
        np.testing.assert_array_equal(arrays["extrinsics_w2c"], small.extrinsics_w2c)
        image = cv2.imdecode(np.frombuffer(arrays["images_jpeg_bytes"][2], np.uint8), 1)
        difference = image[..., ::-1].astype(float) - small.frames[2]
        assert np.abs(difference).mean() < 5

    def test_the_truth_reads_back(self, folder, small):
        truth = read_clip_truth(folder / "one.npz")
        np.testing.assert_array_equal(truth.tracks_xy, small.tracks_xy)
        np.testing.assert_array_equal(truth.tracks_xyz, small.tracks_xyz)
        np.testing.assert_array_equal(truth.visibility, small.visibility)
        assert truth.intrinsics == small.intrinsics
        assert truth.extrinsics_w2c is not None

    def test_a_clip_without_2d_tracks_reads_as_projections(self, folder, small):
        with np.load(folder / "one.npz", allow_pickle=True) as stored:
            arrays = {k: stored[k] for k in stored if k not in ("tracks_xy", "extrinsics_w2c")}
        np.savez(folder / "plain.npz", **arrays)
        truth = read_clip_truth(folder / "plain.npz")
        assert truth.extrinsics_w2c is None
        seen = small.visibility
        np.testing.assert_allclose(truth.tracks_xy[seen], small.tracks_xy[seen], atol=1e-2)

    def test_depth_reads_back_to_half_precision(self, folder, small):
        np.testing.assert_allclose(
            read_clip_depth(folder / "one_depth.npz"), small.depth, rtol=1e-3
        )
        assert load_arrays(folder / "one_depth.npz")["kind"] == "metric"
        np.savez(folder / "other.npz", x=np.zeros(3))
        with pytest.raises(KinedepthError, match="no array depth"):
            read_clip_depth(folder / "other.npz")

    def test_the_video_shows_all_frames(self, folder, small):
        with av.open(str(folder / "one.mp4")) as container:
            frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert len(frames) == 4
        assert np.abs(frames[1].astype(float) - small.frames[1]).mean() < 6

    def test_the_provenance_tells_what_the_clip_was_made_from(self, folder):
        told = json.loads((folder / "one.json").read_text())
        assert told["seed"] == 1
        assert told["richness"] == "poor"
        assert (told["frames"], told["width"], told["height"], told["tracks"]) == (4, 64, 48, 20)
        assert told["scene"]["camera_still"] == 0.0


class TestClipSets:
    def write(self, folder, count=2, **arguments):
        return write_clips(
            folder, count, **{"frames": 2, "width": 32, "height": 32, "tracks": 4, **arguments}
        )

    def test_a_set_goes_on_where_it_stopped(self, tmp_path):
        folder = tmp_path / "new" / "set"
        assert self.write(folder, 1) == ["clip0000"]
        assert self.write(folder, 3) == ["clip0001", "clip0002"]
        (folder / "clip0001.json").unlink()
        before = (folder / "clip0000.npz").stat().st_mtime_ns
        assert self.write(folder, 3) == ["clip0001"]
        assert (folder / "clip0000.npz").stat().st_mtime_ns == before

    def test_clips_of_a_set_and_sets_of_other_seeds_differ(self, tmp_path):
        self.write(tmp_path / "a")
        self.write(tmp_path / "b", seed=1)
        paths = [tmp_path / "a/clip0000.npz", tmp_path / "a/clip0001.npz"]
        first, second, other = (
            read_clip_truth(path).tracks_xyz for path in (*paths, tmp_path / "b/clip0000.npz")
        )
        assert not np.array_equal(first, second)
        assert not np.array_equal(first, other)

    def test_mixed_sets_alternate_between_rich_and_poor(self, tmp_path):
        self.write(tmp_path, richness="mixed")
        looks = [
            json.loads((tmp_path / f"clip000{i}.json").read_text())["richness"] for i in (0, 1)
        ]
        assert looks == ["rich", "poor"]

    def test_a_folder_with_clips_of_other_settings_is_refused(self, tmp_path):
        self.write(tmp_path, 1)
        with pytest.raises(KinedepthError, match="other settings"):
            self.write(tmp_path, 1, seed=4)

    def test_progress_counts_the_frames_of_all_clips(self, tmp_path):
        told = []
        self.write(tmp_path, 2, progress=lambda done, total: told.append((done, total)))
        assert told[-1] == (4, 4)
        assert [done for done, _ in told] == sorted(done for done, _ in told)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"count": 0}, "one clip"),
            ({"width": 31}, "even number"),
            ({"richness": "bland"}, "rich, poor or mixed"),
            ({"seed": -1}, "seed"),
        ],
    )
    def test_impossible_requests_are_refused_before_anything_is_written(
        self, tmp_path, arguments, message
    ):
        with pytest.raises(KinedepthError, match=message):
            self.write(tmp_path / "set", **arguments)
        assert not (tmp_path / "set").exists()

    def test_a_file_in_place_of_the_folder_is_refused(self, tmp_path):
        (tmp_path / "set").write_text("")
        with pytest.raises(KinedepthError, match="is a file"):
            self.write(tmp_path / "set")
