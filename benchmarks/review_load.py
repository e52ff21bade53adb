"""The review server under load: 1,000,000 rows, 100,000 decisions, a tenth read twice; and 20 clients that decide at once.

    python benchmarks/review_load.py [--rows N] [--decisions N] [-o FILE]

Times are those of the server: a request and its answer within one process, without a network. Of each kind of request the
median and the 95th percentile are told, in milliseconds.
"""

import argparse
import json
import platform
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

import gradsift
from gradsift.cleaning.decision import Decision
from gradsift.cleaning.decisions import Decisions
from gradsift.review.app import make_app
from gradsift.review.desk import Desk
from gradsift.review.guard import Doors, Guard

PORT = 8765
CLASSES = 10
READ_TWICE = 0.1


def audited(folder: Path, rows: int) -> gradsift.Audit:
    generator = np.random.default_rng(0)
    true = generator.integers(0, CLASSES, rows)
    given = np.where(generator.random(rows) < 0.1, (true + 1) % CLASSES, true)
    probabilities = np.full((rows, CLASSES), 0.02, dtype=np.float32)
    probabilities[np.arange(rows), true] = 0.82
    return gradsift.audit_predictions(
        given, probabilities, contamination=0.1, output=folder / "run", out_of_fold=True, show_progress=False
    )


def decided(position: int, reviewer: str, kind: str, *, blind: bool = False) -> Decision:
    return Decision(position, str(position), f"table:{position}", reviewer, kind, milliseconds=900, blind=blind)


def client_of(desk: Desk, reviewer: str) -> TestClient:
    doors = Doors(PORT)
    origin = f"http://127.0.0.1:{PORT}"
    client = TestClient(Guard(make_app(desk), doors, loopback=True), base_url=origin)
    client.get(f"/?token={doors.new_link(reviewer)}")
    client.headers["origin"] = origin
    return client


def timed(call, times: int) -> dict[str, float]:
    taken = []
    for number in range(times):
        start = time.perf_counter()
        answer = call(number)
        taken.append(1000 * (time.perf_counter() - start))
        if answer.status_code != 200:
            raise SystemExit(f"a request failed: {answer.text}")
    return {
        "median": round(float(np.median(taken)), 2),
        "p95": round(float(np.quantile(taken, 0.95)), 2),
        "times": times,
    }


def at_once(desk: Desk, clients: int, each: int, first: int) -> dict[str, float]:
    """Clients that decide at once, in threads of their own; what was lost is counted in the file."""
    opened, before = [client_of(desk, f"reviewer {number}") for number in range(clients)], len(desk.book.decisions)
    taken, refused = [], []

    def work(number: int) -> None:
        for step in range(each):
            start = time.perf_counter()
            body = {"positions": [first + number * each + step], "kind": "drop", "milliseconds": 1000}
            refused.append(opened[number].post("/decide", json=body).status_code != 200)
            taken.append(1000 * (time.perf_counter() - start))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    lost = clients * each - (len(desk.book.decisions) - before)
    return {
        "clients": clients, "decisions": clients * each, "refused": sum(refused), "lost": lost,
        "median": round(float(np.median(taken)), 2), "a second": round(clients * each / seconds),
    }  # fmt: skip


def measure(rows: int, decisions: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        audit = audited(Path(folder), rows)
        found: dict = {"machine": f"{platform.machine()}, {platform.system()}", "rows": rows, "decisions": decisions}
        with Decisions.open(audit.run.path) as file:
            start = time.perf_counter()
            for at in range(0, decisions, 1000):
                made = range(at, min(at + 1000, decisions))
                file.add([decided(position, "ann", "drop") for position in made])
                twice = made[:: round(1 / READ_TWICE)]  # of these one in ten is in conflict
                file.add(
                    [decided(position, "ben", "drop" if position % 100 else "keep", blind=True) for position in twice]
                )
            found["seconds to save them by the thousand"] = round(time.perf_counter() - start, 1)
        start = time.perf_counter()
        with Decisions.open(audit.run.path) as file:
            desk = Desk(audit, file)
            found["seconds to open"] = round(time.perf_counter() - start, 1)
            client = client_of(desk, "ann")
            queue = {"scope": "all", "limit": 50}
            found["first page (ms)"] = timed(lambda _: client.get("/queue", params=queue), 1)["median"]
            found["page (ms)"] = timed(lambda n: client.get("/queue", params=queue | {"offset": 997 * n}), 100)
            found["page of another filter each (ms)"] = timed(
                lambda n: client.get("/queue", params=queue | {"low": n / 1000}), 20
            )
            found["search (ms)"] = timed(lambda n: client.get("/queue", params=queue | {"text": f"{n}99"}), 10)
            found["card (ms)"] = timed(lambda n: client.get(f"/card/{n * 31}"), 50)
            found["header (ms)"] = timed(lambda _: client.get("/header"), 20)
            body = {"kind": "keep", "milliseconds": 900}
            found["decision (ms)"] = timed(
                lambda n: client.post("/decide", json=body | {"positions": [decisions + n]}), 200
            )
            found["undo (ms)"] = timed(lambda _: client.post("/undo", json={}), 100)
            found["at once"] = at_once(desk, 20, 20, rows // 2)
        with Decisions.open(audit.run.path) as file:
            found["decisions in the file afterwards"] = len(file)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    result = json.dumps(measure(options.rows, options.decisions), indent=2)
    print(result)
    if options.output is not None:
        options.output.write_text(result + "\n")
