"""How many samples to remove; removing them from the data or from a model; marking them."""

import warnings
from typing import Any

from gradsift.cleaning.annotate import annotate
from gradsift.cleaning.contamination import Decision, decide
from gradsift.cleaning.hold import crossed, flag
from gradsift.cleaning.trim import trim
from gradsift.cleaning.unlearn import UnlearningResult, unlearn

__all__ = ["Decision", "UnlearningResult", "annotate", "crossed", "decide", "flag", "trim", "unlearn"]


def __getattr__(name: str) -> Any:
    """The former place of :func:`gradsift.rescore`."""
    if name != "rescore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gradsift.stages import rescore  # late: the stages stand behind this package

    warnings.warn("gradsift.cleaning.rescore is gradsift.rescore now", DeprecationWarning, stacklevel=2)
    return rescore
