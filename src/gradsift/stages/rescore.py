"""An audit's table with scores from elsewhere, such as influence on a target, as its main ones."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np

from gradsift.cleaning.learned import Learner
from gradsift.cleaning.reviewed import Reviewed
from gradsift.data import Samples
from gradsift.detectors import (
    DETECTORS,
    WrongLabelPosterior,
    WrongLabelSetPosterior,
    WrongValuePosterior,
    get_detector,
)
from gradsift.errors import DataError, SettingError
from gradsift.settings import AuditSettings
from gradsift.stages.decide import decide_cut
from gradsift.stages.score import Scores
from gradsift.stages.tabulate import tabulate
from gradsift.table import SCORE_PREFIX, AuditedRun, evidence_of
from gradsift.table.findings import FINDING_COLUMNS, with_findings

Run = TypeVar("Run", bound=AuditedRun)


def rescore_by_decisions(audit: Run) -> Run:
    """The same audit, in the order of what people's decisions teach about the samples that nobody has looked at.

    Args:
        audit: The audit; its run holds decisions (``gradsift review``).

    Returns:
        A new audit whose score is the probability that the label is wrong: 0 or 1 where somebody has decided. Flagged are
        those above one half. Nothing is written.

    Raises:
        SettingError: Nobody has decided.
    """
    samples = None if audit.train_set is None else audit.samples_of(audit.train_set)
    reviewed = Reviewed.of(audit, samples)
    if not len(reviewed):
        raise SettingError(f"nobody has decided about these samples: gradsift review {audit.run.path} asks people")
    wrong = Learner(audit).learn(reviewed.decisions).wrong
    share = float(np.clip((wrong > 0.5).mean(), 1 / len(wrong), 0.5))
    return rescore(audit, wrong, "after_review", contamination=share)


def rescore(audit: Run, scores: np.ndarray, name: str, *, contamination: float | Literal["auto"] = "auto") -> Run:
    """The same audit, ranked and flagged by other scores; trim, annotate, verify and unlearn go by them, too.

    One score is replaced, and the stages behind scoring run again. Every class loses the same share where the audit held
    it; groups are not kept by an audit, so their shares are not held.

    Args:
        audit: The audit; it is left as it is.
        scores: Shape (n,); high = detrimental. For signed influence, ``-influence``.
        name: What the scores are called: they become the column ``score_<name>``, beside those of the audit.
        contamination: Share of samples to flag, in (0, 0.5], or ``"auto"``, as in :func:`gradsift.audit`.

    Returns:
        A new audit of the same run directory, in which nothing is written.

    Raises:
        DataError: The scores are not one finite number a sample.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != (len(audit),) or not np.isfinite(scores).all():
        raise DataError(f"rescore takes one finite number for each of {len(audit)} samples, given shape {scores.shape}")
    settings = AuditSettings.from_dict(audit.run.config["settings"])
    evidence = evidence_of(audit)
    posterior = None
    if evidence.kind == "class" and evidence.features is not None:  # as in an audit of the final model
        posterior = WrongLabelPosterior(random_state=settings.seed).fit(evidence, evidence.labels)
    columns = [column for column in audit.table.column_names if column.startswith(SCORE_PREFIX)]
    earlier = {column.removeprefix(SCORE_PREFIX): audit.table[column].to_numpy() for column in columns}
    columns_of = {name: scores} | {key: column for key, column in earlier.items() if key != name}
    known = audit.table["wrong_probability"]
    wrong_probability = None if known.null_count else known.to_numpy()
    replaced = Scores(columns_of, name, posterior, wrong_probability)
    for key in earlier.keys() & DETECTORS.keys():
        detector = get_detector(key, seed=settings.seed)
        if isinstance(detector, WrongLabelSetPosterior | WrongValuePosterior):
            replaced = replace(replaced, parts=detector.fit(evidence), part_wrong=earlier[key])
    cut = decide_cut(
        evidence, replaced, contamination=contamination, hold_classes=settings.hold_classes, seed=settings.seed
    )
    samples = None if audit.train_set is None else Samples(audit.train_set)
    tabulated = tabulate(evidence, replaced, cut, ids=audit.table["id"].to_pylist(), samples=samples)
    notices = [*tabulated.notices, *(notice for notice in audit.notices if notice.of_run)]
    about = {
        "detector": name,
        "class_names": audit.class_names,
        "data_fingerprint": audit.details.get("data_fingerprint"),
        "run": audit.details.get("fingerprint"),
        "details": {
            "contamination": cut.decision.to_dict(),
            "notices": [notice.to_dict() for notice in notices],
        },
    }
    kept = {column: audit.table[column] for column in FINDING_COLUMNS if column in audit.table.column_names}
    table = with_findings(tabulated.table, kept)
    return audit.with_table(table.replace_schema_metadata({"gradsift": json.dumps(about)}))
