"""The table of tokens, beside that of samples: given and suggested label of every token that has one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

TOKEN_COLUMNS = {
    "position": "place of the sample in the data set, from 0",
    "token": "place of the token among all tokens of its sample, padding and special ones included, from 0",
    "given_label": "the label in the data set",
    "predicted_label": "what the model predicts",
    "suggested_label": "of a flagged token the class that explains it best, otherwise empty",
    "wrong_probability": "posterior of a wrong label; it orders tokens, and counts too few where the model has memorised",
    "consistent": "whether the given label may follow the one before it: I-X after B-X or I-X; empty without such names",
    "flagged": "whether the token is among those to change",
}
"""Column of ``tokens.parquet`` to its meaning."""


class TokenRows:
    """The rows of a table of tokens, by sample.

    Args:
        table: What :func:`build_token_table` gave.
    """

    def __init__(self, table: pa.Table) -> None:
        positions = table["position"].to_numpy()
        if (np.diff(positions) < 0).any():
            table = table.sort_by([("position", "ascending"), ("token", "ascending")])
            positions = table["position"].to_numpy()
        self._table, self._positions = table, positions

    def of(self, position: int) -> pa.Table:
        """The labelled tokens of a sample.

        Args:
            position: The sample.

        Returns:
            Their rows, in order.
        """
        start, stop = np.searchsorted(self._positions, [position, position + 1])
        return self._table.slice(start, stop - start)

    def suggested(self, positions: Sequence[int] | np.ndarray) -> dict[int, list[int]]:
        """The labels of tokens with the suggested ones in their place.

        Args:
            positions: Samples to look at.

        Returns:
            Position to a class for each labelled token, of samples with a flagged one.
        """
        flagged = np.unique(self._positions[self._table["flagged"].to_numpy()])
        found = {}
        for position in np.intersect1d(positions, flagged).tolist():
            rows = self.of(position)
            found[position] = (
                rows["suggested_label"].combine_chunks().fill_null(rows["given_label"].combine_chunks()).to_pylist()
            )
        return found


def build_token_table(
    samples: np.ndarray,
    places: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    suggested: np.ndarray,
    wrong: np.ndarray,
    flagged: np.ndarray,
    names: Sequence[str] | None,
) -> pa.Table:
    """Builds the table of tokens.

    Args:
        samples: The sample that each token stands in, shape (m,).
        places: Its place in it.
        labels: Given labels.
        predicted: Predicted classes.
        suggested: The other class that explains each label best.
        wrong: Posterior of a wrong label.
        flagged: Which tokens are flagged, boolean.
        names: Names of the classes.

    Returns:
        The table, a row a token, in order.
    """
    consistent = follows(samples, labels, names)
    return pa.table(
        {
            "position": pa.array(samples.astype(np.int64)),
            "token": pa.array(places.astype(np.int64)),
            "given_label": pa.array(labels.astype(np.int64)),
            "predicted_label": pa.array(predicted.astype(np.int64)),
            "suggested_label": pa.array(suggested.astype(np.int64), mask=~flagged),
            "wrong_probability": pa.array(wrong),
            "consistent": pa.nulls(len(labels), pa.bool_()) if consistent is None else pa.array(consistent),
            "flagged": pa.array(flagged),
        }
    )


def follows(samples: np.ndarray, labels: np.ndarray, names: Sequence[str] | None) -> np.ndarray | None:
    """Whether each tag may follow the one before it in its sample, by the rule of B-, I- and O.

    Args:
        samples: The sample that each token stands in, rising, shape (m,).
        labels: Given labels, shape (m,).
        names: Names of the classes.

    Returns:
        Shape (m,), boolean; ``None`` where no name begins with ``I-``.
    """
    if names is None or not any(name.startswith("I-") for name in names):
        return None
    inside = np.array([name.startswith("I-") for name in names])
    kinds = {
        kind: number for number, kind in enumerate(sorted({name[2:] for name in names if name[:2] in ("B-", "I-")}))
    }
    kind_of = np.array([kinds[name[2:]] if name[:2] in ("B-", "I-") else -1 for name in names])
    before = np.concatenate([[-1], kind_of[labels[:-1]]])
    first = np.concatenate([[True], samples[1:] != samples[:-1]])
    return ~inside[labels] | (~first & (before == kind_of[labels]))


def token_words(table: pa.Table, names: Sequence[str] | None, shown: int = 3) -> dict[int, str]:
    """What is said of a sample's flagged tokens.

    Args:
        table: What :func:`build_token_table` gave.
        names: Names of the classes.
        shown: So many tokens are named at most.

    Returns:
        Position of the sample to words.
    """
    chosen = table.filter(table["flagged"]).sort_by([("position", "ascending"), ("wrong_probability", "descending")])
    by_sample: dict[int, list[str]] = {}
    for row in chosen.select(["position", "token", "given_label", "suggested_label"]).to_pylist():
        given, other = (
            repr(names[row[key]]) if names is not None and row[key] < len(names) else str(row[key])
            for key in ("given_label", "suggested_label")
        )
        by_sample.setdefault(row["position"], []).append(f"token {row['token']} given {given}: probably {other}")
    return {
        position: "; ".join(words[:shown]) + (f" and {len(words) - shown} more" if len(words) > shown else "")
        for position, words in by_sample.items()
    }
