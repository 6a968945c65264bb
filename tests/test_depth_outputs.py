"""Dense depth written to every format: what can be read back, sound, and runs that fail."""

import contextlib
import errno
import json
import os
import sys
import warnings
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from kinedepth.camera import Intrinsics
from kinedepth.depth_files import load_depth_video
from kinedepth.errors import KinedepthError, MissingExtraError
from kinedepth.exporting import atomic_folder as atomic_folder_module
from kinedepth.exporting.atomic_folder import atomic_folder
from kinedepth.exporting.depth_colours import (
    COLORMAPS,
    NO_VALUE,
    DepthPainter,
    DepthRangeMeter,
    measure_ranges,
)
from kinedepth.exporting.depth_outputs import FORMATS, DepthOutputs, check_depth_folder
from kinedepth.exporting.stereo import StereoSettings
from kinedepth.video import load_video

RATE = 48_000
KINDS = ("metric", "scale_invariant", "affine_invariant", "affine_invariant_disparity")


def some_depth(frames: int = 4, height: int = 7, width: int = 9, seed: int = 0) -> np.ndarray:
    """Metres between 0.5 and 6."""
    generator = np.random.default_rng(seed)
    return generator.uniform(0.5, 6, (frames, height, width)).astype(np.float32)


def pictures_of(depth: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(7)
    return generator.integers(0, 256, (*depth.shape, 3), dtype=np.uint8)


def outputs_for(folder: Path, depth: np.ndarray, formats=("npz",), **options) -> DepthOutputs:
    settings = {"kind": "metric", "fps": 10.0, **options}
    if "value_range" not in settings:
        settings["value_range"] = measure_ranges(depth, settings["kind"]).value
    frames, height, width = depth.shape
    return DepthOutputs(folder, formats, frames=frames, height=height, width=width, **settings)


def write_all(folder: Path, depth: np.ndarray, formats=("npz",), **options) -> list[Path]:
    """Write all frames in all formats; the paths that appear."""
    images = pictures_of(depth)
    with outputs_for(folder, depth, formats, **options) as outputs:
        for index, frame in enumerate(depth):
            outputs.write(index, images[index], frame)
    return outputs.paths


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What was written can be read back


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(7, 9), (1, 1), (6, 8)])
def test_npz_and_exr_give_back_every_bit(tmp_path, kind, size):
    depth = some_depth(3, *size)
    depth[0, 0, 0] = np.nan
    depth[1, 0, 0] = -np.inf
    depth[2, 0, 0] = -3
    options = {"kind": kind, "fps": 29.97, "value_range": None}
    for path in write_all(tmp_path, depth, ["npz", "exr"], **options):
        video = load_depth_video(path)
        np.testing.assert_array_equal(video.depth, depth)
        assert (video.kind, video.fps, video.per_frame) == (kind, 29.97, False)


def test_numpy_alone_reads_the_npz(tmp_path):
    depth = some_depth()
    (path,) = write_all(tmp_path, depth, kind="scale_invariant", per_frame=True)
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive) == {"depth", "kind", "fps", "per_frame"}
        np.testing.assert_array_equal(archive["depth"], depth)
        assert archive["depth"].dtype == np.float32
        assert str(archive["kind"]) == "scale_invariant"
        assert float(archive["fps"]) == 10
        assert bool(archive["per_frame"])
    assert zipfile.ZipFile(path).testzip() is None


def test_values_in_the_npz_are_aligned_for_a_memory_map(tmp_path):
    for frames in (1, 12, 1234):
        (path,) = write_all(tmp_path / str(frames), some_depth(frames, 1, 3))
        depth = load_depth_video(path).depth
        assert isinstance(depth, np.memmap)
        assert depth.flags.aligned
        assert depth.offset % 64 == 0


@pytest.mark.parametrize("name", ["npz", "exr"])
def test_half_floats_take_half_the_space_and_lose_what_they_must(tmp_path, name):
    depth = some_depth()
    depth[0, 0, 0] = np.nan
    depth[0, 0, 1] = 1e6
    (path,) = write_all(tmp_path, depth, [name], half=True)
    with np.errstate(over="ignore"):
        expected = depth.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(load_depth_video(path).depth, expected)


