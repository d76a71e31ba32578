"""A client of version 3 and a master, as far as numbers go: what each has sent and got over one process after another,
and whether what is missing was told."""

from __future__ import annotations

from kit.frames import join, split_tagged
from kit.stores import Process, delivered

from voltlane.core.delivery import Claims, agree
from voltlane.core.session import Session
from voltlane.wire.tagged import Flag, frame_tagged


class Master:
    """What has arrived there, by client, and what it has sent."""

    def __init__(self) -> None:
        self.got: dict[int, list[bytes]] = {}
        self.sent: dict[int, list[bytes]] = {}

    def connect(self, process: Process) -> None:
        """It takes all that waits, once it is handed over."""
        process.trunk.before_connecting()
        held, process.trunk.held = process.trunk.held, []
        for chunk, _ in held:
            self._take(chunk)
        for session in process.registry.sessions.values():
            if session.delivery is not None:
                session.delivery.safe = session.delivery.taken

    def take(self, process: Process, client_id: int, packet: bytes) -> None:
        """A packet of this client's is written to it."""
        self._take(frame_tagged(client_id, Flag.DATA, packet))
        delivery = process.registry.sessions[client_id].delivery
        assert delivery is not None
        delivery.safe = delivery.taken

    def send(self, process: Process, client_id: int, packet: bytes) -> None:
        """The server has read it from the firehose."""
        self.sent.setdefault(client_id, []).append(packet)
        process.hub.deliver({client_id: join([packet])})

    def _take(self, chunk: bytes | bytearray | memoryview) -> None:
        for packet in split_tagged(bytes(chunk)):
            if packet.flag is Flag.DATA:
                self.got.setdefault(packet.client_id, []).append(packet.data)


class Client:
    """One client, and what it knows of its packets."""

    def __init__(self, session: Session, master: Master) -> None:
        assert session.delivery is not None
        self.id = session.id
        self.master = master
        self.epoch = session.delivery.epoch
        self.got: list[bytes] = []
        self.taken = 0
        self.sent: list[bytes] = []
        self.acked = 0
        self.gaps = 0
        """How many it was told of, when it came back last."""
        self.unsure: set[int] = set()
        """The numbers of those that it was told are uncertain."""

    def send(self, process: Process, packet: bytes, connected: bool) -> None:
        """The server takes it, and the master as well, if it is `connected`; the client hears of that."""
        delivery = process.registry.sessions[self.id].delivery
        assert delivery is not None
        self.sent.append(packet)
        delivery.taken += 1
        if connected:
            self.master.take(process, self.id, packet)
            self.acked = delivery.safe
        else:
            process.trunk.held.append((frame_tagged(self.id, Flag.DATA, packet), 1))

    def receive(self, *packets: bytes) -> None:
        self.got += packets
        self.taken += len(packets)

    def resume(self, process: Process) -> None:
        """Come back, be told, confirm it, and ack what was missed."""
        session = process.registry.sessions[self.id]
        delivery = session.delivery
        assert delivery is not None
        kept = session.backlog.packets if session.backlog is not None else 0
        claims = Claims(self.epoch, self.taken, self.taken, len(self.sent), self.acked)
        agreement, another = agree(delivery, kept, claims), delivery.epoch != self.epoch
        process.registry.journal.renewed(session, True)
        packets = delivered(process, self.id)
        # Nothing of this has happened for a process that was killed in one of the two.
        self.gaps = 0
        if agreement.gap is not None:
            self.gaps, self.taken = 1, agreement.gap.last
        self.acked = max(self.acked, delivery.safe)
        if another:
            self.unsure |= set(range(self.acked + 1, agreement.taken + 1))
            self.epoch, self.acked = delivery.epoch, agreement.taken
        if agreement.taken > delivery.taken:
            delivery.taken = delivery.safe = agreement.taken
        if agreement.old:
            delivery.before += agreement.old
        self.receive(*packets[agreement.old + agreement.skip :])
        if self.taken > delivery.floor:
            delivery.acked(self.taken)

    def check(self, process: Process, where: str) -> None:
        """Everything has arrived, or it was told. The client has come back, and the master is connected."""
        missing = [packet for packet in self.master.sent.get(self.id, []) if packet not in self.got]
        assert self.gaps or not missing, f"{where}: {missing} are missing, and no gap was told"
        assert len(set(self.got)) == len(self.got), f"{where}: twice"
        there = self.master.got.get(self.id, [])
        assert len(set(there)) == len(there), f"{where}: twice at the master"
        delivery = process.registry.sessions[self.id].delivery
        assert delivery is not None
        for number, packet in enumerate(self.sent, 1):
            assert packet in there or number in self.unsure or number > delivery.taken, f"{where}: {packet!r} is lost"
            assert packet not in there or number <= delivery.taken, f"{where}: {packet!r} would be sent once more"
