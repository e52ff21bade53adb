"""Which backend computes the gradients of which parameter: the cheapest one that equals the one-sample loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch
from gradsift.gradients.backend import Backend
from gradsift.gradients.closed_form import ClosedForm, linear_users
from gradsift.gradients.functional import TorchFunc
from gradsift.gradients.hooks import LayerRules, dense_by_rules, used_elsewhere
from gradsift.gradients.loop import Loop
from gradsift.gradients.model_state import coarsest_dtype
from gradsift.gradients.reductions import Reductions
from gradsift.gradients.uses import RuleMismatchError, owners
from gradsift.tasks import Task

logger = logging.getLogger(__name__)

Parameters = Mapping[str, nn.Parameter]

BACKENDS: dict[str, type[Backend]] = {kind.name: kind for kind in (ClosedForm, LayerRules, TorchFunc, Loop)}
"""Name to backend, the cheapest first."""
ROUNDING = {torch.float64: (1e-8, 1e-13), torch.float32: (1e-3, 1e-6)}
"""By the dtype of a model's weights, how far two backends may differ: relative to the largest entry of a parameter's
gradient, and of all parameters'."""
ROUNDING_OF_HALF = (5e-2, 1e-3)
"""The same for weights of half precision, or quantised."""
KINK = 1e-2
"""Relative difference of a parameter's gradient that a few ReLUs on the other side of zero can make (measured: 0.4 %)."""

ELSEWHERE = "the model uses the parameter outside of its layer, too, where layer rules do not see it"


@dataclass(frozen=True)
class Assignment:
    """The backend of each parameter, and why it is not a cheaper one.

    Attributes:
        backends: Full name of a parameter to the name of its backend.
        reasons: Full name to why cheaper backends do not serve; without parameters for which there is none to name.
        shared: Layers that run once for all samples, as layer rules have to know; see
            :class:`~gradsift.gradients.hooks.LayerRules`.
    """

    backends: Mapping[str, str]
    reasons: Mapping[str, str]
    shared: frozenset[nn.Module] = frozenset()

    def served(self, parameters: Parameters) -> dict[str, dict[str, nn.Parameter]]:
        """The parameters of each backend.

        Args:
            parameters: Full name to parameter.

        Returns:
            Backend to full names and parameters; backends that serve some, the cheapest first.
        """
        served: dict[str, dict[str, nn.Parameter]] = {}
        for backend in BACKENDS:
            own = {name: p for name, p in parameters.items() if self.backends[name] == backend}
            if own:
                served[backend] = own
        return served


@dataclass(frozen=True)
class _Trial:
    """What a backend can serve: names of parameters, and why it does not serve others."""

    right: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = field(default_factory=dict)
    shared: frozenset[nn.Module] = frozenset()


def assign(model: nn.Module, task: Task, parameters: Parameters, example: Batch, spare: Batch | None) -> Assignment:
    """Tries backends from the cheapest to the loop, and takes for each parameter the first that equals the loop.

    Args:
        model: The model.
        task: The task.
        parameters: Full name to parameter.
        example: A few samples, on the model's device, on which backends are compared with the loop.
        spare: Other samples, for a second comparison where rounding may explain a difference.

    Returns:
        The assignment.
    """
    comparison = _Comparison(model, task, parameters, example, spare)
    backends, reasons, shared, rest = dict[str, str](), dict[str, str](), frozenset[nn.Module](), dict(parameters)
    attempts: dict[str, Callable[[Parameters], _Trial]] = {
        ClosedForm.name: comparison.closed_form,
        LayerRules.name: comparison.layer_rules,
        TorchFunc.name: comparison.torch_func,
    }
    for backend, attempt in attempts.items():
        trial = attempt(rest) if rest else _Trial()
        backends |= dict.fromkeys(trial.right, backend)
        shared |= trial.shared
        rest = {name: p for name, p in rest.items() if name not in trial.right}
        for name in rest.keys() & trial.reasons.keys():
            reasons[name] = f"{reasons[name]}; {trial.reasons[name]}" if name in reasons else trial.reasons[name]
    assignment = Assignment(backends | dict.fromkeys(rest, Loop.name), reasons, shared)
    fallbacks = {name: why for name, why in reasons.items() if assignment.backends[name] in (TorchFunc.name, Loop.name)}
    for reason in dict.fromkeys(fallbacks.values()):
        names = sorted(name for name, why in fallbacks.items() if why == reason)
        logger.info("a fallback serves %s: %s", ", ".join(names), reason)
    return assignment


