"""Does trimming toward fairness or robustness help, and what does it cost? Adult and German credit, with controls.

    python benchmarks/target_trim.py --data DIR                  # everything, ten seeds: about an hour on one busy core
    python benchmarks/target_trim.py --data DIR --part evasion   # one of: adult, steps, german, german-age, mlp, evasion,
                                                                 # evasion-bank
    python benchmarks/target_trim.py --write                     # docs/results-targets.md, from the rows

``--data`` (or ``$GRADSIFT_DATA``) holds ``tabular_adult/``, ``tabular_german_credit/`` and ``tabular_bank_marketing/``. A
classifier is trained, the influence of its training rows on a target over *validation* rows is taken, the rows of lowest
influence are removed, the classifier is trained again, and gaps and accuracy are measured on *test* rows that nothing else
has seen. Every seed draws its own split; random trims of the same size are the control. Rows that are there are not made
again.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from frame.command import parser_of, run_seeds
from frame.page import write_page
from frame.rows import Rows, machine
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn
from torch.nn import functional

from gradsift.evaluation import estimate
from gradsift.influence import (
    Adversarial,
    DataInf,
    DemographicParity,
    EqualOpportunity,
    ExactInfluence,
    InnerProduct,
    SampleGradients,
    Utility,
)
from gradsift.tasks import BinaryClassification

ROWS = Rows("target_trim.jsonl", key=("part", "seed"))
SEEDS, SHARES, DECAY = 10, (0.01, 0.025, 0.05, 0.1), 1e-3
PARTS = ("adult", "steps", "german", "german-age", "mlp", "evasion", "evasion-bank")
TRIM_PARTS, EVASION_PARTS = PARTS[:5], PARTS[5:]
ATTACKED, TRIMMED = 0.25, 0.025
STEPS, STEPPED, MOST = 10, 0.05, 0.1
OLDER = 25
"""German credit: older applicants are those over this age (Kamiran and Calders, 2009)."""
TARGETS = ("equal opportunity (loss)", "equal opportunity (probability)", "demographic parity", "utility")
QUIET = {"show_progress": False}


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


def load(arguments: argparse.Namespace, name: str, seed: int) -> tuple[TableRows, TableRows, TableRows]:
    """Training, validation and test rows; scaled by what the training rows show."""
    generator = np.random.default_rng([seed, 60])
    if name.startswith("german"):
        table = pq.read_table(arguments.data / "tabular_german_credit" / "all.parquet")
        table = table.take(pa.array(generator.permutation(len(table))))
        parts = [table.slice(0, 500), table.slice(500, 250), table.slice(750)]
        wanted = 0  # a good credit
    elif name == "bank":
        whole = pq.read_table(arguments.data / "tabular_bank_marketing" / "bank_full.parquet")
        whole = whole.take(pa.array(generator.permutation(len(whole))))
        parts = [whole.slice(0, 10_000), whole.slice(10_000, 5_000), whole.slice(15_000)]
        wanted = 1  # a deposit
    else:
        whole = pq.read_table(arguments.data / "tabular_adult" / "train.parquet")
        whole = whole.take(pa.array(generator.permutation(len(whole))))
        parts = [whole.slice(0, 10_000), whole.slice(10_000, 5_000)]
        parts.append(pq.read_table(arguments.data / "tabular_adult" / "test.parquet"))
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
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
        for _ in range(8):
            for part in torch.randperm(len(rows.y)).split(128):
                loss = functional.binary_cross_entropy_with_logits(model(rows.x[part])[:, 0], rows.y[part])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return model.eval()
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


def target_of(name: str, rows: TableRows) -> Any:
    if name == "utility":
        return Utility(rows.samples)
    if name == "demographic parity":
        return DemographicParity(rows.samples, rows.group)
    return EqualOpportunity(rows.samples, rows.group, quantity="loss" if "loss" in name else "probability")


def methods_of(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {"inner product": InnerProduct(), "DataInf": DataInf()}
    if kind == "logistic":
        found["exact Hessian"] = ExactInfluence(damping=DECAY)
    return found


def run_trims(arguments: argparse.Namespace, part: str, seed: int) -> dict[str, Any]:
    kind = "mlp" if part == "mlp" else "logistic"
    training, validation, test = load(arguments, part if part.startswith("german") else "adult", seed)
    model = train(training, kind, seed)
    found: dict[str, Any] = {"no trim": measures(model, test)}
    store = SampleGradients(model, training.samples, task="binary", **QUIET)
    generator = np.random.default_rng([seed, 61])
    shuffled = generator.permutation(len(training.y))
    orders = {("random", "random"): shuffled}
    for title, method in methods_of(kind).items():
        fitted = method.fit_gradients(store)
        for target in TARGETS:
            orders[title, target] = np.argsort(fitted.influence(target_of(target, validation)), kind="stable")
    held = measures(model, validation)
    for (title, target), order in orders.items():
        tried = {}
        for share in SHARES:
            other = train(training.at(np.sort(order[round(share * len(order)) :])), kind, seed)
            found[f"{title} / {target} / {share}"] = measures(other, test)
            tried[share] = measures(other, validation)
        if target in TARGETS[:3]:
            own = "demographic parity" if target == "demographic parity" else "equal opportunity"
            cheap = {s: one for s, one in tried.items() if one["accuracy"] >= held["accuracy"] - 1}
            best = min(cheap, key=lambda share: cheap[share][own], default=None)
            chosen = f"{title} / {target} / {best}"
            found[f"{title} / {target} / chosen"] = found[chosen if best is not None else "no trim"]
    return found


def run_steps(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Two ways not to go past zero: small steps with new influence after each, and a stop at the predicted zero."""
    training, validation, test = load(arguments, "adult", seed)
    model = train(training, "logistic", seed)
    size = len(training.y)
    shuffled = np.random.default_rng([seed, 61]).permutation(size)
    random = train(training.at(np.sort(shuffled[round(STEPPED * size) :])), "logistic", seed)
    found: dict[str, Any] = {"no trim": measures(model, test), f"random / random / {STEPPED}": measures(random, test)}
    for title, wanted in (("inner product", TARGETS[:3]), ("exact Hessian", TARGETS[:2])):
        for name in wanted:
            kept, current, target = np.arange(size), model, target_of(name, validation)
            for _ in range(STEPS):
                store = SampleGradients(current, training.at(kept).samples, task="binary", **QUIET)
                influence = methods_of("logistic")[title].fit_gradients(store).influence(target)
                lowest = np.argsort(influence, kind="stable")[: round(STEPPED * size / STEPS)]
                kept = np.delete(kept, lowest)
                current = train(training.at(kept), "logistic", seed)
            found[f"{title}, {STEPS} steps / {name} / {STEPPED}"] = measures(current, test)
    store = SampleGradients(model, training.samples, task="binary", **QUIET)
    exact = methods_of("logistic")["exact Hessian"].fit_gradients(store)
    for name in TARGETS[:3]:
        target = target_of(name, validation)
        influence = exact.influence(target)
        order = np.argsort(influence, kind="stable")[: round(MOST * size)]
        falls = np.cumsum(-influence[order]) / size
        count = min(int(np.searchsorted(falls, target.value(model, BinaryClassification()))) + 1, len(order))
        other = train(training.at(np.delete(np.arange(size), order[:count])), "logistic", seed)
        found[f"exact Hessian / {name} / predicted"] = measures(other, test) | {"removed": count / size}
    return found


