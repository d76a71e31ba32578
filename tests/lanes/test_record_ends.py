"""Ends of version 3: what each is told, what becomes of the session, and what is remembered of one that is over."""

from __future__ import annotations

from typing import Callable

import pytest
from kit.record_world import RecordClient, enter, refused, told
from kit.records import Session
from kit.world import MakeWorld, World, numbered

from voltlane.core.session import State
from voltlane.core.tombstones import MOST
from voltlane.reasons import CloseReason, EndReason
from voltlane.server.farewell import Farewell
from voltlane.wire.framing import frame
from voltlane.wire.tagged import Flag
from voltlane.wire.v3 import Close, Code, Gap, Kind, Why

OUTSIDE = ("192.0.2.1", 5000)


def say_close(client: RecordClient, code: int, text: str = "") -> None:
    client.say(client.endpoint.record(Kind.CLOSE, Close(code, client.session.taken, text).encode()))


def state(home: World, client: RecordClient) -> State | None:
    session = home.server.registry.sessions.get(client.session.id)
    return session.state if session is not None else None


class TestTheClients:
    @pytest.mark.parametrize("code", [3510, 4500, 4999])
    def test_it_leaves_for_good(self, make: MakeWorld, code: int):
        home = make()
        client = enter(home)
        client.send(b"last words")
        say_close(client, code)
        home.settle()
        assert client.ended and client.endpoint.close is None, "it is not answered"
        assert state(home, client) is None and home.server.counters.ended == {EndReason.LEFT: 1}
        assert home.master.data == {client.session.id: [b"last words"]}
        assert home.master.notices(Flag.FAILURE) == [(client.session.id, b"Client disconnected")]
        assert told(refused(home, client.session)).code == Code.ENDED

    @pytest.mark.parametrize("code", [0, 3000, 3005, 3500, 3511, 3999, 4000, 4499, 5000, 65535])
    def test_it_goes_and_may_come_back(self, make: MakeWorld, code: int):
        home = make()
        client = enter(home)
        client.send(b"up")
        say_close(client, code, "as it likes")
        home.settle()
        assert client.ended and state(home, client) is State.STALE
        assert home.server.counters.closed == {CloseReason.PEER_CLOSED: 1}
        assert enter(home, client.session).session.sent == 1

    def test_what_it_says_behind_is_not_heard(self, make: MakeWorld):
        home = make()
        client = enter(home)
        close = client.endpoint.record(Kind.CLOSE, Close(3005, 0, "").encode())
        client.say(close, client.endpoint.record(Kind.DATA, frame(b"too late")))
        home.settle()
        assert home.master.data == {} and home.server.counters.closed == {CloseReason.PEER_CLOSED: 1}

    def test_a_close_that_is_cut(self, make: MakeWorld):
        home = make()
        client = enter(home)
        client.say(client.endpoint.record(Kind.CLOSE, b"\xb6\x0d" + bytes(7)))
        home.settle()
        assert told(client).code == Code.PROTOCOL and state(home, client) is State.STALE

    def test_an_end_without_a_word(self, make: MakeWorld):
        home = make()
        client, reset = enter(home), enter(home)
        client.cut()
        reset.lose()
        home.settle()
        assert state(home, client) is state(home, reset) is State.STALE

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            (Kind.OPEN, bytes(56)),
            (Kind.RESUME, bytes(92)),
            (Kind.WELCOME, bytes(100)),
            (10, b""),
            (254, b""),
            (Kind.GAP, bytes(16)),
        ],
    )
    def test_a_record_that_must_not_be(self, make: MakeWorld, kind: int, body: bytes):
        home = make()
        client, other = enter(home), enter(home)
        client.say(client.endpoint.record(kind, body))
        home.settle()
        assert told(client).code == Code.PROTOCOL and state(home, client) is State.STALE
        assert home.server.counters.closed == {CloseReason.MALFORMED_RECORD: 1}
        other.send(b"on we go")
        home.settle()
        assert home.master.data[other.session.id] == [b"on we go"]

    @pytest.mark.parametrize("how", ["flipped", "another", "short"])
    def test_a_record_that_does_not_open(self, make: MakeWorld, how: str):
        """Nothing is said to it: whoever sends that may be somebody else."""
        home = make()
        client, other = enter(home), enter(home)
        record = client.endpoint.record(Kind.DATA, frame(b"up"))
        if how == "flipped":
            record = record[:-1] + bytes([record[-1] ^ 1])
        client.say({"flipped": record, "another": bytes(100), "short": b"?"}[how])
        home.settle()
        assert client.ended and client.endpoint.close is None
        assert home.server.counters.closed == {CloseReason.BAD_RECORD: 1} and home.master.data == {}
        assert state(home, client) is State.STALE and state(home, other) is State.LIVE
        enter(home, client.session)


