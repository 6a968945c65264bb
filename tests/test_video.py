import gc
import os
import struct
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_clips import (
    B_FRAMES,
    HEIGHT,
    OPEN_GROUPS,
    WIDTH,
    all_frames,
    assert_close,
    picture,
    write_clip,
)

import kinedepth._stream_source as stream_source
from kinedepth.errors import KinedepthError
from kinedepth.video import Video, load_video


@pytest.fixture(scope="module")
def b_frame_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", options=B_FRAMES)


# Streams


def test_a_clip_gives_its_frames_in_presentation_order_each_once(b_frame_clip):
    video = load_video(b_frame_clip)
    assert (len(video), video.width, video.height, video.name) == (40, WIDTH, HEIGHT, "clip")
    assert video.fps == pytest.approx(25)
    frames = all_frames(video)
    assert len(frames) == 40
    for index, frame in enumerate(frames):
        assert_close(frame, picture(index))


def test_blocks_hold_at_most_size_frames_and_say_where_they_start(b_frame_clip):
    video = load_video(b_frame_clip)
    blocks = [(first, len(block), block.dtype) for first, block in video.blocks(16)]
    assert blocks == [(0, 16, np.uint8), (16, 16, np.uint8), (32, 8, np.uint8)]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("b.mp4", "libx264", B_FRAMES),
        ("open.mp4", "libx264", OPEN_GROUPS),
        ("open.mkv", "libx264", OPEN_GROUPS),
        ("open.ts", "libx264", OPEN_GROUPS),
        ("refresh.mp4", "libx264", {"g": "12", "bf": "0", "intra-refresh": "1"}),
        ("old.avi", "mpeg4", {"g": "12"}),
        ("no_times.avi", "libx264", B_FRAMES),
        ("motion.avi", "mjpeg", {}),
        ("hidden_frames.webm", "libvpx", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "9"}),
    ],
)
def test_jumping_to_a_frame_gives_what_decoding_from_the_start_gives(
    tmp_path, name, codec, options
):
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    video = load_video(write_clip(tmp_path / name, codec=codec, options=options, pixels=pixels))
    assert len(video) == 40
    frames = all_frames(video)
    for index in range(0, 40, 3):
        np.testing.assert_array_equal(video.frame(index), frames[index])
    np.testing.assert_array_equal(next(video.blocks(8, start=29))[1], frames[29:37])


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_window_equals_the_same_part_of_the_whole(b_frame_clip, data):
    step = data.draw(st.integers(1, 5))
    offset = data.draw(st.integers(0, 9))
    whole = all_frames(load_video(b_frame_clip))[offset::step]
    video = load_video(b_frame_clip, frames=slice(offset, None, step))
    start = data.draw(st.integers(0, len(video)))
    stop = data.draw(st.integers(start, len(video)))
    blocks = list(video.blocks(data.draw(st.integers(1, 20)), start, stop))
    assert [first for first, _ in blocks[:1]] == ([start] if stop > start else [])
    window = [frame for _, block in blocks for frame in block]
    np.testing.assert_array_equal(np.array(window).reshape(-1, HEIGHT, WIDTH, 3), whole[start:stop])


def test_times_follow_a_variable_frame_rate(tmp_path):
    pts = [0, 3, 4, 11, 12, 20, 21, 22, 40, 44]
    path = write_clip(tmp_path / "variable.mp4", 10, pts=pts, options={"bf": "2"})
    video = load_video(path)
    np.testing.assert_allclose(video.times, np.array(pts) / 100, atol=1e-9)
    assert video.fps == pytest.approx(9 / 0.44)
    part = load_video(path, "3::2")
    np.testing.assert_allclose(part.times, (np.array(pts[3::2]) - pts[3]) / 100, atol=1e-9)


