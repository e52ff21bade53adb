"""A user's folder: a project with two models, its weights, and the same data in every format that gradsift reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

SIZE, CLASSES = 90, ("ash", "birch", "cedar")
HUB = "someone/words"
"""Id of a data set of the hub, which :func:`command` finds in ``words.parquet``."""
PROJECT = """
import torch
from torch import nn


def make():
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))


def make_for_images():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 3))


def train(dataset, *, seed):
    torch.manual_seed(seed)
    inputs, labels = (torch.as_tensor(part) for part in dataset)
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(20):
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
"""
MODEL = ("--model", "project:make", "--weights", "model.safetensors", "--shard-size", "32", "--contamination", "0.1")
IMAGES = ("--model", "project:make_for_images", *MODEL[4:])
WORDS = ("--model", "classifier", "--text", "text", "--label", "label", *MODEL[4:])


def command(*arguments: str) -> None:
    """Runs ``gradsift`` in this process; it ends by ``SystemExit`` where something is refused.

    Args:
        arguments: What a user types after ``gradsift``.
    """
    import datasets

    from gradsift.cli import main

    load = datasets.load_dataset
    if Path("words.parquet").exists():
        datasets.load_dataset = lambda _name, split: datasets.Dataset.from_parquet(
            "words.parquet", split=split, cache_dir=str(Path.cwd().parent / "cache")
        )
    sys.argv = ["gradsift", *arguments]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise
    finally:
        datasets.load_dataset = load


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs (n, 2), given labels (n,) of which nine are wrong, and true labels (n,)."""
    generator = np.random.default_rng(0)
    true = np.arange(SIZE) % 3
    inputs = 4 * np.array([[0, 1], [1, -0.5], [-1, -0.5]])[true] + generator.normal(size=(SIZE, 2))
    given = true.copy()
    wrong = generator.choice(SIZE, 9, replace=False)
    given[wrong] = (given[wrong] + 1) % 3
    return inputs.astype(np.float32), given, true


def build() -> None:
    """Fills the working directory: data, models, and a whole run of each format."""
    from safetensors.torch import save_file

    Path("project.py").write_text(PROJECT)
    inputs, given, true = arrays()
    np.savez("train.npz", x=inputs, label=given)
    names = np.array(CLASSES)
    columns = {"width": inputs[:, 0], "height": inputs[:, 1], "label": names[given], "true": names[true]}
    table = pa.table(columns)
    pq.write_table(table, "train.parquet")
    pq.write_table(pa.table(columns | {"label": names[true]}), "test.parquet")
    pa_csv.write_csv(table, "train.csv")
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    import project

    save_file(project.train((inputs, given), seed=0).state_dict(), "model.safetensors")
    _images(given)
    _words(given)
    for kind in ("npz", "csv", "parquet", "jsonl"):
        command("audit", *MODEL, "--data", f"train.{kind}", "-o", f"runs/{kind}")
    command("audit", *IMAGES, "--data", "images", "-o", "runs/images")
    command("audit", *WORDS, "--data", HUB, "-o", "runs/hub")
    trajectory(1)


def trajectory(epochs: int, place: str = "trajectory") -> None:
    """Trains with a recorder and saves what it recorded.

    Args:
        epochs: How many epochs.
        place: Where to save.
    """
    import project
    import torch

    import gradsift

    inputs, given, _ = arrays()
    torch.manual_seed(0)
    model = project.make()
    recorder = gradsift.Recorder(model, (inputs, given), show_progress=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(epochs):
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(inputs)), torch.from_numpy(given))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recorder.end_epoch()
    recorder.save(place)


def _images(given: np.ndarray) -> None:
    from PIL import Image

    generator = np.random.default_rng(1)
    for position, label in enumerate(given):
        pixels = generator.integers(0, 80, (8, 8, 3)) + np.array([0, 80, 160])[[position % 3]]
        place = Path("images") / CLASSES[label] / f"{position:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(place)


def _words(given: np.ndarray) -> None:
    import torch
    import transformers as tf
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: place for place, word in enumerate(["<unk>", "<pad>", *(f"w{place}" for place in range(30))])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    encoder = tf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", model_max_length=16
    )
    torch.manual_seed(0)
    config = tf.BertConfig(
        vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=16, num_labels=3, pad_token_id=1,
        id2label=dict(enumerate(CLASSES)), label2id={name: place for place, name in enumerate(CLASSES)},
    )  # fmt: skip
    tf.BertForSequenceClassification(config).eval().save_pretrained("classifier")
    encoder.save_pretrained("classifier")
    generator = np.random.default_rng(2)
    texts = [" ".join(f"w{10 * (place % 3) + i}" for i in generator.integers(0, 10, 4)) for place in range(SIZE)]
    pq.write_table(pa.table({"text": texts, "label": given}), "words.parquet")
