"""Images with what their labels say drawn over them: masks, boxes, and the place that is looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from gradsift.printable import printable
from gradsift.report.png import png_data_uri, to_pixels

SIDE = 224
"""Width of the drawing, in pixels."""
STRENGTH = 0.55
"""How strongly a mask covers the image."""
COLOURS = (
    (230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240), (240, 50, 230),
    (210, 245, 60), (0, 128, 128), (170, 110, 40), (128, 0, 0), (128, 128, 0), (0, 0, 128),
)  # fmt: skip
"""Colours of classes, from class 1 on; class 0 of a mask, mostly the background, is left as it is."""
Box = Sequence[float]
"""Left, top, right, bottom as shares of width and height."""


def with_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An image under its mask.

    Args:
        image: As for :func:`~gradsift.report.png.png_data_uri`.
        mask: Class numbers, shape (h, w); pixels of class 0, of 255 and below 0 are left as they are.

    Returns:
        Shape (h, w, 3), uint8.
    """
    pixels = to_pixels(image)
    pixels = (pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)).astype(np.float64)
    for number in np.unique(mask):
        if 0 < number != 255:  # a pixel without a label
            own = mask == number
            pixels[own] = (1 - STRENGTH) * pixels[own] + STRENGTH * np.array(_colour(int(number)))
    return np.rint(pixels).astype(np.uint8)


def render_overlay(
    image: np.ndarray, boxes: Sequence[Box] = (), labels: Sequence[tuple[int, str]] = (), worst: Box | None = None
) -> Markup:
    """Draws boxes over an image.

    Args:
        image: As for :func:`~gradsift.report.png.png_data_uri`.
        boxes: The boxes of the label.
        labels: Number and name of the class of each.
        worst: The place that fits the model worst, drawn with a broken line.

    Returns:
        Safe SVG.
    """
    pixels = to_pixels(image)
    height = SIDE * pixels.shape[0] / pixels.shape[1]
    drawn = [
        _rectangle(box, height, "rgb({},{},{})".format(*_colour(number)), printable(name), dashed=False)
        for box, (number, name) in zip(boxes, labels, strict=True)
    ]
    drawn += [] if worst is None else [_rectangle(worst, height, "white", "", dashed=True)]
    return Markup(
        '<svg class="sample overlay" viewBox="0 0 {} {:.1f}" width="{}" role="img" aria-label="image with its label">'
        '<image href="{}" width="{}" height="{:.1f}" preserveAspectRatio="none"></image>{}</svg>'
    ).format(SIDE, height, SIDE, png_data_uri(image), SIDE, height, Markup("").join(drawn))


def _rectangle(box: Box, height: float, colour: str, name: str, *, dashed: bool) -> Markup:
    left, top, right, bottom = (float(np.clip(np.nan_to_num(side), 0, 1)) for side in box)
    x, y, wide, high = SIDE * left, height * top, SIDE * (right - left), height * (bottom - top)
    text = Markup('<text x="{:.1f}" y="{:.1f}" font-size="11" fill="{}">{}</text>').format(x + 2, y + 11, colour, name)
    return Markup(
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="none" stroke="{}" stroke-width="2"{}></rect>{}'
    ).format(
        x,
        y,
        max(wide, 0),
        max(high, 0),
        colour,
        Markup(' stroke-dasharray="5 3"') if dashed else "",
        text if name else "",
    )


def _colour(number: int) -> tuple[int, int, int]:
    return COLOURS[(number - 1) % len(COLOURS)]
