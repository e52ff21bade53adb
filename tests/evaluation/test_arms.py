"""Retraining after any cure: which arms are trained on what, who judges them, and what is said of them."""

import hashlib
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

import gradsift
from gradsift.cleaning import cure as cures
from gradsift.errors import DataError, SettingError
from gradsift.evaluation import Judged, Trial, Verification, accuracy, flip_labels, verify
from gradsift.evaluation.arms import plan_arms, smoothed

SIZE = 300


@pytest.fixture(scope="module")
def digits():
    images, true = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    given = flip_labels(true[:SIZE], 0.3, seed=1)
    return (images[:SIZE], given), (images[600:1000], true[600:1000]), true[:SIZE]


@pytest.fixture(scope="module")
def audit(digits, tmp_path_factory):
    evidence = gradsift.cross_fit(Train(), digits[0], show_progress=False)
    return gradsift.audit(
        evidence=evidence, data=digits[0], output=tmp_path_factory.mktemp("arms") / "run", show_progress=False
    )


class Train:
    """A network that memorises three hundred digits; it takes soft targets and weights, and remembers what it was given."""

    accepts = frozenset({"soft", "weight"})

    def __init__(self):
        self.calls = []

    def __call__(self, dataset, *, seed):
        self.calls.append((seed, dataset))
        torch.manual_seed(seed)
        inputs, labels, *weights = (torch.as_tensor(part) for part in dataset)
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(25):
            for rows in torch.randperm(len(labels)).split(64):
                losses = nn.functional.cross_entropy(model(inputs[rows]), labels[rows], reduction="none")
                optimizer.zero_grad()
                (losses if not weights else losses * weights[0][rows]).mean().backward()
                optimizer.step()
        return model.eval()


class OnlyLabels(Train):
    """A training that takes class numbers alone."""

    accepts = frozenset()


def run(digits, audit, train_fn=None, **more):
    train_fn = train_fn or Train()
    more = {"metric": accuracy, "seeds": 3, "show_progress": False} | more
    return verify(train_fn, digits[0], audit, digits[1], **more), train_fn


def test_every_arm_is_trained_on_its_cure_beside_its_controls(digits, audit):
    found, train = run(digits, audit, arms=["drop", "relabel", "soft", "weight"], seeds=[4], true_labels=digits[2])
    (inputs, given), _, true = digits
    assert found.arms == [
        "no change", "random drop", "smoothing 0.3", "smoothing 0.1", "self-distillation",
        "drop", "relabel", "soft", "weight", "oracle drop", "oracle relabel",
    ]  # fmt: skip
    by_arm = dict(zip(found.arms, (dataset for _, dataset in train.calls), strict=True))
    assert by_arm["no change"] is digits[0]
    np.testing.assert_array_equal(by_arm["drop"][0], inputs[audit.kept])
    assert len(by_arm["random drop"][1]) == len(audit.kept)
    suggested = audit.table["suggested_label"].to_pylist()
    expected = [
        suggested[i] if i in audit.flagged_positions and suggested[i] is not None else given[i] for i in range(SIZE)
    ]
    np.testing.assert_array_equal(by_arm["relabel"][1], expected)
    np.testing.assert_array_equal(by_arm["oracle relabel"][1], true)
    np.testing.assert_array_equal(by_arm["oracle drop"][1], given[given == true])
    np.testing.assert_allclose(by_arm["weight"][2], 1 - audit.table["score_posterior"].to_numpy(), atol=1e-6)
    posterior = by_arm["soft"][1] ** 2  # softened targets are its square roots
    wrong = 1 - (posterior / posterior.sum(axis=1, keepdims=True))[np.arange(SIZE), given]
    np.testing.assert_allclose(wrong, audit.table["score_posterior"].to_numpy(), atol=1e-5)
    for epsilon in (0.3, 0.1):
        targets = by_arm[f"smoothing {epsilon}"][1]
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(targets[np.arange(SIZE), given], 1 - epsilon + epsilon / 10, atol=1e-6)
    torch.manual_seed(4)
    teacher = Train()(digits[0], seed=4)
    with torch.no_grad():
        taught = teacher(torch.from_numpy(inputs)).softmax(dim=1)
    np.testing.assert_allclose(by_arm["self-distillation"][1], taught, atol=1e-6)
    changed = {trial.arm: (trial.removed, trial.changed) for trial in found.trials}
    assert changed["oracle drop"] == (90, 0)
    assert changed["oracle relabel"] == (0, 90)
    assert changed["relabel"][1] == int((np.array(expected) != given).sum()) > 30


