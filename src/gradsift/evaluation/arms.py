"""What is done to the training set before each retraining: the cures in question, their controls, and the oracles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradsift.cleaning.cure import Cure, How, none, soft
from gradsift.cleaning.cures_of import cure_of
from gradsift.cleaning.reviewed import Reviewed
from gradsift.errors import DataError, SettingError
from gradsift.evaluation.verification import UNCHANGED, Judged
from gradsift.table import AuditedRun
from gradsift.trajectory import Trajectory

RANDOM, DISTILLED = "random drop", "self-distillation"
SMOOTHINGS = {"smoothing 0.3": 0.3, "smoothing 0.1": 0.1}
"""Names of the arms that smooth labels, and by how much."""
CONTROLS = (RANDOM, *SMOOTHINGS, DISTILLED)
"""Controls beside no change."""

Asked = Sequence[str | Cure | tuple[str, Cure | AuditedRun]] | Mapping[str, Cure | AuditedRun]
"""Arms as a user names them: kinds of cures, which the audit gives; cures; or names with cures or other audits."""


@dataclass(frozen=True)
class Arm:
    """One way to prepare the training set.

    Attributes:
        name: Its name.
        how: The kind of its cures.
        cures: Seed to cure; of self-distillation to that of its teacher, whose predictions become soft targets.
        controls: Names of its controls, where its gain is in question; ``None`` for controls and oracles.
    """

    name: str
    how: How
    cures: Mapping[int, Cure]
    controls: tuple[str, ...] | None = None

    @property
    def distils(self) -> bool:
        """Whether it is self-distillation."""
        return self.name == DISTILLED

    @property
    def judged(self) -> Judged | None:
        """The arm as the result tells of it, where its gain is in question."""
        return None if self.controls is None else Judged(self.name, self.how, self.controls)


def plan_arms(
    audit: AuditedRun,
    asked: Asked,
    seeds: Sequence[int],
    true_labels: Any = None,
    controls: Sequence[str] | None = None,
    trajectory: Trajectory | None = None,
    reviewed: Reviewed | None = None,
) -> list[Arm]:
    """All arms of a verification, in the order in which they are trained.

    Args:
        audit: The audit.
        asked: The arms in question.
        seeds: Seeds of the trainings.
        true_labels: True labels, shape (n,), where they are known.
        controls: Which of :data:`CONTROLS` may run; those that the arms need where left out.
        trajectory: What was recorded along training, for soft targets of an audit that ranks by it.
        reviewed: The decisions of people, matched with the data set; those of the run, as they stand, where left out.

    Returns:
        No change, controls, the arms in question, oracles.

    Raises:
        SettingError: An arm or a control is unknown, or two arms have one name.
        DataError: A cure is of other samples or changes none of them, or true labels do not fit.
    """
    cures = _cures(audit, asked, trajectory, Reviewed.of(audit) if reviewed is None else reviewed)
    allowed, labels = _allowed(controls), cure_of(audit, "none").given
    unchanged = _fixed(UNCHANGED, none(labels), seeds)
    sizes = sorted({_removed(cure) for cure in cures.values() if _is_dropping(cure)}) if RANDOM in allowed else []
    names = {size: RANDOM if len(sizes) == 1 else f"{RANDOM} of {size:,}" for size in sizes}
    random = [Arm(name, "drop", {seed: _random(labels, size, seed) for seed in seeds}) for size, name in names.items()]
    classes = next((cure.targets.shape[1] for cure in cures.values() if cure.targets is not None), 0)
    smoothings = {name: epsilon for name, epsilon in SMOOTHINGS.items() if name in allowed and classes}
    softened = [_fixed(name, smoothed(labels, classes, epsilon), seeds) for name, epsilon in smoothings.items()]
    if classes and DISTILLED in allowed:
        softened.append(Arm(DISTILLED, "soft", unchanged.cures))
    judged = []
    for name, cure in cures.items():
        own = [names[_removed(cure)]] if _is_dropping(cure) and names else []
        if cure.how == "soft":
            own = [arm.name for arm in softened]
        judged.append(_fixed(name, cure, seeds, tuple(own) or (UNCHANGED,)))
    oracles = [] if true_labels is None else _oracles(audit, labels, true_labels)
    return [unchanged, *random, *softened, *judged, *(_fixed(name, cure, seeds) for name, cure in oracles)]


def smoothed(labels: np.ndarray, classes: int, epsilon: float) -> Cure:
    """Targets ``(1 - epsilon) e_y + epsilon / K``.

    Args:
        labels: Given labels, shape (n,).
        classes: Number of classes K.
        epsilon: Share of the target that is spread over all classes.

    Returns:
        The cure.
    """
    targets = np.full((len(labels), classes), epsilon / classes, dtype=np.float32)
    targets[np.arange(len(labels)), labels] += 1 - epsilon
    return soft(targets, labels)


def _fixed(name: str, cure: Cure, seeds: Iterable[int], controls: tuple[str, ...] | None = None) -> Arm:
    """An arm whose cure is the same for all seeds."""
    return Arm(name, cure.how, dict.fromkeys(seeds, cure), controls)


def _is_dropping(cure: Cure) -> bool:
    """Whether a random drop of as many samples is the cure's control."""
    return cure.how == "drop" or (cure.how in ("relabel", "reviewed") and _removed(cure) > 0)


