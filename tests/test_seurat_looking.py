"""Reading a window both ways."""

import dataclasses

import numpy as np
import pytest
import torch
from test_seurat_model import TINY, random_network, random_tracklets

from kinedepth.seurat.looking import _together, look
from kinedepth.seurat.model import Estimate, Tracklets


def backwards(tracks: Tracklets) -> Tracklets:
    return Tracklets(tracks.position.flip(1), tracks.visible.flip(1))


def test_a_window_run_backwards_gives_the_way_back():
    network = random_network(dataclasses.replace(TINY, both_ways=True))
    queries, support = random_tracklets(12, 1), random_tracklets(36, 2)
    there = look(network, queries, support)
    back = look(network, backwards(queries), backwards(support))
    assert there.log_ratio[:, -1].abs().max() > 1e-3
    torch.testing.assert_close(back.log_ratio[:, -1], -there.log_ratio[:, -1], atol=1e-5, rtol=0)
    torch.testing.assert_close(back.log_scale[:, -1], there.log_scale[:, -1], atol=1e-4, rtol=0)


def test_the_ratio_in_the_first_frame_stays_one():
    network = random_network(TINY)
    found = look(network, random_tracklets(5, 3), random_tracklets(36, 4))
    assert found.log_ratio[:, 0].abs().max() < 1e-6


def test_one_look_is_the_network_itself():
    network = random_network(dataclasses.replace(TINY, both_ways=False))
    queries, support = random_tracklets(12, 1), random_tracklets(36, 2)
    once, raw = look(network, queries, support), network(queries, support)
    assert torch.equal(once.log_ratio, raw.log_ratio)
    assert torch.equal(once.log_scale, raw.log_scale)


@pytest.mark.parametrize("sure", ["forwards", "backwards"])
def test_the_surer_look_has_the_larger_say(sure):
    zero, one = torch.zeros(1, 3, 1), torch.tensor([0.0, 0.1, 0.2]).view(1, 3, 1)
    low, high = torch.full((1, 3, 1), -6.0), torch.full((1, 3, 1), -2.0)
    scales = (low, high) if sure == "forwards" else (high, low)
    # The backward look says that depth never changed, the forward one that it grew.
    found = _together(Estimate(one, scales[0]), Estimate(zero, scales[1]))
    expected = one if sure == "forwards" else zero
    assert (found.log_ratio - expected).abs().max() < 1e-3


def test_looks_that_disagree_are_less_sure_than_looks_that_agree():
    log_ratio, log_scale = torch.zeros(1, 3, 1), torch.full((1, 3, 1), -4.0)
    agree = _together(Estimate(log_ratio, log_scale), Estimate(log_ratio, log_scale))
    other = torch.tensor([0.2, 0.1, 0.0]).view(1, 3, 1)
    differ = _together(Estimate(log_ratio, log_scale), Estimate(other, log_scale))
    np.testing.assert_allclose(agree.log_scale, log_scale, atol=1e-6)
    assert (differ.log_scale[:, 1:] > agree.log_scale[:, 1:] + 0.5).all()
