"""A head of pairs: what it says of a left-out pair is what a head says that was trained without it."""

import numpy as np
import pytest
from scipy.special import expit

from gradsift.evidence.pair_heads import _trained, left_out_margins


def directions(size=60, width=4, seed=0, *, strength=0.8):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(size, width)) + strength * np.eye(width)[0]


def test_left_out_margins_equal_trainings_without_the_pair():
    inputs = directions()
    swapped = np.random.default_rng(1).uniform(0, 0.5, len(inputs))
    _, found = _trained(inputs, swapped, 10.0, np.zeros(4))
    for place in (0, 7, 31):
        rest = np.delete(np.arange(len(inputs)), place)
        weights, _ = _trained(inputs[rest], swapped[rest], 10.0, np.zeros(4))
        assert found[place] == pytest.approx(inputs[place] @ weights, abs=2e-3)
        full, _ = _trained(inputs, swapped, 10.0, np.zeros(4))
        assert abs(found[place] - inputs[place] @ weights) < 0.1 * abs(inputs[place] @ (full - weights))


def test_margins_turn_with_their_pair_and_can_be_taken_at_their_word():
    inputs = directions(1500, strength=1.5)
    swapped = np.zeros(len(inputs), dtype=bool)
    swapped[:300] = True
    given = np.where(swapped[:, None], -inputs, inputs)
    margins = left_out_margins(given).margins
    assert margins[swapped].mean() < 0 < margins[~swapped].mean()
    sure = expit(np.abs(margins)) > 0.9
    assert ((margins > 0) != swapped)[sure].mean() > 0.9
    assert left_out_margins(-given).margins == pytest.approx(margins, rel=0.05, abs=0.05)


def test_directions_without_a_signal_or_of_zeros_are_told_nothing_of():
    noise = directions(300, 10, strength=0.0)
    assert np.abs(left_out_margins(noise).margins).mean() < 1
    assert not left_out_margins(np.zeros((5, 3))).margins.any()
