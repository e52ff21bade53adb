"""What a whole audit costs, stage by stage, beside a forward pass over the data and an epoch of training.

    python benchmarks/whole_audit.py --case images --data DIR --device cuda      # 50,000 images of CIFAR-10, ResNet-18
    python benchmarks/whole_audit.py --case tables --size 1000000                # rows of ten numbers, a perceptron
    python benchmarks/whole_audit.py --case images --size 200 --small            # made-up images; tries the benchmark
    python benchmarks/whole_audit.py --write                                     # docs/performance-job.md, from the rows

Images are decoded as they are read, or lie decoded in memory; the difference says how much of the reading is hidden behind
the computing. Models are trained for one epoch, which is timed. Peak memory is the kernel's high-water mark beyond what the
process holds before the audit, and on a GPU the allocator's.
"""

from __future__ import annotations

import argparse
import gc
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from frame.command import parser_of, run_once
from frame.memory import kilobytes, reset_peak
from frame.page import machines, markdown_table, write_page
from frame.rows import Row, Rows, machine
from frame.training import train_epochs
from PIL import Image
from speed.models import resnet
from torch import Tensor, nn
from torch.nn import functional

import gradsift
from gradsift.data import Samples

ROWS = Rows("whole_audit.jsonl", key=("case", "layers", "size", "machine"))
BATCH = 256
"""Samples a batch of training and of the plain forward pass."""
STAGES = ("prepare", "gradients", "scores", "report")
DECODED, IN_MEMORY, TABLES = "images, decoded as they are read", "images in memory", "rows of ten numbers"
Made = tuple[nn.Module, Any, tuple[Tensor, Tensor]]
"""A model, its data set as it is audited, and the same in memory."""


