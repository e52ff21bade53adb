"""Text from data, names and errors, made safe to show."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, among them the escapes of a terminal
    "\u2028\u2029\u202a-\u202e\u2066-\u2069"  # ends of lines and paragraphs, overrides of the writing direction
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # characters that are not seen
    "\ud800-\udfff]"  # halves of characters, which no file can hold
)


def printable(text: object, keep: str = "") -> str:
    r"""A text with control characters, overrides of the writing direction and lone surrogates written as escapes.

    Args:
        text: What is to be shown; anything with ``str``.
        keep: Control characters that stay, such as ``"\n\t"`` in a message of several lines.

    Returns:
        The text, safe for terminals and pages (which still must escape their own markup).

    Example:
        >>> printable("cat\x1b[31m")
        'cat\\x1b[31m'
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], str(text))
