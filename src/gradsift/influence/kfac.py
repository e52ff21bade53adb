"""Kronecker-factored inverses of the Gauss-Newton or Fisher matrix, by curvlinops."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.curvature.vectors import Directions
from gradsift.data import to_model
from gradsift.data.batch import batch_size
from gradsift.errors import ModelError, SettingError
from gradsift.influence.base import Influence
from gradsift.influence.damped import SHARE, Damping
from gradsift.influence.sample_gradients import SampleGradients
from gradsift.progress import progress
from gradsift.tasks import BinaryClassification, Classification, LabelledTask, MultiLabel, Regression, sample_losses

Fisher = Literal["type-2", "mc", "empirical"]


class KFAC(Influence):
    """Influence ``I_j = + v^T (K + lambda I)^-1 g_j`` with K one Kronecker product a layer (Martens and Grosse, 2015).

    A layer with inputs a (a one appended for its bias) and gradients d of its outputs has ``K = E[d d^T] kron E[a a^T]``;
    where it works on several places of a sample (tokens, pixels), each place counts (KFAC-expand, Eschenhagen et al.,
    2023). Blocks between layers are left out. The damping is exact, added to the products of the factors' eigenvalues.

    Only ``Linear`` and ``Conv2d`` layers are covered, an adapter's matrices among them, each used once a pass.
    ``"type-2"`` and ``"mc"`` know the tasks classification, binary, multilabel and regression with the squared loss;
    ``"empirical"`` knows all tasks. ``report_`` holds ``damping``, ``mean_eigenvalue`` and ``fisher``.

    Args:
        damping: Lambda, in the loss's unit per squared parameter, or ``"auto"``: 0.1 x the mean eigenvalue of K (Grosse et
            al., arXiv 2308.03296, there for each layer by itself).
        fisher: Whose gradients d are: ``"type-2"`` columns of the root of the loss's Hessian in the outputs (exact
            Gauss-Newton for one layer, a backward pass a class), ``"mc"`` losses of labels drawn from the model's own
            predictions, ``"empirical"`` losses of the given labels.
        seed: Seed of drawn labels.
        settings: As in :class:`~gradsift.influence.base.Influence`.

    Raises:
        SettingError: A setting is outside its range, curvlinops is not installed, or the task is not covered.
        ModelError: On ``fit``: a selected parameter belongs to another kind of layer, or a layer is used several times.
    """

    operator: ClassVar[str] = "KFACLinearOperator"

    def __init__(self, *, damping: Damping = "auto", fisher: Fisher = "type-2", seed: int = 0, **settings: Any) -> None:
        super().__init__(**settings)
        if damping != "auto" and not (isinstance(damping, int | float) and 0 < damping < np.inf):
            raise SettingError(f'damping must be "auto" or a number above 0; given {damping!r}')
        if fisher not in ("type-2", "mc", "empirical"):
            raise SettingError(f'fisher must be "type-2", "mc" or "empirical"; given {fisher!r}')
        self.damping, self.fisher, self.seed = damping, fisher, seed

    def _prepare(self) -> None:
        gradients, library = self.gradients_, _curvlinops()
        half = {str(p.dtype) for p in gradients.parameters.values() if p.dtype not in (torch.float32, torch.float64)}
        if half:
            raise ModelError(
                f"selected parameters are {', '.join(half)}: eigenvectors need model.float(); or {_INSTEAD}"
            )
        _check_layers(gradients)
        empirical = self.fisher == "empirical"
        loss = _GivenLosses() if empirical else _loss_of(gradients.task)
        model = _LossesOf(gradients) if empirical else _LogitsOf(gradients)
        kind = {"type-2": "TYPE2", "mc": "MC", "empirical": "EMPIRICAL"}[self.fisher]
        operator = getattr(library, self.operator)(
            model,
            loss,
            list(gradients.parameters.values()),
            _Batches(gradients, empirical),
            check_deterministic=False,
            fisher_type=getattr(library.kfac.FisherType, kind),
            seed=self.seed,
            separate_weight_and_bias=False,
            num_per_example_loss_terms=1,
            num_data=len(gradients),
            batch_size_fn=lambda inputs: batch_size(inputs["batch"]),
        )
        # Losses are summed, so the operator is n times the curvature of their mean.
        with torch.enable_grad():
            try:
                mean = float(operator.trace) / len(gradients) / gradients.size
            except ValueError as error:
                raise ModelError(f"curvlinops cannot run on this model ({error}): {_INSTEAD}") from error
        if not np.isfinite(mean):
            raise ModelError(f"the curvature is not finite at these weights: {_INSTEAD}")
        if self.damping == "auto" and not mean > 0:
            raise ModelError(f"the curvature is zero at these weights: give a damping, or {_INSTEAD}")
        damping = SHARE * mean if self.damping == "auto" else float(self.damping)
        self._inverse = library.KFACInverseLinearOperator(
            operator, damping=damping * len(gradients), use_exact_damping=True
        )
        self.report_ |= {"damping": damping, "mean_eigenvalue": mean, "fisher": self.fisher}

    def _solve(self, directions: Directions) -> Directions:
        types = {name: parameter.dtype for name, parameter in self.gradients_.parameters.items()}
        columns = [vectors.to(types[name]).movedim(0, -1).contiguous() for name, vectors in directions.items()]
        solved = self._inverse @ columns
        scale = len(self.gradients_)
        rows = (scale * column.movedim(-1, 0).to(self.gradients_.dtype) for column in solved)
        return dict(zip(directions, rows, strict=True))


class EKFAC(KFAC):
    """KFAC whose eigenvalues are replaced by the true ones in its eigenvectors' basis (George et al., arXiv 1806.03884).

    ``K = Q diag(E[(Q^T g)^2]) Q^T`` with ``Q = Q_d kron Q_a`` of KFAC's two factors and g the samples' gradients of the
    layer; a second pass over the data. Arguments and limits are those of :class:`KFAC`.
    """

    operator = "EKFACLinearOperator"


_INSTEAD = "take DataInf, ConjugateGradient or InnerProduct, which serve every layer"


def _curvlinops() -> Any:
    try:
        return importlib.import_module("curvlinops")
    except ImportError as error:
        raise SettingError(
            f"KFAC and EKFAC need curvlinops, which cannot be imported ({error}): pip install 'gradsift[curvature]'"
        ) from error


def _loss_of(task: Any) -> nn.Module:
    """The torch loss that equals a task's, summed over samples; by the names of curvlinops."""
    plain = type(task) is Classification and not task.label_smoothing and task.class_weights is None
    if plain:
        return nn.CrossEntropyLoss(reduction="sum")
    binary = type(task) is BinaryClassification and task.positive_weight is None
    if binary or type(task) is MultiLabel:
        return nn.BCEWithLogitsLoss(reduction="sum")
    if type(task) is Regression and task.loss == "squared":
        return nn.MSELoss(reduction="sum")
    raise SettingError(
        f"KFAC's type-2 and mc Fisher know plain classification, binary, multilabel and squared regression, the task is a "
        f'{type(task).__name__}{" with settings of its own" if vars(task) else ""}: take fisher="empirical", or {_INSTEAD}'
    )


