"""From an audit to a better training set: samples dropped, or with other labels, soft targets or weights."""

from __future__ import annotations

import logging
from typing import Any, Literal

from gradsift.cleaning.corrected import apply
from gradsift.cleaning.cure import Cure, How
from gradsift.cleaning.cures_of import cure_of
from gradsift.cleaning.reviewed import Reviewed
from gradsift.errors import DataError, SettingError
from gradsift.evaluation.choose_cure import choose_cure
from gradsift.evidence import TrainFunction
from gradsift.locations import Location
from gradsift.progress import announce
from gradsift.table import AuditedRun
from gradsift.trajectory import Recorder, Trajectory, read_trajectory

logger = logging.getLogger(__name__)

UNPROVEN = "Whether this helps is not proven: train with and without it, gradsift.verify(..., arms=[{how!r}])"
"""What is said of a cure that the user names."""


def correct(
    audit: AuditedRun,
    train_set: Any,
    how: How | Literal["auto"] | str | Cure = "auto",
    *,
    train_fn: TrainFunction | None = None,
    trainings: int = 12,
    share: float | None = None,
    trajectory: Recorder | Trajectory | str | Location | None = None,
    label: str | None = None,
    **options: Any,
) -> Any:
    """The training set with a cure done to it.

    What people have decided in a review (``gradsift review``) stands above what the model says, in every cure but
    ``"none"`` and one that is given as a :class:`~gradsift.cleaning.cure.Cure`.

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
            as weight of the loss; ``"reviewed"``: what people have decided alone; ``"none"``: as it is. Every class keeps a
            sample. Soft and weight need one class a sample; the others take several labels, values and tokens, too.
            ``"auto"``: what :func:`~gradsift.choose_cure` chooses by held-out samples, or nothing; a
            :class:`~gradsift.cleaning.cure.Cure`, such as that of an earlier choice: itself.
        train_fn: With ``"auto"``: the training, ``train_fn(dataset, seed=seed)``; without it, heads on stored features
            choose.
        trainings: With ``"auto"``: most trainings.
        share: Share of the samples that drop and relabel look at, in (0, 1), the most detrimental ones; what is flagged
            where left out.
        trajectory: What was recorded along training, for soft targets of an audit that ranks by it.
        label: Column of labels that get new ones, where it has no usual name.
        **options: With ``"auto"``: as for :func:`~gradsift.choose_cure`.

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
    if how != "auto" and (options or train_fn is not None):
        given = [*(["train_fn"] if train_fn is not None else []), *options]
        raise SettingError(
            f"{', '.join(given)} is for how='auto' alone, and how={how!r} was given: leave out one of both"
        )
    samples = audit.samples_of(train_set)
    reviewed = Reviewed.of(audit, samples, label=label)
    if isinstance(how, Cure):
        cure = how
    elif how == "auto":
        if share is not None:
            raise SettingError("how='auto' chooses the share itself: leave share out, or name a cure")
        choice = choose_cure(
            audit, train_set, train_fn=train_fn, trainings=trainings, trajectory=trajectory, reviewed=reviewed, **options
        )  # fmt: skip
        announce(choice.sentence())
        cure = reviewed.over(choice.cure)
    else:
        cure = cure_of(audit, how, share=share, trajectory=read_trajectory(trajectory), reviewed=reviewed)
        if how != "none":
            logger.warning(UNPROVEN.format(how=how))
    return apply(cure, samples.source, label=label, class_names=audit.class_names)
