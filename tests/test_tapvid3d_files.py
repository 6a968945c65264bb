"""Clips and predictions of TAPVid-3D read from their files."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from tapvid3d_small_clips import clip, still

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d_clips import ClipTruth, load_prediction, load_truth


def jpeg(width: int = 340, height: int = 256) -> bytes:
    done, data = cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))
    assert done
    return data.tobytes()


def save_truth(path: Path, truth: ClipTruth, **changes) -> Path:
    """A clip as the benchmark saves it, images in an array of objects; None leaves one out."""
    images = np.empty(len(truth.visible), object)
    images[:] = [jpeg()] * len(images)
    arrays = {
        "images_jpeg_bytes": images,
        "queries_xyt": truth.queries_xyt,
        "tracks_XYZ": truth.xyz,
        "visibility": truth.visible,
        "fx_fy_cx_cy": truth.intrinsics.as_vector(),
    } | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_a_truth_comes_back_from_its_file_with_the_size_of_its_images(tmp_path):
    truth, _ = clip()
    loaded = load_truth(save_truth(tmp_path / "clip.npz", truth))
    assert loaded.intrinsics == truth.intrinsics
    for name in ("xyz", "visible", "queries_xyt"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(truth, name))


def test_a_truth_file_is_refused_by_name_and_with_a_reason(tmp_path):
    truth, path = still(), tmp_path / "clip.npz"
    pieces = np.array([b"no image"] * 4)
    for change, sentence in (
        ({"visibility": None}, "lacks visibility"),
        ({"images_jpeg_bytes": pieces}, "not an image that can be decoded"),
        ({"tracks_XYZ": truth.xyz[:3]}, r"tracks_XYZ has shape \(3, 5, 3\)"),
        ({"tracks_XYZ": truth.xyz * np.nan}, "NaN or infinite"),
        ({"fx_fy_cx_cy": np.array([0.0, 1, 1, 1])}, "positive, finite focal lengths"),
        ({"queries_xyt": np.full((5, 3), 9)}, "not among 0 to 3"),
    ):
        with pytest.raises(KinedepthError, match=f"clip.npz.*{sentence}"):
            load_truth(save_truth(path, truth, **change))


def test_a_prediction_comes_back_from_its_file(tmp_path):
    truth, prediction = clip()
    np.savez(tmp_path / "p.npz", tracks_XYZ=prediction.xyz, visibility=prediction.visible)
    loaded = load_prediction(tmp_path / "p.npz", truth)
    np.testing.assert_array_equal(loaded.xyz, prediction.xyz)
    np.testing.assert_array_equal(loaded.visible, prediction.visible)


def test_a_prediction_file_is_refused_by_name_and_with_a_reason(tmp_path):
    truth, path = still(), tmp_path / "p.npz"
    for arrays, sentence in (
        ({"tracks_XYZ": truth.xyz}, "lacks visibility"),
        ({"other": truth.xyz}, "lacks tracks_XYZ and visibility"),
        ({"tracks_XYZ": truth.xyz[..., :2], "visibility": truth.visible}, "needs shape"),
        ({"tracks_XYZ": truth.xyz * np.nan, "visibility": truth.visible}, "NaN"),
        ({"tracks_XYZ": truth.xyz[:3], "visibility": truth.visible[:3]}, "3 frames and 5 points"),
        ({"tracks_XYZ": truth.xyz[:, :4], "visibility": truth.visible[:, :4]}, "and 4 points"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(KinedepthError, match=f"p.npz.*{sentence}"):
            load_prediction(path, truth)


def test_truncated_and_missing_files_are_refused(tmp_path):
    truth, _ = clip()
    path = save_truth(tmp_path / "clip.npz", truth)
    path.write_bytes(path.read_bytes()[:-500])
    for load in (load_truth, load_prediction):
        with pytest.raises(KinedepthError, match="damaged"):
            load(path)
        with pytest.raises(KinedepthError, match="There is no file"):
            load(tmp_path / "none.npz")
