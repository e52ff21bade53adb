"""One battery over every detector, and what is special to each."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn import ensemble
from sklearn.base import clone
from sklearn.metrics import average_precision_score

from gradsift.detectors import (
    DETECTORS,
    ConfidenceWeightedEntropy,
    External,
    FlipPattern,
    IsolationForest,
    L1Norm,
    L2Norm,
    NormalizedMargin,
    PerClass,
    SelfConfidence,
    WrongLabelPosterior,
    WrongLabelPosteriorAlongTraining,
    detrimental_scores,
    get_detector,
    trees,
)
from gradsift.detectors.belief import Belief
from gradsift.detectors.flip_pattern import label_posterior
from gradsift.detectors.trees import IsolationTrees, average_path_length, grow
from gradsift.errors import DataError, SettingError
from gradsift.evidence import Evidence
from gradsift.store import ArrayMatrix, FactoredMatrix, ShardedArray
from gradsift.trajectory import Trajectory

OF_CLASSES = [
    name
    for name in DETECTORS
    if get_detector(name).of_kind in (None, "class") and get_detector(name).reads != ("responses",)
]
"""Detectors of several labels, of values and of responses have batteries of their own."""
NAMES = [*OF_CLASSES, "sklearn.neighbors:LocalOutlierFactor", "sklearn.svm:OneClassSVM", "pyod.models.ecod:ECOD"]


def read_of(detector):
    """The field that a detector is handed; predictions alone are evidence, too."""
    return "predictions" if isinstance(detector, WrongLabelPosterior) else detector.reads[0]


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
        if read_of(detector) == "trajectory":  # (checkpoints, n); only a margin is high for what is normal
            return self.along[1 if detector.statistic == "margin" else 0].copy()
        found = {"gradients": self.gradients, "predictions": self.predictions, "losses": self.losses}
        return found[read_of(detector)]


def rows_of(observed, positions, detector):
    if read_of(detector) == "trajectory":
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
    whole = observed.rows(np.arange(200)) if read_of(detector) == "gradients" else observed
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
        scores = detrimental_scores(detector, observed[read_of(detector)], labels)
    assert np.isfinite(scores).all()
    assert np.ptp(scores) < 1e-9


def test_rows_with_nan_are_refused(detector, seen):
    observed = seen.of(detector)
    whole = observed.rows(np.arange(200)) if read_of(detector) == "gradients" else observed.copy()
    whole[(slice(None), 3) if read_of(detector) == "trajectory" else 3] = np.nan
    with pytest.raises(DataError):
        detrimental_scores(detector, whole, seen.labels)


@pytest.mark.parametrize("name", OF_CLASSES)
def test_a_single_sample(name):
    one = {
        "gradients": np.ones((1, 3)), "predictions": np.array([[0.2, 0.8]]), "losses": np.ones(1),
        "trajectory": np.ones((3, 1)),
    }  # fmt: skip
    detector = get_detector(name)
    assert detrimental_scores(detector, one[read_of(detector)], np.array([1])).shape == (1,)


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


def wide(size=600, classes=5, width=30, dtype=np.float32):
    """Gradients as factors, half of the features zero as behind a ReLU."""
    generator = np.random.default_rng(5)
    residual = generator.dirichlet(np.full(classes, 0.3), size) - np.eye(classes)[generator.integers(0, classes, size)]
    features = np.maximum(generator.normal(size=(size, width)), 0)
    return FactoredMatrix(residual.astype(dtype), features.astype(dtype))


def flat(forest):
    """Trees of scikit-learn as ours, breadth first so that siblings lie side by side."""
    parts = []
    for tree in (estimator.tree_ for estimator in forest.estimators_):
        order = [0]
        for node in order:
            if tree.children_left[node] >= 0:
                order += [tree.children_left[node], tree.children_right[node]]
        place, leaf = {node: i for i, node in enumerate(order)}, tree.children_left[order] < 0
        threshold = tree.threshold[order].astype(np.float32)
        above = threshold > tree.threshold[order]
        threshold[above] = np.nextafter(threshold[above], np.float32(-np.inf))
        parts.append(
            IsolationTrees(
                roots=np.array([0]),
                child=np.array(
                    [place[node if end else tree.children_left[node]] for node, end in zip(order, leaf, strict=True)]
                ),
                column=np.where(leaf, 0, tree.feature[order]),
                threshold=np.where(leaf, np.float32(np.inf), threshold),
                length=tree.compute_node_depths()[order] - 1 + average_path_length(tree.n_node_samples[order]),
                levels=tree.max_depth,
            )
        )
    return IsolationTrees.joined(parts)


def over_seeds(scores, seeds=10):
    return np.mean([scores(seed) for seed in range(seeds)], axis=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 3, 200, 600])
def test_on_the_same_trees_scikit_learn_gives_the_same_scores(dtype, size):
    gradients = wide(size, dtype=dtype)
    rows = gradients.rows(np.arange(size))
    theirs = ensemble.IsolationForest(n_estimators=30, random_state=0).fit(rows)
    ours = IsolationForest(n_estimators=30).fit(gradients)
    ours.forest_ = flat(theirs)
    assert np.abs(ours.score_samples(gradients) - theirs.score_samples(rows)).max() < 1e-12


def test_thresholds_between_neighbouring_numbers_part_them_as_scikit_learn_does():
    step = np.spacing(np.float32(1000))
    rows = (1000 + step * np.random.default_rng(0).integers(0, 4, (300, 2))).astype(np.float32)
    theirs = ensemble.IsolationForest(random_state=0).fit(rows)
    ours = IsolationForest().fit(rows)
    ours.forest_ = flat(theirs)
    assert np.abs(ours.score_samples(rows) - theirs.score_samples(rows)).max() < 1e-12


def test_grown_trees_part_their_rows_and_count_them():
    gradients = wide(40)
    rows = gradients.rows(np.arange(40))
    forest = grow(gradients, 5, 40, np.random.default_rng(0))  # every tree sees every row
    assert forest.levels == 6
    leaves = forest._leaves(gradients, np.arange(40))
    for tree in range(5):
        counts = dict(zip(*np.unique(leaves[tree], return_counts=True), strict=True))
        for row in range(40):
            node, edges = forest.roots[tree], 0
            while forest.child[node] != node:
                node = forest.child[node] + (rows[row, forest.column[node]] > forest.threshold[node])
                edges += 1
            assert node == leaves[tree, row]
            assert forest.length[node] == edges + average_path_length(np.array(counts[node]))
            assert counts[node] == 1 or edges == 6
    inner = forest.child != np.arange(len(forest.child))
    assert len(set(forest.column[inner])) > 0.4 * inner.sum()  # 150 columns


def test_trees_are_as_large_and_as_even_as_those_of_scikit_learn():
    gradients = wide()
    theirs = flat(ensemble.IsolationForest(n_estimators=400, random_state=0).fit(gradients.rows(np.arange(600))))
    ours = grow(gradients, 400, 256, np.random.default_rng(0))
    assert ours.levels == theirs.levels == 8
    assert stats.ks_2samp(nodes_of_each(ours), nodes_of_each(theirs)).pvalue > 0.05
    leaves = [forest.length[forest.child == np.arange(len(forest.child))] for forest in (theirs, ours)]
    assert abs(leaves[0].mean() - leaves[1].mean()) < 0.1


def nodes_of_each(forest):
    """Nodes of each tree, by walking."""
    tree = np.zeros(len(forest.child), int)
    tree[forest.roots] = np.arange(len(forest.roots))
    for node in np.flatnonzero(forest.child != np.arange(len(forest.child))):  # parents come first
        tree[forest.child[node] : forest.child[node] + 2] = tree[node]
    return np.bincount(tree)


@pytest.mark.parametrize(("width", "found"), [(400, True), (8000, True), (20_000, False)])
def test_the_only_column_that_differs_is_found_among_8192(monkeypatch, width, found):
    if not found:
        monkeypatch.setattr(trees, "COLUMNS", 16)
    rows = np.ones((300, width), np.float32)
    rows[:, 137] = np.arange(300)
    forest = grow(ArrayMatrix(rows), 20, 256, np.random.default_rng(0))
    inner = forest.child != np.arange(len(forest.child))
    assert set(forest.column[inner]) <= {137}
    assert (nodes_of_each(forest) > 100).all() == found


def test_columns_that_differ_are_equally_likely():
    rows = np.ones((300, 40), np.float32)
    rows[:, [3, 17, 38]] = np.random.default_rng(0).normal(size=(300, 3))  # found one by one, or by the search for them
    forest = grow(ArrayMatrix(rows), 600, 256, np.random.default_rng(0))
    counts = np.bincount(forest.column[forest.roots], minlength=40)[[3, 17, 38]]
    assert counts.sum() == 600
    assert stats.chisquare(counts).pvalue > 0.01


def test_rows_that_are_all_the_same_stay_together():
    rows = np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 50, axis=0)
    forest = grow(ArrayMatrix(rows), 10, 200, np.random.default_rng(0))
    assert (nodes_of_each(forest) == 7).all()
    assert np.isfinite(IsolationForest().fit(np.ones((5, 2))).score_samples(np.ones((5, 2)))).all()


def test_average_path_length_by_hand():
    assert average_path_length(np.array([1, 2])).tolist() == [0.0, 1.0]
    assert np.isclose(average_path_length(np.array(4)), 2 * (np.log(3) + 0.5772156649) - 1.5)


@pytest.fixture(scope="module")
def forests_of_scikit_learn():
    """Mean scores over two sets of seeds."""
    rows = wide().rows(np.arange(600))
    return [
        over_seeds(
            lambda seed, base=base: ensemble.IsolationForest(random_state=base + seed).fit(rows).score_samples(rows)
        )
        for base in (0, 100)
    ]


@pytest.mark.parametrize("together", [100, 7])
def test_scores_are_distributed_as_those_of_scikit_learn(monkeypatch, forests_of_scikit_learn, together):
    if together < 100:
        monkeypatch.setattr(trees, "GROW_BYTES", 4 * 35 * 256 * together)
    gradients, (first, second) = wide(), forests_of_scikit_learn
    ours = over_seeds(lambda seed: IsolationForest(random_state=seed).fit(gradients).score_samples(gradients))
    assert stats.spearmanr(ours, first).statistic > stats.spearmanr(first, second).statistic - 0.01
    assert stats.ks_2samp(ours, first).pvalue > 0.05
    assert abs(ours.mean() - first.mean()) < 0.003


def test_a_seed_gives_the_same_trees_wherever_the_factors_lie(monkeypatch, tmp_path):
    monkeypatch.setattr(trees, "GROW_BYTES", 4 * 35 * 256 * 15)
    monkeypatch.setattr("gradsift.store.gradient_matrix.CHUNK_BYTES", 4 * 35 * 50)
    gradients = wide()
    factors = {"residual": gradients._residual, "features": gradients._features}
    shards = []
    for name, factor in factors.items():
        for start, stop in ((0, 250), (250, 600)):
            np.save(tmp_path / f"{name}{start}.npy", factor.rows(np.arange(start, stop)))
        shards.append(ShardedArray([tmp_path / f"{name}0.npy", tmp_path / f"{name}250.npy"], [250, 350]))
    scores = [IsolationForest().fit(one).score_samples(one) for one in (gradients, FactoredMatrix(*shards))]
    assert np.array_equal(*scores)


def test_the_forest_has_the_papers_settings_and_never_forms_the_matrix():
    gradients = wide(8000, 10, 512)  # 164 MB as a matrix
    tracemalloc.start()
    forest = IsolationForest().fit(gradients)
    forest.score_samples(gradients)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(forest.forest_.roots), forest.max_samples_, forest.forest_.levels) == (100, 256, 8)
    assert peak < 20 * 2**20


def test_memory_does_not_grow_with_the_columns():
    gradients = wide(2000, 1000, 2000)  # 2 million columns, 2 GB for the 256 rows of a tree
    tracemalloc.start()
    scores = IsolationForest().fit(gradients).score_samples(gradients)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.ptp(scores) > 0
    assert peak < 40 * 2**20


def test_a_forest_is_refused_what_it_cannot_do():
    rows = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(SettingError, match="n_estimators=0"):
        IsolationForest(n_estimators=0).fit(rows)
    with pytest.raises(SettingError, match="max_samples=0"):
        IsolationForest(max_samples=0).fit(rows)
    with pytest.raises(DataError, match="fitted on gradients of 3 numbers, got 2"):
        IsolationForest().fit(rows).score_samples(rows[:, :2])


def test_per_class_reads_only_the_rows_of_the_class():
    asked = []

    class Watched(ArrayMatrix):
        def rows(self, positions):
            asked.append(set(np.asarray(positions).tolist()))
            return super().rows(positions)

        def entries(self, rows, columns):
            asked.append(set(np.asarray(rows).ravel().tolist()))
            return super().entries(rows, columns)

    labels = np.arange(300) % 3
    classes = [set(np.flatnonzero(labels == label).tolist()) for label in range(3)]
    for detector in (IsolationForest(n_estimators=3), L2Norm()):
        fitted = PerClass(detector).fit(Watched(np.random.default_rng(0).normal(size=(300, 4))), labels)
        fitted.score_samples(Watched(np.random.default_rng(0).normal(size=(300, 4))), labels)
        assert all(any(rows <= members for members in classes) for rows in asked)
    assert set().union(*asked) == set(range(300))


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
    with pytest.raises(SettingError, match="cannot be imported"):
        get_detector("sklearn.nothing:Here")
    rows = np.random.default_rng(0).normal(size=(20, 2))
    no_detector = External.at("sklearn.cluster:KMeans").fit(rows)
    with pytest.raises(SettingError, match="neither score_samples"):
        no_detector.score_samples(rows)


def test_the_posterior_of_a_wrong_label_is_bayes_rule():
    belief = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
    pattern = np.array([[0, 0.9, 0.1], [0.5, 0, 0.5], [0.2, 0.8, 0]])
    transition = 0.8 * np.eye(3) + 0.2 * pattern
    for labels in ([1, 0], [0, 1], [2, 2]):
        joint = np.array([q * transition[:, y] for q, y in zip(belief, labels, strict=True)])
        found = label_posterior(belief, np.array(labels), 0.2, FlipPattern(pattern, prior=0.0))
        np.testing.assert_allclose(found, joint / joint.sum(axis=1, keepdims=True), rtol=1e-12)


def test_true_class_probabilities_are_those_that_the_score_is_made_of():
    generator = np.random.default_rng(5)
    belief, features = generator.dirichlet(np.ones(4), 300), generator.normal(size=(300, 3))
    labels, positions = generator.integers(0, 4, 300), generator.permutation(300)[:40]
    evidence = Evidence(belief, features, labels=labels)
    fitted = WrongLabelPosterior().fit(evidence, labels)
    found = fitted.true_class_probabilities(positions)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    scores = fitted.score_samples(evidence, labels)[positions]
    np.testing.assert_allclose(1 - found[np.arange(40), labels[positions]], -scores, rtol=0, atol=1e-12)
    q = fitted.belief_.rows(positions)
    joint = q * ((1 - fitted.rate_) * np.eye(4) + fitted.rate_ * fitted.pattern_.toarray())[:, labels[positions]].T
    np.testing.assert_allclose(found, joint / joint.sum(axis=1, keepdims=True))


def test_two_classes_are_ordered_by_the_given_label_s_probability():
    generator = np.random.default_rng(0)
    belief = generator.dirichlet([1, 1], 200)
    labels = generator.integers(0, 2, 200)
    scores = detrimental_scores(WrongLabelPosterior(), belief, labels)
    given = belief[np.arange(200), labels]
    assert (np.argsort(scores, kind="stable") == np.argsort(-given, kind="stable")).all()


def test_flips_between_pairs_of_classes_are_told_from_hard_samples():
    generator = np.random.default_rng(1)
    true = generator.integers(0, 5, 2000)
    hard = generator.random(2000) < 0.1
    wrong = ~hard & (generator.random(2000) < 0.2)
    labels = np.where(wrong, (true + 1) % 5, true)
    # A network that has learnt the flips gives the pair's class its share; a hard sample's mass is spread.
    belief = 0.75 * np.eye(5)[true] + 0.2 * np.eye(5)[(true + 1) % 5] + 0.01
    belief[hard] = generator.dirichlet(np.full(5, 2.0), int(hard.sum()))
    scores = detrimental_scores(WrongLabelPosterior(), belief, labels)
    loss = detrimental_scores(get_detector("self_confidence"), belief / belief.sum(1, keepdims=True), labels)
    assert average_precision_score(wrong, scores) > average_precision_score(wrong, loss) + 0.08
    fitted = WrongLabelPosterior().fit(belief, labels)
    assert abs(fitted.rate_ - 0.2) < 0.03  # hard samples are not among the surest
    assert fitted.pattern_.toarray().argmax(axis=1).tolist() == [1, 2, 3, 4, 0]
    np.testing.assert_allclose(fitted.pattern_.toarray().sum(axis=1), 1)


def test_neighbours_speak_where_the_model_has_memorised():
    generator = np.random.default_rng(2)
    true = generator.integers(0, 3, 600)
    wrong = generator.random(600) < 0.1
    labels = np.where(wrong, (true + 1) % 3, true)
    features = 5 * np.eye(3)[true] + generator.normal(size=(600, 3))
    belief = 0.9 * np.eye(3)[labels] + 0.1 / 3  # every given label is fitted alike
    alone = detrimental_scores(WrongLabelPosterior(weight=0.0), belief, labels)
    with_them = detrimental_scores(WrongLabelPosterior(), Evidence(belief, features), labels)
    assert average_precision_score(wrong, alone) < 0.2
    assert average_precision_score(wrong, with_them) > 0.9
    few = detrimental_scores(WrongLabelPosterior(references=100, random_state=3), Evidence(belief, features), labels)
    assert average_precision_score(wrong, few) > 0.9


def test_a_belief_is_the_weighted_mean_with_the_nearest():
    predictions = np.random.default_rng(3).dirichlet(np.ones(4), 120)
    features = np.random.default_rng(4).normal(size=(120, 5))
    belief = Belief(Evidence(predictions, features), 0.3, neighbours=50, references=1000, seed=0)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    likeness = unit @ unit.T - 3 * np.eye(120)
    near = np.argsort(-likeness, axis=1)[:, :2]  # of 120 samples two are near
    expected = 0.7 * predictions + 0.3 * predictions[near].mean(axis=1)
    np.testing.assert_allclose(np.concatenate([rows for _, rows in belief.chunks()]), expected, rtol=1e-6)
    np.testing.assert_allclose(belief.rows(np.array([7, 3])), expected[[7, 3]], rtol=1e-6)
    assert Belief(Evidence(predictions), 0.3, neighbours=50, references=9, seed=0).weight == 0


def test_neighbours_weigh_as_much_as_the_final_model_has_fitted_its_labels():
    predictions = np.random.default_rng(3).dirichlet(np.ones(4), 120)
    features, labels = np.random.default_rng(4).normal(size=(120, 5)), predictions.argmax(axis=1)
    labels[:60] = (labels[:60] + 1) % 4  # half of the labels are fitted
    statistics = {"loss": np.zeros((1, 120), dtype=np.float32)}
    trajectory = Trajectory("eval", statistics, [1], predictions=predictions[::-1].copy())

    def weight(detector, evidence):
        return detector.fit(evidence, labels).belief_.weight

    assert weight(WrongLabelPosterior(), Evidence(predictions, features)) == 0.5**4
    assert weight(WrongLabelPosterior(), Evidence(predictions)) == 0
    assert weight(WrongLabelPosterior(weight=0.2), Evidence(predictions, features)) == 0.2
    assert weight(WrongLabelPosteriorAlongTraining(), Evidence(predictions, features, trajectory=trajectory)) == 0.5**4
    unseen = Evidence(predictions, features, provenance={"predictions": "out-of-fold"})
    assert weight(WrongLabelPosterior(), unseen) == 0.5


def test_the_posterior_is_a_probability_and_keeps_its_belief():
    predictions = np.random.default_rng(5).dirichlet(np.ones(3), 80)
    labels = np.arange(80) % 3
    detector = WrongLabelPosterior().fit(predictions, labels)
    scores = detector.score_samples(predictions, labels)
    assert scores.min() >= -1
    assert scores.max() <= 0
    assert detector.belief_.shape == (80, 3)
    other = detector.score_samples(predictions[:5], labels[:5])  # not the fitted samples, yet their transition
    np.testing.assert_allclose(other, scores[:5])


def test_evidence_that_does_not_fit_is_refused():
    labels, belief = np.array([0, 1, 0]), np.full((3, 2), 0.5)
    with pytest.raises(DataError, match="2 rows of features for 3"):
        WrongLabelPosterior().fit(Evidence(belief, np.ones((2, 4))), labels)
    with pytest.raises(DataError, match="never recorded"):
        WrongLabelPosterior().fit(np.array([[0.5, 0.5], [np.nan, np.nan], [1, 0]]), labels)
    with pytest.raises(DataError, match="Recorder"):
        WrongLabelPosterior().fit(Evidence(None), labels)
