"""One connection server's link to a backend: packets in, packets out, nothing ever blocks. A part of `backend`."""

from __future__ import annotations

import logging
import selectors
import socket
from collections import deque
from typing import NamedTuple

from ..errors import FrameTooLarge, MalformedTag, ProtocolError, UnknownFlag
from ..net.sockets import NO_SIGNAL, close_gently
from ..wire.framing import PREFIX, PREFIX_SIZE, Buffer
from ..wire.tagged import FLAGS, HEADER, HEADER_SIZE, TAG_SIZE, Flag

RECEIVE_SIZE = 128 * 1024
FLUSH_SIZE = 256 * 1024
"""Bytes queued for one link that are worth a send before the batch is over."""

LINK_LOST = "connection server lost"
"""The reason of the failures that a lost link brings: of all clients that were last heard of there."""

CLIENT_MOVED = "Client moved"
"""The reason of a failure that is no end: of several servers another one has the client, and this packet was lost."""
_MOVED = CLIENT_MOVED.encode()

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_log = logging.getLogger("voltlane.backend")


class Packet(NamedTuple):
    """One tagged packet from a connection server."""

    client_id: int
    """Unsigned, 64 bits; unique to the link."""
    flag: Flag
    data: bytes
    """What the client sent, also as a datagram; the reason (UTF-8) in a failure; empty in a reconnection."""
    link: ServerLink
    """The connection server that it came from."""

    def reply(self, data: Buffer) -> bool:
        """Send data to this client, in the way in which this came: as `Firehose.send`, or as `Firehose.datagram`."""
        if self.flag is Flag.DATAGRAM:
            return self.link.datagram(self.client_id, data)
        return self.link.send(self.client_id, data)

    def kick(self) -> bool:
        """Drop this client: as `Firehose.kick`."""
        return self.link.kick(self.client_id)

    @property
    def is_data(self) -> bool:
        """The client sent `data`."""
        return self.flag is Flag.DATA

    @property
    def is_datagram(self) -> bool:
        """The client sent `data` as a datagram: in no order with anything else of it, and perhaps behind its failure
        (`master.datagrams = true` in the server)."""
        return self.flag is Flag.DATAGRAM

    @property
    def is_failure(self) -> bool:
        """The client is gone for good, or never was; `reason` says why. Nothing sent to it arrives any more. If that is
        LINK_LOST it may come again, as a reconnection."""
        return self.flag is Flag.FAILURE and self.data != _MOVED

    @property
    def is_undelivered(self) -> bool:
        """A packet to the client was lost on its way by this link, since the client has moved to another server. That
        is not the client's end: `Firehose.send` finds it where it was last heard of."""
        return self.flag is Flag.FAILURE and self.data == _MOVED

    @property
    def is_reconnection(self) -> bool:
        """The client resumed its session; or this link is new, and the client one that the server has had before."""
        return self.flag is Flag.RECONNECTION

    @property
    def reason(self) -> str:
        """A failure's text."""
        return self.data.decode("utf-8", "replace")


