"""What one training leaves behind for detectors to read: a folder of plain arrays, ``runs/quality/<regime>/<seed>/``.

``n`` training samples, ``K`` classes, ``D`` last-layer features, ``E`` checkpoints (the last one is the final model).
Everything is in eval mode and in the order of the training set unless it says otherwise; nothing but ``true`` and
``test_accuracy`` knows true labels or test samples.

==================  =================  ===============================================================================
file                shape, dtype       what
==================  =================  ===============================================================================
given, true         (n,) int64         given labels (all that a detector may read); true labels (measures and oracle alone)
logits              (E, n, K) f32      logits at each checkpoint; probabilities are their softmax
features            (E, n, D) f16      input of the last linear layer at each checkpoint
weights, biases     (E, K, D), (E, K)  the last layer at each checkpoint (OneLogit: (E, 1, D), for logits (0, z))
train_logits        (E, n, K) f16      logits of training's own last pass before each checkpoint (train mode, dropout,
                                       mirroring, at the weights of its step)
folds               (n,) int8          which of 4 folds a sample was left out in
oof_logits          (n, K) f32         logits of the model that has not seen the sample; half the epochs, 3/4 of the samples
oof_features        (n, D) f16         its features; each fold's model has a feature space of its own
projections         (n, 512) f32       Kronecker projection of all layers' gradients, final model
all_l1, all_l2      (n,) f32           exact norms of all layers' gradients, final model
validation_logits,  (m, K), (m, D)     of the clean validation split, final model; for methods with validation alone
validation_features
validation_labels   (m,) int64         their true labels
influence.npz       (n,) each          written by ``influence.py``: signed influence, positive = helpful
model.safetensors                      weights of the final model
about.json                             regime, seed, key, epochs of the checkpoints, ``test_accuracy`` at each (the last one
                                       counts), seconds of computing of each stage, machine
==================  =================  ===============================================================================

A detector reads it so::

    import sys; sys.path.insert(0, "benchmarks")
    from quality.record import Record
    record = Record.load("runs/quality/fashion-pair-20/0")
    record.probabilities[-1], record.given, record.trajectory()
"""

from __future__ import annotations

import json
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frame.rows import machine
from safetensors.torch import save_file
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from gradsift import Trajectory
from gradsift.gradients import PerSampleGradients, Projection, Reductions
from gradsift.store.gradient_matrix import FactoredMatrix
from quality.regimes import Problem
from quality.training import evaluate, last_linear, train