def test_metric_png_is_in_millimetres_as_sensors_write_it(tmp_path):
    depth = some_depth()
    depth[0, 0, :3] = np.nan, 0, -1
    (path,) = write_all(tmp_path, depth, ["png16"])
    assert names_in(path) == [*(f"0000{i}.png" for i in range(4)), "depth.json"]
    manifest = json.loads((path / "depth.json").read_text())
    assert (manifest["scale"], manifest["offset"]) == (0.001, 0)
    raw = cv2.imread(str(path / "00000.png"), cv2.IMREAD_UNCHANGED)
    assert raw.dtype == np.uint16
    assert (raw[0, :3] == 0).all()
    assert raw[1, 2] == round(float(depth[0, 1, 2]) * 1000)
    back = load_depth_video(path)
    assert (back.kind, back.fps) == ("metric", 10)
    assert np.isnan(back.depth[0, 0, :3]).all()
    known = np.isfinite(back.depth)
    assert known.sum() == depth.size - 3
    assert np.abs(back.depth[known] - depth[known]).max() <= 0.0005 + 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("span", [(0.01, 200), (1e-5, 2e-5), (5, 5)])
def test_png_is_right_to_half_a_step_of_the_scale_it_records(tmp_path, kind, span):
    depth = np.random.default_rng(0).uniform(*span, (3, 5, 6)).astype(np.float32)
    if kind == "affine_invariant":
        depth -= np.float32(span[1] / 2)  # Its shift is free, so it may be negative.
    (path,) = write_all(tmp_path, depth, ["png16"], kind=kind)
    step = json.loads((path / "depth.json").read_text())["scale"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 15 micrometres make it ask about the unit.
        back = load_depth_video(path).depth
    rounding = 2 * np.spacing(np.abs(depth).max())
    assert np.abs(back - depth).max() <= step / 2 + rounding
    assert step <= max(np.ptp(depth) / 65534 * (1 + 1e-6), 0.001)


def test_png_tells_when_values_leave_the_range_that_was_announced(tmp_path):
    depth = some_depth()
    depth[2, 3, 3:5] = 70, 0.0001
    with pytest.warns(UserWarning, match="2 values of depth lie outside"):
        (path,) = write_all(tmp_path, depth, ["png16"], value_range=(0.5, 6))
    back = load_depth_video(path).depth[2, 3, 3:5]
    np.testing.assert_allclose(back, [65.535, 0.001])  # Cut, but not taken for no value.


def test_exr_names_its_channel_for_what_it_holds(tmp_path):
    openexr = pytest.importorskip("OpenEXR")
    for kind, channel in (("metric", "Z"), ("affine_invariant_disparity", "disparity")):
        (path,) = write_all(tmp_path / kind, some_depth(2), ["exr"], kind=kind)
        with openexr.File(str(path / "00000.exr")) as file:
            assert list(file.channels()) == [channel]
            assert file.channels()[channel].pixels.dtype == np.float32
            assert file.header()["depthKind"] == kind


def test_exr_without_its_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'kinedepth\[exr\]'"):
        outputs_for(tmp_path, some_depth(), ["exr"])


def test_a_point_cloud_puts_each_pixel_where_the_camera_saw_it(tmp_path):
    depth = some_depth(5)
    depth[3, 2, 2] = np.nan
    camera = Intrinsics(8, 8, 4.5, 3.5, 9, 7)
    options = {"point_clouds": [1, 3], "intrinsics": camera}
    (path,) = write_all(tmp_path, depth, [], **options)
    assert names_in(path) == ["00001.ply", "00003.ply", "depth.json"]
    header, _, body = (path / "00003.ply").read_bytes().partition(b"end_header\n")
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex 62\n")
    assert b"property float x\n" in header
    assert b"property uchar blue\n" in header
    vertices = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    column, row = np.meshgrid(np.arange(9) + 0.5, np.arange(7) + 0.5)
    z = depth[3]
    expected = np.stack([(column - 4.5) / 8 * z, (row - 3.5) / 8 * z, z], axis=-1)
    known = np.isfinite(z)
    np.testing.assert_allclose(vertices["xyz"], expected[known], atol=1e-6)
    np.testing.assert_array_equal(vertices["rgb"], pictures_of(depth)[3][known])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "affine_invariant"}, "affine_invariant values have no shape in 3D"),
        ({"kind": "affine_invariant_disparity"}, "have no shape in 3D"),
        ({"intrinsics": None}, "need the camera's intrinsics"),
        ({"intrinsics": Intrinsics(8, 8, 4, 3, 8, 6)}, "are of 8x6 frames"),
        ({"point_clouds": [2, 4]}, "frame 4 was asked for, but the frames are 0 to 3"),
    ],
)
def test_point_clouds_that_cannot_be_are_told_before_work_begins(tmp_path, options, message):
    settings = {"point_clouds": True, "intrinsics": Intrinsics(8, 8, 4.5, 3.5, 9, 7), **options}
    with pytest.raises(KinedepthError, match=message):
        outputs_for(tmp_path / "out", some_depth(), [], **settings)
    assert not (tmp_path / "out").exists()


