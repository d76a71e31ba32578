"""All that is handed over, as notes, and taken in again. Neither reads from a socket, writes to one, or ends anything.

Each note that has a descriptor is behind the one before it, and so is its descriptor.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from struct import error as StructError
from typing import NamedTuple

from ...core.admission import Admission
from ...core.budget import Budget
from ...core.ids import go_on_from
from ...core.meter import MeterLimits
from ...core.openings import MOST as MOST_OPENINGS
from ...core.registry import Registry
from ...core.session import Session, State
from ...lanes.clients import Clients
from ...lanes.entry.entrance import Entrance
from ...lanes.table import LANES
from ...net.sockets import socket_file
from ...store.no_store import NoStore
from ...store.records import Damaged
from ...trunk.trunk import Trunk
from ...wire.v3 import HANDLE_SIZE
from .fields import FLAG, Reader, Writer
from .notes import Kind, Note, note
from .sessions import (
    Surroundings,
    decode_ban,
    decode_ids,
    decode_numbers,
    decode_session,
    decode_tombstone,
    encode_ban,
    encode_ids,
    encode_numbers,
    encode_session,
    encode_tombstone,
)
from .states import decode_connection, decode_trunk, encode_connection, encode_trunk
from .stores import decode_store, encode_store
from .wire import Wire


class Goods(NamedTuple):
    """The parts of a server whose contents go from one process to another."""

    registry: Registry
    clients: Clients
    trunk: Trunk
    admission: Admission
    entrance: Entrance
    store: NoStore
    budget: Budget
    meter: MeterLimits


class Door(NamedTuple):
    """A socket that listens."""

    scheme: str
    sock: socket.socket
    own_file: bool
    """Whether it has a file that is to be removed with it."""

    def close(self) -> None:
        """Nobody is to come in by it any more."""
        file = socket_file(self.sock) if self.own_file else None
        if file is not None:
            file.remove()
        self.sock.close()


def offer(goods: Goods, admin: Door | None, now: float) -> Iterator[tuple[bytes, int]]:
    """All of it, as notes, each with a descriptor or -1. Nothing is changed by that."""
    count = 0
    for kind, number, data, descriptor in _all(goods, admin, now):
        count += 1
        yield note(kind, number, data), descriptor
    yield note(Kind.END, count), -1


def _all(goods: Goods, admin: Door | None, now: float) -> Iterator[tuple[Kind, int, bytes, int]]:
    registry, trunk = goods.registry, goods.trunk
    yield Kind.IDS, 0, encode_ids(registry.ids.counting()), -1
    for door in map(Door._make, goods.entrance.listening):
        yield Kind.LISTENER, 0, _encode_door(door), door.sock.fileno()
    if admin is not None:
        yield Kind.ADMIN, 0, _encode_door(admin), admin.sock.fileno()
    store = goods.store.moved
    if store is not None:
        file = store.journal.descriptor
        yield Kind.STORE, int(file >= 0), encode_store(store), file
    master = None if trunk.connection is None else trunk.connection.sock
    yield Kind.TRUNK, int(master is not None), encode_trunk(trunk.moved), -1 if master is None else master.fileno()
    for session in registry.sessions.values():
        connection = goods.clients.connection_of(session)
        yield Kind.SESSION, session.id, encode_session(session, now), -1
        if connection is not None:
            moved = connection.moved
            if moved is None or connection.sock is None:
                raise ImmovableError(f"the connection of client {session.id} cannot move")
            yield Kind.CONNECTION, int(connection.sock.family), encode_connection(moved), connection.sock.fileno()
    stale = [session.id for session in registry.stale()]
    yield Kind.STALE, len(stale), encode_numbers(stale), -1
    for client_id, stone in registry.tombstones.items():
        yield Kind.TOMBSTONE, client_id, encode_tombstone(stone), -1
    handles = registry.openings.confirmed()
    yield Kind.OPENINGS, len(handles), b"".join(handles), -1
    for source in goods.admission.sources.values():
        if source.banned_until > now:
            yield Kind.BAN, 0, encode_ban(source.key, source.banned_until), -1


class ImmovableError(RuntimeError):
    """A connection that cannot be handed over is still there."""


class Intake:
    """What is offered, taken into a server that has nothing yet."""

    def __init__(self, goods: Goods, now: float) -> None:
        self._goods = goods
        self._around = Surroundings(goods.budget, goods.meter, now)
        self._session: Session | None = None  # the last one
        self._count = 0
        self.admin: Door | None = None
        """The admin endpoint's socket, if one came."""
        self.connections = 0
        """How many came."""

    def take(self, wire: Wire) -> None:
        """All of it. Raises Ended, Damaged."""
        while (found := wire.note()).kind is not Kind.END:
            self._count += 1
            self._take(found, wire)
        if found.number != self._count:
            raise Damaged(f"{self._count} notes where {found.number} were said")
        lost = sum([1 for session in self._goods.registry.live() if session.link is None])
        if lost:
            raise Damaged(f"{lost} live sessions came without a connection")

    def _take(self, found: Note, wire: Wire) -> None:
        goods, kind = self._goods, found.kind
        registry = goods.registry
        if kind is Kind.CONNECTION:
            self._connection(found, wire)
        elif kind is Kind.SESSION:
            session = self._session = decode_session(found.number, found.data, self._around)
            if session.id in registry.sessions:
                raise Damaged(f"session {session.id} came twice")
            try:
                registry.take_over(session)
            except (LookupError, StructError):
                raise Damaged(f"session {session.id} has a credential that is none") from None
        elif kind is Kind.TRUNK:
            sock = _socket(wire.descriptor()) if found.number else None
            goods.trunk.move_in(decode_trunk(found.data), sock)
        elif kind is Kind.LISTENER:
            door = _decode_door(found.data, wire)
            if door.scheme not in ("", *LANES):
                raise Damaged(f"nothing here listens for {door.scheme}")
            LANES[door.scheme or "tcp"].check()
            goods.entrance.adopt([(door.scheme, door.sock)])
            if door.own_file:
                goods.entrance.own_files([door.sock])
        elif kind is Kind.ADMIN:
            self.admin = _decode_door(found.data, wire)
        elif kind is Kind.STORE:
            goods.store.move_in(decode_store(found.data, wire.descriptor() if found.number else -1))
        elif kind is Kind.IDS:
            registry.ids = go_on_from(decode_ids(found.data))
        elif kind is Kind.STALE:
            self._stale(decode_numbers(found.number, found.data))
        elif kind is Kind.TOMBSTONE:
            registry.tombstones.add(found.number, decode_tombstone(found.data))
        elif kind is Kind.OPENINGS:
            if found.number > MOST_OPENINGS or len(found.data) != found.number * HANDLE_SIZE:
                raise Damaged("handles that are none")
            handles = [found.data[at : at + HANDLE_SIZE] for at in range(0, len(found.data), HANDLE_SIZE)]
            registry.openings.remember(handles)
        elif kind is Kind.BAN:
            goods.admission.ban(*decode_ban(found.data))
        else:
            raise Damaged(f"a note {kind.name} in the middle of an offer")

    def _connection(self, found: Note, wire: Wire) -> None:
        moved, session = decode_connection(found.data), self._session
        if session is None or moved.client_id != session.id or session.link is not None:
            raise Damaged(f"a connection of client {moved.client_id}, whose session did not come before it")
        if (moved.recorded is not None) != (moved.protocol == "v3") or (moved.recorded and session.delivery is None):
            raise Damaged(f"the connection of client {moved.client_id} is of no protocol")
        sock = _socket(wire.descriptor(), found.number)
        try:
            source = self._goods.admission.readmit(moved.source)
            session.link = self._goods.clients.move_in(moved, sock, source, session)
        except LookupError as error:
            raise Damaged(f"nothing here speaks {error}") from None
        self.connections += 1

    def _stale(self, ids: tuple[int, ...]) -> None:
        sessions = self._goods.registry.sessions
        if any(client_id not in sessions or sessions[client_id].state is not State.STALE for client_id in ids):
            raise Damaged("a stale session that is none")
        self._goods.registry.take_over_stale(ids)


def _socket(descriptor: int, family: int = -1) -> socket.socket:
    """The socket of a descriptor that came; of a stream, if the family is said: asking takes longer than all the rest.
    Raises Damaged where it is none."""
    try:
        kind = socket.SOCK_STREAM if family >= 0 else -1
        sock = socket.socket(family, kind, 0 if family >= 0 else -1, descriptor)
    except OSError as error:
        os.close(descriptor)
        raise Damaged(f"a descriptor that is no socket: {error.strerror}") from None
    sock.setblocking(False)
    return sock


def _encode_door(door: Door) -> bytes:
    writer = Writer()
    writer.text(door.scheme)
    writer.put(FLAG, door.own_file)
    return writer.done()


def _decode_door(data: bytes, wire: Wire) -> Door:
    reader = Reader(data)
    scheme, own_file = reader.text(), reader.flag(1)
    reader.end()
    return Door(scheme, _socket(wire.descriptor()), bool(own_file))
