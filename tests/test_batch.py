"""``kinedepth batch``: which videos, where results go, and what becomes of those that fail."""

import csv
import errno
import os
import signal
import string
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_jobs import Misbehaving, finish
from hypothesis import given
from hypothesis import strategies as st

from kinedepth.batch.attempt import attempt
from kinedepth.batch.folders import FOLDERS_FILE, assign_names, open_folders, safe_name
from kinedepth.batch.processes import ProcessWorkers
from kinedepth.batch.run import run_batch
from kinedepth.batch.table import write_table
from kinedepth.batch.videos import find_videos
from kinedepth.cli import main
from kinedepth.commands._batch_job import CommandJob
from kinedepth.errors import KinedepthError

# Which videos


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_is_searched_for_videos_and_folders_of_images(tmp_path):
    touch(tmp_path, "b.mp4", "sub/a.MOV", "sub/notes.txt", ".hidden/c.mp4", "frames/1.png")
    touch(tmp_path, "frames/2.png", "one/1.png", "out/a/overlay.mp4", ".d.mp4")
    found = find_videos(tmp_path, tmp_path / "out")
    assert [os.path.relpath(path, tmp_path) for path in found] == ["b.mp4", "frames", "sub/a.MOV"]


def test_a_list_names_videos_from_its_own_folder_each_once(tmp_path):
    lines = ["a.mp4", "", "# a remark", "  sub/b.mp4  ", "/else/c.mp4", "sub/../a.mp4", "f/*.png"]
    (tmp_path / "list.txt").write_text("\ufeff" + "\r\n".join(lines))
    found = find_videos(tmp_path / "list.txt", tmp_path)
    names = ["a.mp4", "sub/b.mp4", "f/*.png"]
    assert found == [str(tmp_path / n) for n in names[:2]] + [
        "/else/c.mp4",
        str(tmp_path / "f/*.png"),
    ]


