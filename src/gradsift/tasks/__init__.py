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
from gradsift.tasks.detection import Detection
from gradsift.tasks.diffusion import ConditionalDenoising, Denoising
from gradsift.tasks.masked import MaskedLM
from gradsift.tasks.matches import Contrastive, Triplet
from gradsift.tasks.pairs import DPO, PairTask, Reward
from gradsift.tasks.reading import read_outputs
from gradsift.tasks.regression import Regression
from gradsift.tasks.segmentation import Segmentation
from gradsift.tasks.seq2seq import Seq2Seq
from gradsift.tasks.speech import CTC
from gradsift.tasks.tokens import NO_TARGET, CausalLM, TokenClassification, TokenLoss

__all__ = [
    "CTC",
    "DPO",
    "NO_TARGET",
    "NUMBERED",
    "BinaryClassification",
    "CausalLM",
    "Classification",
    "ConditionalDenoising",
    "ConditionedTask",
    "Contrastive",
    "Denoising",
    "Detection",
    "Kind",
    "LabelledTask",
    "MaskedLM",
    "MultiLabel",
    "PairTask",
    "Regression",
    "Reward",
    "Segmentation",
    "Seq2Seq",
    "Task",
    "TokenClassification",
    "TokenLoss",
    "Triplet",
    "get_task",
    "kind_of",
    "read_outputs",
    "sample_losses",
    "task_for",
]
