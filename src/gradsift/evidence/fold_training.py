"""One training of a cross-fit: what it predicts of samples that it has not seen, kept in a file."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gradsift.data import Samples
from gradsift.errors import DataError, OutputError
from gradsift.evidence.training import Predict, TrainFunction, UserTraining, takes
from gradsift.locations import Location, as_location, local_copy
from gradsift.writing import new_file

logger = logging.getLogger(__name__)


class Predicted(NamedTuple):
    """What one training has predicted, as probabilities.

    Attributes:
        held_out: Of the samples that were held out, shape (epochs, m, K).
        compared: Of those that every fold's last model predicts, shape (c, K).
        learned: Of samples that were learned from, other ones after each epoch, one below the other; empty where the
            training tells nothing of its epochs.
    """

    held_out: np.ndarray
    compared: np.ndarray
    learned: np.ndarray


class Fold:
    """One training of a cross-fit.

    Args:
        train_fn: The training.
        samples: The whole data set.
        predict: Gives probabilities.
        seed: Seed of the training.
        last_epoch: Whether predictions of the last epoch are enough.
    """

    def __init__(
        self, train_fn: TrainFunction, samples: Samples, predict: Predict, seed: int, *, last_epoch: bool = False
    ) -> None:
        self._training, self._samples, self._predict, self._seed = UserTraining(train_fn), samples, predict, seed
        self._by_epoch, self._last_epoch = takes(train_fn, "after_epoch"), last_epoch

    def train(
        self,
        kept: Any,
        held_out: np.ndarray,
        compared: np.ndarray,
        learned: Sequence[np.ndarray] = (),
        repeat: int = 0,
    ) -> Predicted:
        """Trains on some samples and predicts the others.

        Args:
            kept: The data set to train on.
            held_out: Positions to predict.
            compared: Positions that every fold's last model predicts.
            learned: Positions among those trained on; after each epoch one of these arrays is predicted, in turn.
            repeat: What is added to the seed.

        Returns:
            The predictions.
        """
        unseen = self._samples.keep(held_out)
        epochs: list[np.ndarray] = []
        early: list[np.ndarray] = []

        def predict(model: Any) -> None:
            epochs.append(self._probabilities(model, unseen, len(held_out)))
            if learned and self._by_epoch:
                places = learned[len(early) % len(learned)]
                early.append(
                    self._probabilities(model, self._samples.keep(places), len(places))
                    if len(places)
                    else epochs[-1][:0]
                )

        after_epoch = (lambda model: None) if self._last_epoch else predict
        left_out = f"{len(held_out)} of {len(self._samples)} samples"
        model = self._training.model(
            kept, f"in cross-fitting, on the data set without {left_out}",
            seed=self._seed + repeat, **({"after_epoch": after_epoch} if self._by_epoch else {}),
        )  # fmt: skip
        if not epochs:
            predict(model)
        common = (
            self._probabilities(model, self._samples.keep(compared), len(compared)) if len(compared) else np.empty(0)
        )
        held = np.stack(epochs)
        return Predicted(held, common, np.concatenate(early) if early else held[0, :0])

    def _probabilities(self, model: Any, dataset: Any, size: int) -> np.ndarray:
        probabilities = np.asarray(self._predict(model, dataset), dtype=np.float32)
        if probabilities.ndim == 1:
            probabilities = np.stack([1 - probabilities, probabilities], axis=1)
        if probabilities.ndim != 2 or len(probabilities) != size or not np.isfinite(probabilities).all():
            raise DataError(
                f"predict(model, dataset) gave shape {probabilities.shape} for {size} samples: it must give finite "
                "probabilities of shape (n, K). It gets the inputs as train_fn does: a model that is fitted on one column "
                "of them needs predict=..., which takes this column, too"
            )
        return probabilities


class FinishedFolds:
    """The folds of a cross-fit that are done, in a folder.

    Args:
        folder: The folder; nothing is kept where ``None``.
        fingerprint: Of training, data, folds and seed.

    Raises:
        OutputError: The folder is the run directory of an audit.
    """

    def __init__(self, folder: str | Location | None, fingerprint: str) -> None:
        self._folder, self._fingerprint = None if folder is None else as_location(folder), fingerprint
        if self._folder is not None and (self._folder / "manifest.json").exists():
            raise OutputError(f"{folder} is the run directory of an audit: choose a folder of its own for the folds")

    def read(self, fold: int, *, learned: bool = False) -> Predicted | None:
        """The predictions of a fold.

        Args:
            fold: Its number.
            learned: Whether those of samples that were learned from are needed, which earlier versions did not keep.

        Returns:
            What :meth:`Fold.train` gave; ``None`` where it is not done, or done by a version that kept less.

        Raises:
            OutputError: It is of another data set or another training.
        """
        path = self._path(fold)
        if path is None or not path.is_file():
            return None
        with np.load(local_copy(path), allow_pickle=False) as archive:
            if str(archive["fingerprint"]) != self._fingerprint:
                raise OutputError(
                    f"{path} is of another data set, training, seed or number of folds: choose another folder, or remove it"
                )
            held_out, compared = archive["held_out"], archive["compared"]
            if "learned" in archive.files:
                return Predicted(held_out, compared, archive["learned"])
        if learned:
            logger.warning("%s was written by an earlier version, which kept less: the fold is trained again", path)
        return None if learned else Predicted(held_out, compared, held_out[0, :0])

    def write(self, fold: int, predicted: Predicted) -> None:
        """Keeps the predictions of a fold.

        Args:
            fold: Its number.
            predicted: The predictions.
        """
        path = self._path(fold)
        if path is not None:
            with new_file(path, replaces=self._is_older) as aside:
                np.savez(aside, **predicted._asdict(), fingerprint=self._fingerprint)

    def _is_older(self, path: Location) -> bool:
        """Whether a file holds a fold of this cross-fit, as earlier versions kept it."""
        with np.load(local_copy(path), allow_pickle=False) as archive:
            return "learned" not in archive.files and str(archive.get("fingerprint")) == self._fingerprint

    def _path(self, fold: int) -> Location | None:
        return None if self._folder is None else self._folder / f"fold-{fold:02d}.npz"


def fingerprint_folds(train_fn: Any, data: str, fold_of: np.ndarray, seed: int, held_out: int = 1) -> str:
    """What tells the trainings of one cross-fit from those of another one.

    Args:
        train_fn: The training; a change inside of it cannot be seen.
        data: Fingerprint of the data set.
        fold_of: The fold of each sample, shape (n,).
        seed: Seed of the trainings.
        held_out: How many folds each training holds out.

    Returns:
        SHA-256 in hexadecimal.
    """
    name = getattr(train_fn, "__qualname__", type(train_fn).__qualname__)
    parts = f"{getattr(train_fn, '__module__', '')}:{name} {data} {seed} ".encode()
    together = b"" if held_out == 1 else f"{held_out} held out".encode()
    return hashlib.sha256(parts + fold_of.tobytes() + together).hexdigest()
