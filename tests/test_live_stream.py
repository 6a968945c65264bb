"""Live runs: frames that are dropped, sources that break, outputs that are whole."""

import contextlib
import os
import socket
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from live_frames import HEIGHT, WIDTH, captured, picture

from kinedepth.errors import KinedepthError
from kinedepth.live.capture import Captured, FrameBox, start_capture
from kinedepth.live.lifter import LiveState
from kinedepth.live.outputs import FilmOutput, OutputClosedError, RawOutput, TableOutput
from kinedepth.live.running import run_live
from kinedepth.tracking.file import read_tracks
from kinedepth.video import load_video


class Played:
    """A source that yields what it is given; a callable among it is called instead."""

    label = "The test"

    def __init__(self, *items) -> None:
        self.items = items

    def frames(self, clock):
        for item in self.items:
            if callable(item):
                item()
            else:
                yield item


class Lifter:
    """Stands for a lifter: three points, and something to do with each frame."""

    window = 8

    def __init__(self, work=lambda: None) -> None:
        self.work = work
        self.seen: list[int] = []

    def push(self, image, time) -> LiveState:
        self.work()
        self.seen.append(round(time * 10))
        return state(len(self.seen) - 1, time)


def state(frame: int, time: float) -> LiveState:
    unknown = np.array([0.1, -0.2, np.nan], np.float32)
    return LiveState(
        frame=frame,
        time=time,
        number=np.array([0, 1, frame + 2]),
        since=np.array([0, 0, frame]),
        xy=np.array([[10, 10], [20, 30], [40 + frame, 50]], np.float32),
        visible=np.array([True, False, True]) | (frame == 0),
        log_ratio=unknown,
        log_ratio_std=np.abs(unknown),
    )


class Sink:
    """An output that remembers whether it was closed, and does something with each frame."""

    def __init__(self, work=lambda: None) -> None:
        self.work, self.closed = work, False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def write(self, frame, state):
        self.work()


# The box with room for one frame


def test_only_the_newest_frame_is_kept_and_the_others_are_counted():
    box = FrameBox()
    for index in range(5):
        assert box.put(captured(index))
    assert box.take(1).index == 4
    assert box.dropped == 4
    with pytest.raises(TimeoutError):
        box.take(0.001)


def test_a_frame_left_at_the_end_can_still_be_taken_and_errors_come_after_it():
    box = FrameBox()
    box.put(captured(0))
    box.end(KinedepthError("broken"))
    assert not box.put(captured(1))
    assert box.take(1).index == 0
    with pytest.raises(KinedepthError, match="broken"):
        box.take(1)


def test_a_box_that_loses_nothing_hands_over_every_frame():
    box = FrameBox(lossless=True)
    thread = start_capture(Played(*map(captured, range(50))), box)
    taken = []
    while (frame := box.take(10)) is not None:
        taken.append(frame.index)
    thread.join(10)
    assert taken == list(range(50))
    assert box.dropped == 0


def test_a_capture_that_waits_for_room_ends_when_nobody_wants_more():
    box = FrameBox(lossless=True)
    thread = start_capture(Played(*map(captured, range(50))), box)
    box.take(10)
    box.end()
    thread.join(10)
    assert not thread.is_alive()


# Runs


def test_slow_work_drops_frames_and_goes_on_with_the_newest():
    first, all_there = threading.Event(), threading.Event()

    def work():
        first.set()
        assert all_there.wait(10)

    frames = list(map(captured, range(10)))
    # The source goes on once the first frame is being worked on; work, once all are there.
    source = Played(frames[0], lambda: first.wait(10), *frames[1:], all_there.set)
    lifter = Lifter(work)
    report = run_live(source, lifter, [])
    assert lifter.seen == [0, 9]
    assert (report.shown, report.dropped) == (2, 8)


def test_latency_is_from_arrival_to_the_overlay_being_out():
    now = SimpleNamespace(seconds=100.0)

    def pass_time(seconds):
        now.seconds += seconds

    class Camera:
        label = "The camera"

        def frames(self, clock):
            for index in range(5):
                yield captured(index, arrived=100.0 + index)

    lifter = Lifter(lambda: pass_time(0.25))
    sink = Sink(lambda: pass_time(0.05))
    # Each frame arrives when the clock says 100, 101, ...; work sets it back to that plus 0.25.
    arrivals = iter(range(5))
    push = lifter.push

    def on_time(image, time):
        now.seconds = 100.0 + next(arrivals)
        return push(image, time)

    lifter.push = on_time
    report = run_live(Camera(), lifter, [sink], lossless=True, clock=lambda: now.seconds)
    assert report.shown == 5
    for value in (report.median, report.high, report.largest):
        assert value == pytest.approx(0.3)
    assert report.seconds == pytest.approx(4.3)
    assert report.bound == pytest.approx(2 * 8 * 4.3 / 5)


