"""Predicted time, memory and disk of an audit: a rehearsal on a few batches, before the audit itself runs."""

from gradsift.plan.prediction import Plan, plan

__all__ = ["Plan", "plan"]
