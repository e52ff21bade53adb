"""Stage *tabulate*: one row a sample, and what is to be known before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from gradsift.data import Samples
from gradsift.detectors import SwappedPairPosterior, WrongTokenPosterior, WrongValuePosterior
from gradsift.evidence import Evidence
from gradsift.geometry import Memorised, memorised
from gradsift.stages.decide import Cut
from gradsift.stages.score import Scores
from gradsift.store import ShardedArray
from gradsift.store.tables import numbers_of
from gradsift.table import Notice, build_table, cut_notices, model_notices
from gradsift.table.build import predicted_labels
from gradsift.table.duplicates import conflicting_duplicates
from gradsift.table.kinds import Beliefs
from gradsift.table.parts import Suggestions, of_boxes, of_label_sets, of_pairs, of_values
from gradsift.table.responses import response_words
from gradsift.table.tokens import build_token_table, token_words


@dataclass(frozen=True)
class Tabulated:
    """The table with what is to be known of it.

    Attributes:
        table: One row a sample.
        notices: What may make the scores, or what is flagged, say little.
        memorised: What the last features say about memorised labels, where they are known.
        tokens: One row a token, where tokens have classes.
    """

    table: pa.Table
    notices: list[Notice]
    memorised: Memorised | None
    tokens: pa.Table | None = None


def tabulate(
    evidence: Evidence,
    scores: Scores,
    cut: Cut,
    *,
    ids: Sequence[str] | ShardedArray | None = None,
    samples: Samples | None = None,
    about: Mapping[str, Any] | None = None,
) -> Tabulated:
    """Builds the table.

    Args:
        evidence: What is known of the samples.
        scores: What detectors say.
        cut: The samples that are flagged.
        ids: One id a sample; its position where left out.
        samples: The data set, in which duplicates with other labels are looked for.
        about: What the table's metadata says of the run that it belongs to.

    Returns:
        The table with its notices.
    """
    kind, labels, predictions, features = evidence.kind, evidence.labels, evidence.predictions, evidence.features
    names = None if evidence.class_names is None else list(evidence.class_names)
    classes = labels if kind == "class" else None
    losses = np.zeros(len(evidence)) if evidence.losses is None else evidence.losses
    duplicates = None
    if samples is not None and classes is not None and predictions is not None:
        read = features if features is not None else predictions
        duplicates = conflicting_duplicates(np.flatnonzero(cut.flagged), classes, read, samples)
    tokens = token_table(evidence, scores, cut.flagged)
    table = build_table(
        losses=losses,
        scores=scores.by_detector,
        detector=scores.ranking,
        flagged=cut.flagged,
        kind=kind,
        labels=labels,
        predictions=predictions,
        ids=ids,
        class_names=names,
        beliefs=Beliefs.of(scores.posterior) if scores.posterior is not None else None,
        wrong_probability=scores.wrong_probability,
        features=features,
        duplicates=duplicates,
        suggestions=suggestions(evidence, scores, cut.flagged),
        part_reasons=_part_reasons(evidence, scores, cut.flagged, tokens),
        about=about,
    )
    predicted = numbers_of(table["predicted_label"]) if classes is not None and predictions is not None else None
    unseen = evidence.comes_from("predictions") == "out-of-fold"  # then no label can be memorised
    seen, learnt = None, evidence.comes_from("features") != "out-of-fold"
    if features is not None and learnt and classes is not None and predicted is not None and not unseen:
        seen = memorised(features, classes, predicted)
    notices = model_notices(kind, classes, predicted, losses, seen)
    notices = [notice for notice in notices if not unseen or notice.kind == "weak_model"]
    notices += cut_notices(cut.flagged, scores.main, classes=classes, class_names=names, groups=cut.groups)
    return Tabulated(table, notices, seen, tokens)


def _part_reasons(evidence: Evidence, scores: Scores, flagged: np.ndarray, tokens: pa.Table | None) -> dict[int, str]:
    """What is said of the parts of flagged samples: their tokens, responses, or the worst part of their labels."""
    if tokens is not None:
        return token_words(tokens, evidence.class_names)
    if scores.responses is not None and evidence.responses is not None:
        return response_words(np.flatnonzero(flagged), evidence.responses, scores.responses)
    if evidence.worst_parts is not None:
        return dict(enumerate(evidence.worst_parts.words))
    return {}


def suggestions(evidence: Evidence, scores: Scores, flagged: np.ndarray) -> Suggestions | None:
    """What is suggested for flagged samples with several labels, or values, and for flagged pairs; places of worst parts.

    Args:
        evidence: What is known of the samples.
        scores: What detectors say.
        flagged: Which samples are flagged, shape (n,), boolean.

    Returns:
        The suggestions; ``None`` where no detector that was asked for suggests something.
    """
    parts, labels = scores.parts, evidence.labels
    if evidence.worst_parts is not None:
        return of_boxes(evidence.worst_parts.boxes)
    if parts is None or labels is None or isinstance(parts, WrongTokenPosterior):
        return None
    if isinstance(parts, SwappedPairPosterior):
        return of_pairs(parts.swapped_, *parts.told(np.flatnonzero(flagged)), flagged)
    if isinstance(parts, WrongValuePosterior):
        values = labels.reshape(len(labels), -1)
        return of_values(parts.expected_, *parts.interval(), parts.wrong_, values, flagged)
    names = None if evidence.class_names is None else list(evidence.class_names)
    return of_label_sets(parts.wrong_probabilities(evidence), labels, flagged, names)


def token_table(evidence: Evidence, scores: Scores, flagged: np.ndarray) -> pa.Table | None:
    """The table of tokens; those of flagged samples are flagged that are as probably wrong as the least of their worst.

    Args:
        evidence: What is known of the samples.
        scores: What detectors say.
        flagged: Which samples are flagged, shape (n,), boolean.

    Returns:
        The table; ``None`` where tokens were not looked at one by one.
    """
    tokens, parts = evidence.tokens, scores.parts
    if tokens is None or tokens.evidence.labels is None or not isinstance(parts, WrongTokenPosterior):
        return None
    worst = tokens.worst(parts.wrong_)
    cut = worst[flagged].min() if flagged.any() else np.inf
    labels, posterior = tokens.evidence.labels, parts.posterior_
    chosen = flagged[tokens.samples] & (parts.wrong_ >= cut)
    suggested = Beliefs.of(posterior).suggested(labels, chosen, {})[0]
    names = None if evidence.class_names is None else list(evidence.class_names)
    predicted = predicted_labels(tokens.evidence.predictions)
    return build_token_table(
        tokens.samples, tokens.places, labels, predicted, suggested, parts.wrong_, chosen, names
    )  # fmt: skip