def test_curing_labels_that_a_network_has_memorised_gains(digits, audit):
    found, _ = run(digits, audit, arms=["soft"], controls=["smoothing 0.1"], true_labels=digits[2])
    assert found.difference("soft").sign == found.difference("soft", "no change").sign == 1
    assert found.difference("oracle relabel", "no change").sign == 1
    assert found.sentence().startswith("Training on soft targets gains")
    assert "points over label smoothing 0.1 and" in found.sentence()
    assert "with the true labels in their place by" in found.oracle_sentence()


def test_any_cure_is_an_arm_and_drops_of_other_sizes_have_controls_of_their_own(digits, audit):
    scores, given = audit.table["score"].to_numpy(), digits[0][1]
    asked = {"few": cures.drop(scores, given, 10), "many": cures.drop(scores, given, 60), "edited": audit}
    found, train = run(digits, audit, arms=asked, seeds=1)
    sizes = sorted({10, 60, len(audit.flagged_positions)})
    randoms = [f"random drop of {size}" for size in sizes]
    assert found.arms == ["no change", *randoms, "few", "many", "edited"]
    assert found.control_of("few") == "random drop of 10"
    assert [SIZE - len(dataset[1]) for _, dataset in train.calls] == [0, *sizes, 10, 60, len(audit.flagged_positions)]
    assert found.sentence("few").startswith("One seed says nothing: removing 10 samples (few) changed the metric by")
    named = run(digits, audit, OnlyLabels(), arms=[cures.drop(scores, given, 30), ("mine", asked["few"])], seeds=1)[0]
    assert named.arms[-2:] == ["drop 10 %", "mine"]


def test_controls_can_be_left_out(digits, audit):
    found, _ = run(digits, audit, arms=["soft", "drop"], seeds=1, controls=["smoothing 0.1"])
    assert found.arms == ["no change", "smoothing 0.1", "soft", "drop"]
    assert found.control_of("soft") == "smoothing 0.1"
    assert found.control_of("drop") == "no change"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.floats(0, 1))
def test_smoothed_labels_are_distributions_whose_likeliest_class_is_the_given_one(labels, epsilon):
    cure = smoothed(np.array(labels), 5, epsilon)
    np.testing.assert_allclose(cure.targets.sum(axis=1), 1, atol=1e-5)
    assert cure.targets.min() >= 0
    assert len(cure.changed) == 0 or epsilon > 0.999


def trials(values):
    return [Trial(arm, seed, value, 1.0, 0) for arm, row in values.items() for seed, value in enumerate(row)]


SOFT = Judged("soft", "soft", ("smoothing 0.3", "smoothing 0.1", "self-distillation"))
VALUES = {
    "no change": [80.0, 81, 80],
    "smoothing 0.3": [84.0, 85.1, 84],
    "smoothing 0.1": [83.0, 83, 84],
    "self-distillation": [80.0, 80, 80],
    "soft": [84.1, 85.0, 84.0],
}


def test_a_gain_from_smoothing_alone_is_seen_as_such():
    found = Verification(trials(VALUES), [SOFT])
    assert found.control_of("soft") == "smoothing 0.3"
    assert found.sentence() == (
        "No evidence that it helps: training on soft targets changes the metric by +0.00 ± 0.25 over label smoothing 0.3, "
        "the best of its controls (3 seeds, 95 % interval)."
    )
    better = Verification(trials(VALUES | {"soft": [88.0, 89.0, 88.1]}), [SOFT]).sentence()
    assert better.startswith(
        "Training on soft targets gains 4.00 ± 0.25 points over label smoothing 0.3, the best of its"
    )
    assert better.endswith("and 8.03 ± 0.14 points over no change (3 seeds, 95 % interval).")
    lower = Verification(trials({arm: [-value for value in row] for arm, row in VALUES.items()}), [SOFT], False)
    assert lower.control_of("soft") == "smoothing 0.3"