class _Comparison:
    """Compares backends with the one-sample loop on a few samples."""

    def __init__(
        self, model: nn.Module, task: Task, parameters: Parameters, example: Batch, spare: Batch | None
    ) -> None:
        self._model, self._task, self._example, self._spare = model, task, example, spare
        self._tolerance = ROUNDING.get(coarsest_dtype(model), ROUNDING_OF_HALF)
        self._truth = Loop(model, task, parameters, Reductions()).dense(example)
        self._scale = _scale(self._truth)
        self._elsewhere = used_elsewhere(model, task, parameters, example)

    def closed_form(self, wanted: Parameters) -> _Trial:
        """The closed form serves a single parameter, the weight of a linear layer."""
        if len(wanted) != 1 or not linear_users(self._model, wanted) or next(iter(wanted.values())).is_complex():
            return _Trial()
        (name,) = wanted
        if name in self._elsewhere:
            return _Trial(reasons={name: f"no closed form: {ELSEWHERE}"})
        try:
            backend = ClosedForm(self._model, self._task, wanted, Reductions())
            _, _, residual, features = backend.factors(self._example)
        except Exception as error:  # noqa: BLE001  # a task that differentiates by itself fails in its own ways when cut
            return _Trial(reasons={name: f"no closed form: {error}"})
        return self._compared({name: torch.einsum("nk,nd->nkd", residual, features)}, wanted, "the closed form")

    def layer_rules(self, wanted: Parameters) -> _Trial:
        """Layer rules serve what is left when all that they refuse has been taken out."""
        candidates = {n: p for n, p in wanted.items() if not p.is_complex() and n not in self._elsewhere}
        shared, reasons = frozenset[nn.Module](), dict.fromkeys(wanted.keys() & self._elsewhere, ELSEWHERE)
        while candidates:
            try:
                gradients = dense_by_rules(self._model, self._task, candidates, self._example, shared)
            except RuleMismatchError as error:
                if error.shared:
                    shared |= error.shared
                    continue
                refused, reason = error.names, str(error)
            # A copy a sample does not fit where the model uses the parameter, or the task differentiates by itself.
            except Exception as error:  # noqa: BLE001
                refused, shared = self._suspects(candidates, shared), frozenset[nn.Module]()
                reason = f"layer rules fail on this model: {error}"
            else:
                trial = self._compared(gradients, candidates, "the layer rule", shared)
                return _Trial(trial.right, {**reasons, **trial.reasons}, shared)
            reasons |= dict.fromkeys(refused, reason)
            candidates = {name: p for name, p in candidates.items() if name not in refused}
        return _Trial(reasons=reasons)

    def _suspects(self, candidates: Parameters, shared: frozenset[nn.Module]) -> frozenset[str]:
        """What is to blame when layer rules fail as a whole: layers taken for shared, bare parameters, or all."""
        owned = owners(self._model, candidates)
        if shared:
            return frozenset(name for module in shared for _, name in owned.get(module, []))
        bare = candidates.keys() - {name for pairs in owned.values() for _, name in pairs}
        return frozenset(bare or candidates)

    def torch_func(self, wanted: Parameters) -> _Trial:
        """``torch.func`` serves all or, where it refuses the model, nothing."""
        try:
            gradients = TorchFunc(self._model, self._task, wanted, Reductions()).dense(self._example)
        except Exception as error:  # noqa: BLE001  # torch.func refuses in many ways
            line = str(error).partition("\n")[0]
            return _Trial(reasons=dict.fromkeys(wanted, f"torch.func refuses this model ({line})"))
        return self._compared(gradients, wanted, "torch.func")

    def _compared(
        self, gradients: Mapping[str, Tensor], wanted: Parameters, what: str, shared: frozenset[nn.Module] | None = None
    ) -> _Trial:
        """Which gradients equal the loop's; layer rules get a second chance where rounding may explain a difference."""
        # A parameter that no rule has seen may still matter for other samples, so the next backend takes it.
        right = {n for n in wanted if n in gradients and self._agree(gradients[n], self._truth[n], self._scale)}
        if shared is not None:
            doubtful = {
                n: p
                for n, p in wanted.items()
                if n in gradients and n not in right and _near(gradients[n], self._truth[n])
            }
            right |= self._right_elsewhere(doubtful, shared)
        reasons = dict.fromkeys(wanted.keys() - right, f"{what} differs from the one-sample loop on this model")
        return _Trial(frozenset(right), reasons)

    def _right_elsewhere(self, doubtful: Parameters, shared: frozenset[nn.Module]) -> set[str]:
        """Those that rules serve rightly on samples that were not tried yet.

        Where a ReLU's input is zero but for rounding, a batch may take the other side than a sample alone, and gradients
        differ a little; that is no fault of a rule, and hardly happens twice.
        """
        if not doubtful or self._spare is None:
            return set()
        truth = Loop(self._model, self._task, doubtful, Reductions()).dense(self._spare)
        try:
            gradients = dense_by_rules(self._model, self._task, doubtful, self._spare, shared)
        except RuleMismatchError:
            return set()
        scale = _scale(truth)
        return {n for n in doubtful if n in gradients and self._agree(gradients[n], truth[n], scale)}

    def _agree(self, gradient: Tensor, truth: Tensor, scale: float) -> bool:
        """Whether a backend's gradient equals the loop's up to rounding.

        Measured against the parameter's largest entry, and against the largest of all parameters where a gradient is zero
        but for rounding (the bias of an attention's keys).
        """
        if gradient.shape != truth.shape:
            return False
        own, whole = self._tolerance
        return bool((gradient.to(truth) - truth).abs().max() <= own * truth.abs().max() + whole * scale)


def _near(gradient: Tensor, truth: Tensor) -> bool:
    """Whether gradients differ by so little that rounding at a kink may explain it."""
    return gradient.shape == truth.shape and bool((gradient.to(truth) - truth).norm() <= KINK * truth.norm())


def _scale(gradients: Mapping[str, Tensor]) -> float:
    """The largest entry of all gradients."""
    return max(float(gradient.abs().max()) if gradient.numel() else 0.0 for gradient in gradients.values())
