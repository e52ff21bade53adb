"""Which sample comes next: orders and filters over a table of up to millions of rows, held in memory as columns."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gradsift.cleaning.review_numbers import RANDOM_SHARE, random_slice
from gradsift.errors import SettingError
from gradsift.table import SCORE_PREFIX
from gradsift.table.findings import OF_SAMPLES, TITLES, has_finding

EVERY = round(1 / RANDOM_SHARE)
"""One in so many samples of the queue is drawn at random from samples that are not flagged."""
KEPT = 32
"""So many filtered orders are kept, 4 bytes a sample each."""
NONE = -1
"""Class number where there is no class."""
SCOPES = {
    "queue": "flagged, and a few at random",
    "flagged": "flagged",
    "slice": "drawn at random, not flagged",
    "all": "all samples",
}
"""Which samples a queue holds."""


@dataclass(frozen=True)
class Query:
    """What a reviewer asks for.

    Attributes:
        scope: One of :data:`SCOPES`.
        order: Name of an order.
        given: Given class, or ``None`` for any.
        suggested: Suggested class, or ``None`` for any.
        reason: Kind of the reason, or empty for any.
        text: What stands in the sample's id, reason or text, in any case; empty for anything.
        low: Least score.
        high: Greatest score.
        finding: What is wrong besides the label, looked for among all samples; empty for anything.
    """

    scope: str = "queue"
    order: str = "worth"
    given: int | None = None
    suggested: int | None = None
    reason: str = ""
    text: str = ""
    low: float | None = None
    high: float | None = None
    finding: str = ""


class Queue:
    """The samples of an audit in the order in which they are looked at.

    Args:
        table: The table of the audit.
        worth: Expected corrections by looking at each sample, shape (n,); the first of the queue has most.
        texts: Gives the text of every sample, for the search; asked at the first search.
        groups: Which group each sample belongs to, shape (n,), such as a user; by name of the order.
        seed: Seed of the random slice, which is the same for the same number of samples.
    """

    def __init__(
        self,
        table: pa.Table,
        worth: np.ndarray,
        *,
        texts: Callable[[], pa.ChunkedArray | None] = lambda: None,
        groups: dict[str, Callable[[], np.ndarray]] | None = None,
        seed: int = 0,
    ) -> None:
        self.table, self.worth, self._texts, self._groups = table, worth, texts, groups or {}
        self.given, self.suggested = (_classes(table[f"{name}_label"]) for name in ("given", "suggested"))
        self.score, self.flagged = table["score"].to_numpy(), table["flagged"].to_numpy()
        drawn = random_slice(len(self.score), seed=seed)
        self.slice = drawn[~self.flagged[drawn]].astype(np.int32)
        self._kept: OrderedDict[Query, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.score)

    @property
    def orders(self) -> dict[str, str]:
        """Names of the orders that this audit has, and what they do."""
        orders = {"worth": "most expected corrections a second first", "score": "highest score first"}
        if (self.given != NONE).any():
            orders["pair"] = "by class pair, the most frequent first"
        if self.detectors:
            orders["disagreement"] = "detectors disagree most first"
        return orders | {name: f"by {name}" for name in self._groups}

    @cached_property
    def detectors(self) -> list[str]:
        """Columns of scores, where there are at least two."""
        names = [name for name in self.table.column_names if name.startswith(SCORE_PREFIX)]
        return names if len(names) > 1 else []

    @cached_property
    def reasons(self) -> list[str]:
        """Kinds of reasons that occur."""
        return sorted(kind for kind in pc.unique(self.table["reason_kind"]).to_pylist() if kind)

    @cached_property
    def findings(self) -> dict[str, str]:
        """Findings besides labels that occur, by name; their titles."""
        return {kind: TITLES[kind] for kind in OF_SAMPLES if has_finding(self.table, kind).any()}

    def set_worth(self, worth: np.ndarray) -> None:
        """Re-orders what is left.

        Args:
            worth: Expected corrections by looking at each sample, shape (n,).
        """
        with self._lock:
            self.worth = worth
            self._kept.clear()

    def positions(self, query: Query) -> np.ndarray:
        """The samples that a query asks for, in its order.

        Args:
            query: The query.

        Returns:
            Positions, int32.

        Raises:
            SettingError: There is no such scope or order.
        """
        if query.scope not in SCOPES or query.order not in self.orders:
            raise SettingError(
                f"a queue has one of the scopes {', '.join(SCOPES)} and one of the orders {', '.join(self.orders)}; "
                f"given {query.scope!r} and {query.order!r}"
            )
        with self._lock:
            if query in self._kept:
                self._kept.move_to_end(query)
                return self._kept[query]
            worth = self.worth
        everything = Query("all" if query.finding else query.scope, query.order)
        if query == everything:
            positions = self._ordered(query)
        else:
            ordered = self.positions(everything)
            positions = ordered[self._matches(query)[ordered]]
        with self._lock:
            if worth is self.worth:  # not of an order that was given up meanwhile
                self._kept[query] = positions
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return positions

    def pair_of(self, position: int) -> Query:
        """The flagged samples with the same given and suggested class as one sample.

        Args:
            position: The sample.

        Returns:
            The query.
        """
        return Query("flagged", given=int(self.given[position]), suggested=int(self.suggested[position]))

    def _ordered(self, query: Query) -> np.ndarray:
        """All samples of a scope in an order; the random ones mixed in where the queue holds both."""
        if query.scope == "queue":
            flagged = self._ordered(replace(query, scope="flagged"))
            return _mixed(flagged, self.slice) if query.order == "worth" else np.concatenate([flagged, self.slice])
        if query.scope == "slice":
            return self.slice
        chosen = np.flatnonzero(self.flagged) if query.scope == "flagged" else np.arange(len(self))
        keys: list[Any] = [chosen, -self.score[chosen], -self.worth[chosen]]  # the last one counts first
        if query.order == "score":
            keys = keys[:2]
        elif query.order == "pair":
            _, pair, size = np.unique(
                self.given[chosen] * (self.given.max() + 2) + self.suggested[chosen],
                return_inverse=True,
                return_counts=True,
            )
            keys += [pair, -size[pair]]
        elif query.order == "disagreement":
            keys.append(-self._disagreement[chosen])
        elif query.order in self._groups:
            keys.append(_numbered(self._groups[query.order](), len(self))[chosen])
        if query.scope == "all":
            keys.append(~self.flagged[chosen])
        return chosen[np.lexsort(keys)].astype(np.int32)

    @cached_property
    def _disagreement(self) -> np.ndarray:
        """How far apart the places are that the detectors give a sample: their standard deviation."""
        places = np.empty((len(self.detectors), len(self)), dtype=np.float32)
        for row, name in enumerate(self.detectors):
            places[row, np.argsort(self.table[name].to_numpy(), kind="stable")] = np.arange(len(self)) / len(self)
        return places.std(axis=0)

    def _matches(self, query: Query) -> np.ndarray:
        """Which samples pass the filters, shape (n,)."""
        matches = np.ones(len(self), dtype=bool)
        for wanted, classes in ((query.given, self.given), (query.suggested, self.suggested)):
            if wanted is not None:
                matches &= classes == wanted
        if query.low is not None:
            matches &= self.score >= query.low
        if query.high is not None:
            matches &= self.score <= query.high
        if query.reason:
            matches &= _as_mask(pc.equal(self.table["reason_kind"], query.reason))
        if query.finding:
            matches &= has_finding(self.table, query.finding)
        if query.text:
            matches &= self._search(query.text)
        return matches

    def _search(self, text: str) -> np.ndarray:
        columns = [self.table["id"], self.table["reason"], self._searched]
        hits = [
            _as_mask(pc.match_substring(column, text, ignore_case=True)) for column in columns if column is not None
        ]
        return np.logical_or.reduce(hits)

    @cached_property
    def _searched(self) -> pa.ChunkedArray | None:
        return self._texts()


def _mixed(flagged: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Puts one of the others at every twentieth place; those that are left over stand at the end."""
    count = min(len(others), len(flagged) // (EVERY - 1))
    places = (EVERY - 1) * np.arange(1, count + 1)
    return np.concatenate([np.insert(flagged, places, others[:count]), others[count:]])


def _classes(column: pa.ChunkedArray) -> np.ndarray:
    """Class numbers, :data:`NONE` where there are none."""
    if not pa.types.is_integer(column.type):
        return np.full(len(column), NONE, dtype=np.int64)
    return column.fill_null(NONE).to_numpy()


def _numbered(groups: np.ndarray, size: int) -> np.ndarray:
    """Groups as numbers in their order; words alphabetically."""
    if len(groups) != size:
        raise SettingError(f"there are {len(groups)} groups for {size} samples: audit again with this data set")
    return groups if groups.dtype.kind in "iu" else np.unique(groups.astype(str), return_inverse=True)[1]


def _as_mask(column: pa.ChunkedArray) -> np.ndarray:
    return column.fill_null(False).to_numpy()