@pytest.mark.parametrize(
    ("how", "words"),
    [("relabel", "Relabelling 7 samples gains 4.33 ± 0.72 points over no change (3 seeds"),
     ("weight", "Weighting the samples gains 4.33 ± 0.72 points over no change (3 seeds")],
)  # fmt: skip
def test_other_cures_are_judged_by_no_change(how, words):
    found = [Trial(how, seed, value, 1.0, 0, 7) for seed, value in enumerate([84.5, 85.0, 84.5])]
    assert (
        Verification(trials({"no change": VALUES["no change"]}) + found, [Judged(how, how)])
        .sentence()
        .startswith(words)
    )


def test_a_gain_over_a_bad_control_that_is_none_over_no_change_says_so():
    values = {"no change": [90.0, 90.1, 90.2], "random drop": [85.0, 85.1, 85.2], "drop": [90.1, 90.0, 90.2]}
    found = Verification(trials(values), [Judged("drop", "drop", ("random drop",))])
    assert "but shows no gain over no change: +0.00 ± 0.25" in found.sentence()


@pytest.mark.parametrize("arm", ["no change", "smoothing 0.3", "smoothing 0.1", "soft"])
def test_a_metric_that_is_no_number_is_never_passed_over(arm):
    found = Verification(trials(VALUES | {arm: [80.0, math.nan, 80.0]}), [SOFT])
    if arm == "no change":  # the control that judges is a number
        assert found.sentence().startswith("No evidence")
    else:
        assert found.sentence().startswith("The metric is no number for some trainings")
    json.dumps(found.to_dict())


def test_two_seeds_cannot_decide():
    two = {arm: row[:2] for arm, row in VALUES.items()}
    assert Verification(trials(two), [SOFT]).sentence().startswith("Two seeds cannot decide: training on soft targets")


def test_results_of_the_first_version_are_read():
    names = {"no trim": 0, "random trim": 12, "this trim": 12, "oracle trim": 9}
    old = {
        "removed": 12, "higher_is_better": True,
        "trials": [
            {"arm": arm, "seed": seed, "value": 80 + place + seed / 10, "seconds": 1.0, "removed": removed}
            for seed in range(3) for place, (arm, removed) in enumerate(names.items())
        ],
    }  # fmt: skip
    found = Verification.from_dict(old)
    assert found.arms == ["no change", "random drop", "drop", "oracle drop"]
    assert found.removed == 12
    told = "Removing 12 samples gains 1.00 ± 0.00 points over removing as many at random and 2.00"
    assert found.sentence().startswith(told)
    assert found.oracle_sentence().startswith("The oracle, which removes all 9 wrong labels, changes it by 3.00")
    with pytest.warns(DeprecationWarning, match="'this trim' is called 'drop' now"):
        assert found.values("this trim") == found.values("drop")


