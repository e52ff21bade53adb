"""An audit's table with scores from elsewhere, such as influence on a target, as its main ones."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa

from gradsift.cleaning.contamination import decide
from gradsift.cleaning.hold import flag
from gradsift.detectors import WrongLabelPosterior
from gradsift.errors import DataError
from gradsift.evidence import Evidence
from gradsift.store import ArrayMatrix
from gradsift.table import SCORE_PREFIX, Audit, build_table, cut_notices
from gradsift.table.kinds import Beliefs


def rescore(audit: Audit, scores: np.ndarray, name: str, *, contamination: float | Literal["auto"] = "auto") -> Audit:
    """The same audit, ranked and flagged by other scores; trim, annotate, verify and unlearn go by them, too.

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
    run, table = audit.run, audit.table
    stored = run.stored()
    labels = run.statistic("label").load() if "label" in stored else None
    predictions = ArrayMatrix(run.statistic("prediction")) if "prediction" in stored else None
    kind = _kind(table)
    features = ArrayMatrix(run.statistic("features")) if "features" in stored else None
    believer = None
    if kind == "class" and features is not None:  # as in an audit of the final model
        seed = int(run.config["settings"]["seed"])
        believer = WrongLabelPosterior(random_state=seed).fit(Evidence(predictions, features), labels)
    belief = believer.belief_ if believer is not None else predictions
    decision = decide(scores, contamination, kind=kind, labels=labels, predictions=belief)
    flagged = flag(scores, decision.count, seed=int(run.config["settings"]["seed"]))
    earlier = [column for column in table.column_names if column.startswith(SCORE_PREFIX)]
    notices = [notice for notice in audit.notices if notice.about_model]
    notices += cut_notices(flagged, scores, classes=labels if kind == "class" else None, class_names=audit.class_names)
    rescored = build_table(
        losses=table["loss"].to_numpy(),
        scores={name: scores} | {c.removeprefix(SCORE_PREFIX): table[c].to_numpy() for c in earlier},
        detector=name,
        flagged=flagged,
        kind=kind,
        labels=labels,
        predictions=predictions,
        ids=table["id"].to_pylist(),
        class_names=audit.class_names,
        beliefs=Beliefs.of(believer) if believer is not None else None,
        features=features,
        about={
            "data_fingerprint": audit.details.get("data_fingerprint"),
            "run": audit.details.get("fingerprint"),
            "details": {
                "contamination": decision.to_dict(),
                "notices": [notice.to_dict() for notice in notices],
            },
        },
    )
    return Audit(rescored, run, audit.train_set)


def _kind(table: pa.Table) -> str | None:
    """The task's kind, from the labels of its table."""
    given = table.schema.field("given_label").type
    if table["given_label"].null_count == len(table):
        return None
    if pa.types.is_integer(given):
        return "class"
    return "multilabel" if pa.types.is_list(given) and pa.types.is_integer(given.value_type) else "value"
