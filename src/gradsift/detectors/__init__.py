"""Outlier detectors over per-sample gradients, and the label baselines that they must beat."""

from gradsift.detectors.base import Detector
from gradsift.detectors.belief import Belief
from gradsift.detectors.external import External
from gradsift.detectors.flip_pattern import FlipPattern
from gradsift.detectors.isolation import IsolationForest
from gradsift.detectors.label_sets import WrongLabelSetPosterior
from gradsift.detectors.labels import ConfidenceWeightedEntropy, Loss, NormalizedMargin, SelfConfidence
from gradsift.detectors.norms import L1Norm, L2Norm
from gradsift.detectors.pairs import SwappedPairPosterior, SwappedPairs
from gradsift.detectors.per_class import PerClass
from gradsift.detectors.posterior import WrongLabelPosterior, WrongLabelPosteriorAlongTraining
from gradsift.detectors.registry import DETECTORS, get_detector
from gradsift.detectors.responses import ResponseSurprise
from gradsift.detectors.scores import detrimental_scores, influence_scores
from gradsift.detectors.tokens import WorstToken, WrongTokenPosterior
from gradsift.detectors.values import WrongValuePosterior
from gradsift.detectors.worst_part import WorstPart
from gradsift.detectors.wrong_labels import WrongLabels

__all__ = [
    "DETECTORS",
    "Belief",
    "ConfidenceWeightedEntropy",
    "Detector",
    "External",
    "FlipPattern",
    "IsolationForest",
    "L1Norm",
    "L2Norm",
    "Loss",
    "NormalizedMargin",
    "PerClass",
    "ResponseSurprise",
    "SelfConfidence",
    "SwappedPairPosterior",
    "SwappedPairs",
    "WorstPart",
    "WorstToken",
    "WrongLabelPosterior",
    "WrongLabelPosteriorAlongTraining",
    "WrongLabelSetPosterior",
    "WrongLabels",
    "WrongTokenPosterior",
    "WrongValuePosterior",
    "detrimental_scores",
    "get_detector",
    "influence_scores",
]
