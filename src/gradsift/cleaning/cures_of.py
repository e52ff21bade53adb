"""The cures that an audit proposes."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pyarrow as pa

from gradsift.cleaning.cure import HOWS, Cure, How, keeping_every_class, none, soft, softened, weight
from gradsift.cleaning.part_labels import WORDS, suggested_parts
from gradsift.cleaning.reviewed import Reviewed
from gradsift.detectors import WrongLabelPosterior, get_detector
from gradsift.errors import DataError, SettingError
from gradsift.evidence import with_samples_never_drawn
from gradsift.table import AuditedRun, evidence_of
from gradsift.table.audited_run import by_position
from gradsift.tasks import NUMBERED
from gradsift.trajectory import Trajectory

logger = logging.getLogger(__name__)

POSTERIORS = ("posterior", "posterior_along_training", "pair_posterior")
"""Detectors whose score is the probability that the given label is wrong."""
TOLERANCE = 1e-3
"""Most difference between the probabilities of a wrong label that stand in a table and those computed again."""


def cure_of(
    audit: AuditedRun,
    how: How | str,
    *,
    share: float | None = None,
    trajectory: Trajectory | None = None,
    reviewed: Reviewed | None = None,
) -> Cure:
    """A cure of the audited samples.

    What people have decided in a review stands above what the model says, in every cure but ``"none"``; see
    :mod:`gradsift.cleaning.reviewed`. Where the table was edited (``Audit.open(run, table=FILE)``), what a person has
    decided in it does so, too: a sample that is no longer flagged keeps its label with full weight; one that is flagged,
    or has another suggested label, loses its label or gets the suggested one.

    Args:
        audit: The audit.
        how: ``"drop"``: without what is flagged; ``"relabel"``: what is flagged gets its suggested label, where it has one,
            and pairs are swapped; ``"soft"``: all samples get the probabilities of the true class, softened
            (:func:`~gradsift.cleaning.cure.softened`); ``"weight"``: all
            samples get the probability that their label is right;
            ``"reviewed"``: what people have decided, and nothing else; ``"none"``.
        share: Share of the samples that drop and relabel look at, the most detrimental ones, in (0, 1); those that are
            flagged where left out.
        trajectory: What was recorded along training, for soft targets of an audit that ranks by it.
        reviewed: The decisions of people, matched with the data set; those of the run, as they stand, where left out.

    Returns:
        The cure, in which every given class keeps a sample, unless people have dropped them all.

    Raises:
        SettingError: There is no such cure, or it needs what this audit has not.
    """
    if how not in HOWS:
        raise SettingError(f"unknown cure {how!r}: the known ones are {', '.join(HOWS)}")
    if share is not None and (how not in ("drop", "relabel") or not 0 < share < 1):
        raise SettingError(f"share is a number above 0 and below 1, for drop and relabel; given {share} with {how!r}")
    given = _given_labels(audit)
    labels = np.zeros(len(audit), dtype=np.int64) if given is None else given
    if how == "none":
        return none(labels)
    reviewed = Reviewed.of(audit) if reviewed is None else reviewed
    in_parts = reviewed.part_labels if how == "relabel" else None
    if how not in ("drop", "reviewed") and given is None and in_parts is None:
        raise SettingError(
            f"the cure {how!r} needs one class for each sample, and the labels of this audit are "
            f"{(WORDS | STRUCTURED).get(str(audit.kind), 'not known')}: use 'drop'"
            + (IN_PARTS if how == "relabel" and audit.kind in WORDS else "")
        )
    if audit.kind == "pair" and how == "soft":
        raise SettingError("a pair has no soft target: use 'drop', 'relabel' (which swaps) or 'weight'")
    if how == "reviewed" and not len(reviewed):
        raise SettingError(f"nobody has decided about these samples: gradsift review {audit.run.path} asks people")
    if in_parts is not None:
        new = in_parts.stored(suggested_parts(audit, _chosen(audit, share, None)))
        return reviewed.over(Cure("relabel", labels, np.arange(len(audit)), parts=new))
    cure = _by_model(audit, how, labels, given, share, trajectory)
    if audit.kind == "pair":
        named = audit.details.get("encoding") or {}
        cure = replace(cure, pairs=(named.get("chosen", "chosen"), named.get("rejected", "rejected")))
    return reviewed.over(cure)


def _by_model(
    audit: AuditedRun,
    how: How | str,
    labels: np.ndarray,
    given: np.ndarray | None,
    share: float | None,
    trajectory: Trajectory | None,
) -> Cure:
    """The cure as the model, and an edited table, say it."""
    if how == "reviewed":
        return none(labels)
    if how == "drop":
        kept = np.ones(len(audit), dtype=bool)
        kept[_chosen(audit, share, given)] = False
        return Cure("drop", labels, np.flatnonzero(kept))
    if how == "relabel":
        return _relabelled(audit, labels, share)
    if how == "weight":
        return _weighted(audit, labels)
    return soft(softened(target_probabilities(audit, labels, trajectory)), labels)


STRUCTURED = {"structured": "masks, boxes or transcripts"}
"""Labels for which nothing is suggested, in words."""
IN_PARTS = ", or give the data set: gradsift.correct(audit, train_set, how='relabel')"
"""What else can be done with labels that are no classes."""


def _given_labels(audit: AuditedRun) -> np.ndarray | None:
    """Given labels as class numbers, shape (n,), zero of pairs; ``None`` where samples have no class."""
    column = audit.table["given_label"]
    return column.to_numpy() if audit.kind in NUMBERED and not column.null_count else None


def _chosen(audit: AuditedRun, share: float | None, given: np.ndarray | None) -> np.ndarray:
    """Positions of the samples that lose their label, the most detrimental first; every class keeps one."""
    chosen = audit.flagged_positions if share is None else detrimental_order(audit)[: round(share * len(audit))]
    if given is None or audit.kind == "pair":
        return chosen
    remaining = keeping_every_class(chosen, given)
    if len(remaining) < len(chosen):
        logger.warning(
            "%d classes would lose all their samples: the least detrimental sample of each keeps its label",
            len(chosen) - len(remaining),
        )
    return remaining


def detrimental_order(audit: AuditedRun, reviewed: Reviewed | None = None) -> np.ndarray:
    """All samples, the most detrimental first; those that a person has flagged before, those unflagged after all others.

    Args:
        audit: The audit.
        reviewed: The decisions of people: whose label they found wrong comes first, whose label they kept last.

    Returns:
        Positions, shape (n,).
    """
    decided, flagged = _decided(audit), audit.table["flagged"].to_numpy()
    word = np.zeros(len(audit))
    word[decided] = np.where(flagged[decided], -1, 1)
    if reviewed is not None:
        word[reviewed.positions("relabel", "drop", "ambiguous")] = -1
        word[reviewed.positions("keep")] = 1
    return np.lexsort((audit.table["rank"].to_numpy(), word))


def _relabelled(audit: AuditedRun, labels: np.ndarray, share: float | None) -> Cure:
    column = audit.table["suggested_label"]
    if column.null_count == len(audit):
        raise SettingError(
            "this audit suggests no label, because it has no predictions or finds the given labels right: use 'drop'"
        )
    chosen, suggested = _chosen(audit, share, labels), _suggested(audit.table)
    chosen = chosen[suggested[chosen] >= 0]
    new = labels.copy()
    new[chosen] = suggested[chosen]
    return Cure("relabel", labels, np.arange(len(labels)), labels=new)


def _weighted(audit: AuditedRun, labels: np.ndarray) -> Cure:
    name = posterior_of(audit)
    if name is None:
        raise SettingError(
            "weights need the probability that a label is wrong, and no column of this audit holds it: audit with the "
            "detector 'posterior'"
        )
    wrong = np.array(audit.table[f"score_{name}"].to_numpy())
    decided = _decided(audit)
    wrong[decided] = audit.table["flagged"].to_numpy()[decided]
    return weight(wrong, labels)


def target_probabilities(audit: AuditedRun, labels: np.ndarray, trajectory: Trajectory | None = None) -> np.ndarray:
    """Probabilities of the true class of each sample, by the posterior of the audit.

    Args:
        audit: The audit.
        labels: Given labels as class numbers, shape (n,).
        trajectory: What was recorded along training, for an audit that ranks by it.

    Returns:
        Shape (n, K); certain where a person has edited the table.

    Raises:
        SettingError: The audit has no predictions, or they are of a trajectory that is not given.
        DataError: The trajectory is of other samples, or the table suggests a class that there is not.
    """
    name = posterior_of(audit) or "posterior"
    evidence = evidence_of(audit, trajectory=trajectory)
    if evidence.predictions is None:
        raise SettingError("soft targets need predicted probabilities, and this audit has none: use 'drop'")
    if name == "posterior_along_training":
        if trajectory is None or trajectory.predictions is None:
            raise SettingError(
                "this audit ranks by predictions along training, which a run directory does not hold: for soft targets "
                "give what the recorder has collected, trajectory=recorder or the folder that it was saved to"
            )
        if trajectory.size != len(audit):
            raise DataError(
                f"the trajectory is of {trajectory.size} samples, the audit of {len(audit)}: give that of the same data set"
            )
        evidence, _ = with_samples_never_drawn(audit.run, evidence)
    posterior = get_detector(name, seed=audit.run.config["settings"]["seed"])
    if not isinstance(posterior, WrongLabelPosterior):
        raise SettingError(f"the detector {name!r} gives no probabilities of the true class: use 'drop'")
    posterior.fit(evidence, labels)
    targets = posterior.target_probabilities(np.arange(len(labels)))
    _tell_of_difference(audit, name, -posterior.score_samples(evidence, labels))
    decided = _decided(audit)
    flagged, suggested = audit.table["flagged"].to_numpy()[decided], _suggested(audit.table)[decided]
    sure = np.where(flagged, suggested, labels[decided])
    if (sure >= targets.shape[1]).any():
        raise DataError(
            f"the table suggests the class {sure.max()}, and classes are numbers below {targets.shape[1]}: correct its "
            "column suggested_label"
        )
    targets[decided[sure >= 0]] = np.eye(targets.shape[1])[sure[sure >= 0]]
    return targets


def posterior_of(audit: AuditedRun) -> str | None:
    """The detector whose score in the table is the probability of a wrong label.

    Args:
        audit: The audit.

    Returns:
        Its name; ``None`` where no column holds such a probability.
    """
    names = [name for name in (audit.detector, *POSTERIORS) if name in POSTERIORS]
    return next((name for name in names if f"score_{name}" in audit.table.column_names), None)


def _suggested(table: pa.Table) -> np.ndarray:
    """Suggested labels, -1 where there is none, shape (n,)."""
    return table["suggested_label"].fill_null(-1).to_numpy().astype(np.int64)


def _decided(audit: AuditedRun) -> np.ndarray:
    """Positions of the samples whose flag or suggested label a person has changed, so that the run's own table differs."""
    if audit.rescored:
        return np.arange(0)
    own = by_position(audit.run.read_table(), audit.run.path)
    flagged = audit.table["flagged"].to_numpy()
    other_flag = flagged != own["flagged"].to_numpy()
    return np.flatnonzero(other_flag | (flagged & (_suggested(audit.table) != _suggested(own))))


def _tell_of_difference(audit: AuditedRun, name: str, wrong: np.ndarray) -> None:
    """Says where the probabilities are others than those in the table, which another version of gradsift has written."""
    column = f"score_{name}"
    if column in audit.table.column_names:
        most = float(np.abs(wrong - audit.table[column].to_numpy()).max())
        if most > TOLERANCE:
            logger.warning(
                "probabilities of a wrong label differ by up to %.2g from those in the table, which were computed by "
                "gradsift %s: audit again to have both from one version",
                *(most, audit.details.get("versions", {}).get("gradsift", "of another version")),
            )
