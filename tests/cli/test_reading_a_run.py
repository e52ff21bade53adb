"""Commands that read a run: show, explain, and the exit code for a data set's continuous integration."""

import json

import numpy as np
import pytest

from gradsift import Audit, audit_predictions
from gradsift.cleaning.decisions import Decisions
from gradsift.cli.audit import run_audit
from gradsift.cli.source import Source
from gradsift.review import explain
from gradsift.settings import AuditSettings
from tests.support.in_process import gradsift, words
from tests.support.reviewed import audited, decided


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of 8 x 8 in three classes, their predictions, and a run that config.yaml can find again."""
    place = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pictures = generator.uniform(0, 0.3, (60, 1, 8, 8)).astype(np.float32)
    for position, label in enumerate(labels):
        pictures[position, 0, 2 * label : 2 * label + 3] += 0.7
    pictures[41] = pictures[12]  # the same picture twice, once as class 0 and once as class 2
    given = labels.copy()
    given[[5, 12, 30]] = (labels[[5, 12, 30]] + 1) % 3
    believed = labels.copy()
    believed[41] = believed[12]
    probabilities = np.full((60, 3), 0.02)
    probabilities[np.arange(60), believed] = 0.96
    np.savez(place / "train.npz", x=pictures, label=given)
    np.savez(place / "predictions.npz", probabilities=probabilities, features=pictures.reshape(60, -1))
    source = Source(
        model=None, data=str(place / "train.npz"), predictions=str(place / "predictions.npz"), out_of_fold=True
    )
    run_audit(source, AuditSettings(), place / "run", overwrite=False)
    return place


def test_a_run_is_shown_with_pictures_of_characters(folder):
    done = gradsift("show", folder / "run", "--worst", 2, check=False)
    assert done.returncode == 0, done.stderr
    assert "The worst samples" in done.stdout
    assert "What is flagged of each class" in done.stdout
    assert "@@" in done.stdout
    assert f"Next: gradsift explain {folder / 'run'}" in words(done)
    assert "\x1b" not in done.stdout


def test_a_run_without_data_is_shown_all_the_same(tmp_path):
    audited(tmp_path / "run", data=False)
    done = gradsift("show", tmp_path / "run", check=False)
    assert done.returncode == 0
    assert "Without previews of samples" in done.stderr
    assert "given cat, suggested" in done.stdout or "given dog, suggested" in done.stdout or "given fox" in done.stdout


def test_what_is_shown_as_json_is_what_the_run_holds(folder):
    done = gradsift("show", folder / "run", "--worst", 3, "--json", check=False)
    found = json.loads(done.stdout)
    assert len(found["worst"]) == 3
    assert found["samples"] == 60
    assert sum(row["removed"] for row in found["classes"]) == found["flagged"]
    assert found["wrong_labels"]["share"] > 0
    assert found["fail_above"] is None


def test_a_share_above_the_limit_gives_an_exit_code_of_its_own(folder):
    share = json.loads(gradsift("show", folder / "run", "--json", check=False).stdout)["wrong_labels"]["share"]
    above = gradsift("show", folder / "run", "--fail-above", f"{100 * share - 1:.2f}%", check=False)
    assert above.returncode == 3
    assert "Failed: " in above.stdout
    within = gradsift("show", folder / "run", "--fail-above", f"{share + 0.01:.4f}", "--json", check=False)
    assert within.returncode == 0
    assert json.loads(within.stdout)["failed"] is False


def test_an_audit_fails_by_its_share_after_it_is_written(folder, tmp_path):
    arguments = ("--predictions", folder / "predictions.npz", "--data", folder / "train.npz", "--out-of-fold")
    done = gradsift("audit", *arguments, "-o", tmp_path / "run", "--fail-above", "0.1%", "--quiet", check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert (tmp_path / "run" / "manifest.json").exists()
    given = ("--contamination", 0.1, "--fail-above", "5%")
    refused = gradsift("audit", *arguments, "-o", tmp_path / "other", *given, check=False)
    assert refused.returncode == 1
    assert "leave --contamination at auto" in words(refused)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("text", ["5 percent", "500%", "-1%", "5", "nan"])
def test_what_is_no_share_is_refused_with_how_to_write_it(folder, text):
    done = gradsift("show", folder / "run", f"--fail-above={text}", check=False)
    assert done.returncode == 1
    assert "for 5 % write 5% or 0.05" in words(done)


def test_a_share_that_was_given_is_no_share_to_judge(tmp_path):
    audit_predictions(
        [0, 0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.9, 0.1]], contamination=0.25, output=tmp_path / "run"
    )
    done = gradsift("show", tmp_path / "run", "--fail-above", "5%", check=False)
    assert done.returncode == 1
    assert "--contamination auto" in words(done)


def test_one_sample_is_explained(folder):
    done = gradsift("explain", folder / "run", 12, check=False)
    assert done.returncode == 0, done.stderr
    for phrase in (
        "Position 12: rank", "Label: given 1, predicted 0, suggested 2", "Predicted (out-of-fold)",
                  "True class, once the given label is known", "Nearest samples by features", "Scores: higher is",
    ):  # fmt: skip
        assert phrase in words(done)
    assert "The same input with another label stands at 41." in words(done)
    assert "@@" in done.stdout


def test_the_explanation_says_what_the_table_says(folder):
    audit = Audit.open(folder / "run")
    for position in (5, 7, 41):
        known = explain(audit, position)
        given = known.labels["given"]
        right = {one["class"]: one["probability"] for one in known.posterior}[given]
        assert 1 - right == pytest.approx(known.scores["posterior"]["score"], abs=1e-6)
        assert known.predicted[0]["class"] == known.labels["predicted"]
        assert position not in [one["position"] for one in known.neighbours]
        assert known.duplicates is None


def test_decisions_of_people_are_told(tmp_path):
    audit, _, _ = audited(tmp_path / "run")
    position = int(audit.flagged_positions[0])
    with Decisions.open(tmp_path / "run") as decisions:
        decisions.add([decided(audit, position, "relabel", 2, note="a fox, surely")])
    done = gradsift("explain", tmp_path / "run", position, check=False)
    assert "Decisions of people" in done.stdout
    assert "a fox, surely" in words(done)
    found = json.loads(gradsift("explain", tmp_path / "run", position, "--json", check=False).stdout)
    assert found["decisions"][0]["label"] == 2


def test_a_position_that_is_none_is_refused_with_the_range(folder):
    done = gradsift("explain", folder / "run", 60, check=False)
    assert done.returncode == 1
    assert "a position from 0 to 59" in words(done)


def test_the_order_of_columns_without_names_is_told(tmp_path):
    (tmp_path / "train.csv").write_text("x,label\n1,plum\n2,plum\n3,fig\n4,fig\n")
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1], [0.1, 0.9]])
    arguments = ("audit", "--data", "train.csv", "--out-of-fold", "--predictions")
    np.savez(tmp_path / "plain.npz", probabilities=probabilities)
    told = gradsift(*arguments, "plain.npz", "-o", "runs/plain", cwd=tmp_path)
    assert "in the order of the sorted labels: fig, plum." in words(told)
    np.savez(tmp_path / "named.npz", probabilities=probabilities, class_names=np.array(["fig", "plum"]))
    named = gradsift(*arguments, "named.npz", "-o", "runs/named", cwd=tmp_path)
    assert "sorted labels" not in words(named)
