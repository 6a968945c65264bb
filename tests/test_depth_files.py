"""Reading stored depth: ours and that of others, however long, and whatever is wrong with it."""

import json
import warnings
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinedepth import _frame_store
from kinedepth.depth_files import count_unusable, load_depth_video
from kinedepth.errors import KinedepthError, MissingExtraError
from kinedepth.exporting.depth_outputs import DepthOutputs

SHARED = Path(__file__).resolve().parents[2] / "shared" / "sequences"


def some_depth(frames: int = 4, height: int = 5, width: int = 6) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.uniform(0.5, 6, (frames, height, width)).astype(np.float32)


def write_pngs(folder: Path, values: np.ndarray, name: str = "{:05d}.png", first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for index, frame in enumerate(values):
        assert cv2.imwrite(str(folder / name.format(first + index)), frame)
    return folder


def write_exrs(folder: Path, depth: np.ndarray, channel: str = "Z") -> Path:
    openexr = pytest.importorskip("OpenEXR")
    folder.mkdir()
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    for index, frame in enumerate(depth):
        with openexr.File(header, {channel: frame}) as file:
            file.write(str(folder / f"{index:04d}.exr"))
    return folder


def write_run(folder: Path, depth: np.ndarray, formats: list[str]) -> Path:
    frames, height, width = depth.shape
    low, high = float(np.nanmin(depth)), float(np.nanmax(depth))
    with DepthOutputs(
        folder,
        formats,
        width=width,
        height=height,
        fps=12,
        frames=frames,
        kind="metric",
        per_frame=True,
        value_range=(low, high),
    ) as outputs:
        for index, frame in enumerate(depth):
            outputs.write(index, None, frame)
    return folder


def in_temporary_file(depth: np.ndarray) -> bool:
    return isinstance(depth, np.memmap)


# npz


def test_a_plain_npz_of_others_is_mapped_and_not_read(tmp_path):
    depth = some_depth()
    np.savez(tmp_path / "other.npz", rgb=np.zeros(3), depth=depth, kind="scale_invariant")
    video = load_depth_video(tmp_path / "other.npz")
    np.testing.assert_array_equal(video.depth, depth)
    assert isinstance(video.depth, np.memmap)
    assert (video.kind, video.fps, video.per_frame) == ("scale_invariant", 25, False)


@pytest.mark.parametrize("store", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", "<i4", "<u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_way_to_store_numbers_is_read(tmp_path, store, dtype, order):
    depth = np.asarray(some_depth() * 10, dtype=dtype, order=order)
    store(tmp_path / "depth.npz", depth=depth, kind="metric", fps=30)
    video = load_depth_video(tmp_path / "depth.npz")
    np.testing.assert_array_equal(video.depth, depth.astype(np.float32))
    assert video.depth.dtype == np.float32
    assert video.fps == 30


def test_the_array_name_of_video_depth_anything_is_known(tmp_path):
    np.savez(tmp_path / "depths.npz", depths=some_depth())
    video = load_depth_video(tmp_path / "depths.npz", kind="affine_invariant_disparity")
    assert len(video) == 4
    assert video.larger_is_nearer


@pytest.mark.parametrize("make", ["compressed", "png", "exr"])
def test_what_cannot_be_mapped_goes_to_a_temporary_file_when_it_is_large(
    tmp_path, monkeypatch, make
):
    monkeypatch.setattr(_frame_store, "LARGEST_IN_MEMORY", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    depth = np.round(some_depth(), 3)
    if make == "compressed":
        path = tmp_path / "depth.npz"
        np.savez_compressed(path, depth=depth, kind="metric")
    elif make == "png":
        path = write_pngs(tmp_path / "png", np.rint(depth * 1000).astype(np.uint16))
    else:
        path = write_exrs(tmp_path / "exr", depth)
    before = sorted(tmp_path.iterdir())
    video = load_depth_video(path, png_scale=0.001)
    assert in_temporary_file(video.depth)
    np.testing.assert_allclose(video.depth, depth, rtol=1e-6)
    assert sorted(tmp_path.iterdir()) == before  # It has no name that could be left over.


def test_no_room_for_a_temporary_file_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(_frame_store, "LARGEST_IN_MEMORY", 100)

    class FullDisk:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: FullDisk())
    np.savez_compressed(tmp_path / "depth.npz", depth=some_depth(), kind="metric")
    with pytest.raises(KinedepthError, match=r"temporary file of .* GB .*; set TMPDIR"):
        load_depth_video(tmp_path / "depth.npz")


class _Bomb:
    def __reduce__(self):
        return (print, ("a pickle was loaded",))


@pytest.mark.parametrize("key", ["depth", "kind"])
def test_python_objects_are_refused_and_never_loaded(tmp_path, capsys, key):
    objects = np.empty((1, 1, 1), dtype=object)
    objects[0, 0, 0] = _Bomb()
    arrays = {"depth": some_depth(), "kind": "metric", key: objects}
    np.savez(tmp_path / "depth.npz", **arrays)
    with pytest.raises(KinedepthError, match="holds Python objects, which are not read"):
        load_depth_video(tmp_path / "depth.npz")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"disp": np.zeros(3)}, r"holds no array depth \(it holds disp\)"),
        ({}, r"holds no array depth \(it holds nothing\)"),
        ({"depth": np.zeros((3, 4), np.float32)}, r"of shape \(3, 4\); numbers of shape \(T, H"),
        ({"depth": np.zeros((0, 4, 4), np.float32)}, r"of shape \(0, 4, 4\)"),
        ({"depth": np.array([[["a"]]])}, "depth is <U1"),
        ({"depth": np.ones((1, 2, 2), np.float32)}, "does not say what its depth means"),
        ({"depth": np.ones((1, 2, 2)), "kind": "inverse"}, "Unknown kind of depth 'inverse'"),
        ({"depth": np.ones((1, 2, 2)), "kind": np.zeros(2)}, "not one value"),
        ({"depth": np.ones((1, 2, 2)), "kind": "metric", "fps": -1}, "rate has to be positive"),
    ],
)
def test_an_npz_that_lacks_something_is_told(tmp_path, arrays, message):
    np.savez(tmp_path / "depth.npz", **arrays)
    with pytest.raises(KinedepthError, match=message):
        load_depth_video(tmp_path / "depth.npz")


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_a_damaged_npz_is_told(tmp_path, keep):
    path = write_run(tmp_path, some_depth(), ["npz"]) / "depth.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(KinedepthError, match="not an npz archive that can be read"):
        load_depth_video(path)