# Colours


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(set(COLORMAPS) - {"turbo"}))
def test_nearer_is_lighter(kind, name):
    values = np.linspace(1, 5, 32, dtype=np.float32)[None]
    if kind == "affine_invariant_disparity":
        values = values[:, ::-1].copy()
    picture = DepthPainter(kind, (1, 5), name).paint(values)
    light = picture.astype(int) @ [299, 587, 114]
    assert (np.diff(light[0]) < 0).all()


def test_depth_up_to_scale_is_shown_by_its_logarithm():
    painter = DepthPainter("metric", (1, 100), "grey")
    found = painter.nearness(np.array([[1, 10, 100, 1000, 0.1]], np.float32))
    np.testing.assert_allclose(found, [[1, 0.5, 0, 0, 1]], atol=1e-6)
    painter = DepthPainter("affine_invariant_disparity", (1, 3), "grey")
    np.testing.assert_allclose(painter.nearness(np.array([[1, 2, 3]], np.float32)), [[0, 0.5, 1]])


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, -1])
def test_a_pixel_without_depth_has_the_colour_of_none(value):
    picture = DepthPainter("metric", (1, 3), "turbo").paint(np.array([[value, 2]], np.float32))
    assert tuple(picture[0, 0]) == NO_VALUE
    assert tuple(picture[0, 1]) != NO_VALUE


def test_one_scale_holds_for_the_whole_film(tmp_path):
    depth = np.full((6, 32, 32), 2, np.float32)
    depth[:3, :, :16] = 1
    depth[3:, :, :16] = 8
    write_all(tmp_path, depth, ["mp4"], colormap="grey")
    film = load_video(tmp_path / "depth.mp4")
    first, last = film.frame(0), film.frame(5)
    # The still half keeps its grey while the other goes from one end to the other.
    assert abs(first[:, 20:].mean() - last[:, 20:].mean()) < 2
    assert first[:, :12].mean() > 250
    assert last[:, :12].mean() < 5


def test_an_unknown_colour_map_is_told_with_those_that_there_are(tmp_path):
    with pytest.raises(KinedepthError, match=r"no colour map 'jet'; choose one of inferno, .*"):
        outputs_for(tmp_path, some_depth(), ["mp4"], colormap="jet")


def test_ranges_leave_out_what_is_unusable_and_are_little_moved_by_outliers():
    depth = np.full((3, 100, 100), 2, np.float32)
    depth[:, :50] = 4
    depth[0, 0, :5] = np.nan, np.inf, -np.inf, 0, -5
    depth[1, 0, 0] = 1000
    ranges = measure_ranges(depth, "metric")
    assert ranges.value == (2, 1000)
    assert ranges.shown == (2, 4)
    assert measure_ranges(depth, "affine_invariant").value == (-5, 1000)


def test_measuring_a_long_video_keeps_few_samples():
    meter = DepthRangeMeter("metric")
    frame = some_depth(1, 64, 64)[0]
    for _ in range(3000):
        meter.add(frame)
    assert sum(sample.size for sample in meter._samples) <= 2**21
    low, high = meter.ranges().shown
    assert 0.5 < low < 0.6
    assert 5.9 < high < 6


