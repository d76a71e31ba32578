"""What a request is answered with: a response, or a refusal."""

from __future__ import annotations

import json
from typing import Any, Callable, NamedTuple

from ...reasons import AdminEnd

JSON = "application/json"
RETRY = ("Retry-After", "5")
"""On an answer that may be another one soon."""


class Response(NamedTuple):
    """One answer."""

    status: int
    body: bytes
    content_type: str = JSON
    """"" where there is no body."""
    headers: tuple[tuple[str, str], ...] = ()
    follow: Callable[[Any], None] | None = None
    """For an answer without end: is given the connection, which is its own from then on. Not called for a HEAD."""


class Refusal(Exception):
    """A request that cannot be answered as asked. `status` is the HTTP status, the message is for a person; with a
    reason it is counted."""

    def __init__(self, status: int, message: str, *headers: tuple[str, str], reason: AdminEnd | None = None) -> None:
        super().__init__(message)
        self.status = int(status)
        self.headers = headers
        self.reason = reason

    @property
    def response(self) -> Response:
        """It as an answer."""
        return json_response({"error": str(self)}, self.status, *self.headers)


def encode_json(value: Any) -> bytes:
    """JSON in as few bytes as it takes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace")


def json_response(value: Any, status: int = 200, *headers: tuple[str, str]) -> Response:
    """An answer in JSON."""
    return Response(status, encode_json(value) + b"\n", JSON, headers)
