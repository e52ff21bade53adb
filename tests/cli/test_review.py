"""``gradsift review``: what it refuses before a page is served, and where it finds the data."""

import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import gradsift
from gradsift.cleaning.decisions import Decisions
from gradsift.cli.app import app
from tests.support.reviewed import audited, data_with_flips


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    audited(folder / "run")
    inputs, given, _ = data_with_flips()
    np.savez(folder / "data.npz", x=inputs, y=given)
    np.savez(folder / "other.npz", x=inputs[::-1], y=given)
    return folder / "run"


@pytest.fixture
def served(monkeypatch):
    """Serves nothing; keeps what would have been served."""
    calls = []

    class Server:
        def __init__(self, settings):
            self.settings = settings

        def run(self, sockets):
            calls.append((self.settings.app, sockets[0].getsockname()))

    monkeypatch.setattr("uvicorn.Server", Server)
    return calls


def review(run, *options):
    return CliRunner().invoke(app, ["review", str(run), "--no-browser", *options])


def failure(result):
    return f"{result.exception}" if result.exception is not None else ""


def test_the_link_is_printed_and_bound_to_this_machine(run, served):
    result = review(run, "--data", str(run.parent / "data.npz"))
    assert result.exit_code == 0, result.output
    (_, (host, port)) = served[0]
    assert host == "127.0.0.1"
    assert f"http://127.0.0.1:{port}/?token=" in result.output
    with Decisions.open(run):  # the server has let go of it
        pass


def test_a_run_from_python_is_reviewed_without_its_data(run, served):
    result = review(run)
    assert result.exit_code == 0, result.output
    assert "--data FILE" in result.output
    assert served


def test_a_host_beyond_this_machine_needs_tokens(run, served, tmp_path):
    result = review(run, "--host", "0.0.0.0")
    assert "--token-file" in failure(result)
    assert "everybody on that network" in failure(result)
    assert not served
    (tmp_path / "tokens").write_text("ann " + "x" * 40)
    (tmp_path / "tokens").chmod(0o600)
    assert review(run, "--host", "0.0.0.0", "--token-file", str(tmp_path / "tokens")).exit_code == 0
    assert served[0][1][0] == "0.0.0.0"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data", "other.npz"], "not the one that was audited"),
        (["--data", "none.npz"], "does not exist"),
        (["--keys", "none.yaml"], "cannot be read"),
        (["--token-file", "none"], "cannot be read"),
        (["--host", "203.0.113.7", "--token-file", "tokens"], "cannot listen on 203.0.113.7"),
    ],
)
def test_what_does_not_work_is_said_before_anything_is_served(run, served, monkeypatch, options, words):
    monkeypatch.chdir(run.parent)
    (run.parent / "tokens").write_text("x" * 40)
    (run.parent / "tokens").chmod(0o600)
    result = review(run, *options)
    assert isinstance(result.exception, gradsift.GradsiftError)
    assert words in failure(result)
    assert not served


def test_a_second_server_on_the_same_run_is_told_of_the_first(run, served):
    with Decisions.open(run):
        assert "another process reviews" in failure(review(run))
    assert not served


def test_a_missing_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'gradsift[review]'" in failure(review(run))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    assert "no run directory" in failure(review(tmp_path / "nothing"))
