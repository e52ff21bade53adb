"""Thin adapters to the libraries that people train with."""

from gradsift.integrations.corrected import TargetSet, corrected_loss, weighted_rows
from gradsift.integrations.graphs import NodeModel, NodeSet
from gradsift.integrations.images import ImageSet
from gradsift.integrations.pairs import PairSet
from gradsift.integrations.prompts import PromptSet
from gradsift.integrations.text import TextSet

__all__ = [
    "ImageSet",
    "NodeModel",
    "NodeSet",
    "PairSet",
    "PromptSet",
    "TargetSet",
    "TextSet",
    "corrected_loss",
    "weighted_rows",
]
