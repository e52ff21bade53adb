"""Losses of pairs of a chosen and a rejected answer: reward models and direct preference optimisation (DPO).

Both compare two rewards, ``l = -log sigmoid(r_c - r_r)``. The model runs on the chosen answers and then on the rejected
ones, each a batch of its own, so a layer always sees one row a sample, and a parameter's gradient is the sum of two uses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradsift.data.batch import Batch, batch_size
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.tasks.base import LossTask
from gradsift.tasks.tokens import CausalLM

CHOSEN, REJECTED = SIDES = ("chosen", "rejected")
"""A batch has the inputs of both: the key itself, or keys that begin with it, such as ``chosen_input_ids``."""
PAIR_NAMES = ("as given", "swapped")
"""What a pair can be, by number."""
REFERENCE = "reference"
"""Key of a side's log-probabilities under the reference model, where they were computed before."""


class PairTask(ABC):
    """Shared part: a sample is a pair, and its one label says that the pair stands as it was given."""

    kind = "pair"

    @abstractmethod
    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """The rewards of both answers.

        Args:
            model: The model.
            batch: A dict with inputs of both sides.

        Returns:
            Shape (n, 2): chosen, rejected.
        """

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The Bradley-Terry loss of each pair, ``-log sigmoid(r_c - r_r)``, shape (n,), in nats."""
        del batch
        return -functional.logsigmoid(outputs[:, 0] - outputs[:, 1])

    def labels(self, batch: Batch) -> Tensor:
        """Zero for every pair: it stands as it was given. One would be a swapped pair.

        Args:
            batch: The batch.

        Returns:
            Shape (n,), int64.
        """
        return torch.zeros(batch_size(batch), dtype=torch.int64)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Probabilities that the chosen and that the rejected answer is the better one.

        Args:
            outputs: Rewards, shape (n, 2).

        Returns:
            Shape (n, 2); the second is exact also where it is tiny.
        """
        margin = outputs[:, 0] - outputs[:, 1]
        return torch.stack([margin.sigmoid(), (-margin).sigmoid()], dim=1)


class Reward(PairTask):
    """A reward model: one number an answer, such as sequence classification with one logit, and the Bradley-Terry loss."""

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """The rewards of both answers; see :meth:`PairTask.outputs`."""
        return torch.stack([self._reward(model, sides(batch, side)) for side in SIDES], dim=1)

    @staticmethod
    def _reward(model: nn.Module, inputs: Any) -> Tensor:
        if isinstance(inputs, dict):
            inputs = {name: value for name, value in inputs.items() if name not in ("labels", REFERENCE)}
            rewards = LossTask.tensor_of(model(**inputs))
        else:
            rewards = LossTask.tensor_of(model(inputs))
        if rewards.ndim == 2 and rewards.shape[1] == 1:
            return rewards[:, 0]
        if rewards.ndim == 1:
            return rewards
        raise ModelError(
            f"a reward model gives one number an answer, this one gives shape {tuple(rewards.shape)}: give it one output "
            "(num_labels=1)"
        )


class DPO(PairTask):
    """Direct preference optimisation: the reward is ``beta (log p(answer) - log p_reference(answer))``.

    The reference is, in this order: what was computed before (columns ``ref_chosen_logps`` and ``ref_rejected_logps``),
    the model given here, or the audited model with its adapter switched off.

    Args:
        beta: How far the policy may leave the reference, above 0; TRL's ``beta``.
        reference: The reference model, in eval mode.

    Raises:
        SettingError: Beta is not above 0.
    """

    def __init__(self, *, beta: float = 0.1, reference: nn.Module | None = None) -> None:
        if not beta > 0:
            raise SettingError(f"beta of DPO is a number above 0, given {beta}")
        self.beta, self.reference = beta, reference
        self._sequences = CausalLM(reduction="sum")

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """The implicit rewards of both answers; see :meth:`PairTask.outputs`."""
        both = [sides(batch, side) for side in SIDES]
        policy = torch.stack([self._log_probability(model, side) for side in both], dim=1)
        with torch.no_grad():
            reference = self._under_reference(model, both)
        return self.beta * (policy - reference)

    def _log_probability(self, model: nn.Module, side: Any) -> Tensor:
        """Log-probability of each answer, shape (n,), in nats."""
        side = {name: value for name, value in side.items() if name != REFERENCE}
        return -self._sequences.losses(self._sequences.outputs(model, side), side)

    def _under_reference(self, model: nn.Module, both: list[Any]) -> Tensor:
        """The same of both answers under the reference, shape (n, 2)."""
        if all(REFERENCE in side for side in both):
            return torch.stack([side[REFERENCE] for side in both], dim=1)
        if self.reference is not None:
            return torch.stack([self._log_probability(self.reference, side) for side in both], dim=1)
        if not callable(getattr(model, "disable_adapter", None)):
            raise ModelError(
                f"DPO needs a reference, and {type(model).__name__} has no adapter to switch off: pass "
                "task=gradsift.tasks.DPO(reference=model), or columns ref_chosen_logps and ref_rejected_logps, which TRL "
                "computes with precompute_ref_log_probs=True"
            )
        with adapter_off(model):
            return torch.stack([self._log_probability(model, side) for side in both], dim=1)


OF_ANSWERS = (
    "a sample with {given} is no pair: give dicts with the inputs of both answers, chosen and rejected, or texts through "
    "gradsift.PairSet (--chosen, --rejected)"
)
"""What is said of a sample without two answers."""


def sides(batch: Batch, side: str, problem: str = OF_ANSWERS) -> Any:
    """The inputs of one side of a batch of pairs.

    Args:
        batch: The batch.
        side: ``"chosen"`` or ``"rejected"``, or what else a task compares.
        problem: What is said where the batch has none.

    Returns:
        What goes into the model: a tensor, or a dict of arguments.

    Raises:
        DataError: The batch has none.
    """
    if isinstance(batch, Mapping):
        if side in batch:
            return batch[side]
        inputs = {name.removeprefix(f"{side}_"): value for name, value in batch.items() if name.startswith(f"{side}_")}
        if inputs:
            return inputs
    given = f"the keys {sorted(batch)}" if isinstance(batch, Mapping) else f"the type {type(batch).__name__}"
    raise DataError(problem.format(given=given))


@contextmanager
def adapter_off(model: Any) -> Iterator[None]:
    """Runs an adapted model as its base; which parameters are trainable is as before afterwards.

    Args:
        model: A model of peft.

    Yields:
        Nothing.
    """
    trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        with model.disable_adapter():
            yield
    finally:
        for parameter, wanted in trainable:
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
