"""An audit with the model, the data and the task that its run directory names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from gradsift.cli.source import Source
from gradsift.data.files import Loaded
from gradsift.errors import DataError
from gradsift.integrations.pretrained import Pretrained
from gradsift.store import fingerprint_model
from gradsift.table import Audit
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


def open_audited(run: Path) -> Audited:
    """Opens an audit, and loads the model and the data that it was made of.

    Args:
        run: The run directory.

    Returns:
        All of it.

    Raises:
        DataError: The data set or the model's weights are others than those that were audited.
    """
    audit = Audit.open(run)
    source = Source.from_config(audit.run.config.get("source", {}))
    pretrained = source.load_pretrained() if source.is_pretrained else None
    model, loaded, task = source.load(pretrained)
    audit.samples_of(loaded.dataset)
    if fingerprint_model(model) != audit.details.get("model_fingerprint"):
        raise DataError("the model is not the one that was audited (its weights differ): audit it first")
    return Audited(audit, source, pretrained, model, loaded, task)
