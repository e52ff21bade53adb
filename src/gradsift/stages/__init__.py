"""The stages of an audit behind the evidence: choose detectors, score, decide, tabulate. Each can be used alone."""

from gradsift.stages.choose import Expected, choose_detectors, usual_detector
from gradsift.stages.collect_arrays import collect_arrays
from gradsift.stages.decide import Cut, decide_cut
from gradsift.stages.finish import finish
from gradsift.stages.open_run import OpenRun, open_run
from gradsift.stages.rescore import rescore, rescore_by_decisions
from gradsift.stages.score import Scores, score
from gradsift.stages.tabulate import tabulate

__all__ = [
    "Cut",
    "Expected",
    "OpenRun",
    "Scores",
    "choose_detectors",
    "collect_arrays",
    "decide_cut",
    "finish",
    "open_run",
    "rescore",
    "rescore_by_decisions",
    "score",
    "tabulate",
    "usual_detector",
]
