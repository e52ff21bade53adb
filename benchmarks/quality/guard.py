"""Flagged is not harmful: which right samples of rare groups each method removes, and what holding shares costs.

The rare groups are a long tail's smallest classes, a planted rare kind within a class, or the smaller of Adult's groups of
sex and race. As many samples are removed as are wrong, once by the highest scores and once with each group losing the same
share (``gradsift.cleaning.hold.flag``). No method reads the watched groups; holding them shows what knowing them is worth.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence

import numpy as np
from frame.rows import RESULTS, Row, add, machine, read

from gradsift.cleaning.hold import flag
from gradsift.errors import GradsiftError
from gradsift.evaluation import Estimate, estimate
from quality.influence import load_model
from quality.methods import METHODS
from quality.record import Record
from quality.regimes import FULL, REGIMES, Problem
from quality.retrain import NO_TRIM, record_at
from quality.tables import Values, cell
from quality.training import evaluate, train

GUARD = RESULTS / "quality_guard.parquet"
GUARD_ACCURACY = RESULTS / "quality_guard_accuracy.parquet"
KEY = ("regime", "seed", "method", "hold")
ADULT = "people who are not white"
RARE: dict[str, str] = {
    "fashion-long-tail": "images of the four smallest classes",
    "fashion-rare-kind": "boots among the shirts, which look like another class",
    "fashion-rare-apart": "bags among the shirts, which look like no other class",
    "adult-groups": ADULT,
    "adult-symmetric-20": ADULT,
    "adult-symmetric-5": ADULT,
    "adult-class-10-30": ADULT,
}
"""The regimes that are measured, and their rare samples in words."""
WHOLE = ("fashion-long-tail", "fashion-rare-kind", "fashion-rare-apart", "adult-groups")
"""The regimes with a table, and that are trained again: their test sets hold enough of what is rare."""
HOLDS = {"class": "each given class", "group": "each watched group"}


def rare(groups: np.ndarray) -> np.ndarray:
    """Which samples belong to a group with less than half of an even share.

    Args:
        groups: Group of each sample, shape (n,).

    Returns:
        Shape (n,), boolean.
    """
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return (sizes < len(groups) / (2 * len(sizes)))[member]


def measures(flagged: np.ndarray, wrong: np.ndarray, groups: np.ndarray) -> Row:
    """Whom a removal hits.

    Args:
        flagged: Which samples are removed, shape (n,), boolean.
        wrong: Which given labels are wrong, shape (n,), boolean.
        groups: Watched group of each sample, shape (n,).

    Returns:
        ``rare_right`` and ``all_right``: the removed share of the right samples of rare groups, and of all right samples;
        ``ratio`` of the two, above 1 where the removal works against the rare groups, none where no right sample is
        removed; ``precision``; ``largest_change``: of all groups the largest relative change of a group's share in what is
        kept, as an absolute value; ``rare_samples``: how many right samples the rare groups have.
    """
    right = ~wrong
    few = right & rare(groups)
    _, member, before = np.unique(groups, return_inverse=True, return_counts=True)
    after = np.bincount(member[~flagged], minlength=len(before))
    change = after / max(1, after.sum()) / (before / before.sum()) - 1
    rare_right, all_right = (float(flagged[which].mean()) if which.any() else 0.0 for which in (few, right))
    return {
        "rare_right": rare_right, "all_right": all_right, "ratio": rare_right / all_right if all_right else None,
        "precision": float(wrong[flagged].mean()) if flagged.any() else None,
        "largest_change": float(np.abs(change).max()), "rare_samples": int(few.sum()),
    }  # fmt: skip


def holds(problem: Problem) -> dict[str, np.ndarray | None]:
    """What can be held: nothing, given classes, and the watched groups unless they are the true classes.

    Args:
        problem: The draw.

    Returns:
        Name to groups, shape (n,).
    """
    found = {"none": None, "class": np.asarray(problem.given)}
    known = problem.groups is not None and not np.array_equal(problem.groups, problem.true)
    return found | ({"group": problem.groups} if known else {})


def guard(record: Record, problem: Problem, *, again: bool = False) -> int:
    """Measures every method whose rows are missing on one record, at the true number of wrong labels.

    Args:
        record: The record.
        problem: The draw that it is of; it knows the groups.
        again: Whether rows that are there are made anew.

    Returns:
        Number of rows made.
    """
    here, held = place(record), holds(problem)
    done = {(row["method"], row["hold"]) for row in read(GUARD) if row.items() >= here.items()}
    rows: list[Row] = []
    for name, method in METHODS.items():
        if not again and all((name, hold) in done for hold in held):
            continue
        try:
            scores = method.score(record)
        except (KeyError, GradsiftError) as error:  # as in detect.py
            print(f"{here['regime']} seed {here['seed']} {name}: {error}", flush=True)
            continue
        for hold, groups in held.items():
            found = measures(flag(scores, record.about["wrong"], groups), record.wrong, problem.groups)
            rows.append(here | {"method": name, "hold": hold} | found)
    add(GUARD, rows, KEY)
    return len(rows)


def price(record: Record, problem: Problem, names: Sequence[str]) -> int:
    """Trains again without what some methods flag, plain and with shares held, and tests the rare groups by themselves.

    Each training is one row, so that a killed run goes on where it stopped. No trim is the recorded model itself.

    Args:
        record: The record.
        problem: The draw that it is of.
        names: The methods, such as ``("l2", "oracle")``.

    Returns:
        Number of rows made.
    """
    here, wrong, made = place(record), record.wrong, 0
    done = {(row["method"], row["hold"]) for row in read(GUARD_ACCURACY) if row.items() >= here.items()}
    for name in (NO_TRIM, *names):
        scores = None
        for hold, groups in holds(problem).items():
            if (name, hold) in done or (name == NO_TRIM and hold != "none"):
                continue
            started = time.process_time()
            kept = np.ones(len(wrong), dtype=bool)
            if name == NO_TRIM:
                model = load_model(record, problem)
            else:
                scores = METHODS[name].score(record) if scores is None else scores
                kept = ~flag(scores, record.about["wrong"], groups)
                model = train(
                    problem.network, problem.recipe, problem.inputs[kept], problem.given[kept], seed=here["seed"]
                )
            row = here | {"method": name, "hold": hold, "removed": int((~kept).sum()),
                          "wrong_removed": int(wrong[~kept].sum())}  # fmt: skip
            row |= tested(evaluate(model, problem.test[0])[0].argmax(axis=1), problem)
            row |= {"seconds": time.process_time() - started, "machine": machine()}
            add(GUARD_ACCURACY, [row], KEY)
            made += 1
    return made


def tested(predicted: np.ndarray, problem: Problem) -> Row:
    """Test accuracy in percent.

    Args:
        predicted: Predicted classes of the test set, shape (m,).
        problem: The draw; its test groups are known.

    Returns:
        ``accuracy`` of all, ``rare_accuracy`` of what is rare in training, ``rest_accuracy`` of the others.
    """
    right = predicted == problem.test[1]
    few = np.isin(problem.test_groups, np.unique(problem.groups[rare(problem.groups)]))
    parts = {"accuracy": slice(None), "rare_accuracy": few, "rest_accuracy": ~few}
    return {name: 100 * float(right[which].mean()) for name, which in parts.items()}


def place(record: Record) -> Row:
    """Columns that say which record a row is of."""
    return {name: record.about[name] for name in ("regime", "seed", "key")}


def guard_all(arguments: argparse.Namespace, pairs: Iterable[tuple[str, int]], priced: Sequence[str] = ()) -> None:
    """The stage: every record of the regimes in ``RARE`` that is of the same draw.

    Args:
        arguments: ``data``, ``runs`` and ``again`` of the command line.
        pairs: Regimes and seeds.
        priced: Methods to train with, in the regimes of ``WHOLE``.
    """
    for name, seed in pairs:
        found = record_at(arguments.runs, name, seed) if name in RARE else None
        if found is None:
            continue
        problem = (REGIMES | FULL)[name].load(arguments.data, seed)
        if found.about["key"] != problem.key:
            print(f"{name} seed {seed}: the record is of another draw; record it again", flush=True)
            continue
        made = guard(found, problem, again=arguments.again)
        trained = price(found, problem, priced) if name in WHOLE else 0
        print(f"{time.strftime('%H:%M:%S')} {name} seed {seed}: {made} rows, {trained} trainings", flush=True)


def in_order(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by regime, in the regimes' order."""
    return {name: found for name in RARE if (found := [row for row in rows if row["regime"] == name])}


