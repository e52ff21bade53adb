"""Decisions as records of Argilla, with responses and suggestions.

What a response has no place for (a distribution over classes, whether a reading was blind) stands in the record's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gradsift.cleaning.decision import Decision
from gradsift.review.formats.item import Item, Names, as_cell, decision_of, json_list


def write_argilla(items: Iterable[Item], names: Names, path: Path) -> None:
    """Writes a list of records as JSON.

    Args:
        items: The samples.
        names: Names of the classes.
        path: A new place.
    """
    records = []
    for item in items:
        exported = [json.dumps(asdict(decision), sort_keys=True) for decision in item.decisions]
        answers: dict[str, list[dict[str, Any]]] = {"decision": [], "label": [], "note": []}
        for decision in item.decisions:
            answers["decision"].append({"value": decision.kind, "user_id": decision.reviewer})
            if decision.kind == "relabel":
                answers["label"].append({"value": names.of(decision.label), "user_id": decision.reviewer})
            if decision.note:
                answers["note"].append({"value": decision.note, "user_id": decision.reviewer})
        suggested = (
            {"label": {"value": item.suggested, "score": item.wrong, "agent": "gradsift"}} if item.suggested else {}
        )
        records.append(
            {"id": item.sample_id, "fields": {"text": item.preview, "given": as_cell(item.given)}, "suggestions": suggested,
             "metadata": {"position": item.position, "content": item.content, "gradsift": exported},
             "responses": {question: said for question, said in answers.items() if said}, "vectors": {}}
        )  # fmt: skip
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")


def read_argilla(path: Path, names: Names) -> list[Decision]:
    """Reads such a list, with what people have changed in it.

    Args:
        path: The place.
        names: Names of the classes.

    Returns:
        The decisions.
    """
    return [decision_of(row, names) for record in json_list(path) for row in _rows(record, names)]


def _rows(record: dict[str, Any], names: Names) -> Iterator[dict[str, Any]]:
    """A row for each user of a record; what they have changed stands above the metadata of what was exported."""
    metadata, responses = record.get("metadata", {}), record.get("responses", {})
    exported = {(row["reviewer"], row["kind"]): row for row in map(json.loads, metadata.get("gradsift", []))}
    labels, notes, kinds = (
        {response.get("user_id"): response["value"] for response in responses.get(question, [])}
        for question in ("label", "note", "decision")
    )
    given = record.get("fields", {}).get("given")
    kinds |= {
        user: "keep" if as_cell(name) == given else "relabel" for user, name in labels.items() if user not in kinds
    }
    for user, kind in kinds.items():
        before = exported.get((user, kind), {})
        label = names.number(labels[user]) if kind == "relabel" and user in labels else before.get("label")
        yield before | {
            "position": metadata.get("position"),
            "sample_id": str(record.get("id") or ""),
            "content": metadata.get("content"),
            "reviewer": str(user),
            "kind": kind,
            "label": json.dumps(label),
            "note": notes.get(user, ""),
        }
