"""gradsift: sift a training set by its gradients."""

from gradsift.audit import audit
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

__all__ = [
    "Audit",
    "AuditSettings",
    "DataError",
    "GradsiftError",
    "ImageSet",
    "ModelError",
    "Plan",
    "PromptSet",
    "RunDirectoryError",
    "SettingError",
    "TextSet",
    "UnsafeFileError",
    "Verification",
    "accuracy",
    "audit",
    "plan",
    "verify",
]
