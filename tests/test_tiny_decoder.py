"""Decoding RollingDepth's latents with a tiny autoencoder; weights are random."""

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import diffusers
import huggingface_hub
from rolling_reference import moving_picture, tiny_components, tiny_vae, write_tiny_pipeline

from kinedepth import hub
from kinedepth.dense.registry import DepthOptions, make_depth_model
from kinedepth.dense.rolling_depth.components import load_tiny_decoder
from kinedepth.dense.rolling_depth.depth_model import find_tiny_decoder
from kinedepth.dense.rolling_depth.latents import LatentCodec
from kinedepth.errors import KinedepthError
from kinedepth.video import Video


def tiny_autoencoder(**changes):
    channels = (8, 8, 8, 8)
    settings = {"encoder_block_out_channels": channels, "decoder_block_out_channels": channels}
    torch.manual_seed(0)
    return diffusers.AutoencoderTiny(**(settings | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    tiny_autoencoder().save_pretrained(path)
    return path


def test_it_gets_latents_as_they_are_diffused_and_depth_is_the_mean_of_its_channels(folder):
    decoder = load_tiny_decoder(folder)
    latents = torch.randn(2, 4, 5, 6)
    codec = LatentCodec(tiny_components().vae, decoder)
    with torch.no_grad():
        found = codec.decode_depth(latents)
        expected = decoder.decode(latents).sample.mean(dim=1)
    torch.testing.assert_close(found, expected)
    assert found.shape == (2, 40, 48)


def test_with_it_the_large_decoder_is_never_asked(folder, tmp_path):
    write_tiny_pipeline(tmp_path)
    asked = {"weights": tmp_path, "resolution": 0, "dilations": [1]}
    frames = Video.from_array(moving_picture(4))
    depths = []
    for tiny in (None, str(folder)):
        model = make_depth_model("rollingdepth", DepthOptions(**asked, tiny_decoder=tiny))
        calls = []
        model._components.vae.decoder.register_forward_pre_hook(lambda *_, c=calls: c.append(1))
        depths.append(np.stack(list(model.predict(frames))))
        assert bool(calls) == (tiny is None)
    assert depths[0].shape == depths[1].shape == (4, 64, 96)
    assert not np.allclose(*depths)


def test_depth_is_still_encoded_by_the_large_one_so_that_refinement_works(folder, tmp_path):
    write_tiny_pipeline(tmp_path)
    options = DepthOptions(
        weights=tmp_path, resolution=0, dilations=[1], refine_steps=1, tiny_decoder=str(folder)
    )
    depth = list(
        make_depth_model("rollingdepth", options).predict(Video.from_array(moving_picture(3)))
    )
    assert np.isfinite(depth).all()


def test_one_for_other_latents_is_told(tmp_path):
    tiny_autoencoder(latent_channels=16).save_pretrained(tmp_path / "sixteen")
    with pytest.raises(KinedepthError, match="latents of 16 channels at 1/8"):
        load_tiny_decoder(tmp_path / "sixteen")
    three = {"encoder_block_out_channels": (8, 8, 8), "decoder_block_out_channels": (8, 8, 8)}
    blocks = {"num_encoder_blocks": (1, 1, 1), "num_decoder_blocks": (1, 1, 1)}
    tiny_autoencoder(**three, **blocks).save_pretrained(tmp_path / "four")
    with pytest.raises(KinedepthError, match="4 channels at 1/4"):
        load_tiny_decoder(tmp_path / "four")


def test_what_is_no_tiny_autoencoder_is_told(tmp_path):
    with pytest.raises(KinedepthError, match=r"lacks config\.json"):
        load_tiny_decoder(tmp_path)
    tiny_vae().save_pretrained(tmp_path)
    with pytest.raises(KinedepthError, match=r"do not fit its config|cannot be loaded"):
        load_tiny_decoder(tmp_path)
    with pytest.raises(KinedepthError, match=r"no folder nowhere .* give one, or taesd"):
        find_tiny_decoder("nowhere")


def test_the_published_one_has_a_free_licence_that_is_shown(monkeypatch, capsys):
    def offline(*arguments, **named):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(KinedepthError, match="cannot be reached from here"):
        find_tiny_decoder("taesd")
    assert "madebyollin/taesd" in capsys.readouterr().err
    assert hub.TINY_AUTOENCODER.licence is hub.MIT