def against(held: Values, plain: Values, regime: str, method: str) -> Estimate | None:
    """What holding changes, paired by seed."""
    first, second = held.of(regime, method), plain.of(regime, method)
    found = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    return estimate(found) if found else None


def guard_lines(rows: Sequence[Row]) -> list[str]:
    """What holding does in each regime, and tables in those of ``WHOLE``; methods that remove least of what is rare first.

    Args:
        rows: Rows of :func:`guard`.

    Returns:
        Lines of Markdown.
    """
    lines: list[str] = []
    for regime, mine in in_order(rows).items():
        few = np.mean([row["rare_samples"] for row in mine])
        lines += [f"## {REGIMES[regime].words}: {RARE[regime]}", "", f"{few:,.0f} right samples are rare.", ""]
        for hold in [hold for hold in HOLDS if any(row["hold"] == hold for row in mine)]:
            found = guard_table(mine, regime, hold)
            lines += [*(found if regime in WHOLE else found[:1]), ""]
    return lines


def guard_table(rows: Sequence[Row], regime: str, hold: str) -> list[str]:
    """Every method in one regime, plain and with one kind of shares held.

    Args:
        rows: Rows of the regime.
        regime: Its name.
        hold: A name in ``HOLDS``.

    Returns:
        A sentence that counts, and the table.
    """
    columns = ("rare_right", "all_right", "ratio", "precision", "largest_change")
    plain, held = (
        {column: Values([row for row in rows if row["hold"] == one], column) for column in columns}
        for one in ("none", hold)
    )
    names = sorted(
        (name for name in METHODS if held["rare_right"].of(regime, name)),
        key=lambda name: plain["rare_right"].mean(regime, name),
    )

    def percent(values: Values, name: str) -> str:
        return cell(estimate([100 * one for one in values.of(regime, name).values()]), 1) + " %"

    lines = [
        "| method | right but rare removed | all right removed | ratio | precision | largest change of a group's share "
        "| held: right but rare removed | all right removed | ratio | precision | against plain "
        "| largest change of a group's share |",
        "|---" * 12 + "|",
    ]
    changes = {name: against(held["rare_right"], plain["rare_right"], regime, name) for name in names}
    prices = {name: against(held["precision"], plain["precision"], regime, name) for name in names}
    for name in names:
        cells = [METHODS[name].words]
        for part in (plain, held):
            cells += [percent(part[column], name) for column in ("rare_right", "all_right")]
            cells += [cell(part["ratio"].estimate(regime, name), 2), cell(part["precision"].estimate(regime, name))]
            cells += [cell(prices[name], sign="+")] if part is held else []
            cells.append(percent(part["largest_change"], name))
        lines.append(f"| {' | '.join(cells)} |")
    methods = [name for name in names if METHODS[name].information != "control"]
    if not methods:
        return []
    above = sum(plain["ratio"].mean(regime, name) > 1 for name in methods)
    fewer, more = (
        sum(one is not None and side * one.mean < 0 for one in map(changes.get, methods)) for side in (1, -1)
    )
    paid = sorted(100 * one.mean for name in methods if (one := prices[name]) is not None)
    return [
        f"Of {len(methods)} methods {above} remove a larger share of the right but rare samples than of all right ones, in "
        f"the mean over seeds. With the share of {HOLDS[hold]} held, {fewer} remove fewer of them and {more} more; "
        f"precision changes by {np.median(paid):+.1f} points in the median ({paid[0]:+.1f} to {paid[-1]:+.1f}).",
        "",
        *lines,
    ]


