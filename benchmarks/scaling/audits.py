"""One audit in a process of its own, and gradients with and without overlapping."""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from frame.processes import audited
from resnet20 import ResNet20
from torch import nn

import gradsift
from gradsift.gradients import Batcher
from gradsift.preparation import prepare
from gradsift.settings import AuditSettings
from gradsift.store import RunDirectory, collect
from scaling.data import Made, Pictures, arrays, images, perceptron

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
DIMENSIONS = (64, 256, 1024, 4096, 8192)
LAYERS: dict[str, Any] = {"last layer": "last", "last half": ("layer3.*", "linear.*"), "all layers": "all"}
IMAGES = 512
STEPS = {
    "preparation": ("prepare",),
    "data.fingerprint": ("fingerprint_samples",),
    "gradients.probe": ("probe",),
    "store.collect": ("collect",),
    "detectors.scores": ("detrimental_scores",),
    "cleaning.contamination": ("decide",),
    "table.build": ("build_table",),
    "geometry.memorised": ("memorised",),
    "table.notices": ("model_notices", "cut_notices"),
    "report.highlights": ("write_highlights",),
}
"""Modules with functions of the audit that are timed one by one."""


def timed_steps() -> dict[str, list[float]]:
    """Step to seconds and computing seconds, filled while an audit runs; detectors one by one."""
    spent: dict[str, list[float]] = {}

    def timing(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*arguments: Any, **keywords: Any) -> Any:
            began, computed = time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                key = f"detector {type(arguments[0]).__name__}" if name == "detrimental_scores" else name
                total = spent.setdefault(key, [0.0, 0.0])
                total[0] += time.perf_counter() - began
                total[1] += time.process_time() - computed

        return run

    for module, names in STEPS.items():
        for name in names:
            function = getattr(sys.modules[f"gradsift.{module}"], name)
            timed = timing(name, function)
            for other in [module for key, module in sys.modules.items() if key.startswith("gradsift.")]:
                if getattr(other, name, None) is function:
                    setattr(other, name, timed)
    gradsift.Audit.report = timing("report", gradsift.Audit.report)  # type: ignore[method-assign]
    return spent


def audit(job: dict[str, Any]) -> dict[str, Any]:
    """What an audit takes in this process, step by step."""
    on_images = job["part"] != "samples"
    model = ResNet20().eval() if on_images else perceptron()
    data: Any = images(job["size"]) if on_images else Made(job["size"])
    layers = job["layers"] if isinstance(job["layers"], str) else tuple(job["layers"])
    steps = timed_steps()

    def about(found: gradsift.Audit) -> dict[str, Any]:
        return {"steps": steps, "coverage": found.details["coverage"], "table_bytes": found.table.nbytes}

    return audited(model, data, about=about, layers=layers, detector="l2", projection=job["dim"])


OVERLAPS: dict[str, Callable[[], tuple[nn.Module, Any, str, int | str]]] = {
    "PNG 32 × 32, ResNet-20, last layer": lambda: (ResNet20().eval(), Pictures(1024, 32), "last", "auto"),
    "PNG 256 × 256, ResNet-20, last layer": lambda: (ResNet20().eval(), Pictures(512, 256), "last", "auto"),
    "PNG 256 × 256, ResNet-20, all layers": lambda: (ResNet20().eval(), Pictures(256, 256), "all", "auto"),
    "samples made one by one, perceptron, last layer": lambda: (perceptron(), Made(20_000), "last", "auto"),
    "samples made one by one, perceptron, all layers": lambda: (perceptron(), Made(20_000), "all", "auto"),
    "arrays, perceptron, all layers": lambda: (perceptron(), arrays(20_000), "all", "auto"),
    "arrays, ResNet-20, all layers": lambda: (ResNet20().eval(), images(256), "all", "auto"),
}


def overlap(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of all gradients in turn with and without overlapping."""
    torch.set_num_threads(job["threads"])
    model, data, layers, size = OVERLAPS[job["case"]]()
    settings = AuditSettings(layers=layers, batch_size=size)
    ready = prepare(model, data, "classification", settings)
    spent: dict[bool, list[list[float]]] = {True: [], False: []}
    for turn in range(job["rounds"] + 1):
        for on in (True, False) if turn % 2 else (False, True):
            with tempfile.TemporaryDirectory() as folder:
                run = RunDirectory.begin(Path(folder) / "run", "scaling", {"settings": settings.to_dict()})
                began, computed = time.perf_counter(), time.process_time()
                collect(
                    run, ready.gradients, ready.task, ready.samples, Batcher(ready.batch_size),
                    shard_size=ready.shard_size, show_progress=False, overlap=on,
                )  # fmt: skip
                if turn:  # the first round warms up
                    spent[on].append([time.perf_counter() - began, time.process_time() - computed])
    return {"samples": len(ready.samples), "overlapped": spent[True], "in turn": spent[False]}
