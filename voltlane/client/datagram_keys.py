"""One pair of keys of a session's datagrams (SPEC 24 to 26): numbers, the window, times. No socket and no clock."""

from __future__ import annotations

from ..wire.datagram import (
    COUNTS,
    SMALLEST,
    WINDOW,
    Datagram,
    DatagramKeys,
    clock,
    counts,
    head_of,
    held_echo,
    open_datagram,
    round_trip,
    seal_datagram,
)
from .datagram_link import DatagramLink, Totals

_MASK = (1 << WINDOW) - 1


class KeyedDatagrams:
    """Both directions under one pair of keys. What it sees goes into `link`."""

    __slots__ = (
        "_counts_in",
        "_counts_out",
        "_heard",
        "_keys",
        "_link",
        "_seen",
        "_time",
        "_transit",
        "highest",
        "mtu",
        "next_number",
        "received",
    )

    def __init__(self, keys: DatagramKeys, mtu: int, link: DatagramLink) -> None:
        self.mtu = mtu
        """Bytes of the largest datagram, either way."""
        self.next_number = 0
        self.highest = -1
        """That has come."""
        self.received = 0
        """How many have, each once."""
        self._keys = keys
        self._link = link
        self._seen = 0
        """A bit for each number of the window, the lowest for the highest."""
        self._time, self._heard, self._transit = 0, None, None  # type: tuple[int, float | None, int | None]
        self._counts_in, self._counts_out = Totals(), Totals()

    def seal(self, kind: int, body: bytes, now: float) -> bytes:
        """The next datagram, with the next number, whatever becomes of it."""
        number, self.next_number = self.next_number, self.next_number + 1
        return seal_datagram(self._keys, number, kind, clock(now), held_echo(self._time, self._heard, now), body)

    def open(self, datagram: bytes, now: float) -> Datagram | None:
        """One that has come; None for one that is not ours, or came before, or may have: nothing has changed then.

        Nothing moves before it has opened: anybody can send numbers.
        """
        if not SMALLEST <= len(datagram) <= self.mtu:
            return None
        identity, number = head_of(datagram)
        behind = self.highest - number
        if identity != self._keys.id_in or behind >= WINDOW or (behind >= 0 and self._seen >> behind & 1):
            return None
        try:
            opened = open_datagram(self._keys, datagram)
        except ValueError:
            return None
        self._take(opened, now)
        return opened

    def _take(self, opened: Datagram, now: float) -> None:
        link, ahead = self._link, opened.number - self.highest
        self.received += 1
        if ahead > 0:
            self._seen = (self._seen << min(ahead, WINDOW) | 1) & _MASK
            self.highest = opened.number
            self._time, self._heard = opened.time, now
        else:
            self._seen |= 1 << -ahead
            link.late += 1
        measured = round_trip(opened.echo, now)
        if measured is not None:
            link.echoed(measured)
        transit, before = clock(now) - opened.time, self._transit
        self._transit = transit
        if before is not None:
            link.varied(transit - before)

    def look(self) -> None:
        """Count what was lost on the way here since the last look."""
        self._link.lost_in(*self._counts_in.take(self.highest, self.received))

    def counts(self) -> bytes:
        """For a pong."""
        return counts(self.highest, self.received)

    def told(self, counts: bytes) -> None:
        """What a pong says of what came there: one without counts says nothing."""
        if len(counts) >= COUNTS.size:
            above, received = COUNTS.unpack_from(counts)
            if received <= above <= self.next_number:
                self._link.lost_out(*self._counts_out.take(above - 1, received))

    def __repr__(self) -> str:
        return f"<KeyedDatagrams, {self.next_number} sent, {self.received} received>"
