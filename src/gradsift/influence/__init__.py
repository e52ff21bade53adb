"""Influence of training samples on targets; positive = helpful."""

from gradsift.influence.base import Influence
from gradsift.influence.datainf import DataInf
from gradsift.influence.inner_product import InnerProduct
from gradsift.influence.sample_gradients import SampleGradients
from gradsift.influence.targets import Target, Utility

__all__ = ["DataInf", "Influence", "InnerProduct", "SampleGradients", "Target", "Utility"]
