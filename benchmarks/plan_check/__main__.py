"""Is `gradsift plan` right? Its prediction against the audit that follows; and operations counted against time measured.

    python benchmarks/plan_check --data DIR --part plan --repeats 1     # 40 cases, one thread, about ten quiet minutes
    python benchmarks/plan_check --data DIR                    # both parts, three repeats; what is there is not run again
    python benchmarks/plan_check --data DIR --part plan --case "ResNet-20, all layers"
    python benchmarks/plan_check --data DIR --part operations
    python benchmarks/plan_check --write                       # docs/performance-plan.md, from the rows

``--data`` (or ``$GRADSIFT_DATA``) holds ``cifar10/``, ``sms_spam/``, ``datainf/`` and ``models/``. Part ``plan``: for every
case and repeat, `gradsift.plan` in a fresh process, then `gradsift.audit` in another; compared are seconds (of the call,
from a loaded model and data set), peak memory (the kernel's high-water mark beyond what the process held before the call)
and bytes on disk. Part ``operations``: layers of several kinds and sizes, forward pass, backward pass to the input, exact
L2 norms and projection, each timed alone, beside the operations that the page's formulas count.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # modules are imported as plan_check.<module>

from frame.command import parser_of, run_once  # noqa: E402

from plan_check import operations, page, prediction  # noqa: E402
from plan_check.cases import CASES  # noqa: E402

PARTS = {"plan": prediction.measure, "operations": operations.measure}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--part", choices=list(PARTS))
    parser.add_argument("--case", choices=list(CASES), help="only this case")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--work", choices=["plan", "audit"], help=argparse.SUPPRESS)
    arguments, _ = parser.parse_known_args()
    if arguments.work:
        print(json.dumps(prediction.answer(arguments.data, arguments.case, arguments.work)))
        return

    def measure(asked: argparse.Namespace) -> None:
        for name in [asked.part] if asked.part else PARTS:
            PARTS[name](asked)

    run_once(parser, measure, page.write, needs=("data",))


if __name__ == "__main__":
    main()
