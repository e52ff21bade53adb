"""Makes the committed run and trajectory of the present format: ``python tests/formats/make.py NAME``.

Run it once for each format that is released, from the version that writes it, into a new folder; never over an old one.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file
from torch import nn

import gradsift
from gradsift.cli import main

HERE = Path(__file__).parent


def network():
    """The model of the committed runs."""
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def problem():
    """Forty rows of three classes, four given labels wrong: inputs (40, 4), given labels (40,)."""
    generator = np.random.default_rng(0)
    true = generator.integers(0, 3, 40)
    inputs = (generator.standard_normal((40, 4)) + 3 * np.eye(4)[true]).astype(np.float32)
    given = true.copy()
    given[:4] = (given[:4] + 1) % 3
    return inputs, given


if __name__ == "__main__":
    os.chdir(HERE)  # the run's config names its files relative to here
    folder = Path(sys.argv[1])
    folder.mkdir()
    inputs, labels = problem()
    columns = {f"x{number}": inputs[:, number] for number in range(4)}
    pq.write_table(pa.table(columns | {"label": np.array(["ant", "bee", "cat"])[labels]}), folder / "train.parquet")
    torch.manual_seed(0)
    model = network()
    recorder = gradsift.Recorder(model, (inputs, labels), show_progress=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(3):
        loss = nn.functional.cross_entropy(model(torch.from_numpy(inputs)), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recorder.end_epoch()
    recorder.save(folder / "trajectory")
    save_file(model.state_dict(), folder / "model.safetensors")
    sys.path.insert(0, str(HERE))
    arguments = ["audit", "--model", "make:network", "--weights", str(folder / "model.safetensors")]
    arguments += ["--data", str(folder / "train.parquet"), "--shard-size", "16", "--contamination", "0.1"]
    sys.argv = ["gradsift", *arguments, "--trajectory", str(folder / "trajectory"), "-o", str(folder / "run")]
    main()
