"""A small part of ``benchmarks/chaos``: a handful of each attack, and its own instruments."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from chaos import page
from chaos.contents import below, contents
from chaos.isolation import Child, Death, forked
from chaos.results import ATTACKS, keep, read
from chaos.stage import row, spread

import gradsift

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Rows of a handful of each attack, run in a process that has only imported gradsift."""
    folder = tmp_path_factory.mktemp("rows")
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/chaos", "--small", "--jobs", "1", "--results", folder],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    found = {name: read(name, folder) for name in ATTACKS}
    assert all(found.values()), done.stdout + done.stderr
    return found


@pytest.mark.parametrize("name", ATTACKS)
def test_a_handful_of_each_attack_does_no_harm(rows, name):
    assert not [(row["case"], row["outcome"], row["detail"]) for row in rows[name] if row["failed"]]


def write_twice():
    Path("a").write_text("first")
    Path("b").write_bytes(b"0" * 5000)
    return "written"


def refuse():
    raise gradsift.DataError("no such thing")


def test_a_child_returns_what_its_action_returned(tmp_path):
    ended = forked(write_twice, tmp_path)
    assert (ended.kind, ended.value, ended.operations) == ("done", "written", 2)
    assert contents(tmp_path).keys() == {"a", "b"}


def test_a_child_dies_before_the_operation_that_was_named(tmp_path):
    ended = forked(write_twice, tmp_path, death=Death(operation=1))
    assert ended.kind == "killed"
    assert (tmp_path / "a").read_text() == "first"
    assert not (tmp_path / "b").exists()


def test_a_child_dies_in_the_middle_of_a_write(tmp_path):
    ended = forked(write_twice, tmp_path, death=Death(size=4096))
    assert ended.kind == "killed"
    assert (tmp_path / "b").stat().st_size == 4096


def test_a_disk_is_full_from_some_operation_on(tmp_path):
    ended = forked(write_twice, tmp_path, death=Death(full=1))
    assert ended.kind == "traceback"
    assert "No space left" in ended.words


def test_ends_are_told_apart(tmp_path):
    assert forked(refuse, tmp_path).kind == "refused"
    assert forked(lambda: sys.exit("wrong usage"), tmp_path).kind == "refused"
    assert forked(lambda: 1 / 0, tmp_path).kind == "traceback"
    assert forked(lambda: time.sleep(60), tmp_path, timeout=0.1).kind == "hang"
    assert forked(lambda: os.kill(os.getpid(), signal.SIGTERM), tmp_path).kind == "killed"


def test_a_child_waits_at_its_gate(tmp_path):
    gate = os.pipe()
    child = Child(lambda: Path("began").write_text(""), tmp_path, gate=gate[0])
    assert not (tmp_path / "began").exists()
    os.write(gate[1], b"!")
    assert child.wait().kind == "done"
    assert (tmp_path / "began").exists()


def test_contents_leave_out_what_differs_between_equal_runs(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    for folder, seconds in ((first, 0.25), (second, 31.5)):
        (folder / "run").mkdir(parents=True)
        (folder / "run/timing.json").write_text(str(seconds))
        (folder / "run/verify.jsonl").write_text(f'{{"arm": "a", "seed": 0, "value": 1, "seconds": {seconds}}}\n')
        (folder / "run/verify.json").write_text(f'{{"seconds": {seconds}}}')
    assert contents(first) == contents(second)
    assert below(contents(first), "run").keys() == {"", "/verify.jsonl", "/verify.json"}


@pytest.mark.parametrize(("count", "expected"), [(3, [0, 4, 9]), (1, [0]), (20, list(range(10)))])
def test_cases_are_spread(count, expected):
    assert spread(range(10), count) == expected


def test_the_page_sets_what_failed_beside_the_goals(tmp_path):
    good = [row(f"audit, before operation {place}", "the same") for place in range(300)]
    keep("kills", 0, good, tmp_path)
    keep("pairs", 0, [row("audit, 1 ms apart", "hang", failed=True, detail="<b>stuck</b>")], tmp_path)
    page.write(tmp_path, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "(≥ 300 attempts) | 300 | 0 | yes |" in text
    assert "(≥ 100 attempts) | 1 | 1 | **no** |" in text
    assert "* audit, 1 ms apart: hang (`b stuck /b`)" in text
