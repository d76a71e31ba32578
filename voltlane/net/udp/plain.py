"""The reference, in plain Python: peers, which are addresses, and what all of them share.

Every datagram is two calls of the system away from being cheap, so there is little else on its way: one look-up, three
counters, and pieces that are joined once a batch.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from itertools import islice

from ...reasons import DatagramDrop
from ...wire.framing import PREFIX, PREFIX_SIZE, Buffer
from ...wire.tagged import HEADER, HEADER_SIZE, TAG_SIZE
from .drops import Drops
from .names import Name, host_port, packed
from .names import tuple_name as name_of
from .rates import Rated, Rates
from .results import Received, Sent
from .sealed import Channel, Channels
from .sockets import receive_one_by_one

__all__ = ["Channel", "Channels", "Peer", "Peers", "host_port", "name_of", "packed"]

MOST_STRANGERS = 64
"""In one batch; there is work for each."""
_NO_LIMIT = Rates(0, 0, 0)


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


class Peers:
    """The peers of one socket, by their names."""

    def __init__(self) -> None:
        self._peers: dict[Name, Peer] = {}
        self._rates = _NO_LIMIT
        self._sock: socket.socket | None = None  # that was received from last
        self._drops = Drops()

    def __len__(self) -> int:
        return len(self._peers)

    def add(self, peer: Peer) -> None:
        """Raises ValueError where one of that name is there."""
        if peer.name in self._peers:
            raise ValueError("there is a peer of that name")
        self._peers[peer.name] = peer

    def remove(self, peer: Peer) -> None:
        """Forget it; one that is not there is no error."""
        if self._peers.get(peer.name) is peer:
            del self._peers[peer.name]

    def get(self, name: Name) -> Peer | None:
        """The peer of that name."""
        return self._peers.get(name)

    def set_rates(self, packet_rate: float, byte_rate: float, burst_secs: float) -> None:
        """What each peer may send a second, and at once after a quiet time, in seconds of it. 0: no limit."""
        self._rates = Rates(packet_rate, byte_rate, burst_secs)

    def sweep(self, slot: int, slots: int) -> tuple[list[Peer], int]:
        """The peers of a part of the table, about as many as `slots`, and where the next part begins; 0 at its end.

        Who comes and goes meanwhile may shift another out of one round, not out of all.
        """
        found = list(islice(self._peers.values(), slot, slot + slots))
        return found, slot + slots if slot + slots < len(self._peers) else 0

    def take_drops(self) -> dict[DatagramDrop, int]:
        """What was dropped since the last time, in both directions."""
        return self._drops.take()

    def receive(self, sock: socket.socket, now: float, most: int, flag: int, limit: int) -> Received:
        """Take up to `most` datagrams of at most `limit` bytes; those of peers become packets with that flag."""
        peers, drops, rates = self._peers, self._drops, self._rates
        if sock is not self._sock:
            receive_one_by_one(sock)
            self._sock = sock
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
