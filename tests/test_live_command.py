"""What live frames come from, and the command from one pipe to the other."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from live_frames import HEIGHT, WIDTH, picture

from kinedepth.cli import main
from kinedepth.errors import KinedepthError
from kinedepth.exporting.video_writer import VideoWriter
from kinedepth.live.capture import Captured
from kinedepth.live.sources import Camera, FilePlayer, RawFormat, Stream, open_source
from kinedepth.tracking.file import read_tracks

# Sources


def sent(content: bytes) -> str:
    """The address of a pipe through which the content comes."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as file, contextlib.suppress(BrokenPipeError):
            file.write(content)

    threading.Thread(target=write, daemon=True).start()
    return f"pipe:{reading}"


def encoded(path: Path, count: int = 6) -> bytes:
    with VideoWriter(path, WIDTH, HEIGHT, 10) as writer:
        for index in range(count):
            writer.write(picture(index))
    changed = path.with_suffix(".ts")
    with av.open(str(path)) as source, av.open(str(changed), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return changed.read_bytes()


def all_of(source) -> list[Captured]:
    return list(source.frames(lambda: 5.0))


def test_an_encoded_stream_comes_through_a_pipe_with_its_times(tmp_path):
    frames = all_of(Stream(sent(encoded(tmp_path / "a.mp4")), "The pipe"))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(6) / 10, atol=1e-3)
    assert [frame.index for frame in frames] == list(range(6))
    assert all(frame.image.shape == (HEIGHT, WIDTH, 3) for frame in frames)
    assert all(frame.arrived == 5.0 for frame in frames)


def test_raw_frames_come_through_a_pipe_to_the_byte_and_half_a_frame_is_left_out():
    images = [picture(index) for index in range(3)]
    content = b"".join(image.tobytes() for image in images) + b"half a frame"
    raw = RawFormat(WIDTH, HEIGHT, rate=8)
    frames = all_of(Stream(sent(content), "The pipe", raw.options, "rawvideo"))
    assert [frame.time for frame in frames] == [0.0, 0.125, 0.25]
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_array_equal(frame.image, image)


def test_a_run_of_jpegs_has_the_times_at_which_they_arrive():
    jpegs = [cv2.imencode(".jpg", picture(index))[1].tobytes() for index in range(4)]
    frames = all_of(Stream(sent(b"".join(jpegs)), "The pipe"))
    assert len(frames) == 4
    assert {frame.time for frame in frames} == {0.0}  # The clock of this test stands still.


def test_a_stream_whose_frames_change_size_goes_on(tmp_path):
    with VideoWriter(tmp_path / "b.mp4", 64, 64, 10) as writer:
        writer.write(picture(0, 64, 64))
    jpegs = [cv2.imencode(".jpg", picture(0, width, 64))[1].tobytes() for width in (96, 96, 64, 64)]
    frames = all_of(Stream(sent(b"".join(jpegs)), "The pipe"))
    assert [frame.image.shape[1] for frame in frames] == [96, 96, 64, 64]


def test_damaged_packets_in_a_stream_are_passed_over(tmp_path):
    content = bytearray(encoded(tmp_path / "a.mp4", 30))
    content[len(content) // 2 : len(content) // 2 + 500] = bytes(500)
    frames = all_of(Stream(sent(bytes(content)), "The pipe"))
    assert 10 <= len(frames) <= 30


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no video at all, but some words" * 99,
        bytes(range(256)) * 400,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nfile:///etc/hostname\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
    ],
)
def test_what_is_no_video_in_a_pipe_is_told_in_a_sentence(content):
    options = open_source("pipe:").options
    with pytest.raises(KinedepthError, match=r"The pipe .*video"):
        all_of(Stream(sent(content), "The pipe", options))


