"""Isolation forest over last-layer gradients, 50,000 x 5,120, from their factors: time and memory against scikit-learn's.

    python benchmarks/isolation_forest.py            # 3 rounds, some minutes, 2 GB of memory
    python benchmarks/isolation_forest.py --write    # docs/performance-forest.md, from the rows

Every job is a process of its own on one thread, one after the other; a round runs all of them in turn. Factors are drawn
anew for each round, as a classifier of 10 classes with 512 features would give them: residual = p - e_y with 10 % of the
labels wrong, features behind a ReLU with a mean per class. Seconds are of the process, not of the clock. Peak memory is
the process's largest resident set less what it was before the job, when its inputs are in place: shards are files of
2,048 rows (an audit's default), arrays and the matrix are in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROWS, PAGE = HERE / "results" / "isolation_forest.jsonl", HERE.parent / "docs" / "performance-forest.md"
SIZE, CLASSES, FEATURES, SHARD, ROUNDS = 50_000, 10, 512, 2048, 3
JOBS = (
    "gradsift, shards", "scikit-learn", "gradsift, arrays", "gradsift, matrix", "scikit-learn, another seed",
    "gradsift, 10 classes", "scikit-learn, 10 classes", "gradsift, 100 classes", "scikit-learn, 100 classes",
)  # fmt: skip


def draw(folder: Path, seed: int) -> None:
    """Writes the factors as shards and as whole files, and the given labels for 10 and for 100 classes."""
    import numpy as np

    generator = np.random.default_rng(seed)
    true = generator.integers(0, CLASSES, SIZE)
    given = np.where(generator.random(SIZE) < 0.1, generator.integers(0, CLASSES, SIZE), true)
    means = generator.normal(size=(CLASSES, FEATURES))
    features = np.maximum(0.6 * means[true] + generator.normal(size=(SIZE, FEATURES)), 0).astype(np.float32)
    logits = 0.02 * features @ means.T + generator.normal(size=(SIZE, CLASSES))
    residual = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    residual[np.arange(SIZE), given] -= 1
    for name, factor in (("residual", residual.astype(np.float32)), ("features", features)):
        np.save(folder / f"{name}.npy", factor)
        for start in range(0, SIZE, SHARD):
            np.save(folder / f"{name}-{start:06d}.npy", factor[start : start + SHARD])
    np.save(folder / "10.npy", given)
    np.save(folder / "100.npy", CLASSES * given + generator.integers(0, 10, SIZE))


def job(name: str, folder: Path, seed: int) -> dict[str, Any]:
    """Runs one job in this process: seconds of each step, peak memory in MB, scores beside."""
    import numpy as np
    from sklearn import ensemble

    from gradsift.detectors import IsolationForest, PerClass
    from gradsift.store import FactoredMatrix, ShardedArray

    whose, _, what = name.partition(", ")
    seconds: dict[str, float] = {}

    def timed(step: str, function: Any, *arguments: Any) -> Any:
        start = time.process_time()
        found = function(*arguments)
        seconds[step] = seconds.get(step, 0.0) + time.process_time() - start
        return found

    def opened(factor: str) -> Any:
        if whose == "gradsift" and what not in ("arrays", "matrix"):
            paths = sorted(folder.glob(f"{factor}-*.npy"))
            return ShardedArray(paths, [min(SHARD, SIZE - start) for start in range(0, SIZE, SHARD)])
        return np.load(folder / f"{factor}.npy")

    gradients = FactoredMatrix(opened("residual"), opened("features"))
    classes = np.load(folder / f"{what.split()[0]}.npy") if "classes" in what else None
    matrix = gradients.rows(np.arange(SIZE)) if what == "matrix" else None
    before = peak()
    if whose == "gradsift":
        read = gradients if matrix is None else matrix
        detector = (
            IsolationForest(random_state=seed) if classes is None else PerClass(IsolationForest(random_state=seed))
        )
        timed("fit", detector.fit, read, classes)
        scores = timed("score", detector.score_samples, read, classes)
    else:
        scores, state = np.empty(SIZE), seed + 1000 * what.startswith("another")
        parts = [np.arange(SIZE)] if classes is None else [np.flatnonzero(classes == c) for c in np.unique(classes)]
        for part in parts:
            rows = timed("build", gradients.rows, part)
            forest = timed("fit", ensemble.IsolationForest(random_state=state).fit, rows)
            scores[part] = timed("score", forest.score_samples, rows)
    np.save(folder / f"scores {name}.npy", scores)
    return {"seconds": seconds, "megabytes": (peak() - before) / 1e6}


def peak() -> int:
    """Largest resident set so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def agreement(folder: Path) -> dict[str, float]:
    """Spearman correlation of scores with scikit-learn's, and of scikit-learn's with those of another seed."""
    import numpy as np
    from scipy.stats import spearmanr

    def between(one: str, other: str) -> float:
        return float(spearmanr(*(np.load(folder / f"scores {name}.npy") for name in (one, other))).statistic)

    found = {name: between(name, "scikit-learn") for name in JOBS if "classes" not in name and name != "scikit-learn"}
    return found | {
        f"gradsift, {n} classes": between(f"gradsift, {n} classes", f"scikit-learn, {n} classes") for n in (10, 100)
    }


