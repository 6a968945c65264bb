"""Each data set's folders, made small: divisors, selections, crops, cameras, pairing, damage."""

import json
import struct

import cv2
import numpy as np
import pytest

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.depth_datasets import DATASETS, load_dataset, recognise_dataset
from kinedepth.evaluation.depth_truth import Crop

SHAPE = (6, 8)


def write_png(path, value, shape=SHAPE):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full(shape, value, dtype=np.uint16))


def only_clip(root, name, **options):
    (clip,) = load_dataset(root, name, **options)
    frames = list(clip.read())
    assert len(frames) == clip.frames
    assert all(frame.shape == (clip.height, clip.width) for frame in frames)
    return clip, np.array([frame.flat[0] for frame in frames])


def test_kitti(tmp_path):
    folder = tmp_path / "2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02"
    for i in range(5, 125):
        write_png(folder / f"{i:010d}.png", 256 * i)
    clip, values = only_clip(tmp_path, "kitti")
    assert recognise_dataset(tmp_path) == "kitti"
    np.testing.assert_array_equal(values, np.arange(5, 115))
    assert (clip.name, clip.frames, clip.footage) == ("2011_09_26_drive_0002_sync", 110, 120)
    assert (clip.farthest, clip.crop, clip.cameras) == (80, Crop(0, 374, 0, 1242), None)
    assert clip.crop.size(376, 1241) == (374, 1241)
    assert only_clip(tmp_path, "kitti-500")[0].frames == 120


def test_nyuv2(tmp_path):
    for i in (1, 2, 10):
        write_png(tmp_path / f"kitchen_0003/depth/{i}.png", 6000 * i, (480, 640))
    clip, values = only_clip(tmp_path, "nyuv2")
    np.testing.assert_array_equal(values, [1, 2, 10])
    assert (clip.farthest, clip.crop.size(480, 640)) == (10, (426, 560))
    with pytest.raises(KinedepthError, match=r"laid out like no data set.*nyuv2 always"):
        recognise_dataset(tmp_path)


@pytest.fixture
def bonn(tmp_path):
    """Colour at 0.0, 0.1, ... and depth 0.01 s later; the depth of frame 35 is lost."""
    folder = tmp_path / "rgbd_bonn_balloon"
    for i in range(150):
        write_png(folder / f"rgb/{1e9 + 0.1 * i:.5f}.png", 1)
        if i != 35:
            write_png(folder / f"depth/{1e9 + 0.1 * i + 0.01:.5f}.png", 5000 + 10 * i)
    return tmp_path


def test_bonn_pairs_by_time(bonn):
    clip, values = only_clip(bonn, "bonn")
    assert recognise_dataset(bonn) == "bonn"
    expected = 1 + 0.002 * np.arange(30, 140)
    expected[5] = 0
    np.testing.assert_allclose(values, expected)
    assert (clip.frames, clip.footage, clip.farthest) == (110, 150, 10)
    assert clip.selected == range(30, 140)


def test_bonn_as_published_pairs_by_rank(bonn):
    clip, values = only_clip(bonn, "bonn", published=True)
    np.testing.assert_allclose(values[5:], 1 + 0.002 * np.arange(36, 141))
    assert clip.footage == 149


def test_bonn_needs_times_for_names(bonn):
    write_png(bonn / "rgbd_bonn_balloon/rgb/first.png", 1)
    with pytest.raises(KinedepthError, match="not named by their time"):
        load_dataset(bonn, "bonn")


@pytest.fixture
def scannet(tmp_path):
    scene = tmp_path / "scene0707_00"
    for i in range(300):
        write_png(scene / f"depth/{i}.png", 1000 + i, (24, 32))
        (scene / "pose").mkdir(exist_ok=True)
        matrix = np.full((4, 4), -np.inf) if i == 3 else np.eye(4)
        matrix[0, 3] = i
        np.savetxt(scene / f"pose/{i}.txt", matrix)
    (scene / "intrinsic").mkdir()
    matrix = np.eye(4)
    matrix[:2, :3] = [[29, 0, 15.5], [0, 30, 11.5]]
    np.savetxt(scene / "intrinsic/intrinsic_depth.txt", matrix)
    return tmp_path


