"""What must hold of the network whatever its weights are."""

import dataclasses

import pytest
import torch

from kinedepth.errors import KinedepthError
from kinedepth.seurat.checkpoint import (
    load_checkpoint,
    read_calibration,
    read_record,
    save_checkpoint,
    write_calibration,
)
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.model import Seurat, Tracklets
from kinedepth.seurat.uncertainty import Calibration

TINY = SeuratConfig(name="tiny", width=32, heads=2, support_grid=6)
TINY_PAPER = dataclasses.replace(SeuratConfig.paper(), name="tiny paper", width=32, heads=2)


def random_network(config: SeuratConfig) -> Seurat:
    """Weights away from their (partly zero) initial values, so that every path matters."""
    torch.manual_seed(0)
    network = Seurat(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def random_tracklets(tracks: int, seed: int, batch: int = 2, frames: int = 8) -> Tracklets:
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand((batch, 1, tracks, 2), generator=generator) * 1.6 - 0.8
    steps = 0.02 * torch.randn((batch, frames, tracks, 2), generator=generator).cumsum(1)
    visible = torch.rand((batch, frames, tracks), generator=generator) > 0.1
    return Tracklets(start + steps, visible)


def take(tracks: Tracklets, index: list[int] | slice | torch.Tensor) -> Tracklets:
    return Tracklets(tracks.position[:, :, index], tracks.visible[:, :, index])


@pytest.mark.parametrize("config", [TINY, TINY_PAPER], ids=lambda config: config.name)
class TestEveryConfiguration:
    def test_a_query_does_not_depend_on_the_other_queries(self, config):
        network = random_network(config)
        queries, support = random_tracklets(12, 1), random_tracklets(36, 2)
        together = network(queries, support).log_ratio
        alone = network(take(queries, [7]), support).log_ratio
        assert together.abs().max() > 1e-3
        assert torch.allclose(together[:, :, [7]], alone, atol=1e-5)

    def test_no_gradient_flows_between_queries(self, config):
        network = random_network(config)
        branch = network.query
        static = torch.randn(2, 8, 6, branch.embed[0].in_features - 4, requires_grad=True)
        context = network.support.tokens(
            torch.randn(2, 8, 36, branch.embed[0].in_features - 4), torch.zeros(2, 8, 36)
        )
        tokens = branch.layers[0](branch.tokens(static, torch.zeros(2, 8, 6)), context)
        tokens[:, :, 2].sum().backward()
        others = [0, 1, 3, 4, 5]
        assert static.grad[:, :, 2].abs().max() > 0
        assert static.grad[:, :, others].abs().max() == 0

    def test_the_order_of_supporting_tracks_does_not_matter(self, config):
        network = random_network(config)
        queries, support = random_tracklets(5, 1), random_tracklets(36, 2)
        order = torch.randperm(36, generator=torch.Generator().manual_seed(3))
        first = network(queries, support).log_ratio
        assert torch.allclose(first, network(queries, take(support, order)).log_ratio, atol=1e-4)

    def test_the_ratio_in_the_first_frame_is_one(self, config):
        estimate = random_network(config)(random_tracklets(5, 1), random_tracklets(36, 2))
        assert estimate.log_ratio[:, 0].abs().max() == 0
        assert estimate.log_ratio.isfinite().all()

    def test_windows_of_a_batch_do_not_see_each_other(self, config):
        network = random_network(config)
        queries, support = random_tracklets(5, 1), random_tracklets(36, 2)
        both = network(queries, support).log_ratio
        second = network(
            Tracklets(queries.position[1:], queries.visible[1:]),
            Tracklets(support.position[1:], support.visible[1:]),
        ).log_ratio
        assert torch.allclose(both[1:], second, atol=1e-5)

    def test_every_parameter_is_trained(self, config):
        network = random_network(config)
        for query, support in network.refine(random_tracklets(5, 1), random_tracklets(36, 2), 2):
            (query.log_ratio.square().sum() + support.log_ratio.square().sum()
             + query.log_scale.sum() + support.log_scale.sum()).backward()  # fmt: skip
        idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        # The last layer's supporting tokens reach no query, and the first frame's change is
        # subtracted, so a shift of every change does nothing.
        assert idle == []


def test_the_paper_configuration_has_the_papers_size():
    parameters = sum(p.numel() for p in Seurat(SeuratConfig.paper()).parameters())
    assert parameters == pytest.approx(14.5e6, rel=0.01)


def test_an_untrained_network_starts_at_the_robust_fit():
    from kinedepth.seurat.local_motion import robust_log_ratio

    queries, support = random_tracklets(5, 1), random_tracklets(64, 2)
    estimate = Seurat(TINY).eval()(queries, support).log_ratio
    fit = robust_log_ratio(queries.position, support.position, support.visible)
    # The features' fit spends two iterations fewer than the baseline's five.
    assert (estimate - fit).abs().median() < 0.02


class TestCheckpoints:
    def test_what_is_saved_is_what_is_loaded(self, tmp_path):
        network = random_network(TINY)
        save_checkpoint(tmp_path / "tiny.safetensors", network, {"steps": 3})
        loaded = load_checkpoint(str(tmp_path / "tiny.safetensors"))
        assert loaded.config == TINY
        assert read_record(tmp_path / "tiny.safetensors")[1] == {"steps": 3}
        queries, support = random_tracklets(5, 1), random_tracklets(36, 2)
        change = network(queries, support).log_ratio - loaded(queries, support).log_ratio
        # These weights are noise, far larger than trained ones; rounding them to half
        # precision must still leave the same function.
        assert change.abs().max() < 0.05

    def test_an_unknown_model_is_refused_by_name(self):
        with pytest.raises(KinedepthError, match="Unknown model 'enormous'"):
            load_checkpoint("enormous")

    def test_a_file_that_is_no_checkpoint_is_refused(self, tmp_path):
        (tmp_path / "notes.safetensors").write_text("not weights at all")
        with pytest.raises(KinedepthError, match="not a readable safetensors file"):
            load_checkpoint(str(tmp_path / "notes.safetensors"))

    def test_weights_of_another_configuration_are_refused(self, tmp_path):
        network = random_network(TINY)
        network.config = dataclasses.replace(TINY, width=64)
        save_checkpoint(tmp_path / "odd.safetensors", network, {})
        with pytest.raises(KinedepthError, match="do not fit the configuration"):
            load_checkpoint(str(tmp_path / "odd.safetensors"))


def test_a_fitted_calibration_is_kept_with_the_weights(tmp_path):
    path = tmp_path / "tiny.safetensors"
    network = random_network(TINY)
    save_checkpoint(path, network, {"steps": 3})
    assert read_calibration(str(path)) == Calibration()
    fitted = Calibration(offset=-0.7, path=0.9, disagreement=0.1, distance=0.2, hidden=0.3)
    write_calibration(path, fitted)
    assert read_calibration(str(path)) == fitted
    assert read_record(path)[1]["steps"] == 3
    after = load_checkpoint(str(path)).state_dict()
    assert all(
        torch.equal(after[key], value.half().float()) for key, value in network.state_dict().items()
    )