def test_a_source_that_stalls_is_told_and_outputs_are_closed():
    release = threading.Event()
    sink = Sink()
    with pytest.raises(KinedepthError, match=r"The test gave no frame for 0\.1 s"):
        run_live(Played(captured(0), lambda: release.wait(30)), Lifter(), [sink], stall=0.1)
    release.set()
    assert sink.closed


def test_what_breaks_a_source_reaches_the_caller_also_if_it_is_a_bug():
    def fail(error):
        raise error

    for error in (KinedepthError("broken"), ZeroDivisionError()):
        with pytest.raises(type(error)):
            run_live(Played(captured(0), lambda e=error: fail(e)), Lifter(), [])


def test_a_run_that_is_stopped_ends_well():
    stop = threading.Event()
    sink = Sink(stop.set)
    report = run_live(Played(*map(captured, range(9))), Lifter(), [sink], lossless=True, stop=stop)
    assert report.shown == 1
    assert sink.closed


def test_a_reader_that_goes_away_ends_the_run_without_an_error():
    def leave():
        raise OutputClosedError

    report = run_live(Played(*map(captured, range(9))), Lifter(), [Sink(leave)], lossless=True)
    assert report.shown == 0
    assert "No frame" in report.sentence()


# Outputs


def test_a_film_shows_each_frame_at_its_time_and_keeps_its_size(tmp_path):
    path = tmp_path / "film.mp4"
    times = [0.0, 0.1, 0.4, 0.4, 1.0]
    with FilmOutput(path, points=3) as film:
        for index, time in enumerate(times):
            image = picture(index) if index < 3 else picture(index, 60, 60)
            film.write(Captured(image, index, time, 0.0), state(index, time))
        assert not path.exists()
    video = load_video(path)
    assert (video.width, video.height, len(video)) == (WIDTH, HEIGHT, 5)
    np.testing.assert_allclose(video.times, times, atol=0.001)
    # The smaller frames sit in the middle, with black at the sides.
    assert video.frame(4)[:, :8].max() < 40 < video.frame(4)[:, 40:56].mean()


def test_a_film_of_no_frame_is_not_made(tmp_path):
    with FilmOutput(tmp_path / "film.mp4", points=3):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_table_can_be_read_as_tracks(tmp_path):
    path = tmp_path / "tracks.csv"
    with TableOutput(path) as table:
        for index in range(4):
            table.write(captured(2 * index), state(index, index / 5))
    tracks = read_tracks(path)
    assert tracks.xy.shape == (7, 6, 2)
    assert tracks.visible[:, 0].tolist() == [True, False] * 3 + [True]
    header, first, *_ = path.read_text().splitlines()
    assert header == "track,frame,time,x,y,visible,log_ratio,log_ratio_std"
    assert first == "0,0,0,10.00,10.00,1,0.1,0.1"
    assert path.read_text().splitlines()[3].endswith("1,,")


def test_a_table_is_not_left_half_written(tmp_path):
    with contextlib.suppress(ZeroDivisionError), TableOutput(tmp_path / "tracks.csv") as table:
        table.write(captured(0), state(0, 0.0))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_raw_frames_go_out_whole_and_a_closed_pipe_ends_the_run():
    reading, writing = os.pipe()
    content: list[bytes] = []
    size = 3 * 400 * 300  # More than a pipe holds.

    def read() -> None:
        with open(reading, "rb") as file:
            content.append(file.read(size))

    reader = threading.Thread(target=read)
    reader.start()
    frame = captured(0, picture(0, 400, 300))
    output = RawOutput(3, writing)
    output.write(frame, state(0, 0.0))
    reader.join(10)
    assert len(content[0]) == size
    with pytest.raises(OutputClosedError):
        output.write(frame, state(1, 0.1))
    os.close(writing)


def test_the_viewer_is_bound_to_this_machine_and_ends_with_the_run(monkeypatch):
    pytest.importorskip("rerun")
    from kinedepth.live import rerun_output

    commands = []
    start = rerun_output.subprocess.Popen

    def remember(command, **options):
        commands.append(command)
        return start(command, **options)

    monkeypatch.setattr(rerun_output.subprocess, "Popen", remember)
    told: list[str] = []
    with rerun_output.RerunOutput(web=True, announce=told.append) as output:
        viewer = output._viewer
        for index in range(3):
            output.write(captured(index), state(index, index / 10))
    assert commands[0][commands[0].index("--bind") + 1] == "127.0.0.1"
    assert "http://127.0.0.1:" in told[0]
    assert viewer.poll() is not None
    port = int(commands[0][commands[0].index("--port") + 1])
    patience = 100
    while listening(port) and (patience := patience - 1):
        threading.Event().wait(0.1)
    assert patience


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
