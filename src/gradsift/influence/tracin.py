"""TracIn: inner products summed over the checkpoints of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradsift.errors import SettingError
from gradsift.influence.ensemble import Ensemble
from gradsift.influence.inner_product import InnerProduct
from gradsift.influence.members import Checkpoints, Weights


class TracIn(Ensemble):
    """Influence ``I_j = sum_c eta_c <v^(c), g_j^(c)>`` over checkpoints c with their learning rates (Pruthi et al., 2020).

    To first order this is how much a target's loss has fallen through the steps on sample j (TracInCP). Its
    self-influence is ``sum_c eta_c |g_j^(c)|^2``.

    Args:
        checkpoints: State dicts or ``.safetensors`` files, of epochs in which the loss still fell.
        rates: Learning rate at each; all one where left out, which is said in ``report_``.
        cosine: Whether to divide by both gradients' lengths at every checkpoint.
        settings: As in :class:`~gradsift.influence.base.Influence`.

    Raises:
        SettingError: There are no checkpoints, or not one rate above zero for each.
    """

    def __init__(
        self,
        checkpoints: Sequence[Weights],
        rates: Sequence[float] | None = None,
        *,
        cosine: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(InnerProduct(cosine=cosine), Checkpoints(checkpoints), **settings)
        if rates is not None and (len(rates) != len(checkpoints) or not all(rate > 0 for rate in rates)):
            raise SettingError(
                f"rates are one number above 0 for each of {len(checkpoints)} checkpoints; given {rates}"
            )
        self.rates = None if rates is None else [float(rate) for rate in rates]

    def _prepare(self) -> None:
        self.report_["rates"] = "all one: none were given" if self.rates is None else self.rates

    def _weight(self, number: int) -> float:
        return 1.0 if self.rates is None else self.rates[number]