class TestGapsOfTheClients:
    def gap(self, client: RecordClient, first: int, last: int) -> None:
        client.session.sent = max(client.session.sent, last)
        client.say(client.endpoint.record(Kind.GAP, Gap(first, last, Why.GIVEN_UP).encode()))

    def test_between_packets(self, make: MakeWorld):
        home = make({"clients.ack_secs": 1})
        client = enter(home)
        client.send(b"one")
        self.gap(client, 2, 5)
        client.session.sent = 6
        client.say(client.endpoint.record(Kind.DATA, frame(b"six")))
        home.pass_(2)
        assert home.master.data[client.session.id] == [b"one", b"six"] and client.session.acked == 6

    def test_of_what_is_there_already(self, make: MakeWorld):
        home = make({"clients.ack_secs": 1})
        client = enter(home)
        client.send(b"one", b"two", b"three")
        self.gap(client, 1, 2)
        self.gap(client, 2, 4)
        self.gap(client, 4, 4)
        home.pass_(2)
        assert client.session.acked == 4 and home.server.counters.gaps == 1

    @pytest.mark.parametrize(("first", "last"), [(3, 4), (5, 2), (1, 2**63), (1, 2**64 - 1)])
    def test_that_cannot_be(self, make: MakeWorld, first: int, last: int):
        home = make()
        client = enter(home)
        client.send(b"one")
        home.settle()
        self.gap(client, first, last)
        home.settle()
        assert told(client).code == Code.PROTOCOL and home.server.counters.closed == {CloseReason.BAD_NUMBERS: 1}

    def test_within_a_packet(self, make: MakeWorld):
        home = make()
        client = enter(home)
        client.say(client.endpoint.record(Kind.DATA, frame(b"one")[:5]))
        self.gap(client, 1, 2)
        home.settle()
        assert told(client).code == Code.PROTOCOL and home.server.counters.closed == {CloseReason.BAD_NUMBERS: 1}

    def test_up_to_the_last_number_that_may_be_named(self, make: MakeWorld):
        home = make({"clients.ack_secs": 1})
        client = enter(home)
        self.gap(client, 1, 2**63 - 1)
        client.session.sent += 2
        client.say(client.endpoint.record(Kind.DATA, frame(b"one more") * 2))
        home.pass_(2)
        assert client.session.acked == 2**63 + 1 and home.loop.bugs == []

    @pytest.mark.parametrize("numbers", [{"sent": 2**63}, {"sent": 2**64 - 1, "epoch": 7}, {"acked": 1}, {"taken": 1}])
    def test_numbers_of_a_resume_that_cannot_be(self, make: MakeWorld, numbers: dict[str, int]):
        """With the right proof: it is closed, and its session is as it was."""
        home = make()
        client = enter(home)
        client.cut()
        home.settle()
        liar = client.session.copy()
        for name, value in numbers.items():
            setattr(liar, name, value)
        assert told(refused(home, liar)).code == Code.PROTOCOL
        assert home.server.counters.closed[CloseReason.BAD_NUMBERS] == 1 and home.loop.bugs == []
        assert state(home, client) is State.STALE


class TestKicks:
    def test_by_the_master(self, make: MakeWorld):
        home = make({"clients.ack_secs": 50, "clients.stale_timeout_secs": 55})
        client = enter(home)
        client.send(b"one", b"two")
        home.settle()
        home.master.kick(client.session.id)
        home.settle()
        assert told(client) == Close(Code.KICKED, 2, CloseReason.KICKED.value) and client.endpoint.close_ack == 2
        assert state(home, client) is None and home.master.notices(Flag.FAILURE) == []

    def test_by_the_operator(self, make: MakeWorld):
        home = make()
        client = enter(home)
        client.send(b"one")
        home.settle()
        home.server.expel(client.session.id)
        home.settle()
        assert told(client) == Close(Code.EXPELLED, 1, CloseReason.EXPELLED.value)
        assert home.master.notices(Flag.FAILURE) == [(client.session.id, b"Client disconnected")]

    def test_taken_and_safe_are_told_apart(self, make: MakeWorld):
        """What had come, and what the master's socket had."""
        home = make()
        client = enter(home)
        client.send(b"one")
        home.settle()
        home.master.cut()
        home.settle()
        client.send(b"two", b"three")
        home.settle()
        home.server.expel(client.session.id)
        home.settle()
        assert (client.endpoint.close_ack, told(client).taken) == (1, 3)
        again = refused(home, client.session)
        assert (again.endpoint.close_ack, told(again).taken) == (1, 3)
        home.connect_master()


