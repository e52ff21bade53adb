"""The options that say which model and which data, shared by the commands and kept in ``config.yaml``."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import nn

from gradsift.cli.trust import Trust
from gradsift.data.files import Loaded, load
from gradsift.errors import DataError, SettingError
from gradsift.imports import import_function, import_object, user_code
from gradsift.integrations.pretrained import Pretrained, encode_rows, is_pretrained, load_pretrained
from gradsift.integrations.rows import load_rows
from gradsift.loading import check_device, load_model
from gradsift.ranges import NOTHING, SWITCH, TEXT, check_fields, one_of, whole
from gradsift.tasks import Task, get_task
from gradsift.tasks.tokens import TokenLoss

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Folder or hub id of a transformers model or LoRA adapter; or import path of a function that makes a model: "
        "package.module:function.",
    ),
]
BaseOption = Annotated[
    str | None, typer.Option("--base", help="Base model of an adapter, where the adapter's own note of it is wrong.")
]
DtypeOption = Annotated[
    str, typer.Option("--dtype", help="Precision of a transformers model's weights: float32, bfloat16, float16.")
]
TextOption = Annotated[
    str | None,
    typer.Option("--text", help="Column of texts; two with a comma for pairs of texts; or of lists of words."),
]
PromptOption = Annotated[str | None, typer.Option("--prompt", help="Column of prompts, for a language model.")]
ResponseOption = Annotated[str | None, typer.Option("--response", help="Column of responses, for a language model.")]
MessagesOption = Annotated[
    str | None, typer.Option("--messages", help="Column of chats: lists of role and content, for a language model.")
]
TargetOption = Annotated[
    str | None, typer.Option("--target", help="What a language model learns: response (where there is one) or whole.")
]
ReductionOption = Annotated[
    str, typer.Option("--reduction", help="A sample's loss over its tokens: mean or sum, for losses over tokens.")
]
LengthOption = Annotated[int | None, typer.Option("--max-length", help="Most tokens of a sample; the model's limit.")]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights", help="Its weights: .safetensors, or a torch.save file of a state dict.")
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Training set: .parquet, .csv, .jsonl, .npz, a folder of images by class, or a hub id of a data set.",
    ),
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
    str | None,
    typer.Option(
        "--task",
        help="classification, binary, multilabel, regression, token-classification, causal-lm, denoising, or an import "
        "path of your own task; what a transformers model's head says, otherwise classification.",
    ),
]
ProjectionOption = Annotated[int, typer.Option(help="Dimensions of the random projection (not for the last layer).")]
PerLayerOption = Annotated[
    bool, typer.Option("--per-layer", help="Keep these dimensions of every layer, instead of their sum.")
]
BatchSizeOption = Annotated[str, typer.Option(help='Samples a batch, or "auto".')]
ShardSizeOption = Annotated[int, typer.Option(help="Samples a shard: what a killed run loses at most.")]
PrecisionOption = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
DetectorsOption = Annotated[str | None, typer.Option(help="All detectors that get a column, with commas.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps, ...")]

RANGES = {
    **dict.fromkeys(("data", "device"), TEXT),
    **dict.fromkeys(
        ("model", "predictions", "weights", "label", "image", "transform", "ignore", "task", "base", "text"),
        TEXT | NOTHING,
    ),
    **dict.fromkeys(("prompt", "response", "messages", "trajectory", "groups"), TEXT | NOTHING),
    "dtype": one_of("float32", "bfloat16", "float16"),
    "target": one_of("response", "whole") | NOTHING,
    "reduction": one_of("mean", "sum"),
    "max_length": whole(1) | NOTHING,
    "out_of_fold": SWITCH,
}
"""What each field of a source may hold."""


@dataclass(frozen=True)
class Source:
    """Where model and data, or predictions and data, come from.

    Attributes:
        model: ``module:function``, or folder or hub id of a transformers model or adapter; ``None`` with predictions.
        weights: Weights file.
        data: Data file or folder.
        label: Label column.
        image: Image column.
        transform: ``module:function`` from image to tensor.
        ignore: Columns that are no features, with commas.
        task: Name or import path of the task.
        device: Where the model runs.
        base: Base model of an adapter.
        dtype: Precision of a transformers model's weights.
        text: Column of texts, or two with a comma.
        prompt: Column of prompts.
        response: Column of responses.
        messages: Column of chats.
        target: ``"response"`` or ``"whole"``.
        reduction: ``"mean"`` or ``"sum"`` over a sample's tokens.
        max_length: Most tokens of a sample.
        trajectory: Folder that a recorder has saved.
        groups: Column of groups that are to lose the same share.
        predictions: File of predictions, instead of a model.
        out_of_fold: Whether each of them comes from a model that has not seen its sample.
        trust: Which import paths may run, where the source stands in a file; all, where the user has typed them.
    """

    model: str | None
    data: str
    weights: str | None = None
    label: str | None = None
    image: str | None = None
    transform: str | None = None
    ignore: str | None = None
    task: str | None = None
    device: str = "cpu"
    base: str | None = None
    dtype: str = "float32"
    text: str | None = None
    prompt: str | None = None
    response: str | None = None
    messages: str | None = None
    target: str | None = None
    reduction: str = "mean"
    max_length: int | None = None
    trajectory: str | None = None
    groups: str | None = None
    predictions: str | None = None
    out_of_fold: bool = False
    trust: Trust | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            SettingError: A field holds something that it may not.
        """
        check_fields(self, RANGES)

    @classmethod
    def from_config(cls, values: Any, trust: Trust) -> Source:
        """The source that a run directory's ``config.yaml`` names.

        Args:
            values: Its ``source`` part.
            trust: Which import paths of it may run.

        Returns:
            The source.

        Raises:
            SettingError: The run was made from Python, so a command line cannot find its model and data; or a value is
                none that the field may hold.
        """
        if not isinstance(values, dict):
            raise SettingError(f"the source in {trust.file} is a {type(values).__name__}, not names with values")
        known = {name: values[name] for name in RANGES if name in values}
        if "data" not in known or not (known.get("model") or known.get("predictions")):
            raise SettingError(
                "this run was made from Python, its config.yaml names no model and data files: use audit.trim, "
                "gradsift.verify and audit.report there"
            )
        return cls(**{"model": None} | known, trust=trust)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``config.yaml``."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "trust"}

    @property
    def is_pretrained(self) -> bool:
        """Whether the model is one of transformers, by folder or hub id."""
        return self.model is not None and is_pretrained(self.model)

    def load(self, pretrained: Pretrained | None = None) -> tuple[nn.Module, Loaded, Task]:
        """Model, training set and task.

        Args:
            pretrained: The transformers model, where it is loaded already.

        Returns:
            The three.

        Raises:
            SettingError: The run has no model, or an option does not go with it.
        """
        if self.model is None:
            raise SettingError("this run was made of predictions, so there is no model: this command needs one")
        check_device(self.device)
        if self.is_pretrained:
            pretrained = pretrained or self.load_pretrained()
            task = self.load_task() if self.task is not None else self._reduced(pretrained.task)
            return pretrained.model, self.load_data(pretrained=pretrained), task
        for name in ("base", "text", "prompt", "response", "messages", "target", "max_length"):
            if getattr(self, name) is not None:
                flag = name.replace("_", "-")
                raise SettingError(
                    f"--{flag} belongs to a model of transformers; {self.model} is an import path, whose data are arrays "
                    "or images"
                )
        task, model = self.load_task(), load_model(self._code("model"), self.weights, self.device)
        return model, self.load_data(), task

    def load_data(
        self, path: str | Path | None = None, like: Loaded | None = None, pretrained: Pretrained | None = None
    ) -> Loaded:
        """Reads the data set, or another file of the same layout.

        Args:
            path: Another file, such as a test set.
            like: The training set, whose numbers of classes and order of features it must follow.
            pretrained: The transformers model whose tokenizer encodes the rows; without it they stay rows.

        Returns:
            The data.

        Raises:
            DataError: The data is a pipe, a socket or a device, which would be waited for, or cannot be read.
        """
        place = Path(path or self.data)
        if place.exists() and not (place.is_file() or place.is_dir()):
            raise DataError(f"{place} is a pipe, a socket or a device: give a file or a folder")
        if self.is_pretrained or (self.predictions is not None and place.suffix.lower() != ".npz"):
            rows = load_rows(path or self.data)
            if pretrained is None:
                return Loaded(rows)
            columns: dict[str, Any] = {
                name: getattr(self, name)
                for name in ("text", "label", "image", "prompt", "response", "messages", "target", "max_length")
            }
            if self.text is not None and "," in self.text:
                columns["text"] = self.text.split(",")
            dataset = encode_rows(pretrained, rows, columns)
            return Loaded(dataset, dataset.classes)
        transform = import_function(self._code("transform"), "--transform", "image") if self.transform else None
        return load(
            path or self.data,
            label=self.label,
            image=self.image,
            transform=transform,
            ignore=self.ignore.split(",") if self.ignore else (),
            like=like,
        )

    def load_pretrained(self) -> Pretrained:
        """The transformers model or adapter with its tokenizer.

        Raises:
            SettingError: An option is given that such a model has no use for.
        """
        check_device(self.device)
        for name in ("weights", "transform", "ignore"):
            if getattr(self, name) is not None:
                raise SettingError(f"--{name} belongs to a model by import path; {self.model} is one of transformers")
        return load_pretrained(
            str(self.model),
            base=self.base,
            device=self.device,
            dtype=self.dtype,  # type: ignore[arg-type]  # its range is checked
            reduction=self.reduction,  # type: ignore[arg-type]  # the task checks it
        )

    def load_task(self) -> Task:
        """The task."""
        name = self.task or "classification"
        if ":" not in name:
            return self._reduced(get_task(name))
        found = import_object(self._code("task"), "--task")
        if isinstance(found, type):
            with user_code(f"--task {name!r} fails"):
                found = import_function(name, "--task")()
        return get_task(found)

    def _code(self, name: str) -> str:
        """The import path in a field, once it may run."""
        path: str = getattr(self, name)
        if self.trust is not None:
            self.trust.check(path, name)
        return path

    def _reduced(self, task: Task) -> Task:
        """A ready task with the reduction that was asked for."""
        if isinstance(task, TokenLoss):
            return type(task)(reduction=self.reduction)  # type: ignore[arg-type]  # the task checks it
        if self.reduction != "mean":
            raise SettingError(f"--reduction is for losses over tokens, which {type(task).__name__} has not")
        return task


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


def number(text: str, flag: str, kind: type) -> Any:
    """A number, or ``"auto"``.

    Args:
        text: What was given.
        flag: Its name.
        kind: ``int`` or ``float``.

    Returns:
        The number, or ``"auto"``.

    Raises:
        SettingError: It is neither.
    """
    if text == "auto":
        return text
    try:
        return kind(text)
    except ValueError as error:
        raise SettingError(f"{flag} is a number or auto, given {reprlib.repr(text)}") from error


def patterns(text: str) -> str | list[str]:
    """A selection of layers, or several with commas.

    Args:
        text: What was given.

    Returns:
        The selection.
    """
    return text.strip() if "," not in text else [part.strip() for part in text.split(",")]
