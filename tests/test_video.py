import gc
import io
import os
import pickle
import struct
import warnings
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy_format

import kinedepth._stream_source as stream_source
from kinedepth._safe_npz import load_arrays, load_tapvid3d
from kinedepth.errors import KinedepthError
from kinedepth.video import Video, load_video

WIDTH, HEIGHT = 96, 64


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A gradient with a moving square and a grey level that tells the index."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 200, width).astype(np.uint8)
    image[..., 1] = np.linspace(0, 200, height).astype(np.uint8)[:, None]
    image[height // 2 :, : width // 2] = 4 * index % 256
    left = 3 * index % (width - 16)
    image[4:20, left : left + 16] = 255
    return image


def write_clip(
    path: Path,
    count: int = 40,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pts: list[int] | None = None,
    turn: tuple[int, bool, bool] | None = None,
    pixel_aspect: Fraction | None = None,
    container_format: str | None = None,
) -> Path:
    width, height = size
    with av.open(
        str(path), "w", format=container_format, options=container_options or {}
    ) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.options = options or {}
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if turn is not None:
            stream.set_display_rotation(*turn)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[index], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


B_FRAMES = {"g": "12", "bf": "3", "sc_threshold": "0"}
OPEN_GROUPS = {**B_FRAMES, "x264-params": "open-gop=1"}


@pytest.fixture(scope="module")
def b_frame_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", options=B_FRAMES)


def all_frames(video: Video) -> np.ndarray:
    return np.concatenate([block for _, block in video.blocks(7)])


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 8) -> None:
    """Equal up to what lossy compression does to a picture."""
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(float) - expected.astype(float)).mean() < tolerance


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


# Damage


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


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


# Images


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


# TAPVid-3D


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
