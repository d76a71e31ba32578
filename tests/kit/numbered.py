"""A client of version 3 and a master, as far as numbers go: what each has sent and got over one process after another,
and whether what is missing was told, at its place."""

from __future__ import annotations

from kit.frames import join, split_tagged
from kit.stores import Process, delivered

from voltlane.core.delivery import Claims, Delivery, agree
from voltlane.core.session import Session
from voltlane.wire.tagged import Flag, frame_tagged
from voltlane.wire.v3 import Gap

WELCOME, CONFIRMATION = "welcome", "confirmation"
"""What may be lost with a connection: what the client is told, or what it says to that."""


class Master:
    """What has arrived there, by client, and what it has sent."""

    def __init__(self) -> None:
        self.got: dict[int, list[bytes]] = {}
        self.sent: dict[int, list[bytes]] = {}
        self._process: Process | None = None
        self._noted: list[Delivery] = []

    def connect(self, process: Process) -> None:
        """It takes all that waits, once it is handed over, and all that comes from then on."""
        process.trunk.before_connecting()
        self._process = process
        held, process.trunk.held = process.trunk.held, []
        for chunk, _ in held:
            self._take(bytes(chunk))
        for delivery in self._noted:
            delivery.safe = delivery.taken
        self._noted = []

    def disconnect(self) -> None:
        """What comes from now on waits."""
        self._process = None

    def push(self, process: Process, client_id: int, packet: bytes) -> None:
        """The server passes a packet of this client's on."""
        chunk = frame_tagged(client_id, Flag.DATA, packet)
        if self._process is process:
            self._take(chunk)
        else:
            process.trunk.held.append((chunk, 1))

    def note(self, process: Process, delivery: Delivery) -> None:
        """What was taken is safe once all that was passed on until now is written."""
        if self._process is process:
            delivery.safe = delivery.taken
        else:
            self._noted.append(delivery)

    def send(self, process: Process, client_id: int, packet: bytes) -> None:
        """The server has read it from the firehose."""
        self.sent.setdefault(client_id, []).append(packet)
        process.hub.deliver({client_id: join([packet])})

    def _take(self, chunk: bytes) -> None:
        for packet in split_tagged(chunk):
            if packet.flag is Flag.DATA:
                self.got.setdefault(packet.client_id, []).append(packet.data)


class Client:
    """One client, and what it knows of its packets."""

    def __init__(self, session: Session, master: Master) -> None:
        assert session.delivery is not None
        self.id = session.id
        self.master = master
        self.epoch = session.delivery.epoch
        self.events: list[bytes | Gap] = []
        """Packets and gaps, as they came."""
        self.taken = 0
        self.sent: list[bytes] = []
        self.acked = 0
        self.unsure: set[int] = set()
        """The numbers of those that it was told are uncertain."""

    @property
    def got(self) -> list[bytes]:
        return [event for event in self.events if isinstance(event, bytes)]

    @property
    def gaps(self) -> list[Gap]:
        return [event for event in self.events if isinstance(event, Gap)]

    def send(self, process: Process, packet: bytes) -> None:
        """The server takes it, and the master as well, if it is connected: then the client hears that it is safe."""
        self.sent.append(packet)
        self._bring(process, packet)
        delivery = self._delivery(process)
        self.acked = max(self.acked, delivery.safe)

    def receive(self, *packets: bytes) -> None:
        self.events += packets
        self.taken += len(packets)

    def resume(self, process: Process, loses: str = "") -> None:
        """Come back, be told, confirm it, ack what was missed and send again what has not arrived; or be away again
        where that `loses` something. Nothing of it has happened for a process that is killed meanwhile."""
        session, delivery = process.registry.sessions[self.id], self._delivery(process)
        kept = session.backlog.packets if session.backlog is not None else 0
        agreement = agree(delivery, kept, Claims(self.epoch, self.taken, self.taken, len(self.sent), self.acked))
        process.registry.journal.renewed(session, True)
        packets = delivered(process, self.id)[agreement.skip :]
        if self.taken > delivery.floor:
            delivery.acked(self.taken)
        delivery.taken = agreement.taken
        if agreement.uncertain is None:
            self.master.note(process, delivery)
        if loses != WELCOME:
            self._hear(delivery, agreement.taken, agreement.gap)
            self.receive(*packets)
        if loses:
            if loses == CONFIRMATION:
                self.sent.append(b"%d lost behind the welcome of %d" % (self.id, self.epoch))
            process.hub.lost(session, [(join([packet]), 1) for packet in packets], process.loop.now)
            return
        process.registry.journal.renewed(session, False)
        if agreement.uncertain is not None:
            self.master.note(process, delivery)
        if self.taken > delivery.floor:
            delivery.acked(self.taken)
        for packet in self.sent[agreement.taken :]:
            self._bring(process, packet)

    def _hear(self, delivery: Delivery, taken: int, gap: Gap | None) -> None:
        """The welcome, and what goes with it."""
        self.acked = max(self.acked, delivery.safe)
        if self.epoch != delivery.epoch:
            self.epoch = delivery.epoch
            self.unsure |= set(range(self.acked + 1, taken + 1))
        if gap is not None:
            assert gap.first == self.taken + 1
            self.taken = gap.last
            self.events.append(gap)

    def _bring(self, process: Process, packet: bytes) -> None:
        delivery = self._delivery(process)
        self.master.push(process, self.id, packet)
        delivery.taken += 1
        self.master.note(process, delivery)

    def _delivery(self, process: Process) -> Delivery:
        delivery = process.registry.sessions[self.id].delivery
        assert delivery is not None
        return delivery

    def check(self, where: str) -> None:
        """Everything has arrived once and in order, or it was told. The client has come back, and the master is
        connected."""
        sent, at, gap = self.master.sent.get(self.id, []), 0, False
        for event in self.events:
            if isinstance(event, Gap):
                gap = True
                continue
            index = sent.index(event)
            assert index >= at, f"{where}: {event!r} came twice, or too late"
            assert index == at or gap, f"{where}: {sent[at:index]} are missing, and no gap was told there"
            at, gap = index + 1, False
        assert at == len(sent) or gap, f"{where}: {sent[at:]} are missing, and no gap was told"
        there = self.master.got.get(self.id, [])
        arrived = [packet for packet in self.sent if packet in there]
        assert there == arrived, f"{where}: the master has {there} of {self.sent}"
        for number, packet in enumerate(self.sent, 1):
            assert packet in there or number in self.unsure, f"{where}: {packet!r} is lost"