def test_an_array_that_is_shorter_than_it_says_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "depth.npz", "w") as archive:
        np.save(tmp_path / "depth.npy", some_depth())
        archive.writestr("depth.npy", (tmp_path / "depth.npy").read_bytes()[:-40])
    with pytest.raises(KinedepthError, match="cut short"):
        load_depth_video(tmp_path / "depth.npz", kind="metric")


# Folders of images


def test_the_folder_of_a_run_gives_its_most_exact_depth(tmp_path):
    depth = some_depth()
    run = write_run(tmp_path / "run", depth, ["png16", "exr", "npz"])
    for gone in ("depth.npz", "depth_exr/00000.exr"):
        video = load_depth_video(run)
        np.testing.assert_array_equal(video.depth, depth)
        assert (video.kind, video.fps, video.per_frame) == ("metric", 12, True)
        (run / gone).unlink()


def test_png_of_sensors_needs_only_its_scale(tmp_path):
    values = np.array([[[0, 1000], [65535, 250]]] * 3, np.uint16)
    folder = write_pngs(tmp_path / "depth", values, "frame-{:06d}.depth.png")
    video = load_depth_video(folder, png_scale=0.001, fps=15)
    np.testing.assert_allclose(video.depth[1], [[0, 1], [65.535, 0.25]])
    assert (video.kind, video.fps) == ("metric", 15)
    assert count_unusable(video).zero == 3


@pytest.mark.skipif(not SHARED.is_dir(), reason="the RGB-D sequences are not here")
def test_depth_of_a_real_sensor_is_read_in_metres(tmp_path):
    source = SHARED / "amazon_box"
    scale = json.loads((source / "meta.json").read_text())["depth_scale"]
    files = sorted((source / "depth").iterdir())[:3]
    for file in files:
        (tmp_path / file.name).symlink_to(file)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        video = load_depth_video(tmp_path, png_scale=1 / scale)
    raw = np.stack([cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files])
    np.testing.assert_allclose(video.depth, raw / scale, rtol=1e-6)
    assert count_unusable(video).zero == np.count_nonzero(raw == 0) > 0


