"""The reference, in plain Python: channels of sealed datagrams, and what all of them share.

The order in which a datagram is looked at is the point of it: nothing that anybody can send changes what is known of a
channel before it has opened under that channel's key.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from struct import Struct

from ...reasons import DatagramDrop
from ...wire.datagram import (
    HEAD,
    SMALLEST,
    TICKS,
    WINDOW,
    DatagramKeys,
    Kind,
    clock,
    held_echo,
    open_datagram,
    round_trip,
    seal_datagram,
)
from ...wire.framing import PREFIX, PREFIX_SIZE, Buffer
from ...wire.tagged import HEADER, HEADER_SIZE
from ...wire.tagged import TAG_SIZE as CLIENT_TAG
from .names import Name
from .rates import Rated
from .results import Opened, Sent
from .table import Table

_MASK = (1 << WINDOW) - 1
_STATE = Struct(f"<9Qdd{WINDOW // 8}s")


class Channel(Rated):
    """Both directions of one session's datagrams under one pair of keys. Meant to be derived from."""

    __slots__ = (
        "_gaps",
        "_keys",
        "_peer_at",
        "_peer_time",
        "_transit",
        "bytes_in",
        "bytes_out",
        "client_id",
        "heard",
        "highest",
        "id",
        "jitter",
        "late",
        "next_number",
        "packets_in",
        "packets_out",
        "path",
        "received",
        "repeated",
        "rtt",
    )

    def __init__(self, keys: DatagramKeys, client_id: int, now: float) -> None:
        super().__init__()
        self._keys = keys
        self.id = keys.id_in
        """8 bytes: what the datagrams that come begin with."""
        self.client_id = client_id
        self.path: Name | None = None
        """Where data go; whoever has the channel says so."""
        self.heard = now
        """When something that opened came last."""
        self.next_number = 0
        """Of what is sent."""
        self.highest = -1
        """Number that has come."""
        self.received = 0
        """How many opened, each once."""
        self.late = 0
        """Of those, how many came behind a higher number."""
        self.repeated = 0
        """How many came with a number that had come before."""
        self.rtt: float | None = None
        """Seconds there and back, smoothed; None before there was an echo."""
        self.jitter: float | None = None
        """Seconds (RFC 3550, 6.4.1); None before there were two."""
        self.packets_in = self.bytes_in = self.packets_out = self.bytes_out = 0
        """Data alone, without what is around it."""
        self._gaps = 0  # bit n: the number highest - n has not come; in order it is 0, and cheap
        self._peer_time = 0
        self._peer_at: float | None = None
        self._transit: int | None = None

    def seal(self, kind: int, body: Buffer, now: float) -> bytes:
        """The next datagram, with the next number, whatever becomes of it."""
        return self._sealed(kind, clock(now), self._echo(now), body)

    def _echo(self, now: float) -> int:
        return held_echo(self._peer_time, self._peer_at, now)

    def _sealed(self, kind: int, time: int, echo: int, body: Buffer) -> bytes:
        number = self.next_number
        self.next_number = number + 1
        return seal_datagram(self._keys, number, kind, time, echo, body)

    def _judge(self, number: int) -> DatagramDrop | None:
        """Whether that number may be looked into."""
        behind = self.highest - number
        if behind < 0:
            return None
        if behind >= WINDOW:
            return DatagramDrop.LATE
        if self._gaps >> behind & 1:
            return None
        self.repeated += 1
        return DatagramDrop.REPLAYED

    def _take(self, number: int, time: int, echo: int, now: float) -> bool:
        """Take notice of one that opened: the only way in which anything moves. Whether its number is the highest."""
        self.heard = now
        self.received += 1
        ahead = number - self.highest
        if ahead == 1:
            if self._gaps:
                self._gaps = self._gaps << 1 & _MASK
        elif ahead > 1:
            skipped = min(ahead, WINDOW)
            self._gaps = (self._gaps << skipped | (1 << skipped) - 2) & _MASK
        else:
            self._gaps &= ~(1 << -ahead)
            self.late += 1
        if ahead > 0:
            self.highest = number
            self._peer_time, self._peer_at = time, now
        trip = round_trip(echo, now)
        if trip is not None:
            self.rtt = trip if self.rtt is None else self.rtt + (trip - self.rtt) / 8
        transit = clock(now) - time & 0xFFFF
        if self._transit is not None:
            change = transit - self._transit & 0xFFFF
            jitter = self.jitter or 0.0
            self.jitter = jitter + (min(change, 0x10000 - change) / TICKS - jitter) / 16
        self._transit = transit
        return ahead > 0

    def export(self) -> bytes:
        """Numbers, counters and what has come, for the process that takes over. No keys."""
        return _STATE.pack(
            self.next_number,
            max(self.highest, 0),
            self.received,
            self.late,
            self.repeated,
            self.packets_in,
            self.bytes_in,
            self.packets_out,
            self.bytes_out,
            math.nan if self.rtt is None else self.rtt,
            math.nan if self.jitter is None else self.jitter,
            self._gaps.to_bytes(WINDOW // 8, "little"),
        )

    def restore(self, state: bytes) -> None:
        """Take up what a channel of these keys gave to another process. Raises ValueError for anything else."""
        if len(state) != _STATE.size:
            raise ValueError(f"the state of a channel has {_STATE.size} bytes, not {len(state)}")
        self.next_number, self.highest, self.received, self.late, self.repeated, *counts, rtt, jitter, gaps = (
            _STATE.unpack(state)
        )
        self.packets_in, self.bytes_in, self.packets_out, self.bytes_out = counts
        if not self.received:
            self.highest = -1
        self.rtt = None if math.isnan(rtt) else rtt
        self.jitter = None if math.isnan(jitter) else jitter
        self._gaps = int.from_bytes(gaps, "little")
        self._peer_at = self._transit = None


class Channels(Table[bytes, Channel]):
    """The channels of one socket, by the ids of what comes."""

    TWICE = "there is a channel of that id"

    @staticmethod
    def _key_of(party: Channel) -> bytes:
        return party.id

    def receive(self, sock: socket.socket, now: float, most: int, flag: int, limit: int) -> Opened:
        """Take up to `most` datagrams of at most `limit` bytes; the data in them become packets with that flag.

        A flag below 0: data are counted, and dropped. Only what opened is held against the rates: anybody could use
        them up for a channel else.
        """
        channels, drops, rates = self._parties, self._drops, self._rates
        limited, recvfrom, room = rates.limited, sock.recvfrom, limit + 1
        pieces: list[bytes] = []
        events: list[tuple[Channel, int, Name, bytes, bool, int]] = []
        more = True
        for _ in range(most):
            try:
                datagram, name = recvfrom(room)
            except OSError:
                more = False
                break
            size = len(datagram)
            if not SMALLEST <= size <= limit:
                drops[DatagramDrop.SHORT if size < SMALLEST else DatagramDrop.TOO_LARGE] += 1
                continue
            id, number = HEAD.unpack_from(datagram)
            channel = channels.get(id)
            if channel is None:
                drops[DatagramDrop.UNKNOWN_ID] += 1
                continue
            why = channel._judge(number)
            if why is not None:
                drops[why] += 1
                continue
            try:
                _, kind, time, echo, body = open_datagram(channel._keys, datagram)
            except ValueError:
                drops[DatagramDrop.UNSEALED] += 1
                continue
            newest = channel._take(number, time, echo, now)
            if limited and not channel.within(rates, len(body), now):
                drops[DatagramDrop.RATE] += 1
                continue
            if kind or name != channel.path:
                events.append((channel, kind, name, body, newest, size))
                if kind:  # no data
                    continue
            channel.packets_in += 1
            channel.bytes_in += len(body)
            if flag < 0:
                drops[DatagramDrop.NOT_WANTED] += 1
                continue
            pieces += (HEADER.pack(CLIENT_TAG + len(body), channel.client_id, flag), body)
        chunk = b"".join(pieces)
        packets = len(pieces) // 2
        return Opened(chunk, packets, len(chunk) - packets * HEADER_SIZE, events, more)

    def send(
        self,
        sock: socket.socket,
        queue: Sequence[tuple[Channel, Buffer]],
        first: int,
        offset: int,
        limit: int,
        now: float,
    ) -> Sent:
        """Seal and send chunks, each frame of which is a datagram, as `Peers.send`; `limit` is of the whole datagram.

        A channel without a path loses what it was to get. Where the socket takes no more, the number is given back.
        """
        drops, unpack, sendto = self._drops, PREFIX.unpack_from, sock.sendto
        time, most = clock(now), limit - SMALLEST
        datagrams = total = 0
        for index in range(first, len(queue)):
            channel, chunk = queue[index]
            path, echo = channel.path, channel._echo(now)
            sent, size_sent, end = 0, 0, len(chunk)
            blocked = False
            while offset < end:
                begin = offset + PREFIX_SIZE
                stop = begin + unpack(chunk, offset)[0]
                if path is None or stop - begin > most:
                    drops[DatagramDrop.NO_PATH if path is None else DatagramDrop.TOO_LARGE] += 1
                else:
                    try:
                        sendto(channel._sealed(Kind.DATA, time, echo, chunk[begin:stop]), path)
                        sent += 1
                        size_sent += stop - begin
                    except BlockingIOError:
                        channel.next_number -= 1
                        blocked = True
                        break
                    except OSError:
                        drops[DatagramDrop.UNSENT] += 1
                offset = stop
            channel.packets_out += sent
            channel.bytes_out += size_sent
            datagrams += sent
            total += size_sent
            if blocked:
                return Sent(index, offset, datagrams, total, True)
            offset = 0
        return Sent(len(queue), 0, datagrams, total, False)