def test_scannet(scannet):
    clip, values = only_clip(scannet, "scannet")
    assert recognise_dataset(scannet) == "scannet"
    np.testing.assert_allclose(values, 1 + 0.003 * np.arange(90))
    assert clip.selected == range(0, 270, 3)
    assert (clip.farthest, clip.crop.size(24, 32)) == (10, (8, 10))
    # Published with pixel centres at whole numbers: the middle of the frame.
    assert clip.cameras.intrinsics[0] == Intrinsics(29, 30, 16, 12, 32, 24)
    assert clip.cameras.camera_to_world[4, 0, 3] == 12
    assert np.isinf(clip.cameras.camera_to_world[1]).any()


def test_scannet_has_its_own_frames_for_tae(scannet):
    assert only_clip(scannet, "scannet-tae")[0].selected == range(10, 180)
    assert only_clip(scannet, "scannet-500")[0].selected == range(300)


def test_a_pose_that_is_missing_or_no_matrix_is_told(scannet):
    pose = scannet / "scene0707_00/pose/6.txt"
    pose.write_text("1 0 0")
    with pytest.raises(KinedepthError, match=r"6\.txt holds a matrix of \(1, 3\)"):
        load_dataset(scannet, "scannet")
    pose.unlink()
    with pytest.raises(KinedepthError, match=r"6\.txt cannot be read"):
        load_dataset(scannet, "scannet")


def write_sintel(root, frames=3):
    world_to_camera = np.array([[1.0, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0]])
    for i in range(1, frames + 1):
        depth = root / f"depth/alley_1/frame_{i:04d}.dpt"
        depth.parent.mkdir(parents=True, exist_ok=True)
        values = np.full(SHAPE, i, dtype="<f4").tobytes()
        depth.write_bytes(struct.pack("<fii", 202021.25, SHAPE[1], SHAPE[0]) + values)
        camera = root / f"camdata_left/alley_1/frame_{i:04d}.cam"
        camera.parent.mkdir(parents=True, exist_ok=True)
        matrix = [100.0 + i, 0, 3.5, 0, 100, 2.5, 0, 0, 1]
        numbers = struct.pack("<9d", *matrix) + world_to_camera.astype("<f8").tobytes()
        camera.write_bytes(struct.pack("<f", 202021.25) + numbers)


@pytest.mark.parametrize("inside", ["", "training"])
def test_sintel(tmp_path, inside):
    write_sintel(tmp_path / inside)
    clip, values = only_clip(tmp_path, "sintel")
    assert recognise_dataset(tmp_path) == "sintel"
    np.testing.assert_array_equal(values, [1, 2, 3])
    assert (clip.name, clip.farthest, clip.crop) == ("alley_1", 70, Crop())
    assert clip.cameras.intrinsics[1] == Intrinsics(102, 100, 4, 3, 8, 6)
    np.testing.assert_allclose(clip.cameras.camera_to_world[0, :3, 3], [-2, 0, 0])


def test_sintel_from_png(tmp_path):
    write_png(tmp_path / "depth/alley_1/frame_0001.png", 1008)
    clip, values = only_clip(tmp_path, "sintel")
    np.testing.assert_allclose(values, 1008 * 650 / 65535)
    assert clip.cameras is None


@pytest.mark.parametrize(
    "part", ["depth/alley_1/frame_0001.dpt", "camdata_left/alley_1/frame_0002.cam"]
)
def test_a_damaged_sintel_file_is_told(tmp_path, part):
    write_sintel(tmp_path)
    data = (tmp_path / part).read_bytes()
    for damaged in (data[:-4], b"\0" * len(data), b""):
        (tmp_path / part).write_bytes(damaged)
        with pytest.raises(KinedepthError, match="not a Sintel"):
            load_dataset(tmp_path, "sintel")


@pytest.fixture
def rgbd(tmp_path):
    for i in range(3):
        write_png(tmp_path / f"kitchen/depth/{i:05d}.png", 1000 * (i + 1))
    poses = [np.eye(4).tolist()] * 3
    facts = {
        "depth_scale": 1000.0,
        "intrinsics": {"fx": 9, "fy": 8, "cx": 4, "cy": 3},
        "poses": poses,
    }
    (tmp_path / "kitchen/meta.json").write_text(json.dumps(facts))
    return tmp_path


