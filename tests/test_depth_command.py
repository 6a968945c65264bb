"""Dense depth from the command line and from Python: files, what they mean, and bad days."""

import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch
from vda_reference import TINY, deterministic_weights, moving_picture, tiny_network

import kinedepth
from kinedepth import depth_run, hub
from kinedepth._depth_run_folder import UNFINISHED
from kinedepth.cli import main
from kinedepth.dense import registry
from kinedepth.dense.registry import DepthModelEntry, DepthOptions, make_depth_model
from kinedepth.dense.store import DepthStore
from kinedepth.dense.video_depth_anything import loading
from kinedepth.dense.video_depth_anything.checkpoint import published_shapes, published_state
from kinedepth.dense.video_depth_anything.trained import save_trained
from kinedepth.depth_files import load_depth_video
from kinedepth.errors import KinedepthError
from kinedepth.exporting import depth_outputs
from kinedepth.exporting.video_writer import VideoWriter
from kinedepth.video import Video, load_video

FRAMES, HEIGHT, WIDTH = 40, 42, 56


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def kine(capsys):
    """Runs the command line in this process."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(ending.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """A folder with clips and the weights of a tiny network."""
    folder = tmp_path_factory.mktemp("things")
    for name, frames in (("clip", FRAMES), ("two_frames", 2), ("one_frame", 1)):
        with VideoWriter(folder / f"{name}.mp4", WIDTH, HEIGHT, 25) as writer:
            for frame in moving_picture(frames):
                writer.write(frame)
    torch.save(published_state(tiny_network()), folder / "tiny.pth")
    return folder


def use_tiny_models(monkeypatch):
    """Let names of Video Depth Anything stand for a tiny network, and keep chunks short."""
    monkeypatch.setitem(loading.CONFIGS, "vda-small", TINY)
    monkeypatch.setitem(loading.CONFIGS, "vda-metric-small", TINY.as_metric())
    monkeypatch.setattr(depth_run, "_CHUNK_BYTES", 7 * 4 * HEIGHT * WIDTH)


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    use_tiny_models(monkeypatch)


@pytest.fixture(scope="module")
def whole(things, tmp_path_factory):
    """The folder of a run that nothing stopped, with the usual options of :func:`depth`."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    command = ["depth", things / "clip.mp4", "-o", folder, "--weights", things / "tiny.pth"]
    command += ["--input-size", 28, "--format", "npz"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_tiny_models(monkeypatch)
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in command])
    assert not ending.value.code
    return folder


@pytest.fixture
def depth(kine, things, tmp_path):
    """Runs ``kinedepth depth`` with the tiny network; later options win over the usual ones."""

    def run(*options, video=things / "clip.mp4", output=tmp_path / "out"):
        usual = ("-o", output, "--weights", things / "tiny.pth", "--input-size", 28)
        return kine("depth", video, *usual, "--format", "npz", *options)

    return run


def assert_told_in_one_line(outcome, message):
    assert outcome.code == 2, outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("kinedepth: ")
    assert re.search(message, outcome.err), outcome.err


