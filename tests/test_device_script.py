"""The script for a machine with a GPU runs whole on the CPU, goes on where it stopped, and its rows come back."""

import importlib.util
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
PARTS = {
    "tests", "speed-resnet34", "speed-minilm", "speed-llama-1b-lora", "speed-roberta-large-lora", "speed-gpt2", "audit",
    "cifar10n", "speed-resnet18", "speed-encoder", "speed-lstm",
}  # fmt: skip


def run(tmp_path, *options):
    """The script's code and what it said."""
    places = {"DEVICE_STATE": str(tmp_path / "state"), "OUT": str(tmp_path / "out"), "PYTHON": sys.executable}
    command = ["sh", str(SCRIPTS / "device.sh"), "--device", "cpu", "--small", *options]
    ended = subprocess.run(command, env=os.environ | places, capture_output=True, text=True)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.slow
def test_every_part_runs_on_the_cpu_and_is_not_run_again(tmp_path):
    code, said = run(tmp_path, "--seconds", "1500")
    assert code == 0, said
    assert {line.split(":")[0] for line in said.splitlines() if ": done," in line} == PARTS
    kept = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert kept == ["gain.parquet", "logs.txt", "parts.txt", "whole_audit.jsonl"]
    code, said = run(tmp_path)
    assert code == 0
    assert said.count("finished before") == len(PARTS)


@pytest.mark.slow
def test_a_part_that_has_no_time_left_is_said_and_left_for_the_next_call(tmp_path):
    code, said = run(tmp_path, "--seconds", "1", "--only", "tests audit")
    assert code == 0
    assert [line for line in said.splitlines() if "no time" in line] == ["tests: no time left", "audit: no time left"]
    assert not list((tmp_path / "state").glob("*.done"))


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_python_that_lacks_packages_is_told_which_and_what_to_do(tmp_path, monkeypatch):
    offline = script("offline_packages")

    def version(name):
        if name in ("typer", "rich"):
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(offline, "version", version)
    monkeypatch.setattr(sys, "argv", ["offline_packages.py", str(tmp_path / "site"), str(tmp_path / "wheels")])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit, match=r"lacks typer, rich: .*WHEELS='typer rich' scripts/device.sh --prepare"):
        offline.main()
    (about,) = (tmp_path / "site").glob("gradsift-*.dist-info/METADATA")
    assert "Name: gradsift" in about.read_text()


def test_rows_that_come_back_stand_beside_the_others_and_newer_ones_replace_older_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    collect = script("collect_rows")
    monkeypatch.setattr(collect, "RESULTS", tmp_path / "here")
    monkeypatch.setattr(sys, "argv", ["collect_rows.py", str(tmp_path / "back")])
    common = {"device": "cuda", "measure": "time", "peer": "gradsift", "job": "L2"}
    for place, values in {"here": [("mlp", 1.0), ("gpt2", 2.0)], "back": [("gpt2", 9.0), ("minilm", 3.0)]}.items():
        (tmp_path / place).mkdir()
        lines = [json.dumps(common | {"model": model, "ms": ms}) + "\n" for model, ms in values]
        (tmp_path / place / "speed.jsonl").write_text("".join(lines))
    collect.main()
    found = [json.loads(line) for line in (tmp_path / "here" / "speed.jsonl").read_text().splitlines()]
    assert {row["model"]: row["ms"] for row in found} == {"mlp": 1.0, "gpt2": 9.0, "minilm": 3.0}
