"""Several processes, as `accelerate launch` starts them, against one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from gradsift.errors import SettingError
from gradsift.store.processes import refuse_unconnected
from gradsift.trajectory import Trajectory

SCRIPT = Path(__file__).parent / "support" / "processes.py"


def launch(folder, processes):
    folder.mkdir()
    port = 20_000 + os.getpid() % 20_000 + processes
    several = ["--multi_gpu"] if processes > 1 else ["--cpu"]  # the script itself asks for the CPU
    command = [
        sys.executable, "-m", "accelerate.commands.launch", *several, "--num_processes", str(processes),
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(port),
        str(SCRIPT), str(folder),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """Folders that one and two processes have written, and how the two have ended, whose last audits fail."""
    root = tmp_path_factory.mktemp("processes")
    alone = launch(root / "1", 1)
    assert alone.returncode == 0, alone.stderr[-3000:]
    both = launch(root / "2", 2)
    for processes, done in ((1, alone), (2, both)):
        assert f"process {processes - 1} of {processes}" in done.stdout, done.stderr[-3000:]
    return root / "1", root / "2", both


@pytest.fixture
def folders(launched):
    return launched[:2]


def test_two_processes_give_the_same_rows_and_scores_as_one(folders):
    one, two = (pq.read_table(folder / "run" / "scores.parquet") for folder in folders)
    assert one["position"].to_pylist() == two["position"].to_pylist() == list(range(101))
    for name in one.column_names:
        if one[name].type == "double":
            np.testing.assert_allclose(one[name], two[name], rtol=1e-5, err_msg=name)
        else:
            assert one[name].to_pylist() == two[name].to_pylist(), name
    each = [np.load(folders[1] / f"scores-{rank}.npy") for rank in (0, 1)]
    np.testing.assert_array_equal(each[0], each[1])
    shards = sorted(path.name for path in (folders[1] / "run/gradients/checkpoint-000").iterdir())
    assert shards == [f"shard-{shard:05d}" for shard in range(7)]


def test_every_position_is_recorded_exactly_once_and_padding_is_dropped(folders):
    for processes, folder in enumerate(folders, start=1):
        own, reference = Trajectory.open(folder / "train"), Trajectory.open(folder / "eval")
        steps = -(-101 // (8 * processes))
        assert list(own.steps) == [steps, 2 * steps] == list(reference.steps)
        for trajectory in (own, reference):
            assert all(np.isfinite(values).all() for values in trajectory.statistics.values())
            assert {"loss", "l2", "margin"} <= trajectory.statistics.keys()
        counts = np.bincount(own.recorded_at[0], minlength=steps)
        assert counts.sum() == 101
        assert (counts[:-1] == 8 * processes).all()  # padded copies would show in the last step alone
        assert counts[-1] == 101 - 8 * processes * (steps - 1)


def test_what_fails_on_one_process_ends_all_of_them(launched):
    _, folder, done = launched
    assert done.returncode != 0
    for rank, position in enumerate((1, 20)):
        # the process itself, and the one that waits for it
        assert re.search(rf"^DataError: .*positions {position} hold NaN", done.stderr, flags=re.MULTILINE)
        waiting = rf"^GradsiftError: process {rank} failed: DataError: .*positions {position} hold NaN"
        assert re.search(waiting, done.stderr, flags=re.MULTILINE)
        assert not (folder / f"bad-{position}").exists()


def test_processes_that_are_not_connected_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as a cluster may set it for a pod
    refuse_unconnected()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")  # as torchrun does
    with pytest.raises(SettingError, match=r"one of 2 processes .* not connected: make an accelerate.Accelerator\(\)"):
        refuse_unconnected()
