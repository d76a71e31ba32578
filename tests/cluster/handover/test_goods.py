"""A whole server's contents go to another one: every lane and protocol, with parts of messages and of packets under
way, what waits and what is retained; to the byte, and to the last byte of memory that it counts for."""

from __future__ import annotations

import os
import random
from types import ModuleType
from typing import Any

import pytest
from kit.handovers import NODES
from kit.parties import PARTIES, Party
from kit.record_world import RecordClient
from kit.speaker import lanes
from kit.world import Parcel, numbered, world

from voltlane.cluster.handover.goods import Intake
from voltlane.cluster.handover.nodes import encode_node
from voltlane.cluster.handover.notes import Kind, note, note_at
from voltlane.cluster.handover.offer import Offer
from voltlane.core.session import State
from voltlane.reasons import CloseReason
from voltlane.server.upgrade import goods_of
from voltlane.store.records import Damaged
from voltlane.wire.websocket import FIN, MASKED, Opcode, write_head

LANES = {module.__name__.rpartition(".")[2]: module for module in lanes()}
MOVING = {"tcp": ("v2", "v3"), "ws": ("v2", "v3", "open")}
CASES = [
    pytest.param(LANES[lane], PARTIES[kind], id=f"{lane}-{kind}") for lane, kinds in MOVING.items() for kind in kinds
]
SIZES = (0, 1, 5, 300, 5000, 70_000, 300_000)


@pytest.mark.parametrize(("lane", "kind"), CASES)
def test_wherever_it_is_cut_on_the_way_up(lane: ModuleType, kind: type[Party]) -> None:
    pieces = random.Random(1)
    with world() as home:
        client = kind(home, lane)
        packets = [bytes([size % 251]) * size for size in SIZES]
        wire = client.wire_of(*packets)
        position = 0
        while position < len(wire):
            size = pieces.choice((1, 2, 3, 7, 100, 4096, 40_000, 100_000))
            client.uplink.write_plain(wire[position : position + size])
            position += size
            home.settle()
            if pieces.random() < 0.4:
                home.follow()
                home.settle()
        assert home.master.data[client.id] == packets and not client.ended


@pytest.mark.parametrize(("lane", "kind"), CASES)
@pytest.mark.parametrize("size", [20, 2000])
def test_what_waits_for_who_does_not_read(lane: ModuleType, kind: type[Party], size: int) -> None:
    pieces = random.Random(2)
    with world() as home:
        client, other = kind(home, lane), kind(home, lane)
        sent: list[bytes] = []
        client.read(False)
        for round_ in range(6):
            more = numbered(100, size, 100 * round_)
            sent += more
            home.master.send(client.id, *more)
            home.master.send(other.id, *more)
            home.settle()
            home.follow()
            home.settle()
            client.connection.read_some(pieces.choice((1, 3, 500, 5001)))
            home.settle()
        other.send(b"up")
        client.read(True)
        home.settle()
        assert client.got == sent == other.got
        assert home.master.data[other.id] == [b"up"]
        client.send(b"and on")
        home.settle()
        assert home.master.data[client.id] == [b"and on"] and not client.ended


@pytest.mark.parametrize(("lane", "kind"), CASES)
def test_parts_of_messages_that_change_when_they_were_told_of(lane: ModuleType, kind: type[Party]) -> None:
    pieces = random.Random(4)
    with world() as home:
        client, idle = kind(home, lane), kind(home, lane)
        packets = [bytes([size % 251]) * size for size in SIZES]
        wire, position = client.wire_of(*packets), 0

        def some() -> None:
            nonlocal position
            size = pieces.choice((1, 3, 100, 4096, 40_000))
            client.uplink.write_plain(wire[position : position + size])
            position += size
            home.settle()

        while position < len(wire):
            some()
            home.follow(some)
            home.settle()
        idle.send(b"still here")
        home.settle()
        assert home.master.data[client.id] == packets and home.master.data[idle.id] == [b"still here"]
        assert not client.ended and not idle.ended


