"""An audit in parts, each on its own, against the same audit in one process."""

import contextlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import gradsift
from gradsift import settled
from gradsift.engines import Part, parts
from gradsift.engines.parts import only_one, running_parts
from gradsift.errors import DataError, RunDirectoryError, SettingError
from gradsift.locations import as_location
from gradsift.store import RunDirectory, fingerprint_model
from gradsift.store.partition import Partition
from gradsift.writing import locked, remove
from tests.support.run_bytes import bytes_of

QUIET = {"show_progress": False, "shard_size": 16}


@pytest.fixture(scope="module")
def problem():
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((200, 4)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    labels[generator.choice(200, 20, replace=False)] ^= 1
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    return model, (inputs, labels)


@pytest.mark.parametrize("options", [{}, {"layers": "all", "detectors": ["l2", "loss"], "contamination": 0.1}])
def test_parts_merged_are_the_run_of_one_process(problem, tmp_path, options):
    model, data = problem
    whole = gradsift.audit(model, data, output=tmp_path / "whole", **QUIET, **options)
    done = [gradsift.audit_part(model, data, (n, 3), output=tmp_path / "parts", **QUIET, **options) for n in (3, 1, 2)]
    assert [one.rows for one in sorted(done, key=lambda one: one.rows.start)] == [
        range(64), range(64, 128), range(128, 200)
    ]  # fmt: skip
    merged = gradsift.merge(tmp_path / "parts", data, model, show_progress=False)
    assert merged.table.equals(whole.table)
    assert bytes_of(tmp_path / "parts") == bytes_of(tmp_path / "whole")
    timing = json.loads((tmp_path / "parts/timing.json").read_text())
    assert [one["shards"] for one in timing["workers"]] == [4, 4, 5]


def test_a_merge_without_model_and_data_gives_the_same_scores(problem, tmp_path):
    model, data = problem
    whole = gradsift.audit(model, data, output=tmp_path / "whole", **QUIET)
    for number in (1, 2):
        gradsift.audit_part(model, data, (number, 2), output=tmp_path / "parts", **QUIET)
    merged = gradsift.merge(tmp_path / "parts", show_progress=False)
    for name in ("position", "score", "rank", "flagged", "suggested_label"):
        assert merged.table[name].equals(whole.table[name]), name


def test_parts_share_out_every_shard_once():
    for samples, size, count in [(100, 7, 4), (5, 10, 3), (1000, 1, 256), (64, 8, 8)]:
        partition = Partition(samples, size)
        shards = [shard for number in range(1, count + 1) for shard in Part(number, count).shards(partition)]
        assert shards == list(range(len(partition)))
        assert sum(partition.lengths) == partition.count(shards) == samples


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2", ""])
def test_a_part_that_does_not_exist_is_refused(text):
    with pytest.raises(SettingError, match="part"):
        Part.read(text)


def test_missing_parts_are_named(problem, tmp_path):
    model, data = problem
    for number in (1, 3):
        gradsift.audit_part(model, data, (number, 4), output=tmp_path / "run", **QUIET)
    with pytest.raises(RunDirectoryError, match=r"of the parts 2/4, 4/4: give these parts again"):
        gradsift.merge(tmp_path / "run", data)
    shutil.rmtree(tmp_path / "run.part/gradients/checkpoint-000/shard-00000")
    with pytest.raises(RunDirectoryError, match=r"of the parts 1/4, 2/4, 4/4"):
        gradsift.merge(tmp_path / "run", data)


def test_a_damaged_shard_is_missing_and_computed_again_alone(problem, tmp_path):
    model, data = problem
    gradsift.audit_part(model, data, (1, 1), output=tmp_path / "run", **QUIET)
    damaged = tmp_path / "run.part/gradients/checkpoint-000/shard-00002/loss.npy"
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"gone")
    with pytest.raises(RunDirectoryError, match="1 of 13 shards"):
        gradsift.merge(tmp_path / "run", data)
    assert gradsift.audit_part(model, data, (1, 1), output=tmp_path / "run", **QUIET).share.computed == 1
    assert len(gradsift.merge(tmp_path / "run", data)) == 200


