"""How many samples to remove; removing them from the data or from a model; marking them."""

from gradsift.cleaning.annotate import annotate
from gradsift.cleaning.contamination import Decision, decide
from gradsift.cleaning.rescore import rescore
from gradsift.cleaning.trim import trim
from gradsift.cleaning.unlearn import UnlearningResult, unlearn

__all__ = ["Decision", "UnlearningResult", "annotate", "decide", "rescore", "trim", "unlearn"]
