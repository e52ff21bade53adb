import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

import gradsift
from gradsift import Audit
from gradsift.cleaning import decide, trim
from gradsift.cleaning.contamination import count_disagreements, count_outliers
from gradsift.data import Samples
from gradsift.detectors import WrongLabelPosterior
from gradsift.errors import DataError
from gradsift.evidence import Evidence
from gradsift.store import ArrayMatrix, gradient_matrix

N = 30


def binary(positive):
    positive = np.asarray(positive)
    return np.stack([1 - positive, positive], axis=1)


@pytest.mark.parametrize(("share", "count"), [(0.1, 3), (0.5, 15), (0.01, 0), (1 / 30, 1)])
def test_a_given_share_is_taken_as_it_is(share, count):
    decision = decide(np.arange(30.0), share, kind="class", labels=np.zeros(30, int), predictions=binary(np.ones(30)))
    assert (decision.count, decision.fraction, decision.low, decision.high) == (count, count / 30, share, share)
    assert decision.words == "The share was given."
    assert decision.to_dict()["count"] == count


def test_auto_asks_the_model_where_there_are_classes_and_the_scores_elsewhere():
    labels, predictions = np.array([0, 0, 0, 1, 1, 1]), binary([0.1, 0.2, 0.9, 0.9, 0.8, 0.9])
    scores = np.exp(np.array([0.0, 0.1, -0.1, 0.05, -0.05, 9.0]))
    assert decide(scores, "auto", kind="class", labels=labels, predictions=predictions) == count_disagreements(
        labels, predictions
    )
    for known in ({}, {"kind": "value", "labels": labels, "predictions": predictions}, {"kind": "class"}):
        assert decide(scores, "auto", **known) == count_outliers(scores)
    assert count_outliers(scores).count == 1


def test_confident_disagreements_are_counted():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    decision = count_disagreements(labels, binary([0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.1]))
    assert (decision.count, decision.fraction, decision.low, decision.high) == (2, 0.25, 0.25, 0.25)
    assert "confidently disagrees with 2 given labels, and unsurely with 0; it agrees with 75.0 %" in decision.words


def test_unsure_disagreements_widen_the_interval_alone():
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    decision = count_disagreements(labels, binary([0.1, 0.1, 0.1, 0.9, 0.55, 0.9, 0.9, 0.9, 0.1]))
    assert decision.count == 2
    assert (decision.low, decision.high) == (pytest.approx(1 / 9), pytest.approx(3 / 9))
    assert "unsurely with 1" in decision.words


def test_a_model_that_agrees_with_all_labels_flags_none():
    labels = np.array([0, 1] * 10)
    decision = count_disagreements(labels, binary(np.where(labels == 1, 0.9, 0.1)))
    assert (decision.count, decision.low, decision.high) == (0, 0, 0)
    assert decision.words.endswith("so perhaps none is.")


def test_a_class_without_samples_is_never_suggested():
    labels = np.array([0, 0, 1, 1])
    predictions = np.array([[0.6, 0.1, 0.3], [0.2, 0.1, 0.7], [0.1, 0.6, 0.3], [0.1, 0.6, 0.3]])
    decision = count_disagreements(labels, predictions)
    assert decision.count == 0
    assert decision.high == 0.25


def test_neighbours_count_what_a_model_has_memorised_away():
    generator = np.random.default_rng(0)
    true = np.arange(600) % 3
    wrong = generator.random(600) < 0.15
    labels = np.where(wrong, (true + 1) % 3, true)
    features = 5 * np.eye(3)[true] + generator.normal(size=(600, 3))
    predictions = 0.96 * np.eye(3)[labels] + 0.04 / 3  # every given label is fitted
    belief = WrongLabelPosterior().fit(Evidence(predictions, features), labels).belief_
    scores = generator.random(600)
    assert decide(scores, "auto", kind="class", labels=labels, predictions=predictions).count == 0
    decision = decide(scores, "auto", kind="class", labels=labels, predictions=belief)
    assert decision.fraction > 0.7 * wrong.mean()
    assert decision.low <= wrong.mean() <= decision.high


def test_never_more_than_half_is_flagged():
    labels = np.array([0, 1] * 5)
    decision = count_disagreements(labels, binary(np.where(labels == 1, 0.05, 0.95)))
    assert (decision.count, decision.fraction, decision.high) == (5, 0.5, 1.0)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 40), st.integers(2, 5), st.floats(0.05, 5), st.integers(0, 10**6))
def test_the_share_lies_in_its_interval_and_never_above_a_half(size, classes, sharpness, seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, size)
    predictions = generator.dirichlet(np.full(classes, sharpness), size)
    for decision in (count_disagreements(labels, predictions), count_outliers(predictions[:, 0])):
        assert 0 <= decision.low <= decision.fraction <= decision.high <= 1
        assert decision.count <= size / 2
        assert decision.fraction == pytest.approx(decision.count / size)


def test_predictions_in_pieces_are_counted_as_a_whole(monkeypatch):
    generator = np.random.default_rng(0)
    labels, predictions = generator.integers(0, 3, 50), generator.dirichlet(np.ones(3), 50)
    whole = count_disagreements(labels, predictions)
    monkeypatch.setattr(gradient_matrix, "CHUNK_BYTES", 4 * 3 * 7)
    assert len(list(ArrayMatrix(predictions).chunks())) > 1
    assert count_disagreements(labels, ArrayMatrix(predictions)) == whole


