"""All that is handed over, taken in from notes. That reads from no socket but the one between the two processes, and
writes to none. Each note that has a descriptor is behind the one before it, and so is its descriptor.
"""

from __future__ import annotations

import os
import socket
from struct import error as StructError
from typing import TYPE_CHECKING, NamedTuple

from ...address import UDP
from ...core.admission import Admission
from ...core.budget import Budget
from ...core.ids import go_on_from
from ...core.meter import MeterLimits
from ...core.openings import MOST as MOST_OPENINGS
from ...core.registry import Registry
from ...core.session import Session, State
from ...lanes.clients import Clients
from ...lanes.connection import ClientConnection
from ...lanes.entry.entrance import Entrance
from ...lanes.table import LANES
from ...lanes.udp.moved import Moved
from ...net.sockets import socket_file
from ...store.no_store import NoStore
from ...store.records import Damaged
from ...trunk.trunk import Trunk
from ...wire.v3 import HANDLE_SIZE
from .datagrams import decode_channel, decode_peer
from .fields import Reader
from .nodes import decode_node
from .notes import Kind, Note
from .sessions import Surroundings, decode_ban, decode_ids, decode_numbers, decode_session, decode_tombstone
from .states import decode_origin, decode_state, decode_trunk
from .stores import decode_store
from .wire import Wire

if TYPE_CHECKING:
    from ...lanes.udp.lane import UdpLane
    from ...lanes.udp.port import Port
    from ..node import Node


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
    node: Node | None = None
    datagrams: UdpLane | None = None


_AT_ONCE = 100
"""Notes, for which there is one deadline."""


class Door(NamedTuple):
    """A socket that listens."""

    scheme: str
    sock: socket.socket
    own_file: bool
    """Whether it has a file that is to be removed with it."""
    asked: str = ""
    """The address that it was opened for, if that was in this process or in one before it."""

    def close(self) -> None:
        """Nobody is to come in by it any more."""
        file = socket_file(self.sock) if self.own_file else None
        if file is not None:
            file.remove()
        self.sock.close()


