"""The pages' code runs as it stands."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

import gradsift
from tests.support.families import BY_NAME
from tests.support.pages import blocks, commands_of, run_code, run_command
from tests.support.pretrained import TEMPLATE, chats, save, save_adapter, save_classifier, texts, tokenizer
from tests.support.structured import of_structured_kinds

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """A folder of its own, and the same numbers at random as in a process of its own."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def test_the_tutorial_runs(tmp_path, capsys):
    run_code(ROOT / "docs/tutorial.md", 8)
    assert "samples" in capsys.readouterr().out
    assert (tmp_path / "report.html").exists()


def test_the_pages_on_chats_and_on_pairs_run():
    torch.manual_seed(0)
    answers = [{"chosen": f"w{8 + place % 9} w9", "rejected": f"w{20 + place % 7}"} for place in range(40)]
    reward = BY_NAME["llama_sequence"].make(num_labels=1, pad_token_id=1)
    talker = {"tokenizer": tokenizer(template=TEMPLATE, limit=32), "model": BY_NAME["llama_lm"].make()}
    by_page = {
        "chats": {"rows": chats(30)} | talker,
        "preference-pairs": {"rows": answers, "tokenizer": tokenizer(), "reward_model": reward},
    }
    for page, names in by_page.items():
        (block,) = blocks(ROOT / f"docs/how-to/{page}.md")
        exec(compile(block, page, "exec"), {"gradsift": gradsift} | names)


def test_the_recipes_of_masks_and_what_else_has_parts_run():
    torch.manual_seed(0)
    page = ROOT / "docs/recipes-structured.md"
    for block, names in zip(blocks(page), of_structured_kinds(), strict=True):
        exec(compile(block, page.name, "exec"), {"gradsift": gradsift} | names)


def test_the_pages_on_fine_tuning_run(tmp_path, capsys):
    """Blocks and commands of both, on a small classifier, an adapter and rows of their own."""
    save_classifier(tmp_path / "my-classifier")
    encode = tokenizer(template=TEMPLATE, limit=32)
    save(tmp_path / "base", "llama_lm", encode)
    save_adapter(tmp_path / "my-adapter", tmp_path / "base", processor=encode)
    pq.write_table(pa.Table.from_pylist(texts()), tmp_path / "reviews.parquet")
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats()))
    page = ROOT / "docs/finetuning.md"
    run_code(page, 4)
    told = capsys.readouterr()
    assert "samples" in told.out
    assert "of the time of training" in told.out + told.err
    assert (tmp_path / "reviews.html").exists()
    assert (tmp_path / "runs/trajectory").is_dir()
    (block,) = blocks(page, "sh")
    for line in [*commands_of(block), "gradsift audit --model my-classifier --data reviews.parquet --text text "
                 "--label label --trajectory runs/trajectory -o runs/along"]:  # fmt: skip
        run_command(line, tmp_path)
    assert (tmp_path / "clean.parquet").exists()
    shutil.rmtree(tmp_path / "runs/reviews")
    start = ROOT / "docs/how-to/hugging-face.md"
    for line in [line for block in blocks(start, "sh") for line in commands_of(block)]:
        run_command(line, tmp_path)
    assert pq.read_table(tmp_path / "better.parquet").num_rows < len(texts())
    (tmp_path / "better.parquet").unlink()
    run_code(start, 1)
    (tmp_path / "my_training.py").write_text(blocks(page)[0])
    pq.write_table(pa.Table.from_pylist(texts()), tmp_path / "test.parquet")
    for line in commands_of(blocks(page, "text")[0]):
        run_command(line.replace("--seeds 3", "--seeds 1"), tmp_path)
    assert (tmp_path / "better.parquet").exists()


@pytest.mark.parametrize(
    ("page", "count", "words"),
    [
        ("any-framework", 4, ("probably", "emov")),
        ("correct", 5, ("Held-out samples say that this helps",)),
        ("improve", 2, ("Held-out samples say that this helps", "On the test set")),
        ("influence", 3, ("precision", "at random")),
        ("geometry", 1, ("of the curvature within classes", "memorised")),
    ],
)
def test_the_pages_with_blocks_alone_run(page, count, words, capsys):
    run_code(ROOT / f"docs/{page}.md", count)
    told = capsys.readouterr().out
    assert all(word in told for word in words)


