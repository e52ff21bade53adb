"""The page: one self-contained HTML file, what a notebook shows, and small renderers for each kind of sample."""

from gradsift.report.notebook import Plot, as_html, score_plot
from gradsift.report.page import write_report
from gradsift.report.samples import describe_sample, render_sample

__all__ = ["Plot", "as_html", "describe_sample", "render_sample", "score_plot", "write_report"]
