"""The result of an audit: one row a sample."""

from gradsift.table.audited_run import AuditedRun, evidence_of
from gradsift.table.build import build_table, predicted_labels
from gradsift.table.notices import Notice, cut_notices, model_notices
from gradsift.table.schema import COLUMNS, SCORE_PREFIX

__all__ = [
    "COLUMNS",
    "SCORE_PREFIX",
    "AuditedRun",
    "Notice",
    "build_table",
    "cut_notices",
    "evidence_of",
    "model_notices",
    "predicted_labels",
]
