"""Decisions as tables: Parquet, CSV and Hugging Face datasets, a row a decision; and label issues, a row a sample."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gradsift.cleaning.decision import Decision
from gradsift.errors import SettingError
from gradsift.review.formats.item import Item, Names, as_cell, decision_of

SCHEMA = pa.schema(
    {
        "position": pa.int64(), "sample_id": pa.string(), "content": pa.string(), "reviewer": pa.string(),
        "kind": pa.string(), "label": pa.string(), "label_name": pa.string(), "given_name": pa.string(),
        "note": pa.string(), "milliseconds": pa.int64(), "at": pa.string(), "blind": pa.bool_(),
    }
)  # fmt: skip
"""Columns of decisions; ``label`` is JSON, and the two names are for people and other programs."""


def _rows(items: Iterable[Item], names: Names) -> list[dict[str, Any]]:
    rows = []
    for item in items:
        for decision in item.decisions:
            name = "" if decision.kind != "relabel" else as_cell(names.words(decision.label))
            words = {"given_name": as_cell(item.given), "label_name": name}
            rows.append(asdict(decision) | words | {"label": json.dumps(decision.label)})
    return rows


def _table(items: Iterable[Item], names: Names) -> pa.Table:
    return pa.Table.from_pylist(_rows(items, names), SCHEMA)


def write_parquet(items: Iterable[Item], names: Names, path: Path) -> None:
    """Writes a Parquet file, a row for each decision.

    Args:
        items: The samples.
        names: Names of the classes.
        path: A new place.
    """
    pq.write_table(_table(items, names), path)


def read_parquet(path: Path, names: Names) -> list[Decision]:
    """Reads it.

    Args:
        path: The place.
        names: Names of the classes.

    Returns:
        The decisions.
    """
    return [decision_of(row, names) for row in pq.read_table(path).to_pylist()]


def write_datasets(items: Iterable[Item], names: Names, path: Path) -> None:
    """Writes a folder of Hugging Face datasets, a row for each decision.

    Args:
        items: The samples.
        names: Names of the classes.
        path: A new place.
    """
    _datasets().Dataset(_table(items, names)).save_to_disk(str(path))


def read_datasets(path: Path, names: Names) -> list[Decision]:
    """Reads it.

    Args:
        path: The place.
        names: Names of the classes.

    Returns:
        The decisions.
    """
    return [decision_of(dict(row), names) for row in _datasets().load_from_disk(str(path))]


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise SettingError("this format needs the package datasets: pip install datasets, or choose parquet") from error
    return datasets


def write_csv(items: Iterable[Item], names: Names, path: Path) -> None:
    """Writes a CSV file, a row for each decision.

    Args:
        items: The samples.
        names: Names of the classes.
        path: A new place.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, SCHEMA.names)
        writer.writeheader()
        writer.writerows({name: _harmless(value) for name, value in row.items()} for row in _rows(items, names))


def read_csv(path: Path, names: Names) -> list[Decision]:
    """Reads it.

    Args:
        path: The place.
        names: Names of the classes.

    Returns:
        The decisions.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [
            decision_of({name: _plain(value) for name, value in row.items()}, names) for row in csv.DictReader(file)
        ]


def _harmless(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula begins with a mark that makes it text."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r", "'") else value


def _plain(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value[:1] == "'" else value


def write_issues(items: Iterable[Item], names: Names, path: Path) -> None:
    """Writes a CSV file of label issues as cleanlab has them, a row for each sample.

    Args:
        items: The samples.
        names: Names of the classes.
        path: A new place.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["position", "is_label_issue", "label_score", "given_label", "predicted_label"])
        for item in items:
            last = item.decisions[-1] if item.decisions else None
            wrong = item.wrong if last is None or last.kind == "skip" else float(last.kind != "keep")
            issue = bool(item.suggested) if wrong is None else wrong > 0.5
            relabelled = last is not None and last.kind == "relabel"
            other = names.words(last.label) if relabelled and last is not None else item.suggested
            score = "" if wrong is None else f"{1 - wrong:.6g}"
            shown = (as_cell(item.given), as_cell(other if issue else item.given))
            writer.writerow([item.position, issue, score, *map(_harmless, shown)])


def read_issues(path: Path, names: Names) -> list[Decision]:
    """Reads it: what is an issue gets its predicted label.

    Args:
        path: The place.
        names: Names of the classes.

    Returns:
        The decisions.
    """
    decisions = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if str(row.get("is_label_issue")).lower() in ("true", "1"):
                label, other = _plain(row.get("given_label")), _plain(row.get("predicted_label"))
                kind = "relabel" if other and other != label else "ambiguous"
                about = {"position": row.get("position") or number, "reviewer": "issue table", "kind": kind}
                decisions.append(decision_of(about | {"label_name": other if kind == "relabel" else ""}, names))
    return decisions