def test_a_video_without_a_usable_value_is_written_and_told(tmp_path):
    depth = np.full((2, 4, 4), np.nan, np.float32)
    with pytest.warns(UserWarning, match="Not one depth value is usable"):
        ranges = measure_ranges(depth, "metric")
    options = {"value_range": ranges.value, "stereo": StereoSettings()}
    write_all(tmp_path, depth, ["mp4", "png16"], **options)
    assert len(load_video(tmp_path / "stereo.mp4")) == 2


# Films and their sound


@pytest.mark.parametrize("size", [(7, 9), (6, 8), (1, 1)])
def test_films_have_the_size_and_length_of_the_video(tmp_path, size):
    depth = some_depth(5, *size)
    write_all(tmp_path / "plain", depth, ["mp4"], stereo=StereoSettings())
    write_all(
        tmp_path / "beside", depth, ["mp4"], side_by_side=True, stereo=StereoSettings("anaglyph")
    )

    def even(height, width):
        return height + height % 2, width + width % 2

    height, width = size
    for name, shown in (
        ("plain/depth.mp4", even(height, width)),
        ("plain/stereo.mp4", even(height, 2 * width)),
        ("beside/depth.mp4", even(height, 2 * width)),
        ("beside/stereo.mp4", even(height, width)),
    ):
        film = load_video(tmp_path / name)
        assert (film.height, film.width) == shown, name
        assert len(film) == 5
        assert film.fps == pytest.approx(10)


def test_side_by_side_has_the_frame_on_the_left(tmp_path):
    depth = np.full((3, 32, 32), 2, np.float32)
    image = np.full((32, 32, 3), (20, 180, 60), np.uint8)
    with outputs_for(tmp_path, depth, ["mp4"], side_by_side=True, value_range=(1, 4)) as outputs:
        assert outputs.needs_images
        for index, frame in enumerate(depth):
            outputs.write(index, image, frame)
    shown = load_video(tmp_path / "depth.mp4").frame(1).astype(int)
    assert np.abs(shown[:, 2:30] - (20, 180, 60)).max() < 12
    expected = DepthPainter("metric", (1, 4), "inferno").paint(depth[0])[0, 0].astype(int)
    assert np.abs(shown[:, 34:62] - expected).max() < 12


def clip_with_tone(
    path: Path, seconds: float = 2.0, fps: int = 10, codec: str = "aac", hertz: float = 440
) -> Path:
    """A film of 16x16 with a tone whose loudness grows with time."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width = video.height = 16
        video.pix_fmt = "yuv420p"
        sound = container.add_stream(codec, rate=RATE, layout="mono")
        time = np.arange(int(seconds * RATE)) / RATE
        tone = (0.9 * time / seconds * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
        formatted = sound.codec_context.format.name
        for _ in range(round(seconds * fps)):
            picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            container.mux(video.encode(picture))
        resampler = av.AudioResampler(formatted, "mono", RATE)
        for start in range(0, len(tone), 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "fltp", "mono")
            frame.sample_rate = RATE
            frame.pts = start
            frame.time_base = Fraction(1, RATE)
            for piece in resampler.resample(frame):
                container.mux(sound.encode(piece))
        container.mux(sound.encode())
        container.mux(video.encode())
    return path


def sound_of(path: Path) -> np.ndarray | None:
    """Mono samples, or None for a silent film."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        return np.concatenate([f.astype(np.float64).mean(0) for f in frames])


def loudness(samples: np.ndarray, second: float) -> float:
    middle = int(second * RATE)
    return float(np.sqrt(2 * np.mean(samples[middle - 1200 : middle + 1200] ** 2)))


def write_films(folder: Path, source: Path, frames: int, **options) -> None:
    depth = some_depth(frames, 16, 16)
    stereo = StereoSettings()
    options = {"side_by_side": True, "stereo": stereo, "audio_from": source, **options}
    write_all(folder, depth, ["mp4"], **options)


