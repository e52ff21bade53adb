"""Pairs of a chosen and a rejected answer, as TRL's reward and DPO trainers read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradsift.errors import DataError, SettingError
from gradsift.integrations.prompts import PromptSet
from gradsift.integrations.sides import SidedSet
from gradsift.tasks.pairs import REFERENCE, SIDES

NAMED = 10
"""So many positions are named in a message."""


class PairSet(SidedSet):
    """Pairs of answers to the same prompt, one of which was chosen.

    Answers are texts, or chats: lists of ``{"role": ..., "content": ...}``. The prompt is explicit, in a column of its own,
    or implicit, the beginning that both answers share.

    Args:
        rows: A ``datasets.Dataset``, ``DatasetDict``, ``pyarrow.Table`` or list of dicts.
        tokenizer: The model's tokenizer.
        chosen: Column of the answers that were chosen.
        rejected: Column of the others.
        prompt: Column of prompts, of the same kind as the answers; ``prompt`` where there is such a column, otherwise
            prompts are implicit.
        max_length: Most tokens of a prompt with its answer, the rest is cut off; the tokenizer's own limit where left out.

    Raises:
        DataError: A column is missing, an answer is empty, both are the same, or they begin with different prompts.
        SettingError: The same column is named twice, or answers are chats and the tokenizer has no chat template.
    """

    sides = SIDES

    def __init__(
        self,
        rows: Any,
        tokenizer: Any,
        *,
        chosen: str = "chosen",
        rejected: str = "rejected",
        prompt: str | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__(rows, tokenizer, max_length=max_length)
        self.needs(chosen, rejected, prompt)
        if len({chosen, rejected, prompt}) < 3:
            raise SettingError(
                f"chosen, rejected and prompt are columns of their own, given {chosen!r}, {rejected!r} and {prompt!r}"
            )
        self.chosen, self.rejected = chosen, rejected
        self.prompt = "prompt" if prompt is None and "prompt" in self.columns else prompt
        self._of_chats = isinstance(self.row(0)[chosen], list)
        blank = [{"text": "", "prompt": "", "response": "", "messages": []}]
        columns: dict[str, Any] = {"messages": "messages"} if self._of_chats else {"text": "text"}
        if self.prompt is not None and not self._of_chats:
            columns = {"prompt": "prompt", "response": "response"}
        self._sequences = PromptSet(blank, tokenizer, max_length=max_length, **columns)
        self._refuse_bad_rows()

    @property
    def encoding(self) -> dict[str, Any]:
        """Columns, limit and tokenizer."""
        columns = {"chosen": self.chosen, "rejected": self.rejected, "prompt": self.prompt}
        return {name: column for name, column in columns.items() if column is not None} | super().encoding

    def encode(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        """Tokens of both answers behind their prompt, with masks; labels mark what an answer's log-probability sums."""
        encoded: dict[str, Any] = {}
        for side, answer in zip(SIDES, (row[self.chosen], row[self.rejected]), strict=True):
            sequence = self._sequences.encode(self._joined(row, answer, position), position)
            encoded |= {f"{side}_{name}": values for name, values in sequence.items()}
            known = row.get(f"ref_{side}_logps")
            if known is not None:
                encoded[f"{side}_{REFERENCE}"] = float(known)
        if encoded["chosen_input_ids"] == encoded["rejected_input_ids"]:
            raise DataError(
                f"both answers of the pair at position {position} have the same tokens"
                + (f" up to the limit of {self.max_length}" if self.max_length else "")
                + ": allow longer ones (max_length), or remove the pair"
            )
        return encoded

    def _joined(self, row: Mapping[str, Any], answer: Any, position: int) -> dict[str, Any]:
        """Prompt and answer as the columns of one sequence."""
        prompt = None if self.prompt is None else row[self.prompt]
        kind = list if self._of_chats else str
        if not isinstance(answer, kind) or not isinstance(prompt, kind | None):
            raise DataError(
                f"the pair at position {position} holds {answer!r:.80} with the prompt {prompt!r:.80}: texts, or lists of "
                "messages, are needed in every row alike"
            )
        if isinstance(answer, list):
            return {"messages": [*(prompt or []), *answer]}
        if prompt is not None:
            return {"prompt": prompt, "response": answer}
        end = self.tokenizer.eos_token  # as TRL's trainers end an answer
        return {"text": answer if end is None or answer.endswith(end) else answer + end}

    def _refuse_bad_rows(self) -> None:
        """Refuses pairs from which nothing can be learnt, before any is used."""
        empty, same, other = list[int](), list[int](), list[int]()
        for position in range(len(self)):
            row = self.row(position)
            chosen, rejected = row[self.chosen], row[self.rejected]
            if not _says_something(chosen) or not _says_something(rejected):
                empty.append(position)
            elif chosen == rejected:
                same.append(position)
            elif (
                self.prompt is None
                and isinstance(chosen, list)
                and isinstance(rejected, list)
                and chosen[0] != rejected[0]
            ):
                other.append(position)
        _refuse(empty, "an answer is empty or missing", "Give both answers, or remove the pairs")
        _refuse(same, "chosen and rejected are the same", "Nothing can be preferred: remove these pairs")
        _refuse(
            other,
            "the chats begin with different messages, so they answer different prompts",
            "Give both the same first messages, or name the column of prompts (--prompt)",
        )


def _says_something(answer: Any) -> bool:
    """Whether an answer is a text that is not blank, or a chat whose last message is not."""
    if isinstance(answer, list):
        return bool(answer) and isinstance(answer[-1], Mapping) and bool(str(answer[-1].get("content") or "").strip())
    return answer is not None and bool(str(answer).strip())


def _refuse(positions: list[int], problem: str, fix: str) -> None:
    if positions:
        more = f" and {len(positions) - NAMED} more" if len(positions) > NAMED else ""
        raise DataError(f"{problem} at positions {', '.join(map(str, positions[:NAMED]))}{more}. {fix}")
