import errno
import os
from pathlib import Path

import av
import numpy as np
import pytest
from folder_contents import names_in

from kinedepth.errors import KinedepthError
from kinedepth.exporting.video_writer import VideoWriter
from kinedepth.video import load_video


def ramp(index: int, width: int, height: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    image[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    image[..., 2] = 20 * index
    return image


def write_ramps(path: Path, count: int = 8, width: int = 64, height: int = 48, fps=25.0) -> None:
    with VideoWriter(path, width, height, fps) as writer:
        for index in range(count):
            writer.write(ramp(index, width, height))


def test_written_frames_can_be_read_back(tmp_path):
    write_ramps(tmp_path / "out.mp4", fps=30000 / 1001)
    video = load_video(tmp_path / "out.mp4")
    assert (len(video), video.width, video.height) == (8, 64, 48)
    assert video.fps == pytest.approx(30000 / 1001)
    for index in range(8):
        difference = video.frame(index).astype(float) - ramp(index, 64, 48)
        assert np.abs(difference).mean() < 6
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert names_in(tmp_path) == ["out.mp4"]


def test_odd_sizes_grow_to_even_ones(tmp_path):
    write_ramps(tmp_path / "odd.mp4", width=63, height=47)
    video = load_video(tmp_path / "odd.mp4")
    assert (video.width, video.height) == (64, 48)
    difference = video.frame(3)[:47, :63].astype(float) - ramp(3, 63, 47)
    assert np.abs(difference).mean() < 6


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_while_writing_leaves_the_earlier_video(tmp_path, failure):
    write_ramps(tmp_path / "out.mp4", 3)

    def write_some_and_fail() -> None:
        with VideoWriter(tmp_path / "out.mp4", 64, 48, 25) as writer:
            for index in range(60):
                writer.write(ramp(index % 12, 64, 48))
            raise failure

    with pytest.raises(failure):
        write_some_and_fail()
    assert names_in(tmp_path) == ["out.mp4"]
    assert len(load_video(tmp_path / "out.mp4")) == 3


def test_a_full_disk_while_writing_a_video_is_told(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / "out.mp4", 64, 48, 25)

    class FullDisk:
        def __getattr__(self, name):
            return getattr(self.real, name)

        def mux(self, _):
            raise av.error.OSError(errno.ENOSPC, "No space left on device")

    def write_to_full_disk():
        with writer:
            full = FullDisk()
            full.real = writer._container
            writer._container = full
            writer.write(ramp(0, 64, 48))

    with pytest.raises(KinedepthError, match="No space left on the disk while writing"):
        write_to_full_disk()
    assert names_in(tmp_path) == []


def test_a_frame_of_another_size_or_type_is_refused(tmp_path):
    for frame in (ramp(0, 65, 48), ramp(0, 64, 48).astype(np.float32)):
        with (
            pytest.raises(KinedepthError, match="takes frames of shape"),
            VideoWriter(tmp_path / "out.mp4", 64, 48, 25) as writer,
        ):
            writer.write(frame)
    assert names_in(tmp_path) == []


def test_a_video_without_frames_is_not_written(tmp_path):
    with (
        pytest.raises(KinedepthError, match="No frame was given"),
        VideoWriter(tmp_path / "out.mp4", 64, 48, 25),
    ):
        pass
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e-9])
def test_a_rate_that_makes_no_video_is_refused(tmp_path, fps):
    with pytest.raises(KinedepthError, match="frame rate"):
        VideoWriter(tmp_path / "out.mp4", 64, 48, fps)


def test_a_size_that_makes_no_video_is_refused(tmp_path):
    with pytest.raises(KinedepthError, match="positive size"):
        VideoWriter(tmp_path / "out.mp4", 0, 48, 25)


def test_a_video_needs_a_folder_that_exists(tmp_path):
    with pytest.raises(KinedepthError, match="There is no folder"):
        write_ramps(tmp_path / "missing" / "out.mp4")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs a list of open files")
def test_writing_a_video_leaves_no_file_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    write_ramps(tmp_path / "out.mp4", 3)
    with pytest.raises(KinedepthError), VideoWriter(tmp_path / "bad.mp4", 64, 48, 25) as writer:
        writer.write(ramp(0, 9, 9))
    assert len(os.listdir("/proc/self/fd")) <= before
