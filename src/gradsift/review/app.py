"""The pages and the answers of the review server."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from gradsift.errors import GradsiftError, SettingError
from gradsift.printable import printable
from gradsift.report.template import fill
from gradsift.review.book import STATES
from gradsift.review.desk import Desk
from gradsift.review.files import OFFERED, exported, imported
from gradsift.review.keys import ACTIONS
from gradsift.review.queue import SCOPES, Query

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
_TOKEN = re.compile(r"[0-9A-Za-z-]{16,64}")
LONGEST_PAGE = 500
"""Most rows of the queue in one answer."""


def make_app(desk: Desk) -> Starlette:
    """The application behind the guard: every request has a reviewer.

    Args:
        desk: The audit, its queue, its cards and its decisions.

    Returns:
        The application.
    """
    pages: dict[str, Callable[[Desk, Request], Response]] = {
        "/": _page,
        "/style.css": _style,
        "/state": _state,
        "/queue": _queue,
        "/card/{position:int}": _card,
        "/header": _header,
        "/conflicts": _conflicts,
        "/export/{name}": _export,
    }
    actions = {"/decide": _decide, "/undo": _undo, "/redo": _redo, "/relearn": _relearn}
    routes: list[Any] = [Route(path, _answering(desk, make), methods=["GET"]) for path, make in pages.items()]
    routes += [Route(path, _taking(desk, make), methods=["POST"]) for path, make in actions.items()]
    routes.append(Route("/import/{name}", _bringing(desk), methods=["POST"]))
    routes.append(Mount("/static", StaticFiles(directory=STATIC)))
    return Starlette(routes=routes, exception_handlers={GradsiftError: _explained, Exception: _failed})


def _answering(desk: Desk, make: Callable[[Desk, Request], Response]) -> Callable[[Request], Response]:
    """An endpoint, which runs in a thread of its own."""

    def answer(request: Request) -> Response:
        return make(desk, request)

    return answer


def _taking(desk: Desk, make: Callable[[Desk, str, dict[str, Any]], dict[str, Any]]) -> Callable[[Request], Any]:
    """An endpoint that takes and gives JSON."""

    async def answer(request: Request) -> Response:
        try:
            content = json.loads(await request.body())
        except (ValueError, RecursionError) as error:
            raise SettingError(f"a request is JSON; this one is not ({error})") from error
        if not isinstance(content, dict):
            raise SettingError("a request is an object of JSON")
        return JSONResponse(await run_in_threadpool(make, desk, request.scope["reviewer"], content))

    return answer


def _bringing(desk: Desk) -> Callable[[Request], Any]:
    """The endpoint that takes a file of decisions."""

    async def answer(request: Request) -> Response:
        name, content, scope = request.path_params["name"], await request.body(), request.scope
        words = await run_in_threadpool(
            imported, desk, name, content, scope["reviewer"], of_all=scope["started_the_server"]
        )
        return JSONResponse({"words": printable(words)})

    return answer


def _page(desk: Desk, request: Request) -> Response:
    choices = {"reviewer": request.scope["reviewer"], "scopes": SCOPES, "states": STATES, "formats": OFFERED}
    return HTMLResponse(_filled("page.html.j2", desk.about() | choices))


def _style(_: Desk, __: Request) -> Response:
    """The style sheet: that of the report, whose renderers the cards share, and what the page adds."""
    own = (STATIC / "review.css").read_text(encoding="utf-8")
    return Response(fill("style.css.j2", {}) + own, media_type="text/css")


def _state(desk: Desk, request: Request) -> Response:
    words = {name: action.words for name, action in ACTIONS.items()}
    return JSONResponse(
        {
            "keys": desk.keys,
            "words": words,
            "classes": [printable(name) for name in desk.cards.classes],
            "kind": desk.audit.kind,
            "targets": desk.book.decisions.labels.targets,
            "reviewer": request.scope["reviewer"],
        }
    )


def _queue(desk: Desk, request: Request) -> Response:
    asked = request.query_params
    offset, limit = _whole(asked, "offset", 0), min(_whole(asked, "limit", 50), LONGEST_PAGE)
    positions = desk.positions(request.scope["reviewer"], query_of(asked), asked.get("state", "undecided"))
    shown = positions[offset : offset + limit].tolist()
    rows: list[Any] = shown if asked.get("brief") else desk.rows(request.scope["reviewer"], shown)
    return JSONResponse({"total": len(positions), "offset": offset, "rows": rows})


def _card(desk: Desk, request: Request) -> Response:
    position = request.path_params["position"]
    if position >= len(desk.audit):
        return HTMLResponse("there is no such sample", 404)
    return HTMLResponse(_filled("card.html.j2", desk.card(request.scope["reviewer"], position)))


def _header(desk: Desk, request: Request) -> Response:
    return HTMLResponse(_filled("header.html.j2", desk.progress(request.scope["reviewer"])))


def _conflicts(desk: Desk, request: Request) -> Response:
    return HTMLResponse(_filled("conflicts.html.j2", {"conflicts": desk.conflicts()}))


def _export(desk: Desk, request: Request) -> Response:
    name, content = exported(desk, request.path_params["name"])
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _decide(desk: Desk, reviewer: str, content: dict[str, Any]) -> dict[str, Any]:
    """Saves a decision about positions, or about all that a query finds, if that is as many as the reviewer was told.

    A request whose answer was lost comes again, with the same token: it is answered and not saved twice. Its query finds
    other samples then, so whether it was saved is asked after the query has been answered.
    """
    request = _token_of(content)
    if "query" in content:
        asked = content["query"] if isinstance(content["query"], dict) else {}
        positions = desk.positions(reviewer, query_of(asked), str(asked.get("state", "undecided"))).tolist()
        saved = desk.book.decisions.done_by(reviewer, request)
        if saved is None and len(positions) != content.get("expected"):
            raise SettingError(
                f"the selection holds {len(positions):,} samples now, not {content.get('expected')}: look at it again; "
                "nothing was saved"
            )
        positions = positions if saved is None else saved
    else:
        positions = content.get("positions")
    if not isinstance(positions, list) or not positions or not all(desk.has(position) for position in positions):
        raise SettingError("a decision is about positions of the data set: give at least one; nothing was saved")
    milliseconds = content.get("milliseconds", 0)
    desk.book.decide(
        reviewer,
        desk.meant(positions, str(content.get("kind")), content.get("label")),
        str(content.get("note") or ""),
        milliseconds if isinstance(milliseconds, int) and 0 <= milliseconds < 2**40 else 0,
        request,
    )
    return {"saved": len(positions), "words": desk.words(reviewer, positions[0])}


def _undo(desk: Desk, reviewer: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"positions": desk.book.turn_back(reviewer, "undo", _token_of(content))}


def _redo(desk: Desk, reviewer: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"positions": desk.book.turn_back(reviewer, "redo", _token_of(content))}


def _relearn(desk: Desk, _: str, __: dict[str, Any]) -> dict[str, Any]:
    return {"decisions": desk.relearn()}


def _token_of(content: dict[str, Any]) -> str:
    """The token that the page has made for a request; empty where there is none."""
    token = content.get("request", "")
    if not isinstance(token, str) or not (token == "" or _TOKEN.fullmatch(token)):
        raise SettingError("the token of a request is 16 to 64 letters and digits; nothing was saved")
    return token


def query_of(asked: Mapping[str, Any]) -> Query:
    """Reads a query.

    Args:
        asked: Names to texts, as in an address.

    Returns:
        The query.

    Raises:
        SettingError: A class or score is no number.
    """
    given, suggested = (_whole(asked, name, None) for name in ("given", "suggested"))
    low, high = (_number(asked, name) for name in ("low", "high"))
    scope, order = str(asked.get("scope") or "queue"), str(asked.get("order") or "worth")
    return Query(
        scope, order, given, suggested, str(asked.get("reason") or ""), str(asked.get("text") or ""), low, high,
        str(asked.get("finding") or ""),
    )  # fmt: skip


def _whole(asked: Mapping[str, Any], name: str, default: Any) -> Any:
    value = _number(asked, name)
    if value is None:
        return default
    if value != int(value) or value < 0:
        raise SettingError(f"{name} is a whole number from 0; given {asked.get(name)!r}")
    return int(value)


def _number(asked: Mapping[str, Any], name: str) -> float | None:
    text = asked.get(name)
    if text is None or text == "":
        return None
    try:
        value = float(text)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{name} is a number; given {text!r}") from error
    if not np.isfinite(value):
        raise SettingError(f"{name} is a finite number; given {text!r}")
    return value


def _filled(name: str, content: Mapping[str, Any]) -> str:
    return fill(name, content, "gradsift.review")


def _explained(_: Request, error: Exception) -> Response:
    """What cannot be done, and why: 400 for what was asked, 500 for what cannot be saved."""
    return JSONResponse({"error": printable(error)}, 500 if isinstance(error, OSError) else 400)


def _failed(_: Request, error: Exception) -> Response:
    logger.error("the review page has failed", exc_info=error)
    return JSONResponse({"error": f"the server has failed: {printable(error)}. Nothing of this was saved"}, 500)
