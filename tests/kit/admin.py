"""Asking an admin endpoint: over a socket pair in a world of one thread, or over the network."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from kit.world import World, world

from voltlane.admin.connection import AdminConnection
from voltlane.admin.endpoint import Endpoint

TOKEN = "a-token-of-16-or-more"


class Answer(NamedTuple):
    """One answer, as a client of HTTP sees it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def watched_world(settings: Mapping[str, object]) -> Iterator[World]:
    """A world whose server has an admin endpoint."""
    with world(settings) as made:
        made.server.admin = made.server._open_admin()
        watched, timers = made._plain
        made._plain = (watched + 1, timers)
        yield made


class Asker:
    """One connection to the endpoint of a world's server."""

    def __init__(self, world: World) -> None:
        assert world.server.admin is not None
        self.world = world
        self.endpoint: Endpoint = world.server.admin
        theirs, self.sock = socket.socketpair()
        theirs.setblocking(False)
        self.sock.setblocking(False)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.endpoint._accept(theirs, None)
        self.received = b""
        self.ended = False

    @property
    def connection(self) -> AdminConnection:
        """The server's end, of the only asker there is."""
        (connection,) = self.endpoint.places
        return connection

    def write(self, data: bytes) -> None:
        """Send bytes, as fast as the server reads them."""
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                self.settle()
            except OSError:
                return

    def settle(self) -> bytes:
        """Turn until nothing moves any more; what came meanwhile."""
        before, quiet = len(self.received), 0
        while quiet < 3:
            self.world.loop.turn(0)
            quiet = 0 if self.read() or self.world.loop._tasks else quiet + 1
        return self.received[before:]

    def read(self) -> int:
        """Take what is there."""
        moved = 0
        while not self.ended:
            try:
                data = self.sock.recv(1 << 16)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            self.ended = not data
            self.received += data
            moved += len(data) or 1
        return moved

    def raw(self, data: bytes) -> list[Answer]:
        """What is answered to bytes, all of it."""
        self.write(data)
        return answers(self.settle())

    def ask(self, method: str, target: str, body: bytes = b"", /, **headers: str) -> Answer:
        """One request, and its answer."""
        lines = {"host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body:
            lines["content-length"] = str(len(body))
        head = "".join([f"{method} {target} HTTP/1.1\r\n", *[f"{name}: {text}\r\n" for name, text in lines.items()]])
        self.write(head.encode("latin-1") + b"\r\n" + body)
        (answer,) = answers(self.settle(), method)
        return answer

    def get(self, target: str, /, **headers: str) -> Answer:
        return self.ask("GET", target, **headers)

    def post(self, target: str, body: bytes = b"", /, **headers: str) -> Answer:
        return self.ask("POST", target, body, **headers)

    def events(self) -> list[tuple[str, Any]]:
        """The server-sent events received so far, as (name, data)."""
        head, _, rest = self.received.partition(b"\r\n\r\n")
        assert b"text/event-stream" in head, self.received[:300]
        stream = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            stream, rest = stream + rest[:length], rest[length + 2 :]
        found = []
        for block in stream.split(b"\n\n"):
            fields = dict(line.split(b": ", 1) for line in block.splitlines())
            if b"event" in fields:
                found.append((fields[b"event"].decode(), json.loads(fields[b"data"])))
        return found

    def close(self) -> None:
        self.sock.close()
        self.world.settle()


def answers(data: bytes, method: str = "GET") -> list[Answer]:
    """The answers that stand in what was received. A "100 Continue" is one with no headers."""
    found: list[Answer] = []
    while data:
        head, blank, rest = data.partition(b"\r\n\r\n")
        assert blank, data
        lines = head.decode("latin-1").split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {name.lower(): text for name, text in (line.split(": ", 1) for line in lines[1:])}
        length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
        assert len(rest) >= length, data
        found.append(Answer(int(status), headers, rest[:length]))
        data = rest[length:]
    return found
