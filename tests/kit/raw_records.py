"""A client of version 3 over a socket, blocking: what it says is `kit.records`.

client = RawRecordClient(address).enter()
client.send(b"up")
client.recv() == b"down"
again = client.come_back()                  # resumes the session over a second connection
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from kit.datagram_client import ASK, Offer, Sealed
from kit.raw_client import connect
from kit.records import Endpoint, Event, Session, framed

from voltlane.wire.framing import FrameBuffer
from voltlane.wire.v3 import Kind


class RawRecordClient:
    """One connection of a session, or of a new one."""

    def __init__(self, address: str, session: Session | None = None, *, receive_buffer: int = 0, **how: Any) -> None:
        self.address = address
        self.session = session or Session()
        self.endpoint = Endpoint(self.session, **how)
        self.sock = connect(address, receive_buffer)
        self._received = FrameBuffer(1 << 20)
        self._seen = len(self.session.events)

    @property
    def client_id(self) -> int:
        return self.session.id

    # ---- in, and out

    def enter(self) -> RawRecordClient:
        """The whole handshake, and a word from the server that it has heard the end of it."""
        self.say(self.endpoint.hello())
        while not self.endpoint.ready:
            if not self.step():
                raise EOFError(f"not welcome: {self.endpoint.close or self.endpoint.refusal}")
        self.fence()
        return self

    def come_back(self, **how: Any) -> RawRecordClient:
        """Resume over a new connection; this one is left as it is."""
        return RawRecordClient(self.address, self.session, **how).enter()

    def fence(self) -> None:
        """Wait until the server has taken all that was said."""
        self.say(self.endpoint.record(Kind.PING, b"fence"))
        pongs = len(self.endpoint.pongs)
        while len(self.endpoint.pongs) == pongs:
            if not self.step():
                raise EOFError(f"closed: {self.endpoint.close}")

    def ask(self) -> Sealed:
        """Ask for datagrams: what both sides seal them with. `offer` is the last answer."""
        seed, before = os.urandom(32), len(self.endpoint.offers)
        self.record(ASK, seed)
        while len(self.endpoint.offers) == before:
            if not self.step():
                raise EOFError(f"closed: {self.endpoint.close}")
        return Sealed(self.session.secret, seed, self.offer.seed)

    @property
    def offer(self) -> Offer:
        """What the server has said last of datagrams."""
        return Offer.of(self.endpoint.offers[-1])

    def close(self) -> None:
        self.sock.close()

    # ---- what it says

    def say(self, *messages: bytes) -> None:
        self.sock.sendall(framed(messages))

    def record(self, kind: int, body: bytes = b"", **wrong: int) -> None:
        """A record, with another ack or credit than is right if a test wants that."""
        self.say(self.endpoint.record(kind, body, **wrong))

    def send(self, *packets: bytes) -> None:
        """Data, and whatever it takes until the credit allows for all of it."""
        self.session.send(*packets)
        self.say(*self.endpoint.flush())
        while self.session.sent < len(self.session.packets):
            if not self.step():
                raise EOFError(f"closed: {self.endpoint.close}")

    # ---- what it hears

    def step(self) -> bool:
        """Take one of the server's messages, and answer it. False at the end of the stream."""
        while (message := self._received.pop()) is None:
            try:
                data = self.sock.recv(1 << 18)
            except (ConnectionResetError, BrokenPipeError):
                return False
            if not data:
                return False
            self._received.feed(data)
        taken = self.session.taken
        answers = self.endpoint.receive(message)
        if self.session.taken != taken:
            answers.append(self.endpoint.tell())
        if answers and self.endpoint.close is None:
            self.say(*answers)
        return True

    def recv(self) -> Event:
        """The application's next event."""
        while self._seen == len(self.session.events):
            if not self.step():
                raise EOFError(f"closed: {self.endpoint.close}")
        self._seen += 1
        return self.session.events[self._seen - 1]

    def rest(self) -> Iterator[Event]:
        """Every event until the server closes."""
        while True:
            try:
                yield self.recv()
            except EOFError:
                return