@pytest.mark.parametrize("channel", ["Z", "depth", "Y", "distance"])
def test_exr_of_others_is_read_from_the_channel_that_holds_depth(tmp_path, channel):
    depth = some_depth()
    folder = write_exrs(tmp_path / "exr", depth, channel)
    kind = None if channel == "Z" else "scale_invariant"
    video = load_depth_video(folder, kind=kind)
    np.testing.assert_array_equal(video.depth, depth)
    assert video.kind == (kind or "metric")


def test_exr_whose_channel_says_nothing_needs_a_kind(tmp_path):
    folder = write_exrs(tmp_path / "exr", some_depth(), "Y")
    with pytest.raises(KinedepthError, match="does not say what its depth means; give its kind"):
        load_depth_video(folder)


def test_exr_of_colours_tells_which_channels_would_do(tmp_path):
    openexr = pytest.importorskip("OpenEXR")
    (tmp_path / "exr").mkdir()
    pixels = some_depth(1)[0]
    with openexr.File({}, {"normal.X": pixels, "normal.Y": pixels}) as file:
        file.write(str(tmp_path / "exr" / "0.exr"))
    with pytest.raises(KinedepthError, match=r"holds the channels normal\.X, normal\.Y; depth"):
        load_depth_video(tmp_path / "exr", kind="metric")


def test_exr_without_its_package_is_told(tmp_path, monkeypatch):
    folder = write_exrs(tmp_path / "exr", some_depth())
    monkeypatch.setitem(__import__("sys").modules, "OpenEXR", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'kinedepth\[exr\]'"):
        load_depth_video(folder)


def test_images_come_by_number_and_not_by_letter(tmp_path):
    values = np.arange(1, 13, dtype=np.uint16)[:, None, None] * np.ones((1, 2, 2), np.uint16)
    folder = write_pngs(tmp_path / "png", values, "depth_{}_left.png")
    found = load_depth_video(folder, png_scale=1).depth[:, 0, 0]
    np.testing.assert_array_equal(found, np.arange(1, 13))


def test_missing_frames_are_named(tmp_path):
    folder = write_pngs(tmp_path / "png", np.ones((6, 2, 2), np.uint16), "f{:03d}_16bit.png")
    (folder / "f003_16bit.png").unlink()
    with pytest.raises(KinedepthError, match=r"missing between f002_16bit\.png and f004_16bit"):
        load_depth_video(folder, png_scale=1)


def test_every_second_frame_is_a_sequence_too(tmp_path):
    folder = write_pngs(tmp_path / "png", np.ones((6, 2, 2), np.uint16))
    for index in (1, 3, 5):
        (folder / f"0000{index}.png").unlink()
    assert len(load_depth_video(folder, png_scale=1)) == 3


def test_fewer_images_than_the_folder_was_written_with_are_told(tmp_path):
    run = write_run(tmp_path, some_depth(), ["png16"])
    (run / "depth_png16" / "00003.png").unlink()
    with pytest.raises(KinedepthError, match=r"holds 3 images, but its depth\.json tells of 4"):
        load_depth_video(run)


def test_images_of_different_sizes_are_told(tmp_path):
    folder = write_pngs(tmp_path / "png", np.ones((2, 4, 5), np.uint16))
    write_pngs(folder, np.ones((1, 5, 4), np.uint16), first=2)
    with pytest.raises(KinedepthError, match=r"00002\.png is 4x5 but 00000\.png is 5x4"):
        load_depth_video(folder, png_scale=1)


@pytest.mark.parametrize(
    "content",
    [np.ones((4, 4), np.uint8), np.ones((4, 4, 3), np.uint16), b"", b"\x89PNG\r\n\x1a\nhalf"],
)
def test_an_image_that_holds_no_depth_is_told(tmp_path, content):
    folder = write_pngs(tmp_path / "png", np.ones((2, 4, 4), np.uint16))
    if isinstance(content, bytes):
        (folder / "00001.png").write_bytes(content)
    else:
        write_pngs(folder, content[None], first=1)
    with pytest.raises(KinedepthError, match=r"00001\.png is not an image of one 16-bit channel"):
        load_depth_video(folder, png_scale=1)


def test_a_damaged_exr_is_told(tmp_path):
    folder = write_exrs(tmp_path / "exr", some_depth(3, 40, 40))
    whole = (folder / "0001.exr").read_bytes()
    (folder / "0001.exr").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(KinedepthError, match=r"0001\.exr is not an EXR file that can be read"):
        load_depth_video(folder)


def test_png_without_a_scale_says_which_scale_is_usual(tmp_path):
    folder = write_pngs(tmp_path / "png", np.ones((2, 4, 4), np.uint16))
    with pytest.raises(KinedepthError, match=r"give their scale, e\.g\. 0\.001 for millimetres"):
        load_depth_video(folder)
    with pytest.raises(KinedepthError, match="has to be positive; got 0"):
        load_depth_video(folder, png_scale=0)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "exr", "kind": "warm"}', '{"scale": "x"}']
)
def test_a_damaged_manifest_is_told(tmp_path, text):
    run = write_run(tmp_path, some_depth(), ["png16"])
    (run / "depth_png16" / "depth.json").write_text(text)
    with pytest.raises(KinedepthError, match=r"depth\.json does not say what the images mean"):
        load_depth_video(run)


