"""Gradients that an audit has stored, in the place of those of new passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from gradsift.data import Samples, has_fingerprint
from gradsift.errors import DataError, SettingError
from gradsift.gradients.closed_form import outer_product
from gradsift.gradients.forms import Form
from gradsift.store import RunDirectory, fingerprint_model


def refuse_other_run(run: RunDirectory, model: nn.Module, samples: Samples) -> None:
    """Refuses stored gradients of other weights or of another data set.

    Args:
        run: The run directory.
        model: The model.
        samples: The data set.

    Raises:
        DataError: The run is of another model or data set.
    """
    manifest = run.read_json("manifest.json")
    if manifest.get("model_fingerprint", known := fingerprint_model(model)) != known:
        raise DataError("the run is of another model (its weights differ): audit this one, or leave out run")
    data = manifest.get("data_fingerprint")
    if data is not None and not has_fingerprint(samples, data):
        raise DataError("the run is of another data set: pass the one that was audited, in the same form and order")


class StoredFactors:
    """Last-layer gradients that an audit has stored as their two factors.

    Args:
        run: The audit's run directory.
        size: Number of samples that are expected.
        parameters: Full name to selected parameter.

    Raises:
        SettingError: The run has stored no factors, or those of other layers.
        DataError: It holds another number of samples.
    """

    def __init__(self, run: RunDirectory, size: int, parameters: Mapping[str, nn.Parameter]) -> None:
        stored = run.stored()
        if not {"residual", "features"} <= stored:
            raise SettingError(
                "the run has stored no factors of gradients: audit with layers='last' and a detector that reads gradients"
            )
        known = run.read_json("manifest.json").get("parameters")
        if known is not None and list(parameters) != list(known):
            raise SettingError(
                f"the run holds gradients of {known}, and these were asked for: {list(parameters)}: use its layers"
            )
        self._residual, self._features = run.statistic("residual"), run.statistic("features")
        if len(self._residual) != size:
            raise DataError(f"the run holds {len(self._residual)} samples, the data set {size}")
        (self._name,) = parameters
        self._device = next(iter(parameters.values())).device

    def __iter__(self) -> Iterator[tuple[np.ndarray, Mapping[str, Form]]]:
        """Positions of some samples, and the gradients of these, parameter by parameter."""
        for start in range(0, len(self._residual), 2048):
            positions = np.arange(start, min(start + 2048, len(self._residual)))
            parts = [
                torch.from_numpy(factor.rows(positions)).to(self._device) for factor in (self._residual, self._features)
            ]
            yield positions, {self._name: outer_product(*parts)}
