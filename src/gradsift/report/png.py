"""Small images as PNG, so that arrays need no image library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np


def png_data_uri(image: np.ndarray) -> str:
    """Encodes an image for an ``<img>`` tag.

    Args:
        image: Shape (h, w), (h, w, 1 or 3) or (1 or 3, h, w); uint8, or numbers that are scaled to the range they span
            unless they lie in [0, 1].

    Returns:
        A ``data:image/png;base64,`` URI.
    """
    image = to_pixels(image)
    height, width = image.shape[:2]
    colour = 2 if image.ndim == 3 else 0
    lines = b"".join(b"\0" + np.ascontiguousarray(row).tobytes() for row in image)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + content).decode()


def to_pixels(image: np.ndarray) -> np.ndarray:
    """An image as bytes.

    Args:
        image: As for :func:`png_data_uri`.

    Returns:
        Shape (h, w) or (h, w, 3), uint8.
    """
    if image.ndim == 3 and image.shape[0] in (1, 3) and image.shape[2] not in (1, 3):
        image = image.transpose(1, 2, 0)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.dtype != np.uint8:
        numbers = image.astype(np.float64)
        low, high = min(0.0, float(numbers.min())), max(float(numbers.max()), 1e-9)
        high = 1.0 if low == 0.0 and high <= 1.0 else high
        image = np.rint(255 * (numbers - low) / (high - low)).astype(np.uint8)
    return image


def is_image(array: np.ndarray) -> bool:
    """Whether an array looks like an image: two axes of 4 or more, with or without 1 or 3 channels.

    Args:
        array: One sample's input.

    Returns:
        True for an image.
    """
    if array.ndim == 2:
        return min(array.shape) >= 4
    if array.ndim == 3:
        channels_first, channels_last = array.shape[0] in (1, 3), array.shape[2] in (1, 3)
        sides = array.shape[1:] if channels_first and not channels_last else array.shape[:2]
        return (channels_first or channels_last) and min(sides) >= 4
    return False
