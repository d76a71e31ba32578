"""What is said of a connection: `lanes.moved` ↔ the fields of a note."""

from __future__ import annotations

from struct import Struct

from ...core.coded import Coded
from ...core.delivery import DELIVERY_SIZE
from ...core.meter import Levels
from ...core.outbox import Queued
from ...core.protocols.flow import Flowing, shares_of
from ...core.retention import Kept
from ...lanes.moved import Moved, Origin, Recorded, Unconfirmed
from ...store.records import Damaged
from ...trunk.trunk import MovedTrunk
from ...wire.framing import PREFIX
from ...wire.v3 import Retained, Uncertain
from .fields import FLAG, Reader, Writer

_ORIGIN = Struct("<dH")
"""Since, and the address family."""
_STATE = Struct("<BII")
"""Flags, and the sizes of: the framing's state, received."""
_HAS_LEVELS, _HAS_QUEUED, _HAS_CODED, _HAS_RECORDED = 1, 2, 4, 8
_LEVELS = Struct("<BBddd")
_QUEUED = Struct("<Qq")
_CODED = Struct("<QQ")
_RECORD = Struct("<BQQIIQQQQQQQQQIIIHI")
"""Flags, the numbers of a flow in their order, and the sizes of: single, unsent, pong, packet."""
_SEALED, _HAS_SINGLE, _HAS_KEPT, _HAS_PONG, _IS_UNCONFIRMED, _IS_UNCERTAIN = 1, 2, 4, 8, 16, 32
_BRANCH, _UNCERTAIN = Struct("<Q"), Struct("<QQ")
_KEYS = 64
NOTHING = _STATE.pack(0, 0, 0)
"""What a connection is at until something else is said."""


def encode_origin(origin: Origin) -> bytes:
    """The fields of how a connection came, but for its id."""
    writer = Writer()
    writer.put(_ORIGIN, origin.since, origin.family)
    writer.blob(origin.source)
    writer.text("\n".join((origin.protocol, origin.lane, origin.framing, origin.peer, origin.subject)))
    return writer.done()


def decode_origin(client_id: int, data: bytes) -> Origin:
    """What `encode_origin` gave. Raises Damaged."""
    reader = Reader(data)
    since, family = reader.take(_ORIGIN)
    source, texts = reader.blob(), reader.text().split("\n", 4)
    reader.end()
    if len(texts) != 5:
        raise Damaged("a connection of which something is not said")
    protocol, lane, framing, peer, subject = texts
    return Origin(client_id, since, protocol, lane, peer, subject, framing, source, family)


def encode_state(moved: Moved) -> bytes:
    """The fields of what a connection is at; `NOTHING` for one of which there is nothing to be said."""
    state, received, levels, queued, recorded = moved
    flags = (
        (_HAS_LEVELS if levels is not None else 0)
        | (_HAS_CODED if isinstance(queued, Coded) else _HAS_QUEUED if queued is not None else 0)
        | (_HAS_RECORDED if recorded is not None else 0)
    )
    if not (flags or state or received):
        return NOTHING
    head = _STATE.pack(flags, len(state), len(received))
    writer = Writer()
    writer.raw(head, state, received)
    if levels is not None:
        _put_levels(writer, levels)
    if isinstance(queued, Coded):
        _put_coded(writer, queued)
    elif queued is not None:
        _put_queued(writer, queued)
    if recorded is not None:
        _put_recorded(writer, recorded)
    return writer.done()


def decode_state(data: bytes) -> Moved:
    """What `encode_state` gave. Raises Damaged."""
    # By hand: it is what a pause is made of.
    if len(data) < _STATE.size:
        raise Damaged("a note that is cut")
    flags, state_size, received_size = _STATE.unpack_from(data)
    received_at = _STATE.size + state_size
    end = received_at + received_size
    if end > len(data):
        raise Damaged("a note that is cut")
    levels, recorded = None, None
    queued: Queued | Coded | None = None
    if flags or end != len(data):
        reader = Reader(data, end)
        levels = _take_levels(reader) if flags & _HAS_LEVELS else None
        if flags & _HAS_QUEUED:
            queued = _take_queued(reader)
        elif flags & _HAS_CODED:
            queued = _take_coded(reader)
        recorded = _take_recorded(reader) if flags & _HAS_RECORDED else None
        reader.end()
    return Moved(data[_STATE.size : received_at], data[received_at:end], levels, queued, recorded)


def encode_trunk(moved: MovedTrunk) -> bytes:
    """The trunk's fields."""
    writer = Writer()
    writer.text(moved.address)
    writer.blob(moved.received)
    writer.put(FLAG, moved.queued is not None)
    if moved.queued is not None:
        _put_queued(writer, moved.queued)
    return writer.done()


