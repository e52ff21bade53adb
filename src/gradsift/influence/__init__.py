"""Influence of training samples on targets, from their gradients; positive = helpful."""

from gradsift.influence.datainf import datainf
from gradsift.influence.inner_product import inner_products

__all__ = ["datainf", "inner_products"]
