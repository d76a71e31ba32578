"""What is said of datagrams: `lanes.udp.moved` ↔ the fields of a note."""

from __future__ import annotations

from math import isfinite
from struct import Struct

from ...lanes.udp.moved import MovedChannel, MovedPeer
from ...net.udp.names import Place
from ...store.records import Damaged
from .fields import Reader, Writer

_PLACE = Struct("<HI")
"""The port, and the scope."""
_CHANNEL = Struct("<I32sddHB")
"""By which socket, what the keys come of, since, heard, keepalive, flags."""
_ENDS, _HAS_PATH, _REFUSED = 1, 2, 4
_ENDING = Struct("<d")
_PEER = Struct("<Idd4Q?")
"""By which socket, since, heard, what is counted, and whether it has shown a cookie."""


def encode_channel(moved: MovedChannel) -> bytes:
    """A channel's fields, but for whose it is."""
    writer = Writer()
    flags = (_ENDS if moved.ending is not None else 0) | (_HAS_PATH if moved.path is not None else 0)
    flags |= _REFUSED if moved.refused else 0
    writer.put(_CHANNEL, moved.port, moved.root, moved.since, moved.heard, moved.keepalive, flags)
    if moved.ending is not None:
        writer.put(_ENDING, moved.ending)
    if moved.path is not None:
        _put_place(writer, moved.path)
    writer.blob(moved.state)
    return writer.done()


def decode_channel(client_id: int, data: bytes) -> MovedChannel:
    """What `encode_channel` gave. Raises Damaged."""
    reader = Reader(data)
    port, root, since, heard, keepalive, flags = reader.take(_CHANNEL)
    ending = reader.take(_ENDING)[0] if flags & _ENDS else None
    path = _take_place(reader) if flags & _HAS_PATH else None
    state = reader.blob()
    reader.end()
    if ending is not None and not isfinite(ending):
        raise Damaged(f"datagrams of client {client_id} that end at no time")
    refused = bool(flags & _REFUSED)
    return MovedChannel(client_id, port, root, path, since, heard, ending, keepalive, refused, state)


def encode_peer(moved: MovedPeer) -> bytes:
    """The fields of a client that is an address, but for its id."""
    writer = Writer()
    writer.put(_PEER, moved.port, moved.since, moved.heard, *moved.counted, moved.shown)
    _put_place(writer, moved.place)
    writer.blob(moved.source)
    return writer.done()


def decode_peer(client_id: int, data: bytes) -> MovedPeer:
    """What `encode_peer` gave. Raises Damaged."""
    reader = Reader(data)
    port, since, heard, *counted, shown = reader.take(_PEER)
    place, source = _take_place(reader), reader.blob()
    reader.end()
    packets_in, bytes_in, packets_out, bytes_out = counted
    whole = (packets_in, bytes_in, packets_out, bytes_out)
    return MovedPeer(client_id, port, place, since, heard, source, whole, shown)


def _put_place(writer: Writer, place: Place) -> None:
    writer.put(_PLACE, place.port, place.scope)
    writer.text(place.host)


def _take_place(reader: Reader) -> Place:
    port, scope = reader.take(_PLACE)
    return Place(reader.text(), port, scope)