def test_shards_of_another_run_in_the_folder_are_named(problem, tmp_path):
    model, data = problem
    other = torch.nn.Linear(4, 2).eval()
    for name, one in (("a", model), ("b", other)):
        gradsift.audit_part(one, data, (1, 1), output=tmp_path / name, **QUIET)
    place = "gradients/checkpoint-000/shard-00005"
    shutil.rmtree(tmp_path / "a.part" / place)
    shutil.copytree(tmp_path / "b.part" / place, tmp_path / "a.part" / place)
    with pytest.raises(RunDirectoryError, match=r"shards 5 in .* belong to another run"):
        gradsift.merge(tmp_path / "a", data)
    assert gradsift.audit_part(model, data, (1, 1), output=tmp_path / "a", **QUIET).share.computed == 1
    assert len(gradsift.merge(tmp_path / "a", data)) == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [({"contamination": 0.2}, "contamination"), ({"part": (2, 5)}, "parts"), ({"hold_classes": True}, "hold_classes")],
)
def test_a_part_with_other_settings_is_refused_before_work(problem, tmp_path, change, words):
    model, data = problem
    gradsift.audit_part(model, data, (1, 4), output=tmp_path / "run", **QUIET)
    with pytest.raises(RunDirectoryError, match=f"other settings.*{words}"):
        gradsift.audit_part(model, data, output=tmp_path / "run", **QUIET, **({"part": (2, 4)} | change))


def test_a_part_of_another_model_is_refused_before_work(problem, tmp_path):
    model, data = problem
    gradsift.audit_part(model, data, (1, 4), output=tmp_path / "run", **QUIET)
    other = torch.nn.Linear(4, 2).eval()
    for one, rows, more, words in (
        (other, data, {}, "the model differs"),
        (model, (data[0] + 1, data[1]), {}, "the data set differs"),
        (other, (data[0] + 1, data[1]), {}, "the data set, the model differ"),
        (model, data, {"layers": "all"}, "the setting layers differs"),
    ):
        with pytest.raises(RunDirectoryError, match=rf"part 2/4 .* another run into .*: {words}\. Give all parts"):
            gradsift.audit_part(one, rows, (2, 4), output=tmp_path / "run", **QUIET, **more)


def test_a_part_given_twice_at_the_same_moment_is_refused(problem, tmp_path):
    model, data = problem
    with only_one(tmp_path / "run", Part(1, 4)):
        with pytest.raises(RunDirectoryError, match=r"part 1/4 .* is being computed by another process"):
            gradsift.audit_part(model, data, (1, 4), output=tmp_path / "run", **QUIET)
        gradsift.audit_part(model, data, (2, 4), output=tmp_path / "run", **QUIET)
        for complete in (
            lambda: gradsift.merge(tmp_path / "run", data),
            lambda: gradsift.audit(model, data, output=tmp_path / "run", **QUIET),
        ):
            with pytest.raises(RunDirectoryError, match=r"parts 1/4 .* are being computed"):
                complete()
        with pytest.raises(RunDirectoryError, match="parts 1/4 are being computed: the model differs"):
            gradsift.audit_part(torch.nn.Linear(4, 2).eval(), data, (3, 4), output=tmp_path / "run", **QUIET)
    assert gradsift.audit_part(model, data, (1, 4), output=tmp_path / "run", **QUIET).share.computed == 3


def test_a_part_starts_while_another_one_looks_who_is_there(tmp_path, monkeypatch):
    """Who looks takes the lock of a part that has just made it, for a moment."""
    lock = contextlib.ExitStack()
    lock.enter_context(locked(tmp_path / ".run.part-1-of-2.lock"))
    monkeypatch.setattr(parts.time, "sleep", lambda _: lock.close())
    with only_one(tmp_path / "run", Part(1, 2)):
        assert running_parts(tmp_path / "run") == ["1/2"]


def test_one_process_finishes_what_parts_have_begun(problem, tmp_path):
    model, data = problem
    gradsift.audit_part(model, data, (1, 2), output=tmp_path / "run", **QUIET)
    gradsift.audit(model, data, output=tmp_path / "run", **QUIET)
    gradsift.audit(model, data, output=tmp_path / "whole", **QUIET)
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole")
    with pytest.raises(RunDirectoryError, match="before parts of it are computed anew, remove it"):
        gradsift.audit_part(model, data, (2, 2), output=tmp_path / "run", **QUIET)
    with pytest.raises(RunDirectoryError, match="whole already"):
        gradsift.merge(tmp_path / "run", data)
    with pytest.raises(RunDirectoryError, match="compute its parts first"):
        gradsift.merge(tmp_path / "nothing", data)


