"""Evidence of responses: how probable a language model finds them, and the words of prompts and responses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class ResponseEvidence:
    """What is known of the responses of n chats.

    Attributes:
        losses: Mean loss of the response's tokens behind its prompt, in nats, shape (n,).
        alone: The same without the prompt; NaN where there is none.
        ends: Loss of the token that ends the response; NaN where the response does not end, because it was cut off.
        prompts: How often each word stands in the prompt, shape (n, W); all zero where there is no prompt.
        responses: How often it stands in the response.
        lengths: Number of the response's tokens, shape (n,).
    """

    losses: np.ndarray
    alone: np.ndarray
    ends: np.ndarray
    prompts: csr_matrix
    responses: csr_matrix
    lengths: np.ndarray

    def __len__(self) -> int:
        """Number of chats n."""
        return len(self.losses)


def end_losses(tokens: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """The loss of the token that ends a response, as chats have the same one: that of the end of text, or of a turn.

    A template may write a line break behind it, so the larger loss of the last two counts where both are shared.

    Args:
        tokens: The last two tokens of each response, -1 where there is none, shape (n, 2).
        losses: Their losses, shape (n, 2).

    Returns:
        Shape (n,); NaN where a response ends in another token than most of them do, because it was cut off.
    """
    usual = [np.bincount(column + 1).argmax() - 1 for column in tokens.T]
    shared = tokens == usual
    if shared[:, 1].mean() < 0.5:
        return np.full(len(tokens), np.nan)
    ends = losses.max(axis=1) if shared.all(axis=1).mean() > 0.9 else losses[:, 1]
    return np.where(shared[:, 1], ends, np.nan)
