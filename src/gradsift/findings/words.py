"""Findings in words: how many, why it matters, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradsift.table.findings import ORDER, RARE_CLASS, WEAK_CLASS, Finding

NAMED = 5
"""So many classes are named in a sentence."""
LISTED = 1_000
"""So many positions are kept in the manifest."""


def near_duplicates(count: int, groups: int) -> str:
    """What is said of near duplicates.

    Args:
        count: Number of samples.
        groups: Number of groups of samples that are almost the same.

    Returns:
        Sentences.
    """
    return (
        f"{count:,} samples are the same as another one or almost, in {groups:,} "
        f"{'group' if groups == 1 else 'groups'}: keep one of each group (column duplicate_group), and no group on both "
        "sides of a split."
    )


def in_test_set(count: int, of_test: np.ndarray, size: int) -> str:
    """What is said of samples that also stand in the test set.

    Args:
        count: Number of samples of the training set.
        of_test: Positions in the test set.
        size: Samples of the test set.

    Returns:
        Sentences.
    """
    some = ", ".join(map(str, of_test[:10].tolist()))
    more = ", ..." if len(of_test) > 10 else ""
    return (
        f"{_samples(count)} also in the test set, whole or almost ({len(of_test):,} of its {size:,}; test positions "
        f"{some}{more}): a metric on it favours what memorises them, so remove them from one of the sets."
    )


def outliers(count: int) -> str:
    """What is said of samples from outside of the distribution.

    Args:
        count: Number of samples.

    Returns:
        Sentences.
    """
    return (
        f"{_samples(count)} outside of the distribution of the others (column outlier_score): look at the highest; they "
        "may belong to no class."
    )


def broken(count: int, faults: Mapping[str, int]) -> str:
    """What is said of broken inputs.

    Args:
        count: Number of samples.
        faults: Why, to how many.

    Returns:
        Sentences.
    """
    each = ", ".join(f"{number:,} {fault}" for fault, number in faults.items())
    return f"{count:,} {'input is' if count == 1 else 'inputs are'} broken ({each}): mend or remove them."


def read(count: int, size: int) -> str:
    """How many samples were looked at, where not all were.

    Args:
        count: Number of samples that were read.
        size: Number of samples.

    Returns:
        A sentence that follows another one; empty where all were.
    """
    return "" if count == size else f" {count:,} of {size:,} samples were looked at."


def rare_classes(rare: Mapping[int, int], names: Sequence[str] | None) -> Finding | None:
    """The finding of rare classes.

    Args:
        rare: Class to its number of samples.
        names: Names of the classes.

    Returns:
        The finding; ``None`` where there are none.
    """
    if not rare:
        return None
    each = _listed([f"{_name(k, names)} ({count:,})" for k, count in rare.items()])
    told = (
        f"{_classes(len(rare))} less than a tenth of an even share of the samples: {each}. Collect more, weigh them, or "
        "join them; few samples are flagged rightly there."
    )
    return Finding(RARE_CLASS, told, details={"counts": {str(k): count for k, count in rare.items()}})


def weak_classes(weak: Mapping[int, float], names: Sequence[str] | None) -> Finding | None:
    """The finding of classes that are fitted badly.

    Args:
        weak: Class to the share of its samples that are predicted as given.
        names: Names of the classes.

    Returns:
        The finding; ``None`` where there are none.
    """
    if not weak:
        return None
    each = _listed([f"{_name(k, names)}: {100 * share:.0f} %" for k, share in weak.items()])
    told = (
        f"Of {len(weak):,} {'class' if len(weak) == 1 else 'classes'} the model predicts far fewer given labels than of "
        f"the others: {each}. The class may be mixed up with another one, or too rare."
    )
    return Finding(WEAK_CLASS, told, details={"shares": {str(k): share for k, share in weak.items()}})


def order(shift: float | None) -> Finding | None:
    """The finding that the order of samples matters.

    Args:
        shift: How much more often neighbours stand close than others do, in [0, 1].

    Returns:
        The finding; ``None`` where the order does not matter.
    """
    if shift is None:
        return None
    told = (
        "Samples that are alike stand close to each other in the data set, as where it is sorted or was collected piece by "
        "piece: shuffle before you split it, or split by piece."
    )
    return Finding(ORDER, told, details={"shift": shift})


def _samples(count: int) -> str:
    return f"{count:,} sample{' is' if count == 1 else 's are'}"


def _classes(count: int) -> str:
    return f"{count:,} class{' holds' if count == 1 else 'es hold'}"


def _name(label: int, names: Sequence[str] | None) -> str:
    return repr(names[label]) if names is not None and label < len(names) else str(label)


def _listed(each: Sequence[str]) -> str:
    more = f" and {len(each) - NAMED:,} more" if len(each) > NAMED else ""
    return ", ".join(each[:NAMED]) + more