class Intake:
    """What is offered, taken into a server that has nothing yet."""

    def __init__(self, goods: Goods, now: float) -> None:
        self._goods = goods
        self._around = Surroundings(goods.budget, goods.meter, now)
        self._sessions: dict[int, Session] = {}
        self._expected: dict[int, tuple[ClientConnection, bytes]] = {}  # and the keys of where they come from
        self._ports: list[Port] = []  # for datagrams, in the order in which they came
        self._peers = 0
        self._count = 0
        self.admin: Door | None = None
        """The admin endpoint's socket, if one came."""

    def take(self, wire: Wire) -> bool:
        """What has come, or comes next. Whether more is to come. Raises Ended, Damaged."""
        for _ in range(_AT_ONCE):
            found = wire.note()
            if found.kind is Kind.END:
                break
            self._count += 1
            self._take(found, wire)
        else:
            return True
        if found.number != self._count:
            raise Damaged(f"{self._count} notes where {found.number} were said")
        if self._sessions:
            raise Damaged(f"{len(self._sessions)} sessions are in no order")
        return False

    @property
    def connections(self) -> int:
        """How many came; and of clients that are nothing but an address, each is one."""
        return len(self._expected) + self._peers

    def _take(self, found: Note, wire: Wire) -> None:
        goods, kind = self._goods, found.kind
        registry = goods.registry
        if kind is Kind.STATE:
            self._state(found)
        elif kind is Kind.CONNECTION:
            self._connection(found, wire)
        elif kind is Kind.SESSION:
            self._forget(found.number)
            self._sessions[found.number] = decode_session(found.number, found.data, self._around)
        elif kind is Kind.GONE:
            self._gone(found.number)
        elif kind is Kind.ORDER:
            self._settle(decode_numbers(found.number, found.data))
        elif kind is Kind.TRUNK:
            sock = _socket(wire.descriptor()) if found.number else None
            goods.trunk.move_in(decode_trunk(found.data), sock)
        elif kind is Kind.LISTENER:
            self._listener(_decode_door(found.data, wire))
        elif kind is Kind.CHANNEL:
            self._datagrams(decode_channel(found.number, found.data))
        elif kind is Kind.PEER:
            self._datagrams(decode_peer(found.number, found.data))
            self._peers += 1
        elif kind is Kind.ADMIN:
            self.admin = _decode_door(found.data, wire)
        elif kind is Kind.STORE:
            goods.store.move_in(decode_store(found.data, wire.descriptor() if found.number else -1))
        elif kind is Kind.NODE:
            if goods.node is None:
                raise Damaged("one of several servers, which this is not")
            goods.node.move_in(decode_node(found.data))
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

    def _listener(self, door: Door) -> None:
        goods = self._goods
        if door.scheme == UDP and goods.datagrams is not None:
            if door.sock.type != socket.SOCK_DGRAM or door.sock.family not in (socket.AF_INET, socket.AF_INET6):
                raise Damaged("a socket for datagrams that is none")
            self._ports += goods.datagrams.adopt([(door.asked, door.sock)])
            return
        if door.scheme not in ("", *LANES):
            raise Damaged(f"nothing here listens for {door.scheme}")
        LANES[door.scheme or "tcp"].check()
        goods.entrance.adopt([(door.scheme, door.sock)], [door.asked])
        if door.own_file:
            goods.entrance.own_files([door.sock])

    def _datagrams(self, moved: Moved) -> None:
        session = self._sessions.get(moved.client_id)
        if session is None or session.link is not None:
            raise Damaged(f"datagrams of client {moved.client_id}, whose session did not come, or has others")
        if moved.port >= len(self._ports) or self._goods.datagrams is None:
            raise Damaged(f"datagrams of client {moved.client_id} by a socket that did not come")
        try:
            self._goods.datagrams.move_in(moved, self._ports[moved.port], session)
        except (ValueError, OSError) as error:
            raise Damaged(f"datagrams of client {moved.client_id}: {error}") from None

    def _connection(self, found: Note, wire: Wire) -> None:
        origin = decode_origin(found.number, found.data)
        if found.number not in self._sessions or found.number in self._expected:
            raise Damaged(f"a connection of client {found.number}, whose session did not come before it")
        sock = _socket(wire.descriptor(), origin.family)
        try:
            self._expected[found.number] = self._goods.clients.expect(origin, sock), origin.source
        except LookupError as error:
            sock.close()
            raise Damaged(f"nothing here speaks {error}") from None

    def _state(self, found: Note) -> None:
        moved = decode_state(found.data)
        if found.number not in self._expected:
            raise Damaged(f"what client {found.number} is at, whose connection did not come before it")
        connection, session = self._expected[found.number][0], self._sessions[found.number]
        if (moved.recorded is not None) != (connection.protocol == "v3"):
            raise Damaged(f"the connection of client {found.number} is of no protocol")
        if connection.session is not None:
            connection.move_out()
        connection.move_in(moved, session)

    def _forget(self, client_id: int) -> None:
        """What was said of that session is not so any more."""
        session = self._sessions.pop(client_id, None)
        if session is not None and session.backlog is not None:
            session.backlog.clear()

    def _gone(self, client_id: int) -> None:
        self._forget(client_id)
        expected = self._expected.pop(client_id, None)
        if expected is not None:
            self._goods.clients.dismiss(expected[0])

    def _settle(self, ids: tuple[int, ...]) -> None:
        """These are all sessions, in order."""
        registry, admission, sessions, expected = (
            self._goods.registry,
            self._goods.admission,
            self._sessions,
            self._expected,
        )
        for client_id in ids:
            session = sessions.pop(client_id, None)
            if session is None:
                raise Damaged(f"session {client_id} did not come, or came twice")
            try:
                registry.take_over(session)
            except (LookupError, StructError):
                raise Damaged(f"session {client_id} has a credential that is none") from None
            if (client_id in expected) + (session.link is not None) != (session.state is State.LIVE):
                raise Damaged(f"session {client_id} is {session.state.value}, and its connection says otherwise")
            if client_id in expected:
                connection, key = expected[client_id]
                if connection.protocol == "v3" and connection.session is None:
                    raise Damaged(f"nobody has said what the connection of client {client_id} is at")
                connection.join(session, admission.readmit(key))

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


def _decode_door(data: bytes, wire: Wire) -> Door:
    reader = Reader(data)
    scheme, own_file, asked = reader.text(), reader.flag(1), reader.text()
    reader.end()
    return Door(scheme, _socket(wire.descriptor()), bool(own_file), asked)
