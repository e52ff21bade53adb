"""The page: one self-contained HTML file, and small renderers for each kind of sample."""

from gradsift.report.page import write_report
from gradsift.report.samples import render_sample

__all__ = ["render_sample", "write_report"]
