"""The network and its weights: strict loading, positions, precision."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from vda_reference import TINY, deterministic_weights, tiny_network

from kinedepth.dense.video_depth_anything import temporal
from kinedepth.dense.video_depth_anything.checkpoint import (
    load_published,
    network_from_published,
    published_shapes,
    published_state,
)
from kinedepth.dense.video_depth_anything.config import SIZES, VITS, find_config
from kinedepth.dense.video_depth_anything.encoder import Encoder
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.dense.video_depth_anything.precision import autocast
from kinedepth.dense.video_depth_anything.temporal import (
    TemporalModule,
    sinusoidal_positions,
)
from kinedepth.errors import KinedepthError


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return deterministic_weights(published_shapes(TINY))


@pytest.mark.parametrize(("size", "keys", "millions"), [("vits", 351, 29.0), ("vitl", 519, 384.4)])
def test_published_sizes_have_the_published_number_of_weights(size, keys, millions):
    assert len(published_shapes(SIZES[size])) == keys
    with torch.device("meta"):
        weights = VideoDepth(SIZES[size]).parameters()
    # Without the few that published files hold and nothing reads.
    assert sum(w.numel() for w in weights) / 1e6 == pytest.approx(millions, rel=0.005)


class TestLoading:
    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_both_kinds_of_file_give_the_same_network(self, state, suffix, tmp_path):
        path = tmp_path / f"weights{suffix}"
        torch.save(state, path) if suffix == ".pth" else save_file(state, path)
        checksum = hashlib.sha256(path.read_bytes()).hexdigest().upper()
        network = load_published(path, TINY, sha256=checksum)
        assert not network.training
        written = published_state(network)
        assert written.keys() == state.keys()
        for name in network.state_dict().keys() & state.keys():
            assert torch.equal(written[name], state[name])

    def test_weights_of_another_size_are_named(self):
        other = {n: torch.empty(s, device="meta") for n, s in published_shapes(VITS).items()}
        with pytest.raises(KinedepthError, match="holds weights of size vits, not vitl"):
            network_from_published(other, SIZES["vitl"])

    def test_nothing_may_be_missing_left_over_or_of_another_shape(self, state):
        for unread in ("pretrained.mask_token", "head.projects.2.bias"):
            less = {name: value for name, value in state.items() if name != unread}
            with pytest.raises(KinedepthError, match=f"1 tensors are missing.*{unread}"):
                network_from_published(less, TINY)
        with pytest.raises(KinedepthError, match="do not belong to it, the first is more"):
            network_from_published(state | {"more": torch.zeros(1)}, TINY)
        with pytest.raises(KinedepthError, match=r"norm.bias has shape \(3,\) instead of \(32,\)"):
            network_from_published(state | {"pretrained.norm.bias": torch.zeros(3)}, TINY)

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_a_file_that_was_cut_off_is_one_clear_error(self, state, suffix, tmp_path):
        whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
        torch.save(state, whole) if suffix == ".pth" else save_file(state, whole)
        data = whole.read_bytes()
        for length in (0, 5, 3000, len(data) // 2, len(data) - 1):
            cut.write_bytes(data[:length])
            with pytest.raises(KinedepthError, match="not a readable weights file"):
                load_published(cut, TINY)

    def test_a_file_with_code_in_it_is_not_run(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return (tmp_path.joinpath("ran").touch, ())

        torch.save({"a": Evil()}, tmp_path / "evil.pth")
        with pytest.raises(KinedepthError, match="not a readable weights file"):
            load_published(tmp_path / "evil.pth", TINY)
        assert not (tmp_path / "ran").exists()

    def test_other_files_and_checksums_are_refused(self, state, tmp_path):
        with pytest.raises(KinedepthError, match="There is no weights file"):
            load_published(tmp_path / "none.pth", TINY)
        torch.save([1, 2], tmp_path / "list.pth")
        with pytest.raises(KinedepthError, match="something else than a table"):
            load_published(tmp_path / "list.pth", TINY)
        torch.save(state, tmp_path / "good.pth")
        with pytest.raises(KinedepthError, match="has the SHA-256"):
            load_published(tmp_path / "good.pth", TINY, sha256="0" * 64)
        with pytest.raises(KinedepthError, match="Unknown size 'vitg'"):
            find_config("vitg")


class TestEncoder:
    def test_positions_serve_unchanged_only_at_their_own_size(self):
        encoder = Encoder(TINY)
        assert encoder.positions_for(3, 3) is encoder.positions
        for rows, columns in [(1, 1), (2, 5), (9, 1), (37, 66)]:
            stretched = encoder.positions_for(rows, columns)
            assert stretched.shape == (1, 1 + rows * columns, TINY.width)
            assert torch.equal(stretched[:, 0], encoder.positions[:, 0])

    def test_frames_do_not_see_each_other(self):
        network, images = tiny_network(), torch.randn(5, 3, 28, 42)
        with torch.inference_mode():
            together = network.frame_features(images)
            alone = network.frame_features(images[3:4])
        assert torch.allclose(together.finest[3:4], alone.finest, atol=1e-5)
        assert torch.allclose(together.coarsest[3:4], alone.coarsest, atol=1e-5)

    def test_sides_that_are_no_multiples_of_the_patch_are_refused(self):
        with pytest.raises(KinedepthError, match="multiples of 14; got 30x28"):
            tiny_network().frame_features(torch.zeros(1, 3, 28, 30))


class TestTemporalModule:
    def test_a_new_one_changes_nothing(self):
        x = torch.randn(2, 4, 32, 3, 5)
        assert torch.equal(TemporalModule(32, 2)(x), x)

    def test_parts_of_the_picture_give_what_the_whole_gives(self, monkeypatch):
        module, x = tiny_network().head.temporal_module(2), torch.randn(2, 6, 64, 5, 7)
        with torch.inference_mode():
            whole = module(x)
            monkeypatch.setattr(temporal, "_tokens_at_once", lambda device: 70)
            in_parts = module(x)
        assert torch.allclose(whole, in_parts, atol=1e-5)

    def test_a_step_is_the_last_slot_of_a_first_attention_over_the_window(self):
        attention = tiny_network().head.temporal_module(2).attentions[0]
        x = torch.randn(6, 9, 64)
        states = torch.cat([attention.step(x[:, t : t + 1])[1] for t in range(8)], dim=1)
        stepped, _ = attention.step(x[:, 8:], states)
        assert torch.allclose(stepped, attention(x)[:, 8:], atol=1e-5)

    def test_positions_of_longer_windows_continue_the_stored_ones(self):
        longer = sinusoidal_positions(48, 32)
        assert torch.equal(longer[:, :32], sinusoidal_positions(32, 32))
        module = tiny_network().head.temporal_module(2)
        with torch.inference_mode():
            assert module(torch.randn(1, 48, 64, 2, 2)).isfinite().all()


def test_gradients_reach_the_head_through_every_stage():
    network = VideoDepth(TINY)
    network.encoder.requires_grad_(False)
    # What starts at zero hides the weights before it.
    for module in network.head.temporal:
        torch.nn.init.normal_(module.project_out.weight, std=0.1)
    network(torch.randn(1, 3, 3, 28, 28)).sum().backward()
    without = [name for name, p in network.head.named_parameters() if p.grad is None]
    assert without == []
    assert network.encoder.class_token.grad is None


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_half_precision_stays_close_and_ends_in_full(precision, tolerance):
    network, frames = tiny_network(), torch.randn(1, 4, 3, 28, 42)
    with torch.inference_mode():
        full = network(frames)
        with autocast(network.device, precision)():
            half = network(frames)
    assert half.dtype == torch.float32
    assert (half - full).abs().max() < tolerance * full.max()
