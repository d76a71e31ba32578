"""Reading the clients that say little, all that are ready at once.

Most events mean one small packet. Calling a handler for each, and looking up the same things for each, costs more than
the packet does; so a turn's events come here first. What is not ordinary is left for the connection itself.
"""

from __future__ import annotations

from ..net.poller import HANGUP, READ
from ..net.reactor import Handler, Reactor
from ..wire.framing import PREFIX, PREFIX_SIZE
from ..wire.tagged import HEADER, TAG_SIZE
from .tcp import ClientConnection, ClientEdge
from .turns import FIRST_QUANTUM

_INBOUND = READ | HANGUP


class QuietReads:
    """Takes the events of a reactor that are one packet each, for the clients of one edge."""

    def __init__(self, reactor: Reactor, edge: ClientEdge) -> None:
        self._reactor = reactor
        self._edge = edge
        reactor.batch = self.read

    def read(self, events: list[tuple[int, int]], handlers: list[Handler | None]) -> list[tuple[int, int]]:
        """Read every client that has nothing else going on. The events that are left."""
        edge, reactor = self._edge, self._reactor
        if edge.turns.paused:
            return events
        scratch, space, most, level_triggered = edge.scratch, edge.behind_tag, edge.quiet, edge.level_triggered
        size_at, put_header, staged = PREFIX.unpack_from, HEADER.pack_into, edge.trunk.staged
        left = []
        waiting = iter(events)
        for event in waiting:
            client = handlers[event[0]]
            if (
                not isinstance(client, ClientConnection)
                or event[1] & _INBOUND != READ
                or client.flags
                or client.partial is not None
                or client.outbox is not None
            ):
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
                if edge.trunk.full:  # of what it brought
                    left += waiting
        if staged:
            reactor.mark_dirty(edge.trunk)
        return left
