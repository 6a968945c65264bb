"""Joining pieces: exact where the pieces agree, robust where one does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.alignment import Pieces, join_pieces


def pieces_of(signal: np.ndarray, step: int, length: int = 8, stride: int = 4, seed: int = 0):
    """Windows of a signal ``(T, N)``, each off by its own random constant."""
    rng = np.random.default_rng(seed)
    last = len(signal) - 1 - step * (length - 1)
    starts = sorted({*range(0, last + 1, stride * step), last})
    frames = np.array([[s + step * k for k in range(length)] for s in starts])
    value = signal[frames] + rng.normal(size=(len(starts), 1, signal.shape[1]))
    return Pieces(frames, value, np.ones_like(value))


def relative(signal: np.ndarray) -> np.ndarray:
    return signal - signal[:1]


def wave(frames: int, signals: int = 3) -> np.ndarray:
    time = np.arange(frames)[:, None]
    return 0.3 * np.sin(time / 11 + np.arange(signals)) + 0.01 * time


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(30, 80), stride=st.integers(1, 7), seed=st.integers(0, 1000))
def test_noiseless_pieces_give_the_signal_back_whatever_their_offsets(frames, stride, seed):
    signal = np.random.default_rng(seed).normal(size=(frames, 2)).cumsum(0) * 0.05
    groups = [pieces_of(signal, step, stride=stride, seed=seed) for step in (1, 2, 4)]
    joined = join_pieces(groups, frames, smoothness=0.0)
    assert np.abs(relative(joined) - relative(signal)).max() < 1e-3


def test_offsets_of_the_pieces_change_nothing():
    signal = wave(60)
    first = join_pieces([pieces_of(signal, 1, seed=1)], 60)
    second = join_pieces([pieces_of(signal, 1, seed=2)], 60)
    assert np.abs(relative(first) - relative(second)).max() < 1e-6


def test_a_straight_line_passes_the_smoothing_unchanged():
    line = np.linspace(0, 1, 50)[:, None]
    joined = join_pieces([pieces_of(line, 1), pieces_of(line, 2)], 50, smoothness=100.0)
    assert np.abs(relative(joined) - relative(line)).max() < 1e-4


def test_one_wild_piece_is_outvoted():
    signal = wave(48)
    short, long = pieces_of(signal, 1), pieces_of(signal, 2)
    short.value[3, 4:] += 0.5
    groups = [short, long, pieces_of(signal, 4, seed=5)]
    robust = relative(join_pieces(groups, 48)) - relative(signal)
    plain = relative(join_pieces(groups, 48, robust_iterations=0)) - relative(signal)
    assert np.abs(robust).max() < 0.2 * np.abs(plain).max()


def test_long_steps_stop_the_drift_of_short_ones():
    rng = np.random.default_rng(0)
    signal = wave(64, signals=200)
    groups = []
    for step in (1, 2, 4):
        group = pieces_of(signal, step)
        # Each window's error grows along it, as an error in velocity would.
        slope = rng.normal(size=(len(group.frames), 1, 200)) * 0.02
        groups.append(
            Pieces(group.frames, group.value + slope * np.linspace(0, 1, 8)[:, None], group.weight)
        )
    alone = relative(join_pieces(groups[:1], 64))[-1] - relative(signal)[-1]
    all_steps = relative(join_pieces(groups, 64))[-1] - relative(signal)[-1]
    assert np.sqrt((all_steps**2).mean()) < 0.75 * np.sqrt((alone**2).mean())


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_very_short_signals_are_joined_too(frames):
    signal = wave(frames)
    piece = Pieces(np.arange(frames)[None], signal[None], np.ones((1, frames, 3)))
    joined = join_pieces([piece], frames, smoothness=0.0)
    assert np.abs(relative(joined) - relative(signal)).max() < 1e-4
