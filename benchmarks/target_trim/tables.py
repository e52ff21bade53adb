"""Tables with groups, classifiers of them, and gaps between the groups."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from frame.training import train_epochs
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn
from torch.nn import functional

DECAY = 1e-3
OLDER = 25
"""German credit: older applicants are those over this age (Kamiran and Calders, 2009)."""


class TableRows(NamedTuple):
    """Features, labels with 1 for the outcome that people want, and group."""

    x: torch.Tensor
    y: torch.Tensor
    group: np.ndarray

    def at(self, positions: np.ndarray) -> TableRows:
        return TableRows(self.x[positions], self.y[positions], self.group[positions])

    @property
    def samples(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x, self.y


def load(data: Path, name: str, seed: int) -> tuple[TableRows, TableRows, TableRows]:
    """Training, validation and test rows; scaled by what the training rows show."""
    generator = np.random.default_rng([seed, 60])
    if name.startswith("german"):
        table = pq.read_table(data / "tabular_german_credit" / "all.parquet")
        table = table.take(pa.array(generator.permutation(len(table))))
        parts = [table.slice(0, 500), table.slice(500, 250), table.slice(750)]
        wanted = 0  # a good credit
    elif name == "bank":
        whole = pq.read_table(data / "tabular_bank_marketing" / "bank_full.parquet")
        whole = whole.take(pa.array(generator.permutation(len(whole))))
        parts = [whole.slice(0, 10_000), whole.slice(10_000, 5_000), whole.slice(15_000)]
        wanted = 1  # a deposit
    else:
        whole = pq.read_table(data / "tabular_adult" / "train.parquet")
        whole = whole.take(pa.array(generator.permutation(len(whole))))
        parts = [whole.slice(0, 10_000), whole.slice(10_000, 5_000)]
        parts.append(pq.read_table(data / "tabular_adult" / "test.parquet"))
        wanted = 1  # a high income
    columns = [column for column in parts[0].column_names if column != "label"]
    numbers = [c for c in columns if pa.types.is_integer(parts[0][c].type) or pa.types.is_floating(parts[0][c].type)]
    words = [column for column in columns if column not in numbers]
    transform = ColumnTransformer(
        [
            ("numbers", StandardScaler(), numbers),
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
        ]
    )
    frames = [part.select(columns).to_pandas() for part in parts]
    transform.fit(frames[0])
    return tuple(
        TableRows(
            torch.from_numpy(transform.transform(frame).astype(np.float32)),
            torch.from_numpy((part["label"].to_numpy() == wanted).astype(np.float32)),
            groups_of(part, name),
        )
        for frame, part in zip(frames, parts, strict=True)
    )  # type: ignore[return-value]


def groups_of(part: pa.Table, name: str) -> np.ndarray:
    if name == "bank":
        return np.zeros(len(part))
    if name == "german-age":
        return np.where(part["age"].to_numpy() > OLDER, "older", "younger")
    return np.char.lower(part["sex"].to_numpy(zero_copy_only=False).astype(str))


def train(rows: TableRows, kind: str, seed: int) -> nn.Module:
    """Logistic regression to its optimum, or a small network, shuffled, last epoch."""
    torch.manual_seed(seed)
    width = rows.x.shape[1]
    if kind == "mlp":
        model = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 1))
        return train_epochs(
            model, torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2),
            lambda part: functional.binary_cross_entropy_with_logits(model(rows.x[part])[:, 0], rows.y[part]),
            len(rows.y), epochs=8, batch=128,
        )  # fmt: skip
    model = nn.Linear(width, 1)
    newton = torch.optim.LBFGS(model.parameters(), max_iter=300, line_search_fn="strong_wolfe", tolerance_change=1e-10)

    def closure() -> torch.Tensor:
        newton.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(model(rows.x)[:, 0], rows.y)
        loss = loss + DECAY / 2 * model.weight.square().sum()
        loss.backward()
        return loss

    newton.step(closure)
    return model.eval()


@torch.no_grad()
def measures(model: nn.Module, rows: TableRows) -> dict[str, float]:
    """Accuracy, and gaps between the groups, in points."""
    logits = model(rows.x)[:, 0]
    losses = functional.binary_cross_entropy_with_logits(logits, rows.y, reduction="none").numpy()
    says, right = (logits > 0).numpy(), rows.y.numpy() == 1
    names = np.unique(rows.group).tolist()
    groups = [rows.group == name for name in names]
    order = "men less women" if names == ["female", "male"] else f"{names[1]} less {names[0]}"

    def signed(values: np.ndarray, among: np.ndarray) -> float:
        return 100 * float(values[groups[1] & among].mean() - values[groups[0] & among].mean())

    def gap(values: np.ndarray, among: np.ndarray) -> float:
        return abs(signed(values, among))

    return {
        "accuracy": 100 * float((says == right).mean()),
        "equal opportunity": gap(says, right),
        "equal opportunity in loss": gap(losses, right),
        "demographic parity": gap(says, np.ones_like(right)),
        f"equal opportunity, {order}": signed(says, right),
    }
