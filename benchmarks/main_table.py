"""The main table: does trimming by an audit help, against random and oracle trims, on four kinds of label noise?

    python benchmarks/main_table.py --data DIR             # runs what is missing, resumable; hours on 2 cores
    python benchmarks/main_table.py --write                # writes docs/results.md from the rows

``--data`` (or ``$GRADSIFT_DATA``) holds ``cifar10/``; Fashion-MNIST is read from Debian's package, or ``--fashion DIR``.
The protocol is that of docs/protocol.md: given labels, the same shuffled recipe for every arm, last-epoch test accuracy,
the cut chosen without the test set, five seeds, paired intervals.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples"))

import cifar10n  # noqa: E402
import fashion_mnist  # noqa: E402
from frame.command import parser_of, run_seeds  # noqa: E402
from frame.page import machines, write_page  # noqa: E402
from frame.rows import Rows, machine  # noqa: E402

import gradsift  # noqa: E402
from gradsift.evaluation import detection, estimate, flip_labels  # noqa: E402

ROWS = Rows("main_table.jsonl", key=("regime", "recipe", "seed", "kind", "arm"))
SEEDS = 5
ARMS = ("no trim", "random trim", "this trim", "oracle trim")
DETECTORS = (
    "l2", "l1", "isolation_forest", "l2_per_class", "isolation_forest_per_class", "loss", "self_confidence",
    "normalized_margin", "confidence_weighted_entropy",
)  # fmt: skip
Regime = Callable[[argparse.Namespace, int], tuple[Any, Any, Any, Any]]


def fashion(kind: str) -> Regime:
    """Images, given labels, true labels, test set; the flips differ from seed to seed."""

    def load(arguments: argparse.Namespace, seed: int) -> tuple[Any, Any, Any, Any]:
        images, true = fashion_mnist.load(arguments.fashion, "train")
        given = torch.from_numpy(flip_labels(true.numpy(), 0.1, kind=kind, seed=seed))
        return images, given, true, fashion_mnist.load(arguments.fashion, "t10k")

    return load


def cifar(labels: str) -> Regime:
    """The first 10,000 images with human labels, the same in every seed."""

    def load(arguments: argparse.Namespace, _seed: int) -> tuple[Any, Any, Any, Any]:
        folder = arguments.data / "cifar10"
        images, given = cifar10n.load(folder, "train", cifar10n.COLUMN[labels], cifar10n.SLICE)
        _, true = cifar10n.load(folder, "train", "label", cifar10n.SLICE)
        return images, given, true, cifar10n.load(folder, "test", "label", 10_000)

    return load


REGIMES: dict[str, tuple[Any, Regime]] = {
    "CIFAR-10N worst, 10k, 41 %": (cifar10n, cifar("worst")),
    "Fashion-MNIST symmetric 10 %": (fashion_mnist, fashion("symmetric")),
    "CIFAR-10N aggre, 10k, 9 %": (cifar10n, cifar("aggre")),
    "Fashion-MNIST pair 10 %": (fashion_mnist, fashion("pair")),
}


def recipe_key(module: Any) -> str:
    """Rows of another recipe are not mixed in."""
    recipe = {name: getattr(module, name) for name in ("EPOCHS", "BATCH")} | {"model": str(module.make_model())}
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]


def run_seed(asked: argparse.Namespace, seed: int) -> None:
    for regime, (module, load) in REGIMES.items():
        key = recipe_key(module)
        missing = [arm for arm in ARMS if not ROWS.have(regime=regime, recipe=key, seed=seed, arm=arm)]
        if missing:
            run_regime(asked, regime, module, load, seed, missing, key)


def run_regime(
    arguments: argparse.Namespace, regime: str, module: Any, load: Regime, seed: int, missing: list[str], key: str
) -> None:
    images, given, true, test = load(arguments, seed)
    wrong = (given != true).numpy()
    common = {"regime": regime, "recipe": key, "seed": seed}

    def train_and_test(kept: np.ndarray) -> tuple[Any, float, float]:
        started = time.perf_counter()
        model = module.train((images[kept], given[kept]), seed=seed)
        return model, module.accuracy(model, test), time.perf_counter() - started

    everything = np.arange(len(given))
    model, value, seconds = train_and_test(everything)
    started = time.perf_counter()
    audit = gradsift.audit(model, (images, given), detector="l2", detectors=DETECTORS, seed=seed, show_progress=False)
    spent = time.perf_counter() - started
    flagged = audit.flagged_positions
    kept = {
        "no trim": everything,
        "random trim": np.sort(
            np.random.default_rng([seed, 20]).choice(len(given), len(given) - len(flagged), replace=False)
        ),
        "this trim": audit.kept,
        "oracle trim": np.flatnonzero(~wrong),
    }
    removed_share = np.bincount(given.numpy()[flagged], minlength=10) / np.bincount(given.numpy(), minlength=10)
    rows = [
        common | {
            "kind": "audit", "seconds": spent, "samples": len(given), "wrong": int(wrong.sum()), "flagged": len(flagged),
            "low": audit.details["contamination"]["low"], "high": audit.details["contamination"]["high"],
            "flagged_precision": float(wrong[flagged].mean()), "flagged_recall": float(wrong[flagged].sum() / wrong.sum()),
            "largest_class_share": float(removed_share.max()), "smallest_class_share": float(removed_share.min()),
            "detection": detection(audit, wrong), "machine": machine(),
        }
    ]  # fmt: skip
    for arm in missing:
        if arm != "no trim":
            _, value, seconds = train_and_test(kept[arm])
        rows.append(
            common | {"kind": "arm", "arm": arm, "accuracy": value, "seconds": seconds, "samples": len(kept[arm])}
        )
        print(f"{regime}, seed {seed}, {arm}: {value:.2f} % in {seconds:.0f} s", flush=True)
    ROWS.add(*rows)


def write() -> None:
    rows = ROWS.read()
    lines = [PAGE_HEAD]
    for regime, (module, _) in REGIMES.items():
        mine = [row for row in rows if row["regime"] == regime and row["recipe"] == recipe_key(module)]
        # A resumed seed is audited again; its last audit counts.
        audits = {row["seed"]: row for row in mine if row["kind"] == "audit"}
        values = {arm: {row["seed"]: row["accuracy"] for row in mine if row.get("arm") == arm} for arm in ARMS}
        if not audits:
            continue
        lines += section(regime, list(audits.values()), values)
    write_page("results.md", lines)


def section(regime: str, audits: list[dict[str, Any]], values: dict[str, dict[int, float]]) -> list[str]:
    def mean(name: str) -> float:
        return float(np.mean([row[name] for row in audits]))

    def paired(arm: str, control: str) -> str:
        seeds = sorted(values[arm].keys() & values[control].keys())
        return str(estimate([values[arm][seed] - values[control][seed] for seed in seeds])) if arm != control else ""

    rate = mean("wrong") / mean("samples")
    lines = [
        f"## {regime}",
        "",
        f"{len(audits)} seeds. {mean('samples'):,.0f} samples, {100 * rate:.1f} % wrong. The audit (main detector `l2`, "
        f"automatic cut) flags {mean('flagged'):,.0f} on average, says that {100 * mean('low'):.1f} % to "
        f"{100 * mean('high'):.1f} % may be wrong, and takes {mean('seconds'):.0f} s. Of the flagged "
        f"{100 * mean('flagged_precision'):.0f} % are wrong, and {100 * mean('flagged_recall'):.0f} % of the wrong are "
        f"flagged; between {100 * mean('smallest_class_share'):.0f} % and {100 * mean('largest_class_share'):.0f} % of a "
        "class is removed.",
        "",
        "| arm | test accuracy, last epoch (%) | against random trim | against no trim |",
        "|---|---|---|---|",
    ]
    for arm in ARMS:
        cells = (str(estimate(list(values[arm].values()))), paired(arm, "random trim"), paired(arm, "no trim"))
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| detector, on the same models | AUROC | average precision | precision at the true count |",
        "|---|---|---|---|",
    ]
    for name in DETECTORS:
        cells = [
            str(estimate([row["detection"][name][m] for row in audits])) for m in ("auroc", "ap", "precision_at_k")
        ]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return [*lines, "", f"Machine: {machines(audits)}.", ""]


PAGE_HEAD = """# Results

Images. [Text classification](results-text.md) and [language models](results-prompts.md) have pages of their own.

Written by `python benchmarks/main_table.py --write` from `benchmarks/results/main_table.jsonl`; the rows come from
`python benchmarks/main_table.py`. Intervals are 95 % (Student t over seeds); differences are paired by seed. Detectors
see the given labels. Networks are small and trained for few epochs (`examples/fashion_mnist.py`,
`examples/cifar10n.py`), so accuracies are below what larger ones reach; arms differ in their data alone.
"""


def main() -> None:
    parser = parser_of(__doc__, seeds=SEEDS, threads=None)
    parser.add_argument("--fashion", type=Path, default=fashion_mnist.DATA)
    run_seeds(parser, run_seed, write)


if __name__ == "__main__":
    main()
