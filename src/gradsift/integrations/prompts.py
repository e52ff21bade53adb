"""What a language model learns from: texts, prompts with responses, chats in the tokenizer's own template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gradsift.errors import DataError, SettingError
from gradsift.integrations.text import TokenizedSet
from gradsift.tasks import NO_TARGET


class PromptSet(TokenizedSet):
    """Sequences for next-token prediction. Tokens that are no target have the label -100.

    Args:
        rows: A ``datasets.Dataset``, ``DatasetDict``, ``pyarrow.Table`` or list of dicts.
        tokenizer: The model's tokenizer.
        text: Column of whole texts.
        prompt: Column of prompts, with ``response``. The two are tokenised apart and joined.
        response: Column of responses; the tokenizer's end of text follows.
        messages: Column of chats, lists of ``{"role": ..., "content": ...}``, put into the tokenizer's chat template.
        target: ``"response"``: the response, or the assistant's turns, are learnt. ``"whole"``: every token.
            Left out: the response where there is one.
        max_length: Most tokens of a sample, the rest is cut off; the tokenizer's own limit where left out.

    Raises:
        SettingError: The columns do not make one kind of sequence, or there is no chat template.
        DataError: A column is missing.
    """

    def __init__(
        self,
        rows: Any,
        tokenizer: Any,
        *,
        text: str | None = None,
        prompt: str | None = None,
        response: str | None = None,
        messages: str | None = None,
        target: Literal["response", "whole"] | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__(rows, tokenizer, max_length=max_length)
        kinds = [text is not None, prompt is not None or response is not None, messages is not None]
        if sum(kinds) != 1 or (prompt is None) != (response is None):
            raise SettingError(
                "name the columns of one kind of sequence: text=..., or prompt=... with response=..., or messages=...; "
                f"the columns are {', '.join(self.columns)}"
            )
        if target not in (None, "response", "whole") or (target == "response" and text is not None):
            raise SettingError(
                f"target is 'response' (needs prompt and response, or messages) or 'whole'; given {target!r}"
            )
        self.needs(text, prompt, response, messages)
        if messages is not None and getattr(tokenizer, "chat_template", None) is None:
            raise SettingError(
                "the tokenizer has no chat template, so messages cannot be put into words as the model expects them: "
                "set tokenizer.chat_template, or give prompt and response columns"
            )
        self._text, self._prompt, self._response, self._messages = text, prompt, response, messages
        self.target = target or ("whole" if text is not None else "response")

    @property
    def encoding(self) -> dict[str, Any]:
        """Columns, limit, target and tokenizer."""
        columns = {"text": self._text, "prompt": self._prompt, "response": self._response, "messages": self._messages}
        return (
            {name: column for name, column in columns.items() if column is not None}
            | {"target": self.target}
            | super().encoding
        )

    def encode(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        """Tokens with their mask, and labels."""
        if self._messages is not None:
            tokens, learnt = self._chat(row[self._messages], position)
        elif self._prompt is not None and self._response is not None:
            first = self._of_text(row[self._prompt], position, special=True)
            second = self._of_text(row[self._response], position, special=False)
            end = self.tokenizer.eos_token_id
            if end is not None and first[-1:] == [end]:  # a tokenizer that ends every text
                first = first[:-1]
            if end is not None and second[-1:] != [end]:
                second = [*second, end]
            tokens, learnt = first + second, [False] * len(first) + [True] * len(second)
        else:
            tokens = self._of_text(row[self._text or "text"], position, special=True)
            learnt = [True] * len(tokens)
        if self.target == "whole":
            learnt = [True] * len(tokens)
        self.refuse_empty(tokens, position)
        labels = [token if is_target else NO_TARGET for token, is_target in zip(tokens, learnt, strict=True)]
        return {
            "input_ids": self.cut(tokens, position),
            "attention_mask": self.cut([1] * len(tokens), position),
            "labels": self.cut(labels, position),
        }

    def _of_text(self, text: Any, position: int, *, special: bool) -> list[int]:
        if not isinstance(text, str):
            raise DataError(f"the row at position {position} holds {text!r:.80} where a text is needed")
        return list(self.tokenizer(text, add_special_tokens=special, truncation=False, verbose=False)["input_ids"])

    def _chat(self, messages: Any, position: int) -> tuple[list[int], list[bool]]:
        """Tokens of a chat, and which of them an assistant says."""
        if not isinstance(messages, list) or not all(isinstance(m, Mapping) and "role" in m for m in messages):
            raise DataError(
                f'the row at position {position} holds no chat: a list of {{"role": ..., "content": ...}} is needed'
            )
        messages = [{key: value for key, value in message.items() if value is not None} for message in messages]
        tokens = self._templated(messages, position)
        learnt = [False] * len(tokens)
        for turn, message in enumerate(messages):
            if message["role"] != "assistant" or self.target == "whole":
                continue
            before = self._templated(messages[:turn], position, add_generation_prompt=True) if turn else []
            after = self._templated(messages[: turn + 1], position)
            if tokens[: len(before)] != before or tokens[: len(after)] != after:
                raise DataError(
                    f"the chat at position {position}: the template does not write a chat turn by turn, so the "
                    "assistant's tokens cannot be told: use target='whole', or prompt and response columns"
                )
            learnt[len(before) : len(after)] = [True] * (len(after) - len(before))
        return tokens, learnt

    def _templated(self, messages: Sequence[Mapping[str, Any]], position: int, **options: Any) -> list[int]:
        try:
            text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, **options)
        except Exception as error:  # a template is a program of its own and fails in its own ways
            raise DataError(
                f"the chat at position {position} does not fit the tokenizer's chat template: {error}"
            ) from error
        return list(self.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"])
