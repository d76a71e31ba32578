"""Reading the clients over WebSocket that say little, all that are ready at once: see `quiet`."""

from __future__ import annotations

from ..net.poller import HANGUP, READ
from ..net.reactor import Events, Handler
from ..wire.batch import retag_masked
from ..wire.tagged import TAG_SIZE
from .fairness.turns import CAREFUL_QUANTUM, FIRST_QUANTUM, SMOOTH
from .occasional import OccasionalReader
from .shared import QUIET, Shared
from .websocket_path import READER, WebSocketConnection

_INBOUND = READ | HANGUP
_LARGEST = QUIET + 8
"""Bytes of a packet that is quiet, with the longest head that it has."""


class QuietWebSockets(OccasionalReader):
    """The batch reader of `websocket_path`."""

    name = READER

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        shared.on_websockets = self.come_and_go

    def read(self, events: Events, handlers: list[Handler | None]) -> Events:
        """See OccasionalReader."""
        shared = self._shared
        if shared.turns.paused:
            return events
        reactor, trunk, level_triggered = shared.reactor, shared.trunk, shared.reactor.poller.rearm_read is not None
        scratch, space, limit = shared.scratch, shared.behind_tag, shared.quiet
        staged, ours = trunk.staged, READER
        left = []
        waiting = iter(events)
        for event in waiting:
            handler = handlers[event[0]]
            if handler is None or handler.batch_reader is not ours or event[1] & _INBOUND != READ:
                left.append(event)
                continue
            client: WebSocketConnection = handler  # type: ignore[assignment] # nobody else names this reader
            if client.flags & ~SMOOTH or client.partial is not None or client.outbox is not None:
                left.append(event)
                continue
            try:
                most = FIRST_QUANTUM if client.flags else CAREFUL_QUANTUM
                received = client.sock.recv_into(space, most)  # type: ignore[union-attr] # it is watched: open
            except BlockingIOError:
                received = -1
            except OSError as error:
                reactor.fail(client, error)
                continue
            if 0 < received <= _LARGEST and client.framing.plain_binary:
                stop = TAG_SIZE + received
                chunk, position, packets = retag_masked(scratch, TAG_SIZE, stop, client.client_id, limit)
                if packets == 1 and position == stop:
                    client.framing.heard = True
                    staged.append(chunk)
                    if level_triggered:
                        reactor.drained(client.sock)
                    continue
            reactor.guard(client, client.take, received, most)
            if trunk.full:  # of what it brought
                left += waiting
        if staged:
            trunk.flush_later()
        return left
