"""Every method that is compared, by name: from a record to scores (n,), high = detrimental.

Detectors and influence are gradsift's own; a record is turned into what they read. Methods are compared with those that
have the same kind of information: the final model alone, its training, models that have not seen the sample, a clean
validation split. ``FLAWS`` are rows "as the reference code did it", each beside the method as it should be. A new method
enters the benchmark by a line in ``METHODS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from scipy.special import softmax
from sklearn.neighbors import NearestNeighbors

from gradsift import Trajectory
from gradsift.detectors import Detector, detrimental_scores, get_detector, influence_scores
from gradsift.errors import GradsiftError
from gradsift.evidence import Evidence
from quality.record import Record, residuals

Information = Literal["final", "trajectory", "out-of-fold", "validation", "control"]
Score = Callable[[Record], np.ndarray]
KINDS: dict[Information, str] = {
    "final": "the final model alone",
    "trajectory": "a recorded training",
    "out-of-fold": "models that have not seen the sample (four more trainings)",
    "validation": "the final model and a clean validation split",
    "control": "controls",
}
NEIGHBOURS = 50
EARLY = 0.2
"""Share of the checkpoints that count as early training."""


@dataclass(frozen=True)
class Method:
    """How a method scores.

    Attributes:
        information: What it is allowed to read.
        score: From a record to scores, shape (n,), high = detrimental.
        words: What it is.
    """

    information: Information
    score: Score
    words: str


def of_last_layer(name: str, record: Record) -> np.ndarray:
    """A detector over last-layer gradients of the final model."""
    detector = get_detector(name, seed=record.about["seed"])
    return detrimental_scores(detector, record.last_layer(), np.array(record.given))


def of_projections(name: str, record: Record) -> np.ndarray:
    """A detector over random projections of all layers' gradients."""
    detector = get_detector(name, seed=record.about["seed"])
    return detrimental_scores(detector, np.asarray(record.projections), np.array(record.given))


def of_predictions(name: str, record: Record, out_of_fold: bool = False, predicted: bool = False) -> np.ndarray:
    """A label score; with ``predicted`` it is handed the model's own labels, as in the reference code."""
    probabilities = record.oof_probabilities if out_of_fold else record.probabilities[-1]
    labels = probabilities.argmax(axis=1) if predicted else np.array(record.given)
    return detrimental_scores(get_detector(name), probabilities, labels)


def of_trajectory(name: str, record: Record, mode: str = "eval") -> np.ndarray:
    """A detector along training."""
    return detrimental_scores(get_detector(name), record.trajectory(mode))


def evidence(record: Record) -> Evidence:
    """What the final model alone says."""
    return Evidence(record.probabilities[-1], record.features[-1])


def evidence_along_training(record: Record, mode: str = "eval", every: int = 1) -> Evidence:
    """Predictions averaged along training: of eval passes every so many checkpoints, or of training's own passes."""
    if mode == "eval":
        mean = record.probabilities[::-every][::-1].mean(axis=0)
    else:
        mean = softmax(record.train_logits.astype(np.float32), axis=2).mean(axis=0)
    recorded = record.trajectory()
    return evidence(record).with_(trajectory=Trajectory("eval", recorded.statistics, recorded.steps, predictions=mean))


def posterior(known: Callable[[Record], Evidence], record: Record) -> np.ndarray:
    """Probability that the label is wrong."""
    found = known(record)
    return detrimental_scores(posterior_of(found), found, np.array(record.given))


def posterior_of(known: Evidence) -> Detector:
    """The posterior that reads a trajectory where one is known."""
    return get_detector("posterior" if known.trajectory is None else "posterior_along_training")


def early(name: str, record: Record) -> np.ndarray:
    """A detector along the first fifth of the checkpoints."""
    whole = record.trajectory()
    count = max(1, round(EARLY * len(whole)))
    part = Trajectory("eval", {key: one[:count] for key, one in whole.statistics.items()}, whole.steps[:count])
    return detrimental_scores(get_detector(name), part)


def lengths(out_of_fold: bool, record: Record) -> np.ndarray:
    """EL2N, the length of the residual ``p - e_y``, at one model."""
    logits = record.oof_logits if out_of_fold else record.logits[-1]
    return detrimental_scores(get_detector("l2"), residuals(logits, record.given))


def losses(record: Record) -> np.ndarray:
    """Loss at the final model."""
    return detrimental_scores(get_detector("loss"), record.trajectory().statistics["loss"][-1])


