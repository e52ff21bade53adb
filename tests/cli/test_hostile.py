"""Names that a stranger has given, through every command to the terminal and the page."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from gradsift.printable import printable
from tests.support.hostile import HOSTILE
from tests.support.in_process import gradsift, words

PROJECT = """
import torch

def make():
    torch.manual_seed(0)
    return torch.nn.Linear(2, 3)

def train(dataset, *, seed):
    return make().eval()

def fails(dataset, *, seed):
    raise ValueError("[/INST] \\x1b]0;title\\x07 " + dataset[2])
"""
CLASSES = ["[/INST]", "\x1b]0;title\x07<script>alert(1)</script>", "[bold]\u202egnp\n\x9b31m"]
RUN = "runs/[bold]x"
FILE = "tr[bold]ain\x1b[31m.parquet"
TRUST = ("--trust", "users_hostile:make")
COMMANDS = {
    "plan": ("plan", "--model", "users_hostile:make", "--data", FILE),
    "trim": ("trim", RUN, "-o"),
    "report": ("report", RUN),
    "influence": ("influence", RUN, *TRUST, "--target", FILE),
    "self": ("influence", RUN, *TRUST, "--self"),
    "geometry": ("geometry", RUN, *TRUST),
    "verify": ("verify", RUN, "--train", "users_hostile:train", "--test", FILE, "--seeds", 2),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    place = tmp_path_factory.mktemp("hostile")
    (place / "users_hostile.py").write_text(PROJECT)
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    inputs = (np.array([[0, 4], [4, -2], [-4, -2]])[labels] + generator.normal(size=(60, 2))).astype(np.float32)
    columns = {
        "w[/]idth\x1b[1m": inputs[:, 0],
        "<b>height</b>": inputs[:, 1],
        "label": [CLASSES[label] for label in labels],
        "id": [HOSTILE[place % len(HOSTILE)] for place in range(60)],
    }
    pq.write_table(pa.table(columns), place / FILE)
    torch.manual_seed(0)
    save_file(torch.nn.Linear(2, 3).state_dict(), place / "w.safetensors")
    return place


@pytest.fixture(autouse=True)
def inside(project, monkeypatch):
    monkeypatch.chdir(project)
    yield
    sys.modules.pop("users_hostile", None)


def harmless(text):
    assert not [char for char in text if char != "\n" and printable(char) != char]


@pytest.fixture
def run(project):
    if not (project / RUN).exists():
        given = (
            "--model",
            "users_hostile:make",
            "--weights",
            "w.safetensors",
            "--data",
            FILE,
            "--contamination",
            "0.1",
        )
        done = gradsift("audit", *given, "-o", RUN, check=False)
        assert done.returncode == 0, words(done)
        harmless(done.stdout + done.stderr)
        assert "'[/INST]'" in done.stdout
        assert RUN in done.stdout
    return RUN


@pytest.mark.parametrize("as_json", [False, True], ids=["words", "json"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_names_as_text(command, as_json, run, project):
    arguments = COMMANDS[command]
    if command == "trim":
        arguments = (*arguments, f"[red]{as_json}\x1b[2J.parquet")
    done = gradsift(*arguments, *(["--json"] if as_json else []), check=False)
    assert done.returncode == 0, words(done)
    harmless(done.stdout + done.stderr)
    if as_json:
        json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    page = (project / RUN / "report.html").read_text()
    harmless(page.replace("\t", ""))
    assert "<script>alert" not in page
    assert "[/INST]" in page
    assert "<b>height" not in page


@pytest.mark.parametrize("name", HOSTILE)
def test_every_message_shows_names_as_text(name, run):
    given = ("audit", "--model", "users_hostile:make", "-o", "runs/never")
    places = slice(HOSTILE.index(name) % 3, None, 3)  # a third of the places for each name
    for arguments in [
        (*given, "--data", FILE, "--label", name), (*given, "--data", name), (*given, "--data", FILE, "--task", name),
        (*given, "--data", FILE, "--layers", name), (*given, "--data", FILE, "--groups", name), ("trim", name, "-o", "x"),
        (*given, "--data", FILE, "--detector", name), (name,), ("audit", "--" + name), ("trim", run, "-o", name),
        ("verify", run, "--train", name, "--test", FILE), ("influence", run, "--self", "--set", name),
        ("influence", run, "--self", "--method", name), ("report", run, "-o", name), (*given, "--config", name),
    ][places]:  # fmt: skip
        if any("\0" in word for word in map(str, arguments)):
            continue  # no operating system hands such an argument over
        done = gradsift(*arguments, check=False)
        assert done.returncode in (1, 2), (arguments, words(done))
        harmless((done.stdout + done.stderr).replace("\t", ""))
        assert "Traceback" not in words(done)
        assert "fault of gradsift" not in words(done), (arguments, words(done))


def test_what_a_users_own_code_raises_is_shown_with_its_lines_alone(run):
    given = ("verify", run, "--train", "users_hostile:fails", "--test", FILE, "--seeds", 1)
    done = gradsift(*given, check=False)
    assert done.returncode == 1
    harmless(done.stdout + done.stderr)
    assert "Your code failed" in done.stderr
    assert "users_hostile.py" in done.stderr
    assert "in fails" in done.stderr
    assert "retraining" not in done.stderr
