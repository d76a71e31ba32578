"""What is known of a session's packets, both ways, by number (SPEC 15), and what two sides agree on when it resumes.

Of a protocol that has no numbers nothing is known. The packets themselves are in the session's backlog, or with its
link; the first that is kept has the number behind `floor`.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from ..errors import BadNumbers
from ..wire.v3 import Gap, Uncertain, Why

_LAYOUT = Struct("<QQQB")


class Delivery:
    """One session's. `epoch` is that of our memory of it: a new one says that some of it was lost."""

    __slots__ = ("epoch", "floor", "handle", "safe", "taken", "why")

    def __init__(self, epoch: int, floor: int = 0, taken: int = 0, why: int = Why.FORGOTTEN) -> None:
        self.epoch = epoch
        self.floor = floor
        """To the client: the last packet that is not kept any more."""
        self.why = why
        """Why it is not, should the client not have it."""
        self.taken = taken
        """From the client: the last packet taken, ..."""
        self.safe = taken
        """... and the last that it may forget."""
        self.handle = b""
        """What its opening is known by, until the client has confirmed that."""

    def drop(self, packets: int) -> None:
        """The first so many of what is kept were given up, for a limit."""
        self.floor += packets
        self.why = Why.LIMIT

    def acked(self, number: int) -> None:
        """The client says that everything up to there is safe with it."""
        self.floor = number
        self.why = Why.FORGOTTEN

    def recall(self, known: Delivery) -> None:
        """What of an earlier memory is known still."""
        self.epoch, self.floor, self.why = known.epoch, known.floor, known.why
        self.taken, self.safe = known.taken, known.safe

    def encode(self) -> bytes:
        """For who keeps it over an end of the process in order, which leaves nothing on its way."""
        return _LAYOUT.pack(self.epoch, self.floor, self.taken, self.why)


DELIVERY_SIZE = _LAYOUT.size


def decode_delivery(data: bytes) -> Delivery:
    """What `encode` gave, of DELIVERY_SIZE bytes; everything that was taken counts as safe."""
    return Delivery(*_LAYOUT.unpack(data))


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
    """What follows from that. It holds once the client has confirmed it, and till then nothing has changed."""

    taken: int
    """The last packet from the client that it need not send."""
    skip: int
    """How many of the first packets that are kept the client has, ..."""
    floor: int
    """... and the number of the last packet in front of those that are kept: behind the skipped, where it is `new`."""
    gap: Gap | None
    uncertain: Uncertain | None
    new: bool
    """Whether our memory is another than the one that the client knows."""


def agree(delivery: Delivery, kept: int, claims: Claims | None) -> Agreement:
    """`kept`: how many packets for the client there are. None: it has just opened, and claims nothing.

    Raises BadNumbers for what cannot be.
    """
    if claims is None:
        claims = Claims(delivery.epoch, 0, 0, 0, 0)
    if claims.safe > claims.taken or claims.acked > claims.sent:
        raise BadNumbers(f"safe {claims.safe}, taken {claims.taken}; acked {claims.acked}, sent {claims.sent}")
    if claims.epoch == delivery.epoch:
        return _remembered(delivery, kept, claims.taken)
    return _forgotten(delivery, kept, claims)


def _remembered(delivery: Delivery, kept: int, taken: int) -> Agreement:
    floor = delivery.floor
    if taken > floor + kept:
        raise BadNumbers(f"{taken} packets taken where {floor + kept} were sent")
    gap = Gap(taken + 1, floor, delivery.why) if taken < floor else None
    return Agreement(delivery.taken, max(taken - floor, 0), floor, gap, None, False)


def _forgotten(delivery: Delivery, kept: int, claims: Claims) -> Agreement:
    """What there was between what we know and what the client knows is told as uncertain, and as a gap of at least one
    number: nobody can say how many packets it stands for."""
    safe = max(delivery.taken, claims.acked)
    uncertain = Uncertain(safe + 1, claims.sent) if claims.sent > safe else None
    floor = max(delivery.floor, claims.taken) + 1
    skip = min(max(claims.taken - delivery.floor, 0), kept)
    gap = Gap(claims.taken + 1, floor, Why.RESTART)
    return Agreement(max(delivery.taken, claims.sent), skip, floor, gap, uncertain, True)
