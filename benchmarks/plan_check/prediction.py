"""Part on the plan: prediction and truth, each in a process of its own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from frame.processes import Spent, answer_of, audited
from frame.rows import Rows, machine

import gradsift
from gradsift.settings import AuditSettings
from plan_check.cases import CASES

ROWS = Rows("plan_check.jsonl", key=("part", "case", "repeat"))


def answer(data: Path, case: str, work: str) -> dict[str, Any]:
    """What the plan says, or what the audit takes, in this process."""
    torch.manual_seed(0)
    model, train_set, asked = CASES[case](data)
    if work == "plan":
        task, plan_of = asked.pop("task", "classification"), gradsift.plan  # loads it
        spent = Spent()
        plan = plan_of(model, train_set, task=task, settings=AuditSettings(**asked)).to_dict()
        seconds = spent.seconds()
        return plan | {"took": seconds["seconds"], "computing": seconds["computing"]}
    found = audited(model, train_set, about=lambda _: {}, **asked)
    names = {"peak_bytes": "memory_bytes", "shard_bytes": "disk_bytes", "other_bytes": "table_bytes"}
    return {names.get(name, name): value for name, value in found.items() if name != "files"}


def measure(asked: argparse.Namespace) -> None:
    """Plans and audits every case that is missing."""
    for repeat in range(asked.repeats):
        for case in [asked.case] if asked.case else CASES:
            if ROWS.have(part="plan", case=case, repeat=repeat):
                continue
            arguments = ["--data", str(asked.data), "--case", case, "--work"]
            plan, real = (answer_of(Path(__file__).parent, [*arguments, work]) for work in ("plan", "audit"))
            row = {"part": "plan", "case": case, "repeat": repeat, "plan": plan, "real": real}
            ROWS.add(row | {"machine": machine(threads=1)})
            ratios = ", ".join(f"{name} {value:.2f}" for name, value in ratios_of(plan, real).items())
            print(f"{case:55s} {real['seconds']:6.1f} s (plan {plan['took']:.1f} s)  {ratios}", flush=True)


def ratios_of(plan: dict[str, Any], real: dict[str, Any]) -> dict[str, float]:
    """Predicted over real."""
    disk, disk_of_real = (sizes["disk_bytes"] + sizes["table_bytes"] for sizes in (plan, real))
    computing = plan["seconds"] * min(1.0, plan["computing"] / plan["took"])
    return {
        "time": plan["seconds"] / real["seconds"],
        "computing": computing / real["computing"],
        "memory": plan["memory_bytes"] / real["memory_bytes"],
        "disk": disk / disk_of_real,
    }
