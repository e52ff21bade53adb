"""How the command line behaves in a terminal: quiet, colours, completion, doctor, the demos beside the first one."""

import json

import numpy as np
import pytest
from rich.console import Console

from gradsift.cli import doctor
from gradsift.cli.commands import COMMANDS
from gradsift.cli.console import say
from gradsift.cli.pictures import blocks
from gradsift.cli.self_test import Check, self_test
from tests.support.in_process import gradsift, words
from tests.support.reviewed import audited


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("run") / "x"
    audited(place)
    return place


def test_quiet_prints_warnings_and_nothing_else(run):
    quiet = gradsift("show", run, "--quiet", check=False)
    assert quiet.stdout == ""
    assert "Without previews" in quiet.stderr
    assert json.loads(gradsift("show", run, "-q", "--json", check=False).stdout)["samples"] == 60
    assert "flagged" in gradsift("show", run, check=False).stdout  # one call's quiet is not the next one's


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_can_be_quiet_and_print_json(name):
    text = gradsift(name, "--help", check=False).stdout
    assert "--quiet" in text
    assert ("Print the result as JSON" in text) is (name != "review")  # which is a page


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_means_no_colours(environment, coloured, capsys):
    terminal = Console(force_terminal=True, color_system="truecolor", _environ=environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradsift.cli.console.console", terminal)
        patch.setattr("gradsift.cli.pictures.console", terminal)
        say("Warning", "yellow")
        terminal.print(blocks(np.full((4, 4, 3), 200, np.uint8)))
    out = capsys.readouterr().out
    assert ("\x1b[33m" in out) is coloured
    assert ("\x1b[38;2;" in out) is coloured


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_for_each_shell(shell, monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = gradsift("--show-completion", shell, check=False)
    assert done.returncode == 0
    assert "_GRADSIFT_COMPLETE" in done.stdout


def test_completion_knows_the_commands(monkeypatch):
    asked = {"_GRADSIFT_COMPLETE": "complete_bash", "COMP_WORDS": "gradsift expl", "COMP_CWORD": "1"}
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    done = gradsift(check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["explain"])


def test_the_doctor_finds_this_machine_well(monkeypatch):
    monkeypatch.setattr(doctor, "self_test", lambda device: [Check("tried", True, "", 0.1)])
    found = json.loads(gradsift("doctor", "--json", check=False).stdout)
    assert found["packages"]["numpy"] == np.__version__
    assert {extra["name"] for extra in found["extras"]} >= {"image", "hf", "curvature", "lightning"}
    assert "cpu" in found["devices"]
    assert found["passed"]


def test_the_doctor_says_what_to_install_and_what_fails(monkeypatch):
    monkeypatch.setattr(doctor, "self_test", lambda device: [Check("tried", False, "TypeError: no", 0.1)])
    here = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "peft" else here(name))
    done = gradsift("doctor", check=False)
    assert done.returncode == 1
    assert "without peft" in words(done)
    assert "pip install '.[hf]'" in words(done)
    assert "TypeError: no" in words(done)
    assert "put all of this into a bug report" in words(done)


def test_the_self_test_passes_and_says_what_breaks(monkeypatch):
    assert [check.problem for check in self_test()] == ["", "", "", ""]
    from gradsift.cli import self_test as module

    monkeypatch.setattr(module, "_checks", lambda folder, device: [("a", lambda: 1 / 0), ("b", lambda: "")])
    broken = self_test()
    assert [check.passed for check in broken] == [False, True]
    assert "ZeroDivisionError" in broken[0].problem


def test_pictures_are_characters_without_colours():
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:, 3:] = 255
    assert blocks(picture).plain.split("\n") == ["      @@@@@@"] * 4
    assert len(blocks(np.zeros((90, 120, 3), np.uint8)).plain.split("\n")[0]) == 2 * 20


def test_texts_of_ones_own_are_a_demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    vocabulary = {"good": ["fine", "great", "lovely"], "bad": ["awful", "poor", "dull"]}
    rows = [(label, " ".join(generator.choice(vocabulary[label], 4))) for label in ("good", "bad") for _ in range(30)]
    rows[3] = ("bad", rows[3][1])
    (tmp_path / "reviews.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for label, text in rows))
    done = gradsift("demo", "--text", "reviews.csv", "-o", "out", check=False)
    assert done.returncode == 0, done.stderr
    assert "60 texts" in done.stdout
    assert "position 3," in done.stdout
    assert rows[3][1] in done.stdout
    assert "Next: gradsift correct out/run -o better.csv --how drop" in words(done)
    assert gradsift("correct", "out/run", "-o", "better.csv", "--how", "drop", check=False).returncode == 0
    (tmp_path / "numbers.csv").write_text("a,label\n1,x\n2,y\n")
    refused = gradsift("demo", "--text", "numbers.csv", check=False)
    assert refused.returncode == 1
    assert "rename the column of texts to text" in words(refused)


def test_the_table_is_a_demo_with_something_to_gain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = json.loads(gradsift("demo", "--table", "--seeds", 1, "--json", check=False).stdout)
    assert found["precision"] > 0.7
    assert found["recall"] > 0.7
    gains = {(one["arm"], one["control"]): one["mean"] for one in found["verification"]["comparisons"]}
    assert gains["drop", "no change"] > 2
    assert gains["drop", "random drop"] > 2
