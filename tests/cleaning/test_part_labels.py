"""Labels that are no classes: decided or suggested, and written as each kind of data set stores them."""

import json

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

import gradsift
from gradsift.cleaning.corrected import apply
from gradsift.cleaning.corrected_file import write_corrected
from gradsift.cleaning.cure import Cure
from gradsift.cleaning.cures_of import cure_of
from gradsift.cleaning.decision import Decision
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.part_labels import PartLabels, suggested_parts
from gradsift.cleaning.reviewed import Reviewed
from gradsift.data import Samples
from gradsift.data.files import load
from gradsift.data.records import FileRows, open_records
from gradsift.errors import DataError, SettingError
from tests.support.reviewed import decided
from tests.support.tagged import NAMES, audited_sentences, sentences, text_set

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(20, 4)).astype(np.float32)
SEVERAL = (GENERATOR.random((20, 3)) < 0.5).astype(np.float32)
VALUES = GENERATOR.normal(size=(20, 2)).astype(np.float32)
TASKS = {"multilabel": (SEVERAL, [0, 2], [1, 0, 1]), "regression": (VALUES, [1.5, -2.0], [1.5, -2.0])}


@pytest.fixture(autouse=True)
def small_forests(monkeypatch):
    """What is flagged does not matter here, so the detector of values grows fewer trees."""
    monkeypatch.setattr("gradsift.detectors.surroundings.TREES", 20)


def audited(data, task, output):
    targets = TASKS[task][0].shape[1]
    return gradsift.audit(
        torch.nn.Linear(4, targets).eval(), data, task=task, contamination=0.1, output=output, show_progress=False
    )


CONTAINERS = {
    "arrays": lambda y: (X, y),
    "tensors": lambda y: (torch.from_numpy(X), torch.from_numpy(y)),
    "TensorDataset": lambda y: TensorDataset(torch.from_numpy(X), torch.from_numpy(y)),
    "dict": lambda y: {"x": X, "labels": y},
    "frames": lambda y: (pd.DataFrame(X), pd.DataFrame(y, index=np.arange(20))),
    "samples": lambda y: [(torch.from_numpy(x), torch.from_numpy(one)) for x, one in zip(X, y, strict=True)],
    "dicts": lambda y: [
        {"x": torch.from_numpy(x), "label": torch.from_numpy(one)} for x, one in zip(X, y, strict=True)
    ],
}


def labels_in(data, key="labels"):
    if isinstance(data, dict):
        return np.asarray(data[key])
    if isinstance(data, Dataset):  # a TensorDataset, or some of it
        return np.stack([data[place][-1].numpy() for place in range(len(data))])
    if isinstance(data, list):
        return np.stack([np.asarray(one[-1] if isinstance(one, tuple) else one["label"]) for one in data])
    return np.asarray(data[-1])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_what_people_decide_is_written_into_every_kind_of_data_set(task, container, tmp_path):
    given, said, stored = TASKS[task]
    data = CONTAINERS[container](given.copy())
    audit = audited(data, task, tmp_path / "run")
    with Decisions.open(audit.run.path) as decisions:
        decisions.add([decided(audit, 3, "relabel", said), decided(audit, 4, "drop"), decided(audit, 5, "ambiguous")])
    better = gradsift.correct(audit, data, "reviewed")
    assert type(better) is type(data) or container == "TensorDataset"
    expected = given.copy()
    expected[3] = stored
    np.testing.assert_allclose(labels_in(better), np.delete(expected, [4, 5], axis=0))
    np.testing.assert_array_equal(labels_in(data), given)  # the original is as it was
    if container in ("dict", "dicts"):
        old = better["gradsift_given_label"][3] if container == "dict" else better[3]["gradsift_given_label"]
        np.testing.assert_allclose(np.asarray(old), given[3])


def test_a_person_stands_above_a_suggestion_and_above_a_drop(tmp_path):
    audit = audited_sentences(tmp_path / "run")
    rows, right = sentences()
    first, second, third = audit.flagged_positions[:3].tolist()
    with Decisions.open(audit.run.path) as decisions:
        decisions.add([decided(audit, first, "keep"), decided(audit, second, "drop")])
        decisions.add([decided(audit, third, "relabel", [4] * 9)])
    better = gradsift.correct(audit, audit.train_set, "relabel").raw
    expected = [dict(row, tags=tags) for row, tags in zip(rows, right, strict=True)]
    expected[first], expected[third]["tags"] = rows[first], ["I-LOC"] * 9
    del expected[second]
    assert [row["tags"] for row in better] == [row["tags"] for row in expected]
    dropped = gradsift.correct(audit, audit.train_set, "drop").raw
    assert len(dropped) == len(rows) - len(audit.flagged_positions) + 2
    assert next(row["tags"] for row in dropped if row["id"] == rows[third]["id"]) == ["I-LOC"] * 9