def test_a_first_frame_that_is_not_at_time_zero_still_counts_as_zero(tmp_path):
    path = write_clip(tmp_path / "late.mkv", 5, pts=[50, 54, 58, 62, 66])
    np.testing.assert_allclose(load_video(path).times, np.arange(5) * 0.04, atol=1e-9)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_display_matrix_turns_and_mirrors_the_frames(tmp_path, degrees, mirrored):
    path = write_clip(tmp_path / "turned.mp4", 3, turn=(degrees, mirrored, False))
    video = load_video(path)
    shown = np.rot90(picture(1), degrees // 90)
    if mirrored:
        shown = shown[:, ::-1]
    assert (video.height, video.width) == shown.shape[:2]
    assert_close(video.frame(1), shown)


def test_frames_that_an_edit_list_hides_are_not_counted(tmp_path):
    path = write_clip(tmp_path / "edited.mp4", 30, options=B_FRAMES)
    data = bytearray(path.read_bytes())
    media_time = data.index(b"elst") + 16  # Version 0, one entry: where showing starts.
    (start,) = struct.unpack_from(">i", data, media_time)
    struct.pack_into(">i", data, media_time, start + 5 * 512)  # 1/12800 s units, 512 a frame.
    path.write_bytes(data)
    video = load_video(path)
    assert len(video) == 25
    assert video.times[0] == 0
    assert_close(video.frame(0), picture(5))
    np.testing.assert_array_equal(all_frames(video)[20], video.frame(20))


@pytest.mark.parametrize("pixels", ["gray", "gray16le", "bgra", "yuv420p10le", "yuv444p"])
def test_any_pixel_format_ends_as_eight_bit_rgb(tmp_path, pixels):
    path = write_clip(tmp_path / "clip.mkv", 3, codec="ffv1", pixels=pixels)
    frame = load_video(path).frame(2)
    assert frame.dtype == np.uint8
    if pixels.startswith("gray"):
        assert (frame == frame[..., :1]).all()
    else:
        assert_close(frame, picture(2))


def test_anamorphic_pixels_are_made_square(tmp_path):
    path = write_clip(tmp_path / "wide.mp4", 3, pixel_aspect=Fraction(4, 3))
    video = load_video(path)
    assert (video.width, video.height) == (128, 64)
    assert video.frame(1).shape == (64, 128, 3)


def test_a_stream_whose_size_changes_keeps_the_size_of_its_first_frame(tmp_path):
    small = write_clip(tmp_path / "small.ts", 10)
    large = write_clip(tmp_path / "large.ts", 10, size=(160, 96))
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The seam may cost a frame.
        video = load_video(both)
    frames = all_frames(video)
    assert len(frames) == len(video) > 15
    assert frames.shape[1:] == (HEIGHT, WIDTH, 3)


def test_a_colon_in_the_file_name_is_no_network_address(tmp_path):
    assert len(load_video(write_clip(tmp_path / "take 1: %03d.mp4", 3))) == 3


def test_a_stop_in_the_selection_spares_decoding_the_rest(b_frame_clip, monkeypatch):
    decoded = []
    real = stream_source._decode_packets

    def counting(container, stream):
        for item in real(container, stream):
            decoded.append(len(item[0]))
            yield item

    monkeypatch.setattr(stream_source, "_decode_packets", counting)
    assert len(load_video(b_frame_clip, "0:4")) == 4
    assert sum(decoded) < 40


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs a list of open files")
def test_an_abandoned_iterator_closes_its_file(b_frame_clip):
    video = load_video(b_frame_clip)

    def open_files() -> int:
        gc.collect()
        return sum(
            os.path.realpath(f"/proc/self/fd/{fd}") == str(b_frame_clip.resolve())
            for fd in os.listdir("/proc/self/fd")
        )

    blocks = video.blocks(4)
    next(blocks)
    assert open_files() == 1
    blocks.close()
    assert open_files() == 0
    video.frame(20)
    assert open_files() == 0


def test_several_iterators_run_side_by_side(b_frame_clip):
    video = load_video(b_frame_clip)
    for (_, first), (_, second) in zip(video.blocks(8), video.blocks(8), strict=True):
        np.testing.assert_array_equal(first, second)


# Selection


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:8", range(8)),
        ("::2", range(0, 40, 2)),
        ("5:", range(5, 40)),
        (" 10 : 20 : 3 ", range(10, 20, 3)),
        ("30:400", range(30, 40)),
        (":", range(40)),
    ],
)
def test_a_selection_counts_like_a_python_slice(b_frame_clip, text, expected):
    video = load_video(b_frame_clip, text)
    assert len(video) == len(expected)
    assert video.times[0] == 0
    assert video.times[-1] == pytest.approx((expected[-1] - expected[0]) / 25)
    assert video.start == pytest.approx(expected[0] / 25)
    assert video.fps == pytest.approx(25 / expected.step)
    assert_close(video.frame(1), picture(expected[1]))


