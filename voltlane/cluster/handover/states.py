"""What is said of a connection: `lanes.moved` ↔ the fields of a note."""

from __future__ import annotations

from struct import Struct

from ...core.coded import Coded
from ...core.meter import Levels
from ...core.outbox import Queued
from ...core.protocols.flow import Flowing, shares_of
from ...core.retention import Kept
from ...lanes.moved import Moved, Recorded, Unconfirmed
from ...store.records import Damaged
from ...trunk.trunk import MovedTrunk
from ...wire.framing import PREFIX
from ...wire.v3 import Retained, Uncertain
from .fields import FLAG, Reader, Writer

_HEAD = Struct("<Qd")
_LEVELS = Struct("<BBddd")
_QUEUED = Struct("<Qq")
_CODED = Struct("<QQ")
_FLOW = Struct("<QQIIQQQQQQQQQI")
_UNCONFIRMED = Struct("<Q?QQ")
_KEYS = (0, 64)


def encode_connection(moved: Moved) -> bytes:
    """A connection's fields."""
    writer = Writer()
    writer.put(_HEAD, moved.client_id, moved.since)
    writer.text("\n".join((moved.protocol, moved.lane, moved.framing, moved.peer, moved.subject)))
    writer.blob(moved.framing_state)
    writer.blob(moved.source)
    writer.blob(moved.received)
    put_levels(writer, moved.levels)
    queued = moved.queued
    writer.put(FLAG, 0 if queued is None else 2 if isinstance(queued, Coded) else 1)
    if isinstance(queued, Coded):
        _put_queued(writer, queued.queued)
        writer.blob(queued.encoded)
        writer.put(_CODED, queued.written, queued.source)
        writer.blob(queued.between)
    elif queued is not None:
        _put_queued(writer, queued)
    writer.put(FLAG, moved.recorded is not None)
    if moved.recorded is not None:
        _put_recorded(writer, moved.recorded)
    return writer.done()


def decode_connection(data: bytes) -> Moved:
    """What `encode_connection` gave. Raises Damaged."""
    reader = Reader(data)
    client_id, since = reader.take(_HEAD)
    texts = reader.text().split("\n", 4)
    if len(texts) != 5:
        raise Damaged("a connection of which something is not said")
    protocol, lane, framing, peer, subject = texts
    framing_state, source, received = reader.blob(), reader.blob(), reader.blob()
    levels = take_levels(reader)
    kind = reader.flag(2)
    queued: Queued | Coded | None = None
    if kind == 1:
        queued = _take_queued(reader)
    elif kind == 2:
        queued = _take_coded(reader)
    recorded = _take_recorded(reader) if reader.flag(1) else None
    reader.end()
    return Moved(
        client_id,
        since,
        protocol,
        lane,
        peer,
        subject,
        framing,
        framing_state,
        source,
        received,
        levels,
        queued,
        recorded,
    )


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
        packets, size, heard = levels
        writer.put(_LEVELS, packets is not None, size is not None, packets or 0.0, size or 0.0, heard)


def take_levels(reader: Reader) -> Levels | None:
    """The same."""
    if not reader.flag(1):
        return None
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


def _take_coded(reader: Reader) -> Coded:
    queued, encoded = _take_queued(reader), reader.blob()
    written, source = reader.take(_CODED)
    if written > len(encoded) or source > sum([len(chunk) for chunk, _ in queued.chunks]):
        raise Damaged("more is encoded than there is")
    return Coded(queued, encoded, written, source, reader.blob())


def _put_recorded(writer: Writer, recorded: Recorded) -> None:
    flow, shares = recorded.flow, recorded.flow.shares
    writer.blob(flow.keys)
    writer.put(
        _FLOW,
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
    )
    writer.put(FLAG, flow.single is not None)
    if flow.single is not None:
        writer.blob(flow.single)
    writer.put(FLAG, flow.kept is not None)
    if flow.kept is not None:
        writer.chunks(flow.kept.sent)
        writer.put(PREFIX, flow.kept.acked)
        _put_queued(writer, flow.kept.queued)
    writer.blob(recorded.unsent)
    writer.put(FLAG, recorded.pong is not None)
    if recorded.pong is not None:
        writer.blob(recorded.pong)
    writer.put(FLAG, recorded.unconfirmed is not None)
    if recorded.unconfirmed is not None:
        branch, uncertain = recorded.unconfirmed
        first, last = (0, 0) if uncertain is None else uncertain
        writer.put(_UNCONFIRMED, branch, uncertain is not None, first, last)
    writer.blob(recorded.packet)


def _take_recorded(reader: Reader) -> Recorded:
    keys = reader.blob()
    if len(keys) not in _KEYS:
        raise Damaged(f"keys of {len(keys)} bytes")
    sealed, opened, packets, size, credit, window, *counts, single_packets = reader.take(_FLOW)
    single = reader.blob() if reader.flag(1) else None
    kept = None
    if reader.flag(1):
        kept = Kept(reader.chunks(), reader.take(PREFIX)[0], _take_queued(reader))
    shares = shares_of(Retained(packets, size), credit, window)
    received, granted, sent, credit_now, acked, told, told_received = counts
    flow = Flowing(
        keys,
        sealed,
        opened,
        shares,
        received,
        granted,
        sent,
        credit_now,
        acked,
        told,
        told_received,
        single,
        single_packets,
        kept,
    )
    unsent = reader.blob()
    pong = reader.blob() if reader.flag(1) else None
    unconfirmed = None
    if reader.flag(1):
        branch, is_uncertain, first, last = reader.take(_UNCONFIRMED)
        unconfirmed = Unconfirmed(branch, Uncertain(first, last) if is_uncertain else None)
    return Recorded(flow, unsent, pong, unconfirmed, reader.blob())
