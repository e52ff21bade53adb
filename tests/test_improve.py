import json
import logging
import os
import signal
import sys
import weakref

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

import gradsift
from gradsift.cleaning.decisions import Decisions
from gradsift.data import Samples
from gradsift.errors import DataError, OutputError, SettingError
from gradsift.evidence.cross_fit import cross_fit_trainings
from gradsift.review.exchange import import_decisions
from tests.support.clouds import blobs
from tests.support.killed import ends_as
from tests.support.reviewed import decided

TRAIN, TEST = blobs(400, seed=0), blobs(300, rate=0, seed=1)
DATA, CLEAN_TEST = (TRAIN[0], TRAIN[2]), (TEST[0], TEST[1])


def memorising(dataset, *, seed):
    """The nearest neighbour of a part of the data that the seed draws: it memorises every label."""
    inputs, labels = dataset
    kept = np.random.default_rng(seed).permutation(len(labels))[: max(1, int(0.9 * len(labels)))]
    return KNeighborsClassifier(1).fit(np.asarray(inputs)[kept], np.asarray(labels)[kept])


def improved(train=memorising, data=DATA, **options):
    return gradsift.improve(train, data, **{"folds": 2, "trainings": 8, "show_progress": False} | options)


def test_wrong_labels_that_are_memorised_are_cured_and_the_gain_is_proven(tmp_path):
    told = []
    result = improved(test_set=CLEAN_TEST, seeds=3, output=tmp_path / "better", tell=told.append)
    assert result.choice.verdict == "helps"
    assert result.choice.cure.how in ("drop", "relabel")
    proof = result.proof.difference(result.choice.cure.name, "no change")
    assert proof.sign > 0
    assert proof.mean > 5
    assert gradsift.accuracy(result.model, CLEAN_TEST) > gradsift.accuracy(memorising(DATA, seed=0), CLEAN_TEST) + 5
    assert len(result.train_set[1]) == len(result.choice.cure.kept)
    assert result.trainings["cross-fit"] + result.trainings["choice"] <= 8
    assert "train_fn does not take after_epoch" in result.notices[0]
    assert told[0].startswith(
        "At most 8 trainings for evidence (2 folds) and choice; 1 for the final model; the proof, 3"
    )
    assert "The first training took" in told[1]
    assert result.sentence().startswith("Held-out samples say that this helps: ")
    assert "On the test set: " in result.sentence()
    stored = json.loads((tmp_path / "better" / "result.json").read_text())
    assert stored["choice"]["verdict"] == "helps"
    page = (tmp_path / "better" / "report.html").read_text()
    assert "What was changed, class by class" in page
    assert page.count('<article class="card">') == 40
    assert "Before and after, on the test set" in page


def test_with_four_folds_cures_are_compared_on_labels_that_they_have_not_seen():
    sizes, told = [], []

    def train(dataset, *, seed):
        sizes.append(len(dataset[1]))
        return memorising(dataset, seed=seed)

    result = improved(train, folds=4, trainings=12, tell=told.append)
    assert result.choice.corrected
    assert result.choice.verdict == "helps"
    assert result.trainings["cross-fit"] == 6
    assert sizes[:6] == [200] * 6
    assert result.trainings["choice"] <= 12
    assert max(sizes[6:-1]) == 300
    assert told[0].startswith(
        "6 trainings on 50% of the samples for evidence and at most 12 on 75% for the choice, which cost as much as 12 on"
    )
    true_gain = gradsift.accuracy(result.model, CLEAN_TEST) - gradsift.accuracy(memorising(DATA, seed=0), CLEAN_TEST)
    expected = result.choice.expected_gain
    assert abs(expected.mean - true_gain) < expected.half_width


def test_clean_data_are_left_alone_and_it_is_said_why(tmp_path):
    result = improved(data=(TRAIN[0], TRAIN[1]), test_set=CLEAN_TEST, output=tmp_path)
    assert result.choice.cure.how == "none"
    assert result.proof is None
    assert result.train_set[1] is TRAIN[1]
    assert "The data stay as they are" in result.sentence()
    assert "<h1>No change</h1>" in (tmp_path / "report.html").read_text()


