"""Datagrams beside a session: asked for over the stream, sealed, and not bound to an address."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from kit.datagram_client import ASK, CHALLENGE, PING, PONG, RESPONSE, Offer, Sealed, Wire
from kit.frames import join
from kit.record_world import RecordClient, enter, told
from kit.udp_world import UdpWorld, udp_world

from voltlane.lanes.udp.sessions import ASK_SECS, ASKS
from voltlane.net.udp.loops import name_of
from voltlane.reasons import CloseReason
from voltlane.wire.datagram import OLD_KEYS_SECS, SMALLEST
from voltlane.wire.tagged import Flag

MARKED = {"master.datagrams": True}


@pytest.fixture
def world() -> Iterator[UdpWorld]:
    with udp_world("sessions", MARKED) as made:
        yield made


def came(world: UdpWorld) -> list[tuple[int, bytes]]:
    """The datagrams that the master has, with whose they are."""
    return world.master.notices(Flag.DATAGRAM)


def down(world: UdpWorld, client_id: int, *bodies: bytes) -> None:
    """Datagrams from the master."""
    world.master.write(join(client_id.to_bytes(8, "little") + bytes((Flag.DATAGRAM,)) + body for body in bodies))
    world.settle()


def is_told_none(world: UdpWorld, client: RecordClient) -> None:
    """When it asks now; and what is for it goes over the stream."""
    client.say(client.endpoint.record(ASK, os.urandom(32)))
    world.settle()
    assert Offer.of(client.endpoint.offers[-1]).port == 0
    down(world, client.session.id, b"here")
    world.settle()
    assert client.session.got == [b"here"]


class TestAsking:
    def test_a_client_is_told_keys_and_where_to_send(self, world: UdpWorld):
        client = enter(world)
        client.say(client.endpoint.record(ASK, bytes(32)))
        world.settle()
        offer = Offer.of(client.endpoint.offers[0])
        assert (offer.port, offer.mtu, offer.keepalive, offer.host) == (world.place[1], 1200, 15, "")
        assert offer.seed != bytes(32) and world.udp.channels == 1

    def test_where_there_are_none_it_is_told_so(self):
        with udp_world("open") as world:
            client = enter(world)
            client.say(client.endpoint.record(ASK, bytes(32)))
            world.settle()
            assert Offer.of(client.endpoint.offers[0]).port == 0

    def test_one_may_be_sent_elsewhere(self):
        with udp_world("sessions", {"udp.advertise": "relay.example:7000", "udp.keepalive_secs": 5}) as world:
            client = enter(world)
            client.say(client.endpoint.record(ASK, bytes(32)))
            world.settle()
            offer = Offer.of(client.endpoint.offers[0])
            assert (offer.host, offer.port, offer.keepalive) == ("relay.example", 7000, 5)

    def test_half_a_seed_is_an_error(self, world: UdpWorld):
        client = enter(world)
        client.say(client.endpoint.record(ASK, bytes(31)))
        world.settle()
        assert told(client).code == 3500

    def test_without_encryption_it_is_the_same(self, world: UdpWorld):
        client = enter(world, suite=0)
        wire = world.settled_wire(client)
        wire.send(b"here")
        world.settle()
        assert came(world) == [(client.session.id, b"here")]


class TestUp:
    def test_a_datagram_is_a_packet_marked_as_such(self, world: UdpWorld):
        client, wire = world.new_wire()
        wire.send(b"one", b"", b"x" * (1200 - SMALLEST))
        world.settle()
        assert came(world) == [(client.session.id, body) for body in (b"one", b"", b"x" * (1200 - SMALLEST))]
        assert world.master.data == {}

    def test_from_an_address_that_is_not_validated_it_is_one_too(self, world: UdpWorld):
        client = enter(world)
        wire = world.wire(client)
        wire.answers = False
        wire.send(b"first")
        world.settle()
        assert came(world) == [(client.session.id, b"first")]

    def test_to_a_master_that_knows_nothing_of_them_it_may_be_data(self):
        with udp_world("sessions", {"udp.as_data": True}) as world:
            client, wire = world.new_wire()
            wire.send(b"one")
            world.settle()
            assert world.master.data == {client.session.id: [b"one"]} and came(world) == []

    def test_else_it_is_dropped_and_counted(self):
        with udp_world() as world:
            _client, wire = world.new_wire()
            wire.send(b"one", b"two")
            world.settle()
            assert world.master.data == {} and came(world) == [] and world.dropped == {"NOT_WANTED": 2}

    def test_while_too_much_waits_for_the_master_they_are_dropped(self):
        with udp_world("sessions", {**MARKED, "master.outbox_bytes": 1}) as world:
            client, wire = world.new_wire()
            world.master.reading = False
            client.send(b"x" * 300_000)
            world.settle()
            assert world.server.trunk.full
            wire.send(b"one")
            world.settle()
            world.master.reading = True
            world.settle()
            assert came(world) == [] and world.dropped == {"TRUNK_FULL": 1}

    def test_the_stream_beside_it_loses_nothing_and_counts_for_itself(self, world: UdpWorld):
        client, wire = world.new_wire()
        for number in range(50):
            client.send(b"s%d" % number)
            wire.send(b"d%d" % number)
            world.settle()
        assert world.master.data[client.session.id] == [b"s%d" % number for number in range(50)]
        assert [body for _, body in came(world)] == [b"d%d" % number for number in range(50)]
        world.pass_(1)
        assert client.session.acked == 50

    def test_more_than_its_rate_is_dropped(self):
        with udp_world("sessions", {**MARKED, "clients.packet_rate": 10}) as world:
            _client, wire = world.new_wire()
            wire.send(*[b"x"] * 30)
            world.settle()
            assert 8 <= len(came(world)) <= 10 and world.dropped["RATE"] == 30 - len(came(world))


class TestWhatIsNone:
    @pytest.fixture
    def pair(self, world: UdpWorld) -> tuple[RecordClient, Wire]:
        return world.new_wire()

    @pytest.mark.parametrize("size", [0, 1, 8, 16, SMALLEST - 1])
    def test_short_ones(self, world: UdpWorld, pair: tuple[RecordClient, Wire], size: int):
        wire = pair[1]
        wire.raw(wire.sealed.datagram(PING)[:size])
        world.settle()
        assert world.dropped == {"SHORT": 1}

    def test_each_bit_counts(self, world: UdpWorld, pair: tuple[RecordClient, Wire]):
        wire = pair[1]
        good = wire.sealed.data(b"position")
        for bit in range(8 * len(good)):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            wire.raw(bytes(bad))
        world.settle()
        assert came(world) == []
        # Of the head's bits those of the id are nobody's; a number that was had is not even opened.
        drops = world.dropped
        assert drops["UNKNOWN_ID"] == 64 and sum(drops.values()) == 8 * len(good)
        wire.raw(good)
        world.settle()
        assert [body for _, body in came(world)] == [b"position"], "nothing of it has moved the window"

    def test_what_comes_again(self, world: UdpWorld, pair: tuple[RecordClient, Wire]):
        wire = pair[1]
        datagram = wire.sealed.data(b"once")
        for _ in range(5):
            wire.raw(datagram)
        world.settle()
        assert len(came(world)) == 1 and world.dropped == {"REPLAYED": 4}

    def test_what_is_far_behind(self, world: UdpWorld, pair: tuple[RecordClient, Wire]):
        wire = pair[1]
        old = wire.sealed.data(b"old")
        wire.raw(wire.sealed.datagram(0, b"new", number=5000))
        wire.raw(old)
        world.settle()
        assert [body for _, body in came(world)] == [b"new"] and world.dropped == {"LATE": 1}

    def test_a_forged_number_moves_no_window(self, world: UdpWorld, pair: tuple[RecordClient, Wire]):
        wire = pair[1]
        forged = wire.sealed.id_out + (2**63).to_bytes(8, "little") + os.urandom(40)
        wire.raw(forged)
        wire.send(b"after")
        world.settle()
        assert [body for _, body in came(world)] == [b"after"] and world.dropped == {"UNSEALED": 1}

    def test_larger_ones_than_allowed(self, world: UdpWorld, pair: tuple[RecordClient, Wire]):
        wire = pair[1]
        wire.send(b"x" * (1201 - SMALLEST))
        world.settle()
        assert came(world) == [] and world.dropped == {"TOO_LARGE": 1}

    def test_unknown_kinds_are_none_and_do_no_harm(self, world: UdpWorld, pair: tuple[RecordClient, Wire]):
        wire = pair[1]
        for kind in (5, 6, 255):
            wire.raw(wire.sealed.datagram(kind, b"?"))
        wire.send(b"still here")
        world.settle()
        assert [body for _, body in came(world)] == [b"still here"] and world.dropped == {}

    def test_of_all_of_it_nothing_is_kept_or_answered(self, world: UdpWorld):
        enter(world)
        sock, channels = world.socket(), world.udp.channels
        for _ in range(200):
            sock.send(os.urandom(100))
        world.settle()
        assert world.udp.channels == channels and world.dropped == {"UNKNOWN_ID": 200}
        with pytest.raises(BlockingIOError):
            sock.recv(100)


class TestDown:
    def test_it_goes_to_the_validated_address(self, world: UdpWorld):
        client, wire = world.new_wire()
        down(world, client.session.id, b"one", b"", b"two")
        assert wire.got == [b"one", b"", b"two"] and client.session.got == []

    def test_before_there_is_one_it_goes_over_the_stream(self, world: UdpWorld):
        client = enter(world)
        wire = world.wire(client)
        down(world, client.session.id, b"one")
        assert wire.got == [] and client.session.got == [b"one"]

    def test_or_not_at_all(self):
        with udp_world("sessions", {**MARKED, "udp.fallback": "drop"}) as world:
            client = enter(world)
            down(world, client.session.id, b"one", b"two")
            assert client.session.got == [] and world.dropped == {"NO_PATH": 2}

    def test_to_a_client_of_version_2_it_is_a_packet(self, world: UdpWorld):
        client = world.new()
        down(world, client.id, b"one")
        assert client.got == [b"one"]

    def test_to_who_is_away_and_has_no_address_it_is_dropped(self, world: UdpWorld):
        client = enter(world)
        client.cut()
        world.settle()
        down(world, client.session.id, b"one")
        assert world.dropped == {"NO_PATH": 1}

    def test_to_nobody_it_is_answered_like_data(self, world: UdpWorld):
        down(world, 12345, b"one", b"two")
        assert world.master.notices(Flag.FAILURE) == [(12345, b"Client not found")] * 2

    def test_a_master_that_did_not_ask_must_not_send_any(self):
        with udp_world() as world:
            client = enter(world)
            down(world, client.session.id, b"one")
            assert world.master.ended and world.server.counters.closed
            assert {reason.name for reason in world.server.counters.closed} == {"UNKNOWN_FLAG"}
            world.connect_master()
            world.settle()

    def test_too_large_ones_are_dropped(self, world: UdpWorld):
        client, wire = world.new_wire()
        down(world, client.session.id, b"x" * (1201 - SMALLEST), b"x" * (1200 - SMALLEST), b"x" * 70_000)
        assert wire.got == [b"x" * (1200 - SMALLEST)] and world.dropped == {"TOO_LARGE": 2}

    def test_to_an_address_from_which_nothing_comes_any_more_nothing_goes(self, world: UdpWorld):
        client, wire = world.new_wire()
        world.pass_(44)
        down(world, client.session.id, b"still there")
        assert wire.got == [b"still there"]
        world.pass_(2)
        down(world, client.session.id, b"by the stream")
        assert client.session.got == [b"by the stream"]
        wire.ping()
        world.settle()
        down(world, client.session.id, b"there again")
        assert wire.got == [b"still there", b"there again"]

    def test_as_long_as_the_client_was_told_whatever_is_set_since(self):
        settings: dict[str, object] = {**MARKED, "udp.keepalive_secs": 60}
        with udp_world("sessions", settings) as world:
            client, wire = world.new_wire()
            before = world.server.config
            world.udp.configure(replace(before, udp=replace(before.udp, keepalive_secs=5.0)))
            for wait in (59.0, 59.0):
                world.pass_(wait)
                down(world, client.session.id, b"by datagram")
                wire.ping()
                world.settle()
            assert wire.got == [b"by datagram"] * 2
            again = enter(world)
            world.ask(again)
            assert Offer.of(again.endpoint.offers[-1]).keepalive == 5

    def test_both_kinds_in_one_stream(self, world: UdpWorld):
        client, wire = world.new_wire()
        tag = client.session.id.to_bytes(8, "little")
        world.master.write(join(tag + bytes((4 * (n % 2),)) + b"%d" % n for n in range(40)))
        world.settle()
        assert client.session.got == [b"%d" % n for n in range(0, 40, 2)]
        assert wire.got == [b"%d" % n for n in range(1, 40, 2)]


class TestRoaming:
    def test_a_newer_datagram_from_elsewhere_moves_the_client_there(self, world: UdpWorld):
        client, wire = world.new_wire()
        before = wire.sock
        wire.move()
        wire.send(b"from here now")
        world.settle()
        assert came(world) == [(client.session.id, b"from here now")]
        down(world, client.session.id, b"to there")
        assert wire.got == [b"to there"] and world.server.counters.roamed == 1
        with pytest.raises(BlockingIOError):
            before.recv(100)

    def test_until_it_has_answered_nothing_goes_there(self, world: UdpWorld):
        client, wire = world.new_wire()
        before = wire.sock
        wire.answers = False
        wire.move()
        wire.send(b"perhaps")
        world.settle()
        down(world, client.session.id, b"secret")
        assert wire.got == [] and wire.sealed.open(before.recv(100)).body == b"secret"

    def test_the_answer_has_to_come_from_there(self, world: UdpWorld):
        _client, wire = world.new_wire()
        wire.answers = False
        wire.move()
        wire.send(b"perhaps")
        world.settle()
        challenge = wire.heard[-1]
        assert challenge.kind == CHALLENGE
        wire.move()  # to a third one
        wire.raw(wire.sealed.datagram(4, challenge.body))
        world.settle()
        assert world.server.counters.roamed == 0

    @pytest.mark.parametrize(("behind", "moves"), [(b"", 1), (b"later", 1), (None, 0)])
    def test_bytes_behind_the_words_say_nothing(self, world: UdpWorld, behind: bytes | None, moves: int):
        _client, wire = world.new_wire()
        wire.answers = False
        wire.move()
        wire.ping()
        world.settle()
        words = wire.heard[-1].body
        wire.raw(wire.sealed.datagram(RESPONSE, words[:-1] if behind is None else words + behind))
        world.settle()
        assert world.server.counters.roamed == moves

    @pytest.mark.parametrize(
        ("body", "answer"), [(b"8 bytes.", b"8 bytes."), (b"8 bytes.later", b"8 bytes."), (b"7 bytes", None)]
    )
    def test_a_challenge_of_a_client_is_answered(self, world: UdpWorld, body: bytes, answer: bytes | None):
        _client, wire = world.new_wire()
        before = len(wire.heard)
        wire.raw(wire.sealed.datagram(CHALLENGE, body))
        world.settle()
        assert [(got.kind, got.body) for got in wire.heard[before:]] == ([] if answer is None else [(RESPONSE, answer)])

    def test_an_old_one_that_somebody_sends_on_moves_nobody(self, world: UdpWorld):
        client, wire = world.new_wire()
        caught = wire.sealed.data(b"caught")  # and kept from arriving
        wire.send(b"newer")
        world.settle()
        attacker = world.socket()
        attacker.send(caught)
        world.settle()
        assert (client.session.id, b"caught") in came(world)
        with pytest.raises(BlockingIOError):
            attacker.recv(100)

    def test_a_late_response_moves_nobody_who_has_left_again(self, world: UdpWorld):
        """It was caught on its way, and is said from there by somebody else."""
        client, wire = world.new_wire()
        home = wire.sock
        wire.answers = False
        wire.move()
        away = wire.sock
        wire.ping()
        world.settle()
        words = [got for got in wire.heard if got.kind == CHALLENGE][-1].body
        response = wire.sealed.datagram(RESPONSE, words)
        wire.sock = home
        wire.send(b"home again")
        world.settle()
        away.sendto(response, wire.server)
        world.settle()
        path = world.udp.channel_of(client.session.id).path  # type: ignore[attr-defined]
        assert path == name_of(home.family, *home.getsockname())
        away.close()

    def test_one_that_is_sent_on_at_once_is_challenged_and_gets_no_data(self, world: UdpWorld):
        client, wire = world.new_wire()
        attacker = world.socket()
        attacker.send(wire.sealed.data(b"caught"))
        world.settle()
        answer = attacker.recv(2000)
        assert wire.sealed.open(answer).kind == CHALLENGE and len(answer) <= 3 * (SMALLEST + 6)
        down(world, client.session.id, b"mine")
        assert wire.got == [b"mine"]
        wire.send(b"I am still here")
        world.settle()
        down(world, client.session.id, b"and here")
        assert wire.got == [b"mine", b"and here"] and world.server.counters.roamed == 0

    def test_nobody_who_is_not_validated_gets_more_than_three_times_what_came(self, world: UdpWorld):
        client = enter(world)
        wire = world.wire(client)
        wire.answers = False
        for _ in range(200):
            wire.ping()
            world.settle()
            world.clock.now += 0.01
            assert wire.received <= 3 * wire.sent
        assert wire.received > 0

    def test_five_times_in_a_row(self, world: UdpWorld):
        client, wire = world.new_wire()
        for turn in range(5):
            wire.move()
            client.send(b"stream %d" % turn)
            wire.send(b"up %d" % turn)
            world.settle()
            down(world, client.session.id, b"down %d" % turn)
        assert wire.got == [b"down %d" % turn for turn in range(5)]
        assert [body for _, body in came(world)] == [b"up %d" % turn for turn in range(5)]
        assert world.master.data[client.session.id] == [b"stream %d" % turn for turn in range(5)]


class TestPings:
    def test_one_is_answered_at_once(self, world: UdpWorld):
        _client, wire = world.new_wire()
        before = sum(got.kind == PONG for got in wire.heard)
        wire.ping()
        world.settle()
        assert sum(got.kind == PONG for got in wire.heard) == before + 1

    def test_times_come_back(self, world: UdpWorld):
        client, wire = world.new_wire()
        wire.raw(wire.sealed.datagram(PING, time=1234))
        world.settle()
        assert wire.heard[-1].echo == 1234
        channel = world.udp.channel_of(client.session.id)  # type: ignore[attr-defined]
        sent = wire.heard[-1].time
        world.clock.now += 0.1
        wire.raw(wire.sealed.datagram(PING, echo=sent))
        world.settle()
        assert channel.rtt == pytest.approx(0.1, abs=0.001)


class TestConnections:
    def test_they_go_on_while_the_stream_is_gone(self, world: UdpWorld):
        client, wire = world.new_wire()
        client.cut()
        world.settle()
        wire.send(b"still here")
        world.settle()
        down(world, client.session.id, b"so are you")
        assert came(world) == [(client.session.id, b"still here")] and wire.got == [b"so are you"]

    def test_who_resumes_asks_for_other_keys_and_the_old_ones_receive_for_a_while(self, world: UdpWorld):
        client, wire = world.new_wire()
        client.cut()
        world.settle()
        again = enter(world, client.session)
        newer = world.settled_wire(again)
        wire.send(b"old keys")
        newer.send(b"new keys")
        world.settle()
        assert [body for _, body in came(world)] == [b"old keys", b"new keys"]
        down(world, client.session.id, b"down")
        assert newer.got == [b"down"] and wire.got == []
        world.pass_(OLD_KEYS_SECS + 1)
        wire.send(b"too old")
        world.settle()
        assert len(came(world)) == 2 and world.dropped == {"UNKNOWN_ID": 1}

    def test_those_before_receive_for_as_long_behind_a_late_answer(self, world: UdpWorld):
        client, wire = world.new_wire()
        client.cut()
        world.settle()
        again = enter(world, client.session)
        world.pass_(OLD_KEYS_SECS - 0.3)
        world.settled_wire(again)
        world.pass_(1.0)
        wire.send(b"under the keys before")
        world.settle()
        assert came(world)[-1] == (client.session.id, b"under the keys before")

    def test_who_resumes_and_does_not_ask_has_none_after_a_while(self, world: UdpWorld):
        client, wire = world.new_wire()
        client.cut()
        world.settle()
        enter(world, client.session)
        wire.send(b"soon")
        world.settle()
        world.pass_(OLD_KEYS_SECS + 1)
        assert world.udp.channels == 0
        wire.send(b"late")
        world.settle()
        assert [body for _, body in came(world)] == [b"soon"]

    def test_who_asks_again_and_again_has_two_pairs_of_keys_at_most(self, world: UdpWorld):
        client = enter(world)
        keys: list[Sealed] = [world.ask(client) for _ in range(5)]
        assert len(world.udp.table) == 2 and world.udp.channels == 1  # type: ignore[attr-defined]
        assert len({each.id_out for each in keys}) == 5

    def test_who_asks_without_end_gets_keys_at_a_rate(self, world: UdpWorld):
        client = enter(world)
        for _ in range(100):
            client.say(client.endpoint.record(ASK, os.urandom(32)))
        world.settle()
        ports = [Offer.of(each).port for each in client.endpoint.offers]
        assert ports == [world.place[1]] * ASKS + [0] * (100 - ASKS)
        assert len(world.udp.table) == 2  # type: ignore[attr-defined]
        world.pass_(2 * ASK_SECS)
        for _ in range(3):
            client.say(client.endpoint.record(ASK, os.urandom(32)))
        world.settle()
        assert [bool(Offer.of(each).port) for each in client.endpoint.offers[100:]] == [True, True, False]

    def test_to_who_was_told_that_there_are_none_it_goes_over_the_stream(self, world: UdpWorld):
        client = enter(world)
        for _ in range(ASKS - 1):
            world.ask(client)
        wire = world.settled_wire(client)
        is_told_none(world, client)
        heard = len(wire.heard)
        wire.send(b"still under way")
        wire.ping()
        world.settle()
        assert [body for _, body in came(world)] == [b"still under way"]
        assert len(wire.heard) == heard, "it has forgotten its keys, and no path comes of that"
        world.pass_(OLD_KEYS_SECS + 1)
        assert world.udp.channels == 0 and not len(world.udp.table)  # type: ignore[attr-defined]

    def test_where_memory_is_short_its_datagrams_end_as_well(self, world: UdpWorld, monkeypatch: pytest.MonkeyPatch):
        client, _ = world.new_wire()
        monkeypatch.setattr(type(world.udp.budget), "is_near", True)
        is_told_none(world, client)

    @pytest.mark.parametrize("how", ["kick", "goodbye", "expire"])
    def test_with_the_session_they_end(self, world: UdpWorld, how: str):
        client, wire = world.new_wire()
        world.ask(client)
        if how == "kick":
            world.master.kick(client.session.id)
        elif how == "goodbye":
            client.say(client.endpoint.record(12, (3510).to_bytes(2, "little") + bytes(8)))
        else:
            client.cut()
            world.pass_(30)
        world.settle()
        assert world.udp.channels == 0 and len(world.udp.table) == 0  # type: ignore[attr-defined]
        wire.send(b"?")
        world.settle()
        assert came(world) == []


def test_the_last_number_of_all_is_one_like_others():
    """A client may use it at once: what is above it does not fit into a pong."""
    with udp_world("sessions", MARKED) as world:
        (_, wire), (_, beside) = world.new_wire(), world.new_wire()
        wire.raw(wire.sealed.datagram(PING, number=(1 << 64) - 1))
        beside.ping()
        world.settle()
        for each, above, received in ((wire, (1 << 64) - 1, 3), (beside, 3, 3)):
            assert each.heard[-1].kind == PONG
            assert each.heard[-1].body == above.to_bytes(8, "little") + received.to_bytes(8, "little")
        assert not world.dropped


@pytest.mark.parametrize("mode", ["sessions", "open"])
def test_an_error_of_ours_about_one_client_ends_the_port_for_nobody(mode: str, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise RuntimeError("a bug")

    with udp_world(mode, MARKED) as world:
        monkeypatch.setattr(world.udp, "_on_event" if mode == "sessions" else "_on_stranger", fails)
        if mode == "sessions":
            client = enter(world)
            world.wire(client).ping()
        else:
            world.socket().send(b"hello")
        world.settle()
        assert [str(bug) for bug in world.loop.bugs] == ["a bug"] and world.udp.ports[0].sock is not None
        world.loop.bugs.clear()


def test_a_port_that_an_error_has_closed_is_nobodys(world: UdpWorld):
    """Its clients are told, and nobody is sent there."""
    client, _ = world.new_wire()
    world.udp.ports[0].close(CloseReason.INTERNAL_ERROR)
    world.settle()
    assert world.udp.ports == [] and world.udp.channels == 0
    assert Offer.of(client.endpoint.offers[-1]).port == 0
    down(world, client.session.id, b"over the stream")
    world.settle()
    assert client.session.got == [b"over the stream"]
    world.follow()
