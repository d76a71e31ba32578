"""A client of each protocol behind one face, for what is promised on every lane: `Party` and its kinds in `PARTIES`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from kit.event_world import Caller, EventClient, post
from kit.record_world import RecordClient, enter
from kit.speaker import Speaker
from kit.world import Client, Peer, World


class Party:
    """One session's client, over one connection after the other. Subclasses say how it speaks."""

    protocol = ""
    connection: Any

    def __init__(self, home: World, lane: ModuleType, **options: object) -> None:
        self.home, self.lane = home, lane
        self.begin(lane, **options)
        home.settle()
        assert self.ready

    def begin(self, lane: ModuleType, **options: object) -> None:
        """A new session over this lane; whoever waits until it is there."""
        raise NotImplementedError

    def come_back(self, lane: ModuleType) -> None:
        """The same session over another connection, whatever has become of the one before."""
        raise NotImplementedError

    @property
    def id(self) -> int:
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether the connection has its session."""
        return bool(self.connection.ready)

    @property
    def got(self) -> list[bytes]:
        """All packets that have come for it, over all connections."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether the server has ended the connection."""
        return bool(self.connection.ended)

    def send(self, *packets: bytes) -> None:
        self.connection.send(*packets)

    @property
    def uplink(self) -> Peer:
        """The connection that it sends by."""
        return self.connection  # type: ignore[no-any-return]

    def wire_of(self, *packets: bytes) -> bytes:
        """What it would send for these packets."""
        uplink, words = self.uplink, []
        uplink.write = lambda data, when_whole=None: words.append(data)  # type: ignore[assignment, method-assign, misc]
        self.send(*packets)
        del uplink.write
        return b"".join(words)

    def cut(self) -> None:
        """The connection dies; what has arrived is read before."""
        self.connection.cut()

    def read(self, whether: bool) -> None:
        """Whether it reads from now on."""
        self.connection.reading = whether


class OfVersion2(Party):
    protocol = "v2"
    connection: Client

    def begin(self, lane: ModuleType, **options: object) -> None:
        self.connection = self.home.start_new(lane=lane, **options)

    def come_back(self, lane: ModuleType) -> None:
        self.connection = self.home.resume(self.connection, lane=lane)

    @property
    def id(self) -> int:
        return self.connection.id

    @property
    def got(self) -> list[bytes]:
        return self.connection.got


class OfVersion3(Party):
    """Encrypted."""

    protocol = "v3"
    connection: RecordClient

    def begin(self, lane: ModuleType, **options: object) -> None:
        self.connection = RecordClient(self.home, lane=lane, **options)  # type: ignore[arg-type]

    def come_back(self, lane: ModuleType) -> None:
        self.connection = enter(self.home, self.connection.session, lane=lane)

    @property
    def id(self) -> int:
        return self.connection.session.id

    @property
    def got(self) -> list[bytes]:
        return self.connection.session.events  # type: ignore[return-value]


class OpenConnection(Peer):
    """A message is a packet, from the first on."""

    def __init__(self, world: World, lane: ModuleType, send_buffer: int = 4096) -> None:
        super().__init__(world, send_buffer)
        self.speaker: Speaker = lane.Speaker()
        self.speaker.protocol = ""
        self.tunnel = self.speaker.tunnel
        self.got: list[bytes] = []
        self.ready = True
        world.clients.append(self)  # type: ignore[arg-type]
        world.let_in(self, "", lane)
        self.write(self.speaker.opening)

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.write(self.speaker.encode(packet))

    def decode(self, data: bytes) -> list[bytes]:
        return self.speaker.decode(data)

    def on_frame(self, payload: bytes) -> None:
        self.got.append(payload)


class OfNoProtocol(Party):
    protocol = "open"
    connection: OpenConnection

    def begin(self, lane: ModuleType, **options: object) -> None:
        self.before = set(self.home.server.registry.sessions)
        self.connection = OpenConnection(self.home, lane, **options)  # type: ignore[arg-type]
        self.home.settle()
        (self._id,) = set(self.home.server.registry.sessions) - self.before

    @property
    def id(self) -> int:
        return self._id

    @property
    def got(self) -> list[bytes]:
        return self.connection.got


class OfEvents(Party):
    """A stream of events down, requests up."""

    protocol = "events"
    connection: EventClient

    def begin(self, lane: ModuleType, **options: object) -> None:
        self._earlier: list[EventClient] = []
        self._caller: Caller | None = None
        self.connection = EventClient(self.home, lane=lane, **options)  # type: ignore[arg-type]

    def come_back(self, lane: ModuleType) -> None:
        self._earlier.append(self.connection)
        self._caller, self.lane = None, lane
        self.connection = EventClient(self.home, self.connection.source.last_id, lane=lane)
        self.home.settle()

    @property
    def id(self) -> int:
        return self.connection.id

    @property
    def ready(self) -> bool:
        return bool(self.connection.events)

    @property
    def got(self) -> list[bytes]:
        return [packet for stream in (*self._earlier, self.connection) for packet in stream.got]

    @property
    def uplink(self) -> Peer:
        if self._caller is None:
            self._caller = Caller(self.home, lane=self.lane)
        return self._caller

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.uplink.write(post(self.connection.token, packet))

    def cut(self) -> None:
        if self._caller is not None:
            self._caller.cut()
        super().cut()


PARTIES: dict[str, type[Party]] = {kind.protocol: kind for kind in (OfVersion2, OfVersion3, OfNoProtocol, OfEvents)}
"""By protocol."""
