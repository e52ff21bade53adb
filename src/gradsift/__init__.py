"""gradsift: sift a training set by its gradients."""

from gradsift.audit import audit
from gradsift.cleaning import unlearn
from gradsift.errors import (
    DataError,
    GradsiftError,
    ModelError,
    RunDirectoryError,
    SettingError,
    UnsafeFileError,
)
from gradsift.evaluation import Verification, accuracy, verify
from gradsift.integrations import ImageSet, PromptSet, TextSet
from gradsift.plan import Plan, plan
from gradsift.settings import AuditSettings
from gradsift.table import Audit
from gradsift.trajectory import Recorder, Trajectory, indexed

__all__ = [
    "Audit",
    "AuditSettings",
    "DataError",
    "GradsiftError",
    "ImageSet",
    "ModelError",
    "Plan",
    "PromptSet",
    "Recorder",
    "RunDirectoryError",
    "SettingError",
    "TextSet",
    "Trajectory",
    "UnsafeFileError",
    "Verification",
    "accuracy",
    "audit",
    "indexed",
    "plan",
    "unlearn",
    "verify",
]
