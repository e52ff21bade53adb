"""Run by `accelerate launch` with one or two processes: trains with a recorder, then audits a fixed checkpoint."""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

import gradsift


def main(folder):
    accelerator = Accelerator(cpu=True)
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(101, 4)).astype(np.float32)
    labels = generator.integers(0, 3, 101)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    fixed = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    accelerator.prepare_model(fixed)  # wrapped as a model that is trained would be
    wrapped = gradsift.indexed((inputs, labels))
    loader = DataLoader(wrapped, batch_size=8, shuffle=True, collate_fn=wrapped.collate)
    prepared, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1), loader)
    recorder = gradsift.Recorder(prepared, (inputs, labels), layers="all", passes="both", show_progress=False)
    for _ in range(2):
        prepared.train()
        for batch in loader:
            x, y = recorder.see(batch)
            accelerator.backward(nn.functional.cross_entropy(prepared(x), y))
            optimizer.step()
            optimizer.zero_grad()
            recorder.end_step()
        recorder.end_epoch()
    recorder.finish()
    if recorder.failure is not None:
        raise SystemExit(recorder.failure)
    print(f"process {accelerator.process_index} of {accelerator.num_processes}")
    if accelerator.is_main_process:
        recorder.of_mode("train").save(folder / "train")
        recorder.of_mode("eval").save(folder / "eval")
    audit = gradsift.audit(
        fixed, (inputs, labels), layers="all", shard_size=16, batch_size=8, contamination=0.1,
        output=folder / "run", show_progress=False,
    )  # fmt: skip
    np.save(folder / f"scores-{accelerator.process_index}.npy", audit.table["score"].to_numpy())
    temporary = gradsift.audit(fixed, (inputs, labels), shard_size=16, show_progress=False)
    assert len(temporary) == 101
    if accelerator.num_processes > 1:
        with contextlib.suppress(gradsift.GradsiftError):  # a process that fails may go on, with all others
            audit_nan_at(1, fixed, inputs, labels, folder)  # in a shard of the first process
        audit_nan_at(20, fixed, inputs, labels, folder)  # in one of the second


def audit_nan_at(position, model, inputs, labels, folder):
    """Audits inputs of which one sample is NaN, and prints what the error says on this process."""
    inputs = inputs.copy()
    inputs[position] = np.nan
    try:
        gradsift.audit(model, (inputs, labels), shard_size=16, output=folder / f"bad-{position}", show_progress=False)
    except gradsift.GradsiftError as error:
        os.write(2, f"\n{type(error).__name__}: {error}\n".encode())  # at once: the other process writes there, too
        raise


main(Path(sys.argv[1]))
