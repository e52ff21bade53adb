"""What one sample's loss is. Knows nothing of images or text."""

from gradsift.tasks.base import LabelledTask, Task, get_task, sample_losses
from gradsift.tasks.classification import BinaryClassification, Classification, MultiLabel
from gradsift.tasks.regression import Regression

__all__ = [
    "BinaryClassification",
    "Classification",
    "LabelledTask",
    "MultiLabel",
    "Regression",
    "Task",
    "get_task",
    "sample_losses",
]
