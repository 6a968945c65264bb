"""``kinedepth train seurat``."""

import pytest
from command_outcome import assert_nothing_whole, assert_told_in_one_line
from small_lift_runs import TINY

from kinedepth.seurat.checkpoint import read_record


@pytest.fixture
def tiny_training(monkeypatch):
    """A network and a held-out set that train in seconds."""
    from kinedepth import _training_run
    from kinedepth.training.seurat import SeuratTask

    monkeypatch.setitem(_training_run.MODELS, "tiny", lambda: TINY)
    monkeypatch.setattr(SeuratTask, "for_model", lambda model: SeuratTask(model, held_out=1))


def test_training_exports_weights_that_lift_takes_and_resumes(kine, tiny_training, lift, tmp_path):
    run, weights = tmp_path / "run", tmp_path / "mine.safetensors"
    command = ("train", "seurat", "-o", run, "--model", "tiny", "--batch", 1, "--test-every", 1)
    first = kine(*command, "--steps", 1, "--weights", weights)
    assert first.code == 0
    assert "step 1 of 1, held-out error" in first.err
    config, record = read_record(weights)
    assert (config, record["steps"]) == (TINY, 1)
    assert lift("--model", weights, "--frames", "0:4").code == 0

    again = kine(*command, "--steps", 2, "--weights", weights)
    assert again.code == 0
    assert "step 2 of 2" in again.err
    assert "step 1 of 2" not in again.err
    assert read_record(weights)[1]["steps"] == 2
    pytest.importorskip("matplotlib")
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_training_stopped_by_ctrl_c_says_how_to_go_on(kine, tiny_training, tmp_path, monkeypatch):
    from kinedepth.training.trainer import Trainer

    def interrupted(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", interrupted)
    outcome = kine("train", "seurat", "-o", tmp_path, "--model", "tiny")
    assert outcome.code == 130
    assert "run the same command to go on" in outcome.err_lines[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "giant"), "no configuration 'giant'; choose small, base, paper"),
        (("--precision", "int8"), "float32 or bfloat16"),
        (("--minutes", 0), "greater than zero"),
        (("--learning-rate", -1), "greater than zero"),
        (("--weights", "no/such/folder/w.safetensors"), "no folder"),
        (("--device", "abacus"), "auto, cpu, cuda or mps"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_training_tells_bad_options(kine, tmp_path, options, message):
    outcome = kine("train", "seurat", "-o", tmp_path / "run", *options)
    assert_told_in_one_line(outcome, message)
    assert_nothing_whole(tmp_path / "run")
