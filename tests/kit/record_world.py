"""Clients of version 3 in a world."""

from __future__ import annotations

from types import ModuleType

from kit.lanes import tcp
from kit.records import Endpoint, Session
from kit.speaker import Speaker
from kit.world import SEND_BUFFER, Peer, World

from voltlane.wire.v3 import Close


class RecordClient(Peer):
    """One connection."""

    def __init__(
        self,
        world: World,
        session: Session | None = None,
        *,
        suite: int = 1,
        window: int = 1 << 20,
        send_buffer: int = SEND_BUFFER,
        address: object = "",
        lane: ModuleType = tcp,
        auto: bool = True,
        header: bytes = b"",
    ) -> None:
        super().__init__(world, send_buffer)
        self.session = session or Session()
        self.endpoint = Endpoint(self.session, suite, window)
        self.auto = auto
        """Whether it answers by itself."""
        self.speaker: Speaker = lane.Speaker()
        self.tunnel = self.speaker.tunnel
        world.clients.append(self)  # type: ignore[arg-type]
        world.let_in(self, address, lane)
        if header:
            self.write_plain(header)
        if self.speaker.opening:
            self.write(self.speaker.opening)
        self.say(self.endpoint.hello())

    def say(self, *messages: bytes) -> None:
        for message in messages:
            self.write(self.speaker.encode(message))

    def send(self, *packets: bytes) -> None:
        """Data, as far as the credit goes; the rest when there is more."""
        self.session.send(*packets)
        self.say(*self.endpoint.flush())

    def tell(self) -> None:
        """Say what is safe, and what it takes."""
        self.say(self.endpoint.tell())

    def decode(self, data: bytes) -> list[bytes]:
        return self.speaker.decode(data)

    def on_frame(self, payload: bytes) -> None:
        before = self.session.taken
        answers = self.endpoint.receive(payload)
        if self.auto:
            self.say(*answers)
            if self.session.taken != before and self.endpoint.ready and self.session.safe is None:
                self.tell()

    def lose(self) -> None:
        """The connection dies, with whatever is on its way."""
        self.closed = True
        self._sending = b""
        self._boundaries.clear()
        self.sock.close()

    @property
    def ready(self) -> bool:
        return self.endpoint.ready


def enter(world: World, session: Session | None = None, **options: object) -> RecordClient:
    """A connection of that session, or of a new one, that was welcomed."""
    client = RecordClient(world, session, **options)  # type: ignore[arg-type]
    world.settle()
    assert client.ready and not client.ended, client.endpoint.close or client.endpoint.refusal
    return client


def told(client: RecordClient) -> Close:
    """What it was told at its end."""
    assert client.ended and client.endpoint.close is not None, client.endpoint.refusal
    return client.endpoint.close


def refused(world: World, session: Session, **options: object) -> RecordClient:
    """A connection of that session that is not let in."""
    client = RecordClient(world, session, **options)  # type: ignore[arg-type]
    world.settle()
    assert client.ended and not client.ready
    return client