def test_rgbd_sequences(rgbd):
    clip, values = only_clip(rgbd, "rgbd")
    assert recognise_dataset(rgbd) == "rgbd"
    np.testing.assert_array_equal(values, [1, 2, 3])
    assert clip.cameras.intrinsics[2] == Intrinsics(9, 8, 4, 3, 8, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth_scale": 0}, "has to be positive"),
        ({"depth_scale": None}, "depth_scale is needed"),
        ({"poses": [[1.0]]}, "3 matrices of 4x4"),
        ({"intrinsics": {"fx": 1}}, "fx, fy, cx and cy"),
    ],
)
def test_facts_that_cannot_be_are_told(rgbd, change, message):
    path = rgbd / "kitchen/meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(KinedepthError, match=message):
        load_dataset(rgbd, "rgbd")


def test_sequences_without_poses_have_no_cameras(rgbd):
    path = rgbd / "kitchen/meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"poses": None}))
    assert only_clip(rgbd, "rgbd")[0].cameras is None


def test_rendered_clips(tmp_path):
    depth = np.arange(4, dtype=np.float16)[:, None, None] + np.ones((1, *SHAPE), np.float16)
    np.savez_compressed(tmp_path / "clip0000_depth.npz", depth=depth, kind=np.array("metric"))
    clip, values = only_clip(tmp_path, "synth")
    assert recognise_dataset(tmp_path) == "synth"
    np.testing.assert_array_equal(values, [1, 2, 3, 4])
    assert (clip.name, clip.cameras) == ("clip0000", None)


def test_the_depth_of_a_rendered_clip_fits_its_cameras(tmp_path):
    from kinedepth.depth import DepthVideo
    from kinedepth.evaluation.video_depth import evaluate_depth
    from kinedepth.synthesis.clip_files import write_clip
    from kinedepth.synthesis.clips import STATIC_SCENE_CONFIG, make_clip

    clip = make_clip(1, 8, 96, 64, config=STATIC_SCENE_CONFIG, tracks=64)
    write_clip(clip, tmp_path, "clip0000")
    (truth,) = load_dataset(tmp_path, "synth")
    found = evaluate_depth(DepthVideo(clip.depth, "metric", 30.0), truth)
    # Half floats keep 11 bits. Wrong poses or a wrong convention give several per cent.
    assert found.abs_rel < 2**-11
    assert found.tae < 0.2
    assert found.tae_of_truth < 0.2


@pytest.mark.parametrize("cut", [10, 400])
def test_a_damaged_rendered_clip_is_told(tmp_path, cut):
    path = tmp_path / "clip0000_depth.npz"
    np.savez_compressed(path, depth=np.random.default_rng(0).random((4, *SHAPE)))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(KinedepthError, match="not an npz archive"):
        load_dataset(tmp_path, "synth")
    np.savez(path, depth=np.ones((2, 2)))
    with pytest.raises(KinedepthError, match="no array depth of shape"):
        load_dataset(tmp_path, "synth")


def test_a_frame_of_another_size_or_type_is_told(rgbd):
    write_png(rgbd / "kitchen/depth/00002.png", 5, (6, 9))
    (clip,) = load_dataset(rgbd, "rgbd")
    with pytest.raises(KinedepthError, match=r"00002\.png is 9x6, but .*00000\.png is 8x6"):
        list(clip.read())
    cv2.imwrite(str(rgbd / "kitchen/depth/00001.png"), np.ones((6, 8, 3), np.uint8))
    with pytest.raises(KinedepthError, match=r"00001\.png is not a depth map"):
        list(clip.read())


def test_bonn_with_too_few_frames_is_told(tmp_path):
    for i in range(20):
        for part in ("rgb", "depth"):
            write_png(tmp_path / f"rgbd_bonn_x/{part}/{i}.png", 1)
    with pytest.raises(KinedepthError, match="20 frames with truth, none from frame 30 on"):
        load_dataset(tmp_path, "bonn")


@pytest.mark.parametrize("name", DATASETS)
def test_a_folder_without_clips_is_told_with_the_layout(tmp_path, name):
    with pytest.raises(KinedepthError, match="holds no clip laid out as"):
        load_dataset(tmp_path, name)


def test_unknown_names_and_missing_folders_are_told(tmp_path):
    with pytest.raises(KinedepthError, match="Unknown data set 'tum'; known are synth"):
        load_dataset(tmp_path, "tum")
    for call in (lambda path: load_dataset(path, "kitti"), recognise_dataset):
        with pytest.raises(KinedepthError, match="There is no folder"):
            call(tmp_path / "absent")