def price_lines(rows: Sequence[Row]) -> list[str]:
    """Test accuracy after plain and held trims, of all and of what is rare.

    Args:
        rows: Rows of :func:`price`.

    Returns:
        Lines of Markdown.
    """
    columns = ("accuracy", "rare_accuracy", "rest_accuracy")
    lines = [
        "| regime | removed by | shares held of | test accuracy (%) | of the rare groups | of the others "
        "| against plain: all | the rare groups | the others |",
        "|---" * 9 + "|",
    ]
    for regime, mine in in_order(rows).items():
        by_hold = {
            hold: {column: Values([row for row in mine if row["hold"] == hold], column) for column in columns}
            for hold in ("none", *HOLDS)
        }
        for method in dict.fromkeys([NO_TRIM, *(row["method"] for row in mine)]):
            for hold, values in by_hold.items():
                if not values["accuracy"].of(regime, method):
                    continue
                cells = [cell(values[column].estimate(regime, method), 2) for column in columns]
                cells += [
                    "" if hold == "none" else cell(against(values[c], by_hold["none"][c], regime, method), 2, "+")
                    for c in columns
                ]
                words = METHODS[method].words if method in METHODS else method
                lines.append(f"| {regime} | {words} | {HOLDS.get(hold, '')} | {' | '.join(cells)} |")
    return lines
