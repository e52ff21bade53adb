"""One battery over every detector, and what is special to each."""

import numpy as np
import pytest
from sklearn import ensemble
from sklearn.base import clone

from gradsift.detectors import (
    DETECTORS,
    ConfidenceWeightedEntropy,
    External,
    IsolationForest,
    L1Norm,
    L2Norm,
    NormalizedMargin,
    PerClass,
    SelfConfidence,
    detrimental_scores,
    get_detector,
)
from gradsift.errors import DataError, SettingError
from gradsift.store import ArrayMatrix, FactoredMatrix

NAMES = [*DETECTORS, "sklearn.neighbors:LocalOutlierFactor", "sklearn.svm:OneClassSVM", "pyod.models.ecod:ECOD"]


class Observed:
    """What a softmax classifier with some flipped labels looks like, for each kind of reader."""

    def __init__(self, size=200, classes=4, width=6, seed=0, dtype=np.float32):
        generator = np.random.default_rng(seed)
        true = generator.integers(0, classes, size)
        logits = 4.0 * np.eye(classes)[true] + generator.normal(size=(size, classes))
        self.predictions = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        self.wrong = np.arange(size) < size // 10
        self.labels = np.where(self.wrong, (true + 1) % classes, true)
        residual = (self.predictions - np.eye(classes)[self.labels]).astype(dtype)
        features = np.abs(1 + 0.2 * generator.normal(size=(size, width))).astype(dtype)
        self.gradients = FactoredMatrix(residual, features)
        given = self.predictions[np.arange(size), self.labels]
        self.losses = -np.log(given)
        others = np.where(np.eye(classes)[self.labels] == 1, 0, self.predictions).max(axis=1)
        weights = np.array([1.0, 0.5, 0.25])[:, None]  # three checkpoints
        self.along = (weights * self.losses).astype(dtype), (weights * (given - others)).astype(dtype)

    def of(self, detector):
        if detector.reads == "trajectory":  # (checkpoints, n); only a margin is high for what is normal
            return self.along[1 if detector.statistic == "margin" else 0].copy()
        return {"gradients": self.gradients, "predictions": self.predictions, "losses": self.losses}[detector.reads]


def rows_of(observed, positions, detector):
    if detector.reads == "trajectory":
        return observed[:, positions]
    return observed.rows(positions) if isinstance(observed, FactoredMatrix) else observed[positions]


@pytest.fixture(params=NAMES)
def detector(request):
    return get_detector(request.param, seed=0)


@pytest.fixture(scope="module")
def seen():
    return Observed()


