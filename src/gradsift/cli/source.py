"""The options that say which model and which data, shared by the commands and kept in ``config.yaml``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import nn

from gradsift.data.files import Loaded, load
from gradsift.errors import SettingError
from gradsift.loading import import_object, load_model
from gradsift.tasks import Task, get_task

ModelOption = Annotated[
    str | None, typer.Option("--model", help="Import path of a function that makes the model: package.module:function.")
]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights", help="Its weights: .safetensors, or a torch.save file of a state dict.")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Training set: .npz, .csv, .parquet, or a folder of images by class.")
]
LabelOption = Annotated[
    str | None, typer.Option("--label", help="Column or array of labels; found by itself if usual.")
]
ImageOption = Annotated[str | None, typer.Option("--image", help="Parquet column of image bytes; found by itself.")]
TransformOption = Annotated[
    str | None,
    typer.Option("--transform", help="Import path: from a Pillow image to a tensor. Default: RGB in [0, 1]."),
]
IgnoreOption = Annotated[
    str | None, typer.Option("--ignore", help="Columns that are no features, with commas; id and true_label never are.")
]
TaskOption = Annotated[
    str,
    typer.Option("--task", help="classification, binary, multilabel, regression, or an import path of your own task."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")]


@dataclass(frozen=True)
class Source:
    """Where model and data come from.

    Attributes:
        model: ``module:function``.
        weights: Weights file.
        data: Data file or folder.
        label: Label column.
        image: Image column.
        transform: ``module:function`` from image to tensor.
        ignore: Columns that are no features, with commas.
        task: Name or import path of the task.
        device: Where the model runs.
    """

    model: str
    data: str
    weights: str | None = None
    label: str | None = None
    image: str | None = None
    transform: str | None = None
    ignore: str | None = None
    task: str = "classification"
    device: str = "cpu"

    @classmethod
    def from_config(cls, values: dict[str, Any]) -> Source:
        """The source that a run directory's ``config.yaml`` names.

        Args:
            values: Its ``source`` part.

        Returns:
            The source.

        Raises:
            SettingError: The run was made from Python, so a command line cannot find its model and data.
        """
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        if "model" not in known or "data" not in known:
            raise SettingError(
                "this run was made from Python, its config.yaml names no model and data files: use audit.trim, "
                "gradsift.verify and audit.report there"
            )
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``config.yaml``."""
        return asdict(self)

    def load_data(self, path: str | Path | None = None, like: Loaded | None = None) -> Loaded:
        """Reads the data set, or another file of the same layout.

        Args:
            path: Another file, such as a test set.
            like: The training set, whose numbers of classes and order of features it must follow.

        Returns:
            The data.
        """
        transform = import_object(self.transform, "--transform") if self.transform else None
        return load(
            path or self.data,
            label=self.label,
            image=self.image,
            transform=transform,
            ignore=self.ignore.split(",") if self.ignore else (),
            like=like,
        )

    def load_model(self) -> nn.Module:
        """Makes the model and loads its weights."""
        return load_model(self.model, self.weights, self.device)

    def load_task(self) -> Task:
        """The task."""
        if ":" not in self.task:
            return get_task(self.task)
        found = import_object(self.task, "--task")
        return get_task(found() if isinstance(found, type) else found)


def needed(value: Any, flag: str) -> Any:
    """An option that is needed unless a configuration file is given.

    Args:
        value: What was given.
        flag: Its name.

    Returns:
        The value.

    Raises:
        SettingError: It was left out.
    """
    if value is None:
        raise SettingError(f"{flag} is missing: give it, or --config runs/x/config.yaml to replay a run")
    return value
