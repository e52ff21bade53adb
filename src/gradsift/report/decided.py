"""What people decided, for the page."""

from __future__ import annotations

from typing import Any

from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.learned import prior_probabilities
from gradsift.cleaning.review_numbers import Standing, review_numbers
from gradsift.cleaning.reviewed import Reviewed
from gradsift.table import AuditedRun


def what_was_decided(audit: AuditedRun, train_set: Any = None) -> dict[str, Any] | None:
    """Decisions of a run in numbers and sentences.

    Args:
        audit: The audit.
        train_set: The data set, in which the decisions' samples are looked up.

    Returns:
        ``counts`` by kind, ``reviewers``, ``sentences``, ``calibration`` and the positions that no longer match;
        ``None`` where nobody has decided.
    """
    stored = Decisions.of(audit)
    if stored is None:
        return None
    with stored:
        if not len(stored):
            return None
        flagged = audit.table["flagged"].to_numpy()
        numbers = review_numbers(
            Standing.of(stored.current()),
            flagged,
            prior_probabilities(audit) if audit.kind == "class" else None,
            agreement=stored.agreement,
        )
        counts, reviewers = stored.counts(), stored.reviewers()
    reviewed = Reviewed.of(audit, None if train_set is None else audit.samples_of(train_set))
    return {
        "counts": counts,
        "reviewers": reviewers,
        "sentences": numbers.sentences(),
        "calibration": numbers.calibration,
        "unmatched": [decision.position for decision in reviewed.unmatched],
    }
