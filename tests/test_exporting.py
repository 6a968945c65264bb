import errno
import json
import time
from pathlib import Path

import av
import numpy as np
import pytest
from folder_contents import names_in

import kinedepth
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import RUN_FILES, atomic_path, prepare_output_folder
from kinedepth.exporting.summary import Stopwatch, write_summary


def write_and_fail(target: Path, failure: BaseException) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise failure


# Files that appear whole or not at all


def test_a_file_appears_once_it_is_complete(tmp_path):
    target = tmp_path / "result.txt"
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("done")
        assert not target.exists()
    assert target.read_text() == "done"
    assert names_in(tmp_path) == ["result.txt"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit, KinedepthError])
def test_a_failure_leaves_nothing_behind_and_keeps_what_was_there(tmp_path, failure):
    target = tmp_path / "result.txt"
    target.write_text("earlier")
    with pytest.raises(failure):
        write_and_fail(target, failure())
    assert target.read_text() == "earlier"
    assert names_in(tmp_path) == ["result.txt"]


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        av.error.OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_in_one_sentence(tmp_path, failure):
    target = tmp_path / "result.txt"
    with pytest.raises(KinedepthError, match=r"No space left on the disk while writing .*result"):
        write_and_fail(target, failure)
    assert names_in(tmp_path) == []


def test_an_unrelated_error_passes_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "result.txt"):
        (tmp_path / "another.txt").read_text()


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    with (
        pytest.raises(KinedepthError, match=r"There is no folder .*missing"),
        atomic_path(tmp_path / "missing" / "result.txt"),
    ):
        pass
    with pytest.raises(KinedepthError, match="is a folder"), atomic_path(tmp_path):
        pass
    denied = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".tmp-result.txt"))
    with pytest.raises(KinedepthError, match=r"result\.txt cannot be written \(Permission denied"):
        write_and_fail(tmp_path / "result.txt", denied)


# Output folders


def test_an_output_folder_is_created_with_its_parents(tmp_path):
    folder = prepare_output_folder(tmp_path / "runs" / "first")
    assert folder.is_dir()
    assert prepare_output_folder(folder) == folder


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_folder_with_a_file_of_an_earlier_run_is_refused(tmp_path, name):
    (tmp_path / name).write_text("earlier")
    with pytest.raises(KinedepthError, match=f"already holds {name} of an earlier run"):
        prepare_output_folder(tmp_path)
    assert (tmp_path / name).read_text() == "earlier"


def test_overwriting_removes_the_earlier_run_and_nothing_else(tmp_path):
    for name in (*RUN_FILES, ".tmp-tracks.npz", "notes.txt", "video.mp4"):
        (tmp_path / name).write_text("earlier")
    prepare_output_folder(tmp_path, overwrite=True)
    assert names_in(tmp_path) == ["notes.txt", "video.mp4"]


def test_a_file_cannot_serve_as_output_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KinedepthError, match="is a file"):
        prepare_output_folder(tmp_path / "file")
    with pytest.raises(KinedepthError, match="cannot be prepared"):
        prepare_output_folder(tmp_path / "file" / "below")


# Summary


def test_a_summary_tells_facts_platform_and_memory(tmp_path):
    written = write_summary(tmp_path / "summary.json", {"frames": 48, "seconds": {"lift": 1.5}})
    read = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert read == written
    assert read["frames"] == 48
    assert read["seconds"] == {"lift": 1.5}
    assert read["version"] == kinedepth.__version__
    assert set(read["platform"]) == {"cpu", "cpu_cores", "os", "python", "torch"}
    assert all(read["platform"].values())
    assert 10 < read["peak_memory_mib"] < 1e6  # MiB: neither bytes nor gibibytes.
    assert names_in(tmp_path) == ["summary.json"]


def test_a_summary_holds_plain_json_whatever_it_is_given(tmp_path):
    facts = {
        "size": (np.int64(640), 480),
        "median": np.float32(0.5),
        "worst": float("nan"),
        "ratios": np.array([[1.0, np.inf]]),
        "source": Path("clip.mp4"),
        "frames": range(0, 6, 2),
        "metric": np.bool_(True),
        "title": "Möbius",
        7: None,
    }
    write_summary(tmp_path / "summary.json", facts)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    read = json.loads(text, parse_constant=refuse)
    assert {key: read[key] for key in map(str, facts)} == {
        "size": [640, 480],
        "median": 0.5,
        "worst": None,
        "ratios": [[1.0, None]],
        "source": "clip.mp4",
        "frames": [0, 2, 4],
        "metric": True,
        "title": "Möbius",
        "7": None,
    }


def test_a_stopwatch_adds_up_named_stages_even_when_one_fails():
    watch = Stopwatch()
    with watch.stage("tracking"):
        time.sleep(0.01)
    first = watch.seconds["tracking"]
    with watch.stage("tracking"), watch.stage("lifting"):
        time.sleep(0.01)
    with pytest.raises(RuntimeError), watch.stage("viewing"):
        raise RuntimeError
    assert list(watch.seconds) == ["tracking", "lifting", "viewing"]
    assert 0.01 <= first < watch.seconds["tracking"]
    assert watch.seconds["lifting"] >= 0.01
