"""Detectors by name."""

from __future__ import annotations

from collections.abc import Callable

from gradsift.detectors.base import Detector
from gradsift.detectors.external import External
from gradsift.detectors.isolation import IsolationForest
from gradsift.detectors.label_sets import WrongLabelSetPosterior
from gradsift.detectors.labels import ConfidenceWeightedEntropy, Loss, NormalizedMargin, SelfConfidence
from gradsift.detectors.norms import L1Norm, L2Norm
from gradsift.detectors.pairs import SwappedPairPosterior
from gradsift.detectors.per_class import PerClass
from gradsift.detectors.posterior import WrongLabelPosterior, WrongLabelPosteriorAlongTraining
from gradsift.detectors.responses import ResponseSurprise
from gradsift.detectors.tokens import WorstToken, WrongTokenPosterior
from gradsift.detectors.trajectory import AlongTraining
from gradsift.detectors.values import WrongValuePosterior
from gradsift.detectors.worst_part import WorstPart
from gradsift.errors import SettingError

DETECTORS: dict[str, Callable[[int], Detector]] = {
    "l2": lambda _seed: L2Norm(),
    "l1": lambda _seed: L1Norm(),
    "isolation_forest": lambda seed: IsolationForest(random_state=seed),
    "l2_per_class": lambda _seed: PerClass(L2Norm()),
    "l1_per_class": lambda _seed: PerClass(L1Norm()),
    "isolation_forest_per_class": lambda seed: PerClass(IsolationForest(random_state=seed)),
    "loss": lambda _seed: Loss(),
    "self_confidence": lambda _seed: SelfConfidence(),
    "normalized_margin": lambda _seed: NormalizedMargin(),
    "confidence_weighted_entropy": lambda _seed: ConfidenceWeightedEntropy(),
    "posterior": lambda seed: WrongLabelPosterior(random_state=seed),
    "posterior_along_training": lambda seed: WrongLabelPosteriorAlongTraining(random_state=seed),
    "multilabel_posterior": lambda seed: WrongLabelSetPosterior(random_state=seed),
    "value_posterior": lambda seed: WrongValuePosterior(random_state=seed),
    "token_posterior": lambda seed: WrongTokenPosterior(random_state=seed),
    "pair_posterior": lambda seed: SwappedPairPosterior(random_state=seed),
    "response_surprise": lambda seed: ResponseSurprise(random_state=seed),
    "worst_token": lambda _seed: WorstToken(),
    "worst_part": lambda _seed: WorstPart(),
    "l2_along_training": lambda _seed: AlongTraining("l2"),
    "l1_along_training": lambda _seed: AlongTraining("l1"),
    "el2n_along_training": lambda _seed: AlongTraining("residual_l2"),
    "loss_along_training": lambda _seed: AlongTraining("loss"),
    "aum": lambda _seed: AlongTraining("margin"),
}
"""Name to a function of the seed that makes the detector."""


def get_detector(name: str, *, seed: int = 0) -> Detector:
    """Makes a detector.

    Args:
        name: One of :data:`DETECTORS`, or ``module:Class`` of scikit-learn or PyOD.
        seed: Seed.

    Returns:
        The detector, not fitted.

    Raises:
        SettingError: The name is unknown.
    """
    if name in DETECTORS:
        return DETECTORS[name](seed)
    if ":" in name:
        return External.at(name, random_state=seed)
    raise SettingError(f"unknown detector {name!r}: choose among {', '.join(DETECTORS)}, or give module:Class")