@pytest.mark.parametrize(
    "text", ["", "5", "a:b", "-3:", "::-1", "::0", "8:4", "5:5", "1:2:3:4", "1.5:3", "0:0"]
)
def test_a_selection_that_makes_no_sense_is_refused(b_frame_clip, text):
    with pytest.raises(KinedepthError, match="does not select frames"):
        load_video(b_frame_clip, text)


@pytest.mark.parametrize("bad", [slice(-5, None), slice(None, None, -1), slice(0.5, 3)])
def test_a_slice_that_makes_no_sense_is_refused(b_frame_clip, bad):
    with pytest.raises(KinedepthError, match="does not select frames"):
        load_video(b_frame_clip, bad)


@pytest.mark.parametrize(
    ("text", "says"), [("39:", "one frame"), ("3:4", "one frame"), ("90:99", "no frame")]
)
def test_a_selection_of_fewer_than_two_frames_is_refused(b_frame_clip, text, says):
    with pytest.raises(KinedepthError, match=f"{says} left after selection"):
        load_video(b_frame_clip, text)


def test_asking_for_frames_that_are_not_there_is_refused(b_frame_clip):
    video = load_video(b_frame_clip, "0:10")
    with pytest.raises(KinedepthError, match="frames 0 to 9"):
        video.frame(10)
    with pytest.raises(KinedepthError, match="has 10"):
        video.blocks(4, 0, 11)
    with pytest.raises(KinedepthError, match="at least one frame"):
        video.blocks(0)


# Arrays


def test_a_video_from_an_array_streams_that_array():
    frames = np.stack([picture(index) for index in range(5)])
    video = Video.from_array(frames, fps=10, name="toy")
    assert (len(video), video.width, video.height, video.name) == (5, WIDTH, HEIGHT, "toy")
    np.testing.assert_allclose(video.times, np.arange(5) / 10)
    np.testing.assert_array_equal(all_frames(video), frames)
    next(video.blocks(5))[1][:] = 0
    np.testing.assert_array_equal(video.frame(3), frames[3])


@pytest.mark.parametrize(
    ("frames", "fps", "says"),
    [
        (np.zeros((5, 4, 4, 3)), 25, "uint8"),
        (np.zeros((5, 4, 4), np.uint8), 25, "shape"),
        (np.zeros((1, 4, 4, 3), np.uint8), 25, "at least two"),
        (np.zeros((5, 0, 4, 3), np.uint8), 25, "shape"),
        (np.zeros((5, 4, 4, 3), np.uint8), 0, "frame rate"),
        (np.zeros((5, 4, 4, 3), np.uint8), float("nan"), "frame rate"),
    ],
)
def test_arrays_that_are_no_video_are_refused(frames, fps, says):
    with pytest.raises(KinedepthError, match=says):
        Video.from_array(frames, fps)


def test_a_single_frame_is_a_video_only_where_it_is_asked_for(tmp_path):
    frame = np.full((1, 6, 8, 3), 7, np.uint8)
    with pytest.raises(KinedepthError, match="has one frame; depth change needs at least two"):
        Video.from_array(frame)
    single = Video.from_array(frame, fewest=1)
    assert len(single) == 1
    assert single.fps == 25
    assert np.array_equal(single.frame(0), frame[0])
    with pytest.raises(KinedepthError, match=r"no frame left after selection; there is nothing"):
        load_video(write_clip(tmp_path / "clip.mp4"), "90000:", fewest=1)
