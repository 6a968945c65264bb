"""OPW and SE in closed form: what they ask for, and what they leave alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.dense.video_depth_anything.losses import temporal_gradient_loss
from kinedepth.training.flow_losses import flow_warped_loss, stable_error_loss, warp

HEIGHT, WIDTH = 9, 12


def still(frames: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """A flow of nothing, and where it is visible: everywhere."""
    flow = torch.zeros(1, frames - 1, HEIGHT, WIDTH, 2)
    return flow, torch.ones(flow.shape[:-1], dtype=torch.bool)


def picture(seed: int = 0) -> torch.Tensor:
    return 1 + torch.rand((1, 1, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(seed))


def everywhere(truth: torch.Tensor) -> torch.Tensor:
    return torch.ones(truth.shape, dtype=torch.bool)


def test_where_all_comes_closer_opw_counts_the_truth_as_error_and_se_does_not():
    step = 0.25
    truth = picture() + step * torch.arange(4.0)[None, :, None, None]
    mask = everywhere(truth)
    assert flow_warped_loss(truth, truth, mask, *still()).item() == pytest.approx(step, rel=1e-4)
    assert stable_error_loss(truth, truth, mask, *still()).item() < 1e-5


def test_along_a_flow_both_see_nothing_but_the_flicker():
    """A picture moves one pixel to the right a frame; the prediction's frames jump up and down.

    The jumps do not correlate with the picture, so the fitted scale is known.
    """
    truth = torch.cat([picture().roll(t, dims=3) for t in range(4)], dim=1)
    jump = 0.2
    prediction = truth + jump * torch.tensor([1.0, -1, -1, 1])[None, :, None, None]
    flow, visible = still()
    flow[..., 0] = 1
    variance = truth.var(correction=0).item()
    scale = variance / (variance + jump**2)
    expected = scale * jump * (2 + 0 + 2) / 3
    # What is left over is (scale - 1) times the truth's own change along the flow: none.
    for loss in (flow_warped_loss, stable_error_loss):
        found = loss(prediction, truth, everywhere(truth), flow, visible)
        assert found.item() == pytest.approx(expected, rel=1e-4)
        assert loss(truth, truth, everywhere(truth), flow, visible).item() < 1e-5


def test_without_motion_of_pixels_se_is_tgm_where_tgm_looks():
    truth = picture() + 0.01 * torch.arange(4.0)[None, :, None, None]
    prediction = truth + 0.05 * torch.rand(truth.shape, generator=torch.Generator().manual_seed(1))
    mask = everywhere(truth)
    along = stable_error_loss(prediction, truth, mask, *still())
    assert along.item() == pytest.approx(
        temporal_gradient_loss(prediction, truth, mask).item(), rel=1e-5
    )


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5), seed=st.integers(0, 50))
def test_se_is_zero_for_the_truth_up_to_scale_and_shift_whatever_the_flow(scale, shift, seed):
    generator = torch.Generator().manual_seed(seed)
    truth = 1 + torch.rand((2, 3, HEIGHT, WIDTH), generator=generator)
    flow = 3 * torch.randn((2, 2, HEIGHT, WIDTH, 2), generator=generator)
    visible = torch.rand(flow.shape[:-1], generator=generator) > 0.2
    loss = stable_error_loss(scale * truth + shift, truth, everywhere(truth), flow, visible)
    assert loss.item() < 1e-4


def test_a_flow_of_half_a_pixel_reads_between_two():
    columns = torch.arange(float(WIDTH)).expand(1, 1, HEIGHT, WIDTH)
    flow = torch.zeros(1, 1, HEIGHT, WIDTH, 2)
    flow[..., 0] = 0.5
    read = warp(columns, flow)
    torch.testing.assert_close(read[..., :-1], columns[..., :-1] + 0.5)
    flow[..., 0], flow[..., 1] = 0, -0.25
    rows = torch.arange(float(HEIGHT))[:, None].expand(1, 1, HEIGHT, WIDTH)
    torch.testing.assert_close(warp(rows, flow)[..., 1:, :], rows[..., 1:, :] - 0.25)


@pytest.mark.parametrize("loss", [flow_warped_loss, stable_error_loss])
class TestWhatDoesNotCount:
    def test_hidden_pixels_and_those_that_leave_the_frame(self, loss):
        truth = picture().expand(1, 2, HEIGHT, WIDTH).clone()
        # The second frame differs in the right half only, and there nothing may be compared.
        prediction = truth.clone()
        prediction[:, 1, :, WIDTH // 2 :] += 1
        flow, visible = still(2)
        hidden = visible.clone()
        hidden[..., WIDTH // 2 :] = False
        leaving = flow.clone()
        leaving[..., WIDTH // 2 :, 0] = WIDTH
        mask = everywhere(truth)
        assert loss(prediction, truth, mask, flow, hidden).item() < 1e-6
        assert loss(prediction, truth, mask, leaving, visible).item() < 1e-6
        assert loss(prediction, truth, mask, flow, visible).item() > 0.01

    def test_unknown_truth_even_if_it_is_nan(self, loss):
        generator = torch.Generator().manual_seed(3)
        truth = 1 + torch.rand((1, 3, HEIGHT, WIDTH), generator=generator)
        mask = torch.rand(truth.shape, generator=generator) > 0.3
        flow = torch.randn((1, 2, HEIGHT, WIDTH, 2), generator=generator)
        visible = torch.ones(flow.shape[:-1], dtype=torch.bool)
        prediction = torch.rand(truth.shape, generator=generator, requires_grad=True)
        clean = loss(prediction, truth, mask, flow, visible)
        spoilt = loss(prediction, truth.masked_fill(~mask, torch.nan), mask, flow, visible)
        assert clean.item() == spoilt.item() > 0
        spoilt.backward()
        assert prediction.grad.isfinite().all()

    def test_a_clip_of_which_nothing_is_seen(self, loss):
        truth = picture().expand(1, 2, HEIGHT, WIDTH)
        flow, visible = still(2)
        prediction = torch.rand(truth.shape, requires_grad=True)
        value = loss(prediction, truth, everywhere(truth), flow, ~visible)
        value.backward()
        assert value.item() == 0
        assert prediction.grad.isfinite().all()