def test_a_manifest_of_an_unknown_kind_is_told(tmp_path):
    run = write_run(tmp_path, some_depth(), ["png16"])
    path = run / "depth_png16" / "depth.json"
    path.write_text(path.read_text().replace("metric", "warm"))
    with pytest.raises(KinedepthError, match="unknown kind of depth, 'warm'"):
        load_depth_video(run)


def test_places_without_depth_are_told(tmp_path):
    with pytest.raises(KinedepthError, match="There is no file or folder"):
        load_depth_video(tmp_path / "nowhere.npz")
    with pytest.raises(KinedepthError, match=r"holds no depth; give a \.npz, or the folder that"):
        load_depth_video(tmp_path)
    (tmp_path / "film.mp4").write_bytes(b"film")
    with pytest.raises(KinedepthError, match=r"film\.mp4 is no depth that can be read"):
        load_depth_video(tmp_path / "film.mp4")
    mixed = write_pngs(tmp_path / "mixed", np.ones((2, 4, 4), np.uint16))
    (mixed / "00002.exr").write_bytes(b"")
    with pytest.raises(KinedepthError, match=r"holds both \.exr and \.png files"):
        load_depth_video(mixed)


def test_hidden_files_are_no_frames(tmp_path):
    folder = write_pngs(tmp_path / "png", np.ones((2, 4, 4), np.uint16))
    (folder / "._00000.png").write_bytes(b"left by macOS")
    assert len(load_depth_video(folder, png_scale=1)) == 2


# What the values are


def test_values_that_are_no_depth_are_kept_and_counted(tmp_path):
    depth = some_depth()
    depth[0, 0, :3] = np.nan, np.inf, -np.inf
    depth[1, 0, :2] = 0
    depth[3, 0, :4] = -1
    np.savez(tmp_path / "depth.npz", depth=depth, kind="metric")
    video = load_depth_video(tmp_path / "depth.npz")
    np.testing.assert_array_equal(video.depth, depth)
    counted = count_unusable(video)
    assert (counted.not_finite, counted.zero, counted.total) == (3, 2, depth.size)
    assert counted.negative == 5  # Minus infinity counts as both.


@pytest.mark.parametrize(
    ("factor", "message"), [(1000, "is it stored in millimetres"), (1e-6, "scaled to metres twice")]
)
def test_depth_in_another_unit_than_metres_raises_a_warning(tmp_path, factor, message):
    depth = some_depth() * np.float32(factor)
    depth[:, 0] = np.nan
    np.savez(tmp_path / "depth.npz", depth=depth, kind="metric")
    with pytest.warns(UserWarning, match=message) as caught:
        load_depth_video(tmp_path / "depth.npz")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", ["scale_invariant", "affine_invariant_disparity"])
def test_values_without_a_unit_raise_no_warning(tmp_path, kind):
    np.savez(tmp_path / "depth.npz", depth=some_depth() * 10_000, kind=kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_depth_video(tmp_path / "depth.npz")


def test_what_is_given_wins_over_what_is_stored(tmp_path):
    run = write_run(tmp_path, some_depth(), ["npz"])
    video = load_depth_video(run, kind="scale_invariant", fps=50)
    assert (video.kind, video.fps) == ("scale_invariant", 50)