def files_of(folder):
    """Everything in a folder as bytes, but for the summary's timings."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.name != "summary.json"
    }


def stop_after(monkeypatch, chunks, error):
    """Let a run fail when it lays down a chunk after ``chunks`` others; undone by the caller."""
    append, laid = DepthStore.append, []

    def limited(self, *arguments):
        if len(laid) == chunks:
            raise error
        append(self, *arguments)
        laid.append(None)

    monkeypatch.setattr(DepthStore, "append", limited)
    return lambda: monkeypatch.setattr(DepthStore, "append", append)


# What works


def test_a_run_leaves_depth_at_the_size_and_rate_of_the_video_and_says_what_it_means(
    depth, things, tmp_path
):
    outcome = depth("--format", "npz,mp4")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "depth.mp4",
        "depth.npz",
        "summary.json",
    ]
    stored = load_depth_video(tmp_path / "out")
    assert stored.depth.shape == (FRAMES, HEIGHT, WIDTH)
    assert (stored.kind, stored.fps) == ("affine_invariant_disparity", 25)
    film = load_video(tmp_path / "out" / "depth.mp4")
    assert (len(film), film.width, film.height, film.fps) == (FRAMES, WIDTH, HEIGHT, 25)
    assert "larger is nearer; they are not metres" in outcome.out
    assert "frames/s" in outcome.out


def test_the_summary_tells_model_kind_settings_and_speed(depth, tmp_path):
    assert depth("--strategy", "overlap", "--frames", "10:20").code == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["model"] == "vda-small"
    assert summary["kind"] == "affine_invariant_disparity"
    assert summary["options"] == {"input_size": 28, "strategy": "overlap"}
    assert summary["frames"] == 10
    assert summary["weights"] == "tiny.pth"
    assert summary["outputs"] == ["depth.npz"]
    assert summary["frames_per_second"] > 0
    assert {"depth", "ranges", "writing"} <= set(summary["seconds"])
    low, high = summary["value_range"]
    stored = load_depth_video(tmp_path / "out").depth
    assert (low, high) == (stored.min(), stored.max())


def test_a_metric_model_gives_metres(depth, tmp_path):
    outcome = depth("--model", "vda-metric-small", "--frames", ":4")
    assert outcome.code == 0, outcome.err
    assert load_depth_video(tmp_path / "out").kind == "metric"
    assert "in metres" in outcome.out


def test_the_command_and_the_function_agree_to_the_last_bit(whole, things):
    found = kinedepth.estimate_depth(
        things / "clip.mp4", weights=things / "tiny.pth", input_size=28, device="cpu"
    )
    assert np.array_equal(found.depth, load_depth_video(whole).depth)


def test_a_stream_sees_no_later_frame(depth, tmp_path):
    assert depth("--stream", "--frames", ":12").code == 0
    assert depth("--stream", "--frames", ":6", output=tmp_path / "short").code == 0
    whole, start = (load_depth_video(tmp_path / name).depth for name in ("out", "short"))
    assert np.array_equal(whole[:6], start)


def test_two_frames_are_enough(depth, things, tmp_path):
    assert depth(video=things / "two_frames.mp4").code == 0
    assert len(load_depth_video(tmp_path / "out")) == 2


@pytest.mark.parametrize("shape", [(41, 63, 3), (20, 100, 3), (100, 20, 4), (33, 47)])
def test_folders_of_images_of_any_shape_work(depth, tmp_path, shape):
    """Odd sides, 1 to 5 lying and standing, an alpha channel, grey."""
    folder = tmp_path / "frames"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), rng.integers(0, 255, shape, dtype=np.uint8))
    outcome = depth("--format", "npz,mp4", video=folder)
    assert outcome.code == 0, outcome.err
    stored = load_depth_video(tmp_path / "out").depth
    assert stored.shape == (3, *shape[:2])
    assert np.isfinite(stored).all()


def test_a_log_tells_frames_per_second(depth):
    lines = depth().err.splitlines()
    assert re.fullmatch(r"depth: done in [\d.]+ s, [\d.]+ frames/s", lines[0])
    assert [line.partition(":")[0] for line in lines] == ["depth", "ranges", "writing"]


# Stopped and gone on with


@pytest.mark.parametrize("options", [("--format", "npz,mp4"), ("--stream",)])
def test_a_run_that_was_stopped_goes_on_and_gives_the_same_bytes(
    depth, tmp_path, monkeypatch, options
):
    assert depth(*options, output=tmp_path / "whole").code == 0
    undo = stop_after(monkeypatch, 4, KeyboardInterrupt())
    stopped = depth(*options)
    undo()
    assert stopped.code == 130
    assert "28 of 40 frames are kept" in stopped.err
    assert "--resume" in stopped.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [UNFINISHED]
    resumed = depth(*options, "--resume")
    assert resumed.code == 0, resumed.err
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["resumed_at_frame"] == 28


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from vda_reference import TINY
from kinedepth import depth_run
from kinedepth._depth_run_folder import UNFINISHED
from kinedepth.cli import main
from kinedepth.dense.store import DepthStore
from kinedepth.dense.video_depth_anything import loading
loading.CONFIGS["vda-small"] = TINY
depth_run._CHUNK_BYTES = 7 * 4 * 42 * 56
append = DepthStore.append
DepthStore.append = lambda *arguments: (append(*arguments), time.sleep(0.3))
main(sys.argv[2:])
"""


