"""The options that say which model and which data, shared by the commands and kept in ``config.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import nn

from gradsift.cli.options import flag
from gradsift.cli.trust import Trust
from gradsift.data.files import Loaded, load
from gradsift.errors import DataError, SettingError
from gradsift.fields import check_settings, ranges_of, setting
from gradsift.gradients import Precision
from gradsift.imports import import_function, import_object, user_code
from gradsift.integrations.encode_rows import encode_rows
from gradsift.integrations.pretrained import Pretrained, is_pretrained, load_pretrained
from gradsift.integrations.rows import load_rows
from gradsift.loading import check_device, load_model
from gradsift.locations import Location, as_location
from gradsift.ranges import share, whole
from gradsift.table import AuditedRun
from gradsift.tasks import DPO, CausalLM, Reward, Task, get_task
from gradsift.tasks.tokens import TokenLoss

MODEL, DATA, LANGUAGE, PAIRS = "Model", "Data", "Language models", "Pairs of answers"
"""Themes of the settings."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where model and data, or predictions and data, come from; the help of each field says what it is.

    Attributes:
        trust: Which import paths may run, where the source stands in a file; all, where the user has typed them.
    """

    model: str | None = setting(
        "Folder or hub id of a transformers model or LoRA adapter; or import path of a function that makes a model: "
        "package.module:function.",
        None,
        panel=MODEL,
    )
    weights: str | None = setting(
        "Weights of a model by import path: .safetensors, or a torch.save file of a state dict.", None, panel=MODEL
    )
    base: str | None = setting(
        "Base model of an adapter, where its adapter_config.json names another one.", None, panel=MODEL
    )
    dtype: Precision = setting("Precision of a transformers model's weights.", "float32", panel=MODEL)
    task: str | None = setting(
        "classification, binary, multilabel, regression, token-classification, segmentation, ctc, causal-lm, seq2seq, "
        "denoising, reward, dpo, triplet, or an import path of a task, yours or one that is made from something. Where "
        "left out: what a transformers model's head says, otherwise classification.",
        None,
        panel=MODEL,
    )
    device: str = setting("cpu, cuda, cuda:1, mps, ...", "cpu", panel=MODEL)
    predictions: str | None = setting(
        "Instead of a model: .npz with probabilities (or logits) and features, or a table with one column a class.",
        None,
        panel=MODEL,
    )
    out_of_fold: bool = setting("Each prediction comes from a model that has not seen its sample.", False, panel=MODEL)
    trajectory: str | None = setting(
        "What a Recorder has saved: adds scores averaged along training.", None, panel=MODEL
    )
    data: str = setting(
        "Training set: .parquet, .csv, .jsonl, .npz, a folder of images by class (path or URL), or a hub id of a data set.",
        panel=DATA,
    )
    label: str | None = setting(
        "Column or array of labels; where left out, one with a usual name such as label.", None, panel=DATA
    )
    text: str | None = setting(
        "Column of texts, or of lists of words; of pairs of texts two columns with a comma.", None, panel=DATA
    )
    image: str | None = setting("Parquet column of image bytes; found by itself.", None, panel=DATA)
    transform: str | None = setting(
        "Import path: from a Pillow image to a tensor. Default: RGB in [0, 1].", None, panel=DATA
    )
    ignore: str | None = setting(
        "Columns to leave out of the features, with commas; id and true_label are always left out.", None, panel=DATA
    )
    groups: str | None = setting("Column of groups. Each group loses the same share of its samples.", None, panel=DATA)
    test: str | None = setting("Test set. Its samples are searched for in the training set.", None, panel=DATA)
    messages: str | None = setting("Column of chats: lists of role and content.", None, panel=LANGUAGE)
    prompt: str | None = setting("Column of prompts, or of sources.", None, panel=LANGUAGE)
    response: str | None = setting("Column of responses, or of targets.", None, panel=LANGUAGE)
    target: Literal["response", "whole"] | None = setting(
        "Which tokens count in the loss (the response, where there is one).", None, panel=LANGUAGE
    )
    reduction: Literal["mean", "sum"] = setting("A sample's loss over its tokens.", "mean", panel=LANGUAGE)
    chosen: str | None = setting("Column of the answers that were chosen, texts or chats.", None, panel=PAIRS)
    rejected: str | None = setting("Column of the answers that were rejected.", None, panel=PAIRS)
    beta: float = setting(
        "Of DPO: how far the policy may leave the reference.", 0.1, panel=PAIRS, number=share(1e6, "a number above 0")
    )
    max_length: int | None = setting(
        "Most tokens of a sample; the model's limit where left out.", None, panel=LANGUAGE, number=whole(1)
    )
    trust: Trust | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            SettingError: A field holds something that it may not, or there is no model, or one beside predictions.
        """
        check_settings(self)
        if self.model is None and self.predictions is None:
            raise SettingError(
                "--model is missing: give the trained model, a folder of transformers or my.model:make with --weights "
                "FILE; or, to gradsift audit, --predictions FILE with your own probabilities or features"
            )
        if self.model is not None and self.predictions is not None:
            raise SettingError("--model and --predictions are two sources of the same evidence: give one of them")

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
        known = {name: values[name] for name in ranges_of(cls) if name in values}
        if "data" not in known or not (known.get("model") or known.get("predictions")):
            raise SettingError(
                "this run was made from Python, its config.yaml names no model and data files: use audit.trim, "
                "gradsift.verify and audit.report there"
            )
        return cls(**known, trust=trust)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``config.yaml``."""
        return {name: getattr(self, name) for name in ranges_of(type(self))}

    @property
    def of_pairs(self) -> bool:
        """Whether samples are pairs of a chosen and a rejected answer."""
        return self.chosen is not None or self.rejected is not None or self.task in ("reward", "dpo")

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
            raise SettingError(
                "this run was made of predictions, without a model, and this command needs one: audit a model with --model"
            )
        check_device(self.device)
        if self.is_pretrained:
            pretrained = pretrained or self.load_pretrained()
            task = self.load_task() if self.task is not None else self._reduced(self._usual(pretrained))
            return pretrained.model, self.load_data(pretrained=pretrained), task
        for name in ("base", "text", "prompt", "response", "messages", "target", "max_length", "chosen", "rejected"):
            if getattr(self, name) is not None:
                raise SettingError(
                    f"{flag(name)} belongs to a model of transformers; {self.model} is an import path, whose data are "
                    "arrays or images"
                )
        task, model = self.load_task(), load_model(self._code("model"), self.weights, self.device)
        return model, self.load_data(), task

    def load_data(
        self, path: str | Location | None = None, like: Loaded | None = None, pretrained: Pretrained | None = None
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
        place = as_location(path or self.data)
        if isinstance(place, Path) and place.exists() and not (place.is_file() or place.is_dir()):
            raise DataError(f"{place} is a pipe, a socket or a device: give a file or a folder")
        if self.is_pretrained or (self.predictions is not None and place.suffix.lower() != ".npz"):
            rows = load_rows(path or self.data, self.label)
            if pretrained is None:
                return Loaded(rows)
            columns: dict[str, Any] = {
                name: getattr(self, name)
                for name in ("text", "label", "image", "prompt", "response", "messages", "target", "max_length")
            }
            columns |= (
                {"chosen": self.chosen or "chosen", "rejected": self.rejected or "rejected"} if self.of_pairs else {}
            )
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
            token_ids=self.task in ("token-classification", "seq2seq"),
        )

    def load_data_of(self, audit: AuditedRun) -> Any:
        """The data set of a run, for what needs no model.

        Args:
            audit: The audit.

        Returns:
            Rows as they stand; where words have labels, with the model's tokenizer, which says which token is which word's.
        """
        of_words = audit.tokens is not None and self.is_pretrained
        return self.load_data(pretrained=self.load_pretrained() if of_words else None).dataset

    def load_test(self, like: Loaded) -> Any:
        """The test set, where one is named; its samples stay rows.

        Args:
            like: The training set.

        Returns:
            The data set, or ``None``.
        """
        return None if self.test is None else self.load_data(self.test, like).dataset

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
            dtype=self.dtype,
            reduction=self.reduction,
        )

    def load_task(self) -> Task:
        """The task."""
        name = self.task or "classification"
        if name == "dpo":
            return DPO(beta=self.beta)
        if ":" not in name:
            return self._reduced(get_task(name))
        task = import_object(self._code("task"), "--task")
        if isinstance(task, type):
            with user_code(f"--task {name!r} fails"):
                task = import_function(name, "--task")()
        return get_task(task)

    def _usual(self, pretrained: Pretrained) -> Task:
        """The task of a model's head: of pairs a policy's or a reward model's."""
        if not self.of_pairs:
            return pretrained.task
        return DPO(beta=self.beta) if isinstance(pretrained.task, CausalLM) else Reward()

    def _code(self, name: str) -> str:
        """The import path in a field, once it may run."""
        path: str = getattr(self, name)
        if self.trust is not None:
            self.trust.check(path, name)
        return path

    def _reduced(self, task: Task) -> Task:
        """A ready task with the reduction that was asked for."""
        if isinstance(task, TokenLoss):
            return type(task)(reduction=self.reduction)
        if self.reduction != "mean":
            raise SettingError(
                f"--reduction is for losses over tokens, and {type(task).__name__} has none: leave it out"
            )
        return task
