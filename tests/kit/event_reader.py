"""An EventSource over a real socket: it comes back by itself with the id of its last event, as a browser does, but at
once. And who sends, over HTTP."""

from __future__ import annotations

import http.client
import socket
import time
from typing import Callable

from kit.event_source import Event, EventSource, packet_of

TIMEOUT = 10.0


def split(address: str) -> tuple[str, int]:
    """Host and port of an address as the server says it."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    return host, int(port)


class EventReader:
    """All events that came, over all its connections."""

    def __init__(self, address: str, *, last_id: str = "", receive_buffer: int = 0) -> None:
        self.address = address
        self.last_id = last_id
        self.events: list[Event] = []
        self.connections = 0
        self._receive_buffer = receive_buffer
        self._sock: socket.socket | None = None
        self._source = EventSource()

    def connect(self) -> None:
        """Ask for the stream."""
        self.close()
        sock = socket.socket()
        if self._receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        sock.settimeout(TIMEOUT)
        sock.connect(split(self.address))
        last = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        sock.sendall(f"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{last}\r\n".encode())
        self._sock, self._source = sock, EventSource(self.last_id)
        self._head = b""
        self.connections += 1

    def read_until(self, predicate: Callable[[], object], what: str) -> None:
        """Read, and come back whenever the connection ends, until that is so."""
        deadline = time.monotonic() + TIMEOUT
        while not predicate():
            assert time.monotonic() < deadline, f"waited in vain: {what}; {len(self.events)} events"
            if self._sock is None:
                try:
                    self.connect()
                except OSError:
                    time.sleep(0.01)
                    continue
            self._read()

    def _read(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.close()
            return
        if not self._head.endswith(b"\r\n\r\n"):
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            self._head = head + end
            if not end:
                return
            assert (
                self._head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Content-Type: text/event-stream\r\n" in self._head
            )
        self.events += self._source.feed(data)
        self.last_id = self._source.last_id

    def close(self) -> None:
        """The connection is lost."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def begin(self) -> EventReader:
        """Wait for the first event."""
        self.read_until(lambda: self.sessions, "the session")
        return self

    def __enter__(self) -> EventReader:
        return self.begin()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def sessions(self) -> list[dict[str, object]]:
        """What the stream said of itself, each time that it began."""
        return [event.value for event in self.events if event.type == "session"]

    @property
    def gaps(self) -> list[dict[str, int]]:
        return [event.value for event in self.events if event.type == "gap"]

    @property
    def client_id(self) -> int:
        return self.sessions[-1]["client_id"]  # type: ignore[return-value]

    @property
    def token(self) -> str:
        return self.sessions[-1]["token"]  # type: ignore[return-value]

    @property
    def got(self) -> list[bytes]:
        """Packets, in order."""
        return [packet_of(event) for event in self.events if event.type in ("message", "binary")]


class Sender:
    """Sends packets with a token, over one connection that is kept, or another where that is lost."""

    def __init__(self, address: str, token: str) -> None:
        self._connection = http.client.HTTPConnection(*split(address), timeout=TIMEOUT)
        self._headers = {"Authorization": f"Bearer {token}"}

    def post(self, body: bytes) -> int:
        """The status of the answer."""
        self._connection.request("POST", "/send", body, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
