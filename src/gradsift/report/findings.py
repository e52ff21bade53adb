"""What is wrong besides labels, as the page shows it: a sentence and a few samples of each finding."""

from __future__ import annotations

from typing import Any

from gradsift.data import Samples
from gradsift.report.samples import render_sample, shown_of
from gradsift.table import AuditedRun
from gradsift.table.findings import BROKEN, DUPLICATE_GROUP, NEAR_DUPLICATE, OUTLIER, OUTLIER_SCORE, Finding


def besides_labels(audit: AuditedRun, samples: Samples | None) -> list[dict[str, Any]]:
    """The findings with a few samples each.

    Args:
        audit: The audit.
        samples: The data set, for previews.

    Returns:
        ``kind``, ``title``, ``words`` and ``samples``, each with ``position``, ``told`` and ``preview``.
    """
    return [
        {
            "kind": finding.kind,
            "title": finding.title,
            "words": finding.words,
            "samples": [_shown(audit, samples, finding, position) for position in shown_of(audit, finding)],
        }
        for finding in audit.findings
    ]


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
