"""Signals as small plots, sounds as WAV files: no library is needed for either."""

from __future__ import annotations

import base64
import io
import struct
import wave

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 320, 48
"""Size of a channel's plot."""
POINTS = 640
"""Most points of a line; of longer signals the least and the greatest value of each piece are drawn."""
SHOWN = 12
"""Most channels that are drawn."""
SECONDS = 20
"""Longest sound that is put into a page."""


def render_signal(values: np.ndarray) -> Markup:
    """Draws a signal over time, each channel on its own scale.

    Args:
        values: Shape (channels, time).

    Returns:
        Safe SVG.
    """
    shown = [np.asarray(channel, dtype=np.float64) for channel in values[:SHOWN]]
    lines = Markup("").join(
        Markup('<polyline class="line s0" points="{}"><title>{}</title></polyline>').format(
            _line(channel, number * HEIGHT), _range(channel)
        )
        for number, channel in enumerate(shown)
    )
    more = (
        Markup('<p class="quiet">and {} more channels</p>').format(len(values) - SHOWN) if len(values) > SHOWN else ""
    )
    return Markup(
        '<svg class="sample signal" viewBox="0 0 {} {}" role="img" aria-label="signal of {} values">{}</svg>{}'
    ).format(WIDTH, HEIGHT * len(shown), values.shape[1], lines, more)


def render_audio(values: np.ndarray, rate: int) -> Markup:
    """A player of a sound, with its plot.

    Args:
        values: Shape (channels, time), floats in [-1, 1] or integers of 16 bits.
        rate: Sampling rate in hertz.

    Returns:
        Safe HTML.
    """
    mono = np.asarray(values, dtype=np.float64).mean(axis=0)
    if not np.issubdtype(values.dtype, np.floating):
        mono = mono / 2**15
    cut = mono[: SECONDS * rate]
    words = f"{len(mono) / rate:.1f} s at {rate:,} Hz" + (
        f", the first {SECONDS} s here" if len(cut) < len(mono) else ""
    )
    return Markup('<audio class="sample" controls src="{}"></audio>{}<p class="quiet">{}</p>').format(
        _wav(cut, rate), render_signal(mono[None]), words
    )


def read_wav(data: bytes) -> tuple[np.ndarray, int] | None:
    """Reads a WAV file of whole numbers.

    Args:
        data: The bytes of a file.

    Returns:
        Values in [-1, 1], shape (channels, time), and the sampling rate in hertz; ``None`` where it is none, or of another
        coding.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    try:
        with wave.open(io.BytesIO(data)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError, struct.error):
        return None
    if width == 3:  # the fourth byte of a number is the lowest
        frames = np.pad(np.frombuffer(frames, np.uint8).reshape(-1, 3), ((0, 0), (1, 0))).tobytes()
    numbers = np.frombuffer(frames, {1: "u1", 2: "<i2", 3: "<i4", 4: "<i4"}[width]).astype(np.float64)
    values = numbers / 128 - 1 if width == 1 else numbers / 2 ** (8 * (width if width != 3 else 4) - 1)
    return values[: len(values) // channels * channels].reshape(-1, channels).T, max(1, rate)


def _wav(mono: np.ndarray, rate: int) -> str:
    """A ``data:audio/wav`` URI of 16 bits."""
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(32767 * np.clip(np.nan_to_num(mono), -1, 1)).astype("<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(memory.getvalue()).decode()


def _line(channel: np.ndarray, top: int) -> str:
    """Points of one channel; what is not finite is drawn at zero."""
    channel = np.nan_to_num(channel, nan=0.0, posinf=0.0, neginf=0.0)
    places = np.arange(len(channel))
    if len(channel) > POINTS:
        pieces = np.array_split(places, POINTS // 2)
        places = np.unique([part[f(channel[part])] for part in pieces for f in (np.argmin, np.argmax)])
    low, high = float(channel.min()), float(channel.max())
    x = WIDTH * places / max(len(channel) - 1, 1)
    y = top + HEIGHT - 3 - (HEIGHT - 6) * (channel[places] - low) / ((high - low) or 1.0)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _range(channel: np.ndarray) -> str:
    finite = channel[np.isfinite(channel)]
    return f"{finite.min():.4g} to {finite.max():.4g}" if len(finite) else "no finite value"