@pytest.mark.parametrize("form", ["list", "Table", "Dataset", "classes"])
def test_labels_of_words_are_written_at_their_words(form, tmp_path):
    rows, right = sentences(size=60, wrong=6)
    if form == "Table":
        rows = pa.Table.from_pylist(rows)
    if form in ("Dataset", "classes"):
        rows = datasets.Dataset.from_list(rows)
    if form == "classes":  # whose numbers are not the model's
        names = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
        rows = rows.map(lambda row: {"tags": [names.index(tag) for tag in row["tags"]]})
        feature = datasets.Sequence(datasets.ClassLabel(names=names))
        rows = rows.cast_column("tags", feature)
        right = [[names.index(tag) for tag in tags] for tags in right]
    audit = audited_sentences(tmp_path / "run", rows, wrong=6)
    assert set(audit.flagged_positions.tolist()) == set(range(6))
    better = Samples(gradsift.correct(audit, audit.train_set, "relabel").raw)
    assert [better.sample(place)["tags"] for place in range(60)] == right
    assert better.sample(0)["gradsift_given_label"] == Samples(rows).sample(0)["tags"]


def test_words_that_were_cut_off_keep_their_labels(tmp_path):
    rows, right = sentences(size=40, wrong=4)
    for row, tags in zip(rows, right, strict=True):
        row["tokens"], row["tags"] = row["tokens"] + ["w8"] * 40, row["tags"] + ["O"] * 40
        tags += ["O"] * 40
    audit = audited_sentences(tmp_path / "run", rows, wrong=4)
    better = gradsift.correct(audit, audit.train_set, "relabel").raw
    assert [row["tags"] for row in better] == right