FOLDS, FOLD_SHARE, PROJECTED = 4, 0.5, 512
ARRAYS = (
    "given", "true", "logits", "features", "weights", "biases", "train_logits", "folds", "oof_logits", "oof_features",
    "projections", "all_l1", "all_l2", "validation_logits", "validation_features", "validation_labels",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """A folder of this kind, opened; arrays are memory-mapped and read as attributes (``record.logits``).

    Attributes:
        folder: The folder.
        about: What ``about.json`` says.
    """

    folder: Path
    about: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> Record:
        """Opens a folder.

        Args:
            folder: ``runs/quality/<regime>/<seed>``.

        Returns:
            The record.
        """
        folder = Path(folder)
        return cls(folder, json.loads((folder / "about.json").read_text()))

    def __getattr__(self, name: str) -> np.ndarray:
        if name not in ARRAYS:
            raise AttributeError(name)
        return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self.given)

    @property
    def wrong(self) -> np.ndarray:
        """Which given labels are wrong, shape (n,), boolean; for measures alone."""
        return np.asarray(self.given) != self.true

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Shape (E, n, K), float32."""
        return softmax(self.logits, axis=2)

    @cached_property
    def oof_probabilities(self) -> np.ndarray:
        """Out-of-fold probabilities, shape (n, K)."""
        return softmax(self.oof_logits, axis=1)

    @cached_property
    def influence(self) -> dict[str, np.ndarray]:
        """Name to signed influence, shape (n,), positive = helpful."""
        with np.load(self.folder / "influence.npz", allow_pickle=False) as file:
            return dict(file)

    def last_layer(self, checkpoint: int = -1, labels: np.ndarray | None = None) -> FactoredMatrix:
        """Last-layer gradients ``(p - e_y) h^T`` at a checkpoint.

        Args:
            checkpoint: Which one.
            labels: Other labels than the given ones.

        Returns:
            A matrix of shape (n, K D).
        """
        labels = self.given if labels is None else labels
        return FactoredMatrix(residuals(self.logits[checkpoint], labels), self.features[checkpoint].astype(np.float32))

    def oof_last_layer(self) -> FactoredMatrix:
        """Last-layer gradients at the models that have not seen the samples, shape (n, K D)."""
        return FactoredMatrix(residuals(self.oof_logits, self.given), self.oof_features.astype(np.float32))

    def trajectory(self, mode: str = "eval") -> Trajectory:
        """What :class:`gradsift.Recorder` gives, from the recorded arrays.

        Args:
            mode: ``"eval"``, or ``"train"`` for training's own passes, which have no features here.

        Returns:
            The trajectory: loss, margin, residual norms; last-layer norms in eval mode.
        """
        logits = self.logits if mode == "eval" else self.train_logits
        found: dict[str, list[np.ndarray]] = defaultdict(list)
        rows, given = np.arange(len(self)), np.asarray(self.given)
        for place in range(len(logits)):
            outputs = logits[place].astype(np.float32)
            residual, others = residuals(outputs, given), outputs.copy()
            others[rows, given] = -np.inf
            found["loss"].append(-log_softmax(outputs, axis=1)[rows, given])
            found["margin"].append(outputs[rows, given] - others.max(axis=1))
            for order in (1, 2):
                found[f"residual_l{order}"].append(np.linalg.norm(residual, ord=order, axis=1))
                if mode == "eval":
                    lengths = np.linalg.norm(self.features[place].astype(np.float32), ord=order, axis=1)
                    found[f"l{order}"].append(found[f"residual_l{order}"][-1] * lengths)
        return Trajectory(mode, {name: np.stack(each) for name, each in found.items()}, self.about["epochs"])  # type: ignore[arg-type]


def residuals(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``p - e_y``, the gradient of the loss with respect to the logits.

    Args:
        logits: Shape (n, K).
        labels: Shape (n,).

    Returns:
        Shape (n, K), float32.
    """
    residual = softmax(np.asarray(logits, dtype=np.float32), axis=1)
    residual[np.arange(len(labels)), labels] -= 1
    return residual


class Clock:
    """Seconds of computing by stage (of one thread, not of the wall: the machine may do other work)."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds what is spent inside to a stage."""
        started = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] += time.process_time() - started


