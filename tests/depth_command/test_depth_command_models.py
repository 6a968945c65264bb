"""``kinedepth depth`` with other models, weights trained here, and downloads."""

import re

import pytest
from command_outcome import assert_told_in_one_line
from small_depth_runs import FRAMES, stop_after
from vda_reference import tiny_network

import kinedepth
from kinedepth import depth_run
from kinedepth.dense import registry
from kinedepth.dense.video_depth_anything.trained import save_trained
from kinedepth.depth_files import load_depth_video
from kinedepth.errors import KinedepthError


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
