"""Every task with every fault of labels and of what a model gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from chaos.inputs import ANY, REFUSED, Input

SIZE, WIDTH = 24, 3
OUTPUTS = {"classification": 3, "binary": 1, "multilabel": 3, "regression": 1}
CLASSES = (np.arange(SIZE) % 3).astype(np.int64)
LABELS: dict[str, np.ndarray] = {
    "classification": CLASSES,
    "binary": CLASSES % 2,
    "multilabel": np.eye(3)[CLASSES].astype(np.int64),
    "regression": np.linspace(-1, 1, SIZE),
}


def inputs() -> np.ndarray:
    """Features, shape (24, 3)."""
    return (np.random.default_rng(0).normal(size=(SIZE, WIDTH)) + 3 * np.eye(3)[CLASSES]).astype(np.float32)


def model(task: str) -> nn.Module:
    """A linear model.

    Args:
        task: Which task's.
    """
    torch.manual_seed(0)
    return nn.Linear(WIDTH, OUTPUTS[task]).eval()


def audited(network: nn.Module, data: Any, task: str) -> list[Any]:
    """The given labels of an audit's table.

    Args:
        network: The model.
        data: The data set.
        task: The task.
    """
    import gradsift

    found = gradsift.audit(network, data, task=task, contamination=0.1, shard_size=10, show_progress=False)
    given: list[Any] = found.table["given_label"].to_pylist()
    return given


def _spoilt(place: int, value: Any, kind: type = float) -> Callable[[np.ndarray], np.ndarray]:
    def spoil(labels: np.ndarray) -> np.ndarray:
        labels = labels.astype(kind)
        labels[place] = value
        return labels

    return spoil


SERVED: dict[str, Callable[[np.ndarray], Any]] = {
    "as usual": lambda labels: labels,
    "float": lambda labels: labels.astype(np.float64),
    "float32": lambda labels: labels.astype(np.float32),
    "big-endian": lambda labels: labels.astype(labels.dtype.newbyteorder(">")),
    "not contiguous": lambda labels: np.repeat(labels, 2, axis=0)[::2],
    "read only": lambda labels: np.frombuffer(labels.tobytes(), labels.dtype).reshape(labels.shape),
    "a tensor": torch.from_numpy,
    "a list": lambda labels: labels.tolist(),
    "objects": lambda labels: labels.astype(object),
    "pandas": lambda labels: _pandas(labels),
    "masked, nothing hidden": lambda labels: np.ma.masked_array(labels),
    "sparse tensor": lambda labels: torch.from_numpy(labels).to_sparse(),
    "a column": lambda labels: labels[:, None] if labels.ndim == 1 else labels,
}
"""What means the same labels."""
BAD: dict[str, Callable[[np.ndarray], Any]] = {
    "NaN": _spoilt(5, np.nan),
    "infinite": _spoilt(7, np.inf),
    "shorter": lambda labels: labels[:-1],
    "none": lambda labels: None,
    "words": lambda labels: np.array([f"w{one}" for one in labels.reshape(-1)[:SIZE]]),
    "complex": lambda labels: labels + 1j,
    "masked": lambda labels: np.ma.masked_array(labels, mask=np.arange(labels.size).reshape(labels.shape) % 5 == 0),
    "empty": lambda labels: labels[:0],
    "dates": lambda labels: np.arange(SIZE).astype("datetime64[D]"),
}
"""What no task can use, but words where there are classes."""
OUT_OF_RANGE = {"too large": _spoilt(5, 7, np.int64), "negative": _spoilt(5, -1, np.int64), "half": _spoilt(5, 0.5)}


class Gives(nn.Module):
    """A linear model whose output is changed.

    Args:
        task: Which task's.
        change: From its output to another.
    """

    def __init__(self, task: str, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.change = model(task), change

    def forward(self, batch: torch.Tensor) -> Any:
        """The changed output."""
        return self.change(self.linear(batch))


GIVEN: dict[str, Callable[[torch.Tensor], Any]] = {
    "a tuple": lambda out: (out, out),
    "a list": lambda out: [out],
    "a dict": lambda out: {"scores": out},
    "nothing": lambda out: None,
    "NaN": lambda out: out * float("nan"),
    "whole numbers": lambda out: out.long(),
    "complex": lambda out: out.to(torch.complex64),
    "detached": lambda out: out.detach(),
    "one row": lambda out: out[:1],
    "their mean": lambda out: out.mean(),
    "more axes": lambda out: out[:, :, None, None],
    "numpy": lambda out: out.detach().numpy(),
    "noise": lambda out: out + torch.randn_like(out),
    "the batch's mean taken off": lambda out: out - out.mean(0),
}
MODELS: dict[str, Callable[[str], Any]] = {
    "in train mode with dropout": lambda task: nn.Sequential(nn.Dropout(0.5), model(task)).train(),
    "in train mode with batch norm": lambda task: nn.Sequential(nn.BatchNorm1d(WIDTH), model(task)).train(),
    "frozen": lambda task: model(task).requires_grad_(False),
    "without parameters": lambda task: nn.Identity(),
    "of another width": lambda task: nn.Linear(5, OUTPUTS[task]),
    "on meta": lambda task: nn.Linear(WIDTH, OUTPUTS[task], device="meta"),
    "complex": lambda task: nn.Linear(WIDTH, OUTPUTS[task], dtype=torch.complex64),
    "with NaN in weights": lambda task: _with_nan(model(task)),
    "a class": lambda task: nn.Linear,
    "None": lambda task: None,
    "a function": lambda task: lambda batch: batch,
}


def cases() -> list[Input]:
    """Every task with every fault."""
    found = []
    for task, labels in LABELS.items():
        expected = labels.tolist()
        for name, change in SERVED.items():
            found.append(Input(f"{task}, labels: {name}", partial(_labels, task, change), expected))
        for name, change in BAD.items():
            served = name == "words" and task in ("classification", "binary")  # classes in alphabetical order
            found.append(
                Input(f"{task}, labels: {name}", partial(_labels, task, change), expected if served else REFUSED)
            )
        for name, change in OUT_OF_RANGE.items():
            if task == "multilabel":
                continue
            right = ANY if task == "regression" or (name == "half" and task == "binary") else REFUSED
            found.append(Input(f"{task}, labels: {name}", partial(_labels, task, change), right))
        for name, give in GIVEN.items():
            found.append(
                Input(f"{task}, model gives {name}", partial(_output, task, give), _allowed(task, name, expected))
            )
        for name, make in MODELS.items():
            found.append(Input(f"{task}, model {name}", partial(_model, task, make)))
        for name, make_inputs in INPUTS.items():
            found.append(Input(f"{task}, inputs {name}", partial(_inputs, task, make_inputs), expected))
        for name in ("NaN", "infinite"):
            found.append(Input(f"{task}, inputs with {name}", partial(_inputs, task, partial(_broken, name))))
    return found


def _allowed(task: str, name: str, expected: list[Any]) -> Any:
    """What may be served: a tuple's first tensor, trailing axes, an output whose loss has a closed form."""
    return expected if name in ("a tuple", "a list", "more axes", "detached") else REFUSED


