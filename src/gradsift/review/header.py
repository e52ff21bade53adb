"""What stands above the page: how far the review is, what the next decisions bring, and how right the audit was."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsift.cleaning.review_numbers import Bin, ahead, review_numbers
from gradsift.review.book import CODES, Book

NEXT = 400
"""So many decisions are looked ahead."""
SIDE = 120
"""Width and height of the plot of the calibration."""


def header(
    book: Book, reviewer: str, flagged: np.ndarray, said: np.ndarray, learned: np.ndarray, left: np.ndarray
) -> dict[str, Any]:
    """The content of the header.

    Args:
        book: What was decided.
        reviewer: For whom.
        flagged: Which samples the audit flags, shape (n,), boolean.
        said: Probability that each given label is wrong as the audit said, shape (n,).
        learned: The same after what was learnt from decisions, shape (n,).
        left: What is left for this reviewer, in the order of the queue.

    Returns:
        Numbers and sentences.
    """
    decisions, kinds = book.decisions, book.kinds(reviewer)
    numbers = review_numbers(
        book.standing(),
        flagged,
        said,
        agreement=decisions.agreement,
    )
    coming = ahead(learned[left[:NEXT]], book.seconds(reviewer), NEXT)
    return {
        "done": int(((kinds != 0) & (kinds != CODES["skip"])).sum()),
        "left": len(left),
        "ahead": coming.sentence() if len(left) else "",
        "sentences": numbers.sentences(),
        "precision": numbers.precision,
        "conflicts": numbers.conflicts,
        "calibration": calibration_points(numbers.calibration),
        "side": SIDE,
    }


def calibration_points(bins: list[Bin]) -> list[dict[str, Any]]:
    """The calibration as a plot: across the probability that was said, upwards the share that was found wrong.

    Args:
        bins: Classes of probability.

    Returns:
        Place of each point, its interval, and what it says.
    """
    return [
        {
            "x": round(SIDE * bin_.expected, 1),
            "y": round(SIDE * (1 - bin_.found.value), 1),
            "low": round(SIDE * (1 - bin_.found.low), 1),
            "high": round(SIDE * (1 - bin_.found.high), 1),
            "words": f"said {100 * bin_.expected:.0f} %, found {bin_.found.hits} of {bin_.found.size} wrong",
        }
        for bin_ in bins
    ]
