"""The examples run as their pages say: the paper's in small, on data of their own; two others, slowly, on real data."""

import io
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.support.pages import blocks, commands_of, run_command
from tests.support.pretrained import save, save_classifier, texts, tokenizer

EXAMPLES = Path(__file__).parent.parent / "examples"
DATA = Path(os.environ.get("GRADSIFT_DATA", "does-not-exist"))
FASHION = Path("/usr/share/datasets/fashion-mnist")
PAPER = EXAMPLES / "paper"


def average_precision(output, detector):
    (line,) = [line for line in output.splitlines() if line.startswith(detector + " ")]
    return float(line.split(" ap ")[1].split()[0])


def run(*arguments):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not FASHION.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
@pytest.mark.parametrize("noise", ["symmetric", "pair"])
def test_fashion_mnist(noise, tmp_path):
    output = run(EXAMPLES / "fashion_mnist/run.py", "--noise", noise, "-o", tmp_path / "run")
    assert "audited 60,000 samples" in output
    assert average_precision(output, "l2") > 0.75
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "cifar10").is_dir(), reason="GRADSIFT_DATA holds no cifar10")
@pytest.mark.parametrize(("labels", "chance"), [("aggre", 0.09), ("worst", 0.41)])
def test_cifar10n(labels, chance, tmp_path):
    output = run(EXAMPLES / "cifar10n/run.py", "--labels", labels, "-o", tmp_path / "run")
    assert "audited 10,000 samples" in output
    assert average_precision(output, "l2") > 1.5 * chance


def test_every_example_has_a_folder_with_a_page():
    folders = [place for place in EXAMPLES.iterdir() if place.is_dir()]
    assert len(folders) >= 3
    for folder in folders:
        assert (folder / "README.md").exists(), folder
        assert f"{folder.name}/README.md" in (EXAMPLES / "README.md").read_text()


@pytest.fixture
def of_the_paper(monkeypatch, tmp_path):
    """Runs a script of ``examples/paper`` in this process, with the data of a test; gives its tables, arm to cells."""
    monkeypatch.syspath_prepend(str(PAPER))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)

    def tables(name, *arguments):
        main = runpy.run_path(str(PAPER / f"{name}.py"))["main"]
        main(["--data", str(tmp_path), "-o", str(tmp_path / "tables.md"), *map(str, arguments)])
        rows = [line.strip("| ").split(" | ") for line in (tmp_path / "tables.md").read_text().splitlines()]
        return [row for row in rows if len(row) > 2 and row[0] and not row[0].startswith("-")]

    yield tables
    sys.modules.pop("protocol", None)


def number(cell):
    return float(cell.split()[0])


def write_points(file, points, labels):
    rows = [f"{x},{y},Female,{'Y' if label else 'N'}" for (x, y), label in zip(points, labels, strict=True)]
    file.write_text("\n".join(rows) + "\n")


def test_the_papers_toy_sets(of_the_paper, tmp_path):
    generator = np.random.default_rng(0)
    true = np.arange(60) % 2
    points = generator.normal(size=(60, 2)) + 4 * np.where(true, 1, -1)[:, None]
    given = np.where(np.arange(60) % 10 == 3, 1 - true, true)  # every tenth label is wrong: as many as are flagged
    (tmp_path / "oga-toy").mkdir()
    for name, labels in {"train": given, "train_clean_labels": true, "test": true}.items():
        write_points(tmp_path / f"oga-toy/{name}.csv", points, labels)
    rows = of_the_paper("toy", "--steps", 60, "--seeds", 1)
    linear = {row[0]: row[1:] for row in rows[:9]}
    assert [number(linear[arm][0]) for arm in ("l1", "l2", "self confidence", "posterior")] == [100.0] * 4
    assert number(linear["oracle drop"][-1]) == 100.0
    assert [row[-1] for row in rows[9:18] if row[0] in ("l1", "isolation forest")] == ["98, 87", "96, 96"]


