"""Starts the review server."""

from __future__ import annotations

import getpass
import ipaddress
import logging
import socket
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradsift.cleaning.decisions import Decisions
from gradsift.errors import OutputError, SettingError
from gradsift.locations import RemotePath
from gradsift.review.keys import read_keys
from gradsift.table import AuditedRun

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """Where the server listens, and who may come.

    Attributes:
        host: Name or address to bind to.
        port: Port; any free one where 0.
        token_file: Tokens that open the page, one a line, with the reviewer's name before it; needed beyond this machine.
        reviewer: Whose decisions the printed link records; the name of the user where left out.

    Raises:
        SettingError: The host is beyond this machine and there is no file of tokens, or the reviewer has no name.
    """

    host: str = LOOPBACK
    port: int = 0
    token_file: Path | None = None
    reviewer: str | None = None

    def __post_init__(self) -> None:
        """Refuses a page that others could open."""
        if not self.is_loopback and self.token_file is None:
            raise SettingError(
                f"--host {self.host} lets other machines connect, so everybody on that network could see your data and "
                "decide. Give --token-file FILE with a token of at least 32 characters a line, or leave --host out and "
                "forward the port: ssh -L 8000:127.0.0.1:8000"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def name(self) -> str:
        """The reviewer."""
        return (self.reviewer or "").strip() or _user()


def serve(
    audit: AuditedRun,
    train_set: Any = None,
    *,
    address: Address | None = None,
    keys: Path | None = None,
    second_reading: float = 0.1,
    groups: dict[str, Any] | None = None,
    told: Callable[[str], None] = logger.info,
    opens_browser: bool = False,
) -> None:
    """Serves the review page of an audit until it is interrupted.

    Args:
        audit: The audit.
        train_set: The data set that was audited, for the content of samples.
        address: Where to listen.
        keys: File of keys.
        second_reading: Share of decided samples that other reviewers read, too, without seeing what was decided.
        groups: Name to what gives the group of each sample, by which the queue can be ordered.
        told: Hears the link.
        opens_browser: Whether the link is opened.

    Raises:
        SettingError: The extra ``review`` is not installed, or a setting does not work.
        DataError: The data set is not the one that was audited.
        RunDirectoryError: The decisions cannot be written, or another server writes them.
        OutputError: The port is taken.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise SettingError("the review page needs starlette and uvicorn: pip install 'gradsift[review]'") from error
    from gradsift.review.app import make_app
    from gradsift.review.desk import Desk
    from gradsift.review.guard import Doors, Guard, read_tokens

    address = address or Address()
    own_keys = None if keys is None else read_keys(keys)
    lasting = {} if address.token_file is None else read_tokens(address.token_file, address.name)
    with Decisions.open(audit.run.path) as decisions, _bound(address) as listening:
        if isinstance(audit.run.path, RemotePath):
            logger.warning(
                "decisions are saved on this machine, in %s: %s lies in a store", decisions.path, audit.run.path
            )
        desk = Desk(audit, decisions, train_set, keys=own_keys, second_reading=second_reading, groups=groups)
        port = listening.getsockname()[1]
        doors = Doors(port, lasting)
        names = frozenset() if address.is_loopback else frozenset(_own_names(address.host))
        app = Guard(make_app(desk), doors, loopback=address.is_loopback, names=names)
        link = _link(address, port, doors.new_link(address.name))
        told(link)
        if opens_browser:
            webbrowser.open(link)
        settings = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=3, ws="none"
        )
        uvicorn.Server(settings).run(sockets=[listening])


def _bound(address: Address) -> socket.socket:
    """A listening socket."""
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family[0], socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(family[4])
        except OSError:
            listening.close()
            raise
    except (OSError, OverflowError) as error:
        raise OutputError(
            f"cannot listen on {address.host}, port {address.port} ({error}): give another --port, or leave it out "
            "for a free one"
        ) from error
    return listening


def _link(address: Address, port: int, token: str) -> str:
    host = LOOPBACK if address.host in ("0.0.0.0", "::", "localhost") else address.host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/?token={token}"


def _own_names(host: str) -> set[str]:
    return {name.lower() for name in (host, socket.gethostname(), socket.getfqdn())}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        return "reviewer"
