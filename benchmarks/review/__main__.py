"""What a review is worth, with simulated people: labels mended, and accuracy after retraining, by decisions made.

    python benchmarks/review --data DIR --cache DIR        # every regime and seed that is missing
    python benchmarks/review --write                       # docs/review.md and its plot, from the rows alone

``--data`` (or ``$GRADSIFT_DATA``) holds the data sets, ``--cache`` the features (see ``gain/features.py``). No order reads
a true label; constants of the rescoring were chosen on draws of ``aggregate`` and ``random1`` with all images and more
features.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)  # modules are imported as review.<module> and gain.<module>

from frame.command import parser_of, run_once  # noqa: E402
from frame.rows import RESULTS, add, machine, read  # noqa: E402

from review.draws import REGIMES, Draw, draw  # noqa: E402
from review.page import write  # noqa: E402
from review.people import REVIEWERS, SECONDS, confusion_of_voters, says  # noqa: E402
from review.simulate import (  # noqa: E402
    ORDERS,
    SHARES,
    TRAINED,
    accuracy_after,
    after,
    decisions_to_half,
    fixed_order,
    rescored_order,
)  # fmt: skip

ROWS = RESULTS / "review.parquet"
KEY = ("regime", "seed", "order", "reviewer")


def run(drawn: Draw, name: str, seed: int, data: Path) -> None:
    """All rows of one draw."""
    confusion, wrong = confusion_of_voters(data), drawn.given != drawn.true
    fixed = {order: fixed_order(order, drawn, seed) for order in ORDERS if order != "queue, rescored"}
    started, rows = time.perf_counter(), []
    unchanged = accuracy_after(drawn, drawn.given)
    for reviewer in REVIEWERS:
        said = says(reviewer, drawn, confusion, seed)
        for order in ORDERS:
            places = fixed[order] if order in fixed else rescored_order(drawn, said)
            labels = {share: after(drawn, places, said, share) for share in SHARES}
            trained = TRAINED[1:] if order in ("queue, rescored", "random") else ()
            slow = {share: int(drawn.ambiguous[places[: round(share * len(places))]].sum()) for share in SHARES}
            row: dict[str, Any] = {"regime": name, "seed": seed, "order": order, "reviewer": reviewer}
            row |= {
                "samples": len(wrong),
                "wrong": int(wrong.sum()),
                "to_half": decisions_to_half(drawn, places, said),
                "wrong_after": [int(((one != drawn.true) & (one >= 0)).sum()) for one in labels.values()],
                "seconds": [SECONDS * round(share * len(wrong)) for share in SHARES],
                "seconds_if_slow": [SECONDS * (round(share * len(wrong)) + slow[share]) for share in SHARES],
                "accuracy": [unchanged, *(accuracy_after(drawn, labels[share]) for share in trained)],
                "machine": machine(),
            }
            rows.append(row)
    add(ROWS, rows, KEY)
    took = time.perf_counter() - started
    told = {row["order"]: row["to_half"] for row in rows if row["reviewer"] == "perfect"}
    print(f"{time.strftime('%H:%M:%S')} {name} seed {seed}: {wrong.sum()} wrong, {told}, {took:.0f} s", flush=True)


def run_missing(arguments: argparse.Namespace) -> None:
    done = {(row["regime"], row["seed"]) for row in read(ROWS)}
    for seed in range(arguments.seeds):
        for name in arguments.regimes:
            if (name, seed) not in done:
                run(draw(arguments.data, arguments.cache, name, seed), name, seed, arguments.data)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--cache", type=Path, default=HERE.parent.parent / "runs" / "gain")
    parser.add_argument("--regimes", nargs="+", choices=list(REGIMES), metavar="REGIME", default=list(REGIMES))
    parser.add_argument("--seeds", type=int, default=5)
    run_once(parser, run_missing, write, needs=("data",))


if __name__ == "__main__":
    main()