def test_a_run_that_was_killed_goes_on_and_gives_the_same_bytes(depth, whole, things, tmp_path):
    arguments = ["depth", things / "clip.mp4", "-o", tmp_path / "out", "--format", "npz"]
    arguments += ["--weights", things / "tiny.pth", "--input-size", "28"]
    tests = os.path.dirname(__file__)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, tests, *map(str, arguments)],
        # Sums depend on how many threads share them.
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stderr=subprocess.PIPE,
    )
    work = tmp_path / "out" / UNFINISHED
    deadline = time.monotonic() + 60
    while len(list(work.glob("depth-*.npy"))) < 3 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()
    assert 14 <= DepthStore.open(work).frames_done < FRAMES
    assert depth("--resume").code == 0
    assert files_of(tmp_path / "out") == files_of(whole)


def test_a_full_disk_keeps_what_was_written_and_the_run_goes_on(
    depth, whole, tmp_path, monkeypatch
):
    save, saved = np.save, []

    def limited(path, array):
        if len(saved) == 3:
            path.write_bytes(b"half a chunk")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(path, array)
        saved.append(path)

    monkeypatch.setattr(np, "save", limited)
    outcome = depth()
    monkeypatch.setattr(np, "save", save)
    assert_told_in_one_line(outcome, "No space is left on the disk; 21 of 40 frames .*--resume")
    names = sorted(path.name for path in (tmp_path / "out" / UNFINISHED).iterdir())
    chunks = [f"depth-{first:06d}.npy" for first in (0, 7, 14)]
    assert names == [*chunks, "manifest.json", "state-000021.npz"]
    assert depth("--resume").code == 0
    assert files_of(tmp_path / "out") == files_of(whole)


def test_a_disk_that_fills_while_the_results_are_written_costs_no_frame(
    depth, tmp_path, monkeypatch
):
    write = depth_outputs.DepthOutputs.write

    def limited(self, index, image, values):
        if index == 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, index, image, values)

    monkeypatch.setattr(depth_outputs.DepthOutputs, "write", limited)
    outcome = depth()
    monkeypatch.setattr(depth_outputs.DepthOutputs, "write", write)
    assert outcome.code == 2
    assert "40 of 40 frames are kept" in outcome.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [UNFINISHED]

    def not_again(*_):
        raise AssertionError("all frames are done; no model is needed")

    monkeypatch.setattr(depth_run, "load_depth_model", not_again)
    assert depth("--resume").code == 0
    assert len(load_depth_video(tmp_path / "out")) == FRAMES


