"""A run directory under attack: killed, flipped, written by two, in the way; the whole battery is benchmarks/chaos."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from gradsift import Audit
from gradsift.cli.app import app
from gradsift.errors import OutputError, RunDirectoryError, SettingError
from gradsift.store import RunDirectory
from gradsift.store.configuration import read_config
from gradsift.store.tables import write_table
from gradsift.writing import locks
from tests.support.killed import killed_at
from tests.support.small_run import CONFIG, fill, make, read


def contents(place):
    return {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_flipped_bit_anywhere_is_found_when_the_file_is_read(tmp_path):
    place, generator = make(tmp_path / "x"), np.random.default_rng(0)
    assert read(place) == ([3], CONFIG, {"seconds": 1})
    manifest = json.loads((place / "manifest.json").read_text())
    assert {f"{folder}/{name}" for folder, names in manifest["files"].items() for name in names} == {
        "./scores.parquet",
        *(f"gradients/checkpoint-000/shard-0000{shard}/{name}.npy" for shard in (0, 1) for name in ("l2", "loss")),
    }
    for path in contents(place):
        whole = (place / path).read_bytes()
        for place_of_bit in generator.integers(0, 8 * len(whole), 12):
            flipped = bytearray(whole)
            flipped[place_of_bit // 8] ^= 1 << place_of_bit % 8
            (place / path).write_bytes(flipped)
            with pytest.raises(RunDirectoryError):
                read(place)
        (place / path).write_bytes(whole)
    assert read(place) == ([3], CONFIG, {"seconds": 1})


def test_a_config_may_be_edited_in_a_copy_but_not_in_the_run(tmp_path):
    place = make(tmp_path / "x")
    edited = (place / "config.yaml").read_text().replace("4", "8")
    (tmp_path / "copy.yaml").write_text(edited)
    assert read_config(tmp_path / "copy.yaml")["settings"] == {"batch_size": 8}
    (place / "config.yaml").write_text(edited)
    with pytest.raises(SettingError, match="does not fit its digest"):
        read_config(place / "config.yaml")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_is_killed_anywhere_ends_with_the_same_bytes_and_loses_nothing(tmp_path, overwrite):
    wanted, kills = contents(make(tmp_path / "wanted", "new")), 0
    place = tmp_path / "here" / "x"
    for operation in range(0, 1000, 13):
        if overwrite:
            make(place, "old", overwrite=True)
        elif place.exists():
            shutil.rmtree(place)
        ended = killed_at(operation, lambda: make(place, "new", overwrite=overwrite))
        if place.exists():
            assert read(place)[0] == [3]  # whole
        elif overwrite:
            assert read(place.with_name(".x.old"))[0] == [3]  # for a moment
        if not ended:
            kills += 1
            make(place, "new", overwrite=True)
        assert contents(place) == wanted
        assert [path.name for path in place.parent.iterdir()] == ["x"]
        if ended:
            break
    assert ended
    assert kills > 8


HOLD = """
import sys
from gradsift.store import RunDirectory
with RunDirectory.begin(sys.argv[1], "f", {}) as run:
    print("holding", flush=True)
    sys.stdin.read()
"""


def test_of_two_processes_one_proceeds_and_the_other_is_told_at_once(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "x")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "holding\n"
    with pytest.raises(RunDirectoryError, match=r"another process is writing .*x: wait for it to end"):
        make(tmp_path / "x")
    other.communicate("")
    assert not list(tmp_path.iterdir())
    make(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_the_lock_of_systems_without_flock(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with RunDirectory.begin(tmp_path / "x", "f", CONFIG) as run:
        with pytest.raises(RunDirectoryError, match="another process is writing"):
            RunDirectory.begin(tmp_path / "x", "f", CONFIG)
        fill(run)
        run.finish()
    assert read(tmp_path / "x")[0] == [3]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def file_in_the_way(part):
    part.write_text("mine")


def link_in_the_way(part):
    (part.parent / "elsewhere").mkdir()
    (part.parent / "elsewhere" / "notes").write_text("mine")
    part.symlink_to(part.parent / "elsewhere")


def notes_in_the_way(part):
    part.mkdir()
    (part / "notes").write_text("mine")


def config_of_another_program(part):
    part.mkdir()
    (part / "config.yaml").write_text("colour: blue")


@pytest.mark.parametrize("obstacle", [file_in_the_way, link_in_the_way, notes_in_the_way, config_of_another_program])
def test_what_is_not_gradsifts_is_left_and_named(tmp_path, obstacle):
    obstacle(tmp_path / "x.part")
    before = contents(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(RunDirectoryError, match=r"x\.part is no run directory.*move it, or choose another place"):
            make(tmp_path / "x", overwrite=overwrite)
    assert contents(tmp_path) == before


def test_notes_in_a_run_are_not_lost_with_it(tmp_path):
    place = make(tmp_path / "x")
    (place / "thesis.tex").write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"also holds thesis\.tex, which is no part of a run"):
        make(place, "new", overwrite=True)
    assert (place / "thesis.tex").exists()
    (place / "thesis.tex").unlink()
    (place / "manifest.json").write_text("")  # damaged, and still gradsift's
    make(place, "new", overwrite=True)
    assert read(place)[0] == [3]


def test_an_unfinished_run_without_a_whole_shard_gives_way(tmp_path):
    run = RunDirectory.begin(tmp_path / "x", "other", CONFIG)
    run.write_shard(0, 0, {"loss": np.zeros(3)})
    run._lock.close()  # as a process that was killed
    (run.path / "gradients/checkpoint-000/shard-00000/loss.npy").write_bytes(b"cut")
    assert read(make(tmp_path / "x"))[0] == [3]


def test_tables_are_those_of_the_run_in_any_order(tmp_path):
    place, other = make(tmp_path / "x"), make(tmp_path / "other", "g")
    table = Audit.open(place).table
    write_table(table.take([3, 0, 4, 1, 2]), tmp_path / "sorted.parquet")
    assert Audit.open(place, table=tmp_path / "sorted.parquet").flagged_positions.tolist() == [3]
    write_table(table.take([0, 1, 2]), tmp_path / "less.parquet")
    with pytest.raises(RunDirectoryError, match=r"3 rows, .* 5 samples"):
        Audit.open(place, table=tmp_path / "less.parquet")
    write_table(table.take([0, 1, 2, 3, 3]), tmp_path / "twice.parquet")
    with pytest.raises(RunDirectoryError, match="several rows for the positions 3"):
        Audit.open(place, table=tmp_path / "twice.parquet")
    with pytest.raises(RunDirectoryError, match="of another model, or of other settings"):
        Audit.open(place, table=other / "scores.parquet")


def test_influence_replaces_no_file_of_the_user(tmp_path):
    place = make(tmp_path / "x")
    (tmp_path / "train.parquet").write_bytes(b"years of work")
    for taken in (tmp_path / "train.parquet", place / "scores.parquet"):
        before = taken.read_bytes()
        outcome = CliRunner().invoke(app, ["influence", str(place), "--self", "-o", str(taken)])
        assert isinstance(outcome.exception, OutputError | SystemExit)
        assert taken.read_bytes() == before
