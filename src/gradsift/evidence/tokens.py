"""Evidence of tokens: a row a token, beside that of the samples that they stand in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradsift.evidence.hub import Evidence


@dataclass(frozen=True)
class TokenEvidence:
    """What is known of the tokens of n samples.

    Attributes:
        evidence: Labels, predictions (m, K) and features (m, D) of the m tokens that have a label, as of classes.
        samples: The sample that each token stands in, rising, shape (m,).
        places: Its place among all tokens of that sample, from 0, shape (m,).
        size: Number of samples n.
        words: Numbers of the tokens around each, itself in the middle, shape (m, 5), -1 before the first and behind the
            last labelled token of a sample; ``None`` where inputs are no token numbers.
    """

    evidence: Evidence
    samples: np.ndarray
    places: np.ndarray
    size: int
    words: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of samples n."""
        return self.size

    def worst(self, values: np.ndarray) -> np.ndarray:
        """The largest value among each sample's tokens.

        Args:
            values: One value a token, shape (m,).

        Returns:
            Shape (n,); the smallest of all values for a sample without labelled tokens.
        """
        largest = np.full(self.size, values.min() if len(values) else 0.0)
        np.maximum.at(largest, self.samples, values)
        return largest
