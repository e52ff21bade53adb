import numpy as np

from gradsift.detectors import FlipPattern, WrongLabelPosterior
from gradsift.evidence import Evidence
from gradsift.store import ArrayMatrix
from gradsift.table import build_table
from gradsift.table.kinds import Beliefs

BELIEF = np.array(
    [
        [0.90, 0.04, 0.03, 0.03],
        [0.50, 0.42, 0.04, 0.04],
        [0.40, 0.10, 0.30, 0.20],
        [0.27, 0.23, 0.23, 0.27],
        [0.20, 0.60, 0.10, 0.10],
        [0.02, 0.02, 0.02, 0.94],
    ]
)
GIVEN = np.array([1, 1, 1, 1, 1, 3])
EVEN = (1 - np.eye(4)) / 3
ALL = np.ones(6, dtype=bool)
TEXTS = ["ant", "bee", "cat", "dog"]


def table(belief=BELIEF, labels=GIVEN, pattern=EVEN, rate=0.0, flagged=ALL, predictions=None, **more):
    size = len(labels)
    return build_table(
        losses=np.zeros(size), scores={"posterior": np.arange(size, 0.0, -1)}, detector="posterior", flagged=flagged,
        kind="class", labels=labels, predictions=np.full(belief.shape, 0.25) if predictions is None else predictions,
        class_names=TEXTS, beliefs=Beliefs(ArrayMatrix(belief), FlipPattern(pattern, prior=0.0), rate), **more,
    )  # fmt: skip


def test_kinds_go_by_how_the_belief_is_shared():
    found = table()
    kinds, reasons = found["reason_kind"].to_pylist(), found["reason"].to_pylist()
    assert kinds == ["wrong_label", "ambiguous", "ambiguous", "ambiguous", "atypical", "atypical"]
    assert found["suggested_label"].to_pylist() == [0, 0, 0, 0, None, None]
    assert reasons == [
        "probably 'ant': model 90 %",
        "'ant' or 'bee': model 50 % and 42 %",
        "'ant' or 'cat': model 40 % and 30 %",
        "'ant' or 'dog': model 27 % and 27 %",
        "unusual input: model agrees with 'bee' (60 %), posterior: top 83.3 %",
        "unusual input: model agrees with 'dog' (94 %), posterior: top 100.0 %",
    ]


def test_no_class_is_believed_in_where_the_two_likeliest_hold_less_than_half():
    belief = np.full((6, 9), 0.1)
    belief[:, 0] = 0.2
    found = table(belief, pattern=(1 - np.eye(9)) / 8)
    assert set(found["reason_kind"].to_pylist()[:5]) == {"atypical"}
    assert found["reason"].to_pylist()[0] == "unusual input: no class above 20 %"


def test_predictions_stand_for_beliefs_where_there_are_none():
    believed = table(predictions=BELIEF)
    plain = build_table(
        losses=np.zeros(6), scores={"posterior": np.arange(6, 0.0, -1)}, detector="posterior", flagged=ALL,
        kind="class", labels=GIVEN, predictions=BELIEF, class_names=TEXTS,
    )  # fmt: skip
    assert plain.equals(believed)


def test_flips_that_go_to_one_class_tell_which_label_is_meant():
    pattern = EVEN.copy()
    pattern[2] = [0, 1, 0, 0]  # cats are called bees
    pattern[0] = [0, 0, 1, 0]  # ants are not
    found = table(pattern=pattern, rate=0.2)
    assert found["suggested_label"].to_pylist()[1:3] == [2, 2]
    assert found["reason"].to_pylist()[2] == "probably 'cat': model 30 %, often labelled 'bee'"


def test_what_flips_leave_to_a_label_does_not_speak_for_it():
    belief = np.array([[0.6, 0.1, 0.15, 0.15]])  # of 40 % flips, 0.12 stand behind each label
    one = {"belief": belief, "labels": GIVEN[:1], "flagged": ALL[:1]}
    assert table(**one)["reason_kind"].to_pylist() == ["ambiguous"]
    assert table(**one, rate=0.4)["reason_kind"].to_pylist() == ["wrong_label"]


