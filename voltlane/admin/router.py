"""Paths → handlers."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Callable, NamedTuple, Union

from ..wire.http1.answers import Refusal, Response
from ..wire.http1.conversation import Request
from ..wire.http1.target import split_path
from .steps import Steps

Work = Steps[Response]
"""An answer that takes more than a moment."""
Handler = Callable[..., Union[Response, Work]]
"""Called with the request, and the number that stands for `{id}` in the path."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"}
_ID = "{id}"
_LARGEST_ID = (1 << 64) - 1


class Route(NamedTuple):
    """`handler` answers `method` at `path`, where `{id}` stands for a client id. HEAD and OPTIONS come with it."""

    method: str
    path: str
    handler: Handler


class Router:
    """A table of routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[tuple[str | None, ...], dict[str, Handler]] = {}  # None stands for an id
        for route in routes:
            pattern = tuple([None if segment == _ID else segment for segment in split_path(route.path)])
            self._routes.setdefault(pattern, {})[route.method] = route.handler

    def dispatch(self, request: Request) -> Response | Work:
        """Call the handler of a request. Raises Refusal."""
        if not request.segments:
            return _options(method for handlers in self._routes.values() for method in handlers)
        pattern: list[str | None] = []
        numbers: list[int] = []
        for segment in request.segments:
            number = _number(segment)
            pattern.append(segment if number is None else None)
            if number is not None:
                numbers.append(number)
        handlers = self._routes.get(tuple(pattern))
        if handlers is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing at this path")
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is not None:
            return handler(request, *numbers)
        if request.method == "OPTIONS":
            return _options(handlers)
        if request.method not in _METHODS:
            raise Refusal(HTTPStatus.NOT_IMPLEMENTED, "there is no such method here")
        allowed = _allowed(handlers)
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"allowed here: {allowed}", ("Allow", allowed))


def _number(segment: str) -> int | None:
    """The id that a segment is; None if it is none."""
    if not (segment.isascii() and segment.isdigit() and len(segment) <= 20):
        return None
    number = int(segment)
    return number if number <= _LARGEST_ID else None


def _allowed(methods: Iterable[str]) -> str:
    given = {*methods, "OPTIONS"}
    return ", ".join(sorted(given | {"HEAD"} if "GET" in given else given))


def _options(methods: Iterable[str]) -> Response:
    return Response(HTTPStatus.OK, b"", "", (("Allow", _allowed(methods)),))