def kicked(home: World, client: RecordClient) -> None:
    home.master.kick(client.session.id)


def expelled(home: World, client: RecordClient) -> None:
    home.server.expel(client.session.id)


def left(home: World, client: RecordClient) -> None:
    say_close(client, Code.LEFT)


def expired(home: World, client: RecordClient) -> None:
    client.cut()
    home.pass_(30)


def evicted(home: World, client: RecordClient) -> None:
    client.cut()
    home.settle()
    for _ in range(2):
        enter(home).cut()
        home.settle()


def overflown(home: World, client: RecordClient) -> None:
    client.reading = False
    home.master.send(client.session.id, *numbered(500, size=1000))
    home.settle()
    client.lose()


def missed_too_much(home: World, client: RecordClient) -> None:
    client.cut()
    home.settle()
    home.master.send(client.session.id, *numbered(21))


def given_up(home: World, client: RecordClient) -> None:
    client.cut()
    home.settle()
    home.master.send(client.session.id, bytes(5000))
    home.settle()
    limit = home.server.budget.limit
    home.server.budget.configure(1000)
    home.settle()
    home.server.budget.configure(limit)


ENDS: dict[EndReason, Callable[[World, RecordClient], None]] = {
    EndReason.KICKED: kicked,
    EndReason.EXPELLED: expelled,
    EndReason.LEFT: left,
    EndReason.EXPIRED: expired,
    EndReason.EVICTED: evicted,
    EndReason.OVERFLOW: overflown,
    EndReason.BACKLOG_FULL: missed_too_much,
    EndReason.MEMORY: given_up,
}


class TestEnded:
    def test_there_is_a_test_for_each(self):
        assert set(ENDS) == set(EndReason) - {EndReason.NOT_RESUMABLE}, "which no session of version 3 is"

    @pytest.mark.parametrize("reason", ENDS, ids=lambda reason: reason.name)
    def test_it_is_remembered_for_its_client(self, make: MakeWorld, reason: EndReason):
        """Who proves it is told why, and what of it had arrived; nobody else is."""
        home = make(
            {
                "clients.outbox_bytes": 200_000,
                "clients.missed_packets_buffer_size": 20,
                "clients.max_stale_clients": 2,
                "clients.ack_secs": 50,
            }
        )
        client = enter(home)
        client.send(b"one", b"two", b"three")
        home.settle()
        ENDS[reason](home, client)
        home.settle()
        assert home.server.counters.ended == {reason: 1} and state(home, client) is None
        client.session.acked = 0
        again = refused(home, client.session)
        assert told(again) == Close(Code.ENDED, 3, reason.value) and again.endpoint.close_ack == 3
        thief = client.session.copy()
        thief.secret = bytes(32)
        other = refused(home, thief)
        assert told(other) == Close(Code.BAD_PROOF, 0, CloseReason.BAD_PROOF.value) and other.endpoint.close_ack == 0
        assert told(refused(home, client.session, suite=0)).code == Code.NO_SUITE
        assert told(refused(home, client.session)).code == Code.ENDED, "as often as it asks"

    def test_one_that_it_never_knew(self, make: MakeWorld):
        home = make()
        session = Session()
        session.id = 77
        assert told(refused(home, session)) == Close(Code.UNKNOWN_SESSION, 0, CloseReason.UNKNOWN_SESSION.value)

    def test_the_latest_are_remembered(self, make: MakeWorld):
        home = make()
        first = enter(home)
        home.server.expel(first.session.id)
        home.settle()
        stones = home.server.registry.tombstones
        stone = stones.get(first.session.id)
        assert stone is not None
        for number in range(MOST):
            stones.add(10**9 + number, stone)
        assert len(stones) == MOST
        assert told(refused(home, first.session)).code == Code.UNKNOWN_SESSION