def test_too_little_space_is_told_before_the_work(depth, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    outcome = depth("--frames", ":4")
    assert outcome.code == 0
    assert "needs about 0.0 GB" in outcome.err.splitlines()[0]


@pytest.fixture
def unfinished(depth, tmp_path, monkeypatch):
    """The folder of a run that was stopped after 14 frames."""
    undo = stop_after(monkeypatch, 2, KeyboardInterrupt())
    assert depth().code == 130
    undo()
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--input-size", 56), "made with input_size 28, not 56"),
        (("--strategy", "none"), "made with strategy its default, not none"),
        (("--model", "vda-metric-small"), "made with model vda-small, not vda-metric-small"),
        (("--frames", "::2"), "made of another video"),
        (("--weights", "others.pth"), "made with other weights"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(
    depth, unfinished, things, change, message, monkeypatch
):
    monkeypatch.chdir(things)
    shapes = published_shapes(TINY)
    torch.save(deterministic_weights(shapes, last_bias=0.4), things / "others.pth")
    before = files_of(unfinished / UNFINISHED)
    assert_told_in_one_line(depth("--resume", *change), message)
    assert files_of(unfinished / UNFINISHED) == before


def test_an_unfinished_run_is_neither_lost_nor_gone_on_with_unasked(depth, unfinished):
    assert_told_in_one_line(depth(), "unfinished run; add --resume .*or --overwrite")
    assert_told_in_one_line(depth("--resume", "--overwrite"), "not both")
    assert DepthStore.open(unfinished / UNFINISHED).frames_done == 14
    assert depth("--overwrite").code == 0
    assert not (unfinished / UNFINISHED).exists()


def test_other_formats_may_be_asked_for_when_a_run_goes_on(depth, unfinished):
    assert depth("--resume", "--format", "npz,mp4").code == 0
    assert (unfinished / "depth.mp4").is_file()


@pytest.mark.parametrize("damage", ["missing", "cut off", "manifest"])
def test_an_unfinished_run_that_was_damaged_is_told(depth, unfinished, damage):
    chunk = unfinished / UNFINISHED / "depth-000007.npy"
    if damage == "missing":
        chunk.unlink()
    elif damage == "cut off":
        chunk.write_bytes(chunk.read_bytes()[:-40])
    else:
        (unfinished / UNFINISHED / "manifest.json").write_text("{")
    assert_told_in_one_line(depth("--resume"), "cannot be read .*begin anew")


def test_resume_with_nothing_to_go_on_with_starts_and_says_so(depth):
    outcome = depth("--resume")
    assert outcome.code == 0
    assert "holds nothing to go on with; starting at frame 0" in outcome.err


def test_a_finished_run_is_replaced_only_when_asked_and_then_entirely(depth, tmp_path):
    assert depth("--format", "npz,mp4").code == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert_told_in_one_line(depth(), "already holds .* of an earlier run")
    assert depth("--overwrite", "--frames", ":4").code == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"depth.npz", "summary.json", "notes.txt"}
    assert len(load_depth_video(tmp_path / "out")) == 4


# Other models


def test_weights_that_were_trained_here_bring_their_configuration(depth, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_trained(path, tiny_network(), {"steps": 1})
    outcome = depth("--model", "vda", "--weights", path, "--frames", ":3")
    assert outcome.code == 0, outcome.err
    assert load_depth_video(tmp_path / "out").kind == "affine_invariant_disparity"
    outcome = depth("--model", "vda-metric", "--weights", path, "--overwrite")
    assert_told_in_one_line(outcome, "trained to give relative depth, not metric; .*model vda")


def test_a_model_without_published_weights_asks_for_a_file(kine, things, tmp_path):
    outcome = kine("depth", things / "clip.mp4", "-o", tmp_path / "out", "--model", "vda")
    assert_told_in_one_line(outcome, "No weights are published for vda; give --weights PATH")


class Brightness:
    """Takes brightness for depth; it cannot go on where it was stopped."""

    name, kind, per_frame = "brightness", "affine_invariant", True

    def __init__(self, short_by=0):
        self.short_by = short_by

    def predict(self, video, progress=None):
        for first, frames in video.blocks(1, 0, len(video) - self.short_by):
            if progress:
                progress(first + 1, len(video))
            yield frames[0].mean(axis=-1, dtype=np.float32)


def load_brightness(name, weights, options, device):
    return Brightness()


@pytest.fixture
def brightness(monkeypatch):
    entry = DepthModelEntry(
        f"{__name__}:load_brightness", "affine_invariant", ("input_size",), per_frame=True
    )
    monkeypatch.setitem(registry.DEPTH_MODELS, "brightness", entry)


def test_a_model_is_one_function_and_one_line(depth, brightness, tmp_path):
    outcome = depth("--model", "brightness")
    assert outcome.code == 0, outcome.err
    stored = load_depth_video(tmp_path / "out")
    assert stored.kind == "affine_invariant"
    assert "Each frame stands alone" in outcome.out


def test_a_model_that_cannot_go_on_begins_again_and_says_so(
    depth, brightness, tmp_path, monkeypatch
):
    undo = stop_after(monkeypatch, 2, KeyboardInterrupt())
    assert depth("--model", "brightness").code == 130
    undo()
    outcome = depth("--model", "brightness", "--resume")
    assert outcome.code == 0, outcome.err
    assert "brightness cannot go on where it was stopped; starting at frame 0" in outcome.err
    assert len(load_depth_video(tmp_path / "out")) == FRAMES


def test_a_slow_model_lays_down_what_it_has_before_a_chunk_is_full(
    depth, brightness, tmp_path, monkeypatch
):
    monkeypatch.setattr(depth_run, "_CHUNK_SECONDS", 0.0)
    undo = stop_after(monkeypatch, 3, KeyboardInterrupt())
    assert "3 of 40 frames are kept" in depth("--model", "brightness").err
    undo()


def test_an_option_that_a_model_does_not_take_is_told(depth, brightness):
    outcome = depth("--model", "brightness", "--strategy", "none")
    assert_told_in_one_line(outcome, "brightness does not take .* strategy; it takes weights, inp")


@pytest.mark.parametrize("name", registry.DEPTH_MODELS)
def test_every_model_of_the_registry_has_a_loader(name):
    module, _, function = registry.find_entry(name).loader.partition(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))


# Bad input


def test_an_unknown_model_is_told_with_all_names(depth):
    assert_told_in_one_line(depth("--model", "vda-huge"), "'vda-huge'; .*vda-small, .*vda-metric-l")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "gif"), "no format 'gif'"),
        (("--colormap", "mauve", "--format", "mp4"), "no colour map 'mauve'"),
        (("--precision", "float8"), "Unknown precision 'float8'"),
        (("--strategy", "best"), "Unknown strategy 'best'"),
        (("--stream", "--strategy", "none"), "stream has no windows"),
        (("--align-stream",), "Only a stream can be aligned"),
        (("--device", "abacus"), "Unknown device"),
        (("--point-clouds", "99"), "frames from 0 to 39"),
        (("--fov", 60), "for --point-clouds only"),
        (("--frames", "0:1"), "one frame left"),
    ],
)
def test_options_that_make_no_sense_are_told_before_any_work(depth, tmp_path, options, message):
    assert_told_in_one_line(depth(*options), message)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_one_frame_is_told(depth, things):
    assert_told_in_one_line(depth(video=things / "one_frame.mp4"), "has one frame")