def changed_in_a_file(tmp_path, name, task, given, said, key="label"):
    """A file after one relabelling, read again."""
    source = tmp_path / name
    data = load(source, label=key).dataset
    audit = audited(data, task, tmp_path / f"run-{name}")
    with Decisions.open(audit.run.path) as decisions:
        decisions.add([decided(audit, 3, "relabel", said), decided(audit, 4, "drop")])
    cure = cure_of(audit, "reviewed", reviewed=Reviewed.of(audit, audit.samples_of(data), label=key))
    write_corrected(source, cure, tmp_path / f"new-{name}", label=key)
    return open_records(tmp_path / f"new-{name}")


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_values_are_written_into_tables(ending, tmp_path):
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "d": X[:, 3], "label": VALUES[:, 0].round(3)})
    source = tmp_path / f"data.{ending}"
    {"csv": lambda: frame.to_csv(source, index=False), "parquet": lambda: frame.to_parquet(source, index=False),
     "jsonl": lambda: frame.to_json(source, orient="records", lines=True)}[ending]()  # fmt: skip
    model = torch.nn.Linear(4, 1).eval()
    data = load(source).dataset
    audit = gradsift.audit(
        model, data, task="regression", contamination=0.1, output=tmp_path / "run", show_progress=False
    )
    with Decisions.open(audit.run.path) as decisions:
        decisions.add([decided(audit, 3, "relabel", 1.2), decided(audit, 4, "drop")])
    cure = cure_of(audit, "reviewed", reviewed=Reviewed.of(audit, audit.samples_of(data)))
    write_corrected(source, cure, tmp_path / f"new.{ending}")
    found = open_records(tmp_path / f"new.{ending}").read(["label", "gradsift_given_label"]).to_pylist()
    assert len(found) == 19
    assert found[3]["label"] == pytest.approx(1.2, rel=1e-6 if ending == "parquet" else 1e-12)
    assert found[3]["gradsift_given_label"] == pytest.approx(float(frame["label"][3]), rel=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_rows_of_an_archive_are_written(task, tmp_path):
    given, said, stored = TASKS[task]
    np.savez(tmp_path / "data.npz", x=X, label=given)
    found = changed_in_a_file(tmp_path, "data.npz", task, given, said)
    expected = given.copy()
    expected[3] = stored
    np.testing.assert_allclose(found.read("label"), np.delete(expected, 4, axis=0))
    np.testing.assert_allclose(found.read("gradsift_given_label"), np.delete(given, 4, axis=0))


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_labels_of_words_are_written_into_files(ending, tmp_path):
    rows, right = sentences(size=40, wrong=4)
    source = tmp_path / f"data.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), source)
    else:
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train_set = text_set(FileRows(open_records(source)))
    audit = audited_sentences(tmp_path / "run", train_set.raw, wrong=4)
    cure = cure_of(audit, "relabel", reviewed=Reviewed.of(audit, audit.samples_of(train_set), label="tags"))
    write_corrected(source, cure, tmp_path / f"new.{ending}", label="tags")
    new = FileRows(open_records(tmp_path / f"new.{ending}"))
    assert [new[place]["tags"] for place in range(40)] == right
    assert [new[place]["gradsift_given_label"] for place in range(40)] == [row["tags"] for row in rows]
    assert [new[place]["tokens"] for place in range(40)] == [row["tokens"] for row in rows]


def test_a_column_of_whole_numbers_holds_no_fraction(tmp_path):
    counts = np.arange(20)[:, None]
    model = torch.nn.Linear(4, 1).eval()
    audit = gradsift.audit(model, (X, counts), task="regression", contamination=0.1, show_progress=False)
    labels = PartLabels(audit, audit.samples_of((X, counts)))
    with pytest.raises(DataError, match=r"whole numbers, and 1\.5 is none"):
        labels.stored({2: 1.5})
    assert labels.stored({2: 3.0})[2].tolist() == [3]
    table = pa.table({"label": pa.array([1, 2], pa.int64())})
    with pytest.raises(DataError, match="'label' cannot hold a new label"):
        apply(Cure("reviewed", np.zeros(2, np.int64), np.arange(2), parts={0: 1.5}), table)


def test_without_the_data_set_what_is_wrong_goes(tmp_path):
    audit = audited((X, SEVERAL), "multilabel", tmp_path / "run")
    with Decisions.open(audit.run.path) as decisions:
        decisions.add([decided(audit, 3, "relabel", [0, 2])])
    assert 3 not in cure_of(audit, "reviewed").kept
    with_data = cure_of(audit, "reviewed", reviewed=Reviewed.of(audit, audit.samples_of((X, SEVERAL))))
    assert (3 in with_data.kept, with_data.changed.tolist()) == (True, [3])
    assert with_data.digest != cure_of(audit, "reviewed").digest
    np.testing.assert_array_equal(with_data.of(np.array([1, 3, 7])).parts[1], [1, 0, 1])


def test_labels_of_another_column_are_refused(tmp_path):
    data = {"x": X, "labels": SEVERAL, "other": SEVERAL[::-1].copy()}
    audit = audited({name: data[name] for name in ("x", "labels")}, "multilabel", tmp_path / "run")
    with pytest.raises(DataError, match="name the column of labels"):
        PartLabels(audit, Samples(data), "other").stored({0: [1]})
    with pytest.raises(DataError, match="columns are x, labels, other"):
        PartLabels(audit, Samples(data), "tags").stored({0: [1]})


def test_rows_without_the_tokenizer_are_refused(tmp_path):
    audit = audited_sentences(tmp_path / "run")
    with pytest.raises(DataError, match=r"gradsift\.TextSet of these rows"):
        gradsift.correct(audit, audit.train_set.raw, "relabel", label="tags")


def test_an_audit_that_suggests_nothing_says_so(tmp_path):
    audit = audited((X, SEVERAL), "multilabel", tmp_path / "run")
    with pytest.raises(SettingError, match="no label is suggested"):
        gradsift.correct(audit.with_table(without_suggestions(audit.table)), (X, SEVERAL), "relabel")


def without_suggestions(table):
    place = table.column_names.index("suggested_label")
    return table.set_column(place, "suggested_label", pa.nulls(len(table), table["suggested_label"].type))


def test_a_label_that_is_not_known_stays_so_unless_it_holds():
    class Known:
        kind, tokens = "multilabel", None
        table = pa.table({"given_label": [[1, None, 0]]})

    data = [{"x": 1.0, "label": [1, None, 0]}]
    assert PartLabels(Known(), Samples(data)).stored({0: [2]}) == {0: [0, None, 1]}
    assert PartLabels(Known(), Samples(data)).stored({0: [1]}) == {0: [0, 1, 0]}


def test_suggestions_are_of_flagged_tokens_alone(tmp_path):
    audit = audited_sentences(tmp_path / "run")
    _, right = sentences()
    found = suggested_parts(audit, audit.flagged_positions)
    assert found == {place: [NAMES.index(tag) for tag in right[place]] for place in audit.flagged_positions.tolist()}


def test_verify_trains_on_decided_labels(tmp_path):
    seen = []

    def train(dataset, *, seed):
        seen.append(dataset[1].copy())
        return "model"

    audit = audited((X, SEVERAL), "multilabel", tmp_path / "run")
    with Decisions.open(audit.run.path) as decisions:
        decisions.add([Decision(3, "3", decided(audit, 3).content, "ann", "relabel", [0, 2])])
    result = gradsift.verify(
        train, (X, SEVERAL), audit, None, lambda model, test: 1.0, arms=["reviewed"], seeds=1, show_progress=False
    )
    assert {trial.arm: (trial.removed, trial.changed) for trial in result.trials}["reviewed"] == (0, 1)
    np.testing.assert_array_equal(seen[-1][3], [1, 0, 1])