@pytest.mark.parametrize(("lane", "kind"), CASES)
@pytest.mark.parametrize("size", [20, 2000])
def test_what_waits_and_changes_when_it_was_told_of(lane: ModuleType, kind: type[Party], size: int) -> None:
    """It becomes more, less, and nothing."""
    pieces = random.Random(5)
    with world() as home:
        client, sent = kind(home, lane), list[bytes]()

        def some() -> None:
            client.read(False)
            if pieces.random() < 0.7:
                more = numbered(100, size, len(sent))
                sent.extend(more)
                home.master.send(client.id, *more)
                home.settle()
            client.connection.read_some(pieces.choice((1, 500, 30_000)))
            client.read(pieces.random() < 0.3)
            home.settle()

        for _ in range(12):
            some()
            home.follow(some)
            home.settle()
        client.read(True)
        home.settle()
        assert client.got == sent and not client.ended
        client.send(b"up")
        home.settle()
        assert home.master.data[client.id] == [b"up"]


@pytest.mark.parametrize(("lane", "kind"), CASES)
def test_who_comes_and_goes_when_that_was_said_already(lane: ModuleType, kind: type[Party]) -> None:
    if kind.protocol == "open":
        pytest.skip("it cannot come back")
    with world() as home:
        stays, cut, again, away, back = (kind(home, lane) for _ in range(5))
        came: list[Party] = []
        for client in (away, back):
            client.cut()
        home.settle()

        def meanwhile() -> None:
            cut.cut()
            again.cut()
            home.settle()
            home.master.send(cut.id, b"missed")
            home.master.send(away.id, b"missed")
            again.come_back(lane)
            back.come_back(lane)
            came.append(kind(home, lane))
            home.settle()

        order = [client.id for client in (stays, cut, again, away, back)]
        home.follow(meanwhile)
        home.settle()
        registry = home.server.registry
        assert list(registry.sessions) == [*order, came[0].id] and [one.id for one in registry.stale()] == [
            away.id,
            cut.id,
        ]
        for client in (cut, away):
            client.come_back(lane)
        home.settle()
        assert cut.got == [b"missed"] == away.got
        everybody = (stays, cut, again, away, back, came[0])
        for client in everybody:
            client.send(b"up")
        home.settle()
        assert [home.master.data[client.id] for client in everybody] == [[b"up"]] * 6


def test_a_client_that_is_gone_hears_of_it_before_the_upgrade_is_done() -> None:
    with world() as home:
        client = PARTIES["v2"](home, LANES["tcp"])
        parcel, made = Parcel(), Offer(goods_of(home.server))
        assert parcel.add(made.ahead(5, home.clock.now))
        home.server.expel(client.id)
        home.settle()
        assert [words[:4] for words, _ in made.ahead(5, home.clock.now)] == [], "it is not looked for all the time"
        home.clock.now += 1.0
        (said, descriptor), *more = made.ahead(5, home.clock.now)
        assert note_at(said, 0)[0] == (Kind.GONE, client.id, b"") and descriptor == -1 and not more
        while parcel._descriptors:
            os.close(parcel.descriptor())


@pytest.mark.parametrize(("lane", "kind"), CASES)
def test_a_client_that_is_away_comes_back_to_the_next_server(lane: ModuleType, kind: type[Party]) -> None:
    if kind.protocol == "open":
        pytest.skip("it cannot come back")
    with world() as home:
        client, gone = kind(home, lane), kind(home, lane)
        client.send(b"before")
        home.settle()
        client.cut()
        gone.cut()
        home.settle()
        home.master.send(client.id, *numbered(50))
        home.settle()
        home.follow()
        home.settle()
        assert home.server.registry.sessions[client.id].state is State.STALE
        client.come_back(lane)
        home.settle()
        assert client.got == numbered(50) and home.master.data[client.id] == [b"before"]
        home.pass_(30)
        assert gone.id not in home.server.registry.sessions, "its time went on"


@pytest.mark.parametrize(
    ("lane", "kind"),
    [
        pytest.param(LANES[lane], PARTIES[kind], id=f"{lane}-{kind}")
        for lane, kind in (("tls", "v2"), ("wss", "v3"), ("ws", "events"))
    ],
)
def test_who_cannot_move_is_told_to_come_back(lane: ModuleType, kind: type[Party]) -> None:
    with world() as home:
        client = kind(home, lane)
        client.send(b"before")
        home.settle()
        counters = home.server.counters
        home.follow()
        home.settle()
        assert counters.closed[CloseReason.UPGRADE] == 1
        assert client.ended and home.master.data[client.id] == [b"before"]
        home.master.send(client.id, b"missed")
        home.settle()
        client.come_back(lane)
        home.settle()
        assert client.got == [b"missed"] and not client.ended


