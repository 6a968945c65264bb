"""Training RollingDepth: what a step teaches, what comes out, and that it goes on where it was."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from rolling_reference import moving_picture, tiny_unet, write_tiny_pipeline
from training_runs import changed, whole_and_resumed

from kinedepth.dense.registry import DepthOptions, make_depth_model
from kinedepth.dense.rolling_depth import tiny
from kinedepth.dense.rolling_depth.components import load_components
from kinedepth.dense.rolling_depth.config import RollingDepthSettings
from kinedepth.dense.rolling_depth.diffusion import SnippetDiffusion
from kinedepth.dense.rolling_depth.trained import load_to_train, read_training, save_trained
from kinedepth.dense.rolling_depth.video_run import RollingDepthRun
from kinedepth.dense.rolling_depth.widening import widen_first_convolution
from kinedepth.errors import KinedepthError
from kinedepth.training.autoencoder import AutoencoderTask, set_scaling_factor
from kinedepth.training.footage_folders import find_videos
from kinedepth.training.held_out_footage import middle_of_footage
from kinedepth.training.rendered_clips import write_training_clips
from kinedepth.training.rolling_depth import RollingDepthTask
from kinedepth.training.snippets import SnippetBatch, draw_snippets
from kinedepth.training.trainer import LOG_FILE, Trainer, TrainingConfig
from kinedepth.video import Video

CPU = torch.device("cpu")
CONFIG = TrainingConfig(steps=4, batch=3, warmup=1, test_every=4, save_every=2, decay="exponential")
SIZE = 32


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips")
    write_training_clips(path, 3, frames=6, width=40, height=40, seed=1)
    return path


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    write_tiny_pipeline(folder)
    return folder


@pytest.fixture
def task(clips, pipeline):
    footage = find_videos(clips)
    return RollingDepthTask(footage, footage[:1], pipeline, size=SIZE)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_widened_network_says_what_the_narrow_one_said_of_the_same_latents_twice():
    torch.manual_seed(0)
    narrow = tiny_unet(in_channels=4).eval()
    latents, prompt = torch.randn(2, 4, 8, 8), torch.randn(2, 2, 8)
    with torch.no_grad():
        expected = narrow(latents, 500, prompt).sample
        wide = widen_first_convolution(narrow)
        found = wide(torch.cat([latents, latents], dim=1), 500, prompt).sample
        mixed = wide(torch.cat([latents + 1, latents - 1], dim=1), 500, prompt).sample
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(mixed, expected)  # Both halves count the same.
    assert wide.config.in_channels == wide.conv_in.in_channels == 8


def test_training_may_begin_with_a_model_of_images(pipeline, tmp_path):
    folder = shutil.copytree(pipeline, tmp_path / "images")
    shutil.rmtree(folder / "unet")
    tiny_unet(in_channels=4).save_pretrained(folder / "unet")
    with pytest.raises(KinedepthError, match="has 4 in_channels"):
        load_components(folder)
    assert load_to_train(folder).unet.config.in_channels == 8


def test_training_gives_the_schedule_an_end_of_nothing_but_noise(pipeline, tmp_path):
    folder = shutil.copytree(pipeline, tmp_path / "other")
    file = folder / "scheduler" / "scheduler_config.json"
    settings = json.loads(file.read_text())
    settings |= {"rescale_betas_zero_snr": False, "timestep_spacing": "leading"}
    file.write_text(json.dumps(settings))
    parts = load_to_train(folder)
    assert SnippetDiffusion(parts).timesteps(1) == [999]
    assert parts.scheduler.alphas_cumprod[999] < 1e-6
    file.write_text(json.dumps(settings | {"prediction_type": "epsilon"}))
    with pytest.raises(KinedepthError, match="trained with epsilon"):
        load_to_train(folder)


def test_snippets_of_different_times_do_not_hear_of_each_other(task):
    diffusion = SnippetDiffusion(task.parts_with(task.build()))
    images, sample = torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 4, 4, 4)
    with torch.no_grad():
        together = diffusion.velocity(images, sample, torch.tensor([999, 30]))
        alone = [diffusion.velocity(images[i, None], sample[i, None], (999, 30)[i]) for i in (0, 1)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_the_loss_is_zero_for_a_network_that_knows_the_depth(task):
    """At the last time the velocity is minus the latents of depth, whatever the noise."""
    snippets = draw_snippets(generator(), task.footage, 2, 3, SIZE)
    parts = task.parts_with(task.build())
    codec_factor = parts.vae.config.scaling_factor
    with torch.no_grad():
        depth = snippets.depth.flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
        latents = parts.vae.encode(depth).latent_dist.mean * codec_factor

    class Knowing(torch.nn.Module):
        dtype = torch.float32
        device = CPU
        factor = -1.0

        def forward(self, sample, times, **named):
            assert (times == 999).all()
            return (self.factor * latents,)

    network = Knowing()
    network.weight = torch.nn.Parameter(torch.zeros(1))
    always_last = dataclasses.replace(task, last_time_share=1.0)
    loss = always_last.loss(task.parts_with(network), snippets, generator())
    assert loss < 1e-6
    network.factor = 1.0
    wrong = always_last.loss(task.parts_with(network), snippets, generator())
    assert wrong == pytest.approx(4 * latents.square().mean().item(), rel=1e-2)


def test_where_depth_is_unknown_nothing_is_learned(task):
    snippets = draw_snippets(generator(), task.footage, 2, 2, SIZE)
    unknown = SnippetBatch(snippets.images, snippets.depth, torch.zeros_like(snippets.known))
    network = task.build()
    task.loss(task.parts_with(network), unknown, generator()).backward()
    assert all(not p.grad.any() for p in network.parameters() if p.grad is not None)


def test_a_step_mixes_all_lengths_and_accumulates_them(task, monkeypatch):
    seen = []
    network = task.build()
    network.register_forward_pre_hook(
        lambda module, inputs, named: seen.append(
            (len(inputs[0]), named["cross_attention_kwargs"]["frames"])
        ),
        with_kwargs=True,
    )
    logged = task.step(network, generator(), 6, 0.0)
    assert seen == [(2, 1), (4, 2), (6, 3)]
    assert logged.keys() == {"loss_of_1", "loss_of_2", "loss_of_3"}


def test_how_many_pass_together_changes_the_draws_but_not_the_weight_of_a_snippet(task):
    """A network whose loss is the same for every snippet gets the same gradient."""
    gradients = []
    for at_once in (1, 6):
        network = task.build()
        limited = dataclasses.replace(task, at_once=at_once)
        object.__setattr__(limited, "loss", lambda parts, *_: parts.unet.conv_out.bias.sum())
        limited.step(network, generator(), 6, 0.0)
        gradients.append(network.conv_out.bias.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[0], torch.ones(4))


def test_a_run_stopped_and_resumed_equals_one_that_never_stopped(task, tmp_path):
    whole, second = whole_and_resumed(task, CONFIG, tmp_path, stop_at=2)
    assert not changed(whole.network.state_dict(), second.network.state_dict())
    assert changed(task.build().state_dict(), second.network.state_dict())
    (record,) = map(json.loads, (tmp_path / "whole" / LOG_FILE).read_text().splitlines())
    assert {"abs_rel", "delta1", "loss_of_1", "loss_of_3"} <= record.keys()


def test_repeating_one_batch_brings_its_loss_down(task):
    torch.manual_seed(0)
    network = task.build()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        losses.append(sum(task.step(network, generator(3), 3, 0.0).values()))
        optimizer.step()
    assert min(losses[-5:]) < 0.7 * losses[0]


def test_exponential_decay_ends_at_its_share():
    config = TrainingConfig(steps=1000, learning_rate=1.0, decay="exponential", final_share=0.01)
    assert config.rate(100) == pytest.approx(1)
    assert config.rate(550) == pytest.approx(0.1)
    assert config.rate(1000) == pytest.approx(0.01)
    assert config.rate(49) == pytest.approx(0.5)


def test_the_middle_of_footage_keeps_its_truth(clips):
    footage = next(each for each in find_videos(clips) if each.static)
    video, truth = middle_of_footage(footage, SIZE, 4)
    assert (len(video), video.width, truth.frames, truth.height) == (4, SIZE, 4, SIZE)
    camera = truth.cameras.intrinsics[0]
    assert (camera.cx, camera.cy, camera.width) == (SIZE / 2, SIZE / 2, SIZE)
    image, disparity = footage.read(2)
    np.testing.assert_array_equal(video.frame(2), image[4:36, 4:36])
    np.testing.assert_allclose(list(truth.read())[2], 1 / disparity[4:36, 4:36])


class TestPipeline:
    def test_what_was_trained_is_what_depth_is_made_with(self, task, pipeline, tmp_path):
        network = task.build()
        torch.nn.init.normal_(network.conv_out.weight, std=0.05)
        target = tmp_path / "trained"
        save_trained(target, task.parts_with(network), pipeline, {"steps": 3})
        assert read_training(target) == {"steps": 3}
        loaded = load_components(target)
        assert not changed(network.state_dict(), loaded.unet.state_dict())
        assert torch.equal(loaded.prompt, load_components(pipeline).prompt)
        options = DepthOptions(weights=target, resolution=0, dilations=[1])
        model = make_depth_model("rollingdepth", options)
        depth = next(iter(model.predict(Video.from_array(moving_picture(3)))))
        assert depth.shape == (64, 96)
        # An earlier one is replaced, and nothing is left beside it.
        save_trained(target, task.parts_with(network), pipeline, {"steps": 4})
        assert read_training(target) == {"steps": 4}
        assert [path.name for path in tmp_path.iterdir()] == ["trained"]

    def test_other_folders_are_not_written_over(self, task, pipeline, tmp_path):
        (tmp_path / "mine").mkdir()
        with pytest.raises(KinedepthError, match="no pipeline of an earlier run"):
            save_trained(tmp_path / "mine", task.parts_with(task.build()), pipeline, {})
        with pytest.raises(KinedepthError, match="no record of a training"):
            read_training(tmp_path / "mine")


def test_without_co_alignment_the_mean_of_the_snippets_comes_out(pipeline):
    settings = RollingDepthSettings(resolution=0, dilations=(1, 2), solver="none")
    video = Video.from_array(moving_picture(5))
    run = RollingDepthRun(load_components(pipeline), settings, video)
    run.encode()
    run.predict()
    predicted = run.predictions.read(range(run.predictions.count))
    run.align()
    run.merge()
    mean = predicted[run.plan.frames.ravel() == 3].mean(axis=0)
    found = run.depth.read([3])[0]
    run.close()
    assert np.corrcoef(mean.ravel(), found.ravel())[0, 1] > 0.99999
    assert set(run.scale) == {1.0}


def test_a_tiny_network_begins_without_a_look_at_the_noise():
    network = tiny.tiny_unet()
    images, prompt = torch.randn(1, 4, 8, 8), torch.randn(1, 2, 16)
    with torch.no_grad():
        one, other = (
            network(torch.cat([images, torch.randn(1, 4, 8, 8)], dim=1), 999, prompt).sample
            for _ in range(2)
        )
    assert torch.equal(one, other)
    assert network.conv_in.weight.requires_grad


class TestAutoencoder:
    def test_half_of_the_depth_that_it_sees_has_a_smaller_range(self, clips):
        footage = find_videos(clips)
        task = AutoencoderTask(footage, footage[:1], SIZE)
        seen = []
        network = task.build()
        encode = network.encode
        network.encode = lambda pictures: seen.append(pictures) or encode(pictures)
        task.step(network, generator(), 8, 0.0)
        depth = seen[0][8:, 0].flatten(1)
        span = depth.amax(dim=1) - depth.amin(dim=1)
        assert (span[:4] < 1.99).all()
        torch.testing.assert_close(span[4:], torch.full((4,), 2.0))

    def test_it_learns_and_its_latents_get_a_variance_of_one(self, clips, tmp_path):
        footage = find_videos(clips)
        task = AutoencoderTask(footage, footage[:1], SIZE)
        config = TrainingConfig(steps=20, batch=3, learning_rate=5e-3, warmup=5, average=0.5)
        trainer = Trainer(task, config, tmp_path, CPU)
        before = trainer.test()
        after = trainer.run()
        assert after["depth_error"] < 0.7 * before["depth_error"]
        set_scaling_factor(trainer.network, footage, SIZE)
        factor = trainer.network.config.scaling_factor
        images = draw_snippets(generator(5), footage, 16, 1, SIZE).images[:, 0]
        with torch.no_grad():
            latents = factor * trainer.network.encode(images).latent_dist.mean
        assert 0.3 < latents.std() < 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lengths": ()}, "1 to 4 frames; got none"),
        ({"lengths": (1, 5)}, "1 to 4 frames; got 1, 5"),
        ({"lengths": (4,), "size": 30}, "multiples of 8; got 30"),
        ({"size": 48}, "40x40 pixels, too small for crops of 48x48"),
        ({"last_time_share": 1.5}, "share of the snippets is from 0 to 1"),
    ],
)
def test_a_task_that_does_not_fit_is_told(task, options, sentence):
    with pytest.raises(KinedepthError, match=sentence):
        dataclasses.replace(task, **options)


def test_the_command_trains_from_scratch_and_goes_on(clips, tmp_path, kine, monkeypatch):
    monkeypatch.setattr("kinedepth._training_rolling_depth.AUTOENCODER_STEPS", 2)
    run = tmp_path / "run"
    asked = ("train", "rollingdepth", "-o", run, "--data", clips, "--size", 32, "--batch", 3)
    few = (*asked, "--steps", 2, "--device", "cpu", "--test-every", 2)
    code, out, _ = kine(*few)
    assert code == 0
    assert "Step 2 of 2; wrote" in out
    record = read_training(run / "pipeline")
    assert record["steps"] == 2
    assert record["held_out"]["abs_rel"] > 0
    code, out, err = kine(*few, "--steps", 3)
    assert code == 0
    assert read_training(run / "pipeline")["steps"] == 3
    assert "autoencoder" not in err  # Trained once.
    assert load_components(run / "pipeline").unet.config.in_channels == 8


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--lengths", "1,x"), "--lengths takes whole numbers"),
        (("--learning-rate", "-1"), "greater than zero"),
        (("--data", "nowhere"), "no folder nowhere"),
        (("--weights", "."), "no pipeline of an earlier run"),
    ],
)
def test_options_that_make_no_sense_are_told(clips, tmp_path, kine, options, sentence):
    asked = ("train", "rollingdepth", "-o", tmp_path / "run", "--data", clips, *options)
    code, _, err = kine(*asked)
    assert code == 2
    assert sentence in err
