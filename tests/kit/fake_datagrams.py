"""Datagrams beside a FakeServerV3, behind a real socket.

with FakeServerV3() as server, FakeDatagrams(server) as datagrams:
    connection = Connection(server.address)
    connection.datagram(b"up")                       # datagrams.taken
    datagrams.push(b"down")
"""

from __future__ import annotations

import socket
import threading
import time

from kit.fake_server_v3 import FakeServerV3
from kit.model_datagrams import ModelDatagrams
from kit.model_v3 import Session
from kit.wait import wait_until

from voltlane.wire.v3 import NO_DATAGRAMS


class FakeDatagrams:
    """Those of the sessions of one server; `model` is the newest session's."""

    def __init__(self, server: FakeServerV3, host: str = "127.0.0.1") -> None:
        self.refuses = False
        self.deaf = False
        """Whether what comes is lost."""
        self.tells_host = ""
        self.models: dict[int, ModelDatagrams] = {}
        self.asked = 0
        self.errors: list[BaseException] = []
        self.sources: list[object] = []
        """Where what opened came from."""
        self._server = server
        server.model.datagrams = self._answer
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self.port: int = self._socket.getsockname()[1]
        self._closed = False
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    @property
    def model(self) -> ModelDatagrams:
        return list(self.models.values())[-1]

    @property
    def taken(self) -> list[bytes]:
        """What the master was given."""
        with self._server.lock:  # not between a packet and the source that it came from
            return list(self.model.taken) if self.models else []

    def push(self, *packets: bytes) -> None:
        """To the client, when there is a path."""
        self._wait_for_path()
        with self._server.lock:
            for packet in packets:
                datagram, path = self.model.send(packet)
                self._socket.sendto(datagram, path)  # type: ignore[arg-type]

    def raw(self, datagram: bytes) -> None:
        """To the client's path, whatever it is."""
        self._wait_for_path()
        self._socket.sendto(datagram, self.model.keyed.path)  # type: ignore[arg-type]

    def _wait_for_path(self) -> None:
        """The client has answered the challenge before its call is over; here that may come a little later."""
        wait_until(lambda: self.model.keyed.path is not None, "a path to the client")

    def close(self) -> None:
        self._closed = True
        with socket.socket(self._socket.family, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._socket.getsockname())
        self._thread.join(10.0)
        self._socket.close()

    def __enter__(self) -> FakeDatagrams:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        assert not self.errors, self.errors

    def _answer(self, session: Session, seed: bytes) -> bytes:
        if self.refuses:
            return NO_DATAGRAMS
        model = self.models.get(session.id) or ModelDatagrams(time.monotonic, self.port)
        model.host = self.tells_host
        body = model.answer(session.secret, seed)
        self.models[session.id] = model  # with its keys: others look at it meanwhile
        self.asked += 1
        return body

    def _loop(self) -> None:
        while True:
            datagram, source = self._socket.recvfrom(65536)
            if self._closed:
                return
            with self._server.lock:
                if self.deaf:
                    continue
                try:
                    answers = self.model.receive(datagram, source)
                except BaseException as error:
                    self.errors.append(error)
                    continue
                self.sources.append(source)
            for answer, where in answers:
                self._socket.sendto(answer, where)  # type: ignore[arg-type]
