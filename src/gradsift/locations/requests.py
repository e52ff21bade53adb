"""Requests to a store: tried again where that can help, and refused in words that say what to do."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from gradsift.errors import LocationError

logger = logging.getLogger(__name__)

T = TypeVar("T")
TRIES = 6
"""How often a request is sent before it fails. The packages below try again, too; this holds for what they pass on."""
PAUSE = 0.1
"""Seconds before the second try; each further pause is twice as long, and up to half of it is left to chance."""
ANSWERS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, NotImplementedError)
"""What a store says of a file, or of what it cannot do, which is no fault of the request."""
HOPELESS = (
    PermissionError, ImportError, ValueError, TypeError, AttributeError, KeyError, MemoryError,
    RecursionError,
)  # fmt: skip
"""What another try cannot mend."""
CREDENTIALS = ("credential", "access key", "accesskey", "signature", "token", "anonymous")
"""Words of stores that do not know who asks."""
UNREACHABLE = ("EndpointConnectionError", "ClientConnectorError", "ConnectTimeoutError", "ConnectionRefusedError")
"""Errors of a place at which nobody answers."""


def request(url: str, doing: str, action: Callable[[], T]) -> T:
    """Sends a request to a store, again where it failed for a reason that may pass.

    Args:
        url: What it is about, for the message.
        doing: What is done with it, such as ``"read"``.
        action: The request; harmless to repeat.

    Returns:
        The answer.

    Raises:
        FileNotFoundError: There is no such file.
        FileExistsError: There is such a file, and it was to be new.
        NotImplementedError: The store has no such request.
        LocationError: The store refuses, cannot be reached, or goes on failing.
    """
    for attempt in range(1, TRIES + 1):
        try:
            return action()
        except ANSWERS as error:
            if doing == "write" and isinstance(error, FileNotFoundError):
                raise refusal(url, doing, error) from error
            raise
        except Exception as error:  # each package has errors of its own
            hopeless = isinstance(error, HOPELESS) or _names(error) & {"NoCredentialsError", *UNREACHABLE}
            if hopeless or attempt == TRIES:
                raise refusal(url, doing, error) from error
            pause = PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1)  # spread, so that workers do not ask at once
            logger.info("%s: %s, tried again in %.1f s", url, _reason(error), pause)
            time.sleep(pause)
    raise LocationError(f"cannot {doing} {url}")  # not reached


def refusal(url: str, doing: str, error: Exception) -> LocationError:
    """What an error of a store means, and what to do.

    Args:
        url: What the request was about.
        doing: What was to be done with it.
        error: The error.

    Returns:
        The error to raise.
    """
    words, names = str(error).lower(), _names(error)
    bucket = "/".join(url.split("/", 3)[:3])
    if isinstance(error, FileNotFoundError):
        way_out = f"there is no bucket {bucket}: create it, or correct the URL"
    elif names & {"NoCredentialsError", "PartialCredentialsError"} or any(word in words for word in CREDENTIALS):
        way_out = (
            f"the store does not accept who asks ({_reason(error)}): give credentials as the store's own tools read them, "
            "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
        )
    elif isinstance(error, PermissionError):
        way_out = (
            f"the store denies it ({_reason(error)}): ask for the right to {doing} in {bucket}, or name another place"
        )
    elif names & set(UNREACHABLE):
        way_out = (
            f"nobody answers at the store's address ({_reason(error)}): check the network, and the endpoint where one is "
            "set, such as AWS_ENDPOINT_URL_S3"
        )
    else:
        way_out = f"the request fails ({_reason(error)}): give the same command again later, finished work is kept"
    return LocationError(f"cannot {doing} {url}: {way_out}")


def _names(error: BaseException | None) -> set[str]:
    """Names of the classes of an error and of those behind it."""
    names: set[str] = set()
    while error is not None:
        names |= {kind.__name__ for kind in type(error).__mro__}
        error = error.__cause__
    return names


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text:.300}" if text else type(error).__name__