def test_flipped_labels_score_higher(detector, seen):
    scores = detrimental_scores(detector, seen.of(detector), seen.labels)
    assert scores.shape == (200,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert np.median(scores[seen.wrong]) > np.median(scores[~seen.wrong])


def test_score_samples_keeps_the_sign_of_scikit_learn(detector, seen):
    observed = seen.of(detector)
    normal = detector.fit(observed, seen.labels).score_samples(observed, seen.labels)
    assert np.array_equal(normal, -detrimental_scores(clone(detector), observed, seen.labels))


def test_scores_follow_their_samples(detector, seen):
    observed, order = seen.of(detector), np.random.default_rng(1).permutation(200)
    fitted = detector.fit(observed, seen.labels)
    scores = fitted.score_samples(observed, seen.labels)
    shuffled = fitted.score_samples(rows_of(observed, order, detector), seen.labels[order])
    assert np.allclose(shuffled, scores[order], rtol=1e-5, atol=1e-6)


def test_same_seed_same_scores(detector, seen):
    first = detrimental_scores(clone(detector), seen.of(detector), seen.labels)
    assert np.array_equal(first, detrimental_scores(clone(detector), seen.of(detector), seen.labels))


def test_fit_returns_self_and_leaves_parameters(detector, seen):
    before = {k: v for k, v in detector.get_params(deep=False).items() if not hasattr(v, "get_params")}
    assert detector.fit(seen.of(detector), seen.labels) is detector
    assert before.items() <= detector.get_params(deep=False).items()
    assert not hasattr(clone(detector), "forest_")


def test_float32_and_float64_agree(detector):
    single, double = Observed(dtype=np.float32), Observed(dtype=np.float64)
    first = detrimental_scores(clone(detector), single.of(detector), single.labels)
    second = detrimental_scores(clone(detector), double.of(detector), double.labels)
    assert np.corrcoef(first, second)[0, 1] > 0.99


def test_memory_mapped_input(detector, seen, tmp_path):
    observed = seen.of(detector)
    whole = observed.rows(np.arange(200)) if detector.reads == "gradients" else observed
    np.save(tmp_path / "x.npy", whole)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    scores = detrimental_scores(clone(detector), mapped, seen.labels)
    assert np.allclose(scores, detrimental_scores(clone(detector), whole, seen.labels))


def test_constant_rows_score_alike(detector):
    labels = np.arange(40) % 2
    observed = {
        "gradients": np.ones((40, 3)), "predictions": np.full((40, 2), 0.5), "losses": np.ones(40),
        "trajectory": np.ones((3, 40)),
    }  # fmt: skip
    with np.errstate(all="ignore"):
        scores = detrimental_scores(detector, observed[detector.reads], labels)
    assert np.isfinite(scores).all()
    assert np.ptp(scores) < 1e-9


def test_rows_with_nan_are_refused(detector, seen):
    observed = seen.of(detector)
    whole = observed.rows(np.arange(200)) if detector.reads == "gradients" else observed.copy()
    whole[(slice(None), 3) if detector.reads == "trajectory" else 3] = np.nan
    with pytest.raises(DataError):
        detrimental_scores(detector, whole, seen.labels)


@pytest.mark.parametrize("name", list(DETECTORS))
def test_a_single_sample(name):
    one = {
        "gradients": np.ones((1, 3)), "predictions": np.array([[0.2, 0.8]]), "losses": np.ones(1),
        "trajectory": np.ones((3, 1)),
    }  # fmt: skip
    detector = get_detector(name)
    assert detrimental_scores(detector, one[detector.reads], np.array([1])).shape == (1,)


def test_norms_are_those_of_numpy():
    rows = np.random.default_rng(0).normal(size=(30, 7))
    assert np.allclose(L2Norm().fit(rows).score_samples(rows), -np.linalg.norm(rows, axis=1))
    assert np.allclose(L1Norm().fit(rows).score_samples(rows), -np.abs(rows).sum(axis=1))


def test_label_baselines_by_hand():
    predictions, labels = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]), np.array([0, 1])
    assert np.allclose(SelfConfidence().score_samples(predictions, labels), [0.7, 0.2])
    assert np.allclose(NormalizedMargin().score_samples(predictions, labels), [0.75, 0.25])
    entropy = -(predictions[0] * np.log(predictions[0])).sum() / np.log(3)
    assert np.allclose(ConfidenceWeightedEntropy().score_samples(predictions, labels), [-entropy / 0.7, -entropy / 0.2])


def test_label_baselines_need_given_labels(seen):
    with pytest.raises(SettingError, match="given labels"):
        SelfConfidence().score_samples(seen.predictions)
    with pytest.raises(DataError, match="outside"):
        SelfConfidence().score_samples(seen.predictions, np.full(200, 9))


def test_the_forest_agrees_with_scikit_learn_as_two_seeds_of_it_do(seen):
    rows = seen.gradients.rows(np.arange(200))
    ours = IsolationForest().fit(rows).score_samples(rows)
    theirs = [ensemble.IsolationForest(random_state=seed).fit(rows).score_samples(rows) for seed in (0, 1)]
    between_seeds = np.corrcoef(*theirs)[0, 1]
    assert np.corrcoef(ours, theirs[0])[0, 1] > between_seeds - 0.03
    assert abs(ours.mean() - theirs[0].mean()) < 0.02


def test_the_forest_has_the_papers_settings_and_never_forms_the_matrix(monkeypatch):
    class Counted(ArrayMatrix):
        most = 0

        def rows(self, positions):
            Counted.most = max(Counted.most, len(positions))
            return super().rows(positions)

    monkeypatch.setattr("gradsift.store.gradient_matrix.CHUNK_BYTES", 4 * 3 * 300)
    matrix = Counted(np.random.default_rng(0).normal(size=(5000, 3)))
    forest = IsolationForest().fit(matrix)
    forest.score_samples(matrix)
    assert len(forest.forest_.estimators_) == 100
    assert Counted.most <= 300


def test_per_class_finds_an_outlier_that_a_global_norm_hides():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    rows = generator.normal(size=(200, 2)) * 0.05 + np.where(labels[:, None] == 0, 1.0, 10.0)
    rows[0] = 2.0
    scores = detrimental_scores(PerClass(L2Norm()), rows, labels)
    assert scores.argmax() == 0
    assert detrimental_scores(L2Norm(), rows)[0] < np.median(detrimental_scores(L2Norm(), rows)[100:])


def test_unknown_detectors_are_refused():
    with pytest.raises(SettingError, match="choose among l2"):
        get_detector("l3")
    with pytest.raises(SettingError, match="cannot be made"):
        get_detector("sklearn.nothing:Here")
    rows = np.random.default_rng(0).normal(size=(20, 2))
    no_detector = External.at("sklearn.cluster:KMeans").fit(rows)
    with pytest.raises(SettingError, match="neither score_samples"):
        no_detector.score_samples(rows)
