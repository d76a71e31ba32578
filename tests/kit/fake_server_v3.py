"""The model of a server of version 3 (kit/model_v3.py) behind real sockets, for tests of the client library.

    with FakeServerV3() as server:
        connection = Connection(server.address)
        server.push(b"from the backend")                # to the newest session
        server.wait_for(b"what it sent")                # at the master

To misbehave: `server.before.append(hook)`: called with the raw socket of the next connection, before anything is read.
`server.lose_down.append(n)`: of what the next connection is sent, n bytes get through, then it is cut.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import Callable

from kit.fake_server import reset, shut
from kit.model_v3 import ModelServer, ServerLink, Session
from kit.wait import wait_until


class FakeServerV3:
    """Serves each connection in a thread; what the model does is done under one lock."""

    def __init__(self, path: str = "") -> None:
        if path:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(path)
            self.address = f"unix:{path}"
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._listener.listen(16)
        self.lock = threading.RLock()
        self.model = ModelServer()
        self.passes_on = True
        """Whether the master takes what comes, at once."""
        self.echoes = False
        """Whether the master sends it back."""
        self.mute = False
        """Whether nothing is answered."""
        self.before: deque[Callable[[socket.socket], object]] = deque()
        self.lose_down: deque[int] = deque()
        self.links: list[tuple[ServerLink, socket.socket]] = []
        self.errors: list[BaseException] = []
        """What a client did wrong."""
        self._threads = [threading.Thread(target=self._accept_loop, daemon=True)]
        self._threads[0].start()

    # ---- what tests do

    @property
    def session(self) -> Session:
        """The newest."""
        return list(self.model.sessions.values())[-1]

    @property
    def passed(self) -> list[bytes]:
        """What the master was given of the newest session."""
        return list(self.session.passed)

    def push(self, *packets: bytes) -> None:
        """From the master to the newest session's client."""
        with self.lock:
            for packet in packets:
                self.session.send(packet)
            self._flush()

    def do(self, what: Callable[[], object]) -> None:
        """Something with the model, under the lock."""
        with self.lock:
            what()
            self._flush()

    def end(self, code: int, text: str = "") -> None:
        """Close the newest session's connection with a code."""
        with self.lock:
            link = self.session.link
            assert link is not None
            link.end(code, text)
            self._flush()
        shut_down(next(sock for of, sock in self.links if of is link))

    def wait_for(self, packet: bytes) -> None:
        wait_until(lambda: self.model.sessions and packet in self.session.passed, f"{packet!r} at the master")

    def cut(self, hard: bool = False) -> None:
        """All connections."""
        for _, sock in self.links:
            if hard and sock.fileno() >= 0:
                reset(sock)
            else:
                shut_down(sock)

    def stop_listening(self) -> None:
        shut(self._listener)
        self._threads[0].join(10.0)

    def close(self) -> None:
        self.stop_listening()
        self.cut()
        for thread in self._threads:
            thread.join(10.0)
        for _, sock in self.links:
            sock.close()

    def __enter__(self) -> FakeServerV3:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        assert not self.errors, self.errors

    # ---- connections

    def _accept_loop(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        link = self.model.accept()
        link.room = self.lose_down.popleft() if self.lose_down else 1 << 60  # type: ignore[attr-defined]
        self.links.append((link, sock))
        try:
            if self.before:
                self.before.popleft()(sock)
            while data := sock.recv(65536):
                with self.lock:
                    if self.mute:
                        continue
                    link.receive(data)
                    if self.passes_on and link.session is not None:
                        before = len(link.session.passed)
                        link.session.pass_on()
                        for packet in link.session.passed[before:] if self.echoes else []:
                            link.session.send(packet)
                    self._flush()
                if link.closed or link.close:
                    break
        except OSError:
            pass
        except BaseException as error:
            self.errors.append(error)
        shut_down(sock)

    def _flush(self) -> None:
        for link, sock in self.links:
            data = bytes(link.output[: link.room])  # type: ignore[attr-defined]
            if not data:
                continue
            link.room -= len(data)  # type: ignore[attr-defined]
            link.output.clear()
            try:
                sock.sendall(data)
                if not link.room:  # type: ignore[attr-defined]
                    shut_down(sock)
            except OSError:
                pass


def shut_down(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
