"""``gradsift improve`` as a real process."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.clouds import blobs
from tests.support.in_process import gradsift

PROJECT = """
import numpy as np
from sklearn.neighbors import KNeighborsClassifier

def train(dataset, *, seed):
    inputs, labels = (np.asarray(part) for part in dataset)
    kept = np.random.default_rng(seed).permutation(len(labels))[: int(0.9 * len(labels))]
    return KNeighborsClassifier(1).fit(inputs[kept], labels[kept])
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    place = tmp_path_factory.mktemp("improve")
    (place / "project.py").write_text(PROJECT)
    words = np.array(["ash", "birch", "cedar"])
    for name, (features, true, given), labels in (("train", blobs(400), 2), ("test", blobs(300, rate=0, seed=1), 1)):
        columns = {f"x{place}": column for place, column in enumerate(features.T)}
        pq.write_table(pa.table(columns | {"label": words[(features, true, given)[labels]]}), place / f"{name}.parquet")
    return place


def test_one_command_gives_the_better_data_set_and_the_proof(project):
    arguments = [
        "improve",
        "--train",
        "project:train",
        "--data",
        "train.parquet",
        "--test",
        "test.parquet",
        "--folds",
        2,
    ]
    arguments += ["--trainings", 8, "--seeds", 2, "-o", "runs/better"]
    done = gradsift(*arguments, cwd=project)
    assert "Held-out samples say that this helps" in done.stdout
    assert "At most 8 trainings for evidence (2 folds) and choice" in done.stderr
    result = json.loads((project / "runs/better/result.json").read_text())
    before, after = (pq.read_table(project / name) for name in ("train.parquet", "runs/better/better.parquet"))
    if result["choice"]["how"] == "drop":
        assert len(after) == 400 - result["choice"]["comparisons"][0]["changed"]
    else:
        assert after["gradsift_given_label"].to_pylist() == before["label"].to_pylist()
    assert "birch" in (project / "runs/better/report.html").read_text()
    again = json.loads(gradsift(*arguments, "--json", cwd=project).stdout)
    assert again["choice"] == result["choice"]


def test_an_output_that_would_hold_its_own_data_is_refused(project):
    (project / "data").mkdir()
    (project / "data" / "better.parquet").write_bytes((project / "train.parquet").read_bytes())
    done = gradsift(
        "improve", "--train", "project:train", "--data", "data/better.parquet", "-o", "data", cwd=project, check=False
    )
    assert done.returncode == 1
    assert "is what an improvement in data would write: choose another folder" in done.stderr


@pytest.mark.usefixtures("few_rounds")
def test_features_of_a_frozen_model_are_enough(project):
    features, _, given = blobs(400)
    np.save(project / "features.npy", np.tile(features, 3))
    arguments = ["improve", "--data", "train.parquet", "--features", "features.npy", "--folds", 2, "-o", "runs/heads"]
    result = json.loads(gradsift(*arguments, "--json", cwd=project).stdout)
    assert result["trainings"] == {"cross-fit": 0, "choice": 0, "final": 0, "proof": 0}
    assert result["choice"]["comparisons"]
    np.savez(project / "several.npz", features=features, given=given)
    done = gradsift(*arguments[:4], "several.npz", "-o", "runs/other", cwd=project, check=False)
    assert done.returncode == 1
    assert "several.npz holds several arrays: save one as .npy with numpy.save" in done.stderr