@pytest.mark.parametrize("settings", [{"clients.packet_rate": 10}, {"clients.byte_rate": 1000}])
def test_who_owes_still_owes(settings: dict[str, Any]) -> None:
    with world(settings) as home:
        client = PARTIES["v2"](home, LANES["tcp"])
        client.send(*numbered(200, 50))
        home.settle()
        first = len(home.master.data[client.id])
        client.send(b"later")
        home.settle()
        home.follow()
        home.settle()
        assert len(home.master.data[client.id]) == first
        home.pass_(30)
        assert home.master.data[client.id][-1] == b"later"


def test_what_the_master_has_not_taken() -> None:
    with world() as home:
        client, of3 = PARTIES["v2"](home, LANES["tcp"]), PARTIES["v3"](home, LANES["tcp"])
        home.master.reading = False
        sent = numbered(400, 2000)
        for at in range(0, 400, 100):
            client.send(*sent[at : at + 100])
            of3.send(*sent[at : at + 100])
            home.settle()
            home.follow()
            home.settle()
            assert home.server.registry.sessions[of3.id].delivery.safe < at + 100  # type: ignore[union-attr]
            home.master.read_some(30_001)
        home.master.reading = True
        home.settle()
        home.pass_(2)
        assert home.master.data[client.id] == sent == home.master.data[of3.id]
        assert of3.connection.session.acked == 400  # type: ignore[union-attr]


def test_a_packet_of_the_masters_in_parts() -> None:
    with world() as home:
        client = PARTIES["v2"](home, LANES["tcp"])
        packet = b"x" * 9000
        whole = (len(packet) + 9).to_bytes(4, "little") + client.id.to_bytes(8, "little") + b"\0" + packet
        for position in range(0, len(whole), 700):
            home.master.write(whole[position : position + 700])
            home.settle()
            home.follow()
            home.settle()
        assert client.got == [packet]


def test_nothing_is_changed_by_an_offer() -> None:
    with world() as home:
        parties = [kind(home, lane) for lane, kind in ((LANES[a], PARTIES[b]) for a, of in MOVING.items() for b in of)]
        for client in parties:
            client.read(False)
            home.master.send(client.id, *numbered(300, 500))
        home.settle()
        for _ in range(2):
            parcel, made = Parcel(), Offer(goods_of(home.server))
            while parcel.add(made.ahead(2, home.clock.now)):
                pass
            parcel.add(made.rest(None, home.clock.now))
            while parcel._descriptors:
                os.close(parcel.descriptor())
            home.audit()
        for client in parties:
            client.read(True)
        home.settle()
        assert all(client.got == numbered(300, 500) for client in parties)
        assert not home.server.counters.closed[CloseReason.UPGRADE]


def test_a_websocket_s_message_in_parts() -> None:
    with world() as home:
        client = PARTIES["v2"](home, LANES["ws"])
        parts = [b"one ", b"two ", b"drei"]
        for number, part in enumerate(parts):
            first = (Opcode.CONTINUATION if number else Opcode.BINARY) | (FIN if number == 2 else 0)
            client.uplink.write_plain(write_head(first, len(part), MASKED) + bytes(4) + part)
            home.settle()
            home.follow()
            home.settle()
        assert home.master.data[client.id] == [b"one two drei"]


def test_a_welcome_that_is_not_confirmed_yet() -> None:
    with world() as home:
        client = RecordClient(home, lane=LANES["tcp"])
        while not home.server.registry.sessions:
            client.pump()
            home.loop.turn(0)
        assert not client.ready and len(home.server.registry.openings) == 1
        home.follow()
        assert len(home.server.registry.openings) == 1
        home.settle()
        assert client.ready and len(home.server.registry.openings) == 0
        assert home.server.registry.openings.confirmed()


def test_one_of_several_servers_is_not_followed_by_one_that_is_alone() -> None:
    with world() as home:
        parcel = Parcel()
        parcel.add([(note(Kind.NODE, 0, encode_node(NODES[1])), -1)])
        with pytest.raises(Damaged, match="one of several servers"):
            Intake(goods_of(home.server), 0.0).take(parcel)  # type: ignore[arg-type]
