"""gradsift: sift a training set by its gradients."""

from gradsift.audit import audit, audit_part, audit_predictions, merge
from gradsift.cleaning import unlearn
from gradsift.errors import (
    DataError,
    GradsiftError,
    ModelError,
    RunDirectoryError,
    SettingError,
    UnsafeFileError,
)
from gradsift.evaluation import Verification, accuracy, choose_cure, correct, verify
from gradsift.evidence import Evidence, cross_fit
from gradsift.improve import Improvement, improve
from gradsift.integrations import ImageSet, PairSet, PromptSet, TargetSet, TextSet, corrected_loss, weighted_rows
from gradsift.plan import Plan, plan
from gradsift.result import Audit
from gradsift.settings import AuditSettings
from gradsift.stages import rescore
from gradsift.trajectory import Recorder, Trajectory, indexed

__all__ = [
    "Audit",
    "AuditSettings",
    "DataError",
    "Evidence",
    "GradsiftError",
    "ImageSet",
    "Improvement",
    "ModelError",
    "PairSet",
    "Plan",
    "PromptSet",
    "Recorder",
    "RunDirectoryError",
    "SettingError",
    "TargetSet",
    "TextSet",
    "Trajectory",
    "UnsafeFileError",
    "Verification",
    "accuracy",
    "audit",
    "audit_part",
    "audit_predictions",
    "choose_cure",
    "correct",
    "corrected_loss",
    "cross_fit",
    "improve",
    "indexed",
    "merge",
    "plan",
    "rescore",
    "unlearn",
    "verify",
    "weighted_rows",
]
