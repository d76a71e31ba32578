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

_SESSION = Struct("<BddHH")
"""Flags, lost, expiry, and the sizes of credential and secret."""
_IS_STALE, _HAS_DELIVERY, _HAS_MORE = 1, 2, 4
_STONE = Struct("<QQ")
IDS = Struct("<QQQQd")
_BAN = Struct("<d")
_NO_LIMIT = 1 << 62


class Surroundings(NamedTuple):
    """What a session is built with."""

    budget: Budget
    meter: MeterLimits
    now: float


def encode_session(session: Session, now: float) -> bytes:
    """A session's fields, but for its id. What is known of its packets is said with its connection, if it has one."""
    secret, backlog, allowance = session.secret, session.backlog, session.allowance
    credential, delivery = session.credential, session.delivery if session.state is State.STALE else None
    flags = (
        (_IS_STALE if session.state is State.STALE else 0)
        | (_HAS_DELIVERY if delivery is not None else 0)
        | (_HAS_MORE if backlog is not None or allowance is not None else 0)
    )
    head = _SESSION.pack(flags, session.lost, session.expiry, len(credential), len(secret or b""))
    if not flags & _HAS_MORE:
        return head + credential + (secret or b"") + (b"" if delivery is None else delivery.encode())
    writer = Writer()
    writer.raw(head, credential, secret or b"", b"" if delivery is None else delivery.encode())
    writer.put(FLAG, backlog is not None)
    if backlog is not None:
        writer.chunks(backlog.kept())
    put_levels(writer, None if allowance is None else allowance.levels(now))
    return writer.done()


def decode_session(client_id: int, data: bytes, around: Surroundings) -> Session:
    """What `encode_session` gave, without a link. Raises Damaged."""
    # By hand: it is what a pause is made of.
    if len(data) < _SESSION.size:
        raise Damaged("a note that is cut")
    flags, lost, expiry, credential_size, secret_size = _SESSION.unpack_from(data)
    secret_at = _SESSION.size + credential_size
    end = secret_at + secret_size
    session = Session(client_id, data[_SESSION.size : secret_at], None)
    session.state = State.STALE if flags & _IS_STALE else State.LIVE
    session.lost, session.expiry = lost, expiry
    if secret_size:
        session.secret = data[secret_at:end]
    if flags & _HAS_DELIVERY and end + DELIVERY_SIZE <= len(data):
        session.delivery = decode_delivery(data[end : end + DELIVERY_SIZE])
        end += DELIVERY_SIZE
    elif flags & _HAS_DELIVERY or end > len(data):
        raise Damaged("a note that is cut")
    if flags & _HAS_MORE or end != len(data):
        _take_more(session, Reader(data, end), bool(flags & _HAS_MORE), around)
    return session


def _take_more(session: Session, reader: Reader, more: bool, around: Surroundings) -> None:
    """What few have: a backlog, an allowance."""
    if more:
        if reader.flag(1):
            backlog = session.backlog = Backlog(around.budget, session)
            for chunk, packets in reader.chunks():
                backlog.append(chunk, packets, _NO_LIMIT, _NO_LIMIT)
        levels = take_levels(reader)
        if levels is not None:
            session.allowance = Meter(around.meter, around.now)
            session.allowance.set(levels, around.now)
    reader.end()


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
    return IDS.pack(*counting)


def decode_ids(data: bytes) -> Counting:
    """What `encode_ids` gave. Raises Damaged."""
    reader = Reader(data)
    counting = Counting(*reader.take(IDS))
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
