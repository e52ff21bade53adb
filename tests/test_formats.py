"""Runs and trajectories of every format that was ever written open for good: see tests/formats/make.py."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from gradsift import Audit
from gradsift.cli.app import app
from gradsift.table import COLUMNS
from gradsift.trajectory import Trajectory

FORMATS = Path(__file__).parent / "formats"
RELEASED = sorted(folder.name for folder in FORMATS.iterdir() if (folder / "run").is_dir())


@pytest.fixture(params=RELEASED)
def released(request, monkeypatch):
    """Folder of one format, relative to the working directory, as its config names its files."""
    monkeypatch.chdir(FORMATS)
    return Path(request.param)


def test_a_run_opens(released):
    audit = Audit.open(released / "run")
    assert len(audit) == 40
    assert set(audit.flagged_positions) == {1, 2, 14, 29}
    assert audit.class_names == ["ant", "bee", "cat"]
    assert audit.gradients.norms(2).shape == (40,)
    assert audit.table.column_names[: len(COLUMNS)] == list(COLUMNS)
    assert audit.table["wrong_probability"].null_count == 40  # these formats do not have it
    assert audit.details["data_fingerprint"]


def test_a_trajectory_opens(released):
    trajectory = Trajectory.open(released / "trajectory")
    assert len(trajectory) == 3
    assert trajectory.size == 40
    assert np.isfinite(trajectory.mean("l2")).all()
    assert trajectory.predictions.shape == (40, 3)


def test_a_run_is_trimmed(released, tmp_path):
    outcome = CliRunner().invoke(app, ["trim", str(released / "run"), "-o", str(tmp_path / "clean.parquet")])
    assert outcome.exit_code == 0, outcome.output
    source, clean = pq.read_table(released / "train.parquet"), pq.read_table(tmp_path / "clean.parquet")
    assert clean.equals(source.take([position for position in range(40) if position not in (1, 2, 14, 29)]))


def test_a_page_is_made_of_a_run(released, tmp_path):
    page = Audit.open(released / "run").report(tmp_path / "page.html")
    assert "<title>" in page.read_text()


def test_the_first_format_is_there():
    assert json.loads((FORMATS / "v1" / "run" / "manifest.json").read_text())["format"] == 1
