"""What is kept of a sample's gradient, and how it adds up over parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradsift.errors import SettingError
from gradsift.gradients.forms import Dense, Form, at_least_float32
from gradsift.gradients.model_state import reducing
from gradsift.gradients.projection import Projection, Sketch


@dataclass(frozen=True)
class Reductions:
    """What to keep of every per-sample gradient g.

    Attributes:
        l1: The L1 norm, ``sum_i |g_i|``.
        l2: The L2 norm, ``sqrt(sum_i g_i^2)``.
        factors: The two factors of the last layer's gradient, ``residual`` (n, K) and ``features`` (n, D); only the
            closed form has them.
        projection: A random projection to a few dimensions, or ``None``.
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
    def needs_entries(self) -> bool:
        """Whether every entry of a gradient must be formed, as factors do not suffice."""
        return self.l1 or (self.projection is not None and self.projection.kind != "kronecker")


class Reducer:
    """Adds up the reductions over the parameters of one batch.

    Args:
        reductions: What to keep.
        size: Number of samples n.
        sketches: One sketch a parameter, where a projection is asked for; filled as parameters come.
    """

    def __init__(self, reductions: Reductions, size: int, sketches: dict[str, Sketch]) -> None:
        self.reductions, self.size, self._sketches = reductions, size, sketches
        self._sums: dict[str, Tensor] = {}

    def add(self, name: str, form: Form) -> None:
        """Takes one parameter's per-sample gradients and forgets them once they are reduced.

        Args:
            name: The parameter.
            form: Its per-sample gradients; the contributions of all its uses, merged.
        """
        wanted, form = self.reductions, form.cheapest(self.reductions)
        if wanted.l1:
            self._accumulate("l1", form.l1())
        if wanted.l2:
            self._accumulate("l2", form.l2_squared())
        if wanted.projection is not None:
            if name not in self._sketches:
                self._sketches[name] = wanted.projection.sketch(name, form.shape)
            self._accumulate("projection", form.project(self._sketches[name]))
        if name in wanted.directions:
            self._accumulate("products", form.products(wanted.directions[name]))

    def result(self, like: Tensor | None = None) -> dict[str, Tensor]:
        """The reductions of the whole gradient.

        Args:
            like: The losses; tells device and dtype of the zeros where no parameter has reached them.

        Returns:
            ``l1`` (n,), ``l2`` (n,), ``projection`` (n, dim), ``products`` (n, m), as asked for, at least float32.
        """
        sums, wanted, size = dict(self._sums), self.reductions, self.size
        shapes = {
            "l1": (size,) if wanted.l1 else None,
            "l2": (size,) if wanted.l2 else None,
            "projection": (size, wanted.projection.dim) if wanted.projection else None,
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


def reduce_dense(
    reductions: Reductions, gradients: Mapping[str, Tensor], sketches: dict[str, Sketch]
) -> dict[str, Tensor]:
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