def test_a_frame_size_that_changes_midway_is_told(depth, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(12):
        side = 42 if index < 9 else 40
        cv2.imwrite(str(folder / f"{index:02d}.png"), np.full((side, 56, 3), 99, np.uint8))
    assert_told_in_one_line(depth(video=folder), "09.png is 56x40 but .*00.png is 56x42")
    assert list((tmp_path / "out").iterdir()) == []


def test_weights_that_are_cut_off_or_missing_are_told(depth, things, tmp_path):
    path = tmp_path / "cut.pth"
    path.write_bytes((things / "tiny.pth").read_bytes()[:5000])
    assert_told_in_one_line(depth("--weights", path), "cut.pth is not a readable weights file")
    outcome = depth("--weights", tmp_path / "none.pth")
    assert_told_in_one_line(outcome, "no weights file .*none.pth")


def test_weights_of_another_size_are_told(depth, things):
    """The tiny weights do not fit a published size; nor do those of vits fit vitb."""
    outcome = depth("--model", "vda-base")
    assert_told_in_one_line(outcome, "does not fit Video Depth Anything vitb")


def test_published_weights_of_one_size_are_named_when_another_is_asked_for(depth, tmp_path):
    shapes = published_shapes(loading.VITS)
    # One number stands for a whole tensor: the file stays small.
    tensors = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    torch.save(tensors, tmp_path / "vits.pth")
    outcome = depth("--model", "vda-base", "--weights", tmp_path / "vits.pth")
    assert_told_in_one_line(outcome, "holds weights of size vits, not vitb")


def test_relative_weights_do_not_pass_for_metric_ones(depth, things, monkeypatch):
    path = things / "tiny.pth"
    file = hub.HubFile("a.pth", path.stat().st_size, hub.sha256_of(path))
    known = hub.PublishedWeights("a/b", (file,), hub.APACHE_2)
    monkeypatch.setitem(hub.PUBLISHED, "vda-small", known)
    outcome = depth("--model", "vda-metric-small")
    assert_told_in_one_line(outcome, "published weights of vda-small, not of vda-metric-small")


class TestDownloads:
    @pytest.fixture
    def hub_functions(self, monkeypatch):
        import huggingface_hub

        def unreachable(*_, **__):
            raise huggingface_hub.errors.LocalEntryNotFoundError("No connection.")

        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)

    def test_a_licence_that_is_declined_ends_the_run(self, kine, things, tmp_path, hub_functions):
        outcome = kine("depth", things / "clip.mp4", "-o", tmp_path / "out", "--model", "vda-base")
        assert outcome.code == 2
        shown, told = outcome.err.splitlines()
        assert "published under CC-BY-NC-4.0" in shown
        assert "was not accepted; add --accept-licence" in told
        assert not (tmp_path / "out").exists()

    def test_no_network_is_one_sentence(self, kine, things, tmp_path, hub_functions):
        outcome = kine("depth", things / "clip.mp4", "-o", tmp_path / "out")
        assert outcome.code == 2
        assert re.search("cannot be reached.*--weights PATH", outcome.err.splitlines()[-1])

    def test_python_needs_consent_in_so_many_words(self, things, hub_functions):
        with pytest.raises(KinedepthError, match="accept_licence=True"):
            kinedepth.estimate_depth(things / "clip.mp4", "vda-large", device="cpu")