def test_a_table_names_videos_in_its_column(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text('name,video\na,"with, comma.mp4"\nb,\nc,d.mp4\n')
    names = ["with, comma.mp4", "d.mp4"]
    assert find_videos(path, tmp_path) == [str(tmp_path / name) for name in names]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.txt", b"# nothing\n\n", "names no video"),
        ("list.csv", b"file\na.mp4\n", "no column called video"),
        ("list.csv", b'video\n"' + b"a" * 200_000 + b"\n", "as a table"),
        ("clip.mp4", b"\x00\x00\x00\x20ftypisom\xff\xfe", "no list of videos"),
        ("clip.bin", b"a\0b", "no list of videos"),
        ("missing/list.txt", None, "cannot be read"),
    ],
)
def test_what_is_no_list_is_told(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(KinedepthError, match=message):
        find_videos(tmp_path / name, tmp_path / "out")


def test_a_folder_without_videos_is_told(tmp_path):
    with pytest.raises(KinedepthError, match="holds no video"):
        find_videos(tmp_path, tmp_path / "out")


# Where results go

odd_paths = st.text(st.sampled_from(string.ascii_letters + "./\\:*?~ -_\n\0é漢\u202e\udc80"))


@given(odd_paths | st.text())
def test_a_folder_name_is_one_visible_component_whatever_the_video_is_called(video):
    name = safe_name(f"/videos/{video}")
    assert name
    assert Path(name).name == name
    assert not name.startswith(".")
    assert not set(name) & set("/\\:*?~ \n\0")
    assert len(name.encode()) <= 120


@given(st.lists(odd_paths, unique=True), st.integers(0, 5))
def test_no_two_videos_share_a_folder_and_each_keeps_its_own(videos, first):
    earlier = assign_names(videos[:first], {}, ["taken"])
    names = assign_names(reversed(videos), earlier, ["taken"])
    assert len({name.casefold() for name in names.values()} | {"taken"}) == len(videos) + 1
    assert {video: names[video] for video in earlier} == earlier


def test_a_folder_that_was_there_is_not_taken_for_a_video_of_the_same_name(tmp_path):
    (tmp_path / "clip").mkdir()
    first = open_folders(tmp_path, ["/a/clip.mp4", "/b/Clip.mp4"])
    assert [path.name for path in first.values()] == ["clip-2", "Clip-3"]
    again = open_folders(tmp_path, ["/c/clip.mp4", "/b/Clip.mp4"])
    assert [path.name for path in again.values()] == ["clip-4", "Clip-3"]


@pytest.mark.parametrize(
    "content",
    [
        '{"/a.mp4": "../../escaped"}',
        '{"/a.mp4": "/etc"}',
        '{"/a.mp4": ".."}',
        '{"/a": 1}',
        "[]",
        "{",
    ],
)
def test_a_record_that_leads_elsewhere_is_refused(tmp_path, content):
    (tmp_path / FOLDERS_FILE).write_text(content)
    with pytest.raises(KinedepthError, match="is damaged"):
        open_folders(tmp_path, ["/a.mp4"])


# What becomes of them


def test_what_is_said_while_a_video_is_worked_on_is_in_its_log(tmp_path, capsys):
    def work(video, folder):
        print("to one")
        print("to the other", file=sys.stderr)
        raise RuntimeError("a bug")

    ended = attempt(work, "/a.mp4", tmp_path / "a")
    log = (tmp_path / "a/log.txt").read_text()
    assert ended.again
    assert "RuntimeError: a bug" in ended.reason
    assert all(said in log for said in ("to one", "to the other", "Traceback", "in work"))
    assert capsys.readouterr() == ("", "")


class InTurn:
    """Workers that do the work at once, two at a time."""

    count = 2

    def __init__(self, work):
        self.work, self.begun, self.closed = work, [], False

    def start(self, video, folder):
        assert len(self.begun) < self.count
        self.begun.append((video, folder))

    def next(self):
        video, folder = self.begun.pop(0)
        return video, attempt(self.work, video, folder)

    def close(self):
        self.closed = True


def batch(folder, workers, names="abcde"):
    """Outcomes by name."""
    folders = {f"/{name}.mp4": folder / name for name in names}
    outcomes = run_batch(folders, lambda: workers, lambda outcome: None)
    write_table(folder, folders, outcomes)
    assert list(outcomes) == list(folders)
    return {Path(video).stem: outcome for video, outcome in outcomes.items()}


def states(outcomes):
    return "".join(outcome.state[0] for outcome in outcomes.values())


def tries(folder):
    return len((folder / "tries").read_text().splitlines())


@pytest.mark.parametrize(
    ("misdeed", "times", "state", "tried", "reason"),
    [
        ("bad input", 1, "failed", 1, "It is broken; mend it."),
        ("bug", 1, "done", 2, ""),
        ("bug", 9, "failed", 2, "A bug (RuntimeError: a bug); see log.txt."),
        ("memory", 9, "failed", 2, "Memory did not suffice."),
    ],
)
def test_a_video_that_fails_does_not_stop_the_others(
    tmp_path, misdeed, times, state, tried, reason
):
    outcomes = batch(tmp_path, InTurn(Misbehaving("b", misdeed, times)))
    assert states(outcomes) == f"d{state[0]}ddd"
    assert (outcomes["b"].reason, tries(tmp_path / "b")) == (reason, tried)
    assert (outcomes["a"].frames, outcomes["a"].points, outcomes["a"].seconds) == (5, 7, 1)
    with open(tmp_path / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == [outcome.state for outcome in outcomes.values()]
    assert rows[1]["reason"] == reason


def test_finished_videos_are_skipped_and_failed_ones_tried_again(tmp_path):
    batch(tmp_path, InTurn(Misbehaving("b", "bad input")))
    workers = InTurn(Misbehaving("b", "bad input"))
    assert states(batch(tmp_path, workers)) == "edeee"
    assert [tries(tmp_path / name) for name in "abcde"] == [1, 2, 1, 1, 1]
    assert workers.closed
    nobody = InTurn(None)
    assert states(batch(tmp_path, nobody)) == "eeeee"
    assert not nobody.closed  # Nobody was called at all.


def test_half_a_summary_counts_as_unfinished(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/summary.json").write_text('{"frames": 5')
    assert states(batch(tmp_path, InTurn(Misbehaving("-", "bug")), "ab")) == "dd"


def test_a_full_disk_ends_the_batch(tmp_path):
    def work(video, folder):
        if video == "/b.mp4":
            raise OSError(errno.ENOSPC, "No space left on device")
        finish(folder)

    workers = InTurn(work)
    with pytest.raises(KinedepthError, match="No space is left on the disk"):
        batch(tmp_path, workers)
    assert workers.closed
    assert not (tmp_path / "d").exists()


# Processes


@pytest.mark.parametrize(
    ("misdeed", "times", "state", "reason"),
    [
        ("killed", 1, "done", ""),
        ("killed", 9, "failed", "ended by SIGKILL, perhaps for want of memory."),
        ("exits", 9, "failed", "ended with exit code 3."),
    ],
)
def test_a_process_that_dies_is_replaced(tmp_path, misdeed, times, state, reason):
    outcomes = batch(tmp_path, ProcessWorkers(Misbehaving("b", misdeed, times)), "abc")
    assert states(outcomes) == f"d{state[0]}d"
    assert outcomes["b"].reason.endswith(reason)
    assert tries(tmp_path / "b") == 2


def test_one_process_does_all_and_several_have_one_thread_each(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for count, threads in ((1, "None"), (2, "1")):
        folder = tmp_path / str(count)
        folder.mkdir()
        batch(folder, ProcessWorkers(Misbehaving("-", "bug"), count), "abcd")
        lines = {(folder / name / "tries").read_text().strip() for name in "abcd"}
        assert len(lines) <= count
        assert {line.split()[1] for line in lines} == {threads}


def in_the_middle(path):
    """The process that is in the middle of a file beside ``path``."""
    half = path.with_name(f".tmp-{path.name}")
    deadline = time.monotonic() + 60
    while not (half.exists() and half.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(half.read_text())


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


PROGRAM = """
import signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
signal.signal(signal.SIGINT, signal.default_int_handler)
from batch_jobs import write_for_ever
from kinedepth.batch.processes import ProcessWorkers
from kinedepth.batch.run import run_batch

if __name__ == "__main__":
    folders = {{"/a.mp4": Path({folder!r}, "a")}}
    run_batch(folders, lambda: ProcessWorkers(write_for_ever), print)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_worker_ends_with_the_batch_however_it_ends(tmp_path, number):
    (tmp_path / "program.py").write_text(
        PROGRAM.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    )
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], stderr=subprocess.PIPE, text=True
    )
    worker = in_the_middle(tmp_path / "a/half.txt")
    program.send_signal(number)
    err = program.communicate(timeout=30)[1]
    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(worker)
    if number == signal.SIGINT:
        assert err.splitlines()[-1] == "KeyboardInterrupt"
        assert err.count("Traceback") == 1  # The worker's own is not shown.
        assert [path.name for path in (tmp_path / "a").iterdir()] == ["log.txt"]


# The command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "elsewhere"), "leave out --output"),
        (("--overwrite",), "leave out --output"),
    ],
)
def test_options_that_the_batch_sets_itself_are_refused(options, message):
    with pytest.raises(KinedepthError, match=message):
        CommandJob("lift", options).check()


def test_wrong_usage_is_told_before_anything_begins(tmp_path, capsys):
    touch(tmp_path, "a.mp4")
    for words, message in (
        (["--", "--querie", "grid:3"], "No such option"),
        (["--job", "ttc"], "choose lift or depth"),
        (["another.mp4"], "unexpected extra argument"),
        (["--worker-gpus", "1"], "is for --ray"),
    ):
        with pytest.raises(SystemExit) as ending:
            main(["batch", str(tmp_path), "-o", str(tmp_path / "out"), *words])
        assert ending.value.code == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
