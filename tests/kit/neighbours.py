"""Several worlds that are the workers of one server: a connection whose session is in another one goes there.

near, far = neighbours.worlds
client = far.new()
client.cut()
back = near.start_resume(client)
neighbours.settle()
"""

from __future__ import annotations

import os
import socket
from typing import Callable

from kit.world import World

from voltlane.cluster.handover.arrivals import decode_arrival, encode_arrival
from voltlane.cluster.workers.elsewhere import Elsewheres
from voltlane.cluster.workers.handles import Handles, split_handles
from voltlane.core.admission import Source
from voltlane.core.ids import CLOCK_BITS, Ids
from voltlane.lanes.entry.moved import MovedArrival
from voltlane.lanes.table import LANES
from voltlane.store.records import Damaged


class Way:
    """One worker's way to the parent, which is a test's."""

    def __init__(self, neighbours: Neighbours, world: World, index: int) -> None:
        self.neighbours, self.world, self.index = neighbours, world, index
        self.asked = 0

    def pass_on(self, home: int, moved: MovedArrival, sock: socket.socket) -> None:
        self.neighbours.parcels.append((home, encode_arrival(moved), os.dup(sock.fileno()), int(sock.family)))
        sock.close()
        self.world.server.admission.connections -= 1
        self.world.server.admission.handshakes -= 1

    def ask_whose(self, number: int, handles: bytes) -> None:
        self.asked += 1
        homes = bytes(self.neighbours.handles.claim(handle, self.index) for handle in split_handles(handles))
        self.neighbours.answers.append((self.index, number, homes))

    def say_done(self, handles: bytes) -> None:
        for handle in split_handles(handles):
            self.neighbours.handles.done(handle)


class Neighbours:
    """All of them, and their parent."""

    def __init__(self, worlds: list[World]) -> None:
        self.worlds = worlds
        self.handles = Handles()
        self.parcels: list[tuple[int, bytes, int, int]] = []
        self.answers: list[tuple[int, int, bytes]] = []
        self.change: Callable[[bytes], bytes] = lambda data: data
        """What becomes of what is said of a connection."""
        self.damaged = 0
        """How often that was not understood."""
        self.ways: list[Way] = []
        first = self.worlds[0].server
        for index, world in enumerate(self.worlds):
            server, registry = world.server, world.server.registry
            context = server.arrivals.context._replace(channel_key=first.store.channel_key)
            server.arrivals.context = context
            registry.ids = Ids((index << CLOCK_BITS) + 1)
            way = Way(self, world, index)
            registry.whereabouts = Elsewheres(server.reactor, index, self.home_of, way, registry.openings)
            self.ways.append(way)

    def home_of(self, client_id: int) -> int:
        return (client_id >> CLOCK_BITS) % len(self.worlds)

    def settle(self) -> None:
        """Until nobody has anything more to say."""
        quiet = 0
        while quiet < 3:
            moved = 0
            for world in self.worlds:
                world.settle()
                moved += sum([other.pump() for other in self.worlds])  # what has come for peers of another world's
            quiet = 0 if self.deliver() or moved else quiet + 1

    def deliver(self) -> int:
        """What was passed on and asked. How much that was."""
        count = len(self.parcels) + len(self.answers)
        parcels, self.parcels = self.parcels, []
        for home, data, descriptor, family in parcels:
            self.take_in(self.worlds[home], self.change(data), socket.socket(family, socket.SOCK_STREAM, 0, descriptor))
        answers, self.answers = self.answers, []
        for index, number, homes in answers:
            whereabouts = self.worlds[index].server.registry.whereabouts
            assert isinstance(whereabouts, Elsewheres)
            whereabouts.told(number, homes)
        return count

    def take_in(self, world: World, data: bytes, sock: socket.socket) -> None:
        server = world.server
        sock.setblocking(False)
        try:
            moved = decode_arrival(data)
        except Damaged:
            self.damaged += 1
            sock.close()
            return
        source = server.admission.admit(b"", server.reactor.now)
        assert isinstance(source, Source)
        certificates = server.certificates
        if not certificates.loaded:
            server.certificates = server.doors.certificates = self.worlds[0].server.certificates
        server.arrivals.take_in(moved, sock, source, LANES[moved.lane])

    def leave(self) -> None:
        """Every client goes."""
        for world in self.worlds:
            for client in world.clients:
                client.cut()
        self.settle()

    def pass_(self, seconds: float) -> None:
        end = self.worlds[0].clock.now + seconds
        while self.worlds[0].clock.now < end:
            for world in self.worlds:
                world.clock.now = min(end, world.clock.now + 0.5)
            self.settle()


MakeNeighbours = Callable[..., Neighbours]
