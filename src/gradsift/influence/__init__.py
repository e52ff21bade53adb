"""Influence of training samples on targets; positive = helpful."""

from gradsift.influence.base import Influence
from gradsift.influence.conjugate_gradient import ConjugateGradient
from gradsift.influence.datainf import DataInf
from gradsift.influence.ensemble import Ensemble
from gradsift.influence.exact import ExactInfluence
from gradsift.influence.forward import ForwardInfluence
from gradsift.influence.generalized import GeneralizedInfluence
from gradsift.influence.inner_product import InnerProduct
from gradsift.influence.kfac import EKFAC, KFAC
from gradsift.influence.lissa import LiSSA
from gradsift.influence.members import Checkpoints, DropoutMasks, Models
from gradsift.influence.registry import METHODS, get_method
from gradsift.influence.sample_gradients import SampleGradients
from gradsift.influence.targets import Adversarial, DemographicParity, EqualOpportunity, Target, Utility
from gradsift.influence.tracin import TracIn

__all__ = [
    "EKFAC",
    "KFAC",
    "METHODS",
    "Adversarial",
    "Checkpoints",
    "ConjugateGradient",
    "DataInf",
    "DemographicParity",
    "DropoutMasks",
    "Ensemble",
    "EqualOpportunity",
    "ExactInfluence",
    "ForwardInfluence",
    "GeneralizedInfluence",
    "Influence",
    "InnerProduct",
    "LiSSA",
    "Models",
    "SampleGradients",
    "Target",
    "TracIn",
    "Utility",
    "get_method",
]
