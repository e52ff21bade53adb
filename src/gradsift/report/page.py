"""Puts the page together."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from markupsafe import Markup

from gradsift.data import Samples
from gradsift.errors import OutputError, SettingError
from gradsift.evaluation import Verification
from gradsift.locations import Location, as_location
from gradsift.report.content import content_of
from gradsift.report.decided import what_was_decided
from gradsift.report.findings import besides_labels
from gradsift.report.geometry import geometry_plots
from gradsift.report.highlights import Highlight, read_highlights
from gradsift.report.listing import as_data, listing, policy, script
from gradsift.report.plots import gradient_space, histogram_of
from gradsift.report.samples import on_cards, render_sample
from gradsift.report.template import fill
from gradsift.report.tokens import render_tokens
from gradsift.store.tables import numbers_of
from gradsift.table import COLUMNS, AuditedRun
from gradsift.table.findings import FINDING_COLUMNS, FINDINGS
from gradsift.table.notices import counted
from gradsift.writing import always, new_file

GENERATOR = b'<meta name="generator" content="gradsift">'
WITHOUT = b"samples are shown without a preview"
"""What a page says that was written without the data set."""
LARGEST_MATRIX = 20
"""Most classes of the given x predicted matrix; the most frequent ones are shown."""
LARGEST_REMOVED = 50
"""Most classes of which it is shown what is removed: those that lose the largest share."""


def write_report(
    audit: AuditedRun, path: str | Location, train_set: Any = None, verification: Verification | None = None
) -> Location:
    """Writes one self-contained HTML page without network access.

    Args:
        audit: The audit.
        path: Where to.
        train_set: The data set, for previews of samples.
        verification: What retraining has shown, if it was done.

    Returns:
        The path.

    Raises:
        OutputError: A page that gradsift has not made stands there, or one that shows samples which this one cannot show,
            or it cannot be written.
        SettingError: The path is not named ``*.html``, so it may be something else that must not be overwritten.
    """
    content, place = _content(audit, train_set, verification), as_location(path)
    if not content["has_previews"] and place.exists() and _shows_samples(place):
        raise OutputError(
            f"{place} shows samples. The data set is not at hand, so a new page would show none: give the new page another "
            "name (gradsift report -o page.html), or the data set"
        )
    own = as_location(path).resolve() == (audit.run.path / "report.html").resolve()
    return write_page(path, "page.html.j2", content, replaces_any=own)


def write_page(path: str | Location, template: str, content: dict[str, Any], *, replaces_any: bool = False) -> Location:
    """Writes a page from a template.

    Args:
        path: Where to, ``*.html``.
        template: Name of the template.
        content: What it shows.
        replaces_any: Whether a page of other origin may be replaced, too, because it lies in a folder of gradsift's own.

    Returns:
        The path.

    Raises:
        OutputError: A page that gradsift has not made stands there, or it cannot be written.
        SettingError: The path is not named ``*.html``, so it may be something else that must not be overwritten.
    """
    path = as_location(path)
    if path.suffix not in (".html", ".htm"):
        raise SettingError(f"the report is a web page: name it *.html; given {path.name}")
    page = fill(template, content)
    with new_file(path, replaces=always if replaces_any else _is_own_page) as file:
        file.write_text(page, encoding="utf-8")
    return path


def _is_own_page(path: Location) -> bool:
    """Whether a page says that gradsift has made it."""
    with path.open("rb") as file:
        return GENERATOR in file.read(4096)


def _shows_samples(path: Location) -> bool:
    """Whether a page has cards of samples with previews."""
    page = path.read_bytes()
    return GENERATOR in page[:4096] and b'id="cards"' in page and WITHOUT not in page


def _content(audit: AuditedRun, train_set: Any, verification: Verification | None) -> dict[str, Any]:
    highlights = read_highlights(audit.run)
    examined = audit.run.path / "geometry.json"
    geometry = audit.run.read_json("geometry.json") if examined.exists() else None
    samples = None  # a later page of token highlights is the same without the data
    if train_set is not None and not highlights:
        samples = audit.samples_of(train_set).raw
    return {
        "audit": audit,
        "details": audit.details,
        "settings": audit.run.config.get("settings", {}),
        "verification": verification,
        "decided": what_was_decided(audit, train_set),
        "histogram": histogram_of(audit),
        "findings": besides_labels(audit, samples),
        "cards": _cards(audit, train_set, highlights),
        "has_previews": train_set is not None or bool(highlights),
        "has_shares": bool(highlights),
        "has_texts": bool(highlights) or _are_texts(samples),
        "has_token_losses": any(highlight.loss is not None for highlight in highlights.values()),
        "listed": listing(audit, lambda label: class_name(audit, label)),
        "as_data": as_data,
        "script": script(),
        "policy": policy(),
        "matrix": _matrix(audit),
        "removed": removed_by_class(audit),
        "space": gradient_space(audit),
        "geometry": geometry,
        "geometry_plots": geometry_plots(geometry) if geometry is not None else [],
        "columns": COLUMNS | (FINDING_COLUMNS if FINDINGS in audit.table.column_names else {}),
        "as_json": lambda value: Markup("<pre>{}</pre>").format(json.dumps(value, indent=2, sort_keys=True)),
    }


def _are_texts(samples: Samples | None) -> bool:
    """Whether samples are texts, whose cards are wide, by the first one."""
    return samples is not None and content_of(samples.sample(0)).form in ("text", "chat", "pair")


def class_name(audit: AuditedRun, label: Any) -> str:
    """A label in words.

    Args:
        audit: The audit, which may know names of classes.
        label: A class number, a value, or several labels.

    Returns:
        The name of the class where it is known.
    """
    if label is None:
        return "none"
    if isinstance(label, list):
        on = [class_name(audit, place) for place, value in enumerate(label) if value == 1]
        masked = [class_name(audit, place) for place, value in enumerate(label) if value is None]
        if set(label) <= {0, 1, None}:
            return (", ".join(on) or "none") + (f" (not known: {', '.join(masked)})" if masked else "")
        return ", ".join("not known" if value is None else f"{value:.4g}" for value in label)
    if isinstance(label, float):
        return f"{label:.4g}"
    names = audit.class_names
    return names[label] if names is not None and 0 <= label < len(names) else str(label)


def _cards(audit: AuditedRun, train_set: Any, highlights: dict[int, Highlight]) -> list[dict[str, Any]]:
    samples = audit.samples_of(train_set).raw if train_set is not None else None
    cards = []
    for row in on_cards(audit).to_pylist():
        preview = Markup("")
        if row["position"] in highlights:
            preview = render_tokens(highlights[row["position"]])
        elif samples is not None:
            preview = render_sample(
                samples.sample(row["position"]),
                audit.feature_names,
                class_names=audit.class_names,
                worst_box=row.get("worst_box"),
            )
        labels = {key: class_name(audit, row[f"{key}_label"]) for key in ("given", "predicted", "suggested")}
        cards.append(row | labels | {"preview": preview})
    return cards


def _class_labels(audit: AuditedRun) -> tuple[np.ndarray, np.ndarray] | None:
    """Given and predicted class of every sample, where the task has classes."""
    given, predicted = audit.table["given_label"], audit.table["predicted_label"]
    if given.null_count == len(given) or str(given.type) != "int64":
        return None
    return numbers_of(given), numbers_of(predicted)


def _matrix(audit: AuditedRun) -> dict[str, Any] | None:
    """Given x predicted label of the flagged samples."""
    labels = _class_labels(audit)
    if labels is None or not len(audit.flagged_positions):
        return None
    given, predicted = (column[audit.flagged_positions] for column in labels)
    classes, counts = np.unique(np.concatenate([given, predicted]), return_counts=True)
    shown = np.sort(classes[np.argsort(-counts, kind="stable")[:LARGEST_MATRIX]])
    cells = np.array([[int(((given == g) & (predicted == p)).sum()) for p in shown] for g in shown])
    return {
        "names": [class_name(audit, int(label)) for label in shown],
        "cells": cells.tolist(),
        "most": max(int(cells.max()), 1),
        "left_out": len(classes) - len(shown),
    }


def removed_by_class(audit: AuditedRun) -> list[dict[str, Any]] | None:
    """How many samples of each given class are flagged.

    Args:
        audit: The audit.

    Returns:
        ``name``, ``size``, ``removed`` and ``share`` of the classes, the largest share first; ``None`` without classes.
    """
    labels = _class_labels(audit)
    if labels is None:
        return None
    classes, sizes, counts = counted(labels[0], audit.table["flagged"].to_numpy())
    return [
        {
            "name": class_name(audit, int(classes[k])),
            "size": int(sizes[k]),
            "removed": int(counts[k]),
            "share": counts[k] / sizes[k],
        }
        for k in np.argsort(-counts / sizes, kind="stable")[:LARGEST_REMOVED]
    ]
