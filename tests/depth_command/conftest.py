import pytest
import torch
from small_depth_runs import FRAMES, HEIGHT, WIDTH, use_tiny_models
from vda_reference import moving_picture, tiny_network

from kinedepth.cli import main
from kinedepth.dense import registry
from kinedepth.dense.registry import DepthModelEntry
from kinedepth.dense.video_depth_anything.checkpoint import published_state
from kinedepth.exporting.video_writer import VideoWriter


@pytest.fixture(scope="session")
def things(tmp_path_factory):
    """A folder with clips and the weights of a tiny network."""
    folder = tmp_path_factory.mktemp("things")
    for name, frames in (("clip", FRAMES), ("two_frames", 2), ("one_frame", 1)):
        with VideoWriter(folder / f"{name}.mp4", WIDTH, HEIGHT, 25) as writer:
            for frame in moving_picture(frames):
                writer.write(frame)
    torch.save(published_state(tiny_network()), folder / "tiny.pth")
    return folder


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    use_tiny_models(monkeypatch)


@pytest.fixture(scope="session")
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


@pytest.fixture
def brightness(monkeypatch):
    entry = DepthModelEntry(
        "small_depth_runs:load_brightness", "affine_invariant", ("input_size",), per_frame=True
    )
    monkeypatch.setitem(registry.DEPTH_MODELS, "brightness", entry)
