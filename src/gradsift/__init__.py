"""gradsift: sift a training set by its gradients.

Public names are imported when they are first used, so that ``import gradsift`` costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from gradsift.improve import improve
    from gradsift.improvement import Improvement
    from gradsift.integrations import (
        BoxSet,
        ImageSet,
        MatchSet,
        NodeModel,
        NodeSet,
        PairSet,
        PromptSet,
        Seq2SeqSet,
        TargetSet,
        TextSet,
        corrected_loss,
        weighted_rows,
    )
    from gradsift.plan import Plan, plan
    from gradsift.result import Audit
    from gradsift.settings import AuditSettings
    from gradsift.stages import rescore
    from gradsift.trajectory import Recorder, Trajectory, indexed

__all__ = [
    "Audit",
    "AuditSettings",
    "BoxSet",
    "DataError",
    "Evidence",
    "GradsiftError",
    "ImageSet",
    "Improvement",
    "MatchSet",
    "ModelError",
    "NodeModel",
    "NodeSet",
    "PairSet",
    "Plan",
    "PromptSet",
    "Recorder",
    "RunDirectoryError",
    "Seq2SeqSet",
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

_HOMES = {
    name: module
    for module, names in {
        "audit": (
            "audit",
            "audit_part",
            "audit_predictions",
            "merge",
        ),
        "cleaning": ("unlearn",),
        "errors": (
            "DataError",
            "GradsiftError",
            "ModelError",
            "RunDirectoryError",
            "SettingError",
            "UnsafeFileError",
        ),
        "evaluation": (
            "Verification",
            "accuracy",
            "choose_cure",
            "correct",
            "verify",
        ),
        "evidence": (
            "Evidence",
            "cross_fit",
        ),
        "improve": ("improve",),
        "improvement": ("Improvement",),
        "integrations": (
            "BoxSet",
            "ImageSet",
            "MatchSet",
            "NodeModel",
            "NodeSet",
            "PairSet",
            "PromptSet",
            "Seq2SeqSet",
            "TargetSet",
            "TextSet",
            "corrected_loss",
            "weighted_rows",
        ),
        "plan": (
            "Plan",
            "plan",
        ),
        "result": ("Audit",),
        "settings": ("AuditSettings",),
        "stages": ("rescore",),
        "trajectory": (
            "Recorder",
            "Trajectory",
            "indexed",
        ),
    }.items()
    for name in names
}
"""Public name to the module that it is defined in."""


def __getattr__(name: str) -> Any:
    """A public name, or a subpackage such as ``gradsift.engines``, when it is first asked for."""
    if name in _HOMES:
        value = getattr(import_module(f"gradsift.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if name.isidentifier() and not name.startswith("_") and find_spec(f"gradsift.{name}") is not None:
        return import_module(f"gradsift.{name}")
    raise AttributeError(f"module 'gradsift' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package: of ``audit``, ``improve`` and ``plan``, which name a module and a function, it shows the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