def test_the_sound_of_the_source_is_kept_with_its_frames(tmp_path):
    source = clip_with_tone(tmp_path / "clip.mp4")
    write_films(tmp_path / "out", source, 20)
    for name in ("depth.mp4", "stereo.mp4"):
        samples = sound_of(tmp_path / "out" / name)
        assert abs(len(samples) / RATE - 2) < 0.05
        # Loudness tells the time: within 30 ms of where it belongs.
        for second in (0.3, 1.0, 1.7):
            assert abs(loudness(samples, second) - 0.45 * second) < 0.45 * 0.03
        crossings = np.count_nonzero(np.diff(np.signbit(samples[RATE // 2 : RATE])))
        assert abs(crossings - 440) <= 4
        assert len(load_video(tmp_path / "out" / name)) == 20


def test_sound_is_copied_and_not_encoded_again(tmp_path):
    source = clip_with_tone(tmp_path / "clip.mp4")
    write_films(tmp_path / "out", source, 20)

    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    before, after = packets(source), packets(tmp_path / "out" / "depth.mp4")
    assert len(after) > 80
    assert set(after) <= set(before)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_is_cut_to_the_frames_that_were_used(tmp_path, suffix):
    source = clip_with_tone(tmp_path / f"clip{suffix}", seconds=3)
    write_films(tmp_path / "out", source, 10, audio_start=1.2)
    samples = sound_of(tmp_path / "out" / "depth.mp4")
    assert abs(len(samples) / RATE - 1) < 0.05
    for second in (0.2, 0.5, 0.8):
        assert abs(loudness(samples, second) - 0.3 * (1.2 + second)) < 0.3 * 0.04


def test_a_film_of_depth_alone_is_silent(tmp_path):
    source = clip_with_tone(tmp_path / "clip.mp4", seconds=1)
    write_films(tmp_path / "out", source, 10, side_by_side=False)
    assert sound_of(tmp_path / "out" / "depth.mp4") is None


def test_sound_that_mp4_cannot_hold_is_left_out_with_a_word(tmp_path):
    source = clip_with_tone(tmp_path / "clip.avi", seconds=1, codec="adpcm_ms")
    with pytest.warns(UserWarning, match=r"sound of clip\.avi \(adpcm_ms\) cannot be kept"):
        write_films(tmp_path / "out", source, 10, stereo=None)
    film = tmp_path / "out" / "depth.mp4"
    assert sound_of(film) is None
    assert len(load_video(film)) == 10


def test_sources_that_hold_no_sound_give_silent_films(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    text = tmp_path / "text.npz"
    text.write_text("no film")
    write_films(tmp_path / "a", images, 3)
    write_films(tmp_path / "b", text, 3)
    write_films(tmp_path / "c", tmp_path / "a" / "depth.mp4", 3)
    for name in "abc":
        assert sound_of(tmp_path / name / "depth.mp4") is None


# Whole or not at all

EVERYTHING = {
    "stereo": StereoSettings(),
    "point_clouds": True,
    "intrinsics": Intrinsics(8, 8, 4.5, 3.5, 9, 7),
}
ALL_NAMES = ["depth.mp4", "depth.npz", "depth_exr", "depth_png16", "point_clouds", "stereo.mp4"]


def test_everything_appears_only_when_the_last_frame_is_written(tmp_path):
    depth = some_depth()
    images = pictures_of(depth)
    with outputs_for(tmp_path, depth, FORMATS, **EVERYTHING) as outputs:
        for index, frame in enumerate(depth):
            outputs.write(index, images[index], frame)
            assert all(name.startswith(".tmp-") for name in names_in(tmp_path))
    assert names_in(tmp_path) == ALL_NAMES
    assert sorted(path.name for path in outputs.paths) == ALL_NAMES


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("earlier", [False, True])
def test_a_run_that_is_interrupted_leaves_only_what_was_there(tmp_path, failure, earlier):
    depth = some_depth(seed=1)
    if earlier:
        write_all(tmp_path, depth, FORMATS, **EVERYTHING)
    before = names_in(tmp_path)
    other = some_depth(seed=2)
    outputs = outputs_for(tmp_path, other, FORMATS, overwrite=True, **EVERYTHING)
    with pytest.raises(failure):
        write_one_and_fail(outputs, other[0], failure)
    assert names_in(tmp_path) == before
    if earlier:
        np.testing.assert_array_equal(load_depth_video(tmp_path / "depth_exr").depth, depth)
        np.testing.assert_array_equal(load_depth_video(tmp_path / "depth.npz").depth, depth)


def write_one_and_fail(
    outputs: DepthOutputs, depth: np.ndarray, failure: type[BaseException]
) -> None:
    with outputs:
        outputs.write(0, pictures_of(depth), depth)
        raise failure


def test_a_run_that_lacks_frames_leaves_nothing(tmp_path):
    depth = some_depth()
    with pytest.raises(KinedepthError, match="Only 1 of 4 frames were written"):
        short_run(tmp_path, depth)
    assert names_in(tmp_path) == []


def short_run(folder: Path, depth: np.ndarray) -> None:
    with outputs_for(folder, depth, FORMATS) as outputs:
        outputs.write(0, None, depth[0])


def test_an_earlier_run_is_not_overwritten_unasked_and_replaced_when_asked(tmp_path):
    write_all(tmp_path, some_depth(6), FORMATS)
    with pytest.raises(KinedepthError, match=r"already holds depth\.npz of an earlier run"):
        outputs_for(tmp_path, some_depth(), FORMATS)
    with pytest.raises(KinedepthError, match="already holds"):
        check_depth_folder(tmp_path)
    newer = some_depth(4, seed=3)
    write_all(tmp_path, newer, FORMATS, overwrite=True)
    assert len(names_in(tmp_path / "depth_exr")) == 5  # None of the six is left.
    for name in ("depth.npz", "depth_exr"):
        np.testing.assert_array_equal(load_depth_video(tmp_path / name).depth, newer)


def test_a_folder_with_other_things_is_never_replaced(tmp_path):
    (tmp_path / "depth_exr").mkdir()
    (tmp_path / "depth_exr" / "thesis.txt").write_text("mine")
    with pytest.raises(KinedepthError, match="holds other things than frames"):
        outputs_for(tmp_path, some_depth(), ["exr"], overwrite=True)
    with (
        pytest.raises(KinedepthError, match="holds other things than frames"),
        atomic_folder(tmp_path / "depth_exr"),
    ):
        pass
    assert (tmp_path / "depth_exr" / "thesis.txt").read_text() == "mine"


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / ".tmp-depth_png16").mkdir()
    (tmp_path / ".tmp-depth_png16" / "00099.png").write_bytes(b"half")
    (path,) = write_all(tmp_path, some_depth(), ["png16"])
    assert len(names_in(path)) == 5
    assert names_in(tmp_path) == ["depth_png16"]


def test_a_replacement_that_was_stopped_half_way_is_undone(tmp_path, monkeypatch):
    (path,) = write_all(tmp_path, some_depth(), ["exr"])
    rename = Path.rename

    def stopped(self, target):
        if self.name == ".tmp-depth_exr":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_all(tmp_path, some_depth(seed=1), ["exr"], overwrite=True)
    assert names_in(tmp_path) == ["depth_exr"]
    np.testing.assert_array_equal(load_depth_video(path).depth, some_depth())


def fill_the_disk_at(monkeypatch, call: int) -> None:
    """From the given call of a write on, no file takes any more bytes."""
    state = {"calls": 0}

    def full(*_):
        state["calls"] += 1
        if state["calls"] >= call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for owner, name in ((Path, "write_bytes"), (zipfile._ZipWriteFile, "write")):
        original = getattr(owner, name)

        def limited(self, data, original=original):
            full()
            return original(self, data)

        monkeypatch.setattr(owner, name, limited)


@pytest.mark.parametrize("name", ["npz", "png16", "ply"])
def test_a_disk_that_fills_is_told_in_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, name):
    depth = some_depth(20)
    options = EVERYTHING | {"stereo": None} if name == "ply" else {}
    formats = [] if name == "ply" else [name]
    fill_the_disk_at(monkeypatch, 9)
    with pytest.raises(KinedepthError, match="No space left on the disk while writing"):
        write_all(tmp_path, depth, formats, **options)
    assert names_in(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_while_exr_is_written_is_told(tmp_path, monkeypatch):
    pytest.importorskip("OpenEXR")

    def on_a_full_disk(index, suffix):
        with contextlib.suppress(FileExistsError):
            (tmp_path / ".tmp-depth_exr" / "full.exr").symlink_to("/dev/full")
        return "full.exr"

    monkeypatch.setattr("kinedepth.exporting.depth_writer.frame_name", on_a_full_disk)
    with pytest.raises(KinedepthError, match="No space left on the disk while writing"):
        write_all(tmp_path, some_depth(2, 200, 200), ["exr"])
    assert names_in(tmp_path) == []


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(atomic_folder_module.Path, "mkdir", refuse)
    with (
        pytest.raises(KinedepthError, match=r"depth_exr cannot be written \(Permission denied\)"),
        atomic_folder(tmp_path / "depth_exr"),
    ):
        pass


# Wrong input


@pytest.mark.parametrize(
    ("index", "image", "depth", "message"),
    [
        (1, None, np.zeros((7, 9), np.float32), "Frame 1 came where frame 0 of 4 was due"),
        (0, None, np.zeros((9, 7), np.float32), r"shape \(7, 9\) and type float32; got \(9, 7\)"),
        (0, None, np.zeros((7, 9)), "got .* float64"),
        (0, np.zeros((7, 9), np.uint8), np.zeros((7, 9), np.float32), "picture of frame 0 needs"),
    ],
)
def test_frames_that_do_not_fit_are_told(tmp_path, index, image, depth, message):
    with (
        pytest.raises(KinedepthError, match=message),
        outputs_for(tmp_path, some_depth()) as outputs,
    ):
        outputs.write(index, image, depth)


def write_the_first(outputs: DepthOutputs, depth: np.ndarray, count: int) -> None:
    for index in range(count):
        outputs.write(index, None, depth[index % len(depth)])


def test_more_frames_than_announced_are_refused(tmp_path):
    depth = some_depth(2)
    with (
        pytest.raises(KinedepthError, match="Frame 2 came where frame 2 of 2"),
        outputs_for(tmp_path, depth) as outputs,
    ):
        write_the_first(outputs, depth, 3)


def test_a_film_of_the_frames_needs_their_pictures(tmp_path):
    depth = some_depth()
    with (
        pytest.raises(KinedepthError, match="needs the picture of frame 0"),
        outputs_for(tmp_path, depth, [], stereo=StereoSettings()) as outputs,
    ):
        outputs.write(0, None, depth[0])


def test_pictures_may_be_left_out_where_nothing_shows_them(tmp_path):
    depth = some_depth()
    with outputs_for(tmp_path, depth, FORMATS) as outputs:
        assert not outputs.needs_images
        for index, frame in enumerate(depth):
            outputs.write(index, None, frame)
    assert names_in(tmp_path) == ["depth.mp4", "depth.npz", "depth_exr", "depth_png16"]


@pytest.mark.parametrize(
    ("formats", "options", "message"),
    [
        (["tiff"], {}, "no format 'tiff' for depth; choose from npz, mp4, png16, exr"),
        ([], {}, "Nothing to write"),
        (["mp4"], {"value_range": None}, "needs the range"),
        (["png16"], {"value_range": None}, "needs the range"),
        (["png16"], {"value_range": (2, 1)}, "from a smaller to a larger value; got 2.0 to 1.0"),
        (["mp4"], {"value_range": (0, float("nan"))}, "from a smaller to a larger value"),
    ],
)
def test_settings_that_make_no_sense_are_told_before_work_begins(
    tmp_path, formats, options, message
):
    with pytest.raises(KinedepthError, match=message):
        outputs_for(tmp_path / "out", some_depth(), formats, **options)
    assert not (tmp_path / "out").exists()


def test_a_format_asked_for_twice_is_written_once(tmp_path):
    assert len(write_all(tmp_path, some_depth(), ["npz", "npz"])) == 1


def test_results_do_not_go_into_a_file(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(KinedepthError, match="is a file; give a folder"):
        outputs_for(tmp_path / "out", some_depth())
