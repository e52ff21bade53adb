"""The page: one self-contained HTML file, what a notebook shows, and small renderers for each kind of sample."""

from gradsift.report.notebook import Plot, as_html, score_plot
from gradsift.report.page import class_name, removed_by_class, write_report
from gradsift.report.samples import describe_sample, picture_of, render_sample

__all__ = [
    "Plot",
    "as_html",
    "class_name",
    "describe_sample",
    "picture_of",
    "removed_by_class",
    "render_sample",
    "score_plot",
    "write_report",
]