def test_features_alone_are_enough():
    features, true, given = blobs(2400, rate=0.4, seed=3)
    noise = np.random.default_rng(0).standard_normal((2400, 100)).astype(np.float32)
    wide = np.concatenate([features + 2 * np.eye(3, 6, dtype=np.float32)[true], noise], axis=1)
    result = gradsift.improve(None, {"x": features, "y": given}, features=wide, folds=2, show_progress=False)
    assert result.model is None
    assert result.proof is None
    assert result.trainings == {"cross-fit": 0, "choice": 0, "final": 0, "proof": 0}
    assert result.choice.verdict == "helps"
    assert (given != true)[result.choice.cure.changed].mean() > 0.5  # of all labels 40 % are wrong


@pytest.mark.usefixtures("few_rounds")
def test_features_give_the_evidence_and_the_training_the_choice():
    calls = []

    def train(dataset, *, seed):
        calls.append(seed)
        return memorising(dataset, seed=seed)

    told = []
    result = gradsift.improve(
        train, DATA, features=DATA[0], folds=2, trainings=6, tell=told.append, show_progress=False
    )
    assert "Heads on the features give the evidence, at most 6 trainings the choice" in told[0]
    assert result.trainings["cross-fit"] == 0
    assert result.trainings["choice"] == len(calls) - 1 <= 6
    assert result.choice.comparisons
    calls.clear()
    by_heads = gradsift.improve(train, DATA, features=DATA[0], folds=2, trainings=0, show_progress=False)
    assert by_heads.trainings["choice"] == 0
    assert len(calls) == 1  # the final model


def test_inputs_that_look_like_features_are_taken_unless_the_user_says_no():
    features, _, given = blobs(200, rate=0.2, seed=3)
    wide = np.concatenate([features, np.random.default_rng(0).standard_normal((200, 58), dtype=np.float32)], axis=1)
    for inputs, options, folds in ((wide, {}, 0), (wide, {"features": False}, 2), (features, {}, 2)):
        told = []
        result = gradsift.improve(
            memorising, (inputs, given), folds=2, trainings=4, tell=told.append, show_progress=False, **options
        )
        assert result.trainings["cross-fit"] == folds
        assert any("Inputs look like features of a frozen model" in line for line in told) == (folds == 0)


@pytest.mark.usefixtures("few_rounds")
def test_other_features_in_the_same_folder_are_audited_anew(tmp_path):
    features, _, given = blobs(300, rate=0.2, seed=3)
    data = (features, given)
    first = gradsift.improve(None, data, features=features, folds=2, output=tmp_path, show_progress=False)
    again = gradsift.improve(None, data, features=features, folds=2, output=tmp_path, show_progress=False)
    assert again.audit.table.equals(first.audit.table)
    other = gradsift.improve(None, data, features=-features[:, :2], folds=2, output=tmp_path, show_progress=False)
    assert not other.audit.table["score"].equals(first.audit.table["score"])


def test_a_killed_run_goes_on(tmp_path):
    calls = tmp_path / "calls"

    def run(last):
        def train(dataset, *, seed):
            done = len(calls.read_text()) if calls.exists() else 0
            if done == last:
                os.kill(os.getpid(), signal.SIGKILL)
            calls.write_text("x" * (done + 1))
            return memorising(dataset, seed=seed)

        code = ends_as(lambda: improved(train, test_set=CLEAN_TEST, seeds=2, output=tmp_path / "out"))
        return code, len(calls.read_text())

    for last in (4, 11):  # in the choice, in the proof
        assert run(last) == (-signal.SIGKILL, last)
    code, count = run(100)
    assert code == 0
    stored = json.loads((tmp_path / "out" / "result.json").read_text())
    repeated = 1  # the final model, which nothing keeps: finished before the second kill
    assert count == sum(stored["trainings"].values()) + repeated
    whole = improved(test_set=CLEAN_TEST, seeds=2)
    assert stored["choice"] == json.loads(json.dumps(whole.to_dict()["choice"]))


