"""What is wrong besides labels, as the page shows it: a sentence and a few samples of each finding."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsift.data import Samples
from gradsift.report.samples import render_sample
from gradsift.table import AuditedRun
from gradsift.table.findings import BROKEN, DUPLICATE_GROUP, NEAR_DUPLICATE, OUTLIER, OUTLIER_SCORE, Finding

SHOWN = 8
"""So many samples of a finding are shown."""


def besides_labels(audit: AuditedRun, samples: Samples | None, limit: int = SHOWN) -> list[dict[str, Any]]:
    """The findings with a few samples each.

    Args:
        audit: The audit.
        samples: The data set, for previews.
        limit: Most samples of a finding.

    Returns:
        ``title``, ``words`` and ``samples``, each with ``position``, ``told`` and ``preview``.
    """
    return [
        {
            "kind": finding.kind,
            "title": finding.title,
            "words": finding.words,
            "samples": [_shown(audit, samples, finding, position) for position in shown_of(audit, finding, limit)],
        }
        for finding in audit.findings
    ]


def shown_of(audit: AuditedRun, finding: Finding, limit: int) -> list[int]:
    """The samples of a finding that are shown first: outliers by their score, near duplicates by their groups.

    Args:
        audit: The audit.
        finding: The finding.
        limit: Most samples.

    Returns:
        Positions.
    """
    positions = finding.positions
    if finding.kind == OUTLIER:
        scores = audit.table[OUTLIER_SCORE].to_numpy()[positions]
        positions = positions[np.argsort(-scores, kind="stable")]
    if finding.kind == NEAR_DUPLICATE:
        groups = audit.table[DUPLICATE_GROUP].take(positions).to_numpy()
        positions = positions[np.argsort(groups, kind="stable")]
    shown: list[int] = positions[:limit].tolist()
    return shown


def _shown(audit: AuditedRun, samples: Samples | None, finding: Finding, position: int) -> dict[str, Any]:
    preview: Any = ""
    if samples is not None and finding.kind != BROKEN:  # of which there is nothing to see, or it cannot be read
        preview = render_sample(samples.sample(position), audit.feature_names)
    return {"position": position, "told": _told(audit, finding, position), "preview": preview}


def _told(audit: AuditedRun, finding: Finding, position: int) -> str:
    if finding.kind == OUTLIER:
        return f"outlier score {audit.table[OUTLIER_SCORE][position].as_py():.1f}"
    if finding.kind == NEAR_DUPLICATE:
        return f"group {audit.table[DUPLICATE_GROUP][position].as_py()}"
    return ""
