"""A person's word stands above a model's: in every cure, in trim, correct, verify and improve."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

import gradsift
from gradsift.cleaning.corrected_file import write_corrected
from gradsift.cleaning.cure import Cure, none, soft, weight
from gradsift.cleaning.cures_of import cure_of
from gradsift.cleaning.decision import Decision
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.reviewed import Reviewed
from gradsift.cleaning.trim import kept_after_review
from gradsift.data.records import open_records
from gradsift.errors import SettingError
from tests.support.reviewed import audited, decided

GIVEN = np.array([0, 0, 1, 1, 2, 2])
WORDS = {
    0: ("keep", None), 1: ("relabel", 2), 2: ("drop", None), 3: ("ambiguous", [0.5, 0.5, 0.0]), 4: ("ambiguous", None),
}  # fmt: skip
"""Of position 5 nothing was said."""


def reviewed(words=WORDS, **fields):
    return Reviewed({place: Decision(place, "", "", "ann", *word) for place, word in words.items()}, **fields)


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def test_a_person_alone():
    cure = reviewed().over(none(GIVEN))
    assert (cure.how, cure.kept.tolist(), cure.labels.tolist()) == ("reviewed", [0, 1, 5], [0, 2, 1, 1, 2, 2])
    assert cure.changed.tolist() == [1, 2, 3, 4]
    assert cure.name == "reviewed 66.7 %"


def test_a_person_above_a_drop_and_above_new_labels():
    dropped = Cure("drop", GIVEN, np.array([2, 3, 4]))
    over = reviewed().over(dropped)
    assert (over.kept.tolist(), over.labels.tolist()) == ([0, 1], [0, 2, 1, 1, 2, 2])
    relabelled = Cure("relabel", GIVEN, np.arange(6), labels=np.array([1, 1, 0, 0, 0, 0]))
    over = reviewed().over(relabelled)
    assert (over.kept.tolist(), over.labels.tolist()) == ([0, 1, 5], [0, 2, 1, 1, 2, 0])


def test_a_person_above_soft_targets_and_weights():
    believed = np.full((6, 3), 1 / 3)
    over = reviewed().over(soft(believed, GIVEN))
    assert (over.kept.tolist(), over.labels) == ([0, 1, 3, 4, 5], None)
    expected = [[1, 0, 0], [0, 0, 1], [1 / 3] * 3, [0.5, 0.5, 0], [1 / 3] * 3, [1 / 3] * 3]
    np.testing.assert_allclose(over.targets, expected, rtol=1e-6)
    over = reviewed().over(weight(np.full(6, 0.75), GIVEN))
    assert (over.kept.tolist(), over.labels.tolist()) == ([0, 1, 3, 4, 5], [0, 2, 1, 1, 2, 2])
    np.testing.assert_allclose(over.weights, [1, 1, 0.25, 0.5, 0.25, 0.25], rtol=1e-6)


def test_where_nothing_was_decided_the_cure_is_the_same_one():
    cure = Cure("drop", GIVEN, np.array([2, 3, 4]))
    assert reviewed({}).over(cure) is cure


def test_labels_that_are_no_classes_go_where_they_are_wrong():
    words = {0: ("keep", None), 1: ("relabel", [0, 2])}
    cure = reviewed(words, of_classes=False).over(Cure("drop", np.zeros(3, dtype=np.int64), np.array([1, 2])))
    assert (cure.kept.tolist(), cure.labels) == ([0, 2], None)


def test_a_class_that_people_have_dropped_whole_is_told_of(caplog):
    cure = reviewed({4: ("drop", None), 5: ("drop", None)}).over(none(GIVEN))
    assert cure.kept.tolist() == [0, 1, 2, 3]
    assert "no sample of the classes 2 is left" in caplog.text


def test_trim_and_correct_do_what_people_said(run):
    audit, data, true = audited(run)
    flagged = audit.flagged_positions
    kept, dropped, mended = (int(flagged[place]) for place in (0, 1, 2))
    quiet = int(audit.kept[0])
    with Decisions.open(run) as decisions:
        decisions.add([decided(audit, kept), decided(audit, dropped, "drop"), decided(audit, quiet, "drop")])
        decisions.add(
            [decided(audit, mended, "relabel", int(true[mended])), decided(audit, int(audit.kept[1]), "skip")]
        )
    expected = sorted({*audit.kept.tolist(), kept} - {quiet})
    X, y = audit.trim(data)
    np.testing.assert_array_equal(X, data[0][expected])
    np.testing.assert_array_equal(y, data[1][expected])
    X, y = gradsift.correct(audit, data, "drop")
    with_mended = sorted({*expected, mended})
    new = data[1].copy()
    new[mended] = true[mended]
    np.testing.assert_array_equal(y, new[with_mended])
    X, y = gradsift.correct(audit, data, "reviewed")
    only = np.setdiff1d(np.arange(len(audit)), [dropped, quiet])
    np.testing.assert_array_equal(X, data[0][only])
    np.testing.assert_array_equal(y, new[only])
    _, Y = gradsift.correct(audit, data, "soft")
    assert Y.shape == (len(audit) - 2, 3)
    assert Y[np.searchsorted(only, mended)].tolist() == np.eye(3)[true[mended]].tolist()
    assert gradsift.correct(audit, data, "none")[1].tolist() == data[1].tolist()
    again = gradsift.Audit.open(run, data)  # another process
    np.testing.assert_array_equal(gradsift.correct(again, data, "reviewed")[1], new[only])


def test_auto_leaves_a_person_the_last_word_even_where_no_cure_helps(run):
    audit, data, _ = audited(run, size=30, flipped=0)
    with Decisions.open(run) as decisions:
        decisions.add([decided(audit, 4, "relabel", 2), decided(audit, 5, "drop")])
    _, y = gradsift.correct(audit, data)
    assert len(y) == 29
    assert y[4] == 2


def test_a_cure_by_people_needs_people(run):
    audit, data, _ = audited(run)
    with pytest.raises(SettingError, match="nobody has decided about these samples: gradsift review"):
        gradsift.correct(audit, data, "reviewed")
    with Decisions.open(run) as decisions:
        decisions.add([decided(audit, 4, "skip")])
    with pytest.raises(SettingError, match="nobody has decided"):
        cure_of(audit, "reviewed")


def test_a_decision_about_a_sample_that_is_another_one_now_is_listed_and_not_applied(run, caplog):
    audit, data, _ = audited(run)
    samples = audit.samples_of(data)
    with Decisions.open(run) as decisions:
        decisions.add([decided(audit, 3, "drop"), Decision(4, "4", "data:" + "0" * 32, "ann", "drop")])
        decisions.add([Decision(6, "6", "table:" + "0" * 32, "ann", "drop")])
    found = Reviewed.of(audit, samples)
    assert (list(found.decisions), [one.position for one in found.unmatched]) == ([3], [4, 6])
    assert "2 decisions are about samples that are no longer what they were" in caplog.text
    assert 3 not in kept_after_review(audit, samples)
    assert 4 in kept_after_review(audit, samples)
    assert list(Reviewed.of(audit).decisions) == [3, 4]  # without the data set a hash of it is believed


def test_decisions_without_a_data_set_fit_by_id_and_label(run):
    audit, data, _ = audited(run, data=False)
    with Decisions.open(run) as decisions:
        decisions.add([decided(audit, 3, "drop")])
    assert list(Reviewed.of(audit, audit.samples_of(data)).decisions) == [3]


def train(dataset, *, seed):
    return LogisticRegression(random_state=seed).fit(*dataset)


def test_verify_has_an_arm_reviewed_with_a_random_drop_of_its_size(run):
    audit, data, true = audited(run, size=90)
    wrong = np.flatnonzero(data[1] != true)
    with Decisions.open(run) as decisions:
        decisions.add([decided(audit, int(place), "drop") for place in wrong[:3]])
        decisions.add([decided(audit, int(place), "relabel", int(true[place])) for place in wrong[3:]])
    result = gradsift.verify(
        train, data, audit, (data[0], true), gradsift.accuracy, arms=["reviewed"], seeds=2, show_progress=False
    )
    assert [(one.arm, one.how, one.controls) for one in result.judged] == [("reviewed", "reviewed", ("random drop",))]
    sizes = {(trial.arm, trial.removed, trial.changed) for trial in result.trials}
    assert sizes == {("no change", 0, 0), ("random drop", 3, 0), ("reviewed", 3, len(wrong) - 3)}
    assert f"removing 3 and relabelling {len(wrong) - 3} samples as people decided" in result.sentence("reviewed")


def test_improve_takes_what_people_said_about_its_audit(tmp_path):
    _, data, _ = audited(tmp_path / "unused", size=120)
    folder = tmp_path / "better"
    first = gradsift.improve(train, data, output=folder, trainings=8, folds=2, show_progress=False)
    kept = first.audit.flagged_positions[:2].tolist()
    with Decisions.open(folder / "audit") as decisions:
        decisions.add([decided(first.audit, place, "drop") for place in kept])
        decisions.add([decided(first.audit, int(first.audit.kept[0]), "relabel", 1)])
    second = gradsift.improve(train, data, output=folder, trainings=8, folds=2, show_progress=False)
    cure = second.choice.cure
    assert not set(kept) & set(cure.kept.tolist())
    assert "3 samples are as people decided" in " ".join(second.notices)
    assert second.to_dict()["cure_digest"] != first.to_dict()["cure_digest"]
    assert len(second.train_set[1]) == len(cure.kept)


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_file_takes_dropped_samples_and_other_labels_at_once(tmp_path, ending):
    table = pa.table({"text": [f"text {place}" for place in range(6)], "label": GIVEN})
    source = tmp_path / f"data.{ending}"
    if ending == "parquet":
        pq.write_table(table, source)
    elif ending == "csv":
        source.write_text("text,label\n" + "".join(f"text {k},{y}\n" for k, y in enumerate(GIVEN)))
    else:
        source.write_text("".join(f'{{"text": "text {k}", "label": {y}}}\n' for k, y in enumerate(GIVEN)))
    before = source.read_bytes()
    write_corrected(source, reviewed().over(none(GIVEN)), tmp_path / f"new.{ending}")
    rows = open_records(tmp_path / f"new.{ending}").read(["text", "label", "gradsift_given_label"])
    assert [list(row.values()) for row in rows.to_pylist()] == [["text 0", 0, 0], ["text 1", 2, 0], ["text 5", 2, 2]]
    assert source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"data.{ending}", f"new.{ending}"]
