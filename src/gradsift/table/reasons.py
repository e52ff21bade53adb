"""Why a sample is flagged, in a sentence that says what the numbers say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gradsift.table.kinds import AMBIGUOUS, ATYPICAL, DUPLICATE, FAR, WRONG, Known

MAGNITUDES = {
    "l1": "gradient (L1 norm)",
    "l2": "gradient (L2 norm)",
    "loss": "loss",
    "l1_along_training": "gradient (L1 norm), averaged along training,",
    "l2_along_training": "gradient (L2 norm), averaged along training,",
    "el2n_along_training": "error (EL2N), averaged along training,",
    "loss_along_training": "loss, averaged along training,",
}
"""Detectors whose score is a size that can be compared with the median one."""
PLACES = {
    "posterior": "the posterior of a wrong label",
    "posterior_along_training": "the posterior of a wrong label, averaged along training,",
}
"""Words for detectors whose score is told by its place among the others; their names stand for the rest."""
BEGINNINGS = {
    WRONG: "likely wrong label",
    AMBIGUOUS: "ambiguous",
    ATYPICAL: "atypical input",
    DUPLICATE: "conflicting duplicate",
}
"""Kind to the words that its sentences begin with."""
SHOWN = 3
"""So many duplicates are named in a sentence."""


def class_reasons(
    positions: np.ndarray, kinds_of: np.ndarray, known: Known, names: Sequence[str] | None
) -> dict[int, str]:
    """Says in words what makes flagged samples what they are, but for the score.

    Args:
        positions: Which samples, shape (m,).
        kinds_of: Their kinds.
        known: What is known of them.
        names: Names of the classes.

    Returns:
        Position to the beginning of a sentence.
    """
    found = {}
    for part, *explained in known.explained(positions):
        far = np.zeros(len(positions[part])) if known.nearer is None else known.nearer[part]
        samples = zip(positions[part].tolist(), kinds_of[part].tolist(), far.tolist(), *explained, strict=True)
        for position, kind, nearer, belief, flips, right in samples:
            says = _explanation(position, kind, nearer, belief, flips, right, known, _namer(names))
            found[position] = f"{BEGINNINGS[kind]}: {says}; "
    return found


def _explanation(
    position: int,
    kind: str,
    nearer: float,
    belief: np.ndarray,
    flips: np.ndarray,
    right: float,
    known: Known,
    name: Callable[[int], str],
) -> str:
    """Why one sample is of its kind, from the belief about it and from how well flips (K,) explain its label."""
    given, other, likely = int(known.labels[position]), int(flips.argmax()), int(belief.argmax())
    agrees = flips[other] <= right
    says = (
        f"given {name(given)}, but the model says {name(other)} with {100 * belief[other]:.0f} % "
        f"({100 * belief[given]:.2g} % for the given label)"
    )
    if agrees:
        says = f"the model agrees with the label {name(given)} ({100 * belief[given]:.0f} %)"
    elif other != likely:
        says += f", whose labels often turn into {name(given)}"
    if kind == DUPLICATE:
        twins = known.duplicates[position]
        shown = [f"{twin} (given {name(int(known.labels[twin]))})" for twin in twins[:SHOWN]]
        more = f" and {len(twins) - SHOWN} more" if len(twins) > SHOWN else ""
        return f"the same input as position {', '.join(shown)}{more}; {says}"
    if kind == ATYPICAL and nearer >= FAR:
        return f"farther from its neighbours than {100 * min(nearer, 0.999):.1f} % of the samples; {says}"
    if kind == ATYPICAL:
        return f"{says}: an unusual sample rather than a wrong label" if agrees else f"no class is believed in; {says}"
    if kind == AMBIGUOUS and likely == other:
        second = int(np.where(np.arange(len(belief)) == likely, -1.0, belief).argmax())
        says += f", or {name(second)} with {100 * belief[second]:.0f} %" if second != given else ""
    return says


def other_reasons(
    positions: np.ndarray,
    kind: str | None,
    labels: np.ndarray | None,
    predictions: np.ndarray | None,
    names: Sequence[str] | None,
) -> dict[int, str]:
    """The same for tasks without classes: what is given and what the model says.

    Args:
        positions: Which samples, shape (m,).
        kind: The task's kind: ``"multilabel"``, ``"value"``, or anything else, of which nothing is said.
        labels: Given labels of these samples.
        predictions: Predicted probabilities or values of these samples.
        names: Names of the labels.

    Returns:
        Position to the beginning of a sentence.
    """
    name, found = _namer(names), dict.fromkeys(positions.tolist(), "")
    if labels is None or predictions is None or kind not in ("multilabel", "value"):
        return found
    for row, position in enumerate(positions.tolist()):
        given, predicted = labels[row], predictions[row]
        if kind == "value":
            found[position] = f"given {_numbers(given)}, the model predicts {_numbers(predicted)}; "
        else:
            gaps = np.abs(given - predicted)
            if np.isnan(gaps).all():
                continue
            worst = int(np.nanargmax(gaps))
            found[position] = (
                f"label {name(worst)} is given as {int(given[worst])}, the model says {100 * predicted[worst]:.0f} %; "
            )
    return found


def sizes(positions: np.ndarray, scores: np.ndarray, detector: str) -> dict[int, str]:
    """Says how far out scores are.

    Args:
        positions: Which samples.
        scores: Scores of all samples, shape (n,); high = detrimental.
        detector: Name of the detector they come from.

    Returns:
        Position to the end of a sentence.
    """
    middle, order, found = float(np.median(scores)), np.sort(scores), {}
    for position in positions.tolist():
        if detector in MAGNITUDES and middle > 0:
            found[position] = f"its {MAGNITUDES[detector]} is {scores[position] / middle:,.1f} times the median"
        else:
            above = 100 * (1 - np.searchsorted(order, scores[position], side="left") / len(scores))
            found[position] = f"{PLACES.get(detector, detector)} places it among the top {max(above, 0.1):.1f} %"
    return found


def _namer(names: Sequence[str] | None) -> Callable[[int], str]:
    return lambda label: repr(names[label]) if names is not None and label < len(names) else str(label)


def _numbers(values: np.ndarray) -> str:
    return ", ".join("not known" if np.isnan(value) else f"{value:.4g}" for value in np.atleast_1d(values))
