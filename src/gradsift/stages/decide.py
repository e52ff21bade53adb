"""Stage *decide*: how many samples are flagged, and which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gradsift.cleaning.contamination import Decision, count_disagreements, decide
from gradsift.cleaning.hold import crossed, flag
from gradsift.detectors import WrongTokenPosterior
from gradsift.evidence import Evidence
from gradsift.evidence.tokens import TokenEvidence
from gradsift.stages.score import Scores

EVEN = 0.5
"""Parts that a task says are more probably wrong than right are flagged."""
NEARLY = "Only parts that fit no better than random ones are counted. Nearly right ones are not found by this count."


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
    columns = [column for column in (evidence.labels if hold_classes else None, groups) if column is not None]
    held = crossed(columns, len(evidence))
    cut = None if scores.parts is None else scores.parts.cut
    if evidence.tokens is not None and isinstance(scores.parts, WrongTokenPosterior):
        cut = token_cut(evidence.tokens, scores.parts)
    of_task = scores.parts is None and scores.part_wrong is not None and scores.by_chance is None
    decision = decide(
        scores.main,
        contamination,
        kind=evidence.kind,
        labels=evidence.labels,
        predictions=scores.belief(evidence),
        wrong=scores.wrong_labels,
        held=held is not None,
        wrong_probability=scores.part_wrong,
        cut=EVEN if of_task else cut,
        by_chance=scores.by_chance,
    )
    if isinstance(scores.parts, WrongTokenPosterior):
        decision = replace(decision, words=in_tokens(decision, evidence, scores.parts, contamination == "auto"))
    if of_task and contamination == "auto":
        decision = replace(decision, words=f"{decision.words} {NEARLY}")
    if held is not None:
        decision = replace(
            decision, words=f"{decision.words} Every one of {len(np.unique(held))} groups loses that share."
        )
    return Cut(decision, flag(scores.main, decision.count, held, seed=seed), groups)


def in_tokens(decision: Decision, evidence: Evidence, posterior: WrongTokenPosterior, automatic: bool) -> str:
    """How many samples are flagged, in words about their tokens.

    Args:
        decision: The decision.
        evidence: What is known of the samples.
        posterior: The fitted posterior.
        automatic: Whether the share was not given.

    Returns:
        The words.
    """
    if not automatic or evidence.tokens is None:
        return decision.words
    among = f"of {len(evidence.tokens.samples):,} labelled tokens in all."
    if posterior.by_words_:
        return f"They hold labels of tokens that are more probably wrong than right, {among}"
    return (
        "They hold the labels of tokens that the model, with the tokens whose hidden states are alike, confidently "
        f"disagrees with, {among}"
    )


def token_cut(tokens: TokenEvidence, posterior: WrongTokenPosterior) -> float:
    """The posterior above which tokens are wrong: one half where words tell of labels that the model remembers.

    Elsewhere the one above which as many tokens lie as the belief confidently disagrees with.

    Args:
        tokens: What is known of the tokens.
        posterior: The fitted posterior.

    Returns:
        The cut; 1, which no token lies above, where there is no disagreement.
    """
    labels = tokens.evidence.labels
    if labels is None:
        return 1.0
    if posterior.by_words_:
        return 0.5
    count = count_disagreements(labels, posterior.posterior_.belief_).count
    order = np.sort(posterior.wrong_)[::-1]
    return float(order[count]) if 0 < count < len(order) else 1.0
