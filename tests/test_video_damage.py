import warnings

import av
import cv2
import numpy as np
import pytest
from video_clips import B_FRAMES, all_frames, cut, picture, write_clip

from kinedepth.errors import KinedepthError
from kinedepth.video import load_video


def test_a_truncated_mp4_with_its_index_in_front_gives_the_frames_that_decode(tmp_path):
    path = write_clip(
        tmp_path / "cut.mp4", options=B_FRAMES, container_options={"movflags": "faststart"}
    )
    whole = all_frames(load_video(path))
    with pytest.warns(UserWarning, match=r"only \d+ of 40 frames decode"):
        video = load_video(cut(path, 0.8))
    frames = all_frames(video)
    assert 2 <= len(video) == len(frames) < 40
    np.testing.assert_array_equal(frames[:20], whole[:20])
    np.testing.assert_array_equal(video.frame(len(video) - 1), frames[-1])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_truncated_mp4_without_its_index_is_refused(tmp_path, share):
    path = cut(write_clip(tmp_path / "cut.mp4"), share)
    with pytest.raises(KinedepthError, match=r"cut\.mp4 .* can be decoded"):
        load_video(path)


def test_damage_in_the_middle_never_breaks_the_promised_number_of_frames(tmp_path):
    path = write_clip(
        tmp_path / "hurt.mp4", options=B_FRAMES, container_options={"movflags": "faststart"}
    )
    data = bytearray(path.read_bytes())
    middle = len(data) * 2 // 3
    data[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        video = load_video(path)
    assert len(all_frames(video)) == len(video) > 2


def test_a_file_that_shrinks_after_opening_is_reported(tmp_path):
    path = write_clip(tmp_path / "shrinks.mkv")
    video = load_video(path)
    cut(path, 0.5)
    with pytest.raises(KinedepthError, match="changed while being read"):
        all_frames(video)


def test_a_text_file_named_mp4_is_refused_with_one_sentence(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("Dear diary, today I filmed nothing.\n" * 20)
    with pytest.raises(KinedepthError, match="is not a video that can be decoded") as caught:
        load_video(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("zeros.mp4", bytes(4000)),
        ("noise.mp4", np.random.default_rng(1).bytes(4000)),
        ("notes.txt", b"Dear diary\n" * 50),
        ("broken.npz", b"PK\x03\x04 and then nothing"),
        ("data.json", b'{"frames": []}\n' * 20),
    ],
)
def test_files_that_are_no_video_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KinedepthError, match=name):
        load_video(tmp_path / name)


def test_a_sound_file_is_refused(tmp_path):
    path = tmp_path / "song.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(KinedepthError, match="holds no moving picture"):
        load_video(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(KinedepthError, match=r"There is no file or folder .*nowhere\.mp4"):
        load_video(tmp_path / "nowhere.mp4")


def test_a_clip_of_one_frame_is_refused(tmp_path):
    path = write_clip(tmp_path / "still.mp4", 1)
    with pytest.raises(KinedepthError, match=r"still\.mp4 has one frame; depth change needs"):
        load_video(path)


def test_a_single_image_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), picture(0))
    with pytest.raises(KinedepthError, match="one frame"):
        load_video(tmp_path / "photo.png")
