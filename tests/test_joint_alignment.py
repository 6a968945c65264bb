"""The joint solver of scales and shifts, apart from what it is used for."""

import numpy as np
import pytest

from kinedepth import joint_alignment
from kinedepth.joint_alignment import (
    Expansion,
    find_overlaps,
    inverse_of_value,
    minimise,
    the_value,
)


def pieces(seed=0, pixels=40):
    random = np.random.default_rng(seed)
    signal = random.uniform(0.5, 2, (6, pixels))
    places = [np.arange(start, start + 3) for start in range(4)] + [np.array([0, 5])]
    values = [
        random.uniform(0.7, 1.4) * signal[covered] + random.uniform(-0.2, 0.2) for covered in places
    ]
    noisy = [value + 0.02 * random.standard_normal(value.shape) for value in values]
    return [value.astype(np.float32) for value in noisy], places


def test_every_place_that_two_pieces_tell_of_is_an_overlap_once():
    values, places = pieces()
    overlaps = find_overlaps(values, places)
    found = sorted(tuple(row) for overlap in overlaps for row in overlap.pieces)
    assert found == [(0, 1), (0, 1, 2), (0, 4), (1, 2, 3), (2, 3), (3, 4)]
    for overlap in overlaps:
        assert overlap.values.shape == (*overlap.pieces.shape, 40)


@pytest.mark.parametrize("quantity", [the_value, inverse_of_value(1e-3)])
def test_the_gradient_is_that_of_the_loss(quantity):
    overlaps = find_overlaps(*pieces())
    random = np.random.default_rng(1)
    at = np.concatenate([random.uniform(0.9, 1.1, 5), random.uniform(-0.05, 0.05, 5)])

    def expand(unknowns):
        expansion = Expansion(unknowns[:5], unknowns[5:], smoothing=1e-6)
        expansion.add_disagreement(overlaps, [quantity], 1.0)
        return expansion

    gradient = expand(at).gradient
    for unknown in range(10):
        # Wide enough for float32, narrow enough that few differences change their sign.
        step = 2e-4 * np.eye(10)[unknown]
        slope = (expand(at + step).loss - expand(at - step).loss) / 4e-4
        assert gradient[unknown] == pytest.approx(slope, abs=0.02 * np.abs(gradient).max())


def test_one_step_solves_what_is_quadratic():
    target = np.array([1.5, -0.5, 0.25, 3.0])

    def objective(expansion):
        unknowns = np.concatenate([expansion.scale, expansion.shift])
        expansion.add_squares(2 * (unknowns - target), np.arange(1.0, 5.0), np.arange(4), 2.0)

    expansion = Expansion(np.ones(2), np.zeros(2), 1.0)
    objective(expansion)
    assert np.allclose(np.array([1, 1, 0, 0]) + expansion.step(0.0), target)
    solution = minimise(objective, np.ones(2), np.zeros(2))
    assert np.allclose([*solution.scale, *solution.shift], target, atol=1e-4)


def test_an_unknown_that_nothing_depends_on_stays_where_it_is():
    values, places = pieces()
    alone = [*values, np.zeros((1, 40), np.float32)], [*places, np.array([9])]

    def objective(expansion):
        expansion.add_disagreement(find_overlaps(*alone), [the_value], 1.0)
        expansion.add_squares(expansion.shift, np.full(6, 10.0), np.arange(6, 12))

    solution = minimise(objective, np.ones(6), np.zeros(6))
    assert solution.scale[5] == 1
    assert solution.shift[5] == 0


def test_the_objective_never_rises():
    overlaps = find_overlaps(*pieces(seed=3))
    losses = []

    def objective(expansion):
        expansion.add_disagreement(overlaps, [the_value, inverse_of_value(1e-3)], 1.0)
        losses.append(expansion.loss)

    solution = minimise(objective, np.full(5, 0.3), np.full(5, 2.0))
    assert solution.loss == min(losses) < losses[0] / 2


def test_adding_up_early_changes_nothing_but_memory(monkeypatch):
    overlaps = find_overlaps(*pieces())
    scale, shift = np.linspace(0.9, 1.1, 5), np.linspace(-0.05, 0.05, 5)

    def step_and_waiting():
        expansion = Expansion(scale, shift, smoothing=0.1)
        expansion.add_disagreement(overlaps, [the_value, inverse_of_value(1e-3)], 1.0)
        waiting = sum(map(len, expansion._entries))
        return expansion.step(1e-6), waiting

    late, all_entries = step_and_waiting()
    monkeypatch.setattr(joint_alignment, "_MOST_UNSUMMED", 50)
    early, waiting = step_and_waiting()
    np.testing.assert_allclose(early, late, rtol=1e-9)
    assert waiting <= 50 < all_entries
