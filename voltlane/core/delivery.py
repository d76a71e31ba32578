"""What is known of a session's packets, both ways, by number (SPEC 15), and what two sides agree on when it resumes.

Of a protocol that has no numbers nothing is known. The packets themselves are in the session's backlog, or with its
link; the first that is kept has the number behind `floor`.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from ..errors import BadNumbers
from ..wire.v3 import Gap, Uncertain, Why

_FORGOTTEN, _LIMIT, _RESTART = int(Why.FORGOTTEN), int(Why.LIMIT), int(Why.RESTART)
_LAYOUT = Struct("<QQQQQB")
DELIVERY_SIZE = _LAYOUT.size
EPOCH_SPAN = 1 << 40
"""Numbers that an epoch has, more than can ever be used: so a number tells which memory it is of."""
MOST = (1 << 63) - 1
"""The last number that anybody may name: what is counted up from there fits in its 64 bits for ever."""


class Delivery:
    """One session's. `epoch` is that of our memory of it: a new one says that some of it was lost."""

    __slots__ = ("epoch", "floor", "safe", "sent", "taken", "why")

    def __init__(self, epoch: int, floor: int = 0, taken: int = 0, why: int = _FORGOTTEN) -> None:
        self.epoch = epoch
        self.floor = floor
        """To the client: the last packet that is not kept any more."""
        self.why = why
        """Why it is not, should the client not have it."""
        self.sent = 0
        """Of what is kept the last packet that was sent, where nobody says whether it has come: up to there what is
        kept goes before anything else does, and counts for no limit that has consequences."""
        self.taken = taken
        """From the client: the last packet taken, ..."""
        self.safe = taken
        """... and the last that it may forget."""

    def forget(self, epoch: int) -> None:
        """What is known is old, and may not be all there was: another epoch begins, the `epoch`th, with numbers that
        nobody has had. What was kept for the client is given up."""
        self.epoch, self.floor, self.why = epoch, epoch * EPOCH_SPAN, _RESTART

    def drop(self, packets: int) -> None:
        """The first so many of what is kept were given up, for a limit."""
        self.floor += packets
        self.why = _LIMIT

    @property
    def spare(self) -> int:
        """How many of the first that are kept were sent."""
        return max(0, self.sent - self.floor)

    def acked(self, number: int) -> None:
        """The client says that everything up to there is safe with it."""
        self.floor = number
        self.why = _FORGOTTEN

    def encode(self) -> bytes:
        """For who keeps it over an end of the process in order."""
        return _LAYOUT.pack(self.epoch, self.floor, self.taken, self.safe, self.sent, self.why)


def decode_delivery(data: bytes) -> Delivery:
    """What `encode` gave, of DELIVERY_SIZE bytes."""
    epoch, floor, taken, safe, sent, why = _LAYOUT.unpack(data)
    delivery = Delivery(epoch, floor, taken, why)
    delivery.safe, delivery.sent = safe, sent
    return delivery


def forgotten(epoch: int) -> Delivery:
    """That of a session of which nothing else is known."""
    delivery = Delivery(epoch)
    delivery.forget(epoch)
    return delivery


class Claims(NamedTuple):
    """What a client says when it resumes."""

    epoch: int
    """Ours, as it knows it."""
    taken: int
    safe: int
    sent: int
    """Its last packet that may have been on its way."""
    acked: int
    """The last one that we have called safe."""


class Agreement(NamedTuple):
    """What follows from that."""

    taken: int
    """The last packet from the client that it need not send."""
    skip: int
    """How many of the first packets that are kept the client has."""
    gap: Gap | None
    uncertain: Uncertain | None


def agree(delivery: Delivery, kept: int, claims: Claims | None) -> Agreement:
    """`kept`: how many packets for the client there are. None: it opens, and claims nothing.

    Raises BadNumbers for what cannot be.
    """
    if claims is None:
        claims = Claims(delivery.epoch, 0, 0, 0, 0)
    floor, taken = delivery.floor, claims.taken
    if claims.safe > taken or claims.acked > claims.sent or claims.sent > MOST:
        raise BadNumbers(f"safe {claims.safe}, taken {taken}; acked {claims.acked}, sent {claims.sent}")
    if taken > floor + kept:
        raise BadNumbers(f"{taken} packets taken where {floor + kept} were sent")
    # What is not known has so many numbers that all else that is in the gap is a part of it.
    why = _RESTART if taken < delivery.epoch * EPOCH_SPAN <= floor else delivery.why
    gap = Gap(taken + 1, floor, why) if taken < floor else None
    skip = max(taken - floor, 0)
    if claims.epoch == delivery.epoch:
        return Agreement(delivery.taken, skip, gap, None)
    # What another process took over from what the client had sent, and nobody confirmed, is not known to be safe.
    safe, last = max(delivery.safe, claims.acked), max(delivery.taken, claims.sent)
    uncertain = Uncertain(safe + 1, last) if last > safe else None
    return Agreement(last, skip, gap, uncertain)
