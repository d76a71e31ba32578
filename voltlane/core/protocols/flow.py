"""The records of one connection of version 3, both ways: sealing and opening, acks and credit (SPEC 10, 15, 16).

What is taken and what is safe belongs to the session (`core.delivery`); credit, and what was told, to the connection.
"""

from __future__ import annotations

from typing import Callable

from ...errors import BadNumbers, CreditExceeded, MalformedRecord
from ...wire.framing import PREFIX, Buffer
from ...wire.noise import Channel
from ...wire.v3 import HEAD, HEAD_SIZE, Kind, Retained
from ..delivery import Agreement, Delivery
from ..retention import Retention

SHARE = 4
"""Of what the peer retains, the part that it is told of at once when it is safe."""


class Flow:
    """One connection's, as seen from the server."""

    __slots__ = (
        "_on_confirmed",
        "_open",
        "_seal",
        "acked",
        "agreement",
        "credit",
        "delivery",
        "granted",
        "quarter_bytes",
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
        self._seal = channel.sending.seal
        self._open = channel.receiving.open
        self.delivery = Delivery(0)
        """The session's, once it is in one."""
        self.agreement: Agreement | None = None
        """What holds once the peer has confirmed it, which its first record does."""
        self.retention: Retention | None = None
        """What is kept for the peer, while there is any."""
        self.quarter_packets = max(1, retained.packets // SHARE) if retained.packets else 1 << 62
        self.quarter_bytes = max(1, retained.size // SHARE) if retained.size else 1 << 62
        self.received = 0
        """Bytes of data bodies, ..."""
        self.granted = granted
        """... of which the peer may send so many."""
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

    # ---- to the peer

    def seal(self, kind: int, body: Buffer = b"") -> bytes:
        """A record as a message, with its size in front."""
        safe = self.told = self.delivery.safe
        self.told_received = self.received
        message = self._seal(HEAD.pack(kind, safe, self.granted) + body)
        return PREFIX.pack(len(message)) + message

    def seal_data(self, body: Buffer) -> bytes:
        """The same for data, which the credit must allow for."""
        self.sent += len(body)
        return self.seal(Kind.DATA, body)

    @property
    def owes(self) -> bool:
        """Whether the peer has not been told all that is safe."""
        return self.told < self.delivery.safe

    @property
    def owes_much(self) -> bool:
        """Whether it has to be told at once."""
        return self.owes and (
            self.delivery.safe - self.told >= self.quarter_packets
            or self.received - self.told_received >= self.quarter_bytes
        )

    # ---- from the peer

    def open(self, message: Buffer) -> tuple[int, Buffer, bool]:
        """The next record: its kind, all of its bytes, and whether more may be sent than before it.

        Raises BadRecord, MalformedRecord, BadNumbers.
        """
        plaintext = self._open(message)
        if len(plaintext) < HEAD_SIZE:
            raise MalformedRecord(f"a record of {len(plaintext)} bytes; at least {HEAD_SIZE} are needed")
        kind, ack, credit = HEAD.unpack_from(plaintext)
        if self.agreement is not None:
            self._confirm(self.agreement)
        more = False
        if ack != self.acked:
            self._on_ack(ack)
            more = True
        if credit != self.credit:
            if credit < self.credit:
                raise BadNumbers(f"a credit of {credit} behind one of {self.credit}")
            self.credit = credit
            more = True
        return kind, plaintext, more

    def spend(self, size: int) -> None:
        """So many bytes of data came. Raises CreditExceeded."""
        self.received += size
        if self.received > self.granted:
            raise CreditExceeded(f"{self.received} bytes of data where {self.granted} are allowed")

    def _confirm(self, agreement: Agreement) -> None:
        """The peer has the welcome: from here on it is as that said."""
        self.agreement = None
        if agreement.taken > self.delivery.taken:
            self.delivery.taken = self.delivery.safe = agreement.taken
        self._on_confirmed(agreement)

    def _on_ack(self, ack: int) -> None:
        delivery, retention = self.delivery, self.retention
        sent = delivery.floor + (retention.unacked if retention is not None else 0)
        if not self.acked <= ack <= sent:
            raise BadNumbers(f"an ack of {ack} behind one of {self.acked}, where {sent} were sent")
        self.acked = ack
        if ack > delivery.floor:
            assert retention is not None
            retention.forget(ack - delivery.floor)
            delivery.acked(ack)
            if not retention.kept:
                self.retention = None
