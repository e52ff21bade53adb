"""A user's project in a folder: a module with model and training, weights, and the same data in three kinds of file."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from safetensors.torch import save_file

MODEL = ("--model", "project:make", "--weights", "model.safetensors")
PROJECT = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))

def train(dataset, *, seed):
    torch.manual_seed(seed)
    inputs, labels = (torch.as_tensor(part) for part in dataset)
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()

def train_softly(dataset, *, seed):
    return train(dataset, seed=seed)

train_softly.accepts = {"soft"}
"""


def make_project(place):
    """Writes the project's files."""
    (place / "project.py").write_text(PROJECT)
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 60)
    inputs = (4 * np.array([[0, 1], [1, -0.5], [-1, -0.5]])[labels] + generator.normal(size=(180, 2))).astype(
        np.float32
    )
    given = labels.copy()
    wrong = generator.choice(180, 18, replace=False)
    given[wrong] = (labels[wrong] + 1) % 3
    np.savez(place / "train.npz", x=inputs, label=given)
    np.savez(place / "test.npz", x=inputs, label=labels)
    words = np.array(["ash", "birch", "cedar"])
    columns = {"width": inputs[:, 0], "height": inputs[:, 1], "label": words[given], "true": words[labels]}
    pq.write_table(pa.table(columns | {"comment": ["-"] * 180}), place / "train.parquet")
    pq.write_table(pa.table(columns | {"label": words[labels]}), place / "test.parquet")
    pa_csv.write_csv(pa.table(columns), place / "train.csv")
    sys.path.insert(0, str(place))
    import project

    del sys.modules["project"]  # each folder has one of its own
    save_file(project.train((inputs, given), seed=0).state_dict(), place / "model.safetensors")
    sys.path.remove(str(place))