def decode_trunk(data: bytes) -> MovedTrunk:
    """What `encode_trunk` gave. Raises Damaged."""
    reader = Reader(data)
    moved = MovedTrunk(reader.text(), reader.blob(), _take_queued(reader) if reader.flag(1) else None)
    reader.end()
    return moved


def put_levels(writer: Writer, levels: Levels | None) -> None:
    """How a meter stands, if there is one."""
    writer.put(FLAG, levels is not None)
    if levels is not None:
        _put_levels(writer, levels)


def take_levels(reader: Reader) -> Levels | None:
    """The same."""
    return _take_levels(reader) if reader.flag(1) else None


def _put_levels(writer: Writer, levels: Levels) -> None:
    packets, size, heard = levels
    writer.put(_LEVELS, packets is not None, size is not None, packets or 0.0, size or 0.0, heard)


def _take_levels(reader: Reader) -> Levels:
    has_packets, has_size, packets, size, heard = reader.take(_LEVELS)
    return Levels(packets if has_packets else None, size if has_size else None, heard)


def _put_queued(writer: Writer, queued: Queued) -> None:
    writer.chunks(queued.chunks)
    writer.put(_QUEUED, queued.written, queued.exempt)


def _take_queued(reader: Reader) -> Queued:
    queued = Queued(reader.chunks(), *reader.take(_QUEUED))
    if queued.written > (len(queued.chunks[0][0]) if queued.chunks else 0):
        raise Damaged("more of a chunk is written than there is")
    return queued


def _put_coded(writer: Writer, coded: Coded) -> None:
    _put_queued(writer, coded.queued)
    writer.blob(coded.encoded)
    writer.put(_CODED, coded.written, coded.source)
    writer.blob(coded.between)


def _take_coded(reader: Reader) -> Coded:
    queued, encoded = _take_queued(reader), reader.blob()
    written, source = reader.take(_CODED)
    if written > len(encoded) or source > sum([len(chunk) for chunk, _ in queued.chunks]):
        raise Damaged("more is encoded than there is")
    return Coded(queued, encoded, written, source, reader.blob())


def _put_recorded(writer: Writer, recorded: Recorded) -> None:
    flow, shares, unconfirmed, kept = recorded.flow, recorded.flow.shares, recorded.unconfirmed, recorded.flow.kept
    single, pong, uncertain = flow.single, recorded.pong, unconfirmed and unconfirmed.uncertain
    flags = (
        (_SEALED if flow.keys else 0)
        | (_HAS_SINGLE if single is not None else 0)
        | (_HAS_KEPT if kept is not None else 0)
        | (_HAS_PONG if pong is not None else 0)
        | (_IS_UNCONFIRMED if unconfirmed is not None else 0)
        | (_IS_UNCERTAIN if uncertain is not None else 0)
    )
    head = _RECORD.pack(
        flags,
        flow.sealed,
        flow.opened,
        shares.retained.packets,
        shares.retained.size,
        shares.credit,
        shares.window,
        flow.received,
        flow.granted,
        flow.sent,
        flow.credit,
        flow.acked,
        flow.told,
        flow.told_received,
        flow.single_packets,
        0 if single is None else len(single),
        len(recorded.unsent),
        0 if pong is None else len(pong),
        len(recorded.packet),
    )
    writer.raw(head, recorded.delivery, flow.keys, single or b"", recorded.unsent, pong or b"", recorded.packet)
    if kept is not None:
        writer.chunks(kept.sent)
        writer.put(PREFIX, kept.acked)
        _put_queued(writer, kept.queued)
    if unconfirmed is not None:
        writer.put(_BRANCH, unconfirmed.branch)
    if uncertain is not None:
        writer.put(_UNCERTAIN, *uncertain)


def _take_recorded(reader: Reader) -> Recorded:
    flags, sealed, opened, packets, size, credit, window, *numbers = reader.take(_RECORD)
    received, granted, sent, credit_now, acked, told, told_received, single_packets, *sizes = numbers
    keys_size = _KEYS if flags & _SEALED else 0
    delivery, keys, single, unsent, pong, packet = reader.split(DELIVERY_SIZE, keys_size, *sizes)
    kept = None
    if flags & _HAS_KEPT:
        kept = Kept(reader.chunks(), reader.take(PREFIX)[0], _take_queued(reader))
    flow = Flowing(
        keys,
        sealed,
        opened,
        shares_of(Retained(packets, size), credit, window),
        received,
        granted,
        sent,
        credit_now,
        acked,
        told,
        told_received,
        single if flags & _HAS_SINGLE else None,
        single_packets,
        kept,
    )
    unconfirmed = None
    if flags & _IS_UNCONFIRMED:
        (branch,) = reader.take(_BRANCH)
        unconfirmed = Unconfirmed(branch, Uncertain(*reader.take(_UNCERTAIN)) if flags & _IS_UNCERTAIN else None)
    return Recorded(flow, unsent, pong if flags & _HAS_PONG else None, unconfirmed, packet, delivery)
