"""Who may talk to the server: the holder of a token, from this machine's own names, from the page itself.

A page of another site that the browser has open can send requests to any address, this one included, and a name of
another site can be made to point here (DNS rebinding). So each request must name a host that is ours, carry the cookie that
the token was exchanged for, and, where it changes something, come from a page of ours.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import stat
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from gradsift.errors import SettingError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SHORTEST = 32
"""Fewest characters of a token that a file gives."""
LARGEST_BODY = {"application/json": 16 * 2**20, "application/octet-stream": 256 * 2**20}
"""Type of a request's body to its most bytes: a selection of a million positions, and a file of decisions.

Browsers let no other site send these types without asking first.
"""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src data:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""What every answer says: no inline script or style, nothing from elsewhere, in no frame, kept nowhere."""


@dataclass
class Doors:
    """Tokens that open the page, and the cookies that they were exchanged for.

    Attributes:
        port: The server's port, which its cookie is named after: browsers keep cookies by host alone.
        lasting: Token to reviewer, for tokens that may be used again.
        once: Token to reviewer, for tokens that are void after their first use.
        sessions: Value of a cookie to reviewer.
        by_link: Cookies of those who came by the printed link, which only who starts the server sees.
    """

    port: int
    lasting: dict[str, str] = field(default_factory=dict)
    once: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    by_link: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def cookie(self) -> str:
        """Name of the cookie."""
        return f"gradsift_review_{self.port}"

    def new_link(self, reviewer: str) -> str:
        """Makes a token that opens the page once.

        Args:
            reviewer: Whose decisions the page will record.

        Returns:
            The token.
        """
        token = secrets.token_urlsafe(32)
        self.once[token] = reviewer
        return token

    def enter(self, token: str) -> str | None:
        """Exchanges a token for a session.

        Args:
            token: What stands in the address.

        Returns:
            The value of the cookie; ``None`` where the token opens nothing, or no longer does.
        """
        with self._lock:
            known = _equal_key(self.once, token)
            reviewer = self.once.pop(known) if known is not None else None
            session = secrets.token_urlsafe(32)
            if reviewer is not None:
                self.by_link.add(session)
            else:
                known = _equal_key(self.lasting, token)
                reviewer = self.lasting[known] if known is not None else None
            if reviewer is None:
                return None
            self.sessions[session] = reviewer
            return session

    def reviewer_of(self, session: str | None) -> str | None:
        """Who a cookie belongs to.

        Args:
            session: Its value.

        Returns:
            The reviewer, or ``None`` where it opens nothing.
        """
        known = _equal_key(self.sessions, session) if session else None
        return self.sessions[known] if known is not None else None


def read_tokens(path: Path, reviewer: str) -> dict[str, str]:
    """Reads a file of tokens: one a line, with the reviewer's name before it where several people review.

    Args:
        path: The file.
        reviewer: Who a token without a name belongs to.

    Returns:
        Token to reviewer.

    Raises:
        SettingError: The file cannot be read, others than its owner may read or change it, or a token is too short.
    """
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) and os.name == "posix":
            raise SettingError(f"others may read the tokens in {path}, or change them: chmod 600 {path}")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(
            f"the tokens in {path} cannot be read ({error}): give a text file, one token a line"
        ) from error
    reviewers: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        *name, token = line.split() or [""]
        if not token:
            continue
        if len(token) < SHORTEST or not token.isascii():
            raise SettingError(
                f"{path}, line {number}: a token has at least {SHORTEST} ASCII characters, such as those that "
                'python -c "import secrets; print(secrets.token_urlsafe(32))" prints'
            )
        reviewers[token] = " ".join(name) or reviewer
    if not reviewers:
        raise SettingError(f"{path} holds no token: write one a line, with the reviewer's name before it")
    return reviewers


class Guard:
    """Lets a request through to the application, or answers why not.

    Args:
        app: The application.
        doors: Tokens and sessions.
        loopback: Whether the server is bound to this machine alone, so that only its loopback names are ours.
        names: Further host names that are ours.
    """

    def __init__(self, app: Any, doors: Doors, *, loopback: bool, names: frozenset[str] = frozenset()) -> None:
        self._app, self._doors, self._loopback, self._names = app, doors, loopback, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        request = Request(scope)
        response = self._refusal(request) or self._entrance(request)
        if response is None:
            session = request.cookies.get(self._doors.cookie)
            scope["reviewer"] = self._doors.reviewer_of(session)
            scope["started_the_server"] = session in self._doors.by_link
            await self._app(scope, receive, _with_headers(send))
        else:
            await response(scope, receive, _with_headers(send))

    def _refusal(self, request: Request) -> Response | None:
        """Why a request is refused, whoever sends it."""
        host = request.headers.get("host", "")
        if not self._is_ours(host):
            return _no("This address is not one of the review server's: open the link that it has printed.", 421)
        if request.method not in ("GET", "HEAD"):
            if request.headers.get("origin") != f"{request.url.scheme}://{host}":
                return _no("Only the review page itself may change something.", 403)
            most = LARGEST_BODY.get(request.headers.get("content-type", "").partition(";")[0])
            if most is None:
                return _no("Send JSON, or a file as application/octet-stream.", 415)
            length = request.headers.get("content-length", "")
            if not length.isdecimal() or int(length) > most:
                return _no(f"Send at most {most >> 20} MiB, and say how much.", 413)
        elif request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _no("Another site has asked for this: open the link that the review server has printed.", 403)
        return None

    def _entrance(self, request: Request) -> Response | None:
        """Exchanges a token for a cookie; refuses whoever has neither."""
        token = request.query_params.get("token")
        if token is not None and request.url.path == "/":
            session = self._doors.enter(token)
            if session is not None:
                response = RedirectResponse("/", 303)
                response.set_cookie(self._doors.cookie, session, path="/", httponly=True, samesite="strict")
                return response
        if self._doors.reviewer_of(request.cookies.get(self._doors.cookie)) is not None:
            return RedirectResponse("/", 303) if token is not None else None
        return _no(
            "This page opens with the link that gradsift review prints, once. Start it again for a new link; "
            "what was shown as saved is kept.",
            403,
        )

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            return False
        if (port or 80) != self._doors.port:
            return False
        if name == "localhost" or name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._loopback


def _with_headers(send: Send) -> Send:
    async def wrapped(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return wrapped


def _no(words: str, status: int) -> Response:
    return PlainTextResponse(words + "\n", status)


def _equal_key(known: dict[str, str], value: str) -> str | None:
    """The key that equals a value, compared in a time that says nothing of where they differ."""
    equal = None
    for key in known:
        if hmac.compare_digest(key.encode(), value.encode("utf-8", "replace")):
            equal = key
    return equal
