"""Regression."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from gradsift.data.batch import Batch, labels_of, rows_not_finite
from gradsift.errors import ModelError, SampleError, SettingError
from gradsift.tasks.base import LossTask, as_labels

_LOSSES: dict[str, Callable[..., Tensor]] = {
    "squared": functional.mse_loss,
    "absolute": functional.l1_loss,
    "huber": functional.huber_loss,
}


class Regression(LossTask):
    """Regression: the error of each target, summed over targets where there are several.

    Args:
        loss: ``"squared"`` for ``(z - y)^2`` (twice what some texts use, and what ``torch.nn.MSELoss`` has),
            ``"absolute"`` for ``|z - y|``, ``"huber"`` with delta = 1.

    Raises:
        SettingError: The loss is unknown.
    """

    kind = "value"

    def __init__(self, *, loss: str = "squared") -> None:
        if loss not in _LOSSES:
            raise SettingError(f"unknown regression loss {loss!r}: choose one of {', '.join(_LOSSES)}")
        self.loss = loss

    def labels(self, batch: Batch) -> Tensor:
        """The values that the samples were given.

        Args:
            batch: The batch.

        Returns:
            Shape (n,), or (n, K) for several targets.

        Raises:
            SampleError: Values are NaN or infinite.
        """
        values = as_labels(labels_of(batch))
        values = values if values.is_floating_point() else values.float()
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        broken = rows_not_finite(values)
        if broken:
            raise SampleError("values to predict are NaN or infinite", broken, "Mend or remove them before the audit")
        return values

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Error of each sample.

        Args:
            outputs: Predictions, shape (n,), (n, 1) or (n, K).
            batch: The batch.

        Returns:
            Shape (n,), in the squared (or plain) unit of the target.

        Raises:
            ModelError: Predictions and values differ in shape.
        """
        values = self.labels(batch)
        predictions = outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs
        if predictions.shape != values.shape:
            raise ModelError(
                f"the model predicts shape {tuple(outputs.shape)}, the values have {tuple(values.shape)}: "
                "both need one column a target"
            )
        errors = _LOSSES[self.loss](predictions, values.to(predictions), reduction="none")
        return errors if errors.ndim == 1 else errors.sum(dim=1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """The predicted values.

        Args:
            outputs: Predictions.

        Returns:
            Shape (n, K).
        """
        return outputs.reshape(len(outputs), -1)
