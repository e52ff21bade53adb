"""What influence is asked about: utility, fairness, robustness."""

from gradsift.influence.targets.base import Target, Utility, as_target
from gradsift.influence.targets.fairness import DemographicParity, EqualOpportunity
from gradsift.influence.targets.robustness import Adversarial

__all__ = ["Adversarial", "DemographicParity", "EqualOpportunity", "Target", "Utility", "as_target"]
