"""gradsift correct, as a real process."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradsift import Audit
from gradsift.cleaning.decision import Decision
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.sample_content import SampleContent
from tests.support.in_process import gradsift
from tests.support.pretrained import save, tokenizer
from tests.support.project import MODEL
from tests.support.tagged import NAMES, WORDS, sentences


@pytest.fixture(scope="module")
def run(folder):
    gradsift("audit", *MODEL, "--data", "train.csv", "--label", "label", "--contamination", "0.1",
             "-o", "runs/correct", "--ignore", "true", cwd=folder)  # fmt: skip
    return folder


def test_every_cure_by_command(run):
    before = (run / "train.csv").read_bytes()
    flagged = pq.read_table(run / "runs/correct/scores.parquet").to_pandas().query("flagged")
    said = gradsift("correct", "runs/correct", "-o", "relabelled.csv", "--how", "relabel", cwd=run)
    assert "not proven" in said.stdout
    plain, relabelled = pd.read_csv(run / "train.csv"), pd.read_csv(run / "relabelled.csv")
    assert relabelled["gradsift_given_label"].tolist() == plain["label"].tolist()
    changed = np.flatnonzero(relabelled["label"] != plain["label"])
    assert set(changed) == set(flagged.index[flagged["suggested_label"].notna()])
    assert (relabelled["label"] == plain["true"]).mean() > (plain["label"] == plain["true"]).mean()
    for how, column in (("soft", "gradsift_target"), ("weight", "gradsift_weight")):
        gradsift("correct", "runs/correct", "-o", f"{how}.csv", "--how", how, cwd=run)
        found = pd.read_csv(run / f"{how}.csv")
        assert list(found.columns) == [*plain.columns, column]
    assert all(len(json.loads(one)) == 3 for one in pd.read_csv(run / "soft.csv")["gradsift_target"])
    told = gradsift("correct", "runs/correct", "-o", "d.csv", "--how", "drop", "--share", "0.05", "--json", cwd=run)
    assert json.loads(told.stdout)["kept"] == 171 == len(pd.read_csv(run / "d.csv"))
    assert (run / "train.csv").read_bytes() == before


def test_a_training_chooses_by_command(run):
    done = gradsift("correct", "runs/correct", "-o", "auto.csv", "--train", "project:train", "--trainings", "9",
                    "--folds", "3", "--json", cwd=run)  # fmt: skip
    told = json.loads(done.stdout)
    assert told["choice"]["trainings"] <= 9
    assert told["how"] in ("none", "drop", "relabel")
    assert len(pd.read_csv(run / "auto.csv")) == told["kept"]
    done = gradsift("correct", "runs/correct", "-o", "same.csv", cwd=run)
    assert "may have learnt these labels" in " ".join(done.stderr.split())
    assert (run / "same.csv").read_bytes() == (run / "train.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (("-o", "x.csv", "--how", "fix"), "unknown cure 'fix'"),
        (("-o", "train.csv", "--how", "drop"), "train.csv"),
        (("-o", "x.parquet", "--how", "soft"), "name it *.csv"),
        (("-o", "runs/correct/x.csv", "--how", "soft"), "lies in the run directory"),
        (("-o", "x.csv", "--how", "soft", "--share", "0.1"), "share is a number"),
        (("-o", "x.csv", "--how", "soft", "--train", "project:train"), "belongs to --how auto"),
        (("-o", "x.csv", "--share", "0.1"), "leave --share out"),
    ],
)
def test_what_does_not_work_is_said(run, arguments, phrase):
    done = gradsift("correct", "runs/correct", *arguments, cwd=run, check=False)
    assert done.returncode == 1
    assert phrase in done.stderr


def test_labels_of_words_are_written_by_command(tmp_path):
    names = {"num_labels": len(NAMES), "id2label": dict(enumerate(NAMES))}
    names |= {"label2id": {name: place for place, name in enumerate(NAMES)}}
    save(
        tmp_path / "model", "bert_token", tokenizer(special=True, words=WORDS, limit=32), vocab_size=len(WORDS), **names
    )
    rows, _ = sentences(size=40, wrong=4)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet")
    gradsift("audit", "--model", "model", "--data", "data.parquet", "--text", "tokens", "--label", "tags",
             "--contamination", "0.1", "-o", "run", cwd=tmp_path)  # fmt: skip
    tokens = pq.read_table(tmp_path / "run" / "tokens.parquet").to_pylist()
    gradsift("correct", "run", "-o", "new.parquet", "--how", "relabel", cwd=tmp_path)
    expected = [list(row["tags"]) for row in rows]
    for token in tokens:
        if token["flagged"]:
            expected[token["position"]][token["token"] - 1] = NAMES[token["suggested_label"]]  # behind <s>
    new = pq.read_table(tmp_path / "new.parquet")
    assert new["tags"].to_pylist() == expected != [row["tags"] for row in rows]
    assert new["gradsift_given_label"].to_pylist() == [row["tags"] for row in rows]
    with Decisions.open(tmp_path / "run") as decisions:
        content = SampleContent(Audit.open(tmp_path / "run")).hash(0)
        decisions.add([Decision(0, "row0", content, "ann", "relabel", [3] * 9)])
    gradsift("correct", "run", "-o", "reviewed.parquet", "--how", "reviewed", cwd=tmp_path)
    assert pq.read_table(tmp_path / "reviewed.parquet")["tags"].to_pylist() == [
        ["B-LOC"] * 9, *(row["tags"] for row in rows[1:])
    ]  # fmt: skip
