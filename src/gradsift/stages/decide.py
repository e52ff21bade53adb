"""Stage *decide*: how many samples are flagged, and which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gradsift.cleaning.contamination import Decision, decide
from gradsift.cleaning.hold import crossed, flag
from gradsift.evidence import Evidence
from gradsift.stages.score import Scores


@dataclass(frozen=True)
class Cut:
    """The samples that are flagged.

    Attributes:
        decision: How many, and how that was decided.
        flagged: Shape (n,), boolean.
        groups: Groups whose share was held as the user gave them, shape (n,).
    """

    decision: Decision
    flagged: np.ndarray
    groups: np.ndarray | None = None


def decide_cut(
    evidence: Evidence,
    scores: Scores,
    *,
    contamination: float | Literal["auto"] = "auto",
    hold_classes: bool = False,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> Cut:
    """Decides how many samples are flagged, and flags those with the highest scores.

    Args:
        evidence: What is known of the samples.
        scores: What detectors say.
        contamination: Share to flag, in (0, 0.5], or ``"auto"``.
        hold_classes: Whether every given class loses the same share of its samples.
        groups: Group of each sample, shape (n,), each of which loses the same share.
        seed: Seed of the draw among equal scores.

    Returns:
        The cut.
    """
    columns = [one for one in (evidence.labels if hold_classes else None, groups) if one is not None]
    held = crossed(columns, len(evidence))
    decision = decide(
        scores.main,
        contamination,
        kind=evidence.kind,
        labels=evidence.labels,
        predictions=scores.belief(evidence),
        wrong=scores.wrong_labels,
        held=held is not None,
    )
    if held is not None:
        decision = replace(
            decision, words=f"{decision.words} Every one of {len(np.unique(held))} groups loses that share."
        )
    return Cut(decision, flag(scores.main, decision.count, held, seed=seed), groups)
