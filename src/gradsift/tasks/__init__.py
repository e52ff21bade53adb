"""What one sample's loss is. Knows nothing of images or text."""

from gradsift.tasks.base import (
    NUMBERED,
    ConditionedTask,
    Kind,
    LabelledTask,
    Task,
    get_task,
    kind_of,
    sample_losses,
    task_for,
)
from gradsift.tasks.classification import BinaryClassification, Classification, MultiLabel
from gradsift.tasks.diffusion import ConditionalDenoising, Denoising
from gradsift.tasks.pairs import DPO, PairTask, Reward
from gradsift.tasks.reading import read_outputs
from gradsift.tasks.regression import Regression
from gradsift.tasks.tokens import NO_TARGET, CausalLM, TokenClassification, TokenLoss

__all__ = [
    "DPO",
    "NO_TARGET",
    "NUMBERED",
    "BinaryClassification",
    "CausalLM",
    "Classification",
    "ConditionalDenoising",
    "ConditionedTask",
    "Denoising",
    "Kind",
    "LabelledTask",
    "MultiLabel",
    "PairTask",
    "Regression",
    "Reward",
    "Task",
    "TokenClassification",
    "TokenLoss",
    "get_task",
    "kind_of",
    "read_outputs",
    "sample_losses",
    "task_for",
]
