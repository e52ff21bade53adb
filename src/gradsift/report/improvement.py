"""The page of an improvement: before and after, what was changed class by class, and changed samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from gradsift.cleaning.cure import Cure
from gradsift.evaluation import Choice, Verification
from gradsift.locations import Location
from gradsift.report.page import class_name, write_page
from gradsift.report.samples import render_sample
from gradsift.table import AuditedRun

SHOWN = 20
"""Samples of each kind of change on the page."""
LARGEST = 50
"""Most rows of the table of changes."""


def write_improvement(
    audit: AuditedRun,
    choice: Choice,
    path: str | Location,
    *,
    proof: Verification | None = None,
    notices: Sequence[str] = (),
) -> Location:
    """Writes one self-contained HTML page without network access.

    Args:
        audit: The audit of the given data set.
        choice: What was chosen.
        path: Where to.
        proof: Retrainings with controls.
        notices: What may make the results say little.

    Returns:
        The path.

    Raises:
        OutputError: A page that gradsift has not made stands there, or it cannot be written.
    """
    content = {
        "audit": audit,
        "choice": choice,
        "proof": proof,
        "notices": notices,
        "changes": _changes(audit, choice.cure),
        "cards": _cards(audit, choice.cure),
    }
    return write_page(path, "improvement.html.j2", content)


def _after(cure: Cure) -> np.ndarray:
    """The class of every sample after the cure; -1 where it is dropped."""
    labels = cure.given if cure.labels is None else cure.labels
    labels = labels if cure.targets is None else cure.targets.argmax(axis=1)
    after = np.full(len(cure), -1)
    after[cure.kept] = labels[cure.kept]
    return after


def _in_words(audit: AuditedRun, cure: Cure, label: int) -> str:
    if label < 0:
        return "dropped"
    return "weighs less than half" if cure.how == "weight" else class_name(audit, label)


def _changes(audit: AuditedRun, cure: Cure) -> list[dict[str, Any]]:
    """How many samples of each class were changed, and into what; the largest share first."""
    changed, sizes = cure.changed, np.bincount(cure.given)
    pairs, counts = np.unique(np.stack([cure.given[changed], _after(cure)[changed]]), axis=1, return_counts=True)
    rows = [
        {
            "given": class_name(audit, int(given)),
            "after": _in_words(audit, cure, int(after)),
            "count": int(count),
            "size": int(sizes[given]),
            "share": count / sizes[given],
        }
        for given, after, count in zip(*pairs, counts, strict=True)
    ]
    return sorted(rows, key=lambda row: -row["share"])[:LARGEST]


def _cards(audit: AuditedRun, cure: Cure) -> dict[str, list[dict[str, Any]]]:
    """The changed samples that are surest and most doubtful."""
    scores, after = audit.table["score"].to_numpy(), _after(cure)
    ranked = cure.changed[np.argsort(-scores[cure.changed], kind="stable")]
    samples = audit.samples_of(audit.train_set).raw if audit.train_set is not None else None

    def card(position: int) -> dict[str, Any]:
        return {
            "position": position,
            "score": float(scores[position]),
            "given": class_name(audit, int(cure.given[position])),
            "after": _in_words(audit, cure, int(after[position])),
            "preview": Markup("") if samples is None else render_sample(samples.sample(position)),
        }

    kinds = {"The surest changes": ranked[:SHOWN], "The most doubtful changes": ranked[SHOWN:][-SHOWN:][::-1]}
    return {title: [card(int(position)) for position in positions] for title, positions in kinds.items()}