class Shared:
    """What the links of one firehose have in common."""

    __slots__ = ("batch", "losses", "over", "packet_limit", "queue_limit", "seen", "selector", "unflushed")

    def __init__(self, packet_limit: int, queue_limit: int) -> None:
        self.packet_limit = packet_limit
        self.queue_limit = queue_limit
        self.selector = selectors.DefaultSelector()
        self.batch: deque[Packet] = deque()
        """Received, and not given out yet."""
        self.seen: dict[int, ServerLink] = {}
        """Where each client is: where it resumed last, or was first heard of."""
        self.over: dict[int, None] = {}
        """Clients that have failed with a link, and were not heard of since if they are not seen; the latest last."""
        self.unflushed: list[ServerLink] = []
        self.losses: list[ServerLink] = []
        """Lost, and not reported yet."""

    def forget(self, client_id: int, link: ServerLink) -> None:
        """This client is gone."""
        if self.seen.get(client_id) is link:
            del self.seen[client_id]

    def fail(self, packet: Packet) -> None:
        """A client has failed: not that again of one that has failed with its link, and did not come again."""
        if packet.is_undelivered:
            self.batch.append(packet)
            return
        if packet.client_id in self.seen or packet.client_id not in self.over:
            self.batch.append(packet)
            self.over.pop(packet.client_id, None)
        self.forget(packet.client_id, packet.link)

    def lose(self, link: ServerLink) -> None:
        """This link is gone, and its clients with it: a failure for each, behind the last packet of the link and before
        whatever another one brings of them."""
        reason = LINK_LOST.encode()
        for client_id in [client_id for client_id, where in self.seen.items() if where is link]:
            del self.seen[client_id]
            self.over.pop(client_id, None)
            self.over[client_id] = None
            self.batch.append(Packet(client_id, Flag.FAILURE, reason, link))
        self.losses.append(link)


