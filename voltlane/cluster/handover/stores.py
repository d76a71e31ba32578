"""What is said of the state directory: `store.no_store.MovedStore` ↔ the fields of a note."""

from __future__ import annotations

from struct import Struct

from ...store.journal import MovedJournal
from ...store.no_store import MovedStore
from ...store.records import Damaged
from ...store.spool import MovedSpool
from .fields import Reader, Writer

_JOURNAL = Struct("<QQQ")
_SPOOL = Struct("<QBBII")


def encode_store(moved: MovedStore) -> bytes:
    """Its fields. The descriptor goes beside them."""
    journal, spool, writer = moved.journal, moved.spool, Writer()
    writer.put(_JOURNAL, journal.size, journal.synced, journal.vouched)
    writer.put(_SPOOL, spool.number, spool.exists, spool.spending, len(spool.waiting), len(spool.spent))
    for ids in (spool.waiting, spool.spent):
        writer.put(Struct(f"<{len(ids)}Q"), *ids)
    return writer.done()


def decode_store(data: bytes, descriptor: int) -> MovedStore:
    """What `encode_store` gave, with the descriptor that came. Raises Damaged."""
    reader = Reader(data)
    size, synced, vouched = reader.take(_JOURNAL)
    number, exists, spending, waiting, spent = reader.take(_SPOOL)
    if 8 * (waiting + spent) > len(data):
        raise Damaged("more ids than there is room for")
    ids = [list(reader.take(Struct(f"<{count}Q"))) for count in (waiting, spent)]
    reader.end()
    return MovedStore(
        MovedJournal(descriptor, size, synced, vouched), MovedSpool(number, bool(exists), bool(spending), *ids)
    )
