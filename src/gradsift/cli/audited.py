"""An audit with the model, the data and the task that its run directory names."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from gradsift.cli.console import warn
from gradsift.cli.source import Source
from gradsift.cli.trust import Trust
from gradsift.data.files import Loaded
from gradsift.errors import DataError
from gradsift.integrations.pretrained import Pretrained
from gradsift.result import Audit
from gradsift.store import fingerprint_model
from gradsift.tasks import Task


@dataclass(frozen=True)
class Audited:
    """What a run directory stands for; see :func:`open_audited`."""

    audit: Audit
    source: Source
    pretrained: Pretrained | None
    model: nn.Module
    loaded: Loaded
    task: Task


def open_audited(run: str, trust: Trust) -> Audited:
    """Opens an audit, and loads the model and the data that it was made of.

    Args:
        run: The run directory.
        trust: Which code of its ``config.yaml`` may run.

    Returns:
        All of it.

    Raises:
        DataError: The data set or the model's weights are others than those that were audited.
    """
    audit = Audit.open(run)
    source = Source.from_config(audit.run.config.get("source", {}), trust)
    if source.device.partition(":")[0] == "mps":
        warn("This step computes in float64, which MPS has not: it runs on the CPU.")
        source = replace(source, device="cpu")
    pretrained = source.load_pretrained() if source.is_pretrained else None
    model, loaded, task = source.load(pretrained)
    audit.samples_of(loaded.dataset)
    if fingerprint_model(model) != audit.details.get("model_fingerprint"):
        raise DataError("the model is not the one that was audited (its weights differ): audit it first")
    return Audited(audit, source, pretrained, model, loaded, task)
