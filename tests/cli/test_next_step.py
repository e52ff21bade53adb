"""A folder of images by the commands alone: each one names the next, which runs as it was printed."""

import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gradsift.cli.next_step import correct_command, merge_command
from tests.support.in_process import gradsift

CODE = """
import numpy as np
import torch
from torch import nn


def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def prepare(image):
    return torch.from_numpy(np.asarray(image, np.float32) / 255)[None]


def halve(image):
    assert image.size == (8, 8), "a Pillow image"
    return prepare(image) / 2


def train(dataset, *, seed):
    torch.manual_seed(seed)
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for x, y in 3 * list(torch.utils.data.DataLoader(dataset, batch_size=16, shuffle=True)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def train_halved(dataset, *, seed):
    assert dataset[0][0].max() <= 0.5, "what the transform makes"
    return train(dataset, seed=seed)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stripes in three classes of 20 images, of which one lies in the wrong folder, and a model that knows the stripes."""
    place = tmp_path_factory.mktemp("photos")
    (place / "stripes.py").write_text(CODE)
    generator = np.random.default_rng(0)
    for part in ("photos", "test"):
        for number in range(60):
            picture = generator.integers(0, 60, (8, 8))
            picture[2 * (number % 3) + 1] += 180
            wrong = part == "photos" and number == 7
            at = place / part / ("first", "second", "third")[2 if wrong else number % 3] / f"{number:02d}.png"
            at.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.astype(np.uint8)).save(at)
    weight, bias = torch.zeros(3, 8, 8), torch.zeros(3)
    for number in range(3):
        weight[number, 2 * number + 1] = 1
    save_file({"1.weight": weight.reshape(3, 64), "1.bias": bias}, place / "model.safetensors")
    save_file({"1.weight": -weight.reshape(3, 64), "1.bias": bias}, place / "backwards.safetensors")
    return place


def _next(done):
    """The last command that the output names."""
    line = next(line for line in done.stdout.splitlines() if line.startswith("Next: "))
    return shlex.split(re.split(r"Next: |, or ", line)[-1])[1:]


def test_each_command_names_the_next_which_runs_as_it_was_printed(folder):
    source = ("--model", "stripes:make", "--weights", "model.safetensors", "--transform", "stripes:prepare")
    audited = gradsift("audit", *source, "--data", "photos", "-o", "runs/photos", "--contamination", "0.02", cwd=folder)
    assert "position 41 (id third/07.png)" in audited.stdout, "the file is named, not its position alone"
    assert "Next: gradsift show runs/photos --trust stripes:prepare, or" in audited.stdout
    corrected = gradsift(*_next(audited), cwd=folder)
    assert not (folder / "better/third/07.png").exists()
    assert (folder / "photos/third/07.png").exists()
    proven = [{"my.training:train": "stripes:train", "TEST": "test"}.get(word, word) for word in _next(corrected)]
    assert "Retrained with controls" in gradsift(*proven, "--seeds", "1", cwd=folder).stdout
    shown = gradsift("show", "runs/photos", "--trust", "stripes:prepare", "--worst", "1", cwd=folder)
    assert _next(shown) == _next(audited)


def test_a_folder_of_images_is_improved_with_the_transform_of_its_training(folder):
    source = ("--train", "stripes:train_halved", "--data", "photos", "--transform", "stripes:halve", "--test", "test")
    done = gradsift(
        "improve", *source, "--folds", "2", "--trainings", "4", "--seeds", "1", "-o", "runs/all", cwd=folder
    )
    assert "The page: runs/all/report.html" in done.stdout
    assert "Next: gradsift show runs/all/audit lists the samples" in done.stdout


def test_a_warning_of_an_audit_is_said_once(folder):
    source = ("--model", "stripes:make", "--weights", "backwards.safetensors", "--transform", "stripes:prepare")
    done = gradsift("audit", *source, "--data", "photos", "-o", "runs/backwards", "--contamination", "0.1", cwd=folder)
    assert "WARNING" in done.stderr
    assert "Warning:" not in done.stdout
    shown = gradsift("show", "runs/backwards", "--trust", "stripes:prepare", "--worst", "0", cwd=folder)
    assert "Warning:" in shown.stdout


def test_where_the_data_are_decides_the_name_of_the_new_file(tmp_path):
    (tmp_path / "my photos").mkdir()
    assert "-o better --how" in correct_command("runs/x", {"data": str(tmp_path / "my photos")})
    assert "-o better.csv --how" in correct_command("runs/x", {"data": "train.csv"})
    assert "-o better.parquet --how" in correct_command("runs/x", {"data": "owner/set"})
    assert correct_command("runs/my x", {"data": "a.csv"}).startswith("gradsift correct 'runs/my x' -o")
    assert "in Python" in correct_command("runs/x", {})


def test_a_merge_is_named_with_the_code_that_it_runs():
    assert merge_command("runs/my x", {"model": "project:make", "task": "mine:Task", "transform": None}) == (
        "gradsift merge 'runs/my x' --trust project:make --trust mine:Task"
    )
    assert merge_command("s3://b/x", {"model": "s3://b/model", "task": "dpo"}) == "gradsift merge s3://b/x"
