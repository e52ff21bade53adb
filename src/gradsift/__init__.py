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
from gradsift.plan import Plan, plan
from gradsift.settings import AuditSettings
from gradsift.table import Audit

__all__ = [
    "Audit",
    "AuditSettings",
    "DataError",
    "GradsiftError",
    "ModelError",
    "Plan",
    "RunDirectoryError",
    "SettingError",
    "UnsafeFileError",
    "Verification",
    "accuracy",
    "audit",
    "plan",
    "verify",
]