def test_a_flip_that_merely_explains_a_label_better_is_suggested_where_it_is_flagged():
    belief = np.tile([[0.45, 0.55, 0.0, 0.0]], (2, 1))
    pattern = EVEN.copy()
    pattern[0] = [0, 1, 0, 0]
    flagged = np.array([True, False])
    found = table(belief, labels=GIVEN[:2], pattern=pattern, rate=0.2, flagged=flagged)
    assert found["suggested_label"].to_pylist() == [0, None]  # a flip explains it better, but only the first is flagged
    assert found["reason_kind"].to_pylist() == ["ambiguous", ""]


def test_duplicates_come_first_and_lend_their_labels():
    duplicates = {0: np.array([3]), 2: np.array([1, 4, 5, 3, 0])}
    labels = np.array([1, 2, 1, 2, 3, 3])
    found = table(labels=labels, duplicates=duplicates)
    reasons = found["reason"].to_pylist()
    assert found["reason_kind"].to_pylist()[0] == found["reason_kind"].to_pylist()[2] == "duplicate"
    assert reasons[0] == "same input, other label: position 3 'cat'"
    assert reasons[2] == "same input, other label: position 1 'cat', 4 'dog', 5 'dog' and 2 more"
    assert found["suggested_label"].to_pylist()[0] is None  # the other label is less likely still
    assert found["suggested_label"].to_pylist()[2] == 2  # rather than 0, which no duplicate has


def test_far_inputs_are_atypical():
    generator, positions = np.random.default_rng(0), np.arange(400)
    features = generator.standard_normal((400, 6)) * 0.1 + np.eye(6)[positions % 3]
    features[7] = [0, 0, 0, 0, 0, 5]
    belief = np.tile(BELIEF[:1], (400, 1))
    found = table(belief, labels=np.ones(400, int), flagged=positions < 20, features=ArrayMatrix(features))
    assert found["reason_kind"].to_pylist()[7] == "atypical"
    assert found["reason_kind"].to_pylist()[:20].count("wrong_label") >= 18
    assert found["reason"].to_pylist()[7] == "unusual input: farther from its neighbours than 99.8 % of the samples"


def test_a_wrong_label_is_told_with_the_models_word_and_its_neighbours():
    """Of 1,000 samples 20 neighbours count, one in 50; two of them are predicted otherwise."""
    generator, true = np.random.default_rng(0), np.arange(1000) % 4
    features = np.eye(4)[true] + 0.01 * generator.standard_normal((1000, 4))
    predictions = np.full((1000, 4), 0.02) + 0.92 * np.eye(4)[true]
    given = true.copy()
    given[5] = 0
    nearest = (features[5] @ features.T) / np.linalg.norm(features, axis=1)
    nearest[5] = -np.inf
    neighbours = np.argsort(-nearest)[:20]
    predictions[neighbours[:2]] = np.eye(4)[0] * 0.92 + 0.02
    evidence = Evidence(predictions, labels=given, features=features)
    detector = WrongLabelPosterior(weight=0.5).fit(evidence, given)
    found = build_table(
        losses=np.zeros(1000), scores={"posterior": -detector.score_samples(evidence, given)}, detector="posterior",
        flagged=np.arange(1000) == 5, kind="class", labels=given, predictions=predictions, class_names=TEXTS,
        beliefs=Beliefs.of(detector), wrong_probability=np.linspace(0, 1, 1000),
    )  # fmt: skip
    assert found["reason"].to_pylist()[5] == "probably 'bee': model 94 %, neighbours 18 of 20"
    assert detector.belief_.neighbour_classes(np.array([5])).tolist() == [
        predictions[neighbours].argmax(axis=1).tolist()
    ]
    assert found["wrong_probability"].to_pylist() == np.linspace(0, 1, 1000).tolist()


def test_without_weight_of_neighbours_the_model_speaks_alone():
    detector = WrongLabelPosterior(weight=0.0).fit(Evidence(BELIEF, features=np.eye(6)), GIVEN)
    assert detector.belief_.neighbour_classes(np.arange(6)).shape == (6, 0)
    assert (detector.belief_.own(np.arange(6)) == BELIEF).all()
