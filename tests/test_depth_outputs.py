"""Dense depth written to every format: what can be read back, and what is refused."""

import json
import sys
import warnings
import zipfile

import cv2
import numpy as np
import pytest
from depth_output_runs import KINDS, outputs_for, pictures_of, some_depth, write_all
from folder_contents import names_in

from kinedepth.camera import Intrinsics
from kinedepth.depth_files import load_depth_video
from kinedepth.errors import KinedepthError, MissingExtraError
from kinedepth.exporting.depth_outputs import FORMATS, DepthOutputs
from kinedepth.exporting.stereo import StereoSettings

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
