"""A picture in the terminal."""

from __future__ import annotations

import numpy as np
from rich.color import Color
from rich.style import Style
from rich.text import Text

from gradsift.cli.console import console

GREYS = " .:-=+*#%@"
"""From dark to bright, where a terminal has no colours."""
WIDEST = 20
"""Most columns of a picture."""


def blocks(picture: np.ndarray) -> Text:
    """A picture in the terminal: two pixels a character in colours, or one for each grey.

    Args:
        picture: Brightness or colours in [0, 255], shape (height, width, 3), uint8.

    Returns:
        Lines of characters; in colours only where the terminal has them and NO_COLOR is not set.
    """
    step = max(1, -(-picture.shape[1] // WIDEST))
    pixels = picture[::step, ::step]
    if console.color_system is None or console.no_color or not console.is_terminal:
        greys = (pixels.mean(axis=2) * len(GREYS) / 256).astype(int)
        return Text("\n".join("".join(2 * GREYS[grey] for grey in row) for row in greys))
    text = Text()
    for top in range(0, len(pixels), 2):
        lower = pixels[min(top + 1, len(pixels) - 1)]
        for above, below in zip(pixels[top].tolist(), lower.tolist(), strict=True):
            text.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        text.append("\n")
    return text