def _check_layers(gradients: SampleGradients) -> None:
    """Refuses parameters outside of linear and convolutional layers, and layers that run several times."""
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in gradients.model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append((name or "the model itself", module))
    strangers = Counter[str]()
    for name, parameter in gradients.parameters.items():
        users = owners.get(id(parameter), [("?", gradients.model)])
        strange = [module for _, module in users if not isinstance(module, nn.Linear | nn.Conv2d)]
        if strange:
            strangers[f"{type(strange[0]).__name__} ({name})"] += 1
        elif len(users) > 1:
            raise ModelError(
                f"{name} is shared by {', '.join(n for n, _ in users)}, which KFAC does not cover: {_INSTEAD}"
            )
    if strangers:
        shown = ", ".join(list(strangers)[:5]) + (f" and {len(strangers) - 5} more" if len(strangers) > 5 else "")
        raise ModelError(
            f"KFAC covers Linear and Conv2d layers only, among the selected parameters are {shown}: name the layers that "
            f"it covers (layers=[...], such as layers='last'), or {_INSTEAD}"
        )
    chosen = {id(parameter) for parameter in gradients.parameters.values()}
    layers = {
        name: module
        for name, module in gradients.model.named_modules()
        if any(id(parameter) in chosen for parameter in module.parameters(recurse=False))
    }
    runs = Counter[str]()
    hooks = [m.register_forward_hook(lambda *_, name=name: runs.update([name])) for name, m in layers.items()]
    try:
        with torch.no_grad():
            batch = to_model(gradients.samples.batch(np.arange(1)), gradients.model)
            gradients.task.outputs(gradients.model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    odd = [f"{name} ({runs[name]} times)" for name in layers if runs[name] != 1]
    if odd:
        raise ModelError(f"KFAC needs layers that run once a pass, here are {', '.join(odd[:5])}: {_INSTEAD}")


class _LogitsOf(nn.Module):
    """The model as curvlinops calls it: one argument, logits of shape (n, C) out."""

    def __init__(self, gradients: SampleGradients) -> None:
        super().__init__()
        self.model, self._gradients = gradients.model, gradients

    def forward(self, X: Mapping[str, Any]) -> Tensor:  # noqa: N803  # curvlinops' name
        """Logits of a batch."""
        outputs = self._gradients.task.outputs(self.model, X["batch"])
        return outputs[:, None] if outputs.ndim == 1 else outputs


class _LossesOf(_LogitsOf):
    """The same with the samples' losses in place of their logits, shape (n, 1)."""

    def forward(self, X: Mapping[str, Any]) -> Tensor:  # noqa: N803
        """Losses of a batch."""
        task, batch = self._gradients.task, X["batch"]
        return sample_losses(task, task.outputs(self.model, batch), batch)[:, None]


class _GivenLosses(nn.CrossEntropyLoss):
    """The sum of losses that the model has computed already; curvlinops asks for one of its three classes."""

    def __init__(self) -> None:
        super().__init__(reduction="sum")

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Their sum."""
        return input.sum()


class _Batches:
    """The training set as curvlinops reads it: pairs of model input and labels, as often as it likes."""

    def __init__(self, gradients: SampleGradients, empirical: bool) -> None:
        self._gradients, self._empirical = gradients, empirical

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Tensor]]:
        gradients = self._gradients
        with progress("Kronecker factors", len(gradients), show=gradients.show_progress) as bar:
            for _, batch in gradients.each_batch(lambda _, batch: batch, bar=bar):
                yield {"batch": batch}, self._labels(batch)

    def _labels(self, batch: Any) -> Tensor:
        task = self._gradients.task
        if self._empirical or not isinstance(task, LabelledTask):
            return torch.zeros(batch_size(batch), dtype=torch.long)
        labels = task.labels(batch)
        if isinstance(task, Classification):
            return labels
        return (labels[:, None] if labels.ndim == 1 else labels).to(self._gradients.dtype)
