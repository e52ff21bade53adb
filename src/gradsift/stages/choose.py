"""Stage *choose*: which detectors get a column, and which one ranks, by what evidence there is."""

from __future__ import annotations

from dataclasses import dataclass

from gradsift.detectors import Detector, get_detector
from gradsift.errors import SettingError
from gradsift.settings import AuditSettings
from gradsift.stages.defaults import DEFAULTS, TRAJECTORIES, Default
from gradsift.tasks import Kind
from gradsift.trajectory import Trajectory

NEEDED = {
    "class": "class labels",
    "multilabel": "several yes-or-no labels a sample",
    "value": "values to predict",
    "token": "a class for every token",
    "pair": "pairs of a chosen and a rejected answer",
    "structured": "masks, boxes or transcripts",
}
"""What labels must be, in words."""


@dataclass(frozen=True)
class Expected:
    """What evidence there will be, known before any is collected.

    Attributes:
        fields: Names of the fields of :class:`~gradsift.evidence.Evidence`.
        kind: What labels are; ``None`` where they are unknown.
        last_layer: Whether it is about the last layer, or predictions alone, and not about gradients of other layers.
        trajectory: What was recorded along training.
        task: What the labels belong to, for messages.
        held_out: Whether predictions will be those of cross-fitted heads.
    """

    fields: frozenset[str]
    kind: Kind | None
    last_layer: bool
    trajectory: Trajectory | None = None
    task: str = "predictions"
    held_out: bool = False


def default_for(expected: Expected) -> Default:
    """What is done where nothing is asked for: the first default of the kind whose evidence will be there.

    Args:
        expected: What evidence there will be.

    Returns:
        An entry of :data:`~gradsift.stages.defaults.DEFAULTS`; its last one where none fits.
    """
    usual = DEFAULTS[expected.kind]
    for default in usual:
        if default.needs <= expected.fields and (expected.last_layer or not default.last_layer):
            return default
    return usual[-1]


def usual_detector(expected: Expected) -> str:
    """The detector that ranks where none is asked for; see docs/defaults.md.

    Args:
        expected: What evidence there will be.

    Returns:
        The default of the kind of task; along training where that was recorded and no heads are cross-fitted, if it is the
        posterior of a wrong class or a gradient norm.
    """
    usual, trajectory = default_for(expected).detector, expected.trajectory
    if trajectory is None:
        return usual
    if usual == "posterior":
        recorded = trajectory.predictions is not None and not expected.held_out
        return "posterior_along_training" if recorded else usual
    return f"{usual}_along_training" if usual in trajectory.statistics else usual


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
    default = default_for(expected)
    recorded = expected.trajectory.statistics if expected.trajectory is not None else {}
    names = [name for name in (default.detector, *default.columns) if get_detector(name).reads[0] in expected.fields]
    if not expected.last_layer:  # other layers' gradients are projected, and their L1 norms cost a pass of their own
        names = [name for name in names if name != "l1"]
    along = {name: getattr(get_detector(name), "statistic", None) for name in TRAJECTORIES}
    return (*names, *(name for name, statistic in along.items() if statistic in recorded))


def _refuse_if_blind(name: str, detector: Detector, expected: Expected) -> None:
    kind = "class" if detector.of_classes else detector.of_kind  # a detector of one's own may say the former alone
    if kind is not None and kind != expected.kind:
        raise SettingError(f"detector {name!r} needs {NEEDED[kind]}, and the task {expected.task} has none")
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