def test_bad_input_is_refused_before_anything_is_trained(tmp_path):
    calls = []

    def never(dataset, *, seed):
        calls.append(seed)

    with pytest.raises(SettingError, match=r"needs a training function \(--train\), or features"):
        gradsift.improve(None, DATA)
    with pytest.raises(SettingError, match="8 trainings are too few for 4 folds and the choice: give at least 9"):
        gradsift.improve(never, DATA, trainings=8)
    with pytest.raises(DataError, match="all 100 samples of the test set also stand in the training set"):
        gradsift.improve(never, DATA, (DATA[0][:100], DATA[1][:100]))
    rare = DATA[1].copy()
    rare[0] = 3
    with pytest.raises(DataError, match="fewer samples than there are folds"):
        gradsift.improve(never, (DATA[0], rare))
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(OutputError, match="run directory of an audit"):
        gradsift.improve(never, DATA, output=tmp_path)
    assert not calls


def test_a_training_that_ignores_its_data_is_refused():
    fixed = memorising(DATA, seed=0)
    with pytest.raises(SettingError, match="must train on the data set that it is called with"):
        improved(lambda dataset, *, seed: fixed)


def test_a_training_that_ignores_its_seed_is_told(caplog):
    def train(dataset, *, seed):
        return memorising(dataset, seed=0)

    with caplog.at_level(logging.WARNING):
        result = improved(train, test_set=CLEAN_TEST, seeds=2)
    assert "ignores its seed" in result.notices[-1]
    assert "ignores its seed" in caplog.text


def test_test_samples_that_leaked_into_the_training_set_are_told():
    mixed = np.concatenate([CLEAN_TEST[0], DATA[0][:5]]), np.concatenate([CLEAN_TEST[1], DATA[1][:5]])
    result = improved(test_set=mixed, seeds=2)
    assert any("5 of 305 samples of the test set also stand in the training set" in notice for notice in result.notices)


def test_groups_are_not_split_over_folds():
    groups = np.arange(400) // 4
    result = improved(groups=groups)
    folds = gradsift.cross_fit(memorising, DATA, folds=2, groups=groups, show_progress=False).folds
    assert all(len(set(folds[groups == group])) == 1 for group in np.unique(groups))
    assert result.choice.comparisons
    of_features = gradsift.improve(None, DATA, features=DATA[0], groups=groups, folds=2, show_progress=False)
    assert of_features.audit.table.num_rows == 400


def test_every_epoch_is_read_where_the_training_gives_it():
    def train(dataset, *, seed, after_epoch=None):
        model = memorising(dataset, seed=seed)
        for _ in range(2):
            if after_epoch is not None:
                after_epoch(model)
        return model

    assert improved(train).notices == []


def test_decisions_about_an_audit_of_other_predictions_are_not_lost(tmp_path):
    improved(output=tmp_path / "better", folds=2)
    place, moved = tmp_path / "better" / "audit", tmp_path / "moved"
    wrong = int(np.flatnonzero(TRAIN[1] != TRAIN[2])[0])
    with Decisions.open(place) as decisions:
        decisions.add([decided(gradsift.Audit.open(place, DATA), wrong, "relabel", int(TRAIN[1][wrong]))])
    with pytest.raises(OutputError, match="import-decisions"):
        improved(output=tmp_path / "better", folds=4, trainings=9)
    place.rename(moved)
    improved(output=tmp_path / "better", folds=4, trainings=9)
    import_decisions(gradsift.Audit.open(place, DATA), moved, samples=Samples(DATA))
    result = improved(output=tmp_path / "better", folds=4, trainings=9)
    assert "1 samples are as people decided" in result.notices[-1]
    assert wrong in result.choice.cure.kept


def test_what_each_training_has_predicted_is_let_go_before_cures_are_compared(monkeypatch):
    kept, left = [], []

    def fitted(*arguments, **options):
        made = cross_fit_trainings(*arguments, **options)
        kept.append(weakref.ref(made))
        return made

    def train(dataset, *, seed):
        if kept:
            left.append(kept[0]())
        return memorising(dataset, seed=seed)

    monkeypatch.setattr(sys.modules[gradsift.improve.__module__], "cross_fit_trainings", fitted)
    improved(train, folds=4, trainings=9)
    assert left
    assert not any(left)
