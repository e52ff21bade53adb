"""Does a cure help? Retraining with controls, and detection of planted errors."""

from gradsift.evaluation.choice import Choice, choose
from gradsift.evaluation.choose_cure import choose_cure
from gradsift.evaluation.correct import correct
from gradsift.evaluation.detection import detection, detection_measures, precision_curve
from gradsift.evaluation.metrics import accuracy
from gradsift.evaluation.noise import flip_labels
from gradsift.evaluation.removal import RemovalCurve, removal_curve
from gradsift.evaluation.retraining import (
    SubsetRetraining,
    leave_one_out,
    linear_datamodeling_score,
    retrain_subsets,
)
from gradsift.evaluation.statistics import Estimate, estimate
from gradsift.evaluation.verification import Judged, Trial, Verification
from gradsift.evaluation.verify import verify

__all__ = [
    "Choice",
    "Estimate",
    "Judged",
    "RemovalCurve",
    "SubsetRetraining",
    "Trial",
    "Verification",
    "accuracy",
    "choose",
    "choose_cure",
    "correct",
    "detection",
    "detection_measures",
    "estimate",
    "flip_labels",
    "leave_one_out",
    "linear_datamodeling_score",
    "precision_curve",
    "removal_curve",
    "retrain_subsets",
    "verify",
]