def neighbours(record: Record) -> np.ndarray:
    """Share of the 50 nearest samples, by cosine of the final features, whose given label differs."""
    features, given = record.features[-1].astype(np.float32), np.asarray(record.given)
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    count = min(NEIGHBOURS, len(given) - 1)
    near = NearestNeighbors(n_neighbors=count).fit(features).kneighbors(return_distance=False)
    return (given[near] != given[:, None]).mean(axis=1)


def of_influence(name: str, record: Record) -> np.ndarray:
    """Signed influence on the clean validation split: what harms it most comes first."""
    return influence_scores(record.influence[name], name)


def of_self_influence(name: str, record: Record) -> np.ndarray:
    """Self-influence as it is: a model leans on wrong labels alone."""
    return record.influence[name]


def self_datainf(record: Record, *, damping: float = 0.1) -> np.ndarray:
    """DataInf's self-influence, last layer: what ``gradsift.influence.DataInf.self_influence`` gives, from Gram matrices.

    ``g_j^T H^-1 g_j = 1/lambda (|g_j|^2 - 1/n sum_i <g_i, g_j>^2 / (lambda + |g_i|^2))`` with <g_i, g_j> the product of the
    factors' inner products, so that a second instead of twenty suffices.
    """
    residual, features = residuals(record.logits[-1], record.given), record.features[-1].astype(np.float32)
    squares = ((residual**2).sum(axis=1) * (features**2).sum(axis=1)).astype(np.float64)
    if not squares.any():
        raise GradsiftError("all gradients of the last layer vanish, so there is no curvature")
    regulariser = damping * squares.mean() / (residual.shape[1] * features.shape[1])
    weights = 1 / (regulariser + squares) / len(squares)
    corrections = np.empty(len(squares))
    for rows in np.array_split(np.arange(len(squares)), -(-len(squares) // 1000)):
        products = (residual[rows] @ residual.T) * (features[rows] @ features.T)
        corrections[rows] = (products.astype(np.float64) ** 2) @ weights
    return (squares - corrections) / regulariser


def most_helpful(name: str, record: Record) -> np.ndarray:
    """Influence with the reference code's sign: the most helpful come first."""
    return record.influence[name]


def one_sample_self_datainf(record: Record) -> np.ndarray:
    """Self-DataInf with the sample itself as training set: ``1 / (1 + 1 / (10 p))`` for all of them, but for rounding."""
    residual, features = residuals(record.logits[-1], record.given), record.features[-1].astype(np.float32)
    squares = (residual**2).sum(axis=1) * (features**2).sum(axis=1)
    damping = np.float32(0.1) * squares / np.float32(residual.shape[1] * features.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = (squares - squares**2 / (damping + squares)) / damping
    return np.nan_to_num(scores).astype(np.float64)


def random(record: Record) -> np.ndarray:
    """Random scores."""
    return np.random.default_rng([record.about["seed"], 20]).random(len(record))


def oracle(record: Record) -> np.ndarray:
    """The wrong labels first, in random order."""
    return record.wrong + 0.5 * random(record)


METHODS: dict[str, Method] = {
    **{
        name: Method("final", partial(of_last_layer, name), words)
        for name, words in {
            "l1": "OGA L1, last layer",
            "l2": "OGA L2, last layer (GraNd of the last layer)",
            "isolation_forest": "OGA isolation forest, last layer",
            "l1_per_class": "OGA L1 in each given class, last layer",
            "l2_per_class": "OGA L2 in each given class, last layer",
            "isolation_forest_per_class": "OGA isolation forest for each given class, last layer",
        }.items()
    },
    "l1_all": Method("final", lambda record: np.float64(record.all_l1), "OGA L1, all layers"),
    "l2_all": Method("final", lambda record: np.float64(record.all_l2), "OGA L2, all layers (GraNd)"),
    "isolation_forest_all": Method(
        "final", partial(of_projections, "isolation_forest"), "OGA isolation forest, all layers projected"
    ),
    "isolation_forest_per_class_all": Method(
        "final",
        partial(of_projections, "isolation_forest_per_class"),
        "OGA isolation forest for each given class, all layers projected",
    ),
    "loss": Method("final", losses, "loss"),
    "self_confidence": Method("final", partial(of_predictions, "self_confidence"), "cleanlab self-confidence, in-sample"),
    "normalized_margin": Method(
        "final", partial(of_predictions, "normalized_margin"), "cleanlab normalised margin, in-sample"
    ),
    "confidence_weighted_entropy": Method(
        "final",
        partial(of_predictions, "confidence_weighted_entropy"),
        "cleanlab confidence-weighted entropy, in-sample",
    ),
    "el2n": Method("final", partial(lengths, False), "EL2N"),
    "neighbours": Method("final", neighbours, "label disagreement of 50 nearest neighbours, final features"),
    "posterior": Method("final", partial(posterior, evidence), "posterior of a wrong label"),
    "self_datainf": Method("final", self_datainf, "self-influence, DataInf, last layer"),
    "self_exact": Method(
        "final", partial(of_self_influence, "self_exact_last"), "self-influence, exact Hessian, last layer"
    ),
    "loss_along_training": Method("trajectory", partial(of_trajectory, "loss_along_training"), "loss along training"),
    "l1_along_training": Method("trajectory", partial(of_trajectory, "l1_along_training"), "OGA L1 along training"),
    "l2_along_training": Method("trajectory", partial(of_trajectory, "l2_along_training"), "OGA L2 along training"),
    "el2n_along_training": Method("trajectory", partial(of_trajectory, "el2n_along_training"), "EL2N along training"),
    "aum": Method("trajectory", partial(of_trajectory, "aum"), "AUM, from eval passes"),
    "aum_own_passes": Method("trajectory", partial(of_trajectory, "aum", mode="train"), "AUM, from training's own passes"),
    "loss_own_passes": Method(
        "trajectory", partial(of_trajectory, "loss_along_training", mode="train"), "loss, from training's own passes"
    ),
    **{
        name: Method("trajectory", partial(posterior, partial(evidence_along_training, **how)), f"posterior, {words}")
        for name, how, words in (
            ("posterior_along_training", {}, "eval passes"),
            ("posterior_every_third", {"every": 3}, "every third eval pass"),
            ("posterior_own_passes", {"mode": "train"}, "training's own passes"),
        )
    },
    "el2n_early": Method("trajectory", partial(early, "el2n_along_training"), "EL2N in the first fifth of training"),
    "l2_early": Method("trajectory", partial(early, "l2_along_training"), "GraNd of the last layer, first fifth"),
    **{
        f"{name}_oof": Method("out-of-fold", partial(of_predictions, name, out_of_fold=True), words)
        for name, words in {
            "self_confidence": "cleanlab self-confidence, out-of-fold",
            "normalized_margin": "cleanlab normalised margin, out-of-fold",
            "confidence_weighted_entropy": "cleanlab confidence-weighted entropy, out-of-fold",
        }.items()
    },
    "el2n_oof": Method("out-of-fold", partial(lengths, True), "EL2N, out-of-fold"),
    "l2_oof": Method(
        "out-of-fold",
        lambda record: detrimental_scores(get_detector("l2"), record.oof_last_layer()),
        "OGA L2, last layer, out-of-fold",
    ),
    **{
        f"{name}_{layers}": Method("validation", partial(of_influence, f"{name}_{layers}"), f"{words}, {layers} layer{s}")
        for name, words in {"inner_product": "inner product", "datainf": "DataInf"}.items()
        for layers, s in {"last": "", "all": "s"}.items()
    },
    "lissa_last": Method("validation", partial(of_influence, "lissa_last"), "LiSSA, last layer"),
    "random": Method("control", random, "random"),
    "oracle": Method("control", oracle, "oracle: the wrong labels"),
}  # fmt: skip
"""Name to method."""

FLAWS: dict[str, tuple[str, Method]] = {
    **{
        f"{name}, predicted labels": (
            name,
            Method(
                "final", partial(of_predictions, name, predicted=True), "the label score is handed predicted labels"
            ),
        )
        for name in ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
    },
    **{
        f"{name}_last, wrong sign": (
            f"{name}_last",
            Method("validation", partial(most_helpful, f"{name}_last"), "the most helpful samples come first"),
        )
        for name in ("inner_product", "datainf", "lissa")
    },
    **{
        f"{name}_last, training set as validation": (
            f"{name}_last",
            Method(
                "validation", partial(of_influence, f"{name}_last_on_train"), "the target is the training set itself"
            ),
        )
        for name in ("inner_product", "datainf")
    },
    **{
        f"{name}_last, both": (
            f"{name}_last",
            Method("validation", partial(most_helpful, f"{name}_last_on_train"), "training set as target, wrong sign"),
        )
        for name in ("inner_product", "datainf")
    },
    "self_datainf, one sample": (
        "self_datainf",
        Method("final", one_sample_self_datainf, "the Hessian is that of the sample alone"),
    ),
}
"""Name of a row to the method as it should be, and the row as the reference code did it."""

DEFAULTS: dict[Information, str] = {"final": "posterior", "trajectory": "posterior_own_passes"}
"""What ``gradsift.audit`` ranks by, for a final model alone and for a recorded training."""
OURS = ("posterior", "posterior_along_training", "posterior_every_third", "posterior_own_passes")
"""All others are baselines."""