class Encoded(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images that are decoded as they are read.

    Args:
        contents: Image files as bytes.
        labels: Class numbers.
    """

    def __init__(self, contents: list[bytes], labels: np.ndarray) -> None:
        self._contents, self.labels = contents, labels
        self.classes = tuple(map(str, range(10)))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        pixels = np.asarray(Image.open(io.BytesIO(self._contents[position])).convert("RGB"), dtype=np.float32)
        return torch.from_numpy((pixels - 120) / 64).permute(2, 0, 1).contiguous(), int(self.labels[position])


def images(asked: argparse.Namespace) -> list[tuple[str, Made]]:
    """CIFAR-10 with human labels, twice: decoded as they are read, and in memory."""
    with tempfile.TemporaryDirectory() as folder:
        if asked.small:
            from pack_images import make_up

            make_up(Path(folder))
        place = Path(folder) if asked.small else asked.data
        table = pq.read_table(place / "cifar10" / "train.parquet", columns=["image", "n_aggre_label"])
    table = table.slice(0, asked.size or len(table))
    contents = [cell["bytes"] if isinstance(cell, dict) else cell for cell in table["image"].to_pylist()]
    encoded = Encoded(contents, table["n_aggre_label"].to_numpy().astype(np.int64))
    pixels = torch.stack([encoded[place][0] for place in range(len(encoded))])
    held = pixels, torch.from_numpy(encoded.labels.copy())
    torch.manual_seed(0)
    model = resnet(64, 8 if asked.small else 64, (1, 1) if asked.small else (2, 2, 2, 2)).model
    return [(IN_MEMORY, (model, held, held)), (DECODED, (model, encoded, held))]


def tables(asked: argparse.Namespace) -> list[tuple[str, Made]]:
    """Rows of ten numbers in two overlapping classes, one label in ten wrong."""
    generator = torch.Generator().manual_seed(0)
    size = asked.size or 1_000_000
    rows = torch.randn(size, 10, generator=generator)
    labels = (rows[:, :3].sum(dim=1) + 0.5 * torch.randn(size, generator=generator) > 0).long()
    labels = torch.where(torch.rand(size, generator=generator) < 0.1, 1 - labels, labels)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    return [(TABLES, (model, (rows, labels), (rows, labels)))]


CASES: dict[str, Callable[[argparse.Namespace], list[tuple[str, Made]]]] = {"images": images, "tables": tables}


def timed(run: Callable[[], Any], device: str) -> float:
    """Seconds of a call, with what it has started on the device."""
    synchronise(device)
    began = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - began


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def epoch(model: nn.Module, held: tuple[Tensor, Tensor], device: str) -> None:
    """One epoch of training from memory."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def loss(rows: Tensor) -> Tensor:
        return functional.cross_entropy(model(held[0][rows].to(device)), held[1][rows].to(device))

    train_epochs(model, optimizer, loss, len(held[1]), epochs=1, batch=BATCH)


@torch.no_grad()
def forward(model: nn.Module, held: tuple[Tensor, Tensor], device: str) -> None:
    """One forward pass from memory."""
    for part in held[0].split(BATCH):
        model(part.to(device))


def read_all(data: Any) -> None:
    """Reads every sample once."""
    samples = Samples(data)
    for start in range(0, len(samples), BATCH):
        samples.batch(np.arange(start, min(start + BATCH, len(samples))))


def measure(asked: argparse.Namespace) -> None:
    """Makes the rows of one case."""
    for name, (model, data, held) in CASES[asked.case](asked):
        model.to(asked.device)
        first = held[0][:BATCH], held[1][:BATCH]
        epoch(model, first, asked.device)  # what a device needs once
        forward(model, first, asked.device)
        plain = {"epoch": timed(lambda m=model, h=held: epoch(m, h, asked.device), asked.device)}
        plain["forward"] = timed(lambda m=model, h=held: forward(m, h, asked.device), asked.device)
        plain["reading"] = timed(lambda d=data: read_all(d), "cpu")
        for layers in asked.layers:
            where = machine(asked.device, asked.threads)
            here = {"case": name, "layers": layers, "size": len(held[1]), "machine": where}
            if not ROWS.have(**here):
                ROWS.add(here | plain | audited(model, data, layers, asked.device))
                print(ROWS.having(**here)[0], flush=True)


def audited(model: nn.Module, data: Any, layers: str, device: str) -> Row:
    """An audit with a run directory and a page."""
    gc.collect()
    reset_peak()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    before = kilobytes("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        began, computing = time.perf_counter(), time.process_time()
        audit = gradsift.audit(model, data, layers=layers, output=Path(folder) / "run", show_progress=False)
        total, computing = time.perf_counter() - began, time.process_time() - computing
        timing = audit.run.read_json("timing.json")
    row: Row = {"total": total, "stages": timing["seconds"], "batch": timing["final_batch_size"],
                "computing": computing}  # fmt: skip
    row |= {"flagged": int(audit.table["flagged"].to_numpy().sum()), "megabytes": (kilobytes("VmHWM") - before) / 1024}
    if device.startswith("cuda"):
        row["gpu_megabytes"] = torch.cuda.max_memory_allocated() / 2**20
    return row


HEAD = """# Speed of the whole job

Written by `python benchmarks/whole_audit.py --write` from `benchmarks/results/whole_audit.jsonl`. An audit with its run
directory and its page; seconds by stage, beside a forward pass and an epoch of training on the same data in memory.
*Around*: all but the passes, as a share of a forward pass. *Hidden*: how much of the reading passes while gradients are
computed, of what could. *Computing*: seconds of all threads together; where they are far fewer than those of the clock,
other work ran on the machine."""


def page() -> list[str]:
    """The page from the rows."""
    rows = ROWS.some()
    lines = [HEAD, ""]
    columns = ("data", "layers", "samples", "an epoch (s)", "forward (s)", *(f"{stage} (s)" for stage in STAGES), "all (s)",
               "computing (s)", "all, in epochs", "around", "peak (MiB)", "hidden", "machine")  # fmt: skip
    cells = []
    for row in rows:
        around = (row["total"] - row["stages"]["gradients"]) / row["forward"]
        cells.append((
            row["case"], row["layers"], f"{row['size']:,}", f"{row['epoch']:.1f}", f"{row['forward']:.1f}",
            *(f"{row['stages'].get(stage, 0):.1f}" for stage in STAGES), f"{row['total']:.1f}",
            f"{row['computing']:.1f}" if "computing" in row else "", f"{row['total'] / row['epoch']:.2f}",
            f"{around:.2f}", f"{row['megabytes']:,.0f}", hidden(row, rows), row["machine"],
        ))  # fmt: skip
    return [*lines, *markdown_table(columns, cells), "", f"Machines: {machines(rows)}."]


def hidden(row: Row, rows: list[Row]) -> str:
    """Share of the reading that passes behind the computing; empty where data lie in memory."""
    alike = ("layers", "size", "machine")
    held = [one for one in rows if one["case"] == IN_MEMORY and all(one[name] == row[name] for name in alike)]
    if row["case"] != DECODED or not held:
        return ""
    computing, reading = held[0]["stages"]["gradients"], row["reading"]
    saved = computing + reading - row["stages"]["gradients"]
    return f"{100 * saved / min(computing, reading):.0f} %"


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("--case", choices=CASES, default="images")
    parser.add_argument("--size", type=int, help="samples; all images, or a million rows, where left out")
    parser.add_argument("--layers", nargs="+", default=["last", "all"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--small", action="store_true", help="made-up images and a small network; no page")
    small = parser.parse_args().small
    run_once(parser, measure, lambda: None if small else write_page("performance-job.md", page()))
