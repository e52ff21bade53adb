"""Stage *choose*: which detectors get a column, and which one ranks, by what evidence there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gradsift.detectors import Detector, get_detector
from gradsift.errors import SettingError
from gradsift.settings import AuditSettings
from gradsift.trajectory import Trajectory

LABEL_DETECTORS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
TRAJECTORY_DETECTORS = ("l2_along_training", "el2n_along_training", "loss_along_training", "aum")


@dataclass(frozen=True)
class Expected:
    """What evidence there will be, known before any is collected.

    Attributes:
        fields: Names of the fields of :class:`~gradsift.evidence.Evidence`.
        classes: Whether every sample has one class.
        last_layer: Whether it is about the last layer, or predictions alone, and not about gradients of other layers.
        trajectory: What was recorded along training.
        task: What the labels belong to, for messages.
        held_out: Whether predictions will be those of cross-fitted heads.
    """

    fields: frozenset[str]
    classes: bool
    last_layer: bool
    trajectory: Trajectory | None = None
    task: str = "predictions"
    held_out: bool = False


def usual_detector(expected: Expected) -> str:
    """The detector that ranks where none is asked for; see docs/decisions/0009-defaults.md.

    Args:
        expected: What evidence there will be.

    Returns:
        The posterior of a wrong label for classes and the last layer, along training where that was recorded and no
        heads are cross-fitted; gradient norms elsewhere, or losses where there are no gradients.
    """
    trajectory = expected.trajectory
    if expected.classes and expected.last_layer:
        recorded = trajectory is not None and trajectory.predictions is not None and not expected.held_out
        return "posterior_along_training" if recorded else "posterior"
    if trajectory is not None and "l2" in trajectory.statistics:
        return "l2_along_training"
    return "l2" if "gradients" in expected.fields else "loss"


def choose_detectors(settings: AuditSettings, expected: Expected) -> tuple[dict[str, Detector], str]:
    """The detectors that get a column, and the name of the one that ranks.

    Args:
        settings: The settings.
        expected: What evidence there will be.

    Returns:
        Name to detector, and the name of the one that ranks, which is among them.

    Raises:
        SettingError: A detector is unknown, or reads what there is no evidence of.
    """
    usual = usual_detector(expected)
    names = settings.detectors or _usual_columns(expected)
    ranking = settings.detector or (usual if settings.detectors is None or usual in names else names[0])
    if ranking not in names:
        names = (ranking, *names)
    chosen = {name: get_detector(name, seed=settings.seed) for name in names}
    for name, detector in chosen.items():
        _refuse_if_blind(name, detector, expected)
    return chosen, ranking


def _usual_columns(expected: Expected) -> tuple[str, ...]:
    """Detectors that get a column where none are asked for. A trajectory adds some and takes none away."""
    names: tuple[str, ...] = ("posterior",) if expected.classes and expected.last_layer else ()
    if "gradients" in expected.fields:
        names += ("l2", "l1", "isolation_forest") if expected.last_layer else ("l2", "isolation_forest")
    names += ("loss",)
    names += LABEL_DETECTORS if expected.classes else ()
    recorded: Mapping[str, object] = expected.trajectory.statistics if expected.trajectory is not None else {}
    along = {name: get_detector(name) for name in TRAJECTORY_DETECTORS}
    return names + tuple(name for name, one in along.items() if getattr(one, "statistic", None) in recorded)


def _refuse_if_blind(name: str, detector: Detector, expected: Expected) -> None:
    if detector.of_classes and not expected.classes:
        raise SettingError(f"detector {name!r} needs class labels, which the task {expected.task} has not")
    needed = detector.reads[0]
    if needed in expected.fields:
        return
    if needed == "trajectory":
        raise SettingError(
            f"detector {name!r} reads what a Recorder has collected along training: pass trajectory=recorder "
            "(--trajectory FOLDER)"
        )
    raise SettingError(
        f"detector {name!r} reads {needed}, and there is evidence of {', '.join(sorted(expected.fields))} alone: choose "
        "another detector, or give features with the predictions"
    )
