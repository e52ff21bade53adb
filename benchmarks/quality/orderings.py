"""The orderings that the paper's tables claim, each beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from frame.rows import Row

from gradsift.evaluation import estimate
from quality.methods import METHODS
from quality.outcomes import of_budget
from quality.tables import Values, cell

OGA = ("isolation_forest", "l1", "l2")
LABELS = ("normalized_margin", "self_confidence", "confidence_weighted_entropy")
INFLUENCE = ("inner_product_last", "lissa_last", "datainf_last")


@dataclass(frozen=True)
class Claim:
    """That some methods are ahead of others.

    Attributes:
        words: What the paper's table says.
        regimes: Where.
        ahead: The methods that are said to be ahead.
        behind: The others.
        measure: A column of the detection rows, or ``"accuracy"`` after removing as many as are wrong.
    """

    words: str
    regimes: tuple[str, ...]
    ahead: tuple[str, ...]
    behind: tuple[str, ...]
    measure: str


HUMAN = ("cifar10n-aggre", "cifar10n-rand1", "cifar10n-worst")
CLAIMS = (
    Claim("Table 1: OGA finds more than the label scores", ("half-moons",), OGA, LABELS, "ap"),
    Claim("Table 1: OGA finds more than influence", ("half-moons",), OGA, INFLUENCE, "ap"),
    Claim("Table 1: L1 and L2 find more than the isolation forest", ("half-moons",), ("l1", "l2"), OGA[:1], "ap"),
    Claim("Table 1: trimming by the isolation forest gives the best accuracy", ("half-moons",), OGA[:1],
          ("l1", "l2", *LABELS, "datainf_last", "lissa_last"), "accuracy"),
    Claim("Table 2: OGA ahead of the label scores at 5 % (here: precision at 5 %)", HUMAN, OGA, LABELS, "precision_at_5"),
    Claim("Table 2: OGA ahead of influence at 5 % (here: precision at 5 %)", HUMAN, OGA, INFLUENCE, "precision_at_5"),
    Claim("Table 2: OGA L1, L2 ahead of self-influence (here: precision at 5 %)", HUMAN, ("l1", "l2"),
          ("self_datainf",), "precision_at_5"),
)  # fmt: skip


def orderings(detection: Sequence[Row], retraining: Sequence[Row]) -> list[str]:
    """Every pair of every claim, paired by seed.

    Args:
        detection: Detection rows.
        retraining: Retraining rows.

    Returns:
        Lines of Markdown.
    """
    lines: list[str] = []
    for claim in CLAIMS:
        accuracy = claim.measure == "accuracy"
        values = of_budget(retraining, "true") if accuracy else Values(detection, claim.measure)
        verdicts, rows = {1: 0, 0: 0, -1: 0}, []
        for regime in claim.regimes:
            for method in claim.ahead:
                cells = []
                for other in claim.behind:
                    found = values.paired(regime, method, other)
                    if len(found) > 1:
                        verdicts[estimate(found).sign] += 1
                    cells.append(cell(estimate(found), 2 if accuracy else 3, "+") if found else "")
                rows.append(f"| {regime} | {METHODS[method].words} | " + " | ".join(cells) + " |")
        if not sum(verdicts.values()):
            continue
        unit = "accuracy in points" if accuracy else {"ap": "average precision"}.get(claim.measure, "precision at 5 %")
        lines += [
            f"**{claim.words}.** Of {sum(verdicts.values())} comparisons {verdicts[1]} are reproduced, {verdicts[-1]} "
            f"refuted, {verdicts[0]} cannot be told. Paired differences in {unit}:",
            "",
            "| regime | method | " + " | ".join(f"less {METHODS[other].words}" for other in claim.behind) + " |",
            "|---" * (len(claim.behind) + 2) + "|",
            *rows,
            "",
        ]
    return lines