def test_a_source_is_known_by_how_it_is_written():
    assert open_source("0") == Camera(0)
    assert open_source("clip.mp4") == FilePlayer("clip.mp4")
    assert open_source("pipe:", RawFormat(8, 6)).container == "rawvideo"
    stream = open_source("rtsp://user:secret@host:8554/door?key=1")
    assert stream.network
    assert stream.label == "rtsp://host:8554/door"
    assert "file" not in stream.options["protocol_whitelist"]


def test_a_network_address_where_nobody_answers_is_told():
    with pytest.raises(KinedepthError, match=r"tcp://127\.0\.0\.1:9 cannot be opened"):
        all_of(open_source("tcp://127.0.0.1:9"))


@pytest.mark.parametrize("bad", [(0, 8, 25.0), (8, 8, 0.0), (8, 8, float("nan")), (9999, 9999, 9)])
def test_a_raw_format_that_makes_no_video_is_told(bad):
    with pytest.raises(KinedepthError):
        RawFormat(*bad)


# The command


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--source", "no.mp4"], "no file"),
        (["--source", "973"], "no camera 973"),
        (["--source", "no.mp4", "--size", "8x8"], "pipe:"),
        (["--source", "pipe:", "--size", "8"], "--size"),
        (["--source", "0", "-o", "film.avi"], "mp4"),
        (["--source", "0", "--tracks", "a.npz"], "csv"),
        (["--source", "0", "--show", "x11"], "rerun or web"),
        (["--source", "0", "--points", "0"], "points"),
        (["--source", "0", "--stall", "0"], "--stall"),
        (["--source", "0", "--model", "enormous"], "enormous"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(arguments, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["live", *arguments])
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.out == ""
    assert says in told.err
    assert len(told.err.splitlines()) == 1


def live(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "kinedepth", "live", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # Whoever runs the tests may ignore Ctrl-C, which children would inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_a_clip_fed_at_its_own_pace_comes_out_on_the_other_side(tmp_path):
    table = tmp_path / "tracks.csv"
    size = ["--size", f"{WIDTH}x{HEIGHT}", "--rate", "20", "--points", "12"]
    with live("--source", "pipe:", *size, "-o", "pipe:raw", "--tracks", str(table)) as process:

        def feed() -> None:
            for index in range(30):
                process.stdin.write(picture(index).tobytes())
                process.stdin.flush()
                threading.Event().wait(1 / 20)
            process.stdin.close()

        threading.Thread(target=feed, daemon=True).start()
        content, told = process.stdout.read(), process.stderr.read().decode()
    assert process.returncode == 0, told
    shown = len(content) // (WIDTH * HEIGHT * 3)
    assert len(content) == shown * WIDTH * HEIGHT * 3
    assert f"Showed {shown} frames" in told
    assert f"dropped {30 - shown};" in told
    frames = {line.split(",")[1] for line in table.read_text().splitlines()[1:]}
    assert len(frames) == shown >= 2
    assert "29" in frames  # The newest is never dropped.


def test_ctrl_c_ends_a_run_with_its_files_whole(tmp_path):
    film, table = tmp_path / "film.mp4", tmp_path / "tracks.csv"
    size = ["--size", f"{WIDTH}x{HEIGHT}", "--points", "12", "--every-frame"]
    with live("--source", "pipe:", *size, "-o", str(film), "--tracks", str(table)) as process:
        for index in range(12):
            process.stdin.write(picture(index).tobytes())
        process.stdin.flush()
        # The table is there, under another name, once the run has begun.
        while process.poll() is None and not list(tmp_path.glob(".tmp-film*")):
            threading.Event().wait(0.05)
        process.send_signal(signal.SIGINT)
        told = process.stderr.read().decode()
    assert process.returncode == 0, told
    assert "Showed" in told
    assert {path.name for path in tmp_path.iterdir()} == {film.name, table.name}
    assert len(read_tracks(table)) >= 12
    with av.open(str(film)) as container:
        assert len(list(container.decode(video=0))) >= 1
