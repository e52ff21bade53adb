"""What collapse means for an audit, in words; every rule comes from ``benchmarks/collapse_signal.py``."""

from __future__ import annotations

from gradsift.geometry.collapse import Collapse

FITTED = 0.97
"""Share of given labels that the network fits above which most of the signal was gone in the experiment."""


def sentences(seen: Collapse) -> list[str]:
    """Says how much signal is left, and what to audit.

    Args:
        seen: Collapse on the training set with its given labels.

    Returns:
        Sentences.
    """
    return [f"The network fits {100 * seen.accuracy:.1f} % of its given labels."]
