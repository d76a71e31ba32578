"""Reading the clients of version 3 that say little, all that are ready at once: see `quiet`.

What is read here comes from clients with which nothing else goes on; mostly that is one record with one small packet.
"""

from __future__ import annotations

from ..net.poller import HANGUP, READ
from ..net.reactor import Events, Handler
from ..wire.framing import PREFIX, PREFIX_SIZE
from ..wire.tagged import TAG_SIZE
from .fairness.turns import FIRST_QUANTUM, NOTED, OWED, OWING, UNPAUSED
from .occasional import OccasionalReader
from .records import READER, RecordConnection
from .shared import Shared

_INBOUND = READ | HANGUP
_BUSY = ~(NOTED | OWING | OWED | UNPAUSED)


class QuietRecords(OccasionalReader):
    """The batch reader of `records`, where the framing is the length prefix."""

    name = READER

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        shared.on_records = self.come_and_go

    def read(self, events: Events, handlers: list[Handler | None]) -> Events:
        """See OccasionalReader."""
        shared, ours = self._shared, READER
        reactor, trunk, scratch, space = shared.reactor, shared.trunk, shared.scratch, shared.behind_tag
        size_at, level_triggered = PREFIX.unpack_from, reactor.poller.rearm_read is not None
        left = []
        for event in events:
            handler = handlers[event[0]]
            if handler is None or handler.batch_reader is not ours or event[1] & _INBOUND != READ:
                left.append(event)
                continue
            client: RecordConnection = handler  # type: ignore[assignment] # nobody else names this reader
            waits = client.outbox is not None or client.unsent is not None  # for room, which the event may tell of
            if waits or client.flags & _BUSY or client.partial is not None or client.framing:
                left.append(event)
                continue
            try:
                received = client.sock.recv_into(space, FIRST_QUANTUM)  # type: ignore[union-attr] # it is watched: open
            except BlockingIOError:
                received = -1
            except OSError as error:
                reactor.fail(client, error)
                continue
            size = received - PREFIX_SIZE
            try:
                if size > 0 and size_at(scratch, TAG_SIZE)[0] == size:
                    client.take_record(TAG_SIZE + received)
                    if level_triggered:
                        reactor.drained(client.sock)
                else:
                    client.take(received)
            except Exception as error:
                reactor.failed(client, error)
        if trunk.staged:
            trunk.flush_later()
        return left
