"""From an audit to a better training set: samples dropped, or with other labels, soft targets or weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from gradsift.cleaning.corrected import apply
from gradsift.cleaning.cure import How
from gradsift.cleaning.cures_of import cure_of
from gradsift.errors import DataError
from gradsift.table import AuditedRun
from gradsift.trajectory import Recorder, Trajectory, read_trajectory

logger = logging.getLogger(__name__)

UNPROVEN = "Whether this helps is not proven: train with and without it, gradsift.verify(..., arms=[{how!r}])"
"""What is said of a cure that the user names."""


def correct(
    audit: AuditedRun,
    train_set: Any,
    how: How | str,
    *,
    share: float | None = None,
    trajectory: Recorder | Trajectory | str | Path | None = None,
    label: str | None = None,
) -> Any:
    """The training set with a cure done to it.

    Example:
        >>> import gradsift, numpy as np
        >>> X, y = np.eye(2)[[0, 0, 1, 1, 1]], np.array([0, 0, 1, 1, 0])
        >>> probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.02, 0.98]])
        >>> audit = gradsift.audit_predictions(y, probabilities, contamination=0.2, data=(X, y))
        >>> gradsift.correct(audit, (X, y), "relabel")[1].tolist()
        [0, 0, 1, 1, 1]

    Args:
        audit: The audit.
        train_set: The data set that was audited.
        how: ``"drop"``: without what is flagged; ``"relabel"``: what is flagged gets its suggested label;
            ``"soft"``: probabilities of the true class as targets; ``"weight"``: the probability that the label is right
            as weight of the loss; ``"none"``: as it is. Every class keeps a sample. The last three of these need classes.
        share: Share of the samples that drop and relabel look at, in (0, 1), the most detrimental ones; what is flagged
            where left out.
        trajectory: What was recorded along training, for soft targets of an audit that ranks by it.
        label: Column of labels that get new ones, where it has no usual name.

    Returns:
        The same kind of data set as came in, in the same order; the original is left as it is. Rows with columns get
        ``gradsift_target`` or ``gradsift_weight`` beside their label, or another label beside ``gradsift_given_label``;
        pairs ``(X, y)`` become ``(X, new y)``, ``(X, targets)`` with targets of shape (n, K), or ``(X, y, weights)``.

    Raises:
        DataError: The data set is not the one that was audited, or has no labels.
        SettingError: There is no such cure, or it needs what the audit has not.
    """
    if train_set is None:
        raise DataError("correct needs the data set that was audited: pass it as train_set")
    samples = audit.samples_of(train_set)
    cure = cure_of(audit, how, share=share, trajectory=read_trajectory(trajectory))
    if how != "none":
        logger.warning(UNPROVEN.format(how=how))
    return apply(cure, samples.source, label=label, class_names=audit.class_names)
