"""Labels of a sample as decisions have them, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradsift.cleaning.decision import Decision
from gradsift.cleaning.part_labels import labels_that_hold
from gradsift.report.page import class_name
from gradsift.table import AuditedRun
from gradsift.table.tokens import TokenRows

KIND_WORDS = {"keep": "keep", "drop": "drop", "relabel": "relabel", "ambiguous": "ambiguous", "skip": "skipped"}
NAMED = 8
"""Most tokens whose new label is named."""


class LabelsInTable:
    """Labels of the table in the form that decisions have.

    Args:
        audit: The audit.
    """

    def __init__(self, audit: AuditedRun) -> None:
        self._audit = audit
        self._tokens = None if audit.tokens is None else TokenRows(audit.tokens)

    def decided(self, position: int, name: str, label: Any) -> Any:
        """A label.

        Args:
            position: The sample.
            name: ``given``, ``suggested`` or ``predicted``.
            label: What stands in the table.

        Returns:
            Of several yes-or-no labels the list of those that hold, of tokens a class for each labelled one; otherwise the
            label itself.
        """
        if self._tokens is not None:
            if name == "suggested":
                return self._tokens.suggested([position]).get(position)
            return self._tokens.of(position)[f"{name}_label"].to_pylist()
        return labels_that_hold(label) if self._audit.kind == "multilabel" and isinstance(label, list) else label


def decision_words(
    audit: AuditedRun, classes: Sequence[str], decision: Decision, given: Sequence[int] | None = None
) -> str:
    """A decision in words.

    Args:
        audit: The audit.
        classes: Names of the classes.
        decision: The decision.
        given: The given classes of the sample's tokens, where these have labels.

    Returns:
        Such as ``relabel to dog``.
    """
    label = decision.label
    if decision.kind == "relabel" and audit.kind == "multilabel":
        return "relabel to " + (", ".join(classes[number] for number in label) or "none")
    if decision.kind == "relabel" and given is not None and isinstance(label, list):
        changed = [classes[new] for old, new in zip(given, label, strict=False) if new != old]
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        return f"relabel {len(changed)} tokens: {', '.join(changed[:NAMED])}{more}" if changed else "relabel"
    if decision.kind == "relabel" and isinstance(label, list):
        return "relabel to " + ", ".join(f"{value:.4g}" for value in label)
    if decision.kind == "relabel":
        return f"relabel to {class_name(audit, label)}"
    if decision.kind == "ambiguous" and label is not None:
        likely = sorted((number for number, share in enumerate(label) if share), key=lambda number: -label[number])
        return "ambiguous: " + ", ".join(f"{classes[number]} {100 * label[number]:.0f} %" for number in likely)
    return KIND_WORDS[decision.kind]
