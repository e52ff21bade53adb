"""The result of an audit: one row a sample."""

from gradsift.table.audit_result import Audit
from gradsift.table.build import build_table, predicted_labels
from gradsift.table.health import vanished_gradients, warnings_of
from gradsift.table.schema import COLUMNS, SCORE_PREFIX

__all__ = ["COLUMNS", "SCORE_PREFIX", "Audit", "build_table", "predicted_labels", "vanished_gradients", "warnings_of"]
