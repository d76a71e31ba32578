"""The records of one connection of version 3, both ways: sealing and opening, acks and credit (SPEC 10, 15, 16).

What is taken and what is safe belongs to the session (`core.delivery`); credit, and what was told, to the connection.
Everything here is called once a record, and some of it for every packet of those who say little.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Callable, NamedTuple

from ...errors import BadNumbers, CreditExceeded, MalformedRecord
from ...wire.aead import Workspace
from ...wire.framing import Buffer, skip_frames
from ...wire.noise import Channel
from ...wire.v3 import HEAD, HEAD_SIZE, Kind, Retained
from ..budget import Budget
from ..delivery import Delivery
from ..outbox import Chunk
from ..retention import Kept, Retention

SHARE = 4
"""Of what the peer retains, the part that it is told of at once when it is safe."""
NEVER = 1 << 62
_DATA = int(Kind.DATA)
SMALL = 1024
"""Bytes of a chunk that is kept by itself while it is the only one, outside of all accounts: most are."""


class Shares(NamedTuple):
    """What has to have come of a peer, since it was told something, for it to be told again at once. Many have the
    same."""

    retained: Retained
    """What these are shares of."""
    credit: int
    """The peer's, as it was at first."""
    window: int
    """What the peer may send ahead."""
    packets: int
    size: int
    much: int
    """The smaller of `size` and half a window."""


@lru_cache(maxsize=256)
def shares_of(retained: Retained, credit: int, window: int) -> Shares:
    """Made of what they are shares of."""
    packets = max(1, retained.packets // SHARE) if retained.packets else NEVER
    size = max(1, retained.size // SHARE) if retained.size else NEVER
    return Shares(retained, credit, window, packets, size, min(size, window // 2))


class Flowing(NamedTuple):
    """Where a flow is, for another one to go on from. What stands in it is named as in Flow."""

    keys: bytes
    sealed: int
    opened: int
    shares: Shares
    received: int
    granted: int
    sent: int
    credit: int
    acked: int
    told: int
    told_received: int
    single: Chunk | None
    single_packets: int
    kept: Kept | None


class Flow(Channel):
    """One connection's, as seen from the server."""

    __slots__ = (
        "_single",
        "_single_packets",
        "acked",
        "credit",
        "delivery",
        "granted",
        "marked",
        "on_confirmed",
        "received",
        "retention",
        "sent",
        "shares",
        "told",
        "told_received",
    )

    def __init__(self, channel: Channel, retained: Retained, credit: int, window: int) -> None:
        """Go on with a channel whose handshake is done. `retained` and `credit` are the peer's, `window` is what it may
        send at first."""
        self._keys, self._sealed, self._opened = channel._keys, channel._sealed, channel._opened
        self.hash = b""  # of no more use
        self.delivery = Delivery(0)
        """The session's, once it is in one."""
        self.on_confirmed: Callable[[], None] | None = None
        """Called, once, when the peer has confirmed its welcome, which its first record does."""
        self.retention: Retention | None = None
        """What is kept for the peer, but for a small chunk that is alone."""
        self._single: Chunk | None = None
        self._single_packets = 0
        self.shares = shares_of(retained, credit, window)
        self.received = 0
        """Bytes of data bodies, ..."""
        self.granted = window
        """... of which the peer may send so many."""
        self.sent = 0
        """The same the other way, ..."""
        self.credit = self.shares.credit
        """... and how many we may send."""
        self.acked = 0
        """The peer's ack, as it came last."""
        self.told = 0
        """Ours, as it went last, ..."""
        self.told_received = 0
        """... and what had been received then."""
        self.marked = 0
        """The last packet of the peer's that it is known of when it will be safe: see `lanes.receipts`."""

    # ---- for another process

    def flowing(self) -> Flowing:
        """Where it is. Nothing is changed by that."""
        return Flowing(
            self._keys,
            self._sealed,
            self._opened,
            self.shares,
            self.received,
            self.granted,
            self.sent,
            self.credit,
            self.acked,
            self.told,
            self.told_received,
            self._single,
            self._single_packets,
            None if self.retention is None else self.retention.all_kept(),
        )

    def go_on_from(self, flowing: Flowing, budget: Budget, owner: object) -> None:
        """Go on where another one was. Only while it is new."""
        self._keys, self._sealed, self._opened = flowing.keys, flowing.sealed, flowing.opened
        self.received, self.granted = flowing.received, flowing.granted
        self.sent, self.credit, self.acked = flowing.sent, flowing.credit, flowing.acked
        self.told, self.told_received = flowing.told, flowing.told_received
        self._single, self._single_packets = flowing.single, flowing.single_packets
        if flowing.kept is not None:
            retention = self.retention = Retention(budget, owner)
            retention.go_on_keeping(flowing.kept)

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

    def record(self, space: Workspace, kind: int, body: Buffer = b"") -> Buffer:
        """A record as a message, with its size in front; good until the next one is sealed there. For data there must
        be credit."""
        if kind == _DATA:
            self.sent += len(body)
        safe = self.told = self.delivery.safe
        self.told_received = self.received
        return self.seal_in(space, HEAD.pack(kind, safe, self.granted) + body)

    @property
    def owes(self) -> bool:
        """Whether the peer has not been told all that is safe."""
        return self.told < self.delivery.safe

    @property
    def owes_much(self) -> bool:
        """Whether that is a quarter of what the peer retains."""
        return (
            self.delivery.safe - self.told >= self.shares.packets
            or self.received - self.told_received >= self.shares.size
        )

    def grant(self, window: int) -> None:
        """Let the peer send so much ahead. It is told with the next record."""
        self.granted = self.received + window
        self.shares = shares_of(self.shares.retained, self.shares.credit, window)

    # ---- from the peer

    def read(
        self, space: Workspace, buffer: Buffer, start: int, stop: int, at: int = HEAD_SIZE
    ) -> tuple[int, Buffer, int, int]:
        """The next record, from its message: its kind, and where its body stands. That is in place, if nothing is
        encrypted, else `at` that byte of `space`, behind what is there: so bodies can be one piece.

        Raises BadRecord, MalformedRecord, BadNumbers.
        """
        covered: Buffer = b""  # by the head, until that was looked at
        if self._keys:
            head, opened = at - HEAD_SIZE, space.opened
            if head:
                covered = opened[head:at]
            stop = head + self.open_in(space, buffer, start, stop, head)
            buffer, start = opened, head
        if stop - start < HEAD_SIZE:
            raise MalformedRecord(f"a record of {stop - start} bytes; at least {HEAD_SIZE} are needed")
        kind, ack, credit = HEAD.unpack_from(buffer, start)
        if covered:
            space.opened[start:at] = covered
        if self.on_confirmed is not None:
            self.on_confirmed()
            self.on_confirmed = None
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
        sent, safe = self._single_packets if retention is None else retention.unacked, ack - delivery.floor
        if ack < self.acked or safe > sent:
            raise BadNumbers(f"an ack of {ack} behind one of {self.acked}, where {delivery.floor + sent} were sent")
        self.acked = ack
        if safe <= 0:
            return
        if retention is not None:
            retention.forget(safe)
            if not retention.kept:
                self.retention = None
        elif safe == sent:
            self._single, self._single_packets = None, 0
        else:
            assert self._single is not None
            self._single = bytes(memoryview(self._single)[skip_frames(self._single, safe) :])
            self._single_packets -= safe
        delivery.acked(ack)
