import io
import os
import pickle
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.lib import format as npy_format
from video_clips import HEIGHT, WIDTH, assert_close, cut, picture

from kinedepth._safe_npz import load_arrays, load_tapvid3d
from kinedepth.errors import KinedepthError
from kinedepth.video import load_video


def tapvid3d_clip(frames: int = 4, points: int = 3) -> dict[str, np.ndarray]:
    images = np.empty(frames, dtype=object)
    for index in range(frames):
        images[index] = cv2.imencode(".jpg", picture(index)[..., ::-1])[1].tobytes()
    return {
        "images_jpeg_bytes": images,
        "queries_xyt": np.ones((points, 3), np.float32),
        "tracks_XYZ": np.ones((frames, points, 3), np.float32),
        "visibility": np.ones((frames, points), bool),
        "fx_fy_cx_cy": np.array([80.0, 81.0, 48.0, 32.0]),
    }


def test_a_tapvid3d_clip_brings_its_frames_and_intrinsics(tmp_path):
    path = tmp_path / "scene.npz"
    np.savez(path, **tapvid3d_clip())
    video = load_video(path, "1:")
    assert (len(video), video.name) == (3, "scene")
    assert_close(video.frame(0), picture(1))
    assert video.intrinsics is not None
    assert (video.intrinsics.fx, video.intrinsics.cy) == (80, 32)
    assert (video.intrinsics.width, video.intrinsics.height) == (WIDTH, HEIGHT)


def save_with_pickle(path: Path, clip: dict[str, np.ndarray], images_pickle: bytes) -> None:
    """An npz whose images are the given pickle, whatever it holds."""
    arrays = {key: value for key, value in clip.items() if key != "images_jpeg_bytes"}
    np.savez(path, **arrays)
    member = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": (4,)}
    npy_format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("images_jpeg_bytes.npy", member.getvalue() + images_pickle)


@pytest.mark.parametrize("protocol", range(5))
def test_byte_strings_are_read_from_pickles_of_every_protocol(tmp_path, protocol):
    clip = tapvid3d_clip()
    clip["images_jpeg_bytes"][2] = b""
    images = pickle.dumps(clip["images_jpeg_bytes"], protocol=protocol)
    save_with_pickle(tmp_path / "scene.npz", clip, images)
    read = load_tapvid3d(tmp_path / "scene.npz")
    assert read["images_jpeg_bytes"] == list(clip["images_jpeg_bytes"])
    np.testing.assert_array_equal(read["tracks_XYZ"], clip["tracks_XYZ"])


def test_images_kept_as_byte_arrays_or_fixed_strings_are_read_too(tmp_path):
    clip = tapvid3d_clip()
    images = list(clip["images_jpeg_bytes"])
    as_arrays = np.empty(4, dtype=object)
    as_scalars = np.empty(4, dtype=object)
    for index, image in enumerate(images):
        as_arrays[index] = np.frombuffer(image, np.uint8).copy()
        as_scalars[index] = np.bytes_(image)
    for stored in (as_arrays, as_scalars, np.array(images)):
        np.savez(tmp_path / "scene.npz", **{**clip, "images_jpeg_bytes": stored})
        assert load_tapvid3d(tmp_path / "scene.npz")["images_jpeg_bytes"] == images


class Attack:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "payload",
    [
        lambda marker: Attack(os.system, f"touch {marker}"),
        lambda marker: Attack(open, str(marker), "w"),
        lambda marker: Attack(eval, f"open({str(marker)!r}, 'w')"),
        lambda marker: Attack(np.save, str(marker), 1),
        lambda marker: {"a": Path(marker)},
    ],
)
def test_a_pickle_that_names_anything_but_bytes_runs_nothing(tmp_path, payload):
    marker = tmp_path / "marker"
    images = np.empty(4, dtype=object)
    images[:] = [b"x", b"y", b"z", payload(marker)]
    for content in (images, payload(marker)):
        save_with_pickle(tmp_path / "evil.npz", tapvid3d_clip(), pickle.dumps(content))
        with pytest.raises(KinedepthError, match=r"evil\.npz is not an npz archive"):
            load_video(tmp_path / "evil.npz")
        assert not list(tmp_path.glob("marker*"))


def test_a_missing_key_of_a_tapvid3d_clip_is_named(tmp_path):
    clip = tapvid3d_clip()
    del clip["images_jpeg_bytes"], clip["fx_fy_cx_cy"]
    np.savez(tmp_path / "part.npz", **clip)
    with pytest.raises(KinedepthError, match="lacks images_jpeg_bytes, fx_fy_cx_cy"):
        load_video(tmp_path / "part.npz")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tracks_XYZ", np.ones((4, 2, 3))),
        ("visibility", np.ones((3, 3), bool)),
        ("queries_xyt", np.ones((3, 2))),
        ("queries_xyt", np.float64(1)),
        ("fx_fy_cx_cy", np.ones(3)),
        ("tracks_XYZ", np.full((4, 3, 3), "far")),
    ],
)
def test_a_tapvid3d_clip_whose_shapes_disagree_is_refused(tmp_path, key, value):
    np.savez(tmp_path / "odd.npz", **{**tapvid3d_clip(), key: value})
    with pytest.raises(KinedepthError, match=key):
        load_video(tmp_path / "odd.npz")


@pytest.mark.parametrize("images", [np.empty(0, object), np.zeros(4), np.zeros((2, 2), "S3")])
def test_a_tapvid3d_clip_without_images_is_refused(tmp_path, images):
    np.savez(tmp_path / "bare.npz", **{**tapvid3d_clip(), "images_jpeg_bytes": images})
    with pytest.raises(KinedepthError, match="no images"):
        load_video(tmp_path / "bare.npz")


def test_plain_arrays_come_back_as_they_were(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.array(True), "c": np.ones(2, "f4")}
    np.savez_compressed(tmp_path / "plain.npz", **arrays)
    read = load_arrays(tmp_path / "plain.npz")
    assert list(read) == ["a", "b", "c"]
    for key, array in arrays.items():
        np.testing.assert_array_equal(read[key], array)
        assert read[key].dtype == array.dtype


def test_python_objects_are_not_loaded_from_plain_archives(tmp_path):
    np.savez(tmp_path / "objects.npz", a=np.array([{}, []], dtype=object))
    with pytest.raises(KinedepthError, match="a holds Python objects"):
        load_arrays(tmp_path / "objects.npz")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
def test_an_archive_that_is_cut_short_is_refused(tmp_path, share):
    np.savez(tmp_path / "cut.npz", a=np.random.default_rng(0).random(500))
    with pytest.raises(KinedepthError, match=r"cut\.npz is not an npz archive"):
        load_arrays(cut(tmp_path / "cut.npz", share))


def test_an_archive_with_flipped_bytes_is_refused(tmp_path):
    path = tmp_path / "hurt.npz"
    np.savez(path, a=np.random.default_rng(0).random(500))
    data = bytearray(path.read_bytes())
    data[1000] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(KinedepthError, match=r"hurt\.npz is not an npz archive"):
        load_arrays(path)


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(KinedepthError, match=r"There is no file .*gone\.npz"):
        load_arrays(tmp_path / "gone.npz")