def test_a_merge_refuses_other_data(problem, tmp_path):
    model, data = problem
    gradsift.audit_part(model, data, (1, 1), output=tmp_path / "run", **QUIET)
    with pytest.raises(DataError, match="not the one that the parts"):
        gradsift.merge(tmp_path / "run", (data[0] + 1, data[1]))
    assert len(gradsift.merge(tmp_path / "run", data)) == 200


MAKER = "import torch\n\n\ndef make():\n    return torch.nn.Linear(4, 2)\n"


def command(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "gradsift", *arguments],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow  # docs/scale.md's array of jobs runs in the fast tests: tests/test_docs.py
def test_an_array_of_processes_and_a_merge(problem, tmp_path):
    _, (inputs, labels) = problem
    np.savez(tmp_path / "train.npz", inputs=inputs, labels=labels)
    (tmp_path / "small.py").write_text(MAKER)
    save_file(torch.nn.Linear(4, 2).state_dict(), tmp_path / "w.safetensors")
    audit = ["audit", "--model", "small:make", "--weights", "w.safetensors", "--data", "train.npz", "--label", "labels",
             "--shard-size", "16", "-o", "runs/x"]  # fmt: skip
    jobs = [command(tmp_path, *audit, "--part", f"{number}/3", "--json") for number in (1, 2, 3)]
    for number, job in enumerate(jobs, start=1):
        out, err = job.communicate(timeout=240)
        assert job.returncode == 0, err
        assert json.loads(out)["part"] == f"{number}/3"
    out, err = (job := command(tmp_path, "merge", "runs/x")).communicate(timeout=240)
    assert job.returncode == 1
    assert "--trust-run" in err
    out, err = (job := command(tmp_path, "merge", "runs/x", "--trust-run", "--json")).communicate(timeout=240)
    assert job.returncode == 0, err
    assert json.loads(out)["samples"] == 200
    assert (tmp_path / "runs/x/report.html").exists()


def test_a_part_waits_while_another_one_begins_the_run(tmp_path, monkeypatch):
    """In a store a run begins with two files, one after the other."""
    place = as_location(f"memory://begun-{tmp_path.name}/x")
    write_json = RunDirectory.write_json

    def second_part_comes(run, name, content):
        monkeypatch.setattr(RunDirectory, "write_json", write_json)
        assert (run.path / "config.yaml").is_file()
        monkeypatch.setattr(parts, "PATIENCE", -1.0)
        with pytest.raises(RunDirectoryError, match="another process is writing"):  # for which it would wait
            parts.begin_or_join(place, Part(2, 2), "f", {}, {})
        write_json(run, name, content)

    monkeypatch.setattr(RunDirectory, "write_json", second_part_comes)
    with only_one(place, Part(1, 2)), RunDirectory.begin(place, "f", {"settings": {}}) as run:
        assert run.fingerprint == "f"
    remove(place.parent)


@pytest.mark.parametrize("beginning", ["", "memory://"])
def test_parts_of_a_run_with_brackets_in_its_name_are_seen(tmp_path, beginning):
    place = as_location(f"{beginning}{tmp_path}/run[1]")
    with only_one(place, Part(1, 2)):
        assert running_parts(place) == ["1/2"]
        assert running_parts(place, but=Part(1, 2)) == []
    assert running_parts(place) == []
    remove(place.parent)


def test_what_a_part_raises_stays_what_it_is(tmp_path):
    place = as_location(f"memory://{tmp_path}/x")
    with pytest.raises(FileNotFoundError, match=r"^my own file$"), only_one(place, Part(1, 2)):
        raise FileNotFoundError("my own file")
    remove(place.parent)


def test_the_model_is_hashed_once(problem, monkeypatch):
    hashed = []
    monkeypatch.setattr(
        settled, "fingerprint_model", lambda model: hashed.append(fingerprint_model(model)) or hashed[0]
    )
    gradsift.audit(problem[0], problem[1], **QUIET)
    assert len(hashed) == 1
