"""A backend that echoes to the good, and feeds the hungry without a pause: `python -m bench.starve.feeder`.

A client is hungry that has sent the packet FEED_ME, until the server says that its session is over.
"""

from __future__ import annotations

import select
import socket
from collections import deque

from bench.echo import HEAD, RECEIVE

FEED_ME = b"feed me"
PORTION = bytes(16384)
AT_ONCE = 16
"""Portions, each to another client, in a row: the good do not wait for more."""


class Feeder:
    """One connection of the server's."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._received, self._outgoing = bytearray(), bytearray()
        self._hungry: deque[int] = deque()
        self._alive: set[int] = set()

    def run(self) -> None:
        """Until the server is gone."""
        while True:
            wanted = [self._link] if self._outgoing or self._alive else []
            readable, writable, _ = select.select([self._link], wanted, [])
            if readable:
                data = self._link.recv(RECEIVE)
                if not data:
                    return
                self._received += data
                self._take()
            if writable:
                if not self._outgoing:
                    self._feed()
                try:
                    del self._outgoing[: self._link.send(self._outgoing)]
                except BlockingIOError:
                    pass

    def _take(self) -> None:
        received, position = self._received, 0
        while len(received) - position >= HEAD.size:
            size, client_id, flag = HEAD.unpack_from(received, position)
            end = position + 4 + size
            if end > len(received):
                break
            if flag == 1:
                self._alive.discard(client_id)
            elif flag == 0 and received[position + HEAD.size : end] == FEED_ME:
                self._alive.add(client_id)
                self._hungry.append(client_id)
            elif flag == 0:
                self._outgoing += received[position:end]
            position = end
        del received[:position]

    def _feed(self) -> None:
        for _ in range(min(AT_ONCE, len(self._hungry))):
            client_id = self._hungry.popleft()
            if client_id in self._alive:
                self._hungry.append(client_id)
                self._outgoing += HEAD.pack(9 + len(PORTION), client_id, 0) + PORTION


def main() -> None:
    """Serve one connection server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
        link, _ = listener.accept()
        with link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setblocking(False)
            try:
                Feeder(link).run()
            except ConnectionError:
                pass


if __name__ == "__main__":
    main()