def test_scores_far_above_the_middle_are_counted_on_a_logarithmic_scale():
    logs = np.concatenate([np.linspace(-1, 1, 95), np.full(5, 20.0)])
    decision = count_outliers(np.exp(logs))
    assert (decision.count, decision.fraction, decision.low, decision.high) == (5, 0.05, 0.05, 0.05)
    assert "no estimate of wrong labels" in decision.words
    assert count_outliers(logs - 100).count == 5  # scores with negative values are taken as they are
    assert count_outliers(np.exp(-logs)).count == 0  # small scores are no outliers


def test_scores_of_which_most_are_equal_have_outliers_too():
    scores = np.concatenate([np.zeros(90), np.full(5, 0.1), np.full(5, 3.0)])
    assert count_outliers(scores).count == 5  # the mean absolute deviation is 0.155, so 3.5 deviations are 0.68
    assert count_outliers(-scores).count == 0


@pytest.mark.parametrize("scores", [np.ones(20), np.zeros(20), np.array([3.0]), -np.ones(4)])
def test_constant_scores_have_no_outliers(scores):
    assert count_outliers(scores).count == 0


class Map(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return torch.from_numpy(self.x[i]), int(self.y[i])


def arrays():
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, 3)).astype(np.float32), np.arange(N) % 3


KINDS = {
    "tuple": (lambda: arrays(), tuple),
    "tensors": (lambda: tuple(torch.from_numpy(a) for a in arrays()), tuple),
    "dict": (lambda: dict(zip(("x", "label"), arrays(), strict=True)), dict),
    "list": (lambda: [(torch.from_numpy(a), int(b)) for a, b in zip(*arrays(), strict=True)], list),
    "Dataset": (lambda: Map(*arrays()), Subset),
    "DataLoader": (lambda: DataLoader(Map(*arrays()), batch_size=7), DataLoader),
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Linear(3, 3).eval()


def audited(model, train_set, **more):
    return gradsift.audit(model, train_set, detectors=("l2",), contamination=0.2, show_progress=False, **more)


def numbers(source):
    samples = Samples(source)
    x, y = (
        Samples(source).batch(range(len(samples))).values()
        if isinstance(source, dict)
        else samples.batch(range(len(samples)))
    )
    return np.asarray(x), np.asarray(y)


@pytest.mark.parametrize("kind", KINDS)
def test_trim_gives_the_same_kind_without_the_flagged_and_leaves_the_original(model, kind):
    make, expected = KINDS[kind]
    source = make()
    audit = audited(model, source)
    assert len(audit.flagged_positions) == 6
    assert sorted([*audit.flagged_positions, *audit.kept]) == list(range(N))
    for clean in (trim(source, audit), audit.trim(), audit.trim(make())):
        assert isinstance(clean, expected)
        x, y = numbers(clean)
        assert (x == arrays()[0][audit.kept]).all()
        assert (y == arrays()[1][audit.kept]).all()
    assert all((a == b).all() for a, b in zip(numbers(source), arrays(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_trim_refuses_another_data_set(model, kind):
    audit = audited(model, KINDS[kind][0]())
    x, y = arrays()
    relabelled, shuffled = y.copy(), np.random.default_rng(1).permutation(N)
    relabelled[4] = (relabelled[4] + 1) % 3
    for other in ((x, relabelled), (x[shuffled], y[shuffled])):
        with pytest.raises(DataError, match="not the one that was audited"):
            audit.trim(other)
    with pytest.raises(DataError, match="29 samples, the audit 30"):
        audit.trim((x[:-1], y[:-1]))


def test_trim_of_an_opened_run_needs_the_data_set(model, tmp_path):
    audited(model, arrays(), output=tmp_path / "x")
    opened = Audit.open(tmp_path / "x")
    with pytest.raises(DataError, match=r"trim\(train_set\)"):
        opened.trim()
    assert len(opened.trim(arrays())[1]) == 24
    assert len(Audit.open(tmp_path / "x", arrays()).trim()[1]) == 24


def test_ties_at_the_cut_are_flagged_together_or_not_at_all():
    scores = np.concatenate([np.zeros(92), np.full(4, 10.0), np.linspace(20, 40, 4)])
    labels, predictions = np.arange(100) % 2, np.empty((100, 2))
    predictions[:] = binary(np.where(labels == 1, 0.9, 0.1))
    for disagreeing, flagged, words in (
        (7, 8, "so all of them"),
        (5, 4, "so none of them"),
        (8, 8, None),
        (4, 4, None),
    ):
        said = predictions.copy()
        said[-disagreeing:] = said[-disagreeing:, ::-1]
        decision = decide(scores, "auto", kind="class", labels=labels, predictions=said)
        assert decision.count == flagged
        assert ("share the score at the cut" in decision.words) == (words is not None)
        if words:
            assert f"4 samples share the score at the cut, {words} " in decision.words


def test_of_a_share_that_was_given_ties_are_drawn_and_the_words_say_so():
    decision = decide(np.ones(1000), 0.05)
    assert decision.count == 50
    assert decision.words.endswith("1,000 samples share the score at the cut: 50 of them were drawn at random.")
    assert decide(np.ones(1000), 0.05, held=True).words == "The share was given."
    assert decide(np.arange(1000.0), 0.05).words == "The share was given."
