"""Results of dense depth appear whole or not at all, whatever stops a run."""

import contextlib
import errno
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from depth_output_runs import outputs_for, pictures_of, some_depth, write_all
from folder_contents import names_in

from kinedepth.camera import Intrinsics
from kinedepth.depth_files import load_depth_video
from kinedepth.errors import KinedepthError
from kinedepth.exporting import atomic_folder as atomic_folder_module
from kinedepth.exporting.atomic_folder import atomic_folder
from kinedepth.exporting.depth_outputs import FORMATS, DepthOutputs, check_depth_folder
from kinedepth.exporting.stereo import StereoSettings

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
