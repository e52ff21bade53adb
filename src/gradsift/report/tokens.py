"""A text as tokens: the stronger a token's colour, the more of the gradient comes through it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from gradsift.printable import printable
from gradsift.report.highlights import Highlight

SHOWN = 120
"""Most tokens on a card."""
LEVELS = 20
"""Strengths of a colour, each a class of the style sheet: pages that run no inline style have no other way."""
EMPTY = "\N{MIDDLE DOT}"
RETURN = "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}"


@dataclass(frozen=True)
class _Span:
    """Tokens that are drawn as one: those that share a character."""

    text: str
    share: float
    loss: float | None
    count: int


def render_tokens(highlight: Highlight) -> Markup:
    """Renders a text with its tokens highlighted.

    The background's strength is a token's share relative to the card's largest, the underline's its loss relative to the
    card's largest; ``title`` has both numbers. Long texts are cut to the window that holds most of the gradient.

    Args:
        highlight: Tokens, shares and losses.

    Returns:
        Safe HTML.
    """
    spans = _spans(highlight)
    start = _window(np.array([span.share for span in spans]), SHOWN)
    shown = spans[start : start + SHOWN]
    most = max((span.share for span in shown), default=0) or 1.0
    worst = max((span.loss or 0.0 for span in shown), default=0) or 1.0
    drawn = [_span(span, most, worst, with_loss=highlight.loss is not None) for span in shown]
    after = len(spans) - start - len(shown)
    return Markup('<p class="sample text tokens" dir="auto">{}{}{}</p>').format(
        _left_out(spans[:start], "{} "), Markup("").join(drawn), _left_out(spans[len(spans) - after :], " {}")
    )


def _spans(highlight: Highlight) -> list[_Span]:
    losses = highlight.loss or [None] * len(highlight.tokens)
    spans: list[_Span] = []
    waiting: list[tuple[float, float | None]] = []
    for place, (text, share, loss) in enumerate(zip(highlight.tokens, highlight.share, losses, strict=True)):
        waiting.append((share, loss))
        if not text and place + 1 < len(highlight.tokens):
            continue
        known = [one for _, one in waiting if one is not None]
        spans.append(_Span(text or EMPTY, sum(one for one, _ in waiting), sum(known) if known else None, len(waiting)))
        waiting = []
    return spans


def _window(shares: np.ndarray, size: int) -> int:
    """Start of the window with the largest sum; the earliest of equals."""
    if len(shares) <= size:
        return 0
    sums = np.concatenate([[0.0], np.cumsum(shares)])
    return int(np.argmax(np.round(sums[size:] - sums[:-size], 9)))


def _span(span: _Span, most: float, worst: float, *, with_loss: bool) -> Markup:
    body = span.text.lstrip(" ") or span.text
    space = span.text[: len(span.text) - len(body)]  # outside, so that the colour covers the word alone
    title = f"{_percent(span.share)} of the gradient"
    strength = f"share-{round(LEVELS * span.share / most)}"
    if with_loss:
        title += ", no target" if span.loss is None else f", loss {span.loss:.2f} nats"
        strength += f" loss-{round(LEVELS * (span.loss or 0.0) / worst)}"
    title += f" ({span.count} tokens)" if span.count > 1 else ""
    if "\n" in body:
        body = body.replace("\r", "").replace("\n", RETURN) + "\n"
    body = printable(body, keep="\n\t")
    return Markup('{}<span class="t {}" title="{}">{}</span>').format(space, strength, title, body)


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.3g} %" if percent >= 0.01 or not percent else "under 0.01 %"


def _left_out(spans: list[_Span], form: str) -> Markup:
    if not spans:
        return Markup("")
    title = f"{len(spans)} more, {_percent(sum(span.share for span in spans))} of the gradient"
    return Markup(form).format(Markup('<span class="quiet" title="{}">…</span>').format(title))
