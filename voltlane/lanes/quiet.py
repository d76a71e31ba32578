"""Reading the clients that say little, all that are ready at once.

Most events mean one small packet. Calling a handler for each, and looking up the same things for each, costs more than
the packet does; so a turn's events come here first. What is not ordinary is left for the connection itself.
"""

from __future__ import annotations

from ..net.poller import HANGUP, READ
from ..net.reactor import Events, Handler
from ..wire.framing import PREFIX, PREFIX_SIZE
from ..wire.tagged import HEADER, TAG_SIZE
from .fairness.turns import FIRST_QUANTUM
from .prefix import READER, PrefixConnection
from .shared import Shared

_INBOUND = READ | HANGUP


class QuietReads:
    """The batch reader of `prefix`: takes the events that are one packet each."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._level_triggered = shared.reactor.poller.rearm_read is not None
        shared.reactor.batch_readers[READER] = self.read

    def read(self, events: Events, handlers: list[Handler | None]) -> Events:
        """Read every client that has nothing else going on. The events that are left."""
        shared = self._shared
        if shared.turns.paused:
            return events
        reactor, trunk, level_triggered = shared.reactor, shared.trunk, self._level_triggered
        scratch, space, most = shared.scratch, shared.behind_tag, shared.quiet
        size_at, put_header, staged, ours = PREFIX.unpack_from, HEADER.pack_into, trunk.staged, READER
        left = []
        waiting = iter(events)
        for event in waiting:
            handler = handlers[event[0]]
            if handler is None or handler.batch_reader is not ours or event[1] & _INBOUND != READ:
                left.append(event)
                continue
            client: PrefixConnection = handler  # type: ignore[assignment] # nobody else names this reader
            if client.flags or client.partial is not None or client.outbox is not None:
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
            if 0 <= size <= most and size_at(scratch, TAG_SIZE)[0] == size:
                # One packet and nothing else: its header goes in front of it, where it is.
                put_header(scratch, 0, size + TAG_SIZE, client.client_id, 0)
                staged.append(scratch[: received + TAG_SIZE])
                if level_triggered:
                    reactor.drained(client.sock)
            else:
                reactor.guard(client, client.take, received)
                if trunk.full:  # of what it brought
                    left += waiting
        if staged:
            trunk.flush_later()
        return left
