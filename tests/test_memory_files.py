"""A file that is three times as large is audited and trimmed in the same memory: fresh processes, their peaks."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

JOB = """
import json, sys
import numpy as np, torch
torch.set_num_threads(1)
from gradsift.data.files import load, write_kept
import gradsift

def peak():
    # Of this process alone, in MB: ru_maxrss begins with the peak of the parent process.
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

torch.manual_seed(0)
path, folder = sys.argv[1:]
loaded = load(path)
model = torch.nn.Linear(loaded.dataset[0].shape[1], 2).eval()
audit = gradsift.audit(model, loaded.dataset, detectors="l2", contamination=0.01, batch_size=256, output=folder + "/run",
    show_progress=False)
audited = peak()
write_kept(path, audit.kept, folder + "/kept.parquet", len(audit))
print(json.dumps({"audit": audited, "trim": peak(), "samples": len(audit), "kept": len(audit.kept)}))
"""
READING = """
import json, sys
import numpy as np
from gradsift.data.files import load, write_kept

def peak():
    # Of this process alone, in MB: ru_maxrss begins with the peak of the parent process.
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

path, folder = sys.argv[1:]
began = peak()
size = len(load(path).dataset[1])
read = peak()
write_kept(path, np.arange(0, size, 2), folder + "/kept.parquet", size)
print(json.dumps({"began": began, "read": read, "trim": peak(), "samples": size}))
"""
COLUMNS = 1000


def make(path, megabytes, row_group, columns):
    generator = np.random.default_rng(0)
    names = [f"x{place}" for place in range(columns)]
    rows = megabytes * 2**20 // (4 * columns)
    with pq.ParquetWriter(
        path, pa.schema([*((name, pa.float32()) for name in names), ("label", pa.int64())])
    ) as writer:
        for start in range(0, rows, row_group):
            size = min(row_group, rows - start)
            block = generator.standard_normal((columns, size), dtype=np.float32)
            table = pa.table(dict(zip(names, block, strict=True)) | {"label": np.arange(size) % 2})
            writer.write_table(table, row_group_size=row_group)


def measure(folder, megabytes, row_group, columns=COLUMNS, job=JOB):
    folder.mkdir()
    make(folder / "train.parquet", megabytes, row_group, columns)
    done = subprocess.run(
        [sys.executable, "-c", job, str(folder / "train.parquet"), str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"{megabytes} MB, row groups of {row_group}: {found}")
    return found


@pytest.mark.slow
def test_peak_memory_does_not_depend_on_the_size_of_the_file(tmp_path):
    small, large = measure(tmp_path / "small", 300, 8192), measure(tmp_path / "large", 900, 8192)
    for job in ("audit", "trim"):
        assert large[job] - small[job] < 100


@pytest.mark.slow
def test_one_huge_row_group_is_not_held(tmp_path):
    """A reader holds a page of each column, 1 MB as writers make them: a row group of 1,000 columns must be larger."""
    split, whole = (
        measure(tmp_path / name, 300, rows, columns=40, job=READING)
        for name, rows in (("split", 8192), ("whole", 2**30))
    )
    for job in ("read", "trim"):
        assert (whole[job] - whole["began"]) - (split[job] - split["began"]) < 100
        assert whole[job] - whole["began"] < 250
