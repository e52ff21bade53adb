"""How many samples to remove, removing them, and marking them in the data."""

from gradsift.cleaning.annotate import annotate
from gradsift.cleaning.contamination import Decision, decide
from gradsift.cleaning.rescore import rescore
from gradsift.cleaning.trim import trim

__all__ = ["Decision", "annotate", "decide", "rescore", "trim"]
