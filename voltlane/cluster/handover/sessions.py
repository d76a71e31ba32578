"""What is said of a session, of one that is over, and of the ids: values ↔ the fields of a note."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from ...core.backlog import Backlog
from ...core.budget import Budget
from ...core.delivery import DELIVERY_SIZE, decode_delivery
from ...core.ids import Counting
from ...core.meter import Meter, MeterLimits
from ...core.session import Session, State
from ...core.tombstones import Tombstone
from ...reasons import EndReason
from ...store.records import Damaged
from .fields import FLAG, Reader, Writer
from .states import put_levels, take_levels

_SESSION = Struct("<Bdd")
_STONE = Struct("<QQ")
_IDS = Struct("<QQQQd")
_BAN = Struct("<d")
_NO_LIMIT = 1 << 62
_STATES = (State.LIVE, State.STALE)


class Surroundings(NamedTuple):
    """What a session is built with."""

    budget: Budget
    meter: MeterLimits
    now: float


def encode_session(session: Session, now: float) -> bytes:
    """A session's fields, but for its id."""
    writer = Writer()
    writer.put(_SESSION, _STATES.index(session.state), session.lost, session.expiry)
    writer.blob(session.credential)
    writer.blob(session.secret or b"")
    writer.blob(b"" if session.delivery is None else session.delivery.encode())
    backlog = session.backlog
    writer.put(FLAG, backlog is not None)
    if backlog is not None:
        writer.chunks(backlog.kept())
    put_levels(writer, None if session.allowance is None else session.allowance.levels(now))
    return writer.done()


def decode_session(client_id: int, data: bytes, around: Surroundings) -> Session:
    """What `encode_session` gave, without a link. Raises Damaged."""
    reader = Reader(data)
    state, lost, expiry = reader.take(_SESSION)
    if state >= len(_STATES):
        raise Damaged(f"a session in state {state}")
    session = Session(client_id, reader.blob(), None)
    session.state, session.lost, session.expiry = _STATES[state], lost, expiry
    session.secret = reader.blob() or None
    delivery = reader.blob()
    if len(delivery) not in (0, DELIVERY_SIZE):
        raise Damaged(f"numbers of {len(delivery)} bytes")
    session.delivery = decode_delivery(delivery) if delivery else None
    if reader.flag(1):
        backlog = session.backlog = Backlog(around.budget, session)
        for chunk, packets in reader.chunks():
            backlog.append(chunk, packets, _NO_LIMIT, _NO_LIMIT)
    levels = take_levels(reader)
    if levels is not None:
        session.allowance = Meter(around.meter, around.now)
        session.allowance.set(levels, around.now)
    reader.end()
    return session


def encode_tombstone(stone: Tombstone) -> bytes:
    """Of a session that is over."""
    writer = Writer()
    writer.blob(stone.credential)
    writer.text(stone.reason.name)
    writer.put(_STONE, stone.safe, stone.taken)
    return writer.done()


def decode_tombstone(data: bytes) -> Tombstone:
    """What `encode_tombstone` gave. Raises Damaged."""
    reader = Reader(data)
    credential, reason = reader.blob(), reader.text()
    if reason not in EndReason.__members__:
        raise Damaged("a reason that is none")
    stone = Tombstone(credential, EndReason[reason], *reader.take(_STONE))
    reader.end()
    return stone


def encode_ids(counting: Counting) -> bytes:
    """Where ids have got to."""
    return _IDS.pack(*counting)


def decode_ids(data: bytes) -> Counting:
    """What `encode_ids` gave. Raises Damaged."""
    reader = Reader(data)
    counting = Counting(*reader.take(_IDS))
    reader.end()
    return counting


def encode_numbers(numbers: list[int]) -> bytes:
    """Ids."""
    return Struct(f"<{len(numbers)}Q").pack(*numbers)


def decode_numbers(count: int, data: bytes) -> tuple[int, ...]:
    """So many ids. Raises Damaged."""
    if len(data) != 8 * count:
        raise Damaged(f"{len(data)} bytes where {count} ids were to be")
    return Struct(f"<{count}Q").unpack(data)


def encode_ban(key: bytes, until: float) -> bytes:
    """An address that is banned, until that time."""
    return _BAN.pack(until) + key


def decode_ban(data: bytes) -> tuple[bytes, float]:
    """What `encode_ban` gave. Raises Damaged."""
    if len(data) - _BAN.size not in (4, 16):
        raise Damaged("a ban of what is no address")
    return data[_BAN.size :], float(_BAN.unpack_from(data)[0])
