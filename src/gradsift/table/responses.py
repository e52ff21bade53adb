"""Reasons of flagged responses: in which ways they are not what their prompt lets expect."""

from __future__ import annotations

import numpy as np

from gradsift.detectors.responses import VIEWS, ResponseSurprise
from gradsift.evidence.responses import ResponseEvidence

TELLING = 0.05
"""A view is named where so few chats, or fewer, are as far out."""


def response_words(positions: np.ndarray, chats: ResponseEvidence, surprise: ResponseSurprise) -> dict[int, str]:
    """Says what is unexpected about responses.

    Args:
        positions: Which chats.
        chats: What is known of all chats.
        surprise: The detector, fitted on them.

    Returns:
        Position to words, the most telling way first.
    """
    words = {}
    for position in positions.tolist():
        said = {
            "loss": f"loss {chats.losses[position]:.1f}, with similar prompts {surprise.usual_[position]:.1f}",
            "prompt": f"loss {chats.losses[position]:.1f}, without its prompt {chats.alone[position]:.1f}",
            "end": f"ends unexpectedly (loss {chats.ends[position]:.1f})",
            "words": "words unlike those of responses to similar prompts",
            "length": f"{chats.lengths[position]} tokens, unlike the length of responses to similar prompts",
        }
        chances = surprise.chances_[position]
        order = np.argsort(chances, kind="stable")
        telling = [view for view in order if chances[view] <= TELLING] or order[:1].tolist()
        words[position] = "; ".join(said[VIEWS[view]] for view in telling)
    return words
