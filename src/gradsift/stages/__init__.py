"""The stages of an audit behind the evidence: choose detectors, score, decide, tabulate. Each can be used alone."""

from gradsift.stages.choose import choose_detectors, usual_detector
from gradsift.stages.decide import Cut, decide_cut
from gradsift.stages.finish import finish
from gradsift.stages.score import Scores, score
from gradsift.stages.tabulate import tabulate

__all__ = ["Cut", "Scores", "choose_detectors", "decide_cut", "finish", "score", "tabulate", "usual_detector"]
