"""Paths → handlers."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from http import HTTPStatus
from typing import Callable, NamedTuple, Union

from .answers import Refusal, Response
from .http1 import Request

Work = Generator[None, None, Response]
"""An answer that takes more than a moment: each step is for a turn of its own."""
Handler = Callable[..., Union[Response, Work]]
"""Called with the request, and the number that stands for `{id}` in the path."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"}
_LARGEST_ID = (1 << 64) - 1


class Route(NamedTuple):
    """`handler` answers `method` at `path`, where `{id}` stands for a client id. GET includes HEAD."""

    method: str
    path: str
    handler: Handler


class Router:
    """A table of routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[tuple[str, ...], dict[str, Handler]] = {}
        for route in routes:
            self._routes.setdefault(tuple(route.path.split("/")), {})[route.method] = route.handler

    def dispatch(self, request: Request) -> Response | Work:
        """Call the handler of a request. Raises Refusal."""
        pattern: list[str] = []
        numbers: list[int] = []
        for part in request.path.split("/"):
            if part.isascii() and part.isdigit() and len(part) <= 20:
                pattern.append("{id}")
                numbers.append(min(int(part), _LARGEST_ID))
            else:
                pattern.append(part)
        handlers = self._routes.get(tuple(pattern))
        if handlers is None or len(numbers) != pattern.count("{id}"):
            raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing at this path")
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is not None:
            return handler(request, *numbers)
        if request.method not in _METHODS:
            raise Refusal(HTTPStatus.NOT_IMPLEMENTED, "there is no such method here")
        allowed = ", ".join(sorted({*handlers, *(["HEAD"] if "GET" in handlers else [])}))
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"allowed here: {allowed}", ("Allow", allowed))
