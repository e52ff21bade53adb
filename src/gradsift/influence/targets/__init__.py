"""What influence is asked about: utility, fairness, robustness."""

from gradsift.influence.targets.base import Target, Utility, as_target

__all__ = ["Target", "Utility", "as_target"]