def test_the_papers_images(of_the_paper, tmp_path):
    generator = np.random.default_rng(0)
    rows = []
    for place in range(60):
        picture = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(picture, "PNG")
        wrong = (place + (place % 5 == 0)) % 10
        rows.append({"image": {"bytes": picture.getvalue()}, "label": place % 10, "n_worse_label": wrong})
    (tmp_path / "cifar10").mkdir()
    for part in ("train", "test"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"cifar10/{part}.parquet")
    arms = {row[0]: row for row in of_the_paper("cifar10n", "--images", 40, "--epochs", 1, "--seeds", 1)}
    assert arms["l2"][-1] == "82.99"
    assert 0 <= number(arms["random drop"][2]) <= 100
    assert 75 <= number(arms["l1"][1]) <= 85  # 2 flagged of 40, 8 of them wrong


def test_the_papers_network_is_resnet_34(monkeypatch):
    monkeypatch.syspath_prepend(str(PAPER))
    with torch.device("meta"):
        model = runpy.run_path(str(PAPER / "cifar10n.py"))["resnet34"]()
        assert model(torch.empty(2, 3, 32, 32)).shape == (2, 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 21_282_122  # as published for CIFAR-10


def test_the_papers_texts(of_the_paper, tmp_path):
    save_classifier(tmp_path / "model")
    (tmp_path / "glue_sst2").mkdir()
    rows = [{"sentence": row["text"], "label": row["label"] % 2} for row in texts(60)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "glue_sst2/train.parquet")
    arms = {
        row[0]: row
        for row in of_the_paper("glue", "--model", tmp_path / "model", "--texts", 40, "--epochs", 1, "--seeds", 2)
    }
    assert {"no change", "random drop", "isolation forest", "oracle drop"} <= arms.keys()
    assert "±" in arms["l2"][1]


def test_the_papers_prompts(of_the_paper, tmp_path):
    save(tmp_path / "model", "llama_lm", tokenizer(limit=16))
    (tmp_path / "datainf").mkdir()
    prompts = [(f"w{8 + kind} w{9 + kind}", f" w{20 + kind}", f"kind {kind}") for kind in range(4)] * 4
    rows = [{"prompt": prompt, "text": f"{prompt}{answer}</s>", "variation": kind} for prompt, answer, kind in prompts]
    for part in ("train", "test"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"datainf/math_with_reason_{part}.parquet")
    methods = {
        row[0]: row[1:]
        for row in of_the_paper(
            "prompts", "--model", tmp_path / "model", "--set", "math_with_reason", "--per-class", 3, "--epochs", 1
        )
    }
    assert methods["DataInf"][-1] == "0.999, 0.990"
    assert number(methods["cosine to a class's mean"][0]) == 1.0  # prompts of a class are equal here


def test_the_papers_shift(of_the_paper, tmp_path):
    generator = np.random.default_rng(0)
    people = pd.DataFrame(
        {
            "age": generator.integers(18, 70, 400),
            "sex": generator.choice(["Male", "Female"], 400),
            "native_country": generator.choice(["United-States", "Cuba"], 400),
            "hours_per_week": generator.integers(10, 60, 400),
        }
    )
    people["label"] = (people["hours_per_week"] > 35).astype(int)
    (tmp_path / "tabular_adult").mkdir()
    people.to_parquet(tmp_path / "tabular_adult/train.parquet")
    arms = {row[0]: row[1:] for row in of_the_paper("shift", "--rows", 80, "--seeds", 1)}
    assert arms["one-class SVM"][-1] == "77.65, 80.63, 78.40"
    assert all(number(cell) > 75 for cell in arms["no change"][:3])
    assert "the rows looked at are added" in arms


def test_the_table_in_continuous_integration(tmp_path, monkeypatch):
    """Each command of its page, in a copy of its folder."""
    place = EXAMPLES / "table_in_ci"
    shutil.copytree(place, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    runpy.run_path("predict.py", run_name="__main__")
    told = [
        run_command(line, tmp_path / "here")
        for block in blocks(place / "README.md", "sh")
        for line in commands_of(block)
    ]
    assert "samples" in told[0].stdout + told[0].stderr
    assert json.loads(told[-1].stdout)["failed"] is False
    assert len(pd.read_csv("better.csv")) < len(pd.read_csv("train.csv"))
    flagged = pq.read_table("runs/wines/scores.parquet")["flagged"].to_numpy().sum()
    assert 5 <= flagged <= 25  # 18 of 118 labels are wrong
