"""The cures that an audit proposes, and what a person has decided about it."""

import json

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import gradsift
from gradsift.cleaning.cure import softened
from gradsift.cleaning.cures_of import cure_of, target_probabilities
from gradsift.errors import DataError, SettingError

N, K = 60, 3
RNG = np.random.default_rng(0)
TRUE = np.arange(N) % K
GIVEN = TRUE.copy()
GIVEN[::10] = (GIVEN[::10] + 1) % K
PROBABILITIES = 0.95 * np.eye(K)[TRUE] + 0.05 * RNG.dirichlet(np.ones(K), N)
X = RNG.normal(size=(N, 2)).astype(np.float32)
WORDS = np.array(["ant", "bee", "cat"])


def audited(**options):
    options = {"contamination": 0.1, "show_progress": False, "out_of_fold": True, "data": (X, WORDS[GIVEN])} | options
    return gradsift.audit_predictions(WORDS[GIVEN], PROBABILITIES, **options)


@pytest.fixture(scope="module")
def audit():
    return audited()


def test_drop_and_relabel_go_by_what_is_flagged(audit):
    assert sorted(audit.flagged_positions) == list(range(0, N, 10))
    assert cure_of(audit, "drop").kept.tolist() == audit.kept.tolist()
    relabel = cure_of(audit, "relabel")
    assert relabel.labels.tolist() == TRUE.tolist()
    assert relabel.given.tolist() == GIVEN.tolist()
    assert cure_of(audit, "none").kept.tolist() == list(range(N))


def test_a_share_takes_the_most_detrimental(audit):
    dropped = np.setdiff1d(np.arange(N), cure_of(audit, "drop", share=0.05).kept)
    assert set(dropped) == set(audit.flagged_positions[:3])
    assert set(cure_of(audit, "relabel", share=0.05).changed) == set(audit.flagged_positions[:3])
    assert len(cure_of(audit, "drop", share=0.99).kept) == K  # every class keeps a sample
    relabelled = cure_of(audit, "relabel", share=0.5)  # what has no suggestion keeps its label
    assert set(relabelled.changed) == set(audit.flagged_positions)


def test_soft_targets_are_those_that_the_score_is_made_of(audit, caplog):
    posterior = target_probabilities(audit, GIVEN)
    np.testing.assert_allclose(1 - posterior[np.arange(N), GIVEN], audit.table["score_posterior"], atol=1e-6)
    targets = cure_of(audit, "soft").targets
    np.testing.assert_allclose(targets, softened(posterior), atol=1e-6)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
    assert (targets.argmax(axis=1) == TRUE).all()
    np.testing.assert_allclose(
        cure_of(audit, "weight").weights, 1 - audit.table["score_posterior"].to_numpy(), atol=1e-6
    )
    assert not caplog.records


def test_probabilities_of_another_version_are_told(audit, caplog, monkeypatch):
    monkeypatch.setattr("gradsift.cleaning.cures_of.TOLERANCE", -1.0)
    cure_of(audit, "soft")
    assert "audit again to have both from one version" in caplog.text


def test_what_a_person_has_decided_stands_above_the_model(tmp_path):
    audit = audited(output=tmp_path / "run")
    table, names = audit.table, audit.table.column_names
    flagged, suggested = table["flagged"].to_numpy().copy(), table["suggested_label"].to_pylist()
    flagged[0], flagged[1] = False, True  # 0 is right after all, 1 is wrong: it is
    suggested[1] = int((GIVEN[1] + 2) % K)
    flagged[10], suggested[10] = True, int(GIVEN[10] + 1) % K if (GIVEN[10] + 1) % K != TRUE[10] else None
    edited = table.set_column(names.index("flagged"), "flagged", [flagged])
    kind = table.schema.field("suggested_label").type
    edited = edited.set_column(names.index("suggested_label"), "suggested_label", pc.cast(suggested, kind))
    pq.write_table(edited, tmp_path / "edited.parquet")
    person = gradsift.Audit.open(tmp_path / "run", table=tmp_path / "edited.parquet")
    assert 0 in cure_of(person, "drop").kept
    assert 1 not in cure_of(person, "drop").kept
    labels = cure_of(person, "relabel").labels
    assert labels[0] == GIVEN[0]
    assert labels[1] == suggested[1]
    soft, weights = cure_of(person, "soft").targets, cure_of(person, "weight").weights
    assert soft[0].tolist() == np.eye(K)[GIVEN[0]].tolist()
    assert soft[1].tolist() == np.eye(K)[suggested[1]].tolist()
    assert (weights[0], weights[1]) == (1, 0)
    others = np.delete(np.arange(N), [0, 1, 10])
    np.testing.assert_array_equal(soft[others], cure_of(audit, "soft").targets[others])
    suggested[1] = 7
    edited = edited.set_column(names.index("suggested_label"), "suggested_label", pc.cast(suggested, kind))
    pq.write_table(edited, tmp_path / "odd.parquet")
    with pytest.raises(DataError, match="the class 7"):
        cure_of(gradsift.Audit.open(tmp_path / "run", table=tmp_path / "odd.parquet"), "soft")


