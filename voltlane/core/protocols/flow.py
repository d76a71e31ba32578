"""The records of one connection of version 3, both ways: sealing and opening, acks and credit (SPEC 10, 15, 16).

What is taken and what is safe belongs to the session (`core.delivery`); credit, and what was told, to the connection.
Everything here is called once a record, and some of it for every packet of those who say little.
"""

from __future__ import annotations

from typing import Callable

from ...errors import BadNumbers, CreditExceeded, MalformedRecord
from ...wire.framing import Buffer, skip_frames
from ...wire.noise import Channel, Clear
from ...wire.v3 import HEAD, HEAD_SIZE, Kind, Retained
from ..budget import Budget
from ..delivery import Agreement, Delivery
from ..outbox import Chunk
from ..retention import Retention

SHARE = 4
"""Of what the peer retains, the part that it is told of at once when it is safe."""
_DATA = int(Kind.DATA)
SMALL = 1024
"""Bytes of a chunk that is kept by itself while it is the only one, outside of all accounts: most are."""


class Flow:
    """One connection's, as seen from the server."""

    __slots__ = (
        "_on_confirmed",
        "_open",
        "_quarter_bytes",
        "_seal",
        "_single",
        "_single_packets",
        "acked",
        "agreement",
        "credit",
        "delivery",
        "granted",
        "marked",
        "much",
        "quarter_packets",
        "received",
        "retention",
        "sent",
        "told",
        "told_received",
    )

    def __init__(
        self,
        channel: Channel,
        retained: Retained,
        credit: int,
        granted: int,
        on_confirmed: Callable[[Agreement], None],
    ) -> None:
        """`retained` and `credit` are the peer's, `granted` is what it is told first."""
        self._on_confirmed = on_confirmed
        self._seal = channel.sending.seal_framed
        self._open = None if isinstance(channel.receiving, Clear) else channel.receiving.open
        self.delivery = Delivery(0)
        """The session's, once it is in one."""
        self.agreement: Agreement | None = None
        """What the welcome said, until the peer has confirmed it, which its first record does."""
        self.retention: Retention | None = None
        """What is kept for the peer, but for a small chunk that is alone."""
        self._single: Chunk | None = None
        self._single_packets = 0
        self.quarter_packets = max(1, retained.packets // SHARE) if retained.packets else 1 << 62
        self._quarter_bytes = max(1, retained.size // SHARE) if retained.size else 1 << 62
        self.received = 0
        """Bytes of data bodies, ..."""
        self.granted = granted
        """... of which the peer may send so many."""
        self.much = min(self._quarter_bytes, granted // 2)
        """Bytes received since it was told something, upon which it has to be told again at once."""
        self.sent = 0
        """The same the other way, ..."""
        self.credit = credit
        """... and how many we may send."""
        self.acked = 0
        """The peer's ack, as it came last."""
        self.told = 0
        """Ours, as it went last, ..."""
        self.told_received = 0
        """... and what had been received then."""
        self.marked = 0
        """The last packet of the peer's that it is known of when it will be safe: see `lanes.receipts`."""

    # ---- what is kept

    def keep_sent(self, chunk: Chunk, packets: int, budget: Budget, owner: object) -> None:
        """A chunk that is sent next, while nothing is unsent."""
        if self.retention is None and self._single is None and len(chunk) <= SMALL:
            self._single, self._single_packets = chunk, packets
        else:
            self.retain(budget, owner).add_sent(chunk, packets)

    def retain(self, budget: Budget, owner: object) -> Retention:
        """All that is kept, with room for more."""
        retention = self.retention
        if retention is None:
            retention = self.retention = Retention(budget, owner)
            if self._single is not None:
                retention.add_sent(self._single, self._single_packets)
                self._single, self._single_packets = None, 0
        return retention

    def give_up(self) -> list[tuple[Chunk, int]]:
        """All that is kept, in order, out of here."""
        if self.retention is not None:
            retention, self.retention = self.retention, None
            return retention.take()
        if self._single is None:
            return []
        single = self._single, self._single_packets
        self._single, self._single_packets = None, 0
        return [single]

    # ---- to the peer

    def seal(self, kind: int, body: Buffer = b"") -> bytes:
        """A record as a message, with its size in front."""
        safe = self.told = self.delivery.safe
        self.told_received = self.received
        return self._seal(HEAD.pack(kind, safe, self.granted) + body)

    def seal_data(self, body: Buffer) -> bytes:
        """The same for data, which the credit must allow for."""
        self.sent += len(body)
        return self.seal(_DATA, body)

    @property
    def owes(self) -> bool:
        """Whether the peer has not been told all that is safe."""
        return self.told < self.delivery.safe

    @property
    def owes_much(self) -> bool:
        """Whether that is a quarter of what the peer retains."""
        return (
            self.delivery.safe - self.told >= self.quarter_packets
            or self.received - self.told_received >= self._quarter_bytes
        )

    def grant(self, window: int) -> None:
        """Let the peer send so much ahead. It is told with the next record."""
        self.granted = self.received + window
        self.much = min(self._quarter_bytes, window // 2)

    # ---- from the peer

    def open(self, buffer: Buffer, view: memoryview, start: int, stop: int) -> tuple[int, Buffer, int, int]:
        """The next record, from its message: its kind, and where its body stands.

        Raises BadRecord, MalformedRecord, BadNumbers.
        """
        if self._open is not None:
            buffer = self._open(view[start:stop])
            start, stop = 0, len(buffer)
        if stop - start < HEAD_SIZE:
            raise MalformedRecord(f"a record of {stop - start} bytes; at least {HEAD_SIZE} are needed")
        kind, ack, credit = HEAD.unpack_from(buffer, start)
        if self.agreement is not None:
            agreement, self.agreement = self.agreement, None
            self._on_confirmed(agreement)
        if ack != self.acked:
            self._on_ack(ack)
        if credit != self.credit:
            if credit < self.credit:
                raise BadNumbers(f"a credit of {credit} behind one of {self.credit}")
            self.credit = credit
        return kind, buffer, start + HEAD_SIZE, stop

    def spend(self, size: int) -> None:
        """So many bytes of data came. Raises CreditExceeded."""
        self.received += size
        if self.received > self.granted:
            raise CreditExceeded(f"{self.received} bytes of data where {self.granted} are allowed")

    def _on_ack(self, ack: int) -> None:
        delivery, retention = self.delivery, self.retention
        floor = delivery.floor
        sent = floor + (self._single_packets if retention is None else retention.unacked)
        if not self.acked <= ack <= sent:
            raise BadNumbers(f"an ack of {ack} behind one of {self.acked}, where {sent} were sent")
        self.acked = ack
        if ack <= floor:
            return
        if retention is not None:
            retention.forget(ack - floor)
            if not retention.kept:
                self.retention = None
        elif ack == sent:
            self._single, self._single_packets = None, 0
        else:
            assert self._single is not None
            count = ack - floor
            self._single = bytes(memoryview(self._single)[skip_frames(self._single, count) :])
            self._single_packets -= count
        delivery.acked(ack)
