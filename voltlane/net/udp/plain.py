"""The reference, in plain Python: peers, which are addresses, and what all of them share.

Every datagram is two calls of the system away from being cheap, so there is little else on its way: one look-up, three
counters, and pieces that are joined once a batch.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from ...reasons import DatagramDrop
from ...wire.framing import PREFIX, PREFIX_SIZE, Buffer
from ...wire.tagged import HEADER, HEADER_SIZE, TAG_SIZE
from .names import Name, host_port, packed
from .names import tuple_name as name_of
from .rates import Rated
from .results import Received, Sent
from .sealed import Channel, Channels
from .table import Table

__all__ = ["Channel", "Channels", "Peer", "Peers", "host_port", "name_of", "packed"]

MOST_STRANGERS = 64
"""In one batch; there is work for each."""


class Peer(Rated):
    """One address and port, that is a client. Meant to be derived from: a client that is silent has no other object."""

    __slots__ = ("bytes_in", "bytes_out", "client_id", "heard", "name", "packets_in", "packets_out")

    def __init__(self, name: Name, client_id: int, now: float) -> None:
        super().__init__()
        self.name = name
        self.client_id = client_id
        self.heard = now
        """When something came last."""
        self.packets_in = self.bytes_in = self.packets_out = self.bytes_out = 0
        HEADER.pack(0, client_id, 0)  # which says if it is none


class Peers(Table[Name, Peer]):
    """The peers of one socket, by their names."""

    TWICE = "there is a peer of that name"

    @staticmethod
    def _key_of(party: Peer) -> Name:
        return party.name

    def receive(self, sock: socket.socket, now: float, most: int, flag: int, limit: int) -> Received:
        """Take up to `most` datagrams of at most `limit` bytes; those of peers become packets with that flag."""
        peers, drops, rates = self._parties, self._drops, self._rates
        limited, pack, recvfrom, room = rates.limited, HEADER.pack, sock.recvfrom, limit + 1
        strangers: list[tuple[Name, bytes]] = []
        pieces: list[bytes] = []
        append = pieces.append
        more = True
        for _ in range(most):
            try:
                data, name = recvfrom(room)
            except OSError:  # mostly that there is no more; nothing else comes of a socket that is not connected
                more = False
                break
            size = len(data)
            if size > limit:
                drops[DatagramDrop.TOO_LARGE] += 1
                continue
            try:
                peer = peers[name]
            except KeyError:
                if len(strangers) < MOST_STRANGERS:
                    strangers.append((name, data))
                else:
                    drops[DatagramDrop.STRANGERS] += 1
                continue
            peer.heard = now
            if limited and not peer.within(rates, size, now):
                drops[DatagramDrop.RATE] += 1
                continue
            peer.packets_in += 1
            peer.bytes_in += size
            append(pack(TAG_SIZE + size, peer.client_id, flag))
            append(data)
        chunk = b"".join(pieces)
        packets = len(pieces) // 2
        return Received(chunk, packets, len(chunk) - packets * HEADER_SIZE, strangers, more)

    def send(
        self, sock: socket.socket, queue: Sequence[tuple[Peer, Buffer]], first: int, offset: int, limit: int
    ) -> Sent:
        """Send chunks, each frame of which is a datagram to that peer, from `queue[first]` on, there from `offset` on.

        Stops where the socket takes no more. What is over the limit, or what the system refuses to send, is skipped.
        """
        drops, unpack, sendto = self._drops, PREFIX.unpack_from, sock.sendto
        datagrams = total = 0
        for index in range(first, len(queue)):
            peer, chunk = queue[index]
            name, sent, size_sent = peer.name, 0, 0
            end, blocked = len(chunk), False
            while offset < end:
                begin = offset + PREFIX_SIZE
                stop = begin + unpack(chunk, offset)[0]
                if stop - begin > limit:
                    drops[DatagramDrop.TOO_LARGE] += 1
                else:
                    try:
                        sendto(chunk[begin:stop], name)
                        sent += 1
                        size_sent += stop - begin
                    except BlockingIOError:
                        blocked = True
                        break
                    except OSError:
                        drops[DatagramDrop.UNSENT] += 1
                offset = stop
            peer.packets_out += sent
            peer.bytes_out += size_sent
            datagrams += sent
            total += size_sent
            if blocked:
                return Sent(index, offset, datagrams, total, True)
            offset = 0
        return Sent(len(queue), 0, datagrams, total, False)
