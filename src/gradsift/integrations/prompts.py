"""What a language model learns from: texts, prompts with responses, chats in the tokenizer's own template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gradsift.errors import DataError, SettingError
from gradsift.integrations.text import TokenizedSet
from gradsift.tasks import NO_TARGET

_MARKED = re.compile(r"\{%-?\s*generation\b")
"""What a template begins the assistant's tokens with."""


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
                "the tokenizer has no chat template, so messages cannot be written as the model expects them: "
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
        if self.target == "response" and _MARKED.search(str(self.tokenizer.get_chat_template())):
            return self._marked(messages, position)
        text = self._templated(messages, position)
        options = {"add_special_tokens": False, "truncation": False, "verbose": False}
        if self.target == "whole":
            tokens = list(self.tokenizer(text, **options)["input_ids"])
            return tokens, [True] * len(tokens)
        if not self.tokenizer.is_fast:
            raise SettingError(
                f"a {type(self.tokenizer).__name__} does not tell where in the text its tokens stand, so the "
                "assistant's are not known: use a fast tokenizer (AutoTokenizer), target='whole', or prompt and response "
                "columns"
            )
        encoded = self.tokenizer(text, return_offsets_mapping=True, **options)
        spans = self._spoken(messages, text, position)
        learnt = [any(_touches(place, span) for span in spans) for place in encoded["offset_mapping"]]
        return list(encoded["input_ids"]), learnt

    def _marked(self, messages: Sequence[Mapping[str, Any]], position: int) -> tuple[list[int], list[bool]]:
        """Tokens of a chat whose template marks what the assistant says, ``{% generation %}``."""
        marked = {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": True}
        encoded = self._templated(messages, position, **marked)
        return list(encoded["input_ids"]), [bool(one) for one in encoded["assistant_masks"]]

    def _spoken(self, messages: Sequence[Mapping[str, Any]], text: str, position: int) -> list[tuple[int, int]]:
        """Where in a whole chat's text the assistant's turns stand, from first to after the last character."""
        spans = []
        for turn, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._templated(messages[:turn], position, add_generation_prompt=True) if turn else ""
            after = self._templated(messages[: turn + 1], position)
            # White space at an end may be cut off where more follows, or where nothing does.
            if not (text.startswith(before.rstrip()) and text.startswith(after.rstrip())):
                raise DataError(
                    f"the chat at position {position}: the template does not write a chat turn by turn, so it is not "
                    "known which tokens are the assistant's. Mark them in the template with {% generation %}, use "
                    "target='whole', or give prompt and response columns"
                )
            spans.append((_shared(text, before), _shared(text, after)))
        return spans

    def _templated(self, messages: Sequence[Mapping[str, Any]], position: int, **options: Any) -> Any:
        try:
            return self.tokenizer.apply_chat_template(list(messages), **({"tokenize": False} | options))
        except Exception as error:  # a template is a program of its own and fails in its own ways
            raise DataError(
                f"the chat at position {position} does not fit the tokenizer's chat template: {error}"
            ) from error


def _shared(first: str, second: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


def _touches(place: tuple[int, int], span: tuple[int, int]) -> bool:
    """Whether a token has a character in a part of the text; one without characters counts where it stands."""
    (start, stop), (first, last) = place, span
    return start < last and (stop > first or first <= start == stop)
