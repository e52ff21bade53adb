"""What is kept of a sample's gradient, and how it adds up over parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradsift.errors import SettingError
from gradsift.gradients.forms import Dense, Form, at_least_float32
from gradsift.gradients.model_state import reducing
from gradsift.gradients.projection import Projection, Sketches


@dataclass(frozen=True)
class Reductions:
    """What to keep of every per-sample gradient g.

    Attributes:
        l1: The L1 norm, ``sum_i |g_i|``.
        l2: The L2 norm, ``sqrt(sum_i g_i^2)``.
        factors: The two factors of the last layer's gradient, ``residual`` (n, K) and ``features`` (n, D); only the
            closed form has them.
        projection: A random projection to a few dimensions, over all parameters or for each layer, or ``None``.
        directions: For inner products: parameter name to a tensor ``(m, *parameter.shape)``; kept as ``products`` (n, m).
    """

    l1: bool = False
    l2: bool = True
    factors: bool = False
    projection: Projection | None = None
    directions: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks that something is kept.

        Raises:
            SettingError: Nothing is asked for, or directions differ in number.
        """
        if not (self.l1 or self.l2 or self.factors or self.projection or self.directions):
            raise SettingError("no reduction is asked for: choose at least one of l1, l2, factors, projection, ...")
        counts = {len(direction) for direction in self.directions.values()}
        if len(counts) > 1:
            raise SettingError(f"directions must hold the same number of vectors for every parameter, got {counts}")

    @property
    def needs_whole(self) -> bool:
        """Whether a parameter's gradients must be held whole, as neither factors nor pieces suffice."""
        return self.projection is not None and self.projection.kind != "kronecker"


class Reducer:
    """Adds up the reductions over the parameters of one batch.

    Args:
        reductions: What to keep.
        size: Number of samples n.
        sketches: The parameters' projections.
    """

    def __init__(self, reductions: Reductions, size: int, sketches: Sketches) -> None:
        self.reductions, self.size, self._sketches = reductions, size, sketches
        self._sums: dict[str, Tensor] = {}

    def add(self, name: str, form: Form) -> None:
        """Takes one parameter's per-sample gradients and forgets them once they are reduced.

        Args:
            name: The parameter.
            form: Its per-sample gradients; the contributions of all its uses, merged.
        """
        wanted, form = self.reductions, form.cheapest(self.reductions)
        if wanted.l1 and wanted.l2:
            l1, l2_squared = form.both_norms()
            self._accumulate("l1", l1)
            self._accumulate("l2", l2_squared)
        elif wanted.l1:
            self._accumulate("l1", form.l1())
        elif wanted.l2:
            self._accumulate("l2", form.l2_squared())
        if wanted.projection is not None:
            projected = form.project(self._sketches.of(name, form.shape))
            columns = self._sketches.columns(name)
            if "projection" not in self._sums and columns == slice(None):
                self._sums["projection"] = projected
            else:
                if "projection" not in self._sums:
                    self._sums["projection"] = projected.new_zeros(self.size, self._sketches.width)
                self._sums["projection"][:, columns] += projected
        if name in wanted.directions:
            self._accumulate("products", form.products(wanted.directions[name]))

    def result(self, like: Tensor | None = None) -> dict[str, Tensor]:
        """The reductions of the whole gradient.

        Args:
            like: The losses; tells device and dtype of the zeros where no parameter has reached them.

        Returns:
            ``l1`` (n,), ``l2`` (n,), ``projection`` (n, dim or layers x dim), ``products`` (n, m), as asked for, at least
            float32.
        """
        sums, wanted, size = dict(self._sums), self.reductions, self.size
        shapes = {
            "l1": (size,) if wanted.l1 else None,
            "l2": (size,) if wanted.l2 else None,
            "projection": (size, self._sketches.width) if wanted.projection else None,
            "products": (size, len(next(iter(wanted.directions.values())))) if wanted.directions else None,
        }
        for key, shape in shapes.items():
            if shape is not None and key not in sums and like is not None:
                sums[key] = at_least_float32(like.new_zeros(shape))
        if "l2" in sums:
            sums["l2"] = sums["l2"].sqrt()
        return sums

    def _accumulate(self, key: str, value: Tensor) -> None:
        self._sums[key] = value if key not in self._sums else self._sums[key] + value


def reduce_dense(reductions: Reductions, gradients: Mapping[str, Tensor], sketches: Sketches) -> dict[str, Tensor]:
    """Reduces per-sample gradients that are held whole.

    Args:
        reductions: What to keep.
        gradients: Parameter name to ``(n, *parameter.shape)``.
        sketches: As in :class:`Reducer`.

    Returns:
        As :meth:`Reducer.result`.
    """
    first = next(iter(gradients.values()))
    reducer = Reducer(reductions, len(first), sketches)
    with reducing(first.device):
        for name, gradient in gradients.items():
            reducer.add(name, Dense(gradient))
    return reducer.result()


def add_results(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    """Puts together the reductions of two disjoint sets of parameters.

    Args:
        first: Reductions over one set.
        second: Reductions over the other.

    Returns:
        Reductions over both: norms, projections and inner products add up (L2 in squares).
    """
    total = dict(first)
    for key, value in second.items():
        if key not in total:
            total[key] = value
        elif key == "l2":
            total[key] = torch.hypot(total[key], value)
        else:
            total[key] = total[key] + value
    return total
