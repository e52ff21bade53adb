"""The engine on real processes of Ray, against the same audit in one process."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

import gradsift
from gradsift.engines import CollectShards, EngineSettings, Ray, leases, on_ray, ray_pool
from gradsift.engines.ray_worker import Failure, refuse_other_versions, versions
from gradsift.errors import DataError, GradsiftError, ModelError, RunDirectoryError, SampleError, SettingError
from gradsift.store import RunDirectory
from tests.support.on_ray import SAMPLES, SETTINGS, Slow, model
from tests.support.run_bytes import bytes_of

SCRIPT = Path(__file__).parent.parent / "support" / "on_ray.py"


def shards_of(run):
    return sorted((run.with_name(run.name + ".part") / "gradients/checkpoint-000").glob("shard-?????"))


@pytest.fixture(scope="module")
def cluster():
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    gradsift.audit(model(), Slow(SAMPLES), output=folder, **SETTINGS)
    return folder


class Missing:
    """A worker that has not the model file."""

    def __call__(self):
        raise ModelError("the weights model.safetensors do not exist")


class Other:
    """A worker that has another model."""

    def __call__(self):
        other = model()
        other.bias.data += 1
        return other, Slow(SAMPLES), "classification"


class Unread:
    """A data set that nobody may read."""

    def __len__(self):
        return 400


def test_a_machine_that_does_not_see_the_run_says_so(tmp_path):
    stage = CollectShards(RunDirectory.joining(tmp_path / "run"), 10, SimpleNamespace(signs={"device": "cpu"}))
    stage.__dict__.update(stage.__getstate__())  # as it arrives there
    with pytest.raises(RunDirectoryError, match=r"this machine does not see .*run\.part"):
        stage.setup()


def test_actors_write_the_run_of_one_process(cluster, whole, tmp_path):
    audit = gradsift.audit(model(), Slow(SAMPLES), output=tmp_path / "run", engine=Ray(workers=2), **SETTINGS)
    assert bytes_of(tmp_path / "run") == bytes_of(whole)
    assert audit.table["position"].to_pylist() == list(range(SAMPLES))
    timing = json.loads((tmp_path / "run/timing.json").read_text())
    assert sum(one["samples"] for one in timing["workers"]) == SAMPLES
    assert all(one["worker"].split(":")[1] != str(os.getpid()) for one in timing["workers"])


def test_what_fails_in_an_actor_is_raised_here_with_the_sample(cluster, tmp_path):
    with pytest.raises(DataError, match=r"positions 217 hold NaN.*on worker"):
        gradsift.audit(model(), Slow(SAMPLES, bad=217), output=tmp_path / "run", engine=Ray(workers=1), **SETTINGS)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_worker_without_the_model_or_with_another_is_named(cluster, tmp_path):
    with pytest.raises(ModelError, match=r"weights model.safetensors do not exist \(on worker"):
        gradsift.audit(model(), Slow(SAMPLES), output=tmp_path / "b", engine=Ray(workers=1, load=Missing()), **SETTINGS)
    with pytest.raises(ModelError, match="shards of another run, model differ"):
        gradsift.audit(model(), Slow(SAMPLES), output=tmp_path / "c", engine=Ray(workers=1, load=Other()), **SETTINGS)
    assert not shards_of(tmp_path / "c")


@pytest.mark.slow
def test_the_shards_of_an_actor_that_dies_are_computed_again(cluster, whole, tmp_path, caplog, monkeypatch):
    """One of two actors is killed while it fills a lease of several shards; those that are whole stay."""
    monkeypatch.setattr(leases, "PROMPT", 1)
    kept = {}

    def kill():
        while len(shards_of(tmp_path / "run")) < 7:
            time.sleep(0.01)
        kept.update((place, (place / "loss.npy").stat().st_mtime_ns) for place in shards_of(tmp_path / "run"))
        entry = json.loads((shards_of(tmp_path / "run")[-1] / "checksums.json").read_text())
        os.kill(int(entry["worker"].rpartition(":")[2]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with caplog.at_level(logging.WARNING):
        gradsift.audit(model(), Slow(SAMPLES, 0.01), output=tmp_path / "run", engine=Ray(workers=2), **SETTINGS)
    killer.join()
    first, last = re.search(r"not whole are computed again \((\d+) to (\d+)", caplog.text).groups()
    assert int(first) < int(last)
    for place, changed in kept.items():
        assert (tmp_path / "run" / place.relative_to(tmp_path / "run.part") / "loss.npy").stat().st_mtime_ns == changed
    assert bytes_of(tmp_path / "run") == bytes_of(whole)


@pytest.mark.slow
def test_an_actor_that_is_ended_for_its_memory_gives_its_shards_back(cluster, whole, tmp_path, monkeypatch, caplog):
    """Of such an actor Ray tells by an error of another class."""
    answer, answered = ray_pool.Pool._answer, []

    def ended():
        raise ray.exceptions.OutOfMemoryError("the node was running low on memory")

    def answer_but_once(pool):
        call = answer(pool)
        answered.append(call)
        if len(answered) == 2:  # the first one says that the actor is ready
            call.result = ended
        return call

    monkeypatch.setattr(ray_pool.Pool, "_answer", answer_but_once)
    with caplog.at_level(logging.WARNING):
        gradsift.audit(model(), Slow(SAMPLES), output=tmp_path / "run", engine=Ray(workers=1), **SETTINGS)
    assert "shards that are not whole are computed again (0 to 0 and 1 to 1): the node was running low" in caplog.text
    assert bytes_of(tmp_path / "run") == bytes_of(whole)


@pytest.mark.slow
def test_a_driver_that_is_killed_resumes_with_the_shards_that_are_left(whole, tmp_path):
    command = [sys.executable, "-m", "tests.support.on_ray", str(tmp_path / "run")]
    driver = subprocess.Popen(command, cwd=SCRIPT.parents[2], stdout=subprocess.PIPE, text=True)
    while len(shards_of(tmp_path / "run")) < 5:
        assert driver.poll() is None
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    kept = {place: (place / "loss.npy").stat().st_mtime_ns for place in shards_of(tmp_path / "run")}
    done = subprocess.run(command, cwd=SCRIPT.parents[2], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for place, changed in kept.items():
        assert (tmp_path / "run" / place.relative_to(tmp_path / "run.part") / "loss.npy").stat().st_mtime_ns == changed
    assert bytes_of(tmp_path / "run") == bytes_of(whole)


def test_an_address_of_ray_answers(cluster):
    Ray(address=ray.get_runtime_context().gcs_address).refuse_unreachable()


def test_an_address_of_something_else_is_refused(monkeypatch):
    monkeypatch.setattr(on_ray, "REACHES", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(SettingError, match=r"nobody answers at .*timed out"):  # it accepts, and is silent
            Ray(address=address).refuse_unreachable()
        server.accept()[0].close()

        def reply():
            connection, _ = server.accept()
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        web = threading.Thread(target=reply)
        web.start()
        with pytest.raises(SettingError, match=r"what answers at .* is not Ray, or its dashboard"):
            Ray(address=address).refuse_unreachable()
        web.join()


def test_a_worker_that_no_machine_can_hold_is_refused(cluster, tmp_path):
    with pytest.raises(SettingError, match=r"no machine of the cluster has the 1 CPUs and 1 GPUs"):
        gradsift.audit(model(), Slow(40), output=tmp_path / "run", engine=Ray(gpus_per_worker=1), **SETTINGS)


def test_an_address_at_which_nobody_answers_is_refused_before_work(tmp_path):
    if ray.is_initialized():
        ray.shutdown()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "127.0.0.1:99999"):
        with pytest.raises(SettingError, match="nobody answers at"):
            gradsift.audit(model(), Unread(), output=tmp_path / "run", engine=Ray(address=address))
    with pytest.raises(SettingError, match="nobody answers at"):
        EngineSettings(engine="ray", address=f"127.0.0.1:{port}").make(Unread())


def test_other_versions_are_named():
    refuse_other_versions(versions())
    with pytest.raises(SettingError, match=r"ray 2\..* on the worker and 1.0 here"):
        refuse_other_versions(versions() | {"ray": "1.0"})


def test_an_error_keeps_its_class_and_gains_its_place():
    assert isinstance(Failure.of(DataError("a")).raised(), DataError)
    assert isinstance(Failure.of(SampleError("a", [1], "b")).raised(), GradsiftError)
    assert "ZeroDivisionError: division by zero (on worker" in str(
        Failure.of(ZeroDivisionError("division by zero")).raised()
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"workers": 2}, "--workers belong to --engine ray"),
        ({"address": "auto", "gpus_per_worker": 0.5}, "--address and --gpus-per-worker belong"),
        ({"part": "3/2"}, "parts are numbered"),
        ({"part": "1/2", "engine": "ray"}, "leave --engine out"),
        ({"engine": "dask"}, "engine is local or ray"),
        ({"engine": "ray", "workers": 0}, "workers is"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given, words):
    with pytest.raises(SettingError, match=words):
        EngineSettings(**given)


def test_an_engine_has_no_part_in_evidence():
    with pytest.raises(SettingError, match="leave engine out"):
        gradsift.audit_predictions([0, 1, 0, 1], [[0.9, 0.1]] * 4, engine="ray")
    with pytest.raises(SettingError, match="unknown engine 'dask'"):
        gradsift.audit(model(), Slow(40), engine="dask")
