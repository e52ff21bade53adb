"""All findings of a data set: what is wrong with its samples besides their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gradsift.data import Samples
from gradsift.detectors.neighbours import Neighbourhood
from gradsift.evidence import Evidence
from gradsift.findings import words
from gradsift.findings.alike import groups_of
from gradsift.findings.inputs import Inputs, read_inputs
from gradsift.findings.leak import Leak, duplicates_and_leak
from gradsift.findings.near_duplicates import Pairs, near_features
from gradsift.findings.outliers import SMALLEST, outliers
from gradsift.findings.whole_set import order_matters, rare_classes, weak_classes
from gradsift.table import predicted_labels
from gradsift.table.findings import (
    BROKEN,
    DUPLICATE_GROUP,
    FINDINGS,
    IN_TEST_SET,
    NEAR_DUPLICATE,
    OF_SAMPLES,
    OUTLIER,
    OUTLIER_SCORE,
    Finding,
)


@dataclass(frozen=True)
class Found:
    """What is wrong with a data set besides labels.

    Attributes:
        columns: Columns of the table, row = position.
        findings: What was found, the most serious first.
    """

    columns: dict[str, pa.Array]
    findings: list[Finding]


def find(
    evidence: Evidence,
    *,
    samples: Samples | None = None,
    neighbourhood: Neighbourhood | None = None,
    test_set: Samples | None = None,
    seed: int = 0,
    show_progress: bool = False,
) -> Found:
    """Looks for what is wrong besides labels.

    Args:
        evidence: What is known of the samples.
        samples: The data set, where it is at hand: broken inputs, near duplicates and the test set are looked for in it.
        neighbourhood: Nearest neighbours by the features of the evidence, where there are features.
        test_set: The test set, whose samples are looked for in the training set.
        seed: Seed of all draws.
        show_progress: Whether to show progress bars.

    Returns:
        The findings, with their columns.
    """
    label = None if samples is None else samples.label_column
    inputs = None if samples is None else read_inputs(samples, label=label, show_progress=show_progress)
    members = {code: np.zeros(len(evidence), dtype=bool) for code in OF_SAMPLES}
    group, leak = np.full(len(evidence), -1), None
    if inputs is not None:
        members[BROKEN][list(inputs.broken)] = True
        tested = None if test_set is None else read_inputs(test_set, label=label, show_progress=show_progress)
        pairs, leak = duplicates_and_leak(inputs, tested, seed=seed)
        _number(group, inputs.positions, pairs)
    elif evidence.features is not None:
        _number(group, *near_features(evidence.features, seed=seed))
    if leak is not None:
        members[IN_TEST_SET][leak.of_train] = True
    members[NEAR_DUPLICATE] = group >= 0
    outlying, members[OUTLIER] = outliers(evidence, inputs, neighbourhood)
    columns = {
        FINDINGS: _joined(members),
        OUTLIER_SCORE: _or_null(outlying, len(evidence)),
        DUPLICATE_GROUP: pa.array(group, pa.int64(), mask=group < 0),
    }
    findings_of_samples = _told(members, group, inputs, leak, len(evidence))
    return Found(columns, findings_of_samples + _of_whole_set(evidence, neighbourhood, seed))


def _number(group: np.ndarray, positions: np.ndarray, pairs: Pairs) -> None:
    """Writes the position of the first of its near duplicates to each sample that has any.

    Args:
        group: Shape (n,), written to.
        positions: The samples that the numbers of the pairs mean.
        pairs: The near duplicates.
    """
    place = groups_of(len(positions), pairs.first, pairs.second)
    group[positions] = np.where(place >= 0, positions[place], -1)


def _or_null(score: np.ndarray | None, size: int) -> pa.Array:
    """A column that is empty where the score is unknown."""
    return pa.nulls(size, pa.float64()) if score is None else pa.array(score, mask=np.isnan(score))


def _joined(members: dict[str, np.ndarray]) -> pa.Array:
    """The codes of each sample with commas, shape (n,)."""
    codes = np.full(len(next(iter(members.values()))), "", dtype=object)
    for code, chosen in members.items():
        codes[chosen] = [f"{before},{code}" if before else code for before in codes[chosen]]
    return pa.array(codes, pa.string())


def _told(
    members: dict[str, np.ndarray], group: np.ndarray, inputs: Inputs | None, leak: Leak | None, size: int
) -> list[Finding]:
    """The findings about samples, in words."""
    read = "" if inputs is None else words.read(len(inputs.positions), size)
    sentences = {
        NEAR_DUPLICATE: lambda count: words.near_duplicates(count, len(np.unique(group[group >= 0]))) + read,
        IN_TEST_SET: lambda count: "" if leak is None else words.in_test_set(count, leak.of_test, leak.size) + read,
        OUTLIER: words.outliers,
        BROKEN: lambda count: words.broken(count, Counter(inputs.broken.values() if inputs is not None else ())) + read,
    }
    details = {IN_TEST_SET: {"test_positions": [] if leak is None else leak.of_test[: words.LISTED].tolist()}}
    return [
        Finding(code, sentences[code](int(chosen.sum())), np.flatnonzero(chosen), details.get(code, {}))
        for code, chosen in members.items()
        if chosen.any()
    ]


def _of_whole_set(evidence: Evidence, neighbourhood: Neighbourhood | None, seed: int) -> list[Finding]:
    """The findings about the data set as a whole."""
    if len(evidence) < SMALLEST:
        return []
    findings = []
    labels, predictions, names = evidence.labels, evidence.predictions, evidence.class_names
    if evidence.kind == "class" and labels is not None:
        findings.append(words.rare_classes(rare_classes(labels, _classes(evidence)), names))
        if predictions is not None:
            findings.append(words.weak_classes(weak_classes(labels, predicted_labels(predictions)), names))
    if neighbourhood is not None:
        findings.append(words.order(order_matters(neighbourhood, seed=seed)))
    return [finding for finding in findings if finding is not None]


def _classes(evidence: Evidence) -> int:
    names: Sequence[str] | None = evidence.class_names
    if names is not None:
        return len(names)
    return 0 if evidence.predictions is None else int(evidence.predictions.shape[1])
