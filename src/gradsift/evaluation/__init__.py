"""Does removing the flagged samples help? Retraining with controls, and detection of planted errors."""

from gradsift.evaluation.detection import detection, detection_measures
from gradsift.evaluation.metrics import accuracy
from gradsift.evaluation.noise import flip_labels
from gradsift.evaluation.statistics import Estimate, estimate
from gradsift.evaluation.verification import Trial, Verification
from gradsift.evaluation.verify import verify

__all__ = [
    "Estimate",
    "Trial",
    "Verification",
    "accuracy",
    "detection",
    "detection_measures",
    "estimate",
    "flip_labels",
    "verify",
]
