"""Everything that a run knows of one sample, in plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gradsift.cleaning.decisions import Decisions
from gradsift.data import Samples
from gradsift.detectors import WrongLabelPosterior
from gradsift.errors import SettingError
from gradsift.evidence import Evidence
from gradsift.report import class_name, describe_sample
from gradsift.review.neighbours import Beside
from gradsift.table import SCORE_PREFIX, AuditedRun, evidence_of
from gradsift.table.duplicates import conflicting_duplicates

CLASSES = 5
"""Most classes whose probability is told."""
NEIGHBOURS = 5
"""So many neighbours are named."""


@dataclass(frozen=True)
class Explanation:
    """What is known of one sample.

    Attributes:
        row: Its row of the table.
        samples: Number of samples n.
        labels: ``given``, ``predicted`` and ``suggested`` label in words.
        scores: Detector to the score and the percentage of samples whose score is at most this one.
        predicted: Likeliest classes with their predicted probabilities.
        predictions_are: Where predictions come from: ``"in-sample"``, ``"out-of-fold"`` or ``"unknown"``.
        posterior: The same of true classes, once the given label is known; where the run has scored it.
        neighbours: Position, cosine of features and given label of the nearest samples, where features are stored.
        duplicates: Positions of samples with the same input and another label; ``None`` where the data is not at hand.
        preview: The input in a line, where the data is at hand.
        decisions: What people have decided about it.
    """

    row: dict[str, Any]
    samples: int
    labels: dict[str, str]
    scores: dict[str, dict[str, float]]
    predicted: list[dict[str, Any]]
    predictions_are: str
    posterior: list[dict[str, Any]]
    neighbours: list[dict[str, Any]]
    duplicates: list[int] | None
    preview: str | None
    decisions: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def explain(audit: AuditedRun, position: int, samples: Samples | None = None) -> Explanation:
    """Collects what a run knows of one sample.

    Args:
        audit: The audit.
        position: Position of the sample in the data set that was audited.
        samples: What :meth:`~gradsift.table.AuditedRun.samples_of` gives; duplicates are looked for in it.

    Returns:
        What is known.

    Raises:
        SettingError: There is no such position.
    """
    if not 0 <= position < len(audit):
        raise SettingError(f"the run has {len(audit):,} samples: give a position from 0 to {len(audit) - 1}")
    row = audit.table.slice(position, 1).to_pylist()[0]
    evidence = evidence_of(audit)
    return Explanation(
        row=row,
        samples=len(audit),
        labels={key: class_name(audit, row[f"{key}_label"]) for key in ("given", "predicted", "suggested")},
        scores=_scores(audit, position),
        predicted=_predicted(audit, evidence, position),
        predictions_are=evidence.comes_from("predictions"),
        posterior=_posterior(audit, evidence, position),
        neighbours=_neighbours(audit, evidence, position),
        duplicates=None if samples is None else _duplicates(evidence, position, samples.raw),
        preview=None if samples is None else describe_sample(samples.raw.sample(position), audit.feature_names),
        decisions=_decisions(audit, position),
    )


def _scores(audit: AuditedRun, position: int) -> dict[str, dict[str, float]]:
    scores = {}
    for column in audit.table.column_names:
        if column.startswith(SCORE_PREFIX):
            values = audit.table[column].to_numpy()
            share = float((values <= values[position]).mean())
            scores[column.removeprefix(SCORE_PREFIX)] = {"score": float(values[position]), "percentile": 100 * share}
    return scores


def _likeliest(audit: AuditedRun, probabilities: np.ndarray) -> list[dict[str, Any]]:
    order = np.argsort(-probabilities, kind="stable")[:CLASSES]
    return [{"class": class_name(audit, int(k)), "probability": float(probabilities[k])} for k in order]


def _predicted(audit: AuditedRun, evidence: Evidence, position: int) -> list[dict[str, Any]]:
    if evidence.kind != "class" or evidence.predictions is None:
        return []
    return _likeliest(audit, evidence.predictions.rows(np.array([position]))[0])


def _posterior(audit: AuditedRun, evidence: Evidence, position: int) -> list[dict[str, Any]]:
    """The detector is fitted again, as the run has fitted it."""
    if f"{SCORE_PREFIX}posterior" not in audit.table.column_names or evidence.labels is None:
        return []
    seed = audit.run.config.get("settings", {}).get("seed", 0)
    fitted = WrongLabelPosterior(random_state=seed).fit(evidence, evidence.labels)
    return _likeliest(audit, fitted.true_class_probabilities(np.array([position]))[0])


def _neighbours(audit: AuditedRun, evidence: Evidence, position: int) -> list[dict[str, Any]]:
    beside = Beside(evidence, audit.table["reason_kind"].to_numpy(zero_copy_only=False), None)
    given = audit.table["given_label"]
    return [
        {"position": other, "cosine": cosine, "given_label": class_name(audit, given[other].as_py())}
        for other, cosine in beside.nearest(position)[:NEIGHBOURS]
    ]


def _duplicates(evidence: Evidence, position: int, samples: Samples) -> list[int]:
    read = evidence.features if evidence.features is not None else evidence.predictions
    if evidence.kind != "class" or evidence.labels is None or read is None:
        return []
    duplicates = conflicting_duplicates(np.array([position]), evidence.labels, read, samples)
    return duplicates[position].tolist() if position in duplicates else []


def _decisions(audit: AuditedRun, position: int) -> list[dict[str, Any]]:
    decisions = Decisions.of(audit)
    if decisions is None:
        return []
    with decisions:
        return [asdict(decision) for decision in decisions.readings(position)]
