"""How many samples to remove, and removing them."""

from gradsift.cleaning.contamination import Decision, decide
from gradsift.cleaning.trim import trim

__all__ = ["Decision", "decide", "trim"]
