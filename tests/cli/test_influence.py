"""``gradsift influence`` as a real process, and what trim and verify make of its table."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.in_process import gradsift
from tests.support.project import MODEL


@pytest.fixture(scope="module")
def run(folder):
    gradsift("audit", *MODEL, "--data", "train.parquet", "-o", "runs/influence", cwd=folder)
    table = pq.read_table(folder / "test.parquet")
    groups = np.where(np.arange(len(table)) % 2, "f", "m")
    pq.write_table(table.append_column("sex", [groups]), folder / "groups.parquet")
    return "runs/influence"


def test_wrong_labels_harm_a_clean_target_and_the_table_trims(folder, run):
    found = json.loads(
        gradsift("influence", run, "--trust-run", "--target", "test.parquet", "--json", cwd=folder).stdout
    )
    table = pq.read_table(folder / run / "influence.parquet")
    wrong = pq.read_table(folder / "train.parquet", columns=["label", "true"]).to_pandas()
    wrong = (wrong["label"] != wrong["true"]).to_numpy()
    influence = table["influence"].to_numpy()
    assert influence[wrong].mean() < 0 < influence[~wrong].mean()
    assert np.array_equal(table["score"].to_numpy(), -influence)
    assert found["method"] == "influence_inner_product"
    assert found["most harmful"][0]["influence"] == influence.min()
    assert found["flagged"] == table["flagged"].to_numpy().sum()
    gradsift("trim", run, "--table", "runs/influence/influence.parquet", "-o", "by_influence.parquet", cwd=folder)
    assert pq.read_table(folder / "by_influence.parquet").num_rows == 180 - found["flagged"]
    arguments = ("--train", "project:train", "--test", "test.parquet", "--seeds", 2, "--json")
    before = (folder / run / "report.html").read_bytes()
    verified = gradsift("verify", run, "--table", "runs/influence/influence.parquet", *arguments, cwd=folder)
    assert len(json.loads(verified.stdout)["arms"]) == 3
    assert (folder / run / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--target", "test.parquet", "--method", "datainf", "--set", "damping=0.5", "--layers", "all"),
        ("--target", "test.parquet", "--method", "exact", "--contamination", "0.1", "--each"),
        ("--self", "--method", "cosine", "--layers", "0.*"),
        ("--target", "groups.parquet", "--objective", "demographic_parity", "--groups", "sex"),
        ("--target", "groups.parquet", "--objective", "equal_opportunity", "--groups", "sex"),
        ("--target", "test.parquet", "--objective", "adversarial", "--attack", "fgsm"),
    ],
)
def test_methods_and_objectives(folder, run, arguments):
    gradsift("influence", run, "--trust-run", *arguments, "-o", "out/one.parquet", cwd=folder)
    table = pq.read_table(folder / "out/one.parquet")
    assert np.isfinite(table["influence"].to_numpy()).all()
    if "--each" in arguments:
        each = np.stack(table["influence_each"].to_numpy())
        assert each.shape == (180, 180)
        assert np.allclose(each.mean(axis=1), table["influence"].to_numpy())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give --target FILE, or --self"),
        (("--target", "test.parquet", "--self"), "one of the two"),
        (("--target", "test.parquet", "--method", "magic"), "unknown method 'magic'"),
        (("--target", "test.parquet", "--set", "damping"), "--set takes name=value"),
        (("--target", "test.parquet", "--objective", "luck"), "unknown objective 'luck'"),
        (("--target", "test.parquet", "--objective", "equal_opportunity"), "--groups COLUMN goes with"),
        (("--target", "none.parquet"), "does not exist"),
    ],
)
def test_bad_input(folder, run, arguments, words):
    done = gradsift("influence", run, "--trust-run", *arguments, cwd=folder, check=False)
    assert done.returncode == 1
    assert words in done.stderr.replace("\n", " ")


def test_other_weights_are_refused(folder, run):
    import yaml

    from gradsift.store.checksums import with_digest

    config = yaml.safe_load((folder / run / "config.yaml").read_text())
    gradsift("audit", *MODEL, "--data", "train.parquet", "-o", "runs/stale", cwd=folder)
    config["source"]["weights"] = None
    (folder / "runs/stale/config.yaml").write_text(with_digest(yaml.safe_dump(config)))
    done = gradsift("influence", "runs/stale", "--trust-run", "--self", cwd=folder, check=False)
    assert "not the one that was audited" in done.stderr.replace("\n", " ")
