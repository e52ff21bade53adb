"""Folders of images: odd pixels, broken files, and what is no image."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from chaos.inputs import ANY, REFUSED, Input


def _saved(place: str, pixels: np.ndarray, mode: str | None = None, **options: Any) -> None:
    from PIL import Image

    path = Path("images") / place
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


def _good() -> None:
    for place in range(4):
        _saved(f"{'ab'[place % 2]}/{place}.png", np.full((4, 4, 3), 51 * place, np.uint8))


def _read() -> list[float]:
    from gradsift.data.files import load

    dataset = load("images").dataset
    return [round(float(dataset[place][0].mean()), 4) for place in range(len(dataset))]


def _bomb() -> None:
    """A PNG of 100,000 x 100,000 pixels in a few hundred bytes."""

    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 1, 0, 0, 0, 0)
    body = part(b"IHDR", head) + part(b"IDAT", zlib.compress(bytes(1000))) + part(b"IEND", b"")
    Path("images/a/9.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def _cut() -> None:
    path = Path("images/a/0.png")
    path.write_bytes(path.read_bytes()[:40])


def _animated() -> None:
    from PIL import Image

    frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in (0, 255)]
    frames[0].save("images/a/9.gif", save_all=True, append_images=frames[1:])


FOUR = [0.0, 0.4, 0.2, 0.6]
"""Means of the four good images, by class and name."""
FIFTH = [0.0, 0.4, 0.5, 0.2, 0.6]
"""With an image of mean 0.5 as the last one of the first class."""
HALF = np.full((4, 4), 127.5)
AMONG: dict[str, tuple[Callable[[], Any], Any]] = {
    "as usual": (lambda: None, FOUR),
    "16 bits": (lambda: _saved("a/9.png", np.full((4, 4), 32768, np.uint16)), FIFTH),
    "32-bit whole numbers": (lambda: _saved("a/9.tiff", np.full((4, 4), 40_000, np.int32)), ANY),
    "floating point": (lambda: _saved("a/9.tiff", np.full((4, 4), 0.5, np.float32)), ANY),
    "grey": (lambda: _saved("a/9.png", np.full((4, 4), 102, np.uint8)), [0.0, 0.4, 0.4, 0.2, 0.6]),
    "palette": (lambda: _saved("a/9.png", np.full((4, 4, 3), 102, np.uint8), "P"), [0.0, 0.4, 0.4, 0.2, 0.6]),
    "black and white": (lambda: _saved("a/9.png", np.full((4, 4), 255, np.uint8), "1"), [0.0, 0.4, 1.0, 0.2, 0.6]),
    "alpha": (lambda: _saved("a/9.png", np.full((4, 4, 4), 102, np.uint8)), [0.0, 0.4, 0.4, 0.2, 0.6]),
    "CMYK": (lambda: _saved("a/9.jpg", np.full((4, 4, 4), 0, np.uint8), "CMYK"), ANY),
    "in capitals": (lambda: _saved("a/9.PNG", np.full((4, 4), 102, np.uint8)), [0.0, 0.4, 0.4, 0.2, 0.6]),
    "animated": (_animated, ANY),
    "a bomb": (_bomb, REFUSED),
    "cut off": (_cut, REFUSED),
    "empty": (lambda: Path("images/a/9.png").write_bytes(b""), REFUSED),
    "text": (lambda: Path("images/a/9.png").write_text("no image"), REFUSED),
    "a script as svg": (lambda: Path("images/a/9.svg").write_text("<svg onload='x'/>"), FOUR),
    "a folder named .png": (lambda: Path("images/a/9.png").mkdir(), FOUR),
    "a dangling link": (lambda: Path("images/a/9.png").symlink_to("nowhere"), ANY),
    "a FIFO": (lambda: os.mkfifo("images/a/9.png"), ANY),
    "a device": (lambda: Path("images/a/9.png").symlink_to("/dev/zero"), ANY),
    "a link to its own folder": (lambda: Path("images/a/loop").symlink_to("."), ANY),
    "hidden": (lambda: Path("images/a/.9.png").write_bytes(b""), ANY),
    "of a Mac": (lambda: Path("images/.DS_Store").write_bytes(b"\0"), FOUR),
    "beside the classes": (lambda: _saved("9.png", np.zeros((4, 4, 3), np.uint8)), ANY),
    "an empty class": (lambda: Path("images/c").mkdir(), ANY),
    "a name of two lines": (lambda: _saved("a/9\n.png", np.full((4, 4), 102, np.uint8)), [0.0, 0.4, 0.4, 0.2, 0.6]),
    "no UTF-8": (lambda: _saved("a/9\udcff.png", np.full((4, 4), 102, np.uint8)), [0.0, 0.4, 0.4, 0.2, 0.6]),
    "a class of markup": (lambda: _saved("z[/bold]/9.png", np.full((4, 4), 102, np.uint8)), [*FOUR, 0.4]),
}


def cases() -> list[Input]:
    """Four good images and something among them; folders without any."""
    found = [Input(f"images: {name}", partial(_among, add), expected) for name, (add, expected) in AMONG.items()]
    found.append(Input("images: none at all", partial(_folder, "images")))
    found.append(Input("images: classes without images", partial(_folder, "images/a")))
    return found


def _among(add: Callable[[], None]) -> list[float]:
    _good()
    add()
    return _read()


def _folder(name: str) -> list[float]:
    Path(name).mkdir(parents=True)
    return _read()
