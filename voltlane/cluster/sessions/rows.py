"""What a session is in the store: values ↔ bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...core.delivery import DELIVERY_SIZE, Delivery, decode_delivery
from ...core.protocols.credentials import Kind, kind_of
from ...core.protocols.secrets import decode_secrets
from ...core.protocols.table import revive
from ...core.session import Session, State
from ...errors import BadProof
from ...wire.framing import count_frames, skip_frames
from ..keys.secret import Sealer

PURPOSE = "credential"
RETAINED = "retained"
NO_NUMBERS = b""


class Row(NamedTuple):
    """A session as the store has it."""

    credential: bytes
    numbers: bytes
    """As `Delivery.encode` gives them; b"" for one without."""
    retained: bytes
    """Whole frames (SPEC 7) that its client has not taken; sealed in the store, as the credential is. They stand there
    from when its owner gives it up until somebody takes it: what a living owner has kept may be out by the time it
    dies, and a client of version 2 could not tell that it gets it twice."""


class Taken(NamedTuple):
    """What TAKE gives."""

    term: int
    exact: bool
    """Whether its owner gave it up with these numbers, and nobody has had it since."""
    row: Row


class Seen(NamedTuple):
    """What LOOK gives."""

    owner: str
    term: int
    row: Row


class RowError(ValueError):
    """What stands in the store is no session of this version, or sealed with another secret. Says which."""


class Rows:
    """Makes and reads them. `most`: bytes that may be retained."""

    def __init__(self, sealer: Sealer, most: int) -> None:
        self._sealer = sealer
        self.most = most

    def seal(self, client_id: int, credential: bytes) -> bytes:
        """A credential for the store."""
        return self._sealer.seal(PURPOSE, _whose(client_id), credential)

    def row(self, session: Session) -> tuple[Row, int]:
        """That of a session that is given up; and how many of the oldest packets had no room in it."""
        delivery = session.delivery
        retained, dropped = b"", 0
        if session.backlog is not None and session.state is State.STALE:
            retained = b"".join([chunk for chunk, _ in session.backlog.kept()])
            retained, dropped = latest(retained, self.most)
        numbers = numbers_of(session)
        if delivery is not None and dropped:
            left = decode_delivery(numbers)
            left.drop(dropped)
            numbers = left.encode()
        if retained:
            retained = self._sealer.seal(RETAINED, _whose(session.id), retained)
        return Row(self.seal(session.id, session.credential), numbers, retained), dropped

    def taken(self, client_id: int, reply: list[Any]) -> Taken:
        """What TAKE has answered. Raises RowError."""
        _, term, exact, credential, numbers, retained = reply
        return Taken(int(term), exact == b"1", self._row(client_id, credential, numbers, retained))

    def seen(self, client_id: int, reply: list[Any]) -> Seen:
        """What LOOK has answered. Raises RowError."""
        owner, term, credential, numbers = reply
        return Seen(owner.decode("utf-8", "replace"), int(term), self._row(client_id, credential, numbers, b""))

    def _row(self, client_id: int, credential: bytes, numbers: bytes, retained: bytes) -> Row:
        try:
            opened = self._sealer.open(PURPOSE, _whose(client_id), credential or b"")
            if retained:
                retained = self._sealer.open(RETAINED, _whose(client_id), retained)
        except BadProof:
            raise RowError("was sealed with another cluster.secret") from None
        if numbers and len(numbers) != DELIVERY_SIZE:
            raise RowError("is of another version")
        return Row(opened, numbers or b"", retained or b"")


def numbers_of(session: Session) -> bytes:
    """What is known of its packets, for the store."""
    return NO_NUMBERS if session.delivery is None else session.delivery.encode()


def delivery_of(row: Row, term: int, exact: bool) -> Delivery | None:
    """What is known of the packets of a session that was taken under this term; None in a protocol without numbers.

    Unless it is exact another epoch begins, which is the term: no owner has had that one, for it grows with each take.
    """
    if not revive(row.credential)[0]:
        return None
    known = decode_delivery(row.numbers) if row.numbers else Delivery(term)
    if not exact:
        known.forget(term)
    return known


def joined(proven: bytes, known: bytes) -> bytes | None:
    """The credential of a session that was proven by what it was when it was looked up, where its owner may have
    renewed it since; None where the proof is good no more.

    Of version 3 the present secret has to be the same. What was told of the next one by its owner stays good.
    """
    if proven == known:
        return known
    if kind_of(proven) is not Kind.SECRETS or kind_of(known) is not Kind.SECRETS:
        return None
    ours, theirs = decode_secrets(proven), decode_secrets(known)
    if ours[:4] != theirs[:4]:  # suite, generation, branch and secret
        return None
    return known if theirs.root else proven


def latest(frames: bytes, most: int) -> tuple[bytes, int]:
    """The last whole frames of these that have room in so many bytes; and how many did not."""
    if len(frames) <= most:
        return frames, 0
    total, position, dropped = count_frames(frames), 0, 0
    while len(frames) - position > most:
        position += skip_frames(memoryview(frames)[position:], 1)
        dropped += 1
    assert dropped <= total
    return frames[position:], dropped


def _whose(client_id: int) -> bytes:
    return client_id.to_bytes(8, "little")
