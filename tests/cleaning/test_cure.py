"""Cures: which samples stay, with which label, target or weight."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradsift.cleaning import cure
from gradsift.errors import DataError, SettingError

LABELS = np.array([0, 0, 0, 1, 1, 2])
SCORES = np.array([0.9, 0.1, 0.8, 0.7, 0.2, 0.99])
POSTERIOR = np.array([[0.1, 0.9, 0], [0.9, 0.1, 0], [0.2, 0, 0.8], [0.7, 0.3, 0], [0, 1, 0], [0.99, 0, 0.01]])


def test_drop_removes_the_highest_scores_and_never_empties_a_class():
    assert cure.drop(SCORES, LABELS, 2).kept.tolist() == [1, 3, 4, 5]  # 5 is the last of class 2
    assert cure.drop(SCORES, LABELS, 100).kept.tolist() == [1, 4, 5]


def test_relabel_gives_the_likeliest_class_to_the_highest_scores():
    relabelled = cure.relabel(POSTERIOR, SCORES, LABELS, 2)
    assert relabelled.labels.tolist() == [1, 0, 2, 1, 1, 2]
    assert relabelled.changed.tolist() == [0, 2]
    assert relabelled.kept.tolist() == list(range(6))


def test_soft_and_weight():
    softened = cure.soft(POSTERIOR, LABELS)
    assert softened.targets.dtype == np.float32
    assert softened.changed.tolist() == [0, 2, 3, 5]
    weighted = cure.weight(SCORES, LABELS)
    np.testing.assert_allclose(weighted.weights, 1 - SCORES, rtol=1e-6)
    assert weighted.changed.tolist() == [0, 2, 3, 5]


def test_a_cure_of_some_samples_is_what_a_data_set_of_them_sees():
    part = cure.drop(SCORES, LABELS, 2).of(np.array([0, 1, 3]))
    assert len(part) == 3
    assert part.kept.tolist() == [1, 2]
    assert part.given.tolist() == [0, 0, 1]
    assert cure.relabel(POSTERIOR, SCORES, LABELS, 2).of(np.array([2, 5])).labels.tolist() == [2, 2]


def test_a_digest_tells_cures_apart():
    cures = (
        cure.none(LABELS), cure.drop(SCORES, LABELS, 1), cure.drop(SCORES, LABELS, 2), cure.soft(POSTERIOR, LABELS),
        cure.relabel(POSTERIOR, SCORES, LABELS, 2), cure.weight(SCORES, LABELS),
    )  # fmt: skip
    assert len({each.digest for each in cures}) == len(cures)
    assert cure.drop(SCORES, LABELS, 2).digest == cures[2].digest


def test_names():
    names = [one.name for one in (cure.none(LABELS), cure.drop(SCORES, LABELS, 3), cure.soft(POSTERIOR, LABELS))]
    assert names == ["no change", "drop 50 %", "soft targets"]
    fewer = cure.without(cure.soft(POSTERIOR, LABELS), np.array([3, 5]))  # 5 is the last of class 2
    assert (fewer.name, fewer.kept.tolist()) == ("soft targets, without 16.7 %", [0, 1, 2, 4, 5])


def test_softened_targets_keep_order_and_certainty():
    targets = cure.softened(POSTERIOR)
    np.testing.assert_allclose(targets.sum(axis=1), 1)
    np.testing.assert_array_equal(targets.argmax(axis=1), POSTERIOR.argmax(axis=1))
    np.testing.assert_allclose(targets[0], [1 / 4, 3 / 4, 0])
    assert targets[4].tolist() == [0, 1, 0]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_every_class_keeps_a_sample(data):
    size = data.draw(st.integers(1, 30))
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    scores = np.array(data.draw(st.lists(st.floats(0, 1), min_size=size, max_size=size)))
    count = data.draw(st.integers(0, size + 2))
    dropped = cure.drop(scores, labels, count)
    assert set(labels[dropped.kept]) == set(labels)
    assert len(dropped.kept) == max(size - count, len(set(labels)))
    uniform = np.full((size, 4), 0.25)
    assert set(cure.relabel(uniform, scores, labels, count).labels) >= set(labels)


def test_bad_input_is_refused():
    with pytest.raises(DataError, match=r"shape \(2, 3\) for 6 labels"):
        cure.soft(POSTERIOR[:2], LABELS)
    with pytest.raises(SettingError, match=r"in \[0, 1\]"):
        cure.weight(np.array([0, 2.0]), np.array([0, 1]))
