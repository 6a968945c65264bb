import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from video_clips import HEIGHT, WIDTH, all_frames, assert_close, cut, picture

from kinedepth.errors import KinedepthError
from kinedepth.video import load_video


def write_images(folder: Path, names: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(names):
        cv2.imwrite(str(folder / name), picture(index)[..., ::-1])
    return folder


def test_a_folder_of_images_is_read_in_natural_order(tmp_path):
    folder = write_images(tmp_path / "shots", [f"shot{index}.png" for index in range(12)])
    (folder / "notes.txt").write_text("not a frame")
    (folder / "._shot0.png").write_bytes(b"leftover of another system")
    video = load_video(folder)
    assert (len(video), video.name, video.fps) == (12, "shots", 25)
    for index, frame in enumerate(all_frames(video)):
        np.testing.assert_array_equal(frame, picture(index))


def test_a_pattern_picks_images(tmp_path):
    folder = write_images(tmp_path / "mix", ["a1.png", "a2.png", "b1.png"])
    video = load_video(str(folder / "a*.png"))
    assert len(video) == 2
    np.testing.assert_array_equal(video.frame(1), picture(1))
    with pytest.raises(KinedepthError, match="matches no images"):
        load_video(str(folder / "c*.png"))


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path):
    assert len(load_video(write_images(tmp_path / "take[1]", ["a1.png", "a2.png"]))) == 2


def test_a_selection_applies_to_images(tmp_path):
    folder = write_images(tmp_path / "shots", [f"{index}.jpg" for index in range(10)])
    video = load_video(folder, "2:9:3")
    assert len(video) == 3
    assert_close(video.frame(2), picture(8))


def test_images_of_any_depth_become_eight_bit_rgb(tmp_path):
    grey = np.full((8, 9), 7, np.uint8)
    cv2.imwrite(str(tmp_path / "0.png"), grey)
    cv2.imwrite(str(tmp_path / "1.png"), grey.astype(np.uint16) * 256)
    cv2.imwrite(str(tmp_path / "2.png"), np.full((8, 9, 4), 7, np.uint8))
    frames = all_frames(load_video(tmp_path))
    assert frames.shape == (3, 8, 9, 3)
    assert (frames == 7).all()


def test_the_orientation_that_a_camera_wrote_into_a_photo_is_applied(tmp_path):
    _, encoded = cv2.imencode(".jpg", picture(0)[..., ::-1])
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    exif = b"Exif\0\0" + tiff
    header = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    jpeg = encoded.tobytes()
    for index in range(2):
        (tmp_path / f"{index}.jpg").write_bytes(jpeg[:2] + header + jpeg[2:])
    video = load_video(tmp_path)
    assert (video.width, video.height) == (HEIGHT, WIDTH)
    assert_close(video.frame(0), np.rot90(picture(0), -1))


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(KinedepthError, match="holds no images"):
        load_video(tmp_path)


def test_an_unreadable_image_is_named(tmp_path):
    folder = write_images(tmp_path / "shots", [f"{index}.png" for index in range(5)])
    (folder / "3.png").write_bytes(b"not an image")
    video = load_video(folder)
    with pytest.raises(KinedepthError, match=r"3\.png is not an image"):
        all_frames(video)


def test_an_image_that_is_cut_short_or_empty_is_named(tmp_path):
    folder = write_images(tmp_path / "shots", ["0.png", "1.png"])
    cut(folder / "0.png", 0.5)
    with pytest.raises(KinedepthError, match=r"0\.png is not an image"):
        load_video(folder)
    cut(folder / "0.png", 0)
    with pytest.raises(KinedepthError, match=r"0\.png is not an image"):
        load_video(folder)


def test_images_of_mixed_size_are_refused(tmp_path):
    folder = write_images(tmp_path / "shots", ["0.png", "1.png"])
    cv2.imwrite(str(folder / "2.png"), np.zeros((10, 20, 3), np.uint8))
    video = load_video(folder)
    with pytest.raises(KinedepthError, match=r"2\.png is 20x10 but .*0\.png is 96x64"):
        all_frames(video)