def _labels(task: str, change: Callable[[np.ndarray], Any]) -> list[Any]:
    return audited(model(task), (inputs(), change(LABELS[task])), task)


def _output(task: str, give: Callable[[torch.Tensor], Any]) -> list[Any]:
    return audited(Gives(task, give).eval(), (inputs(), LABELS[task]), task)


def _model(task: str, make: Callable[[str], Any]) -> list[Any]:
    return audited(make(task), (inputs(), LABELS[task]), task)


def _inputs(task: str, change: Callable[[np.ndarray], Any]) -> list[Any]:
    return audited(model(task), (change(inputs()), LABELS[task]), task)


def _broken(name: str, values: np.ndarray) -> np.ndarray:
    values[5, 1] = np.nan if name == "NaN" else np.inf
    return values


def _pandas(labels: np.ndarray) -> Any:
    import pandas as pd

    return pd.Series(labels) if labels.ndim == 1 else pd.DataFrame(labels)


def _with_nan(network: Any) -> nn.Module:
    network.weight.data[0, 0] = float("nan")
    return network


def _frame(values: np.ndarray) -> Any:
    import pandas as pd

    return pd.DataFrame(values)


def _scipy(values: np.ndarray) -> Any:
    import scipy.sparse

    return scipy.sparse.csr_matrix(values)


INPUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "big-endian": lambda values: values.astype(">f4"),
    "of float64": lambda values: values.astype(np.float64),
    "of float16": lambda values: values.astype(np.float16),
    "of whole numbers": lambda values: values.astype(np.int64),
    "as objects": lambda values: values.astype(object),
    "in pandas": _frame,
    "of scipy, sparse": _scipy,
    "of torch, sparse": lambda values: torch.from_numpy(values).to_sparse(),
    "masked": np.ma.masked_array,
    "in lists": lambda values: values.tolist(),
    "in Fortran's order": np.asfortranarray,
    "backwards in memory": lambda values: np.ascontiguousarray(values[::-1])[::-1],
}
