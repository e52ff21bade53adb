"""From the evidence of a run to its table: score, decide, tabulate, and all of it on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gradsift.data import Samples
from gradsift.detectors import Detector
from gradsift.evidence import Evidence, with_samples_never_drawn
from gradsift.findings.find import Found, find
from gradsift.settings import AuditSettings
from gradsift.stages.decide import Cut, decide_cut
from gradsift.stages.score import Scores, score
from gradsift.stages.tabulate import Tabulated, tabulate
from gradsift.store import RunDirectory, ShardedArray
from gradsift.store.tables import TOKENS
from gradsift.table import Notice
from gradsift.table.findings import with_findings
from gradsift.table.notices import data_notices
from gradsift.trajectory.unseen import told


def finish(
    run: RunDirectory,
    evidence: Evidence,
    detectors: Mapping[str, Detector],
    ranking: str,
    settings: AuditSettings,
    *,
    samples: Samples | None = None,
    groups: np.ndarray | None = None,
    test_set: Samples | None = None,
    details: Mapping[str, Any],
    show_progress: bool = True,
) -> pa.Table:
    """Scores the samples of a run, decides, and writes table and manifest.

    Args:
        run: The run directory, with whole shards.
        evidence: What is known of its samples.
        detectors: Name to detector.
        ranking: Name of the one that ranks.
        settings: The settings.
        samples: The data set, where it is at hand.
        groups: Groups whose share is held, shape (n,).
        test_set: The test set, whose samples are looked for in the training set.
        details: What else goes into the manifest.
        show_progress: Whether to show a progress bar.

    Returns:
        The table.
    """
    evidence, never_drawn = with_samples_never_drawn(run, evidence)
    scores = score(evidence, detectors, ranking, show_progress=show_progress)
    cut = decide_cut(
        evidence,
        scores,
        contamination=settings.contamination,
        hold_classes=settings.hold_classes,
        groups=groups,
        seed=settings.seed,
    )
    about = {"data_fingerprint": details["data_fingerprint"], "run": run.read_json("manifest.json")["fingerprint"]}
    tabulated = tabulate(evidence, scores, cut, ids=_ids(run, samples), samples=samples, about=about)
    table, findings = tabulated.table, None
    if settings.findings:
        findings = find(
            evidence,
            samples=samples,
            neighbourhood=scores.neighbourhood(evidence),
            test_set=test_set,
            seed=settings.seed,
            show_progress=show_progress,
        )
        table = with_findings(table, findings.columns)
    run.write_table(table)
    if tabulated.tokens is not None:
        run.write_table(tabulated.tokens, TOKENS)
    notices = [*tabulated.notices, *data_notices(details.get("left_out", ()))]
    if never_drawn:
        notices.append(Notice("never_drawn", told(never_drawn, len(evidence))))
        details = {**details, "trajectory": details["trajectory"] | {"never_drawn": never_drawn}}
    run.update({**details, **_results(evidence, scores, cut, tabulated, findings, notices)})
    return table


def _ids(run: RunDirectory, samples: Samples | None) -> Sequence[str] | ShardedArray | None:
    """Ids that were stored with the shards, else those of the data set; ``None`` where the position is the id."""
    if "id" in run.stored():
        return run.statistic("id")
    return None if samples is None else samples.ids


def _results(
    evidence: Evidence,
    scores: Scores,
    cut: Cut,
    tabulated: Tabulated,
    findings: Found | None,
    notices: Sequence[Notice],
) -> dict[str, Any]:
    """What the manifest says of the table: where its evidence comes from, the cut, notices and estimates."""
    results = {
        "kind": evidence.kind,
        "provenance": dict(evidence.provenance),
        "contamination": cut.decision.to_dict(),
        "notices": [notice.to_dict() for notice in notices],
    }
    if scores.wrong_labels is not None:
        results["wrong_labels"] = scores.wrong_labels.to_dict()
    if findings is not None:
        results["findings"] = [finding.to_dict() for finding in findings.findings]
    if tabulated.memorised is not None:
        results["memorised"] = tabulated.memorised.to_dict()
    return results
