"""Decisions out of a run and into one: every format both ways, and what other programs make of them."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from gradsift import audit as run_audit
from gradsift.cleaning.decisions import Decisions
from gradsift.errors import DataError, OutputError, SettingError
from gradsift.review.exchange import export_decisions, import_decisions
from gradsift.review.formats import FORMATS
from tests.support.in_process import gradsift
from tests.support.reviewed import audited, decided
from tests.support.tagged import NAMES, audited_sentences, sentences

AT = "2026-01-01T08:00:00.000+00:00"
HOSTILE = '=HYPERLINK("x")\n<script>alert(1)</script> \'ü 🦊'


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("exchange") / "run"
    audit, _, _ = audited(place)
    with Decisions.open(place) as decisions:
        decisions.add(
            [
                decided(audit, 1, "relabel", 2, note=HOSTILE, milliseconds=1234, at=AT),
                decided(audit, 2, "keep", at=AT),
                decided(audit, 3, "drop", note="'quoted", at=AT),
                decided(audit, 4, "ambiguous", [0.25, 0.75, 0.0], at=AT),
                decided(audit, 5, "skip", at=AT),
            ]
        )
        decisions.add([decided(audit, 1, "keep", reviewer="ben", blind=True, at=AT)])
    return audit


@pytest.fixture
def other(tmp_path, finished):
    """A copy of the run that nobody has reviewed."""
    place = shutil.copytree(finished.run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("decisions*"))
    return type(finished).open(place, finished.train_set)


def readings(audit):
    with Decisions.read(audit.run.path) as decisions:
        return [one for place in sorted(decisions.current()) for one in decisions.readings(place)]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "issues"])
def test_what_goes_out_comes_in_again_and_a_second_time_adds_nothing(name, finished, other, tmp_path):
    samples = finished.samples_of(finished.train_set)
    path = tmp_path / f"decisions{FORMATS[name].ending}"
    assert export_decisions(finished, path, format_name=name, samples=samples) == 6
    told = import_decisions(other, path, format_name=name, samples=samples)
    assert (len(told.added), told.unmatched) == (6, [])
    expected = readings(finished)
    if name == "argilla":  # which has no place for the time of an answer of its own
        expected = [replace(one) for one in expected]
    assert readings(other) == expected
    again = import_decisions(other, path, format_name=name, samples=samples)
    assert (again.added, again.known) == ([], 6)
    with pytest.raises(OutputError):
        export_decisions(finished, path, format_name=name)


def test_the_parquet_file_is_what_its_columns_say(finished, tmp_path):
    import pyarrow.parquet as pq

    export_decisions(finished, tmp_path / "d.parquet")
    row = pq.read_table(tmp_path / "d.parquet").to_pylist()[0]
    assert (row["position"], row["kind"], row["label"], row["label_name"]) == (1, "relabel", "2", "fox")
    assert row["content"].startswith("data:")


def test_a_spreadsheet_finds_no_formula(finished, tmp_path):
    export_decisions(finished, tmp_path / "d.csv")
    with (tmp_path / "d.csv").open(newline="", encoding="utf-8") as file:
        notes = [row["note"] for row in csv.DictReader(file)]
    assert notes[0] == "'" + HOSTILE
    assert not any(note.startswith(("=", "+", "-", "@")) for note in notes)


def test_label_studio_gets_every_flagged_sample_and_what_its_people_say_comes_back(finished, other, tmp_path):
    path = tmp_path / "tasks.json"
    samples = finished.samples_of(finished.train_set)
    export_decisions(other, path, format_name="label-studio", samples=samples)
    tasks = json.loads(path.read_text())
    assert {task["data"]["position"] for task in tasks} == set(finished.flagged_positions.tolist())
    assert all(task["data"]["text"] and not task["annotations"] for task in tasks)
    suggested = next(task for task in tasks if task["predictions"])
    assert suggested["predictions"][0]["result"][0]["value"]["choices"][0] in ("cat", "dog", "fox")

    def answer(name, choices):
        return {"from_name": name, "to_name": "text", "type": "choices", "value": {"choices": choices}}

    about = {"lead_time": 2.5, "created_at": "2026-01-02T10:00:00Z", "completed_by": 7}
    given = tasks[1]["data"]["given"]
    new = next(name for name in ("cat", "dog", "fox") if name != given)
    tasks[0]["annotations"] = [about | {"result": [answer("decision", ["drop"])]}]
    tasks[1]["annotations"] = [about | {"result": [answer("label", [new])]}]  # a project with labels alone
    tasks[2]["annotations"] = [about | {"result": [answer("label", [tasks[2]["data"]["given"]])]}]
    tasks[3]["annotations"] = [about | {"result": [], "was_cancelled": True}]
    path.write_text(json.dumps(tasks))
    told = import_decisions(other, path, format_name="label-studio", samples=samples)
    by_position = {one.position: one for one in told.added}
    found = [by_position[task["data"]["position"]] for task in tasks[:4]]
    assert [one.kind for one in found] == ["drop", "relabel", "keep", "skip"]
    assert found[1].label == ["cat", "dog", "fox"].index(new)
    assert {one.reviewer for one in found} == {"Label Studio 7"}
    assert (found[0].milliseconds, readings(other)[0].at) == (2500, "2026-01-02T10:00:00.000+00:00")


def test_argilla_answers_that_were_changed_there_come_back_changed(finished, other, tmp_path):
    path, samples = tmp_path / "records.json", finished.samples_of(finished.train_set)
    export_decisions(finished, path, format_name="argilla", samples=samples)
    records = json.loads(path.read_text())
    record = next(one for one in records if one["metadata"]["position"] == 2)
    record["responses"] = {"label": [{"value": "dog", "user_id": "u-1"}]}
    path.write_text(json.dumps([record]))
    told = import_decisions(other, path, format_name="argilla", samples=samples)
    assert [(one.position, one.reviewer, one.kind, one.label) for one in told.added] == [(2, "u-1", "relabel", 1)]


def test_the_issue_table_has_a_row_for_every_sample_and_a_persons_word_in_it(finished, other, tmp_path):
    path = tmp_path / "issues.csv"
    export_decisions(finished, path, format_name="issues")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(finished)
    assert (rows[1]["is_label_issue"], rows[3]["is_label_issue"], rows[2]["is_label_issue"]) == (
        "False",
        "True",
        "False",
    )
    assert float(rows[2]["label_score"]) == 1.0
    assert all(0 <= float(row["label_score"]) <= 1 for row in rows)
    rows[7] |= {"is_label_issue": "True", "given_label": "cat", "predicted_label": "fox"}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    told = import_decisions(other, path, format_name="issues", samples=finished.samples_of(finished.train_set))
    assert (7, "relabel", 2) in [(one.position, one.kind, one.label) for one in told.added]
    assert {one.reviewer for one in told.added} == {"issue table"}


def test_decisions_of_another_run_directory_come_over(finished, other):
    told = import_decisions(other, finished.run.path, samples=finished.samples_of(finished.train_set))
    assert len(told.added) == 6
    assert readings(other) == readings(finished)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", "a,b\n1,2\n", "needs position, reviewer and kind"),
        ("x.csv", "position,reviewer,kind\n3,ann,delete\n", "the kinds are keep"),
        ("x.csv", "position,reviewer,kind,label\n3,ann,relabel,9\n", "no class"),
        ("x.json", "{", "say --format"),
        ("x.txt", "", "no format of decisions ends in .txt"),
    ],
)
def test_a_file_that_is_no_list_of_decisions_is_refused_and_nothing_is_saved(name, content, words, other, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises((DataError, SettingError), match=words):
        import_decisions(other, tmp_path / name)
    stored = Decisions.read(other.run.path)
    assert stored is None or len(stored) == 0


def test_json_that_is_broken_and_what_is_not_there(other, tmp_path):
    (tmp_path / "x.json").write_text("{")
    for name in ("label-studio", "argilla"):
        with pytest.raises(DataError, match="no readable JSON"):
            import_decisions(other, tmp_path / "x.json", format_name=name)
    with pytest.raises(DataError, match="does not exist"):
        import_decisions(other, tmp_path / "nothing.csv")
    with pytest.raises(SettingError, match="the known ones are parquet, csv"):
        export_decisions(other, tmp_path / "x.csv", format_name="xml")


def test_the_command_line_exports_and_imports(finished, other, tmp_path):
    path = tmp_path / "d.parquet"
    assert "6 decisions are in" in gradsift("export-decisions", finished.run.path, "-o", path).stdout
    done = gradsift("import-decisions", other.run.path, path, "--json")
    assert json.loads(done.stdout) == {"added": 6, "known": 0, "moved": 0, "unmatched": []}
    again = gradsift("import-decisions", other.run.path, path).stdout
    assert "0 decisions were added, 6 were there already." in again


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("decisions.parquet", b"PAR1 but not really"),
        ("decisions.csv", b"position,kind\n\xff\xfe"),
        ("decisions.json", b'[{"data": null, "annotations": [{}]}]'),
        ("decisions.json", b'[{"data": {}, "annotations": [{"result": [{"from_name": "label"}]}]}]'),
        ("decisions.json", b'[{"annotations": [{"result": null}]}]'),
        ("decisions.csv", b"position,reviewer,kind,label\n3,ann,relabel," + b"[" * 100_000),
        ("folder", None),
    ],
)
def test_a_file_that_is_not_of_its_format_is_told_and_adds_nothing(other, tmp_path, name, content):
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as"):
        import_decisions(other, path, format_name="label-studio" if path.suffix == ".json" else None)
    assert Decisions.of(other) is None


@pytest.mark.parametrize("kind", ["multilabel", "value", "token"])
@pytest.mark.parametrize("name", FORMATS)
def test_labels_that_are_no_classes_go_out_and_come_in_again(name, kind, tmp_path):
    audit, label = of_kind(kind, tmp_path / "run")
    path = tmp_path / f"decisions{FORMATS[name].ending}"
    with Decisions.open(audit.run.path) as decisions:
        decisions.add([decided(audit, 3, "relabel", label, at=AT)])
    export_decisions(audit, path, format_name=name, samples=audit.samples_of(audit.train_set))
    place = shutil.copytree(audit.run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("decisions*"))
    other = type(audit).open(place, audit.train_set)
    told = import_decisions(other, path, format_name=name, samples=audit.samples_of(audit.train_set))
    assert [(one.kind, one.label) for one in told.added if one.position == 3] == [("relabel", label)]


def of_kind(kind, output):
    if kind == "token":
        return audited_sentences(output), [0, 3, 4, 0, 0, 0, 1, 2, 2]
    generator = np.random.default_rng(0)
    inputs, several = generator.normal(size=(40, 4)).astype(np.float32), (generator.random((40, 3)) < 0.5)
    given = several.astype(np.float32) if kind == "multilabel" else inputs[:, :1].copy()
    names = ["beach", "two, words", "[night]"] if kind == "multilabel" else None
    audit = run_audit(
        torch.nn.Linear(4, given.shape[1]).eval(), (inputs, given), class_names=names, contamination=0.1,
        task={"multilabel": "multilabel", "value": "regression"}[kind], output=output, show_progress=False,
    )  # fmt: skip
    return audit, ([2, 0] if kind == "multilabel" else 1.25)


def test_the_given_labels_of_several_are_named_as_they_hold(tmp_path):
    audit, _ = of_kind("multilabel", tmp_path / "run")
    export_decisions(audit, tmp_path / "tasks.json", format_name="label-studio")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    names = ["beach", "two, words", "[night]"]
    for task in tasks:
        given = audit.train_set[1][task["data"]["position"]]
        assert task["data"]["given"] == [name for name, holds in zip(names, given, strict=True) if holds]
        told = [one["value"]["choices"] for one in task["predictions"][0]["result"]] if task["predictions"] else []
        assert all(set(choices) <= set(names) for choices in told)
    task = tasks[0]
    about = {"created_at": AT, "completed_by": 7}
    answer = {"from_name": "label", "to_name": "text", "type": "choices"}
    task["annotations"] = [about | {"result": [answer | {"value": {"choices": task["data"]["given"]}}]}]
    other = tasks[1] | {"annotations": [about | {"result": [answer | {"value": {"choices": ["beach"]}}]}]}
    (tmp_path / "back.json").write_text(json.dumps([task, other]))
    told = import_decisions(audit, tmp_path / "back.json", format_name="label-studio")
    assert told.added[0].kind == "keep"
    assert told.added[1].label == [0] or tasks[1]["data"]["given"] == ["beach"]


def test_names_in_sentences_are_spans_in_label_studio_and_come_back_as_tags(tmp_path):
    audit = audited_sentences(tmp_path / "run")
    rows, right = sentences()
    path, samples = tmp_path / "tasks.json", audit.samples_of(audit.train_set)
    export_decisions(audit, path, format_name="label-studio", samples=samples)
    tasks = {task["data"]["position"]: task for task in json.loads(path.read_text())}
    assert set(tasks) == set(range(10))
    for place, task in tasks.items():
        text = task["data"]["text"]
        assert text == " ".join(rows[place]["tokens"])
        spans = [one["value"] for one in task["predictions"][0]["result"]]
        assert [text[span["start"] : span["end"]] for span in spans] == [span["text"] for span in spans]
        names = [tag[2:] for tag in right[place] if tag.startswith("B-")]
        assert [span["labels"] for span in spans] == [[name] for name in names]
        task["annotations"] = [{"created_at": AT, "completed_by": 7, "result": task["predictions"][0]["result"]}]
    tasks[9]["annotations"][0]["result"] = []  # no name at all
    path.write_text(json.dumps(list(tasks.values())))
    told = {
        one.position: one for one in import_decisions(audit, path, format_name="label-studio", samples=samples).added
    }
    assert {one.kind for one in told.values()} == {"relabel"}
    assert all(told[place].label == [NAMES.index(tag) for tag in right[place]] for place in range(9))
    assert told[9].label == [0] * 9
