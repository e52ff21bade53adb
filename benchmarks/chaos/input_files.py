"""Files that are broken, of another kind than their name says, or no files at all."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from chaos.inputs import ANY, REFUSED, Input

LABELS = [0, 1, 2, 1, 0, 2, 1, 2]
FEATURES = [[float(place), place / 4] for place in range(8)]
RIGHT = {"x": FEATURES, "labels": LABELS}
KINDS = ("npz", "csv", "parquet", "jsonl")


def content(kind: str) -> bytes:
    """A good file of some format.

    Args:
        kind: The format.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    made = io.BytesIO()
    if kind == "npz":
        np.savez(made, x=np.array(FEATURES), label=np.array(LABELS))
        return made.getvalue()
    columns = np.array(FEATURES)
    table = pa.table({"a": columns[:, 0], "b": columns[:, 1], "label": LABELS})
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()
    {"csv": pa.csv.write_csv, "parquet": pq.write_table}[kind](table, made)
    return made.getvalue()


def read(path: str, **options: Any) -> dict[str, Any]:
    """Reads a file as ``gradsift audit`` does; the values of every sample.

    Args:
        path: The file.
        options: For the reader.
    """
    import torch

    from gradsift.data import Samples
    from gradsift.data.files import load

    loaded = load(path, **options)
    samples = Samples(loaded.dataset)
    batch = samples.batch(np.arange(len(samples)))
    inputs, labels = (torch.as_tensor(part) for part in batch)
    found: dict[str, Any] = {"x": inputs.tolist(), "labels": labels.tolist()}
    if loaded.class_names is not None:
        found["words"] = [loaded.class_names[label] for label in labels.tolist()]
    return found


def cases() -> list[Input]:
    """Every format with every fault of a file."""
    found = []
    for kind in KINDS:
        for name, (spoil, expected) in FAULTS.items():
            found.append(Input(f"{kind}: {name}", partial(_spoilt, kind, spoil), expected))
        for other in KINDS:
            if other != kind:
                found.append(Input(f"{other} named .{kind}", partial(_renamed, other, f"data.{kind}")))
        for name in NAMES:
            found.append(Input(f"{kind}: named {name!r}", partial(_renamed, kind, f"{name}.{kind}"), RIGHT))
    found += [
        Input(f"suffix {suffix!r}", partial(_renamed, "csv", f"data{suffix}"), ANY if suffix == ".CSV" else REFUSED)
        for suffix in (".CSV", "", ".txt", ".pkl", ".pt", ".xlsx", ".json", ".csv.gz", ".arrow")
    ]
    return found


def _renamed(kind: str, name: str) -> dict[str, Any]:
    Path(name).write_bytes(content(kind))
    return read(name)


def _spoilt(kind: str, spoil: Callable[[Path, bytes], None]) -> dict[str, Any]:
    path = Path(f"data.{kind}")
    spoil(path, content(kind))
    return read(str(path))


def _linked(path: Path, whole: bytes) -> None:
    Path("elsewhere").write_bytes(whole)
    path.symlink_to("elsewhere")


def _flipped(place: float, path: Path, whole: bytes) -> None:
    changed = bytearray(whole)
    changed[int(place * len(whole))] ^= 255
    path.write_bytes(changed)


NAMES = (
    "[INST]",
    "[bold]",
    "two\nlines",
    "\x1b[31mred",
    "snö ☃",
    " ",
    "--help",
    "a" * 200,
    "..",
    "x;y|z",
    "not\udcffutf",
)
FAULTS: dict[str, tuple[Callable[[Path, bytes], Any], Any]] = {
    "missing": (lambda _path, _whole: None, REFUSED),
    "empty": (lambda path, _whole: path.write_bytes(b""), REFUSED),
    "one byte": (lambda path, whole: path.write_bytes(whole[:1]), REFUSED),
    "half": (lambda path, whole: path.write_bytes(whole[: len(whole) // 2 + 1]), ANY),  # lines of text may be whole
    "zeros": (lambda path, _whole: path.write_bytes(bytes(200)), REFUSED),
    "noise": (lambda path, _whole: path.write_bytes(np.random.default_rng(0).bytes(500)), REFUSED),
    "gzip": (lambda path, whole: path.write_bytes(gzip.compress(whole)), REFUSED),
    "a folder": (lambda path, _whole: path.mkdir(), REFUSED),
    "a FIFO": (lambda path, _whole: os.mkfifo(path), REFUSED),
    "a dangling link": (lambda path, _whole: path.symlink_to("nowhere"), REFUSED),
    "a link to itself": (lambda path, _whole: path.symlink_to(path.name), REFUSED),
    "a link": (_linked, RIGHT),
    "a device": (lambda path, _whole: path.symlink_to("/dev/null"), REFUSED),
    "a byte flipped at the start": (partial(_flipped, 0.0), ANY),
    "a byte flipped in the middle": (partial(_flipped, 0.5), ANY),
    "a byte flipped near the end": (partial(_flipped, 0.97), ANY),
}