def _removed(cure: Cure) -> int:
    return len(cure) - len(cure.kept)


def _random(labels: np.ndarray, removed: int, seed: int) -> Cure:
    kept = np.random.default_rng([seed, 20]).choice(len(labels), len(labels) - removed, replace=False)
    return Cure("drop", labels, np.sort(kept))


def _allowed(controls: Sequence[str] | None) -> tuple[str, ...]:
    unknown = [name for name in controls or () if name not in CONTROLS]
    if unknown:
        raise SettingError(
            f"unknown controls {', '.join(map(repr, unknown))}: the known ones are {', '.join(CONTROLS)}"
        )
    return CONTROLS if controls is None else tuple(controls)


def _cures(audit: AuditedRun, asked: Asked, trajectory: Trajectory | None, reviewed: Reviewed) -> dict[str, Cure]:
    """The arms in question by their names."""
    if isinstance(asked, str | Cure):
        raise SettingError(f"arms is a {type(asked).__name__}, give a list, such as arms=['drop', 'soft']")
    cures: dict[str, Cure] = {}
    for arm in asked.items() if isinstance(asked, Mapping) else asked:
        name, cure = _named(audit, arm, trajectory, reviewed)
        if name in cures or name in (UNCHANGED, *CONTROLS) or name.startswith(("oracle ", RANDOM)):
            raise SettingError(
                f"the name {name!r} of an arm is taken: give every cure a name of its own, arms={{name: cure}}"
            )
        if len(cure) != len(audit):
            raise DataError(f"the cure {name!r} is of {len(cure)} samples, the audit of {len(audit)}")
        if not _changes(cure):
            what = "the audit flags no sample" if name == "drop" else f"the arm {name!r} changes no sample"
            raise DataError(f"{what}, so there is nothing to verify")
        cures[name] = cure
    if not cures:
        raise SettingError("verify needs at least one arm, such as arms=['drop']")
    return cures


def _named(audit: AuditedRun, arm: Any, trajectory: Trajectory | None, reviewed: Reviewed) -> tuple[str, Cure]:
    if isinstance(arm, tuple):
        name, cure = arm
    else:
        name, cure = arm.name if isinstance(arm, Cure) else arm, arm
    if isinstance(cure, AuditedRun):
        cure = cure_of(cure, "drop")  # it may be of another run, with decisions of its own
    elif isinstance(cure, str):
        cure = cure_of(audit, cure, trajectory=trajectory, reviewed=reviewed)
    if not isinstance(name, str) or not isinstance(cure, Cure):
        raise SettingError(f"an arm is a kind of cure, a Cure, or a name with a Cure or an Audit; given {arm!r}")
    return name, cure


def _changes(cure: Cure) -> bool:
    """Whether a cure does anything."""
    by_numbers = cure.targets is not None or cure.weights is not None
    return by_numbers or len(cure.kept) < len(cure) or len(cure.changed) > 0


def _oracles(audit: AuditedRun, labels: np.ndarray, true_labels: Any) -> list[tuple[str, Cure]]:
    """What somebody would do who knows all wrong labels."""
    true, column = np.asarray(true_labels), audit.table["given_label"]
    if column.null_count:
        raise DataError("the audit's task knows no given labels, so true_labels cannot tell which are wrong")
    audited = column.to_numpy()
    if true.dtype.kind in "OUS" and audited.dtype.kind in "iu":
        raise DataError(f"true_labels are {true.dtype}, the given labels are class numbers: number them alike")
    if true.shape != audited.shape:
        raise DataError(f"true_labels has shape {true.shape}, the audit {audited.shape} given labels")
    oracles = [("oracle drop", Cure("drop", labels, np.flatnonzero(true == audited)))]
    # a mark such as -1 for "not known" is no label to train on
    if audit.kind == "class" and np.isin(true, labels).all():
        relabelled = Cure("relabel", labels, np.arange(len(labels)), labels=true.astype(labels.dtype))
        oracles.append(("oracle relabel", relabelled))
    return oracles