def apart(step: str, folder: str, seed: int) -> dict[str, Any]:
    """Runs a step in a process of its own: this one stays small, for a child's peak counts its parent's too."""
    command = [sys.executable, __file__, "--step", step, "--folder", folder, "--seed", str(seed)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | threads)
    return json.loads(done.stdout or "null")


def measure() -> None:
    done = {json.loads(line)["seed"] for line in ROWS.read_text().splitlines()} if ROWS.exists() else set()
    for seed in sorted(set(range(ROUNDS)) - done):
        with tempfile.TemporaryDirectory() as folder:
            apart("draw", folder, seed)
            found: dict[str, Any] = {}
            for name in JOBS:
                found[name] = apart(name, folder, seed)
                print(seed, name, found[name], flush=True)
            row = {"seed": seed, "jobs": found, "spearman": apart("agreement", folder, seed)}
        versions = f"{platform.machine()} CPU, 1 thread, Python {platform.python_version()}"
        with ROWS.open("a") as file:
            file.write(json.dumps(row | {"machine": versions}) + "\n")
        print(seed, row["spearman"], flush=True)


def middle(rows: list[dict[str, Any]], name: str, step: str) -> str:
    found = [row["jobs"][name]["seconds"].get(step, 0.0) for row in rows]
    return f"{statistics.median(found):.2f}" if any(found) else "-"


def total(row: dict[str, Any], name: str, *, build: bool = True) -> float:
    return sum(spent for step, spent in row["jobs"][name]["seconds"].items() if build or step != "build")


def write() -> None:
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()]
    lines = [
        "# What an isolation forest costs",
        "",
        "Written by `python benchmarks/isolation_forest.py --write` from `benchmarks/results/isolation_forest.jsonl`; the",
        f"rows come from `python benchmarks/isolation_forest.py`. {SIZE:,} last-layer gradients of {CLASSES} x {FEATURES} ="
        f" {CLASSES * FEATURES:,} numbers, drawn as",
        "a classifier would give them, 100 trees of 256 rows. Each job is a process of its own, on one thread",
        f"({rows[0]['machine']}); medians of {len(rows)} rounds. Seconds are of the process; memory is the largest",
        "resident set less what was held before the job: *shards* are files, *arrays* are the two factors in memory,",
        "*matrix* is the dense matrix in memory. scikit-learn's job is",
        "`IsolationForest(random_state=seed).fit(X).score_samples(X)` on the dense float32 matrix, whose building stands",
        "apart and counts in the memory. Where memory reads 0, the job took less than the making of its input before.",
        "",
        "| job | build, s | fit, s | score, s | fit + score, s | peak memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    for name in JOBS:
        steps = [middle(rows, name, step) for step in ("build", "fit", "score")]
        both = statistics.median(total(row, name, build=False) for row in rows)
        memory = statistics.median(row["jobs"][name]["megabytes"] for row in rows)
        lines.append(f"| {name} | {' | '.join(steps)} | {both:.2f} | {memory:,.0f} |")
    lines += [
        "",
        "How many times as long scikit-learn takes, median of the ratios within a round and their range; without and with",
        "the building of the matrix:",
        "",
        "| | without | with |",
        "|---|---|---|",
    ]
    for ours, theirs in (
        *((f"gradsift, {what}", "scikit-learn") for what in ("shards", "arrays", "matrix")),
        *((f"gradsift, {n} classes", f"scikit-learn, {n} classes") for n in (10, 100)),
    ):
        cells = []
        for build in (False, True):
            ratios = sorted(total(row, theirs, build=build) / total(row, ours) for row in rows)
            cells.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        if ours == "gradsift, matrix":
            cells[1] = "-"  # both have it
        lines.append(f"| {ours} | {' | '.join(cells)} |")
    lines += [
        "",
        "Spearman correlation with the scores of scikit-learn's job, which are random, too; beside it that of scikit-learn",
        "with itself under another seed:",
        "",
        "| | Spearman |",
        "|---|---|",
    ]
    for name in rows[0]["spearman"]:
        lines.append(f"| {name} | {statistics.median(row['spearman'][name] for row in rows):.3f} |")
    lines += [
        "",
        "Per class, scikit-learn's jobs form the rows of a class at a time, fit a forest to them and score them. Classes",
        "are the given labels, or the given labels with a random digit behind.",
    ]
    PAGE.write_text("\n".join(lines) + "\n")
    print(f"wrote {PAGE}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="only write the page")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write()
    elif arguments.step is None:
        measure()
    elif arguments.step == "draw":
        draw(arguments.folder, arguments.seed)
    elif arguments.step == "agreement":
        print(json.dumps(agreement(arguments.folder)))
    else:
        print(json.dumps(job(arguments.step, arguments.folder, arguments.seed)))


if __name__ == "__main__":
    main()
