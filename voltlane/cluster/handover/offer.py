"""All that there is to be handed over, as notes: a part of it ahead, the rest in the pause. Nothing is changed by that.

Each note that has a descriptor is behind the one before it, and so is its descriptor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ...address import UDP
from ...lanes.udp.moved import Moved, MovedChannel
from .ahead import Ahead, Words
from .datagrams import encode_channel, encode_peer
from .fields import FLAG, Writer
from .goods import Door, Goods
from .nodes import encode_node
from .notes import Kind, note
from .sessions import encode_ban, encode_ids, encode_numbers, encode_tombstone
from .states import encode_trunk
from .stores import encode_store

if TYPE_CHECKING:
    from ...lanes.udp.lane import UdpLane


class Offer:
    """One, of one server's goods."""

    def __init__(self, goods: Goods) -> None:
        self._goods = goods
        self._ahead = Ahead(goods.registry, goods.clients)
        self._count = 0

    def ahead(self, most: int, now: float) -> Iterator[tuple[bytes, int]]:
        """Notes about so many sessions, each with a descriptor or -1; none where no more can be said ahead."""
        return self._notes(self._ahead.some(most, now))

    def rest(self, admin: Door | None, now: float) -> Iterator[tuple[bytes, int]]:
        """All that was not said ahead, or is not so any more. Behind it nothing may change."""
        yield from self._notes(self._all(admin, now))
        yield note(Kind.END, self._count), -1

    def _notes(self, all_words: Iterable[Words]) -> Iterator[tuple[bytes, int]]:
        for kind, number, data, descriptor in all_words:
            self._count += 1
            yield note(kind, number, data), descriptor

    def _all(self, admin: Door | None, now: float) -> Iterator[Words]:
        registry, trunk, store = self._goods.registry, self._goods.trunk, self._goods.store.moved
        node = self._goods.node
        if node is None:
            yield Words(Kind.IDS, 0, encode_ids(registry.ids.counting()))
        else:
            yield Words(Kind.NODE, 0, encode_node(node.moved))
        datagrams = self._goods.datagrams
        for door in (*map(Door._make, self._goods.entrance.listening), *_doors_of(datagrams)):
            yield Words(Kind.LISTENER, 0, _encode_door(door), door.sock.fileno())
        if admin is not None:
            yield Words(Kind.ADMIN, 0, _encode_door(admin), admin.sock.fileno())
        if store is not None:
            file = store.journal.descriptor
            yield Words(Kind.STORE, int(file >= 0), encode_store(store), file)
        master = None if trunk.connection is None else trunk.connection.sock
        descriptor = -1 if master is None else master.fileno()
        yield Words(Kind.TRUNK, int(master is not None), encode_trunk(trunk.moved), descriptor)
        yield from self._ahead.rest(now)
        for moved in () if datagrams is None else datagrams.moved():
            yield _words_of(moved)
        ids = list(registry.sessions)
        yield Words(Kind.ORDER, len(ids), encode_numbers(ids))
        stale = [session.id for session in registry.stale()]
        yield Words(Kind.STALE, len(stale), encode_numbers(stale))
        for client_id, stone in registry.tombstones.items():
            yield Words(Kind.TOMBSTONE, client_id, encode_tombstone(stone))
        handles = registry.openings.confirmed()
        yield Words(Kind.OPENINGS, len(handles), b"".join(handles))
        for source in self._goods.admission.sources.values():
            if source.banned_until > now:
                yield Words(Kind.BAN, 0, encode_ban(source.key, source.banned_until))


def _doors_of(datagrams: UdpLane | None) -> list[Door]:
    """Its sockets; what is said of its clients numbers them in this order."""
    ports = [] if datagrams is None else datagrams.ports
    return [Door(UDP, port.sock, False, port.asked) for port in ports if port.sock is not None]


def _words_of(moved: Moved) -> Words:
    if isinstance(moved, MovedChannel):
        return Words(Kind.CHANNEL, moved.client_id, encode_channel(moved))
    return Words(Kind.PEER, moved.client_id, encode_peer(moved))


def _encode_door(door: Door) -> bytes:
    writer = Writer()
    writer.text(door.scheme)
    writer.put(FLAG, door.own_file)
    writer.text(door.asked)
    return writer.done()
