"""Which samples the page shows, and how one looks: an image, a text, a chat, two answers, a sound, a signal, or values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup, escape

from gradsift.printable import printable
from gradsift.report.content import Content, Node, content_of
from gradsift.report.media import render_audio, render_signal
from gradsift.report.overlays import Box, render_overlay, with_mask
from gradsift.report.png import png_data_uri, to_pixels
from gradsift.table import AuditedRun
from gradsift.table.findings import DUPLICATE_GROUP, NEAR_DUPLICATE, OUTLIER, OUTLIER_SCORE, Finding

CARDS, OF_A_FINDING = 24, 8
"""Most samples on the page, and most of each finding besides labels."""
SHOWN, SHOWN_IN_FULL = 12, 100
"""Most feature values on a card, and where a sample is shown in full."""
LETTERS, LETTERS_IN_FULL = 400, 20_000
"""Most characters of a text, likewise."""
SHOWN_IN_LINE = 4
"""Most feature values in a line of text."""
WHOLE = 10**15
"""Whole numbers below this one are written with all of their digits."""
LINE = 100
"""Most characters of a text in a line."""


def on_cards(audit: AuditedRun) -> pa.Table:
    """The samples that get a card: the flagged ones, or at least the worst six.

    Args:
        audit: The audit.

    Returns:
        Their rows of the table, the worst first.
    """
    return audit.worst(min(CARDS, max(len(audit.flagged_positions), 6)))


def shown_of(audit: AuditedRun, finding: Finding, limit: int = OF_A_FINDING) -> list[int]:
    """The samples of a finding that are shown first: outliers by their score, near duplicates by their groups.

    Args:
        audit: The audit.
        finding: The finding.
        limit: Most samples.

    Returns:
        Positions.
    """
    positions = finding.positions
    if finding.kind == OUTLIER:
        scores = audit.table[OUTLIER_SCORE].to_numpy()[positions]
        positions = positions[np.argsort(-scores, kind="stable")]
    if finding.kind == NEAR_DUPLICATE:
        groups = audit.table[DUPLICATE_GROUP].take(positions).to_numpy()
        positions = positions[np.argsort(groups, kind="stable")]
    shown: list[int] = positions[:limit].tolist()
    return shown


def render_sample(
    sample: Any,
    feature_names: list[str] | None = None,
    *,
    in_full: bool = False,
    class_names: list[str] | None = None,
    worst_box: Box | None = None,
) -> Markup:
    """Renders a sample's input, with its mask, boxes or transcript.

    Args:
        sample: ``(x, y)``, a dict, or the input alone.
        feature_names: Names of the columns of a vector.
        in_full: Whether long texts and many values are shown as a whole.
        class_names: Names of the classes.
        worst_box: The place that fits the model worst, drawn over an image.

    Returns:
        Safe HTML.
    """
    content = content_of(sample, feature_names)
    if content.form == "image" and (content.mask is not None or content.boxes is not None or worst_box is not None):
        return _overlaid(content, class_names, worst_box)
    return _rendered(content, in_full=in_full)


def _overlaid(content: Content, names: list[str] | None, worst: Box | None) -> Markup:
    """An image alone, and beside it with its mask or boxes."""
    boxes = content.boxes or ()
    labels = [(number + 1, names[number] if names and number < len(names) else str(number)) for number, _ in boxes]
    image = content.value if content.mask is None else with_mask(content.value, content.mask)
    alone = "" if content.mask is None else _rendered(content, in_full=False)
    return Markup("{}{}").format(alone, render_overlay(image, [box for _, box in boxes], labels, worst))


def _rendered(content: Content, *, in_full: bool) -> Markup:
    letters = LETTERS_IN_FULL if in_full else LETTERS
    if content.form == "pair":
        return _pair(content, in_full=in_full)
    if content.form == "text":
        return _text(content.value, letters) if content.value else Markup("")
    if content.form == "chat":
        return _chat(content.value, letters)
    if content.form == "image":
        return Markup('<img class="sample" alt="sample" width="96" src="{}">').format(png_data_uri(content.value))
    if content.form == "audio":
        transcript = "" if content.transcript is None else _text(content.transcript, letters)
        return Markup("{}{}").format(render_audio(content.value, content.rate), transcript)
    if content.form == "signal":
        return render_signal(content.value)
    if content.form == "node":
        return _node(content.value, SHOWN_IN_FULL if in_full else SHOWN)
    return _features(content.value, content.names, SHOWN_IN_FULL if in_full else SHOWN)


def describe_sample(sample: Any, feature_names: list[str] | None = None) -> str:
    """Describes a sample's input in one line.

    Args:
        sample: ``(x, y)``, a dict, or the input alone.
        feature_names: Names of the columns of a vector.

    Returns:
        The beginning of its text, the size of its image, or its first feature values.
    """
    return _described(content_of(sample, feature_names))


def _described(content: Content) -> str:
    if content.form == "pair":
        _, chosen, rejected = content.value
        return f"chosen: {_described(chosen)} | rejected: {_described(rejected)}"
    if content.form in ("text", "chat"):
        text = printable(" ".join(_as_text(content).split()))
        return text if len(text) <= LINE else text[:LINE] + " …"
    if content.form == "audio":
        transcript = "" if content.transcript is None else f": {printable(content.transcript[:LINE])}"
        return f"sound of {content.value.shape[1] / content.rate:.1f} s{transcript}"
    if content.form == "node":
        return printable(_beside(content.value, SHOWN_IN_LINE))
    if content.form in ("image", "signal"):
        return f"{content.form} of shape {tuple(content.value.shape)}"
    values = content.value
    shown = [
        f"{_feature_name(content.names, place)}={_number(value)}" for place, value in enumerate(values[:SHOWN_IN_LINE])
    ]
    return ", ".join(shown) + (f" and {len(values) - SHOWN_IN_LINE} more" if len(values) > SHOWN_IN_LINE else "")


def _number(value: Any) -> str:
    """A value of a column: four digits, or all of a whole number, which may be the id of a row."""
    return f"{value:.0f}" if abs(value) < WHOLE and value == round(value) else f"{value:.4g}"


def picture_of(sample: Any) -> np.ndarray | None:
    """A sample's input as a picture.

    Args:
        sample: ``(x, y)``, a dict, or the input alone.

    Returns:
        Shape (h, w, 3), uint8; ``None`` where the input is no image.
    """
    content = content_of(sample)
    if content.form != "image":
        return None
    pixels = to_pixels(content.value)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def _as_text(content: Content) -> str:
    return content.value if content.form == "text" else " / ".join(f"{role}: {words}" for role, words in content.value)


def _text(text: str, letters: int) -> Markup:
    return Markup('<p class="sample text" dir="auto">{}</p>').format(_cut(text, letters))


def _chat(messages: list[tuple[str, str]], letters: int) -> Markup:
    """Messages, each with who says it; what is too long is cut within its message."""
    share = max(80, letters // len(messages))
    lines = Markup("").join(
        Markup('<dt>{}</dt><dd dir="auto">{}</dd>').format(printable(role), _cut(words, share))
        for role, words in messages
    )
    return Markup('<dl class="sample chat">{}</dl>').format(lines)


def _pair(content: Content, *, in_full: bool) -> Markup:
    """The prompt, and below it both answers side by side."""
    prompt, *answers = content.value
    cells = Markup("").join(
        Markup('<td style="width:50%;vertical-align:top">{}</td>').format(_rendered(one, in_full=in_full))
        for one in answers
    )
    table = Markup(
        '<table class="sample pair" style="width:100%;table-layout:fixed"><tr><th>chosen</th><th>rejected</th></tr>'
        "<tr>{}</tr></table>"
    ).format(cells)
    return table if prompt is None else _rendered(prompt, in_full=in_full) + table


def _node(node: Node, most: int) -> Markup:
    """A node's neighbours with their labels, and its largest features."""
    first = np.argsort(-np.abs(node.features), kind="stable")[:most]
    first = np.sort(first[node.features[first] != 0])
    names = [f"x{place}" for place in first]
    return Markup('<p class="sample node">{}</p>{}').format(
        printable(_beside(node, most)), _features(node.features[first], names, most)
    )


