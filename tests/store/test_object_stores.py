"""Runs, data and tables in a store that speaks S3: as on disk, also where requests fail and processes are killed."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gradsift
from gradsift import Audit
from gradsift.cleaning.decisions import Decisions
from gradsift.errors import LocationError, RunDirectoryError
from gradsift.locations import as_location, local_copy
from gradsift.store import RunDirectory
from gradsift.trajectory import Trajectory
from gradsift.writing import remove
from tests.support.in_process import gradsift as command_line
from tests.support.in_process import words as words_of
from tests.support.object_store import keys, object_store
from tests.support.small_run import CONFIG, fill, make, read

PAGE = Path(__file__).parents[2] / "docs/object-stores.md"
KILLED = """
import os, signal, sys
from gradsift.locations import RemotePath
from tests.support.small_run import make
left = int(sys.argv[2])
def counted(action):
    def run(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return action(*arguments, **options)
    return run
for name in ("upload", "write_bytes", "copy_to", "unlink"):
    setattr(RemotePath, name, counted(getattr(RemotePath, name)))
make(sys.argv[1])
"""
"""Writes a run and kills itself before its so-manyth request that changes something."""


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as monkeypatch, object_store(monkeypatch) as application:
        yield application


@pytest.fixture
def store(server):
    yield server
    server.share, server.denied = 0.0, ""
    for name in {key.split("/")[1] for key in keys("bucket")}:
        remove(as_location(f"s3://bucket/{name}"))


@pytest.fixture
def files(tmp_path):
    """A small training set with predictions, on disk."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 60)
    probabilities = generator.dirichlet([1, 1, 1], 60) * 0.2 + 0.8 * np.eye(3)[labels]
    given = np.where(np.arange(60) % 10 == 0, (labels + 1) % 3, labels)
    table = pa.table({"id": [f"row {place}" for place in range(60)], "x": generator.random(60), "label": given})
    (tmp_path / "in" / "train").mkdir(parents=True)
    for start in (0, 25):
        pq.write_table(table.slice(start, 25 + start), tmp_path / f"in/train/{start:03d}.parquet", row_group_size=20)
    np.savez(tmp_path / "in" / "predictions.npz", probabilities=probabilities)
    return tmp_path


def job(place):
    """The commands of the page on object stores, with another place for the bucket; what they have written."""
    (commands,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    for command in commands.replace("s3://bucket", place).splitlines():
        command_line(*shlex.split(command)[1:])
    copies = [local_copy(as_location(f"{place}/{name}")) for name in ("clean", "better")]
    page = local_copy(as_location(f"{place}/report.html")).read_text()
    return Audit.open(f"{place}/runs/x").table, [pq.read_table(copy) for copy in copies], "row 10" in page


def refuse_difference(files, store, share=0.0):
    on_disk = job(str(files))
    for file in (files / "in").rglob("*.*"):
        (as_location("s3://bucket") / file.relative_to(files).as_posix()).upload(file)
    store.share = share
    in_store = job("s3://bucket")
    store.share = 0.0
    assert in_store[0].equals(on_disk[0])
    assert in_store[1:] == on_disk[1:]
    assert [key for key in keys("bucket") if "/." in key or ".part" in key] == []


def test_the_whole_job_gives_the_same_as_on_disk(capsys, files, store):
    refuse_difference(files, store)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    exec(block, {})
    assert "samples" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.15])
def test_the_whole_job_with_requests_that_fail(files, store, share):
    before = store.failed
    refuse_difference(files, store, share)
    assert store.failed > before


def test_a_model_with_its_weights_and_trajectory_in_a_store(store, tmp_path, blobs, trained):
    inputs, given, _ = blobs
    trajectory = Trajectory("eval", {"loss": np.random.default_rng(0).random((2, 180)).astype(np.float32)}, [1, 2])
    for _ in range(2):
        trajectory.save("s3://bucket/trajectory")  # replaces the first
    opened = Trajectory.open("s3://bucket/trajectory")
    assert opened.fingerprint() == trajectory.fingerprint()
    options = {"shard_size": 64, "show_progress": False, "detectors": ["l1", "loss_along_training"]}
    on_disk = gradsift.audit(trained, (inputs, given), output=tmp_path / "x", trajectory=trajectory, **options)
    in_store = gradsift.audit(
        trained, (inputs, given), output="s3://bucket/x", trajectory="s3://bucket/trajectory", **options
    )
    assert in_store.table.equals(on_disk.table)
    opened = Audit.open("s3://bucket/x", (inputs, given))
    assert np.array_equal(opened.gradients.norms(1), on_disk.gradients.norms(1))
    assert len(opened.trim()[1]) == len(on_disk.trim()[1])
    assert {key.removeprefix("bucket/x/") for key in keys("bucket/x")} == {
        file.relative_to(tmp_path / "x").as_posix() for file in (tmp_path / "x").rglob("*") if file.is_file()
    }


