"""Many clients at once in one thread: each sends numbered packets, some are cut on the way and resume.

A cut is a shutdown, or a takeover, between two packets. Either lets the kernels deliver what they hold, so that every
packet must come back, once, in order. What is in a socket's buffers when its machine dies is lost, and not for testing.
"""

from __future__ import annotations

import selectors
import socket
import struct

from kit.raw_client import TIMEOUT, RawClient, frame

_NUMBER = struct.Struct("<IQ")
WINDOW = 200
"""Packets a client has under way at most: enough for every queue to be in use, and for none to overflow."""


class NumberedClient:
    """Sends packets 0 to `count` - 1, of sizes that vary, to a backend that echoes; checks what comes back."""

    def __init__(self, address: str, count: int, cut_at: int, takeover: bool) -> None:
        self.connection = RawClient.new(address)
        self.client_id = self.connection.client_id
        self.count = count
        self.sent = 0
        self.received = 0
        self.resumed = 0
        self._cut_at = cut_at
        self._takeover = takeover
        self._unsent = b""
        self._ending = False

    @property
    def done(self) -> bool:
        return self.received == self.count

    def payload(self, number: int) -> bytes:
        return _NUMBER.pack(number, self.client_id) + b"x" * (number * 31 % 97)

    def on_writable(self) -> None:
        """Send what may be under way."""
        if self._ending:
            return
        if not self._unsent:
            until = min(self.count, self.received + WINDOW, self.sent + 64)
            self._unsent = b"".join([frame(self.payload(number)) for number in range(self.sent, until)])
            self.sent = max(self.sent, until)
        if self._unsent:
            try:
                self._unsent = self._unsent[self.connection.sock.send(self._unsent) :]
            except BlockingIOError:
                return

    def leave(self) -> list[bytes]:
        """End the connection. What came behind the last packet, which should be nothing."""
        self.connection.sock.settimeout(TIMEOUT)
        return self.connection.leave()

    @property
    def has_to_write(self) -> bool:
        return not self._ending and bool(self._unsent or self.sent < min(self.count, self.received + WINDOW))

    def on_readable(self) -> None:
        try:
            alive = self.connection.fill()
        except BlockingIOError:
            return
        self._take()
        if not alive:
            assert self._ending, f"client {self.client_id} was closed by the server"
            self._replace(self.connection.come_back())

    def _take(self) -> None:
        while (payload := self.connection.pop()) is not None:
            expected = self.payload(self.received)
            assert payload == expected, f"client {self.client_id}: not {self.received} but {payload[:12]!r}"
            self.received += 1

    def wants_a_cut(self) -> bool:
        return 0 <= self._cut_at <= self.received and not self._unsent and not self._ending

    def cut(self) -> None:
        """Between two packets. A takeover resumes at once; a shutdown once the server has closed its side."""
        self._cut_at = -1
        if not self._takeover:
            self._ending = True
            self.connection.no_more_to_say()
            return
        again = self.connection.come_back()
        self.connection.sock.settimeout(TIMEOUT)
        while self.connection.fill():
            self._take()
        self._take()
        self._replace(again)

    def _replace(self, again: RawClient) -> None:
        self.connection.close()
        self.connection, self._ending = again, False
        self.resumed += 1
        self._take()


def drive(clients: list[NumberedClient]) -> None:
    """Turn until everyone has all its packets back."""
    with selectors.DefaultSelector() as selector:
        registered: dict[NumberedClient, socket.socket] = {}
        busy = set(clients)
        for client in clients:
            _watch(selector, registered, client)
        while busy:
            ready = selector.select(20)
            assert ready, _stuck(busy)
            for key, mask in ready:
                client: NumberedClient = key.data
                if mask & selectors.EVENT_READ:
                    client.on_readable()
                if mask & selectors.EVENT_WRITE:
                    client.on_writable()
                if client.wants_a_cut():
                    client.cut()
                _watch(selector, registered, client)
                if client.done:
                    busy.discard(client)


def _watch(
    selector: selectors.BaseSelector, registered: dict[NumberedClient, socket.socket], client: NumberedClient
) -> None:
    sock = client.connection.sock
    events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.has_to_write else 0)
    before = registered.get(client)
    if before is sock:
        selector.modify(sock, events, client)
        return
    if before is not None:
        selector.unregister(before)  # closed by now: the selector looks it up by the object
    sock.setblocking(False)
    selector.register(sock, events, client)
    registered[client] = sock


def _stuck(busy: set[NumberedClient]) -> str:
    some = [f"client {client.client_id}: sent {client.sent}, back {client.received}" for client in list(busy)[:5]]
    return f"nothing for 20 s, {len(busy)} clients not done: {'; '.join(some)}"
