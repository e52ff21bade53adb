"""A row that reaches a table belongs to the sample that it names: collate functions, tables, trajectories that move rows.

Sequences of unequal length are padded by a collate function of the user's own, which also does something to the rows. The
model sums over words, so a sample's loss does not depend on its padding and is known from the sample alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from chaos.isolation import forked
from chaos.stage import Row, Stage, row, spread

COUNT = 660
SETS, SIZE, BATCH = 20, 40, 8
Rows = list[tuple[torch.Tensor, int]]


class Sequences(Dataset):
    """Word numbers of unequal length with a class; in every third data set lengths seldom differ.

    Args:
        seed: Which data set.
    """

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.labels = generator.integers(0, 3, SIZE)
        share = (1.0, 0.3, 0.05)[seed % 3]
        lengths = np.where(generator.random(SIZE) < share, generator.integers(1, 9, SIZE), 9)
        self.words = [
            torch.from_numpy(1 + 9 * label + generator.integers(0, 9, length))
            for label, length in zip(self.labels, lengths, strict=True)
        ]

    def __len__(self) -> int:
        """Number of sequences."""
        return SIZE

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        """Words and class."""
        return self.words[position], int(self.labels[position])


class Words(nn.Module):
    """Sums embeddings of words, none for padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = nn.Embedding(32, 6, padding_idx=0), nn.Linear(6, 3)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Logits of (n, length) words."""
        return self.head(self.embedding(words).sum(dim=1))


def padded(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch of some rows.

    Args:
        rows: The rows.
    """
    words = nn.utils.rnn.pad_sequence([words for words, _ in rows], batch_first=True)
    return words, torch.tensor([label for _, label in rows])


def _by_length(rows: Rows) -> Rows:
    return sorted(rows, key=lambda one: -len(one[0]))


def _without_short(rows: Rows) -> Rows:
    return [one for one in rows if len(one[0]) > 3] or rows[:1]


def _filled(rows: Rows) -> Rows:
    kept = _without_short(rows)
    return (kept * len(rows))[: len(rows)]


def _shuffled(rows: Rows) -> Rows:
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    return [rows[place] for place in order]


MOVES: dict[str, Callable[[Rows], Rows]] = {
    "as they are": lambda rows: rows,
    "sorts by length": _by_length,
    "sorts by length, ascending": lambda rows: _by_length(rows)[::-1],
    "sorts by class": lambda rows: sorted(rows, key=lambda one: one[1]),
    "reverses": lambda rows: rows[::-1],
    "rolls by one": lambda rows: rows[1:] + rows[:1],
    "swaps the last two": lambda rows: [*rows[:-2], *rows[:-3:-1]],
    "shuffles": _shuffled,
    "drops short ones": _without_short,
    "drops short ones and fills up": _filled,
    "drops the last one": lambda rows: rows[:-1] or rows,
    "repeats the first one": lambda rows: [rows[0], *rows],
    "repeats one for another": lambda rows: [rows[0], *rows[:-1]],
    "drops one in seven": lambda rows: [one for place, one in enumerate(rows) if place % 7 != 3],
}  # fmt: skip
ROADS = ("audit", "Recorder")
OTHERS = (
    "a table sorted by score",
    "a table in reverse",
    "a trajectory of another order",
    "a changed image",
    "a file in another order",
)


