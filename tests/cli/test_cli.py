"""The command line in a user's folder: the first step as a real process, the others within the process of the test."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.in_process import gradsift
from tests.support.project import MODEL

ARMS = ["no change", "random drop", "drop", "oracle drop", "oracle relabel"]


def process(*arguments, cwd):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "gradsift", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, check=True)


def test_the_whole_job_by_commands(folder):
    plan = json.loads(gradsift("plan", *MODEL, "--data", "train.parquet", "--json", cwd=folder).stdout)
    assert plan["samples"] == 180
    found = json.loads(process("audit", *MODEL, "--data", "train.parquet", "-o", "runs/x", "--json", cwd=folder).stdout)
    assert 8 <= found["flagged"] <= 30
    assert (
        "'ash'" in found["worst"][0]["reason"]
        or "'birch'" in found["worst"][0]["reason"]
        or "'cedar'" in found["worst"][0]["reason"]
    )

    gradsift("trim", "runs/x", "-o", "clean.parquet", cwd=folder)
    clean = pq.read_table(folder / "clean.parquet")
    assert clean.num_rows == 180 - found["flagged"]
    assert clean.column_names == ["width", "height", "label", "true", "comment"]
    again = gradsift("trim", "runs/x", "-o", "clean.parquet", cwd=folder, check=False)
    assert again.returncode == 1
    assert "exists and is not replaced" in again.stderr

    arguments = ("--train", "project:train", "--test", "test.parquet", "--seeds", 2, "--true-labels", "true")
    verified = json.loads(gradsift("verify", "runs/x", *arguments, "--json", cwd=folder).stdout)
    assert [arm["arm"] for arm in verified["arms"]] == ARMS
    assert len((folder / "runs/x/verify.jsonl").read_text().splitlines()) == 10
    assert verified["sentence"] in (folder / "runs/x/report.html").read_text()

    gradsift("report", "runs/x", "-o", "page.html", cwd=folder)
    page = (folder / "page.html").read_text()
    assert "width" in page
    assert verified["sentence"] in page


def test_any_cure_is_verified_and_what_a_person_has_reviewed(folder):
    found = json.loads(gradsift("audit", *MODEL, "--data", "train.npz", "-o", "runs/arms", "--json", cwd=folder).stdout)
    table = pq.read_table(folder / "runs/arms/scores.parquet")
    reviewed = table["flagged"].to_numpy().copy()
    reviewed[np.flatnonzero(reviewed)[0]] = False  # a person keeps one of the flagged samples
    edited = table.set_column(table.column_names.index("flagged"), "flagged", pa.array(reviewed))
    pq.write_table(edited, folder / "reviewed.parquet")
    arguments = ("verify", "runs/arms", "--test", "test.npz", "--seeds", 1)
    asked = ("--arm", "drop", "--arm", "soft", "--arm", "relabel", "--reviewed", "reviewed.parquet")
    refused = gradsift(*arguments, "--train", "project:train", *asked, cwd=folder, check=False)
    assert refused.returncode == 1
    assert "train_fn.accepts = {'soft'}" in refused.stderr.replace("\n", " ")
    done = gradsift(*arguments, "--train", "project:train_softly", *asked, "--json", cwd=folder)
    verified = json.loads(done.stdout)
    removed = {arm["arm"]: arm["removed"] for arm in verified["arms"]}
    flagged = found["flagged"]
    assert (removed["drop"], removed["reviewed"]) == (str(flagged), str(flagged - 1))
    assert removed.keys() == {
        "no change", f"random drop of {flagged - 1}", f"random drop of {flagged}", "smoothing 0.3", "smoothing 0.1",
        "self-distillation", "drop", "soft", "relabel", "reviewed",
    }  # fmt: skip
    against = {(one["arm"], one["control"]) for one in verified["comparisons"] if one["judged_by_it"]}
    assert ("reviewed", f"random drop of {flagged - 1}") in against
    assert verified["sentence"] in (folder / "runs/arms/report.html").read_text()
    told = gradsift(*arguments, "--train", "project:train", "--reviewed", "reviewed.parquet", cwd=folder)
    assert f"One seed says nothing: removing {flagged - 1} samples (reviewed)" in told.stdout


def test_a_run_replays_from_its_config(folder):
    gradsift("audit", *MODEL, "--data", "train.csv", "--layers", "all", "--seed", 3, "-o", "runs/first", cwd=folder)
    gradsift("audit", "--config", "runs/first/config.yaml", "--trust", "project:make", "-o", "runs/second", cwd=folder)
    names = ("scores.parquet", "config.yaml", "manifest.json", "report.html")
    assert all((folder / "runs/first" / n).read_bytes() == (folder / "runs/second" / n).read_bytes() for n in names)


def test_shares_are_held_by_flags_and_on_replay(folder):
    held = ("--contamination", 0.1, "--hold-classes", "--groups", "true")
    gradsift("audit", *MODEL, "--data", "train.parquet", *held, "-o", "runs/held", cwd=folder)
    gradsift("audit", "--config", "runs/held/config.yaml", "--trust-run", "-o", "runs/held-again", cwd=folder)
    tables = [pq.read_table(folder / name / "scores.parquet") for name in ("runs/held", "runs/held-again")]
    assert tables[0].equals(tables[1])
    given, flagged = tables[0]["given_label"].to_numpy(), tables[0]["flagged"].to_numpy()
    assert np.bincount(given[flagged]).tolist() == pytest.approx(0.1 * np.bincount(given), abs=3)
    missing = gradsift(
        "audit", *MODEL, "--data", "train.parquet", "--groups", "no", "-o", "runs/n", cwd=folder, check=False
    )
    assert "no column 'no'" in missing.stderr


def test_npz_and_a_person_reading(folder):
    done = gradsift("audit", *MODEL, "--data", "train.npz", "-o", "runs/npz", "--contamination", 0.1, cwd=folder)
    assert "18 of 180 samples (10.00 %) are flagged" in done.stdout
    assert "closed form" in done.stdout
    assert "The worst samples" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (("--data", "train.npz"), "--model is missing"),
        ((*MODEL, "--data", "nothing.npz"), "does not exist"),
        (("--model", "project:nothing", "--data", "train.npz"), "cannot be imported"),
        (("--model", "project", "--data", "train.npz"), "module:function for a model of your own"),
        ((*MODEL, "--data", "train.npz", "--contamination", "0.7"), "(0, 0.5]"),
        ((*MODEL, "--data", "train.npz", "--contamination", "many"), "a number or auto"),
        ((*MODEL, "--data", "train.npz", "--layers", "tail.*"), "modules with parameters are"),
        ((*MODEL, "--data", "train.npz", "--detector", "l7"), "choose among"),
        ((*MODEL, "--data", "train.npz", "--device", "cuda:9"), "device"),
        (("--model", "project:make", "--weights", "evil.pt", "--data", "train.npz"), "could run code"),
    ],
)
def test_what_does_not_work_is_said_with_exit_code_1(folder, arguments, phrase):
    (folder / "evil.pt").write_bytes(pickle.dumps(os.getcwd))
    done = gradsift("audit", *arguments, "-o", "runs/never", cwd=folder, check=False)
    assert done.returncode == 1
    assert phrase in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "runs/never").exists()


def test_wrong_usage_has_exit_code_2(folder):
    assert gradsift("audit", "--what", cwd=folder, check=False).returncode == 2
    assert gradsift("audit", *MODEL, cwd=folder, check=False).returncode == 2  # without -o


def test_help_teaches(folder):
    text = gradsift("--help", cwd=folder).stdout
    assert all(command in text for command in ("demo", "plan", "audit", "trim", "verify", "report", "Exit codes"))
    for command in ("demo", "plan", "audit", "trim", "verify", "report"):
        text = gradsift(command, "--help", cwd=folder).stdout
        assert "--json" in text
    assert gradsift("--version", cwd=folder).stdout.startswith("gradsift 0.")


def test_runs_made_from_python_say_so(folder, blobs, trained, tmp_path):
    import gradsift as library

    library.audit(trained, blobs[:2], output=tmp_path / "run", show_progress=False)
    done = gradsift("trim", tmp_path / "run", "-o", "x.npz", cwd=folder, check=False)
    assert done.returncode == 1
    assert "made from Python" in done.stderr


def test_the_demo(tmp_path):
    found = json.loads(gradsift("demo", "--seeds", 1, "--json", cwd=tmp_path).stdout)
    assert found["precision"] > 0.9
    assert found["recall"] > 0.9
    assert found["detection"]["posterior"]["ap"] > 0.9
    gains = {(one["arm"], one["control"]): one["mean"] for one in found["verification"]["comparisons"]}
    assert min(gains["drop", "no change"], gains["soft", "no change"], gains["drop", "random drop"]) > 3
    assert "One seed says nothing" in found["verification"]["sentence"]
    page = (tmp_path / found["report"]).read_text()
    assert (
        page.count("data:image/png;base64,") >= 24
    )  # previews of the worst digits, and of those that are almost the same
    assert found["verification"]["sentence"] in page


def test_flags_beside_a_config_are_not_silently_ignored(folder):
    gradsift("audit", *MODEL, "--data", "train.npz", "-o", "runs/saved", cwd=folder)
    done = gradsift(
        "audit", "--config", "runs/saved/config.yaml", "--seed", 3, "-o", "runs/other", cwd=folder, check=False
    )
    assert done.returncode == 1
    assert "--seed would be ignored" in done.stderr.replace("\n", " ")


def test_columns_left_out_and_what_the_fingerprint_covers_are_told(folder):
    arguments = ("audit", *MODEL, "--data", "train.parquet", "-o", "runs/noted", "--json")
    found = json.loads(gradsift(*arguments, cwd=folder).stdout)
    assert found["data_fingerprint_covers"] == "all samples"
    assert any("no features: true, comment. Write them as numbers" in warning for warning in found["warnings"])
    assert "no features: true, comment" in (folder / "runs/noted/report.html").read_text()


def test_output_that_nobody_reads_to_its_end_is_no_fault():
    command = [sys.executable, "-m", "gradsift", "--help"]  # imports little
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