def _beside(node: Node, most: int) -> str:
    """A node and its neighbours in words, with their labels where these are known."""
    shown = [
        f"{number} ({label})" if label else str(number)
        for number, label in zip(node.neighbours[:most], node.labels, strict=False)
    ]
    more = f" and {len(node.neighbours) - most} more" if len(node.neighbours) > most else ""
    count = len(node.neighbours)
    words = f"{count} neighbour{'' if count == 1 else 's'}" if count else "no neighbours"
    return f"node {node.number}, {words}" + (f": {', '.join(shown)}{more}" if count else "")


def _cut(text: str, letters: int) -> str:
    return printable(text if len(text) <= letters else text[:letters] + " …", keep="\n\t")


def _feature_name(names: list[str] | None, place: int) -> str:
    return printable(names[place]) if names and place < len(names) else f"x{place}"


def _features(values: np.ndarray, names: list[str] | None, most: int) -> Markup:
    rows = Markup("").join(
        Markup("<tr><th>{}</th><td>{}</td></tr>").format(_feature_name(names, place), _number(values[place]))
        for place in range(min(len(values), most))
    )
    more = Markup('<p class="quiet">and {} more</p>').format(len(values) - most) if len(values) > most else escape("")
    return Markup('<table class="sample features">{}</table>{}').format(rows, more)