class ServerLink:
    """The connection of one connection server: an entry of `Firehose.links`, compared by identity."""

    __slots__ = (
        "_deaf",
        "_have",
        "_head",
        "_mask",
        "_need",
        "_parts",
        "_paused",
        "_queue",
        "_shared",
        "_socket",
        "open",
        "peer",
        "queued",
    )

    def __init__(self, shared: Shared, sock: socket.socket, peer: str) -> None:
        self.peer = peer
        """Address of the connection server, for people."""
        self.open = True
        """False from the moment that the link is lost."""
        self.queued = 0
        """Bytes that wait to be sent."""
        self._shared = shared
        self._socket = sock
        self._mask = _READ
        self._paused = False
        self._deaf = False
        self._queue: list[bytes] = []
        self._head = memoryview(b"")
        """What is left of the chunk that is being sent; it comes before the queue."""
        self._parts: list[bytes] = []
        """Received, without a whole packet in it as yet."""
        self._have = 0
        self._need = PREFIX_SIZE

    def __repr__(self) -> str:
        return f"<ServerLink {self.peer}{'' if self.open else ', lost'}>"

    def send(self, client_id: int, data: Buffer) -> bool:
        """Send data to a client of this link: as `Firehose.send`."""
        return self._put(client_id, Flag.DATA, data if type(data) is bytes else memoryview(data).tobytes())

    def datagram(self, client_id: int, data: Buffer) -> bool:
        """Send a datagram to a client of this link: as `Firehose.datagram`."""
        return self._put(client_id, Flag.DATAGRAM, data if type(data) is bytes else memoryview(data).tobytes())

    def kick(self, client_id: int) -> bool:
        """Drop a client of this link: as `Firehose.kick`."""
        self._shared.forget(client_id, self)
        self._shared.over.pop(client_id, None)
        return self._put(client_id, Flag.KICK, b"")

    def fail(self, client_id: int, reason: str) -> bool:
        """Report a failure of a client of this link: as `Firehose.fail`."""
        return self._put(client_id, Flag.FAILURE, reason.encode())

    def _put(self, client_id: int, flag: Flag, data: bytes) -> bool:
        size = len(data)
        if size > self._shared.packet_limit:
            raise ValueError(f"a packet of {size} bytes, at most {self._shared.packet_limit} are allowed")
        header = HEADER.pack(TAG_SIZE + size, client_id, flag)
        if not self.open or self._deaf:
            return False
        if not self.queued:
            self._shared.unflushed.append(self)
        self._queue.append(header)
        self._queue.append(data)
        self.queued += HEADER_SIZE + size
        if self.waiting:
            if not self._paused and self.queued > self._shared.queue_limit:
                self._ask()
        elif self.queued >= FLUSH_SIZE:
            self.flush()
        return True

    def flush(self) -> None:
        """For the firehose: send what the socket takes, and ask to be called for the rest."""
        try:
            while self.queued:
                if not self._head:
                    self._head = memoryview(b"".join(self._queue))
                    self._queue.clear()
                sent = self._socket.send(self._head, NO_SIGNAL)
                self._head = self._head[sent:]
                self.queued -= sent
        except BlockingIOError:
            pass
        except OSError as error:
            # What the server sent before it went is still to be read; reading then finds the end.
            _log.debug("%s takes no more: %s", self.peer, error)
            self._deaf = True
            self._drop_queue()
        self._ask()

    def _ask(self) -> None:
        """Ask to be called for what is left to send; for packets only while the queue is not too long."""
        self._paused = self.queued > self._shared.queue_limit // (2 if self._paused else 1)
        mask = (0 if self._paused else _READ) | (_WRITE if self.queued else 0)
        if self.open and mask != self._mask:
            self._mask = mask
            self._shared.selector.modify(self._socket, mask, self.ready)

    def _drop_queue(self) -> None:
        self._queue.clear()
        self._head = memoryview(b"")
        self.queued = 0

    def ready(self, mask: int) -> None:
        """For the firehose: the socket is readable or writable."""
        if mask & _WRITE and self.open:
            self.flush()
        if mask & _READ and self.open:
            self._receive()

    def _receive(self) -> None:
        try:
            chunk = self._socket.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(str(error.strerror or error))
            return
        if not chunk:
            self._lose("closed by the connection server")
            return
        self._parts.append(chunk)
        self._have += len(chunk)
        # A large packet is put together once, not with each chunk.
        if self._have < self._need:
            return
        data = b"".join(self._parts)
        try:
            rest = data[self._decode(data) :]
            self._need = self._announced(rest)
        except ProtocolError as error:
            _log.warning("%s broke the protocol: %s", self.peer, error)
            self._lose(str(error))
            return
        self._have = len(rest)
        self._parts = [rest] if rest else []

    def _decode(self, data: bytes) -> int:
        """Give out the packets that are whole. Where the first that is not begins."""
        unpack, flags, add, seen = HEADER.unpack_from, FLAGS, self._shared.batch.append, self._shared.seen
        limit = self._shared.packet_limit + TAG_SIZE
        start, last = 0, len(data) - HEADER_SIZE
        while start <= last:
            size, client_id, flag = unpack(data, start)
            end = start + PREFIX_SIZE + size
            if end > len(data) or not TAG_SIZE <= size <= limit:
                break
            if flag >= len(flags):
                raise UnknownFlag(f"flag {flag} for client {client_id}; 0 to {len(flags) - 1} exist")
            packet = Packet(client_id, flags[flag], data[start + HEADER_SIZE : end], self)
            if flag == 1:
                self._shared.fail(packet)
            else:
                add(packet)
                if 0 < flag < 4 or client_id not in seen:  # it has resumed; a datagram may be from where it was before
                    seen[client_id] = self
            start = end
        return start

    def _announced(self, rest: bytes) -> int:
        """Bytes of the frame at the beginning of `rest`, its prefix included. Raises FrameTooLarge, MalformedTag."""
        if len(rest) < PREFIX_SIZE:
            return PREFIX_SIZE
        limit = self._shared.packet_limit + TAG_SIZE
        (size,) = PREFIX.unpack_from(rest)
        if size > limit:
            raise FrameTooLarge(size, limit)
        if size < TAG_SIZE:
            raise MalformedTag(f"a tagged packet of {size} bytes; at least {TAG_SIZE} are needed")
        return PREFIX_SIZE + int(size)

    def _lose(self, why: str) -> None:
        self.close()
        _log.info("%s is lost: %s", self.peer, why)
        self._shared.lose(self)

    @property
    def waiting(self) -> bool:
        """For the firehose: whether it will be called when the socket has room again."""
        return self._mask & _WRITE != 0

    def close(self) -> None:
        """For the firehose, at its own end."""
        self.open = False
        self._shared.selector.unregister(self._socket)
        close_gently(self._socket)
        self._drop_queue()
        self._parts = []
