"""What is said of a server as one of several: `cluster.moved.MovedNode` ↔ the fields of a note."""

from __future__ import annotations

from struct import Struct

from ...core.ids import Counting
from ...reasons import EndReason
from ...store.records import Damaged
from ..moved import MovedEnd, MovedLease, MovedNode, MovedRelease
from .fields import FLAG, Reader, Writer
from .sessions import IDS

_LEASE = Struct("<BQQd")
_HEAD = Struct("<dIIII")
"""From when on the store is trusted, and how many terms, ends, releases and clients."""
_PAIR = Struct("<QQ")
_RELEASE = Struct("<QBB")
"""The id, and how many keys and arguments."""


def encode_node(moved: MovedNode) -> bytes:
    """Its fields."""
    writer, lease = Writer(), moved.lease
    writer.blob(moved.token)
    writer.put(FLAG, lease is not None)
    if lease is not None:
        writer.put(_LEASE, lease.number, lease.term, lease.used, lease.until)
        writer.put(IDS, *lease.ids)
    writer.put(_HEAD, moved.trusted_at, len(moved.terms), len(moved.ends), len(moved.releases), len(moved.clients))
    terms = [number for pair in moved.terms.items() for number in pair]
    for numbers in (terms, moved.clients):
        writer.put(Struct(f"<{len(numbers)}Q"), *numbers)
    for end in moved.ends:
        writer.put(_PAIR, end.client_id, end.term)
        writer.text("" if end.reason is None else end.reason.name)
    for release in moved.releases:
        writer.put(_RELEASE, release.client_id, len(release.keys), len(release.arguments))
        for key in release.keys:
            writer.text(key)
        for argument in release.arguments:
            writer.blob(argument)
    return writer.done()


def decode_node(data: bytes) -> MovedNode:
    """What `encode_node` gave. Raises Damaged."""
    reader = Reader(data)
    token, lease = reader.blob(), None
    if reader.flag(1):
        number, term, used, until = reader.take(_LEASE)
        lease = MovedLease(number, term, used, until, Counting(*reader.take(IDS)))
    trusted_at, terms, ends, releases, clients = reader.take(_HEAD)
    if (2 * terms + clients) * 8 + ends * _PAIR.size + releases * _RELEASE.size > len(data):
        raise Damaged("more sessions than there is room for")
    pairs = reader.take(Struct(f"<{2 * terms}Q"))
    moved = list(reader.take(Struct(f"<{clients}Q")))
    node = MovedNode(
        token,
        lease,
        trusted_at,
        dict(zip(pairs[::2], pairs[1::2])),
        [_end(reader) for _ in range(ends)],
        [_release(reader) for _ in range(releases)],
        moved,
    )
    reader.end()
    return node


def _end(reader: Reader) -> MovedEnd:
    client_id, term = reader.take(_PAIR)
    reason = reader.text()
    if reason and reason not in EndReason.__members__:
        raise Damaged("a reason that is none")
    return MovedEnd(client_id, term, EndReason[reason] if reason else None)


def _release(reader: Reader) -> MovedRelease:
    client_id, keys, arguments = reader.take(_RELEASE)
    return MovedRelease(
        client_id,
        tuple([reader.text() for _ in range(keys)]),
        tuple([reader.blob() for _ in range(arguments)]),
    )
