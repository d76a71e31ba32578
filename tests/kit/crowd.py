"""Many connections to an admin endpoint that do it no good, each made again as soon as it is closed (Linux).

python crowd.py PORT NUMBER KIND...    until standard input ends
"""

from __future__ import annotations

import select
import socket
import sys

_HEAD = b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
KINDS = {
    "silent": b"",
    "byte": b"G",
    "slow-body": b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx",
    "viewer": b"GET /events" + _HEAD,
    "deaf": (b"GET /" + _HEAD) * 100,  # takes nothing of what it asks for
    "busy": b"GET /clients?limit=500" + _HEAD,
    "idle": b"GET /livez" + _HEAD,
}


class Crowd:
    """So many connections, the kinds in turn."""

    def __init__(self, port: int, number: int, kinds: list[str]) -> None:
        self._port = port
        self._poll = select.epoll()
        self._all: dict[int, tuple[socket.socket, str]] = {}
        for index in range(number):
            self._begin(kinds[index % len(kinds)])

    def _begin(self, kind: str) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect_ex(("127.0.0.1", self._port))
        self._all[sock.fileno()] = sock, kind
        self._poll.register(sock, select.EPOLLOUT)

    def go_on(self) -> None:
        """Until standard input ends."""
        self._poll.register(sys.stdin, select.EPOLLIN)
        while True:
            for descriptor, mask in self._poll.poll():
                if descriptor == sys.stdin.fileno():
                    return
                sock, kind = self._all[descriptor]
                if not self._goes_on(sock, kind, mask):
                    del self._all[descriptor]
                    sock.close()
                    self._begin(kind)

    def _goes_on(self, sock: socket.socket, kind: str, mask: int) -> bool:
        try:
            if mask & select.EPOLLOUT:
                sock.send(KINDS[kind])
                self._poll.modify(sock, select.EPOLLRDHUP if kind == "deaf" else select.EPOLLIN)
                return True
            return kind != "deaf" and bool(sock.recv(65536))
        except BlockingIOError:
            return True
        except OSError:
            return False


if __name__ == "__main__":
    crowd = Crowd(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    print("ready", flush=True)
    crowd.go_on()
