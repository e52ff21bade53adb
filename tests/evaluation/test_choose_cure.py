"""The choice of a cure from an audit: by trainings, by heads, or none with the reason."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

import gradsift
from gradsift.errors import SettingError
from gradsift.evaluation import flip_labels


@pytest.fixture(scope="module")
def clouds():
    generator = np.random.default_rng(0)
    true = generator.integers(0, 3, 900)
    inputs = (3.0 * np.eye(3, 6)[true] + generator.standard_normal((900, 6))).astype(np.float32)
    return inputs, true, flip_labels(true, 0.3, seed=0)


def nearest(dataset, *, seed):
    """Memorises its labels."""
    return KNeighborsClassifier(1).fit(*dataset)


@pytest.fixture(scope="module")
def audit(clouds, tmp_path_factory):
    inputs, _, given = clouds
    place = tmp_path_factory.mktemp("audit") / "run"
    return gradsift.audit_predictions(given, features=inputs, data=(inputs, given), output=place, show_progress=False)


def predict(model, dataset):
    return model.predict_proba(dataset[0])


def test_a_training_chooses_within_its_limit(clouds, audit):
    inputs, true, given = clouds
    calls = []

    def train(dataset, *, seed):
        calls.append(len(dataset[1]))
        return nearest(dataset, seed=seed)

    choice = gradsift.choose_cure(audit, (inputs, given), train_fn=train, predict=predict, show_progress=False)
    assert choice.verdict == "helps"
    assert choice.trainings == len(calls) <= 12
    assert {one.cure.how for one in choice.comparisons} <= {"drop", "relabel"}  # nothing else was declared
    better = gradsift.correct(audit, (inputs, given), choice.cure)
    plain, cured = (nearest(data, seed=0).score(inputs + 0.01, true) for data in ((inputs, given), better))
    assert cured > plain + 0.1


def test_correct_chooses_by_itself(clouds, audit, capsys):
    inputs, true, given = clouds
    by_heads = audit.correct()  # features were given as arrays: heads choose, which do not memorise so few dimensions
    assert "Cannot tell whether a cure helps." in capsys.readouterr().err
    assert by_heads[1].tolist() == given.tolist()
    by_training = audit.correct((inputs, given), train_fn=nearest, predict=predict, show_progress=False)
    assert "Held-out samples say that this helps" in capsys.readouterr().err
    plain, cured = (nearest(data, seed=0).score(inputs + 0.01, true) for data in ((inputs, given), by_training))
    assert cured > plain + 0.1


def test_without_anything_to_choose_with_nothing_changes_and_the_reason_is_told(clouds, trained, blobs, caplog):
    inputs, _, given = clouds
    own = gradsift.audit(trained, blobs[:2], show_progress=False)
    assert gradsift.choose_cure(own).cure.how == "none"
    assert "may have learnt these labels" in caplog.text
    assert gradsift.choose_cure(own, frozen=True).comparisons
    probabilities = np.eye(3)[given] * 0.9 + 1 / 30
    bare = gradsift.audit_predictions(given, probabilities, show_progress=False)
    assert gradsift.choose_cure(bare).cure.how == "none"
    assert "no features to train heads on" in caplog.text
    values = gradsift.audit(
        nn.Linear(6, 1).eval(), (torch.from_numpy(inputs), torch.randn(900, 1)), task="regression", show_progress=False
    )
    assert gradsift.choose_cure(values).verdict == "cannot tell"
    assert "name one yourself, how='drop'" in caplog.text


@pytest.mark.usefixtures("few_rounds")
def test_what_a_person_has_decided_holds_for_every_candidate(audit, tmp_path):
    flagged = audit.table["flagged"].to_numpy().copy()
    right = audit.flagged_positions[:20]
    flagged[right] = False
    edited = audit.table.set_column(audit.table.column_names.index("flagged"), "flagged", [flagged])
    pq.write_table(edited, tmp_path / "edited.parquet")
    person = gradsift.Audit.open(audit.run.path, table=tmp_path / "edited.parquet")
    for one in gradsift.choose_cure(person).comparisons:
        assert not set(right) & set(one.cure.changed)


@pytest.mark.usefixtures("few_rounds")
def test_bad_input_is_refused(clouds, audit):
    inputs, _, given = clouds
    with pytest.raises(SettingError, match="train_fn, folds is for how='auto' alone"):
        gradsift.correct(audit, (inputs, given), "drop", train_fn=nearest, folds=3)
    with pytest.raises(SettingError, match="leave share out"):
        gradsift.correct(audit, (inputs, given), share=0.1)
    with pytest.raises(SettingError, match="trainings are too few"):
        gradsift.choose_cure(audit, (inputs, given), train_fn=nearest, trainings=5, predict=predict)
