"""File formats of decisions: one table of them, each read and written.

Every format holds who decided what about which sample. What a format has no place for (a distribution over classes, whether
a reading was blind) stands in a field of metadata that its program carries along.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gradsift.cleaning.decision import Decision
from gradsift.errors import DataError, SettingError

SCHEMA = pa.schema(
    {
        "position": pa.int64(), "sample_id": pa.string(), "content": pa.string(), "reviewer": pa.string(),
        "kind": pa.string(), "label": pa.string(), "label_name": pa.string(), "given_name": pa.string(),
        "note": pa.string(), "milliseconds": pa.int64(), "at": pa.string(), "blind": pa.bool_(),
    }
)  # fmt: skip
"""Columns of decisions; ``label`` is JSON, and the two names are for people and other programs."""


@dataclass(frozen=True)
class Item:
    """A sample with what was decided about it, as formats write it.

    Attributes:
        position: Its position.
        sample_id: Its id.
        content: Hash of its content.
        preview: A short text that shows it.
        given: Its given label in words.
        suggested: The label that the audit suggests, in words; empty where there is none.
        wrong: Probability that the given label is wrong; ``None`` where it is not known.
        decisions: What was decided.
    """

    position: int
    sample_id: str
    content: str
    preview: str = ""
    given: str = ""
    suggested: str = ""
    wrong: float | None = None
    decisions: Sequence[Decision] = field(default=())


@dataclass(frozen=True)
class Names:
    """Names of the classes.

    Attributes:
        names: In the order of their numbers; ``None`` where numbers are the names.
    """

    names: Sequence[str] | None = None

    def of(self, label: Any) -> Any:
        """A label in words.

        Args:
            label: A class number, a list of them, or anything else.

        Returns:
            The name, a list of names, or the label itself.
        """
        if isinstance(label, list):
            return [self.of(one) for one in label]
        known = self.names is not None and type(label) is int and 0 <= label < len(self.names)
        return self.names[label] if known and self.names is not None else label

    def number(self, name: Any) -> Any:
        """The reverse of :meth:`of`.

        Args:
            name: A name, or a list of names.

        Returns:
            The class number; what is no name stays as it is, a number in words becomes one.
        """
        if isinstance(name, list):
            return [self.number(one) for one in name]
        if self.names is not None and name in self.names:
            return list(self.names).index(name)
        return int(name) if isinstance(name, str) and name.isdecimal() else name


def _rows(items: Iterable[Item], names: Names) -> list[dict[str, Any]]:
    rows = []
    for item in items:
        for one in item.decisions:
            word = "" if one.kind != "relabel" else names.of(one.label)
            told = {"label": json.dumps(one.label), "given_name": item.given}
            rows.append(asdict(one) | told | {"label_name": word if isinstance(word, str) else json.dumps(word)})
    return rows


def _decision(row: dict[str, Any], names: Names) -> Decision:
    """A decision from a row of named values, as a table or metadata has it."""
    label = row.get("label")
    try:
        label = json.loads(label) if isinstance(label, str) and label else None
        label = names.number(row["label_name"]) if label is None and row.get("label_name") else label
        return Decision(
            int(row["position"]), str(row.get("sample_id") or ""), str(row.get("content") or ""), str(row["reviewer"]),
            str(row["kind"]), label if row["kind"] in ("relabel", "ambiguous") else None, str(row.get("note") or ""),
            int(row.get("milliseconds") or 0), str(row.get("at") or ""), str(row.get("blind")) in ("True", "true", "1"),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"a row of decisions cannot be read ({error!r}): it needs position, reviewer and kind"
        ) from error


def _table(items: Iterable[Item], names: Names) -> pa.Table:
    return pa.Table.from_pylist(_rows(items, names), SCHEMA)


def _write_parquet(items: Iterable[Item], names: Names, path: Path) -> None:
    pq.write_table(_table(items, names), path)


def _read_parquet(path: Path, names: Names) -> list[Decision]:
    return [_decision(row, names) for row in pq.read_table(path).to_pylist()]


def _write_datasets(items: Iterable[Item], names: Names, path: Path) -> None:
    _datasets().Dataset(_table(items, names)).save_to_disk(str(path))


def _read_datasets(path: Path, names: Names) -> list[Decision]:
    return [_decision(dict(row), names) for row in _datasets().load_from_disk(str(path))]


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise SettingError("this format needs the package datasets: pip install datasets, or choose parquet") from error
    return datasets


def _write_csv(items: Iterable[Item], names: Names, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, SCHEMA.names)
        writer.writeheader()
        writer.writerows({name: _harmless(value) for name, value in row.items()} for row in _rows(items, names))


def _read_csv(path: Path, names: Names) -> list[Decision]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [_decision({name: _plain(value) for name, value in row.items()}, names) for row in csv.DictReader(file)]


def _harmless(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula begins with a mark that makes it text."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "'") else value


def _plain(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value[:1] == "'" else value


def _write_label_studio(items: Iterable[Item], names: Names, path: Path) -> None:
    tasks = []
    for item in items:
        data = {"text": item.preview, "given": item.given, "position": item.position, "id": item.sample_id}
        task: dict[str, Any] = {"data": data | {"content": item.content}, "annotations": [], "predictions": []}
        for one in item.decisions:
            own = {
                name: value for name, value in asdict(one).items() if name not in ("position", "sample_id", "content")
            }
            found = [_choice("decision", [one.kind]) | {"meta": {"gradsift": own}}]
            if one.kind == "relabel":
                word = names.of(one.label)
                found.append(_choice("label", word if isinstance(word, list) else [str(word)]))
            if one.note:
                found.append(
                    {"from_name": "note", "to_name": "text", "type": "textarea", "value": {"text": [one.note]}}
                )
            task["annotations"].append(
                {"result": found, "lead_time": one.milliseconds / 1000, "created_at": one.at,
                 "was_cancelled": one.kind == "skip"}
            )  # fmt: skip
        if item.suggested:
            task["predictions"].append({"result": [_choice("label", [item.suggested])], "score": item.wrong})
        tasks.append(task)
    path.write_text(json.dumps(tasks, indent=1), encoding="utf-8")


def _choice(name: str, choices: list[str]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "text", "type": "choices", "value": {"choices": choices}}


def _read_label_studio(path: Path, names: Names) -> list[Decision]:
    found = []
    for task in _json_list(path):
        data = task.get("data", {})
        for annotation in task.get("annotations", []):
            by_name = {one.get("from_name"): one for one in annotation.get("result", [])}
            choices = {
                name: by_name[name]["value"].get("choices", []) for name in ("decision", "label") if name in by_name
            }
            kept = by_name.get("decision", {}).get("meta", {}).get("gradsift", {})
            who = annotation.get("completed_by")
            who = who.get("email", who.get("id")) if isinstance(who, dict) else who
            labels = names.number(choices.get("label", []))
            kind = choices.get("decision", [""])[0] or ("skip" if annotation.get("was_cancelled") else "")
            kind = kind or ("relabel" if labels and choices["label"] != [data.get("given")] else "keep")
            label = labels if len(labels) != 1 or isinstance(kept.get("label"), list) else labels[0]
            note = by_name.get("note", {}).get("value", {}).get("text", [""])
            row = {
                "position": data.get("position"), "sample_id": data.get("id"), "content": data.get("content"),
                "reviewer": kept.get("reviewer") or f"Label Studio {who or ''}".strip(), "kind": kind,
                "label": json.dumps(label if kind == "relabel" else kept.get("label")),
                "note": note[0] if isinstance(note, list) else note, "blind": kept.get("blind"),
                "milliseconds": round(1000 * float(annotation.get("lead_time") or 0)),
                "at": kept.get("at") or annotation.get("updated_at") or annotation.get("created_at"),
            }  # fmt: skip
            found.append(_decision(row, names))
    return found


def _write_argilla(items: Iterable[Item], names: Names, path: Path) -> None:
    records = []
    for item in items:
        own = [json.dumps(asdict(one), sort_keys=True) for one in item.decisions]
        answers: dict[str, list[dict[str, Any]]] = {"decision": [], "label": [], "note": []}
        for one in item.decisions:
            answers["decision"].append({"value": one.kind, "user_id": one.reviewer})
            if one.kind == "relabel":
                answers["label"].append({"value": names.of(one.label), "user_id": one.reviewer})
            if one.note:
                answers["note"].append({"value": one.note, "user_id": one.reviewer})
        suggested = (
            {"label": {"value": item.suggested, "score": item.wrong, "agent": "gradsift"}} if item.suggested else {}
        )
        records.append(
            {"id": item.sample_id, "fields": {"text": item.preview, "given": item.given}, "suggestions": suggested,
             "metadata": {"position": item.position, "content": item.content, "gradsift": own},
             "responses": {name: given for name, given in answers.items() if given}, "vectors": {}}
        )  # fmt: skip
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")


def _read_argilla(path: Path, names: Names) -> list[Decision]:
    found = []
    for record in _json_list(path):
        about, answers = record.get("metadata", {}), record.get("responses", {})
        kept = {(one["reviewer"], one["kind"]): one for one in map(json.loads, about.get("gradsift", []))}
        labels = {one.get("user_id"): one["value"] for one in answers.get("label", [])}
        notes = {one.get("user_id"): one["value"] for one in answers.get("note", [])}
        users = {one.get("user_id"): one["value"] for one in answers.get("decision", [])}
        given = record.get("fields", {}).get("given")
        users |= {who: "keep" if word == given else "relabel" for who, word in labels.items() if who not in users}
        for who, kind in users.items():
            before = kept.get((who, kind), {})
            label = names.number(labels[who]) if kind == "relabel" and who in labels else before.get("label")
            row = before | {
                "position": about.get("position"), "sample_id": str(record.get("id") or ""),
                "content": about.get("content"), "reviewer": str(who), "kind": kind, "label": json.dumps(label),
                "note": notes.get(who, ""),
            }  # fmt: skip
            found.append(_decision(row, names))
    return found


def _json_list(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is no readable JSON ({error}): give what was exported") from error
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise DataError(f"{path} holds no list of objects: give a list of tasks or records, as they are exported")
    return content


def _write_issues(items: Iterable[Item], names: Names, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["position", "is_label_issue", "label_score", "given_label", "predicted_label"])
        for item in items:
            last = item.decisions[-1] if item.decisions else None
            wrong = item.wrong if last is None or last.kind == "skip" else float(last.kind != "keep")
            issue = bool(item.suggested) if wrong is None else wrong > 0.5
            relabelled = last is not None and last.kind == "relabel"
            other = str(names.of(last.label)) if relabelled and last is not None else item.suggested
            score = "" if wrong is None else f"{1 - wrong:.6g}"
            writer.writerow(
                [item.position, issue, score, *map(_harmless, (item.given, other if issue else item.given))]
            )


def _read_issues(path: Path, names: Names) -> list[Decision]:
    found = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for place, row in enumerate(csv.DictReader(file)):
            if str(row.get("is_label_issue")).lower() in ("true", "1"):
                given, other = _plain(row.get("given_label")), _plain(row.get("predicted_label"))
                kind = "relabel" if other and other != given else "ambiguous"
                about = {"position": row.get("position") or place, "reviewer": "issue table", "kind": kind}
                found.append(_decision(about | {"label_name": other if kind == "relabel" else ""}, names))
    return found


@dataclass(frozen=True)
class Format:
    """A format of files of decisions.

    Attributes:
        words: What it is.
        ending: How its files end; a folder where empty.
        write: From items, names of classes and a path that is new.
        read: From a path and names of classes.
        everything: Whether it holds flagged samples that nobody has decided about, too.
    """

    words: str
    ending: str
    write: Callable[[Iterable[Item], Names, Path], None]
    read: Callable[[Path, Names], list[Decision]]
    everything: bool = False


FORMATS = {
    "parquet": Format("a table, a row a decision", ".parquet", _write_parquet, _read_parquet),
    "csv": Format("the same as text", ".csv", _write_csv, _read_csv),
    "datasets": Format("the same as a folder of Hugging Face datasets", "", _write_datasets, _read_datasets),
    "label-studio": Format(
        "tasks with annotations and predictions of Label Studio", ".json", _write_label_studio, _read_label_studio, True
    ),
    "argilla": Format("records of Argilla", ".json", _write_argilla, _read_argilla, True),
    "issues": Format("label issues as cleanlab has them, a row a sample", ".csv", _write_issues, _read_issues, True),
}
"""Name to format."""