def test_finished_trials_of_the_first_version_are_not_repeated(digits, audit, tmp_path):
    test_set = gradsift.data.fingerprint_samples(gradsift.data.Samples(digits[1]))[0]
    recipe = f"{Train.__module__}:Train gradsift.evaluation.metrics:accuracy {test_set}"
    about = audit.flagged_positions.tobytes() + str(audit.details["data_fingerprint"]).encode() + recipe.encode()
    key = hashlib.sha256(about).hexdigest()[:16]
    oracle = hashlib.sha256(digits[2].tobytes()).hexdigest()[:16]
    flagged = len(audit.flagged_positions)
    rows = [("no trim", "", 0), ("random trim", "", flagged), ("this trim", "", flagged), ("oracle trim", oracle, 90)]
    lines = [
        json.dumps({"key": key + own, "arm": arm, "seed": 0, "value": 50.0 + place, "seconds": 1.0, "removed": removed})
        for place, (arm, own, removed) in enumerate(rows)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n")
    found, train = run(digits, audit, seeds=1, true_labels=digits[2], output=tmp_path / "t.jsonl")
    assert [trial.value for trial in found.trials[:4]] == [50, 51, 52, 53]
    assert len(train.calls) == 1  # the oracle that relabels is new
    given = digits[0][1]
    other = {"drop": cures.drop(audit.table["score"].to_numpy(), given, 5)}
    _, train = run(digits, audit, seeds=1, arms=other, output=tmp_path / "t.jsonl")
    assert len(train.calls) == 2  # another drop, and a random one of its size


def test_an_added_arm_reuses_what_was_trained(digits, audit, tmp_path):
    arguments = {"seeds": 1, "output": tmp_path / "t.jsonl"}
    first, _ = run(digits, audit, arms=["drop"], **arguments)
    more, train = run(digits, audit, arms={"mine": audit, "soft": plan_cure(audit, "soft")}, **arguments)
    assert len(train.calls) == 5  # two smoothings, the teacher once more and its pupil, soft
    assert more.values("mine") == first.values("drop")
    again, train = run(digits, audit, arms=["drop", "soft"], **arguments)
    assert train.calls == []
    assert again.values("self-distillation") == more.values("self-distillation")


def plan_cure(audit, how):
    return next(arm for arm in plan_arms(audit, [how], [0]) if arm.name == how).cures[0]


def test_a_cure_that_the_training_does_not_take_is_refused_before_any_training(digits, audit):
    for how, words in (("soft", "soft targets"), ("weight", "weights")):
        train = OnlyLabels()
        with pytest.raises(SettingError, match=rf"'{how}' trains with {words}.*accepts = {{'{how}'}}"):
            run(digits, audit, train, arms=["drop", how])
        assert train.calls == []
    assert run(digits, audit, OnlyLabels(), arms=["drop", "relabel"], seeds=1)[1].calls


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (["dorp"], "unknown cure 'dorp'"),
        ("drop", r"arms is a str, give a list"),
        ([], "at least one arm"),
        (["drop", "drop"], "'drop' of an arm is taken"),
        ({"no change": None}, "an arm is a kind of cure"),
        ([("no change", "drop")], "'no change' of an arm is taken"),
        ([3], "an arm is a kind of cure"),
        ({"mine": cures.drop(np.arange(9.0), np.zeros(9, dtype=int), 2)}, "of 9 samples, the audit of 300"),
        ({"mine": cures.none(np.zeros(SIZE, dtype=int))}, "'mine' changes no sample"),
    ],
)
def test_arms_that_make_no_sense_are_refused(digits, audit, arms, message):
    with pytest.raises((SettingError, DataError), match=message):
        run(digits, audit, arms=arms)


def test_unknown_controls_are_refused(digits, audit):
    with pytest.raises(
        SettingError, match=r"unknown controls 'random': the known ones are random drop, smoothing 0\.3"
    ):
        run(digits, audit, controls=["random"])


@pytest.mark.parametrize("how", ["soft", "weight"])
def test_an_audit_without_classes_has_no_soft_targets_and_no_weights(how):
    torch.manual_seed(0)
    inputs = torch.randn(40, 3)
    audit = gradsift.audit(
        nn.Linear(3, 1).eval(), (inputs, inputs.sum(1, keepdim=True)), task="regression", contamination=0.1
    )
    with pytest.raises(SettingError, match="class"):
        verify(Train(), audit.train_set, audit, None, lambda model, test: 0.0, arms=[how], show_progress=False)


def test_an_audit_without_a_posterior_gives_no_weights():
    torch.manual_seed(0)
    inputs, labels = torch.randn(60, 3), torch.arange(60) % 3
    audit = gradsift.audit(nn.Linear(3, 3).eval(), (inputs, labels), detectors="l2", contamination=0.1)
    with pytest.raises(SettingError, match="posterior"):
        verify(Train(), audit.train_set, audit, None, lambda model, test: 0.0, arms=["weight"], show_progress=False)


def test_true_labels_that_mark_what_is_not_known_give_no_oracle_that_relabels(digits, audit):
    true = np.where(np.arange(SIZE) < 5, -1, digits[2])
    assert [arm.name for arm in plan_arms(audit, ["drop"], [0], true)][-1] == "oracle drop"