@pytest.fixture
def a_project(tmp_path):
    """The folder of the page on scale: a model, its weights, a training set, and ``gradsift`` on the path."""
    (tmp_path / "project.py").write_text("import torch\n\n\ndef make():\n    return torch.nn.Linear(3, 2)\n")
    torch.manual_seed(0)
    save_file(torch.nn.Linear(3, 2).state_dict(), tmp_path / "model.safetensors")
    inputs = torch.randn(2000, 3).numpy()
    columns = {f"x{place}": inputs[:, place] for place in range(3)}
    pq.write_table(pa.table(columns | {"label": (inputs[:, 0] > 0).astype("int64")}), tmp_path / "train.parquet")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gradsift").write_text(f'#!/bin/sh\nexec {sys.executable} -m gradsift "$@"\n')
    (tmp_path / "bin/gradsift").chmod(0o755)
    return tmp_path


SCALE = ROOT / "docs/scale.md"
LAPTOP, JOB, MERGE, RAY, PLAN, PARTS = range(6)
"""Blocks of the page on scale."""


def in_a_shell(folder, block, **environment):
    """Runs a block of the page on scale as a script."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", blocks(SCALE, "sh")[block]],
        cwd=folder, env=os.environ | {"PATH": path} | environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def in_this_process(folder, block, **variables):
    """Runs the command of a block of the page on scale."""
    (line,) = commands_of(blocks(SCALE, "sh")[block])
    return run_command(line, folder, **variables)


def test_the_page_on_scale_runs_its_array_of_jobs(a_project):
    """The first job in a shell, as SLURM starts it; the other commands in this process."""
    assert len(blocks(SCALE, "sh")) == 6
    in_this_process(a_project, LAPTOP)
    in_a_shell(a_project, JOB, SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_TASK_COUNT="4")
    for job in range(2, 5):
        in_this_process(a_project, JOB, part=f"{job}/4")
    in_this_process(a_project, MERGE)
    laptop, array = (pq.read_table(a_project / f"runs/{run}/scores.parquet") for run in ("laptop", "array"))
    assert laptop.equals(array)


def test_the_page_on_scale_plans(a_project):
    said = " ".join(in_this_process(a_project, PLAN).stdout.split())
    assert re.search(r"On 100 workers as fast as this machine: .* with --shard-size 16\.", said)
    assert "worker spends over 5 % of its time in loading" in said


def test_the_page_on_scale_trims_and_corrects_a_data_set_in_many_files(a_project):
    rows = pq.read_table(a_project / "train.parquet").slice(0, 300)
    (a_project / "parts").mkdir()
    for number in range(3):
        pq.write_table(rows.slice(100 * number, 100), a_project / f"parts/{number}.parquet")
    for line in commands_of(blocks(SCALE, "sh")[PARTS]):
        run_command(line, a_project)
    flagged = pq.read_table(a_project / "runs/parts/scores.parquet")["flagged"].to_numpy()
    assert 0 < flagged.sum() < 300
    for number in range(3):
        kept, relabelled = (
            pq.read_table(a_project / folder / f"{number}.parquet") for folder in ("kept", "relabelled")
        )
        whole, own = rows.slice(100 * number, 100), ~flagged[100 * number : 100 * number + 100]
        assert kept.equals(whole.filter(own))
        assert relabelled["gradsift_given_label"].equals(whole["label"])
        assert relabelled.filter(own).select(rows.column_names).equals(kept)


@pytest.mark.slow
def test_the_page_on_scale_runs_ray(a_project):
    in_this_process(a_project, LAPTOP)
    in_a_shell(a_project, RAY)
    assert pq.read_table(a_project / "runs/ray/scores.parquet").equals(
        pq.read_table(a_project / "runs/laptop/scores.parquet")
    )


def test_the_readme_opens_with_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert text.index("make demo") < text.index("make test") < text.index("## Use it")
