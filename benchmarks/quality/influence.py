"""Influence methods on a recorded model, through gradsift: ``influence.npz`` in the record's folder, positive = helpful.

They need the model itself, so they are asked when a record is made. Names: ``<method>_<layers>`` with the clean validation
split as target, ``self_<method>_<layers>``, and ``<method>_<layers>_on_train`` with the training set as the target, as the
reference code has it.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import nn

from gradsift.errors import GradsiftError
from gradsift.influence import DataInf, ExactInfluence, InnerProduct, LiSSA, SampleGradients
from quality.record import Clock, Record
from quality.regimes import Problem
from quality.training import DEVICE

LISSA = {"depth": 100, "subsample": 500, "batch": 64, "seed": 0}
"""A tenth of the default steps, and the Hessian of 500 samples: LiSSA is to cost no more than the training itself."""
METHODS: dict[str, Callable[..., Any]] = {"inner_product": InnerProduct, "datainf": DataInf}
OF_LAST_LAYER: dict[str, Callable[..., Any]] = {
    "lissa": lambda **settings: LiSSA(**LISSA, **settings),
    "self_exact": ExactInfluence,
}
"""With a Hessian, whose products over all layers would cost more than the training."""


def ask_all(record: Record, problem: Problem) -> None:
    """Asks every method, unless that was done.

    Args:
        record: The record; its model is loaded.
        problem: The draw that it is of.
    """
    path = record.folder / "influence.npz"
    if path.exists():
        return
    for name in ("gradsift", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)  # overlap of training set and target is meant here
    warnings.filterwarnings("ignore", category=UserWarning)
    train_set = (problem.inputs, problem.given)
    model, clock, found = load_model(record, problem), Clock(), {}
    for layers in ("last", "all"):
        gradients = SampleGradients(model, train_set, layers=layers, show_progress=False)  # type: ignore[arg-type]
        for name, make in {**METHODS, **(OF_LAST_LAYER if layers == "last" else {})}.items():
            method = make(layers=layers, show_progress=False)
            try:
                with clock.stage(f"{name}_{layers}"):
                    method.fit_gradients(gradients)
                    found[f"{name}_{layers}"] = (
                        method.self_influence() if name == "self_exact" else method.influence(problem.validation)
                    )
                if name in METHODS:
                    found[f"{name}_{layers}_on_train"] = method.influence(train_set)
            except GradsiftError as error:  # such as no curvature at all in a network that has died
                print(f"{record.folder}: {name}, {layers}: {error}", flush=True)
    np.savez(path, **{name: values.astype(np.float64) for name, values in found.items()})
    (record.folder / "influence.json").write_text(json.dumps(dict(clock.seconds), indent=2) + "\n")


def load_model(record: Record, problem: Problem) -> nn.Module:
    """The final model of a record.

    Args:
        record: The record.
        problem: The draw.

    Returns:
        The model in eval mode.
    """
    model = problem.network()
    model.load_state_dict(load_file(record.folder / "model.safetensors"))
    return model.to(DEVICE).eval()