def killed(place, request):
    """Whether the process was killed before it had finished."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, place, str(request)], env=environment, capture_output=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


def resumed(place, request, monkeypatch):
    """Kills a process at some request, takes the run up, and counts the shards that are computed again."""
    computed, write = [], RunDirectory.write_shard
    monkeypatch.setattr(RunDirectory, "write_shard", lambda run, *rest: (computed.append(rest[1]), write(run, *rest)))
    whole = not killed(place, request)
    try:
        Audit.open(place)
    except RunDirectoryError:
        assert not whole
        make(place)
    else:  # the same command again removes what is left of a run that is whole
        with pytest.raises(RunDirectoryError, match="holds a whole run"):
            make(place)
    assert read(place) == ([3], CONFIG, {"seconds": 1})
    assert not [key for key in keys("bucket") if ".part" in key or ".lock" in key or ".trial" in key]
    return whole, computed


@pytest.mark.parametrize(("request_", "again"), [(11, [1])])
def test_a_killed_run_resumes_without_its_whole_shards(store, monkeypatch, request_, again):
    assert resumed("s3://bucket/x", request_, monkeypatch) == (False, again)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "share"), [(0, 0.0), (1, 0.0), (2, 0.05)])
def test_a_run_that_is_killed_at_any_request_resumes(store, monkeypatch, first, share):
    """Every third request from a first one on; the first two without faults, the last with faults."""
    request, whole = first, False
    while not whole:
        store.share = share
        whole, _ = resumed(f"s3://bucket/x{request}", request, monkeypatch)
        store.share = 0.0
        remove(as_location(f"s3://bucket/x{request}"))
        request += 3
    assert request > 30


def test_what_lies_in_a_store_is_refused_as_on_disk(store):
    place = make("s3://bucket/x")
    assert Decisions.read(place) is None
    with pytest.raises(RunDirectoryError, match="holds a whole run: pass --overwrite"):
        make(place)
    make(place, fingerprint="g", overwrite=True)
    assert RunDirectory.open(place).read_json("manifest.json")["fingerprint"] == "g"
    as_location("s3://bucket/other/notes.txt").write_bytes(b"mine")
    with pytest.raises(RunDirectoryError, match="is no run directory: choose another place"):
        make("s3://bucket/other", overwrite=True)
    with RunDirectory.begin("s3://bucket/y", "f", CONFIG) as run:
        with pytest.raises(RunDirectoryError, match="another process is writing s3://bucket/y"):
            RunDirectory.begin("s3://bucket/y", "f", CONFIG)
        fill(run)
    with pytest.raises(RunDirectoryError, match=r"s3://bucket/y\.part is an unfinished run"):
        RunDirectory.open("s3://bucket/y")
    with pytest.raises(RunDirectoryError, match="was begun with another model"):
        make("s3://bucket/y", fingerprint="g")
    (as_location("s3://bucket/y.part") / "gradients/checkpoint-000/shard-00001/loss.npy").write_bytes(b"damaged")
    make("s3://bucket/y")
    assert read("s3://bucket/y")[0] == [3]


def test_a_store_that_cannot_be_written_is_named_before_work(monkeypatch, files, store):
    def words(place):
        options = ["--predictions", f"{files}/in/predictions.npz", "--data", f"{files}/nothing.csv", "-o", place]
        done = command_line("audit", *options, check=False)
        assert done.returncode == 1
        return words_of(done)

    assert "there is no bucket s3://nobucket: create it" in words("s3://nobucket/x")
    store.denied = "/bucket/denied"
    assert "ask for the right to write in s3://bucket" in words("s3://bucket/denied/x")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    from tests.support.object_store import fresh

    fresh()
    assert "give credentials as the store's own tools read them" in words("s3://bucket/x")
    monkeypatch.undo()
    fresh()


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_named(monkeypatch):
    from gradsift.locations import refuse_unwritable
    from tests.support.object_store import fresh

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    fresh()
    with pytest.raises(LocationError, match="nobody answers at the store's address"):
        refuse_unwritable(as_location("s3://bucket/x"))
    fresh()
