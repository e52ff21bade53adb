"""Thin adapters to the libraries that people train with."""

from gradsift.integrations.boxes import BoxSet
from gradsift.integrations.corrected import TargetSet, corrected_loss, weighted_rows
from gradsift.integrations.graphs import NodeModel, NodeSet
from gradsift.integrations.images import ImageSet
from gradsift.integrations.matches import MatchSet
from gradsift.integrations.pairs import PairSet
from gradsift.integrations.prompts import PromptSet
from gradsift.integrations.sequences import Seq2SeqSet
from gradsift.integrations.text import TextSet

__all__ = [
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
]
