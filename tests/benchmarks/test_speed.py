"""The speed benchmark's own arithmetic: rows that replace each other, goals, comparisons, the page, one tiny run."""

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from frame.rows import add, read

from tests.support.killed import ends_as

SPEED = Path(__file__).resolve().parents[2] / "benchmarks" / "speed"


@pytest.fixture
def speed(monkeypatch):
    """Imports a module of the benchmark's folder, which is a script and no package."""
    own = {path.stem for path in SPEED.glob("*.py")}
    before = {name: module for name, module in sys.modules.items() if name in own}
    for name in own:
        sys.modules.pop(name, None)
    monkeypatch.syspath_prepend(str(SPEED))
    yield __import__
    for name in own:
        sys.modules.pop(name, None)
    sys.modules.update(before)


def row(peer, job, work, model="mlp", measure="time", **more):
    common = {"device": "cpu", "machine": "a CPU", "model": model, "size": 4, "version": peer}
    timed = {"ms": 2.0, "forward": 3.0, "training": 1.0, "rounds": 5, "covers": 1.0} if measure == "time" else {}
    return common | {"measure": measure, "peer": peer, "job": job, "work": work} | timed | more


def test_a_newer_row_replaces_an_older_one_and_keeps_its_place(speed, tmp_path):
    key, path = speed("goals").ROWS.key, tmp_path / "speed.jsonl"
    add(path, [row("gradsift", "L2", "L2", ms=1.0), row("loop", "L2", "L2")], key)
    add(path, [row("gradsift", "L2", "L2", ms=9.0), row("gradsift", "L2", "L2", measure="memory")], key)
    found = read(path)
    assert [(one["peer"], one["measure"]) for one in found] == [
        ("gradsift", "time"),
        ("loop", "time"),
        ("gradsift", "memory"),
    ]
    assert found[0]["ms"] == 9.0


def test_the_fastest_peer_is_a_peer_that_was_not_refused(speed):
    found = speed("goals").Found([
        row("gradsift", "L2", "L2"),
        row("loop", "L2", "L2", against=0.1),
        row("opacus", "ghost norm", "L2", against=1.5),
        row("BackPACK", "BatchL2Grad", "L2", against=1.2),
        row("kronfluence", "self-scores", "L2", refused="no"),
        row("vmap(grad)", "L2", "L2", model="gpt2", against=4.0),
    ])  # fmt: skip
    assert found.fastest("L2") == {"mlp": 1.2, "gpt2": 4.0}
    assert [one["job"] for one in found.rivals("L2", "mlp")] == ["BatchL2Grad", "ghost norm"]
    assert speed("goals").ghost_models(found) == {"mlp": 1.2}


def test_a_goal_is_judged_on_each_model_or_on_the_geometric_mean(speed):
    goals = speed("goals")
    values = {"mlp": 1.0, "gpt2": 4.0}
    assert goals.geometric_mean(values) == pytest.approx(2.0)
    most = goals.Goal("", {"cpu": 1.5}, lambda _: values)
    assert (most.worst(values), most.missed(values, "cpu")) == ("gpt2", ["gpt2"])
    least = goals.Goal("", {"cpu": 1.5}, lambda _: values, most=False)
    assert (least.worst(values), least.missed(values, "cpu")) == ("mlp", ["mlp"])
    mean = goals.Goal("", {"cpu": 1.5}, lambda _: values, most=False, mean=True)
    assert mean.missed(values, "cpu") == []


def test_memory_is_compared_with_a_training_pass_and_with_vmap(speed):
    goals = speed("goals")
    found = goals.Found([
        row("torch", "training pass", "", "minilm", "memory", megabytes=100.0),
        row("gradsift", "L2", "L2", "minilm", "memory", megabytes=90.0),
        row("gradsift", "L1 + L2", "L1 + L2", "minilm", "memory", megabytes=130.0),
        row("vmap(grad)", "L2", "L2", "minilm", "memory", megabytes=360.0),
        row("vmap(grad)", "L1 + L2", "L1 + L2", "minilm", "memory", megabytes=390.0),
    ])  # fmt: skip
    assert goals.beside_training(found) == {"minilm": pytest.approx(1.3)}
    assert goals.below_vmap(found) == {"minilm": pytest.approx(3.0)}


def test_the_page_names_what_was_missed_and_what_was_refused(speed, tmp_path, monkeypatch):
    page = speed("page")
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(page.ROWS, "read", lambda: [
        row("torch", "forward", "", training=0.3),
        row("torch", "training pass", ""),
        row("gradsift", "L2", "L2", training=1.4, error=2e-6),
        row("opacus", "ghost norm", "L2", against=0.5, error=1e-6),
        row("bergson", "L2", "L2", refused="takes `tokens` alone"),
    ])  # fmt: skip
    page.write()
    text = (tmp_path / "performance.md").read_text()
    assert "| exact L2 norms / a forward-backward pass | at most 1.1 | 1.40 |" in text
    assert "**missed**" in text
    assert "| L2 norms of all layers | 1.40 | 1.40 | 1.40 |" in text
    assert "the last layer, as by default" not in text  # which was not measured
    assert "0.50 (opacus)" in text
    assert "bergson" in text
    assert "takes tokens alone" in text
    assert (tmp_path / "performance-cpu.svg").read_text().startswith("<svg")


def test_jobs_are_chosen_by_work_and_peer_and_peers_have_processes_of_their_own(speed):
    command = runpy.run_path(str(SPEED / "__main__.py"), run_name="speed")
    chosen = command["chosen_jobs"]("L2", "opacus")
    assert {job.work for job in chosen} == {"", "L2"}
    groups = command["by_peer"](chosen)
    assert list(groups) == ["gradsift", "opacus"]
    plain = ["torch:forward", "torch:training pass", "torch:gradients of activations"]
    assert [job.key for job in groups["gradsift"]] == [*plain, "gradsift:L2"]
    assert {job.peer for job in command["chosen_jobs"]("all", "none")} == {"torch", "gradsift"}


def test_the_worker_times_gradsift_against_the_loop(speed, tmp_path):
    def work():
        os.dup2(os.open(tmp_path / "rows", os.O_CREAT | os.O_WRONLY), 1)
        jobs = "gradsift:L2;loop:L2;gradsift:projection"
        sys.argv = ["worker.py", "--model", "mlp", "--rounds", "1", "--threads", "1", "--jobs", jobs]
        speed("worker").main()

    assert ends_as(work) == 0
    ours, loop, projected = (json.loads(line) for line in (tmp_path / "rows").read_text().splitlines())
    assert ours["error"] < 1e-4
    assert ours["covers"] == 1
    assert loop["against"] > 1
    assert projected["kept"] == pytest.approx(1, abs=0.2)
