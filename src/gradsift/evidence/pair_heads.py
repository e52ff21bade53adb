"""A linear head on the directions of pairs, and what it says of each pair when it is trained without it.

The head's reward is linear, so a pair's margin is ``m_i = x_i theta`` with x the direction of its gradient. The head is
trained on all pairs with a ridge penalty, and what it would say of a pair that was left out follows from the curvature
(approximate leave-one-out): with ``h_i = x_i H^-1 x_i``, g the slope and s the curvature of the pair's own loss,
``m_i + h_i g_i / (1 - h_i s_i)``. No fold is lost, and nothing is trained n times.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

logger = logging.getLogger(__name__)

PENALTIES = (30_000.0, 10_000.0, 3_000.0, 1_000.0, 300.0, 100.0, 30.0)
"""Ridge penalties, of coordinates whose mean square is one; the one with the best margins of left-out pairs is taken."""
ROUNDS = 4
"""How often the head is trained: after the first time on pairs as far as they are believed not to be swapped."""
STEPS, ENOUGH = 8, 1e-3
"""Newton steps at most, and the change of a margin at which they end."""
LEAST = 1e-6
"""Least curvature of a loss."""


@dataclass(frozen=True)
class PairHead:
    """What a head says of pairs that it was not trained on.

    Attributes:
        margins: Log-odds that a pair stands as it should, shape (n,), scaled to be taken at their word.
        penalty: The ridge penalty.
    """

    margins: np.ndarray
    penalty: float


def left_out_margins(directions: np.ndarray) -> PairHead:
    """Trains a linear head on pairs, and gives the margin of each pair by the head without it.

    The penalty is chosen by the likelihood of left-out pairs as they were given. Then the head is trained again, a pair
    with probability w of being swapped counting ``1 - w`` as it stands and w the other way around.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> directions = generator.normal(size=(200, 3)) + np.array([1.0, 0.0, 0.0])
        >>> directions[:20] *= -1  # pairs that are swapped
        >>> margins = left_out_margins(directions).margins
        >>> bool(margins[:20].mean() < 0 < margins[20:].mean())
        True

    Args:
        directions: Shape (n, p).

    Returns:
        The margins.
    """
    scale = np.sqrt(np.square(directions, dtype=np.float64).mean(axis=0))
    inputs = directions / np.where(scale > 0, scale, 1.0)
    swapped, best = np.zeros(len(inputs)), (np.inf, 0.0, np.zeros(0), np.zeros(0))
    weights = np.zeros(inputs.shape[1])
    for penalty in PENALTIES:
        weights, margins = _trained(inputs, swapped, penalty, weights)
        loss = float(-log_expit(margins).mean())
        if loss >= best[0]:
            break
        best = (loss, penalty, weights, margins)
    _, penalty, weights, margins = best
    sharpness, rate = _scaled(margins)
    for _ in range(ROUNDS - 1):
        right = expit(sharpness * margins)
        swapped = rate * (1 - right) / ((1 - rate) * right + rate * (1 - right))
        weights, margins = _trained(inputs, swapped, penalty, weights)
        sharpness, rate = _scaled(margins)
    logger.info("head of pairs: penalty %g, %.1f %% of the pairs swapped", penalty, 100 * rate)
    return PairHead(sharpness * margins, penalty)


def _trained(
    inputs: np.ndarray, swapped: np.ndarray, penalty: float, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The head's weights by Newton steps from given ones, and the margins of pairs by the head without them."""
    ridge = penalty * np.eye(inputs.shape[1])
    for _ in range(STEPS):
        margins = inputs @ weights
        right = expit(margins)
        curvature = np.maximum(right * (1 - right), LEAST)
        slope, hessian = right - (1 - swapped), (inputs * curvature[:, None]).T @ inputs + ridge
        step = np.linalg.solve(hessian, inputs.T @ slope + penalty * weights)
        weights = weights - step
        if np.abs(inputs @ step).max(initial=0.0) < ENOUGH:
            break
    margins = inputs @ weights
    leverage = np.einsum("ij,ij->i", inputs, np.linalg.solve(hessian, inputs.T).T)
    slope = expit(margins) - (1 - swapped)
    return weights, margins + leverage * slope / np.maximum(1 - leverage * curvature, ENOUGH)


def _scaled(margins: np.ndarray) -> tuple[float, float]:
    """By what margins are to be multiplied, and the rate of swapped pairs, that make the given pairs likeliest."""

    def loss(parameters: np.ndarray) -> float:
        right, rate = expit(np.exp(parameters[0]) * margins), 0.5 * expit(parameters[1])
        return float(-np.log((1 - rate) * right + rate * (1 - right) + 1e-12).mean())

    found = minimize(loss, np.array([0.0, -1.0]), method="Nelder-Mead").x
    return float(np.exp(np.clip(found[0], -10, 10))), float(0.5 * expit(found[1]))
