"""What ranks samples: the default of ``gradsift.audit``, and baselines on the same trained model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.special import expit, softmax
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import average_precision_score

import gradsift
from gradsift.data import Samples
from gradsift.gradients import Batcher
from gradsift.gradients.batches import each_batch
from gradsift.stages.response_evidence import response_evidence
from gradsift.tasks import NO_TARGET, CausalLM
from kinds.draw import Draw

TASKS = {"value": "regression", "multilabel": "multilabel", "token": "token-classification", "chat": "causal-lm"}
EMA = 0.8
"""Forgetting factor of cleanlab's aggregation of labels (Thyagarajan et al. 2022, arXiv 2211.13895)."""


def rows_of(draw: Draw, kind: str, seed: int) -> list[dict[str, Any]]:
    """Average precision of every method on one draw.

    Args:
        draw: The draw.
        kind: ``"value"``, ``"multilabel"``, ``"token"`` or ``"chat"``.
        seed: Seed of the random order.

    Returns:
        A row a method: of samples, and of labels or tokens where a method scores them; the default's row says how many
        it flags.
    """
    chats = kind == "chat"
    audit = gradsift.audit(
        draw.model, draw.inputs if chats else (draw.inputs, torch.as_tensor(draw.given)), task=TASKS[kind],
        layers="all" if chats else "last", show_progress=False,
    )  # fmt: skip
    table, truth = audit.table, {"samples": draw.wrong}
    default = {"samples": table["score"].to_numpy()} | _parts_of(audit, draw, kind)
    scores: dict[str, Mapping[str, np.ndarray]] = {f"default: {audit.detector}": default}
    scores |= {name: {"samples": table[f"score_{name}"].to_numpy()} for name in ("loss", "l2", "isolation_forest")}
    with torch.no_grad():
        outputs = None if chats else draw.model(draw.inputs).double().numpy()
    scores |= {"value": _values, "multilabel": _many_labels, "token": _tokens, "chat": _chats}[kind](draw, outputs)
    scores["random"] = {"samples": np.random.default_rng(seed).random(len(draw.wrong))}
    if draw.parts is not None:
        truth["parts"] = draw.parts[draw.given != -100] if kind == "token" else draw.parts.ravel()
    flagged = table["flagged"].to_numpy()
    rows = []
    for name, by_part in scores.items():
        row: dict[str, Any] = {"method": name.partition(":")[0], "detector": name.rpartition(": ")[2]}
        row |= {f"ap_{part}": average_precision_score(truth[part], values) for part, values in by_part.items()}
        if name.startswith("default"):
            row |= {"flagged": int(flagged.sum()), "flagged_wrong": int(draw.wrong[flagged].sum())}
        rows.append(row | {"wrong": int(draw.wrong.sum()), "samples": len(draw.wrong)})
    return rows


def _parts_of(audit: Any, draw: Draw, kind: str) -> dict[str, np.ndarray]:
    """The default's scores of single labels or tokens."""
    if kind == "multilabel":
        from gradsift.detectors import WrongLabelSetPosterior
        from gradsift.evidence import stored_evidence

        evidence = stored_evidence(audit.run, "multilabel")
        return {"parts": WrongLabelSetPosterior().fit(evidence).wrong_probabilities(evidence).ravel()}
    if kind == "token":
        return {"parts": audit.tokens["wrong_probability"].to_numpy()}
    return {}


def _values(draw: Draw, outputs: np.ndarray) -> dict[str, Mapping[str, np.ndarray]]:
    del outputs
    forest = RandomForestRegressor(100, min_samples_leaf=5, max_features=1 / 3, oob_score=True, random_state=0)
    around = forest.fit(draw.inputs.numpy(), draw.given).oob_prediction_
    return {"forest alone": {"samples": np.abs(draw.given - around)}}


def _chats(draw: Draw, outputs: np.ndarray) -> dict[str, Mapping[str, np.ndarray]]:
    """Loss summed over tokens, what of it the prompt takes away, and its ratio to the model's with the adapter off."""
    del outputs
    samples = Samples(draw.inputs)
    tuned = response_evidence(
        draw.model, CausalLM(), samples, np.arange(len(samples)), Batcher(16), show_progress=False
    )  # fmt: skip
    encoded = (draw.inputs[place] for place in range(len(samples)))
    lengths = np.array([sum(label != NO_TARGET for label in sample["labels"]) for sample in encoded])
    with draw.model.disable_adapter(), torch.no_grad():
        walk = each_batch(
            lambda _, batch: CausalLM().losses(draw.model(**batch).logits, batch).numpy(),
            samples.batch, np.arange(len(samples)), 16,
        )  # fmt: skip
        base = np.concatenate([losses for _, losses in walk])
    return {
        "loss, sum": {"samples": tuned.losses * lengths},
        "loss − without prompt": {"samples": np.nan_to_num(tuned.losses - tuned.alone)},
        "loss / base model": {"samples": tuned.losses / base},
    }


def _many_labels(draw: Draw, outputs: np.ndarray) -> dict[str, Mapping[str, np.ndarray]]:
    """Cleanlab's score of each label, self-confidence, and its ways to join those of a sample."""
    confidence = np.where(draw.given == 1, expit(outputs), 1 - expit(outputs))
    falling = np.sort(confidence, axis=1)[:, ::-1]
    joined = falling[:, 0]
    for column in falling[:, 1:].T:
        joined = EMA * column + (1 - EMA) * joined
    parts = -confidence.ravel()
    return {
        "cleanlab, moving average": {"samples": -joined, "parts": parts},
        "cleanlab, worst label": {"samples": -confidence.min(axis=1), "parts": parts},
    }


def _tokens(draw: Draw, outputs: np.ndarray) -> dict[str, Mapping[str, np.ndarray]]:
    """Cleanlab's score of each token, and the worst of a sentence (Wang and Mueller 2022, arXiv 2210.03920)."""
    target = draw.given != -100
    probabilities, labels = softmax(outputs, axis=-1), np.where(target, draw.given, 0)
    own = np.take_along_axis(probabilities, labels[..., None], axis=-1)[..., 0]
    others = probabilities.copy()
    np.put_along_axis(others, labels[..., None], -1, axis=-1)
    margin = own - others.max(axis=-1)
    return {
        "cleanlab, worst token": {"samples": -np.where(target, own, 1).min(axis=1), "parts": -own[target]},
        "margin, worst token": {"samples": -np.where(target, margin, 1).min(axis=1), "parts": -margin[target]},
    }
