"""The arms: what is done to a draw before the model is trained again. All arms of a seed share recipe and seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality.regimes import Problem
from quality.training import accuracy, evaluate, train

import gradsift
from gain import baselines
from gain.regimes import Training
from gradsift.cleaning import cure
from gradsift.cleaning.cure import Cure
from gradsift.detectors import WrongLabelPosterior
from gradsift.detectors.confident_learning import confident_learning
from gradsift.detectors.heads_in_rounds import evidence_of_features
from gradsift.evaluation.arms import smoothed
from gradsift.evidence import Evidence, evidence_of_arrays


@dataclass
class Draw:
    """One draw of a regime, with what several arms share, each computed once.

    Attributes:
        problem: The data and the recipe.
        seed: Seed of the trainings.
        folder: Where finished folds are kept.
        pretrained: Whether inputs are features of a frozen network.
        seconds: Seconds spent, by what was done.
    """

    problem: Problem
    seed: int
    folder: Path
    pretrained: bool
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def given(self) -> np.ndarray:
        """Given labels, shape (n,)."""
        return np.asarray(self.problem.given, dtype=np.int64)

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return int(max(self.problem.true.max(), self.given.max())) + 1

    @property
    def train_set(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and given labels."""
        return self.problem.inputs.numpy(), self.given

    def tested(self, chosen: Cure) -> float:
        """Test accuracy of the last epoch, in percent, after a cure."""
        labels = self.given if chosen.labels is None else chosen.labels
        labels = labels if chosen.targets is None else chosen.targets
        weights = None if chosen.weights is None else chosen.weights[chosen.kept]
        model = train(
            self.problem.network, self.problem.recipe, self.problem.inputs[chosen.kept], labels[chosen.kept],
            seed=self.seed, weights=weights,
        )  # fmt: skip
        return accuracy(model, *self.problem.test)

    @cached_property
    def cross_fitted(self) -> Evidence:
        """Four trainings of the user's recipe, each of which has not seen a quarter of the samples."""
        return self._timed(
            "cross_fit",
            lambda: gradsift.cross_fit(
                Training(self.problem),
                self.train_set,
                seed=self.seed,
                output=self.folder / "folds",
                show_progress=False,
            ),
        )

    @cached_property
    def of_heads(self) -> Evidence:
        """Heads cross-fitted on the features; no training of the user's."""
        known = evidence_of_arrays(self.given, features=self.train_set[0])
        return self._timed("heads", lambda: evidence_of_features(known, seed=self.seed, show_progress=False))

    def improved(self, *, trainings: int = 12) -> gradsift.Improvement:
        """What ``gradsift.improve`` makes of it, which sees for itself whether the inputs are features."""
        return gradsift.improve(
            Training(self.problem),
            self.train_set,
            trainings=trainings,
            seed=self.seed,
            output=self.folder,
            show_progress=False,
        )

    @cached_property
    def final_model(self) -> Evidence:
        """What the model that was trained on all samples says of them: in-sample."""
        model = train(self.problem.network, self.problem.recipe, self.problem.inputs, self.given, seed=self.seed)
        logits, found = evaluate(model, self.problem.inputs)
        probabilities = torch.tensor(logits).softmax(dim=1).numpy()
        return evidence_of_arrays(self.given, probabilities, features=found, provenance="in-sample")

    def posterior(self, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of the true class for soft targets, shape (n, K), and that the label is wrong, shape (n,)."""
        detector = WrongLabelPosterior(random_state=self.seed).fit(evidence, self.given)
        posterior = detector.target_probabilities(np.arange(len(self.given)))
        return posterior, -detector.score_samples(evidence, self.given)

    def flagged(self, evidence: Evidence) -> int:
        """How many samples an audit of this evidence flags by itself."""
        audit = gradsift.audit(evidence=evidence, data=self.train_set, show_progress=False, detectors=("posterior",))
        return int(audit.table["flagged"].to_numpy().sum())

    def _timed(self, name: str, compute: Callable[[], Evidence]) -> Evidence:
        started = time.perf_counter()
        found = compute()
        self.seconds[name] = time.perf_counter() - started
        return found


def chosen(draw: Draw, **options: Any) -> dict[str, Any]:
    """Row of what ``gradsift.improve`` chooses by itself."""
    result = draw.improved(**options)
    choice, gain = result.choice, result.choice.expected_gain
    row = {"accuracy": draw.tested(choice.cure), "verdict": choice.verdict, "cure": choice.cure.name}
    row |= {"trainings": result.trainings["cross-fit"] + result.trainings["choice"]}
    row |= {"expected": None if gain is None else gain.mean, "corrected": choice.corrected}
    return row | details(draw, choice.cure)


def cures(draw: Draw) -> Iterator[tuple[str, Callable[[], Cure]]]:
    """Name and cure of every arm that is one."""
    problem, given = draw.problem, draw.given
    wrong = problem.wrong.astype(float)
    yield "no change", lambda: cure.none(given)
    yield "oracle drop", lambda: cure.drop(wrong, given, int(wrong.sum()))
    yield "oracle relabel", lambda: Cure("relabel", given, np.arange(len(given)), labels=np.asarray(problem.true))
    noise = np.random.default_rng([draw.seed, 90]).random(len(given))
    yield "random drop, as many", lambda: cure.drop(noise, given, int(wrong.sum()))
    for share in (0.1, 0.3):
        yield f"label smoothing {share}", lambda share=share: smoothed(given, draw.classes, share)
    yield "confident learning", lambda: _confident(draw, draw.cross_fitted.by_epoch)
    if draw.pretrained:
        yield "confident learning, heads", lambda: _confident(draw, None)
    yield (
        "averaged margin, true number",
        lambda: cure.drop(-baselines.averaged_margin(problem, draw.seed), given, int(wrong.sum())),
    )
    yield "final model, drop", lambda: _dropped(draw, draw.final_model)
    sources: list[tuple[str, Callable[[], Evidence]]] = [("cross-fitted", lambda: draw.cross_fitted)]
    if draw.pretrained:
        sources.append(("heads", lambda: draw.of_heads))
    for name, evidence in sources:
        yield f"{name}, drop", lambda evidence=evidence: _dropped(draw, evidence())
        yield f"{name}, soft", lambda evidence=evidence: cure.soft(cure.softened(draw.posterior(evidence())[0]), given)
        yield f"{name}, relabel", lambda evidence=evidence: _relabelled(draw, evidence())
        yield f"{name}, weight", lambda evidence=evidence: cure.weight(draw.posterior(evidence())[1], given)


def _confident(draw: Draw, by_epoch: Any) -> Cure:
    """Confident learning on the last epoch of the cross-fitted trainings; on cross-fitted heads where there are none."""
    if by_epoch is None:
        rows = draw.of_heads.predictions.rows(np.arange(len(draw.given)))
    else:
        rows = np.asarray(by_epoch[-1])
    removed = confident_learning(rows, draw.given)
    kept = np.setdiff1d(np.arange(len(draw.given)), removed)
    return Cure("drop", draw.given, kept)


def _dropped(draw: Draw, evidence: Evidence) -> Cure:
    return cure.drop(draw.posterior(evidence)[1], draw.given, draw.flagged(evidence))


def _relabelled(draw: Draw, evidence: Evidence) -> Cure:
    posterior, wrong = draw.posterior(evidence)
    return cure.relabel(posterior, wrong, draw.given, draw.flagged(evidence))


def details(draw: Draw, chosen: Cure) -> dict[str, Any]:
    """What is said of a cure beside its accuracy."""
    changed = chosen.changed
    right = draw.problem.wrong[changed].mean() if len(changed) else float("nan")
    row = {"how": chosen.how, "changed": len(changed), "changed_wrong": float(right)}
    if chosen.labels is not None or chosen.targets is not None:
        new = chosen.labels if chosen.labels is not None else chosen.targets.argmax(axis=1)
        row["label_accuracy"] = float((new == draw.problem.true).mean())
    return row