def record(problem: Problem, folder: Path, *, regime: str, seed: int) -> Record:
    """Trains and records, unless the folder is there already and of the same recipe and draw.

    Args:
        problem: The draw.
        folder: Where to.
        regime: The regime's name.
        seed: Its seed.

    Returns:
        The record.
    """
    if (folder / "about.json").exists():
        found = Record.load(folder)
        if found.about["key"] == problem.key:
            return found
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    clock = Clock()
    model, epochs, accuracies, arrays = along_training(problem, seed, clock)
    with clock.stage("out_of_fold"):
        arrays |= out_of_fold(problem, seed)
    with clock.stage("all_layers"):
        arrays |= all_layers(problem, model, seed)
    logits, features = evaluate(model, problem.validation[0])
    arrays |= {"given": problem.given, "true": problem.true, "validation_labels": problem.validation[1],
               "validation_logits": logits, "validation_features": features.astype(np.float16)}  # fmt: skip
    for name, values in arrays.items():
        np.save(part / f"{name}.npy", values, allow_pickle=False)
    save_file(
        {name: value.contiguous().cpu() for name, value in model.state_dict().items()}, part / "model.safetensors"
    )
    about = {
        "regime": regime, "seed": seed, "key": problem.key, "samples": len(problem.given),
        "wrong": int(problem.wrong.sum()), "epochs": epochs, "test_accuracy": accuracies,
        "seconds": dict(clock.seconds),
        "machine": machine(),
    }  # fmt: skip
    (part / "about.json").write_text(json.dumps(about, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return Record.load(folder)


def along_training(
    problem: Problem, seed: int, clock: Clock
) -> tuple[nn.Module, list[int], list[float], dict[str, np.ndarray]]:
    """Trains, with an eval pass over the training set at each checkpoint.

    Args:
        problem: The draw.
        seed: Seed of the training.
        clock: Counts seconds.

    Returns:
        The model, the epochs of the checkpoints, test accuracy at each, and the arrays.
    """
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    epochs: list[int] = []
    accuracies: list[float] = []
    seen = np.zeros((len(problem.given), int(problem.true.max()) + 1), dtype=np.float16)

    def on_batch(_epoch: int, rows: Tensor, logits: Tensor) -> None:
        seen[rows.numpy()] = logits.numpy()

    def on_epoch(epoch: int, model: nn.Module) -> None:
        with clock.stage("eval_passes"):
            logits, features = evaluate(model, problem.inputs)
        with clock.stage("test"):
            right = evaluate(model, problem.test[0])[0].argmax(axis=1) == problem.test[1]
        layer = last_linear(model)
        bias = np.zeros(layer.out_features, np.float32) if layer.bias is None else layer.bias.detach().cpu().numpy()
        epochs.append(epoch)
        accuracies.append(100 * float(right.mean()))
        for name, values in {
            "logits": logits, "features": features.astype(np.float16), "train_logits": seen,
            "weights": layer.weight.detach().cpu().numpy(), "biases": bias,
        }.items():  # fmt: skip
            found[name].append(values.copy())

    with clock.stage("training"):
        model = train(
            problem.network,
            problem.recipe,
            problem.inputs,
            problem.given,
            seed=seed,
            on_epoch=on_epoch,
            on_batch=on_batch,
        )
    clock.seconds["training"] -= clock.seconds["eval_passes"] + clock.seconds["test"]
    return model, epochs, accuracies, {name: np.stack(values) for name, values in found.items()}


def out_of_fold(problem: Problem, seed: int) -> dict[str, np.ndarray]:
    """Logits and features of models that have not seen the samples.

    Args:
        problem: The draw.
        seed: Seed of the folds and of the trainings.

    Returns:
        ``folds``, ``oof_logits``, ``oof_features``.
    """
    size = len(problem.given)
    folds = (np.random.default_rng([seed, 54]).permutation(size) % FOLDS).astype(np.int8)
    logits, features = np.empty(0), np.empty(0)
    for fold in range(FOLDS):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        model = train(
            problem.network, problem.recipe, problem.inputs[inside], problem.given[inside],
            seed=seed + 1000 * (fold + 1), share=FOLD_SHARE,
        )  # fmt: skip
        own_logits, own_features = evaluate(model, problem.inputs[outside])
        if not logits.size:
            logits = np.empty((size, own_logits.shape[1]), np.float32)
            features = np.empty((size, own_features.shape[1]), np.float16)
        logits[outside], features[outside] = own_logits, own_features
    return {"folds": folds, "oof_logits": logits, "oof_features": features}


def all_layers(problem: Problem, model: nn.Module, seed: int) -> dict[str, np.ndarray]:
    """Norms and random projections of all layers' gradients at the final model, through gradsift.

    Args:
        problem: The draw.
        model: The model.
        seed: Seed of the projection.

    Returns:
        ``projections``, ``all_l1``, ``all_l2``.
    """
    given = torch.from_numpy(np.array(problem.given))
    gradients = PerSampleGradients(
        model, "classification", (problem.inputs[:8], given[:8]), layers="all",
        reductions=Reductions(l1=True, l2=True, projection=Projection(PROJECTED, seed=seed)),
    )  # fmt: skip
    found: dict[str, list[Tensor]] = defaultdict(list)
    for rows in torch.arange(len(given)).split(128):
        for name, values in gradients((problem.inputs[rows], given[rows])).statistics.items():
            found[name].append(values)
    arrays = {name: torch.cat(values).cpu().numpy().astype(np.float32) for name, values in found.items()}
    return {"projections": arrays["projection"], "all_l1": arrays["l1"], "all_l2": arrays["l2"]}