def attack(stage: Stage, count: int) -> list[Row]:
    """Audits and records through every collate function, and gives tables and data in another order.

    Args:
        stage: Where.
        count: How many in all.
    """
    every = [(road, name) for road in ROADS for name in MOVES] + [("other", name) for name in OTHERS]
    each = max(1, count // len(every))
    cases = [(stage.template, road, name, min(each, SETS)) for road, name in every]
    return [row for rows in stage.map(_attempt, spread(cases, count)) for row in rows]


def _attempt(case: tuple[Path, str, str, int], place: Path) -> list[Row]:
    template, road, name, sets = case
    place.mkdir(parents=True)
    action = {"audit": _audited, "Recorder": _recorded}.get(road)
    found = []
    for seed in range(sets):
        one = partial(action, name, seed) if action else partial(_OTHERS[name], template, seed)
        ended = forked(one, place)
        words = f"{road}, {name}, data set {seed}"
        if ended.kind == "refused":
            found.append(row(words, "refused", name == "as they are", ended.tail))
        elif ended.kind != "done":
            found.append(row(words, ended.kind, True, ended.tail))
        else:
            outcome = "right" if ended.value < 1e-5 else "silently wrong"
            found.append(row(words, outcome, ended.value >= 1e-5, f"off by {ended.value:.3g}"))
    return found


def _alone(model: nn.Module, data: Sequences) -> np.ndarray:
    """The loss of each sample by itself."""
    with torch.no_grad():
        losses = [nn.functional.cross_entropy(model(w[None]), torch.tensor([y])) for w, y in data]  # type: ignore[misc]
    return torch.stack(losses).numpy()


def _audited(name: str, seed: int) -> float:
    import gradsift

    data, model = Sequences(seed), Words().eval()
    loader = DataLoader(data, batch_size=BATCH, collate_fn=lambda rows: padded(MOVES[name](rows)))
    found = gradsift.audit(model, loader, contamination=0.1, shard_size=16, batch_size=BATCH, show_progress=False)
    if not np.array_equal(found.table["given_label"].to_numpy(), data.labels):
        return 1.0
    return float(np.abs(found.table["loss"].to_numpy() - _alone(model, data)).max())


def _recorded(name: str, seed: int) -> float:
    import gradsift

    data, model = Sequences(seed), Words().train()
    indexed = gradsift.indexed(data, lambda rows: padded(MOVES[name](rows)))
    recorder = gradsift.Recorder(model, indexed, passes="train", show_progress=False)
    expected = _alone(model, data)
    for batch in DataLoader(indexed, batch_size=BATCH, collate_fn=indexed.collate, shuffle=True):
        words, _ = recorder.see(batch)
        model(words)
    recorder.end_epoch()
    if recorder.failure is not None:
        raise gradsift.DataError(recorder.failure)
    losses = recorder.trajectory.statistics["loss"][-1]
    seen = np.isfinite(losses)
    return float(np.abs(losses[seen] - expected[seen]).max())


def _table(order: str, template: Path, seed: int) -> float:
    """Trims by the run's own table in another order; how many rows differ from a plain trim."""
    import shutil

    import pyarrow.parquet as pq

    from chaos.workplace import command

    for name in ("project.py", "model.safetensors", "train.parquet"):
        shutil.copy2(template / name, name)
    if not Path("runs").exists():
        shutil.copytree(template / "runs/parquet", "runs/parquet")
    table = pq.read_table("runs/parquet/scores.parquet")
    rows = np.random.default_rng(seed).permutation(len(table)) if order == "sorted" else np.arange(len(table))[::-1]
    pq.write_table(table.take(rows), f"moved-{order}-{seed}.parquet")
    command("trim", "runs/parquet", "--table", f"moved-{order}-{seed}.parquet", "-o", f"clean-{order}-{seed}.parquet")
    flagged = set(table.filter(table["flagged"])["position"].to_pylist())
    expected = pq.read_table("train.parquet").take([p for p in range(len(table)) if p not in flagged])
    return float(not pq.read_table(f"clean-{order}-{seed}.parquet").equals(expected))


def _trajectory(_template: Path, seed: int) -> float:
    """A trajectory of the same samples in another order must be refused."""
    import gradsift

    generator = np.random.default_rng(seed)
    inputs, labels = generator.normal(size=(SIZE, 3)).astype(np.float32), generator.integers(0, 3, SIZE)
    model = nn.Linear(3, 3).eval()
    recorder = gradsift.Recorder(model, (inputs, labels), show_progress=False)
    recorder.evaluate()
    moved = np.random.default_rng(seed).permutation(SIZE)
    gradsift.audit(model, (inputs[moved], labels[moved]), trajectory=recorder, show_progress=False)
    return 1.0


def _image(_template: Path, seed: int) -> float:
    """One image of 600 is replaced after the audit: trim must refuse."""
    import shutil

    from PIL import Image

    from chaos.workplace import IMAGES, command

    Path("project.py").write_text((_template / "project.py").read_text())
    generator = np.random.default_rng(seed)
    shutil.rmtree("images", ignore_errors=True)
    for position in range(600):
        place = Path("images") / "abc"[position % 3] / f"{position:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(place)
    command("audit", *IMAGES, "--data", "images", "-o", f"runs/{seed}")
    changed = sorted(Path("images").rglob("*.png"))[int(generator.integers(600))]
    Image.fromarray(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(changed)
    command("trim", f"runs/{seed}", "-o", f"clean-{seed}")
    return 1.0


def _file(template: Path, seed: int) -> float:
    """Two rows of the audited file change places: trim must refuse."""
    import shutil

    from chaos.workplace import command

    kind = ("csv", "jsonl", "parquet", "npz")[seed % 4]
    shutil.copytree(template / f"runs/{kind}", f"runs/{kind}", dirs_exist_ok=True)
    shutil.copy2(template / "project.py", "project.py")
    first, second = np.random.default_rng(seed).choice(90, 2, replace=False)
    order = np.arange(90)
    order[[first, second]] = second, first
    _moved(template / f"train.{kind}", Path(f"train.{kind}"), kind, order)
    command("trim", f"runs/{kind}", "-o", f"clean-{seed}.{kind}")
    return 1.0


def _moved(source: Path, target: Path, kind: str, order: np.ndarray) -> None:
    import pyarrow.parquet as pq

    if kind == "parquet":
        pq.write_table(pq.read_table(source).take(order), target)
    elif kind == "npz":
        np.savez(target, **{name: array[order] for name, array in np.load(source).items()})
    else:
        head, *lines = source.read_text().splitlines(keepends=True) if kind == "csv" else ["", *_lines(source)]
        target.write_text(head + "".join(lines[place] for place in order))


def _lines(source: Path) -> list[str]:
    return [json.dumps(json.loads(line)) + "\n" for line in source.read_text().splitlines()]


_OTHERS: dict[str, Callable[[Path, int], Any]] = {
    "a table sorted by score": partial(_table, "sorted"),
    "a table in reverse": partial(_table, "reverse"),
    "a trajectory of another order": _trajectory,
    "a changed image": _image,
    "a file in another order": _file,
}
