"""The window of epochs and the temperature under which given labels are likeliest."""

import numpy as np
import pytest
from scipy.special import softmax

from gradsift.evidence import calibration
from gradsift.evidence.calibration import choose_temperature, choose_window, tempered


def flipped(sharpness, rate, size=4000, classes=4, seed=0):
    """What a calibrated model believes, and labels of which a share is flipped to any other class."""
    generator = np.random.default_rng(seed)
    belief = softmax(sharpness * generator.normal(size=(size, classes)), axis=1)
    true = (generator.random(size)[:, None] > belief.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
    other = (true + generator.integers(1, classes, size)) % classes
    return belief, np.where(generator.random(size) < rate, other, true)


def likelihood_by_loops(belief, labels):
    """The flip matrix by expectation and maximisation, sample by sample."""
    classes = belief.shape[1]
    flips = (1 - calibration.FIRST_RATE) * np.eye(classes)
    flips[~np.eye(classes, dtype=bool)] = calibration.FIRST_RATE / (classes - 1)
    for _ in range(calibration.STEPS):
        counts = np.zeros((classes, classes))
        for row, label in zip(belief, labels, strict=True):
            joint = row * flips[:, label]
            counts[:, label] += joint / joint.sum()
        off = counts - np.diag(np.diag(counts))
        rates = (off.sum(axis=1) + 10 * off.sum() / counts.sum()) / (counts.sum(axis=1) + 10)
        pattern = (off + 2 / (classes - 1)) / (off.sum(axis=1, keepdims=True) + 2)
        flips = rates[:, None] * pattern
        np.fill_diagonal(flips, 1 - rates)
    return np.mean([np.log(row @ flips[:, label]) for row, label in zip(belief, labels, strict=True)])


def test_the_likelihood_is_that_of_plain_loops():
    belief, labels = flipped(2.0, 0.3, size=200)
    labels = np.sort(np.where(labels == 2, 1, labels))  # a class that nobody was given
    np.testing.assert_allclose(calibration._likelihood(belief, labels), likelihood_by_loops(belief, labels), rtol=1e-10)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 1.8])
def test_a_temperature_that_was_put_in_is_taken_out(temperature):
    belief, labels = flipped(3.0, 0.2)
    found, _ = choose_temperature(softmax(np.log(belief) * temperature, axis=1), labels)
    assert abs(np.log(found / temperature)) < 0.25


def test_of_many_classes_flips_are_even(monkeypatch):
    belief, labels = flipped(3.0, 0.2)
    dense, _ = choose_temperature(belief, labels)
    monkeypatch.setattr(calibration, "DENSE", 3)
    even, _ = choose_temperature(belief, labels)
    assert abs(even / dense - 1) < 0.05


def test_epochs_that_have_learnt_the_flips_are_left_out():
    belief, labels = flipped(3.0, 0.3)
    generator = np.random.default_rng(1)
    noise = softmax(6 * generator.normal(size=(4, *belief.shape)), axis=2)
    window = choose_window(np.concatenate([np.repeat(belief[None], 4, axis=0), noise]), labels)
    assert (window.start, window.stop) in [(0, 2), (0, 4), (2, 4)]
    assert abs(window.temperature - 1) < 0.25


def test_one_epoch_is_a_window_and_all_samples_are_never_needed():
    belief, labels = flipped(3.0, 0.1, size=15_000)
    window = choose_window(belief[None], labels)
    assert (window.start, window.stop) == (0, 1)
    assert window == choose_window(belief[None], labels)


def test_tempered_rows_are_distributions_and_nothing_is_impossible():
    rows = tempered(np.array([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25]], dtype=np.float32), 0.5)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    assert rows.min() > 1e-4
    np.testing.assert_allclose(rows[1], 0.999 * np.array([2, 0.5, 0.5]) / 3 + 0.001 / 3)
