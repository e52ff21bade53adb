"""Probabilities of classes out of losses under every class."""

import numpy as np

from gradsift.evidence.conditions import condition_probabilities


def test_the_class_with_the_least_loss_is_the_likeliest_whatever_the_unit_of_the_losses():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 300)
    losses = 1 + rng.normal(size=(300, 4)) * 0.1 - 0.5 * np.eye(4)[true]
    given = np.where(rng.random(300) < 0.1, (true + 1) % 4, true)
    found = [condition_probabilities(scale * losses, given) for scale in (1e-4, 1.0, 1e4)]
    for probabilities in found:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        assert (probabilities.argmax(axis=1) == losses.argmin(axis=1)).all()
        np.testing.assert_allclose(probabilities, found[0], atol=1e-6)
    assert found[0][np.arange(300), true].mean() > 0.9


def test_losses_that_tell_nothing_give_even_probabilities():
    np.testing.assert_allclose(condition_probabilities(np.ones((5, 2)), np.array([0, 1, 0, 1, 0])), 0.5)
