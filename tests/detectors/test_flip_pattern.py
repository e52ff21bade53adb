"""Where flipped labels go: sparse counts give what the formula over all pairs of classes gives."""

import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array

from gradsift.detectors import Belief, FlipPattern, WrongLabelPosterior
from gradsift.detectors import belief as beliefs
from gradsift.detectors.flip_pattern import CAUTION, SUREST, concentration, flips, label_posterior
from gradsift.evidence import Evidence


def problem(classes, size=400, seed=0):
    generator = np.random.default_rng(seed)
    belief = generator.dirichlet(np.full(classes, 0.2), size)
    labels = np.where(generator.random(size) < 0.7, belief.argmax(axis=1), generator.integers(0, classes, size))
    return belief, labels


def dense_flips(belief, labels):
    """The formula over all K x K pairs, class by class."""
    classes, likeliest, sureness = belief.shape[1], belief.argmax(axis=1), belief.max(axis=1)
    counts = np.zeros((classes, classes))
    for k in range(classes):
        members = np.flatnonzero(likeliest == k)
        surest = members[np.argsort(-sureness[members], kind="stable")[: max(5, int(SUREST * len(members)))]]
        counts[k] = np.bincount(labels[surest], minlength=classes)
    others = 1 - np.eye(classes)
    elsewhere = counts * others
    prior = CAUTION * concentration(csr_array(elsewhere))
    pattern = (elsewhere + prior / (classes - 1) * others) / (elsewhere.sum(axis=1, keepdims=True) + prior)
    return float(np.clip(elsewhere.sum() / counts.sum(), 0.01, 0.6)), pattern


@pytest.mark.parametrize("classes", [2, 3, 10, 60])
def test_sparse_counts_give_the_pattern_of_the_dense_formula(classes):
    belief, labels = problem(classes)
    rate, pattern = flips(belief.argmax(axis=1), belief.max(axis=1), labels, classes)
    expected_rate, expected = dense_flips(belief, labels)
    assert rate == expected_rate
    np.testing.assert_array_equal(pattern.toarray(), expected)
    np.testing.assert_array_equal(pattern.into(labels), expected[:, labels].T)
    transition = (1 - rate) * np.eye(classes) + rate * expected
    joint = belief * transition[:, labels].T
    posterior = 1 - joint[np.arange(len(labels)), labels] / joint.sum(axis=1)
    right = label_posterior(belief, labels, rate, pattern)[np.arange(len(labels)), labels]
    np.testing.assert_allclose(1 - right, posterior, rtol=0, atol=1e-12)


def test_even_flips_go_to_all_other_classes():
    np.testing.assert_array_equal(FlipPattern.even(4).toarray(), (1 - np.eye(4)) / 3)
    np.testing.assert_array_equal(FlipPattern.even(1).toarray(), [[0]])


def test_patterns_are_told_from_chance():
    generator = np.random.default_rng(0)
    pairs, even, one = np.zeros((5, 5)), np.zeros((5, 5)), 1 - np.eye(5)
    for k in range(5):
        pairs[k, (k + 1) % 5] = 40
        even[k] = generator.multinomial(40, one[k] / 4)
    assert concentration(csr_array(pairs)) < 1
    assert concentration(csr_array(even)) > 30
    for classes in (2, 5):  # nothing seen: no pattern
        assert concentration(csr_array((classes, classes))) == 1000


@pytest.mark.parametrize("held", [0, 20_000, 2**27])
def test_neighbours_are_read_in_pieces_without_a_difference(monkeypatch, held):
    belief, _ = problem(30, size=300)
    features = np.random.default_rng(1).normal(size=(300, 8))
    evidence, settings = Evidence(belief, features), {"weight": 0.7, "neighbours": 5, "references": 120, "seed": 0}
    expected = Belief(evidence, **settings).rows(np.arange(300))
    monkeypatch.setattr(beliefs, "HELD_BYTES", held)
    monkeypatch.setattr(beliefs, "PIECE_BYTES", 10_000)
    pieces = list(Belief(evidence, **settings).chunks())
    assert len(pieces) == 8
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in pieces]), expected)


def test_memory_grows_with_samples_and_classes_not_with_pairs_of_classes():
    classes, size = 20_000, 50  # of all pairs: 3.2 GB; predictions are 4 MB
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, size)
    belief = np.full((size, classes), 0.2 / classes, dtype=np.float32)
    belief[np.arange(size), labels] += 0.8
    tracemalloc.start()
    try:
        detector = WrongLabelPosterior().fit(Evidence(belief, generator.normal(size=(size, 4))), labels)
        detector.score_samples(Evidence(belief), labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 * 2**20
