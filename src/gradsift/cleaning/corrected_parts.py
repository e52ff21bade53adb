"""Labels of tokens, sets of labels and values with the suggested ones in their place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from gradsift.data.batch import label_key
from gradsift.errors import DataError


def relabel_parts(train_set: Any, table: pa.Table, tokens: pa.Table | None = None) -> Any:
    """A data set whose flagged samples, or flagged tokens, have what is suggested for them.

    Args:
        train_set: Arrays ``(X, ..., y)`` or a dict of arrays, with labels of shape (n,), (n, K) or (n, T).
        table: The table of its audit, with suggestions for what is flagged.
        tokens: The table of tokens, where these have labels.

    Returns:
        The same kind of data set; the original is left as it is.

    Raises:
        DataError: The data set is of another kind, or its labels differ from those that were audited.
    """
    if isinstance(train_set, dict):
        key = label_key(train_set)
        return {**train_set, key: _changed(train_set[key], table, tokens)}
    if isinstance(train_set, tuple) and len(train_set) > 1:
        return (*train_set[:-1], _changed(train_set[-1], table, tokens))
    raise DataError(
        "labels of tokens, sets of labels and values are changed in arrays (X, y) or a dict of arrays, given a "
        f"{type(train_set).__name__}: put the suggestions of the audit's table into the data set itself, or use 'drop'"
    )


def _changed(labels: Any, table: pa.Table, tokens: pa.Table | None) -> Any:
    """Labels, an array, with the suggested ones where something is flagged."""
    if not isinstance(labels, Tensor | np.ndarray):
        raise DataError(f"labels must be an array to be changed, given a {type(labels).__name__}")
    told = table if tokens is None else tokens
    chosen = told.filter(told["flagged"])
    places = [torch.from_numpy(chosen["position"].to_numpy().copy())]
    if tokens is not None:
        places.append(torch.from_numpy(chosen["token"].to_numpy().copy()))
    if labels.ndim < len(places) or any(
        len(p) and int(p.max()) >= size for p, size in zip(places, labels.shape, strict=False)
    ):
        raise DataError(
            f"labels of shape {tuple(labels.shape)} are not those that were audited: pass the same data set"
        )
    new = torch.as_tensor(labels).clone()
    given, suggested = (
        torch.tensor(chosen[name].to_pylist(), dtype=torch.float64).reshape(new[tuple(places)].shape)
        for name in ("given_label", "suggested_label")
    )
    if not torch.allclose(new[tuple(places)].double(), given, rtol=1e-5, atol=1e-6):
        raise DataError("labels differ from those that were audited: pass the same data set")
    new[tuple(places)] = suggested.to(new)
    return new if isinstance(labels, Tensor) else new.numpy()
