"""An audit of a model that is run over its training set, or of evidence that is there already.

The two share all stages behind collecting.
"""

from gradsift.jobs.of_evidence import audit_evidence
from gradsift.jobs.of_model import audit_model
from gradsift.jobs.of_parts import PartDone, audit_one_part, merge_parts
from gradsift.jobs.request import Request

__all__ = ["PartDone", "Request", "audit_evidence", "audit_model", "audit_one_part", "merge_parts"]
