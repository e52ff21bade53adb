"""How many samples to remove; removing them from the data or from a model; marking them."""

from gradsift.cleaning.annotate import annotate
from gradsift.cleaning.contamination import Decision, decide
from gradsift.cleaning.hold import crossed, flag
from gradsift.cleaning.trim import trim
from gradsift.cleaning.unlearn import UnlearningResult, unlearn

__all__ = ["Decision", "UnlearningResult", "annotate", "crossed", "decide", "flag", "trim", "unlearn"]
