"""Confident learning by hand."""

import numpy as np
import pytest

from gradsift.detectors.confident_learning import confident_learning


def test_counts_are_scaled_to_the_samples_of_each_class():
    probabilities = np.array([[0.9, 0.1]] * 6 + [[0.3, 0.7]] * 2 + [[0.55, 0.45]] * 2 + [[0.1, 0.9]] * 5)
    labels = np.array([0] * 10 + [1] * 5)
    # class 0's own mean is 0.71: six are confident of 0, none of 1, whose mean is 0.9
    assert confident_learning(probabilities, labels).tolist() == []
    labels[:2] = 1
    # class 1's mean is now 0.671: two given 0 are confident of 1, two given 1 of 0; the two unsure ones scale 2 of 6 to 8
    assert confident_learning(probabilities, labels).tolist() == [0, 1, 6, 7, 8]


@pytest.mark.parametrize("classes", [2, 4])
def test_planted_flips_are_among_what_is_pruned(classes):
    generator = np.random.default_rng(0)
    true = generator.integers(0, classes, 500)
    given = np.where(generator.random(500) < 0.2, (true + 1) % classes, true)
    pruned = confident_learning(0.8 * np.eye(classes)[true] + 0.2 * generator.dirichlet(np.ones(classes), 500), given)
    wrong = np.flatnonzero(given != true)
    assert np.isin(wrong, pruned).mean() > 0.95
    assert np.isin(pruned, wrong).mean() > 0.9


def test_no_samples_single_samples_and_absent_classes():
    assert confident_learning(np.zeros((0, 3)), np.zeros(0, dtype=int)).tolist() == []
    assert confident_learning(np.array([[0.1, 0.9, 0], [0.1, 0.9, 0]]), np.array([0, 1])).tolist() == []
