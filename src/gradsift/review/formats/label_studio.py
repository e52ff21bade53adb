"""Decisions as tasks of Label Studio, with annotations and predictions.

What an annotation has no place for (a distribution over classes, whether a reading was blind) stands in the metadata of its
first result, which Label Studio carries along. Labels of tokens are spans of the text, whose tokens stand in the task.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gradsift.cleaning.decision import Decision
from gradsift.review.formats.item import Item, Names, decision_of, json_list
from gradsift.review.formats.spans import labels_of, offsets_of, spans_of

OF_TASK = ("position", "sample_id", "content")
"""Fields of a decision that stand in the task."""


def write_label_studio(items: Iterable[Item], names: Names, path: Path) -> None:
    """Writes a list of tasks as JSON.

    Args:
        items: The samples.
        names: Names of the classes.
        path: A new place.
    """
    tasks = []
    for item in items:
        data = {"text": item.preview, "given": item.given, "position": item.position, "id": item.sample_id}
        task: dict[str, Any] = {"data": data | {"content": item.content}, "predictions": []}
        text, offsets = offsets_of(item.words)
        if item.words:
            task["data"] |= {"text": text, "tokens": offsets}
        task["annotations"] = [_annotation(decision, names, text, offsets) for decision in item.decisions]
        if item.suggested:
            task["predictions"].append({"result": _labels(item.suggested, text, offsets), "score": item.wrong})
        tasks.append(task)
    path.write_text(json.dumps(tasks, indent=1), encoding="utf-8")


def _annotation(decision: Decision, names: Names, text: str, offsets: list[list[int]]) -> dict[str, Any]:
    metadata = {name: value for name, value in asdict(decision).items() if name not in OF_TASK}
    result = [_choice("decision", [decision.kind]) | {"meta": {"gradsift": metadata}}]
    if decision.kind == "relabel":
        result += _labels(names.words(decision.label), text, offsets)
    if decision.note:
        result.append({"from_name": "note", "to_name": "text", "type": "textarea", "value": {"text": [decision.note]}})
    return {
        "result": result,
        "lead_time": decision.milliseconds / 1000,
        "created_at": decision.at,
        "was_cancelled": decision.kind == "skip",
    }


def _labels(words: str | list[str], text: str, offsets: list[list[int]]) -> list[dict[str, Any]]:
    """Results that give a label: choices, or of tokens a span for each name."""
    if not offsets:
        return [_choice("label", _listed(words))]
    spans = spans_of(_listed(words), offsets)
    about = {"from_name": "label", "to_name": "text", "type": "labels"}
    return [about | {"value": span | {"text": text[span["start"] : span["end"]]}} for span in spans]


def _listed(words: str | list[str]) -> list[str]:
    return words if isinstance(words, list) else [words]


def _choice(name: str, choices: list[str]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "text", "type": "choices", "value": {"choices": choices}}


def read_label_studio(path: Path, names: Names) -> list[Decision]:
    """Reads such a list, with what people have changed in it.

    Args:
        path: The place.
        names: Names of the classes.

    Returns:
        The decisions.
    """
    return [
        decision_of(_row(task.get("data", {}), annotation, names), names)
        for task in json_list(path)
        for annotation in task.get("annotations", [])
    ]


def _of_tokens(annotation: dict[str, Any], offsets: list[list[int]], known: list[list[str]], names: Names) -> list[str]:
    """The label of each token: those that were known, where nobody has changed their spans."""
    spans = [result["value"] for result in annotation.get("result", []) if result.get("type") == "labels"]
    annotated = sorted(
        ({name: span[name] for name in ("start", "end", "labels")} for span in spans), key=lambda s: s["start"]
    )
    same = (labels for labels in known if len(labels) == len(offsets) and spans_of(labels, offsets) == annotated)
    return next(same, None) or labels_of(annotated, offsets, names.names or ())


def _row(data: dict[str, Any], annotation: dict[str, Any], names: Names) -> dict[str, Any]:
    """One annotation as a row; what people have changed stands above the metadata of what was exported."""
    results = {result.get("from_name"): result for result in annotation.get("result", [])}
    choices = {name: results[name]["value"].get("choices", []) for name in ("decision", "label") if name in results}
    exported = results.get("decision", {}).get("meta", {}).get("gradsift", {})
    who = annotation.get("completed_by")
    who = who.get("email", who.get("id")) if isinstance(who, dict) else who
    if "tokens" in data:
        known = [names.words(exported.get("label")), data.get("given")]
        choices["label"] = _of_tokens(
            annotation, data["tokens"], [one for one in known if isinstance(one, list)], names
        )
    labels = names.number(choices.get("label", []))
    kind = choices.get("decision", [""])[0] or ("skip" if annotation.get("was_cancelled") else "")
    kind = kind or ("relabel" if labels and choices["label"] != _listed(data.get("given", "")) else "keep")
    label = labels if len(labels) != 1 or names.several or isinstance(exported.get("label"), list) else labels[0]
    note = results.get("note", {}).get("value", {}).get("text", [""])
    return {
        "position": data.get("position"),
        "sample_id": data.get("id"),
        "content": data.get("content"),
        "reviewer": exported.get("reviewer") or f"Label Studio {who or ''}".strip(),
        "kind": kind,
        "label": json.dumps(label if kind == "relabel" else exported.get("label")),
        "note": note[0] if isinstance(note, list) else note,
        "blind": exported.get("blind"),
        "milliseconds": round(1000 * float(annotation.get("lead_time") or 0)),
        "at": exported.get("at") or annotation.get("updated_at") or annotation.get("created_at"),
    }
