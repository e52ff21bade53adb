"""``gradsift geometry`` as a real process."""

import json

import pytest

from tests.support.in_process import gradsift
from tests.support.project import MODEL


@pytest.fixture(scope="module")
def run(folder):
    gradsift("audit", *MODEL, "--data", "train.parquet", "-o", "runs/geometry", cwd=folder)
    return "runs/geometry"


def test_the_health_check_reads_as_a_table_and_joins_the_report(folder, run):
    done = gradsift(
        "geometry", run, "--trust", "project:make", "--curvature", "last; 0.*,2.*", "--max-samples", 100, cwd=folder
    )
    assert "DNC1" in done.stdout
    assert "of the given labels" in done.stdout
    content = json.loads((folder / run / "geometry.json").read_text())
    assert [layer["name"] for layer in content["collapse"]["layers"]] == ["0", "2"]
    assert [one["spectrum"]["size"] for one in content["curvature"]] == [24, 16 + 8 + 24 + 3]
    assert "Can gradients tell?" in (folder / run / "report.html").read_text()
    printed = json.loads(
        gradsift("geometry", run, "--trust", "project:make", "--layers", "last", "--json", cwd=folder).stdout
    )
    assert len(printed["collapse"]["layers"]) == 1
    assert printed["curvature"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--layers", "nothing.*"), "no module that runs matches"),
        (("--pooling", "max"), "--pooling is mean or flatten"),
        (("--curvature", "last", "--matrix", "fisher"), "unknown matrix 'fisher'"),
    ],
)
def test_bad_input(folder, run, arguments, words):
    done = gradsift("geometry", run, "--trust", "project:make", *arguments, cwd=folder, check=False)
    assert done.returncode == 1
    assert words in done.stderr.replace("\n", " ")