@torch.no_grad()
def right_share(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    return 100 * float(((model(x)[:, 0] > 0) == (y == 1)).float().mean())


def run_evasion(arguments: argparse.Namespace, part: str, seed: int) -> dict[str, Any]:
    """The attack of Chhabra et al. on a quarter of the points; trim by influence on the attacked ones, refit."""
    training, validation, test = load(arguments, "bank" if part == "evasion-bank" else "adult", seed)
    model, task = train(training, "logistic", seed), BinaryClassification()
    generator = np.random.default_rng([seed, 62])

    def attacked(rows: TableRows, against: nn.Module, places: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = rows.at(places)
        moved, _ = Adversarial(chosen.samples, attack="linear").batch(against, task, np.arange(len(places)))
        return moved, chosen.y

    hit = {n: generator.choice(len(r.y), round(ATTACKED * len(r.y)), replace=False) for n, r in
           (("validation", validation), ("test", test))}  # fmt: skip
    on_test = attacked(test, model, hit["test"])
    targets = {
        "attacked validation points": attacked(validation, model, hit["validation"]),
        "attacked test points": on_test,
    }
    store = SampleGradients(model, training.samples, task="binary", **QUIET)
    found: dict[str, Any] = {}

    def note(name: str, other: nn.Module) -> None:
        again = attacked(test, other, hit["test"])
        found[name] = {
            "clean": right_share(other, test.x, test.y), "attacked": right_share(other, *on_test),
            "attacked anew": right_share(other, *again),
        }  # fmt: skip

    note("no trim", model)
    count = round(TRIMMED * len(training.y))
    note("random", train(training.at(np.sort(generator.permutation(len(training.y))[count:])), "logistic", seed))
    for title, method in methods_of("logistic").items():
        fitted = method.fit_gradients(store)
        for name, target in targets.items():
            order = np.argsort(fitted.influence(target), kind="stable")
            note(f"{title} / {name}", train(training.at(np.sort(order[count:])), "logistic", seed))
    return found


def run_part(arguments: argparse.Namespace, part: str, seed: int) -> None:
    if ROWS.have(part=part, seed=seed):
        return
    started = time.perf_counter()
    if part in EVASION_PARTS:
        found = run_evasion(arguments, part, seed)
    else:
        found = run_steps(arguments, seed) if part == "steps" else run_trims(arguments, part, seed)
    seconds = time.perf_counter() - started
    ROWS.add({"part": part, "seed": seed, "arms": found, "seconds": seconds, "machine": machine()})
    print(f"{part}, seed {seed}: {seconds:.0f} s", flush=True)


def differences(rows: list[dict[str, Any]], arm: str, other: str, measure: str) -> Any:
    return estimate([row["arms"][arm][measure] - row["arms"][other][measure] for row in rows])


def mean(rows: list[dict[str, Any]], arm: str, measure: str) -> float:
    return float(np.mean([row["arms"][arm][measure] for row in rows]))


def signed_gap(rows: list[dict[str, Any]], arm: str) -> float:
    return mean(rows, arm, next(measure for measure in rows[0]["arms"][arm] if " less " in measure))


def own_gap(target: str) -> str:
    return "demographic parity" if target == "demographic parity" else "equal opportunity"


def removed_of(rows: list[dict[str, Any]], arm: str) -> str:
    share = arm.split(" / ")[2]
    if share == "chosen":
        return "chosen on validation"
    if share == "predicted":
        return f"until the predicted zero, {100 * mean(rows, arm, 'removed'):.1f} % on average"
    return f"{100 * float(share):g} %"


def random_of(arm: str) -> str | None:
    """The random trim of the same size; none where the size differs from seed to seed."""
    share = arm.split(" / ")[2]
    return None if share in ("chosen", "predicted") else f"random / random / {share}"


def trims_section(rows: list[dict[str, Any]], part: str) -> list[str]:
    titles = {
        "adult": "Adult, logistic regression, women and men",
        "steps": "Adult, not going past zero",
        "german": "German credit, logistic regression, women and men",
        "german-age": f"German credit, logistic regression, older than {OLDER} and not",
        "mlp": "Adult, a network of 32 hidden units, women and men",
    }
    before = {m: estimate([row["arms"]["no trim"][m] for row in rows]) for m in MEASURES}
    lines = [
        f"## {titles[part]}", "", *([STEPS_TEXT, ""] if part == "steps" else []),
        *([NOISE, ""] if part.startswith("german") else []),
        f"{len(rows)} seeds. Without a trim: accuracy {before['accuracy']} %, gap in true positive rate "
        f"{before['equal opportunity']} points, in loss {before['equal opportunity in loss']} hundredths of a nat, in "
        f"positive predictions {before['demographic parity']} points. Machine: {rows[0]['machine']}, "
        f"{np.mean([row['seconds'] for row in rows]):.0f} seconds a seed.", "",
        "| method | target | removed | gap in true positive rate | against random | gap in loss | gap in positive "
        "predictions | accuracy | target's gap, relative |", "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for arm in rows[0]["arms"]:
        if arm == "no trim":
            continue
        method, target, _ = arm.split(" / ")
        cells = {m: str(differences(rows, arm, "no trim", m)) for m in MEASURES}
        if signed_gap(rows, "no trim") * signed_gap(rows, arm) < 0:
            cells["equal opportunity"] += " (reversed)"
        control = random_of(arm)
        against = "–"
        if control is not None and method != "random":
            against = str(differences(rows, arm, control, "equal opportunity"))
        relative = "–"
        if target in TARGETS[:3]:
            change = mean(rows, arm, own_gap(target)) / mean(rows, "no trim", own_gap(target)) - 1
            relative = f"{100 * change:+.0f} %"
        lines.append(
            f"| {method} | {target if target != 'random' else '–'} | {removed_of(rows, arm)} "
            f"| {cells['equal opportunity']} | {against} | {cells['equal opportunity in loss']} "
            f"| {cells['demographic parity']} | {cells['accuracy']} | {relative} |"
        )
    return [*lines, "", against_random(rows), ""]


def against_random(rows: list[dict[str, Any]]) -> str:
    """How many trims of a fixed size change the gap in true positive rate more than a random trim does."""
    arms = [arm for arm in rows[0]["arms"] if arm.split(" / ")[1:2] and arm.split(" / ")[1] in TARGETS[:3]]
    signs = [
        differences(rows, arm, control, "equal opportunity").sign
        for arm in arms
        if (control := random_of(arm)) is not None
    ]
    return (
        f"Against a random trim of the same size, {signs.count(-1)} of the {len(signs)} trims of fixed size toward "
        f"fairness narrow the gap in true positive rate, {signs.count(1)} widen it, and of {signs.count(0)} the "
        "interval holds zero (intervals are not corrected for their number)."
    )


def goal_section(rows: list[dict[str, Any]], steps: list[dict[str, Any]]) -> list[str]:
    """Every arm toward equal opportunity on Adult of 5 % or with a rule for the size, and whether it reaches the goal."""
    lines, counts = [], {"at 5 %": [], "with a rule for the size": []}
    for some in (rows, steps):
        for arm in some[0]["arms"] if some else []:
            if "equal opportunity" not in arm or not arm.endswith(("/ 0.05", "/ chosen", "/ predicted")):
                continue
            cut = 1 - mean(some, arm, "equal opportunity") / mean(some, "no trim", "equal opportunity")
            change = differences(some, arm, "no trim", "equal opportunity")
            cost = differences(some, arm, "no trim", "accuracy")
            reached = cut >= 0.3 and cost.mean >= -1
            counts["at 5 %" if arm.endswith("0.05") else "with a rule for the size"].append(reached)
            method, target, _ = arm.split(" / ")
            past = signed_gap(some, "no trim") * signed_gap(some, arm) < 0
            lines.append(
                f"| {method} | {target} | {removed_of(some, arm)} | {change} | {-100 * cut:+.0f} % | {cost} "
                f"| {'yes' if past else 'no'} | {'yes' if reached else 'no'} |"
            )
    told = "; ".join(f"{name} {sum(one)} of {len(one)}" for name, one in counts.items() if one)
    return [
        "## The goal", "",
        "Trimming 5 % toward equal opportunity on Adult was to cut the gap in true positive rate by at least 30 % for at "
        f"most one point of accuracy (logistic regression; means over seeds). Trims that reach it: {told}. *Past zero*: "
        "the trim turned the gap around, so that the other group is behind now.", "",
        "| method | target | removed | gap in true positive rate | relative | accuracy | past zero | reached |",
        "|---|---|---|---|---|---|---|---|", *lines, "",
        *reading(rows), "",
    ]  # fmt: skip


def reading(rows: list[dict[str, Any]]) -> list[str]:
    """What the smallest trims do, and what trimming toward utility does instead."""
    before = mean(rows, "no trim", "equal opportunity")
    small = [
        f"{title} {100 * (mean(rows, f'{title} / {target} / 0.01', 'equal opportunity') / before - 1):+.0f} % ({target})"
        for target in TARGETS[:2]
        for title in methods_of("logistic")
    ]
    aside = [
        f"{title} {differences(rows, f'{title} / utility / 0.05', 'no trim', 'accuracy')} points of accuracy and "
        f"{differences(rows, f'{title} / utility / 0.05', 'no trim', 'equal opportunity')} of the gap"
        for title in methods_of("logistic")
    ]
    return [f"The first 1 % changes the gap by: {'; '.join(small)}. "
            f"For comparison, 5 % toward utility changes: {'; '.join(aside)}."]  # fmt: skip


def evasion_section(rows: list[dict[str, Any]], part: str) -> list[str]:
    name = "Bank marketing" if part == "evasion-bank" else "Adult"
    lines = [
        f"## Evasion defence, {name}", "", *([EVASION, ""] if part == "evasion" else []),
        f"{len(rows)} seeds, logistic regression. Machine: {rows[0]['machine']}, "
        f"{np.mean([row['seconds'] for row in rows]):.0f} seconds a seed.", "",
        "| trim by | target | clean test points | attacked | attacked, against random | attacked anew |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    best = ("", -np.inf)
    for arm in rows[0]["arms"]:
        method, _, target = arm.partition(" / ")
        cells = [str(estimate([row["arms"][arm][m] for row in rows])) for m in ("clean", "attacked", "attacked anew")]
        against = "–" if arm in ("no trim", "random") else str(differences(rows, arm, "random", "attacked"))
        lines.append(f"| {method} | {target or '–'} | {cells[0]} | {cells[1]} | {against} | {cells[2]} |")
        if "validation" in arm:
            best = max(best, (method, mean(rows, arm, "attacked")), key=lambda one: one[1])
    arm = f"{best[0]} / attacked validation points"
    lines += [
        "",
        f"Chosen on validation points, {best[0]} does most: the attacked points go from "
        f"{mean(rows, 'no trim', 'attacked'):.1f} to {best[1]:.1f} % for "
        f"{differences(rows, arm, 'no trim', 'clean')} points on clean ones. Of the points attacked anew the refitted "
        f"model gets {mean(rows, arm, 'attacked anew'):.1f} % right, against "
        f"{mean(rows, 'no trim', 'attacked anew'):.1f} % of the first one: an attacker who knows the new model "
        "is not stopped.",
    ]
    return [*lines, ""]


MEASURES = ("accuracy", "equal opportunity", "equal opportunity in loss", "demographic parity")

STEPS_TEXT = f"""A trim of fixed size goes past zero where the gap is small. Two attempts to stop there: {STEPS} steps of
{100 * STEPPED / STEPS:g} %, each followed by a refit and new influence (the target's sign turns where the gap does); or one
step with the exact Hessian that ends where the summed influence `-1/n sum_j I_j` equals the gap, at most {100 * MOST:g} %
of the rows."""

EVASION = f"""A quarter of the test points (the upper end of the paper's 5 to 25 %) are moved 1.3 times the distance to the
decision boundary (`Adversarial(attack='linear')`), {100 * TRIMMED:g} % of the training rows of lowest influence on the mean
loss of attacked points are removed, and the model is refitted. *Attacked test points* as the target follows the public code
of Chhabra et al. (ICLR 2024), which chooses on the points that it reports; *attacked validation points* is the honest
variant: a quarter of the validation points are attacked, and the attacked test points only reported. Figures are accuracies
in percent; *clean* are all test points, unmoved. *Attacked*: the quarter moved against the first model; *attacked anew*:
moved against the refitted one, as an attacker who knows it would. The attack turns every prediction of the model that it is
made against, so that model is as often right on attacked points as it was wrong on them before."""

NOISE = """Of 250 test rows only some tens are of the smaller group and the wanted label, so one row is worth points of the
gap, and a mean absolute gap would not be zero for a fair model either."""

PAGE_HEAD = """# Trimming toward fairness and robustness

Written by `python benchmarks/target_trim.py --write` from `benchmarks/results/target_trim.jsonl`; the rows come from
`python benchmarks/target_trim.py`. Changes are against no trim, with 95 % intervals over seeds (Student t), which draw
splits and, for the network, initialisation and order anew. Gaps are absolute; those in true positive rate (points) and in
loss (hundredths of a nat) are among rows whose label is the wanted outcome (high income, good credit). All of it is on test
rows that neither training, influence nor any choice has seen: on Adult its own test set, with 10,000 training and 5,000
validation rows drawn from its training set; on German credit 500, 250 and 250 rows. The group is among the features.
Influence is on validation rows, the lowest is removed. *Against random*: paired difference to a random trim of the same
size. *Reversed*: the mean gap in true positive rate has turned around. *Chosen on validation*: the share among the four
whose gap is smallest on validation rows, for at most one point of accuracy there; no trim where all four cost more. Seconds
were taken while the machine did other work, too.
"""


def write() -> None:
    rows = ROWS.read()
    by_part = {part: [row for row in rows if row["part"] == part] for part in PARTS}
    lines = [PAGE_HEAD]
    if by_part["adult"]:
        lines += goal_section(by_part["adult"], by_part["steps"])
    for part in TRIM_PARTS:
        if by_part[part]:
            lines += trims_section(by_part[part], part)
    for part in EVASION_PARTS:
        if by_part[part]:
            lines += evasion_section(by_part[part], part)
    write_page("results-targets.md", lines)


def main() -> None:
    parser = parser_of(__doc__, seeds=SEEDS, threads=None)
    parser.add_argument("--part", choices=PARTS, help="one part only")

    def run_seed(asked: argparse.Namespace, seed: int) -> None:
        for part in [asked.part] if asked.part else PARTS:
            run_part(asked, part, seed)

    run_seeds(parser, run_seed, write)


if __name__ == "__main__":
    main()
