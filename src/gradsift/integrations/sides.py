"""Samples of several texts that a model reads one after the other: both answers of a pair, an anchor and its match."""

from __future__ import annotations

from typing import Any, ClassVar

from gradsift.integrations.text import TokenizedSet


class SidedSet(TokenizedSet):
    """Shared part: keys begin with the side that they belong to, and each side is padded for itself.

    Args:
        rows: The rows.
        tokenizer: The model's tokenizer.
        max_length: Most tokens of a side, the rest is cut off; the tokenizer's own limit where left out.
    """

    sides: ClassVar[tuple[str, ...]]
    """Names of the sides."""

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Pads each side at the right to its longest of the batch."""
        batch = super().collate([{"id": sample["id"]} for sample in samples]) if "id" in samples[0] else {}
        for side in self.sides:
            names = [name for name in samples[0] if name.startswith(f"{side}_")]
            own = [{name.removeprefix(f"{side}_"): sample[name] for name in names} for sample in samples]
            batch |= {f"{side}_{name}": values for name, values in super().collate(own).items()} if names else {}
        rest = [name for name in samples[0] if name not in batch]
        return batch | (super().collate([{name: sample[name] for name in rest} for sample in samples]) if rest else {})

    def tokens(self, position: int) -> list[str]:
        """The tokens of the first side; see :meth:`TokenizedSet.tokens`."""
        return [self.tokenizer.decode([token]) for token in self[position][f"{self.sides[0]}_input_ids"]]