def test_an_audit_by_other_scores_is_no_word_of_a_person(audit):
    other = gradsift.rescore(audit, np.arange(N, dtype=float), "other", contamination=0.2)
    assert np.setdiff1d(np.arange(N), cure_of(other, "drop").kept).tolist() == list(range(48, N))
    np.testing.assert_array_equal(cure_of(other, "soft").targets, cure_of(audit, "soft").targets)


def test_no_class_is_emptied_by_what_is_flagged(caplog):
    labels = np.array([0] * 10 + [1] * 10 + [2])
    probabilities = np.eye(K)[np.array([0] * 10 + [1] * 10 + [1])] * 0.97 + 0.01
    audit = gradsift.audit_predictions(labels, probabilities, contamination=0.05, show_progress=False)
    assert audit.flagged_positions.tolist() == [20]
    assert cure_of(audit, "drop").kept.tolist() == list(range(21))
    assert "the least detrimental sample of each keeps its label" in caplog.text
    assert cure_of(audit, "relabel").changed.tolist() == []


def test_bad_input_is_refused(audit):
    with pytest.raises(SettingError, match="unknown cure 'fix': the known ones are none, drop, relabel, soft, weight"):
        cure_of(audit, "fix")
    for how, share in (("soft", 0.1), ("drop", 0.0), ("relabel", 1.0)):
        with pytest.raises(SettingError, match="share is a number above 0 and below 1, for drop and relabel"):
            cure_of(audit, how, share=share)


def test_without_classes_samples_can_be_dropped_alone():
    inputs, values = torch.randn(20, 3), torch.randn(20, 1)
    audit = gradsift.audit(
        nn.Linear(3, 1).eval(), (inputs, values), task="regression", contamination=0.1, show_progress=False
    )
    assert len(cure_of(audit, "drop").kept) == 18
    for how in ("relabel", "soft", "weight"):
        with pytest.raises(SettingError, match=f"the cure '{how}' needs one class .* are values: use 'drop'"):
            cure_of(audit, how)
    several = torch.from_numpy((RNG.random((20, 3)) > 0.5).astype(np.float32))
    audit = gradsift.audit(
        nn.Linear(3, 3).eval(), (inputs, several), task="multilabel", contamination=0.1, show_progress=False
    )
    with pytest.raises(SettingError, match="several yes-or-no labels"):
        cure_of(audit, "soft")


def test_audits_that_lack_something_say_what(trained, blobs):
    audit = gradsift.audit(trained, blobs[:2], detectors="l2", show_progress=False)
    with pytest.raises(SettingError, match="audit with the detector 'posterior'"):
        cure_of(audit, "weight")
    targets = cure_of(audit, "soft").targets  # predictions are stored
    assert targets.shape[0] == len(audit)
    every = audit.table.set_column(
        audit.table.column_names.index("suggested_label"), "suggested_label", [[None] * len(audit)]
    )
    with pytest.raises(SettingError, match="suggests no label"):
        cure_of(gradsift.Audit(every, audit.run), "relabel")


def test_an_audit_along_training_needs_its_trajectory(trained, blobs, tmp_path):
    recorder = gradsift.Recorder(trained, blobs[:2])
    recorder.evaluate()
    audit = gradsift.audit(trained, blobs[:2], trajectory=recorder, show_progress=False)
    assert audit.detector == "posterior_along_training"
    with pytest.raises(SettingError, match="trajectory=recorder"):
        gradsift.correct(audit, blobs[:2], "soft")
    targets = gradsift.correct(audit, blobs[:2], "soft", trajectory=recorder)[1]
    labels = np.asarray(blobs[1])
    posterior = np.asarray(targets) ** 2  # softened targets are its square roots
    own = 1 - (posterior / posterior.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels]
    np.testing.assert_allclose(own, audit.table["score"], atol=1e-5)


def test_correct_is_the_same_from_the_audit_and_says_that_it_is_unproven(audit, caplog):
    data = (X, WORDS[GIVEN])
    inputs, labels = gradsift.correct(audit, data, "relabel")
    assert labels.tolist() == WORDS[TRUE].tolist()
    assert inputs is X
    assert "not proven" in caplog.text
    caplog.clear()
    assert audit.correct(how="none")[1].tolist() == data[1].tolist()
    assert not caplog.records
    assert len(audit.correct(how="drop", share=0.05)[0]) == N - 3
    assert audit.correct(data, "soft")[1].shape == (N, K)
    with pytest.raises(DataError, match="not the one that was audited"):
        gradsift.correct(audit, (X + 1, WORDS[GIVEN]), "drop")
    with pytest.raises(DataError, match="pass it as train_set"):
        gradsift.correct(audit, None, "drop")
    assert json.loads(audit.table.schema.metadata[b"gradsift"])["class_names"] == WORDS.tolist()
