"""An audit of a model from begin to end, as a list of stages: prepare, open, collect, score, decide, tabulate, report."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gradsift.engines import CollectShards, Preparing, Sent
from gradsift.engines.neighbours import neighbours_by_shard
from gradsift.engines.parts import refuse_while_running
from gradsift.gradients import device_of, probe
from gradsift.gradients.model_state import unwrapped
from gradsift.jobs.complete import AtHand, checked_groups, complete
from gradsift.jobs.request import Clock, Request
from gradsift.preparation import Preparation, prepare
from gradsift.result import Audit
from gradsift.settled import Settled, beside_data, identity_of, signs_of
from gradsift.stages import open_run
from gradsift.store import RunDirectory
from gradsift.store.processes import leading, together
from gradsift.tasks import Task
from gradsift.trajectory import Trajectory


@dataclass(frozen=True)
class Begun:
    """A model and its data set, prepared and checked.

    Attributes:
        model: The model.
        ready: What was prepared.
        identity: All that decides what shards hold.
        settled: What completes a run.
        preparing: What workers elsewhere do before their first shard.
    """

    model: nn.Module
    ready: Preparation
    identity: dict[str, Any]
    settled: Settled
    preparing: Preparing

    def stage(self, run: RunDirectory, batch_size: int) -> CollectShards:
        """The stage that fills the shards.

        Args:
            run: The run directory.
            batch_size: Samples a batch.

        Returns:
            The stage.
        """
        return CollectShards(run, batch_size, self.preparing, self.ready)


def begun(model: nn.Module, train_set: Any, task: str | Task, trajectory: Trajectory | None, request: Request) -> Begun:
    """Prepares an audit and runs the checks that come before it.

    Args:
        model: The trained model, in eval mode.
        train_set: The data it was trained on.
        task: What a sample's loss is.
        trajectory: What was recorded along training.
        request: What is asked for.

    Returns:
        What the first shard needs.
    """
    settings, model = request.settings, unwrapped(model)
    ready = together(lambda: prepare(model, train_set, task, settings, trajectory, request.class_names))
    checked_groups(request.groups, len(ready.samples))
    beside = beside_data(model, ready, trajectory, settings)
    identity = identity_of(ready, beside)
    measured = together(lambda: probe(ready.gradients, ready.samples, ready.in_float32, batch_size=ready.batch_size))
    load = request.engine.load or Sent(model, train_set, task)
    preparing = Preparing(load, settings, signs_of(ready, beside), trajectory, request.class_names)
    return Begun(model, ready, identity, Settled.of(identity, ready, measured, _device_name(model)), preparing)


def audit_model(
    model: nn.Module, train_set: Any, task: str | Task, trajectory: Trajectory | None, request: Request
) -> Audit:
    """Runs a model over its training set and audits what it shows; an engine shares out the passes.

    Args:
        model: The trained model, in eval mode.
        train_set: The data it was trained on.
        task: What a sample's loss is.
        trajectory: What was recorded along training.
        request: What is asked for.

    Returns:
        The audit.
    """
    clock = Clock()
    with clock.stage("prepare"):
        begin = begun(model, train_set, task, trajectory, request)
    config = request.config(begin.ready.batch_size)
    with open_run(request.output, begin.identity, config, overwrite=request.overwrite) as opened:
        leading(lambda: refuse_while_running(opened.final))
        partition = begin.settled.partition
        with clock.stage("gradients"):
            stage = begin.stage(opened.run, opened.batch_size)
            shares = request.engine.map(stage, partition, show_progress=request.show_progress)
        leading(lambda: opened.run.record_shards(partition.lengths))
        with clock.stage("scores"):
            found = neighbours_by_shard(
                request.engine, opened.run, begin.settled, request.settings.seed, show_progress=request.show_progress
            )
        at_hand = AtHand(train_set, begin.model, begin.ready.task, trajectory, found)
        result = leading(lambda: complete(opened, begin.settled, at_hand, request, clock, shares))
        result = result or Audit.open(opened.final, train_set)
    opened.remove_with(result)
    return result


def _device_name(model: nn.Module) -> str:
    device = device_of(model)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine() + " CPU"