class TestTheServers:
    def test_it_ends(self, make: MakeWorld):
        """Who is there is told, and its session waits with all that is not safe."""
        home = make()
        client = enter(home)
        client.session.safe = 0
        home.master.send(client.session.id, *numbered(3))
        client.send(b"up")
        home.settle()
        client.session.safe = 1
        client.tell()
        home.settle()
        Farewell(home.loop, home.server.clients, home.server.trunk, 10, home.server.seal, lambda: None)
        home.settle()
        assert told(client) == Close(Code.GOING, 1, CloseReason.SHUTDOWN.value) and client.endpoint.close_ack == 1
        session = home.server.registry.sessions[client.session.id]
        assert session.state is State.STALE and session.backlog is not None and session.backlog.packets == 2
        assert home.master.data[client.session.id] == [b"up"]
        home.master.cut()
        home.pass_(2)

    def test_an_error_of_its_own(self, make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
        home = make()
        client, other = enter(home), enter(home)
        push = home.server.trunk.push

        def poisoned(chunk: bytes, packets: int) -> None:
            if b"poison" in chunk:
                raise RuntimeError("a bug")
            push(chunk, packets)

        monkeypatch.setattr(home.server.trunk, "push", poisoned)
        client.send(b"poison", b"and more")
        home.settle()
        assert told(client).code == Code.ERROR and state(home, client) is State.STALE
        assert [str(bug) for bug in home.loop.bugs] == ["a bug"]
        home.loop.bugs.clear()
        other.send(b"on we go")
        home.settle()
        assert home.master.data[other.session.id] == [b"on we go"]

    @pytest.mark.parametrize("greeted", [False, True])
    def test_a_handshake_that_takes_too_long(self, make: MakeWorld, greeted: bool):
        home = make({"clients.handshake_secs": 2})
        client = RecordClient(home, auto=not greeted)
        if greeted:
            home.pass_(4)
            assert told(client).code == Code.LATE
        else:
            client.lose()
        assert home.server.registry.sessions == {}


class TestWhereFrom:
    @pytest.mark.parametrize(
        ("setting", "address", "allowed"),
        [
            ("local", "", True),
            ("local", ("127.0.0.1", 5000), True),
            ("local", OUTSIDE, False),
            ("always", OUTSIDE, True),
            ("never", "", False),
        ],
    )
    def test_who_may_do_without_encryption(self, make: MakeWorld, setting: str, address: object, allowed: bool):
        home = make({"clients.unencrypted": setting})
        client = RecordClient(home, suite=0, address=address)
        home.settle()
        assert client.ready is allowed
        if not allowed:
            assert client.endpoint.refusal == (Code.NO_SUITE, CloseReason.SUITE_REFUSED.value)
            assert home.server.counters.closed == {CloseReason.SUITE_REFUSED: 1}
        assert enter(home, address=address).ready, "encrypted everybody may"

    @pytest.mark.parametrize(
        ("header", "allowed"),
        [
            (b"PROXY TCP4 192.0.2.1 192.0.2.1 5000 1\r\n", False),
            (b"PROXY TCP4 127.0.0.1 127.0.0.1 5000 1\r\n", True),
            (b"PROXY UNKNOWN\r\n", False),
        ],
        ids=["outside", "here, it says", "nobody"],
    )
    def test_behind_a_proxy_it_is_what_that_says(self, make: MakeWorld, header: bytes, allowed: bool):
        """Where it says nothing the leg in front of it may be open, whoever is at its end."""
        home = make({"listener.proxy_protocol": "required", "listener.proxy_networks": "127.0.0.0/8"})
        client = RecordClient(home, suite=0, address=("127.0.0.1", 7000), header=header)
        home.settle()
        assert client.ready is allowed
        assert enter(home, address=("127.0.0.1", 7000), header=header).ready

    def test_a_proxy_elsewhere_says_nothing_of_its_own_leg(self, make: MakeWorld):
        """A client that is on the proxy's machine is on no other, and what it says goes over the network."""
        home = make({"listener.proxy_protocol": "required", "listener.proxy_networks": "192.0.2.0/24"})
        header = b"PROXY TCP4 127.0.0.1 127.0.0.1 5000 1\r\n"
        client = RecordClient(home, suite=0, address=("192.0.2.7", 7000), header=header)
        home.settle()
        assert client.endpoint.refusal == (Code.NO_SUITE, CloseReason.SUITE_REFUSED.value)
