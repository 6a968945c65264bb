"""What must hold of the losses and of the least-squares fits, whatever the data."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.alignment import fit_scale, fit_scale_and_shift
from kinedepth.dense.video_depth_anything.losses import (
    spatial_loss,
    temporal_gradient_loss,
    video_depth_loss,
)

scales = st.floats(0.1, 10)
shifts = st.floats(-5, 5)


def clips(seed: int, motion: float = 0.01) -> tuple[torch.Tensor, torch.Tensor]:
    """Truth ``(2, 5, 9, 11)`` that changes slowly, and which of it is valid."""
    generator = torch.Generator().manual_seed(seed)
    still = torch.rand((2, 1, 9, 11), generator=generator)
    truth = still + motion * torch.rand((2, 5, 9, 11), generator=generator)
    return 1 + truth, torch.rand(truth.shape, generator=generator) > 0.15


@settings(deadline=None, max_examples=30)
@given(scale=scales, shift=shifts, seed=st.integers(0, 50))
def test_the_fit_finds_the_scale_and_shift_that_were_applied(scale, shift, seed):
    data = np.random.default_rng(seed).normal(size=(3, 4, 5))
    mask = np.arange(data.size).reshape(data.shape) % 7 > 0
    target = np.where(mask, scale * data + shift, np.nan)
    assert fit_scale_and_shift(data, target, mask) == pytest.approx((scale, shift), abs=1e-9)
    assert fit_scale(data, scale * data) == pytest.approx(scale)


def test_a_prediction_that_determines_no_scale_is_left_alone():
    target = np.arange(6.0).reshape(2, 3)
    constant = np.full((2, 3), 0.1, dtype=np.float32)
    assert fit_scale_and_shift(constant, target) == (1.0, 0.0)
    assert fit_scale_and_shift(target, target, np.zeros((2, 3), bool)) == (1.0, 0.0)
    assert fit_scale(np.zeros((2, 3)), target) == 1.0


@settings(deadline=None, max_examples=20)
@given(scale=scales, shift=shifts, seed=st.integers(0, 50))
def test_a_prediction_right_up_to_scale_and_shift_has_no_temporal_loss(scale, shift, seed):
    truth, mask = clips(seed)
    assert temporal_gradient_loss(scale * truth + shift, truth, mask).item() < 1e-4


@settings(deadline=None, max_examples=20)
@given(scale=scales, shift=st.floats(0, 5), seed=st.integers(0, 50))
def test_the_spatial_loss_of_full_frames_knows_no_scale_and_shift(scale, shift, seed):
    truth, _ = clips(seed)
    truth, everywhere = truth.flatten(0, 1), torch.ones(10, 9, 11, dtype=torch.bool)
    prediction = truth + 0.3 * torch.rand(truth.shape, generator=torch.Generator().manual_seed(1))
    loss = spatial_loss(prediction, truth, everywhere)
    assert spatial_loss(scale * prediction + shift, truth, everywhere).item() == pytest.approx(
        loss.item(), rel=1e-3
    )
    assert spatial_loss(scale * truth + shift, truth, everywhere).item() < 1e-3


def test_what_lies_outside_the_mask_does_not_matter_even_if_it_is_nan():
    truth, mask = clips(0)
    prediction = (truth + 0.1 * torch.rand_like(truth)).requires_grad_()
    loss = video_depth_loss(prediction, truth, mask)
    spoilt = video_depth_loss(prediction, truth.masked_fill(~mask, torch.nan), mask)
    assert loss.total.item() == spoilt.total.item()
    spoilt.total.backward()
    assert prediction.grad.isfinite().all()
    assert not prediction.grad[~mask].any()


def test_edges_that_pass_by_do_not_count_as_motion():
    truth, mask = clips(0, motion=0.0)
    mask[:] = True
    jump = truth.clone()
    jump[:, 3:, 4] += 1.0
    flat = truth.clone()
    assert temporal_gradient_loss(flat, truth, mask).item() < 1e-6
    # The rest of the picture stands still in both; only the scale of the fit differs.
    assert temporal_gradient_loss(flat, jump, mask).item() < 1e-6


@pytest.mark.parametrize("nothing", ["prediction", "mask"])
def test_loss_and_gradient_stay_finite_without_information(nothing):
    truth, mask = clips(0)
    prediction = torch.rand_like(truth)
    if nothing == "prediction":
        prediction = torch.ones_like(truth)
    else:
        mask[0] = False
    prediction.requires_grad_()
    loss = video_depth_loss(prediction, truth, mask).total
    loss.backward()
    assert loss.isfinite()
    assert prediction.grad.isfinite().all()