# From Python


class TestEstimateDepth:
    def test_any_object_that_predicts_is_a_model(self):
        pictures = moving_picture(5)
        progress = []
        found = kinedepth.estimate_depth(
            Video.from_array(pictures, fps=12), Brightness(), progress=lambda *p: progress.append(p)
        )
        assert np.array_equal(found.depth, pictures.mean(axis=-1, dtype=np.float32))
        assert (found.kind, found.per_frame) == ("affine_invariant", True)
        assert found.fps == pytest.approx(12)
        assert progress[-1] == (5, 5)

    def test_what_is_too_large_for_memory_lies_on_disk(self, monkeypatch):
        video = Video.from_array(moving_picture(5))
        small = kinedepth.estimate_depth(video, Brightness()).depth
        monkeypatch.setattr("kinedepth._frame_store.LARGEST_IN_MEMORY", 1000)
        large = kinedepth.estimate_depth(video, Brightness()).depth
        assert isinstance(large, np.memmap)
        assert not isinstance(small, np.memmap)
        assert np.array_equal(large, small)

    def test_a_folder_keeps_the_depth(self, tmp_path):
        video = Video.from_array(moving_picture(5))
        for _ in range(2):  # The second time it is replaced.
            found = kinedepth.estimate_depth(video, Brightness(), folder=tmp_path / "kept")
        assert isinstance(found.depth, np.memmap)
        kept = load_depth_video(tmp_path / "kept" / "depth.npz")
        assert np.array_equal(kept.depth, found.depth)

    @pytest.mark.parametrize("kept", [False, True])
    def test_a_model_that_gives_too_few_frames_is_told(self, tmp_path, kept):
        video = Video.from_array(moving_picture(5))
        folder = tmp_path / "kept" if kept else None
        with pytest.raises(KinedepthError, match="depth of 3 of 5 frames"):
            kinedepth.estimate_depth(video, Brightness(short_by=2), folder=folder)
        assert not kept or list(folder.iterdir()) == []

    def test_options_that_do_not_exist_are_told_with_those_that_do(self):
        video = Video.from_array(moving_picture(2))
        with pytest.raises(KinedepthError, match=r"no option 'size' .*weights, input_size"):
            kinedepth.estimate_depth(video, size=3)
        with pytest.raises(KinedepthError, match="takes no options; got input_size"):
            kinedepth.estimate_depth(video, Brightness(), input_size=3)

    def test_a_model_can_be_made_once_for_many_videos(self, things):
        options = DepthOptions(weights=things / "tiny.pth", input_size=28)
        model = make_depth_model("vda-small", options)
        found = [
            kinedepth.estimate_depth(Video.from_array(moving_picture(count)), model)
            for count in (3, 5)
        ]
        assert [len(depth) for depth in found] == [3, 5]
