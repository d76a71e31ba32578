"""Resumes of version 3 in a whole server: takeovers, copies, lost welcomes, other lanes, the other version."""

from __future__ import annotations

from types import ModuleType

import pytest
from kit.record_world import RecordClient, enter, refused, told
from kit.records import Session
from kit.speaker import lanes
from kit.world import Client, MakeWorld, World, numbered

from voltlane.core.protocols.secrets import decode_secrets
from voltlane.core.session import State
from voltlane.reasons import CloseReason
from voltlane.wire.framing import frame
from voltlane.wire.tagged import Flag
from voltlane.wire.v2 import ClientId, ProtocolVersion
from voltlane.wire.v3 import Code, Kind, decode_refusal

LANES = pytest.mark.parametrize("lane", lanes(), ids=lambda lane: lane.__name__.rpartition(".")[2])


def generation(home: World, session: Session) -> tuple[int, bool]:
    """Of the session's secrets, and whether the client has confirmed that it has it."""
    secrets = decode_secrets(home.server.registry.sessions[session.id].credential)
    return secrets.generation, not secrets.root


class TestTakeovers:
    def test_the_old_one_is_told(self, make: MakeWorld):
        home = make()
        old = enter(home)
        old.send(b"one")
        home.settle()
        new = enter(home, old.session)
        assert told(old).code == Code.TAKEN_OVER and new.session.id == old.session.id
        assert home.server.counters.closed == {CloseReason.TAKEN_OVER: 1}
        assert home.server.counters.resumed == 1
        assert home.master.notices(Flag.RECONNECTION) == [(old.session.id, b"")]

    def test_what_comes_on_it_later_is_not_heard(self, make: MakeWorld):
        home = make()
        old = enter(home)
        late = old.endpoint.record(Kind.DATA, frame(b"late"))
        close = old.endpoint.record(Kind.CLOSE, b"\xb6\x0d" + bytes(8))
        new = RecordClient(home, old.session)
        while not new.ready:
            home.loop.turn(0)
            new.pump()
        old.say(late, close)
        home.settle()
        assert home.master.data == {} and home.server.registry.sessions[old.session.id].state is State.LIVE
        new.send(b"on time")
        home.settle()
        assert home.master.data[old.session.id] == [b"on time"]

    def test_what_was_on_its_way_is_sent_again(self, make: MakeWorld):
        """What the server had of it counts, and what was cut comes whole."""
        home = make()
        old = enter(home)
        packets = [b"one", bytes(90_000), b"three"]
        old.session.send(*packets)
        records = old.endpoint.flush()
        old.say(records[0])
        home.settle()
        assert home.master.data[old.session.id] == [b"one"]
        enter(home, old.session)
        assert home.master.data[old.session.id] == packets

    def test_where_no_session_waits(self, make: MakeWorld):
        """It is never stale meanwhile."""
        home = make({"clients.stale_timeout_secs": 0})
        old = enter(home)
        new = enter(home, old.session)
        assert told(old).code == Code.TAKEN_OVER and not new.ended and home.server.counters.ended == {}

    def test_of_who_does_not_read(self, make: MakeWorld):
        """What was sealed and not written is sealed anew for the next."""
        home = make()
        old = enter(home)
        old.reading = False
        packets = numbered(500, size=1000)
        home.master.send(old.session.id, *packets)
        home.settle()
        new = enter(home, old.session)
        assert new.session.events == packets
        old.lose()

    def test_who_never_reads_gains_nothing_by_them(self, make: MakeWorld):
        home = make({"clients.outbox_bytes": 300_000, "clients.window_bytes": 4096})
        session = Session()
        clients = [enter(home, session)]
        clients[0].reading = False
        for _ in range(30):
            if session.id not in home.server.registry.sessions:
                break
            home.master.send(session.id, *numbered(50, size=1000))
            home.settle()
            deaf = RecordClient(home, session, window=1 << 30)
            for _ in range(10):
                home.loop.turn(0)
                if not deaf.ready:
                    deaf.pump()
            deaf.reading = False
            clients.append(deaf)
        assert session.id not in home.server.registry.sessions
        for client in clients:
            client.lose()

    def test_what_it_calls_safe_need_not_be_kept(self, make: MakeWorld):
        """Its ack may have been lost with the connection before."""
        home = make()
        client = enter(home)
        client.session.safe = 0
        home.master.send(client.session.id, *numbered(5, size=2000))
        home.settle()
        client.session.safe = 3
        again = enter(home, client.session)
        session = home.server.registry.sessions[client.session.id]
        assert session.delivery is not None and session.delivery.floor == 3
        assert home.server.budget.used < 5 * 2000 + 2000
        again.session.safe = None
        again.tell()
        home.settle()
        assert session.delivery.floor == 5 and home.server.budget.used == 0

    def test_two_attempts_at_once(self, make: MakeWorld):
        """The one whose proof comes later has it; the other is told, and comes back with the secret that it has."""
        home = make()
        client = enter(home)
        client.lose()
        home.settle()
        one, other = RecordClient(home, client.session.copy()), RecordClient(home, client.session.copy())
        home.settle()
        codes = [attempt.endpoint.close.code for attempt in (one, other) if attempt.endpoint.close]
        assert len(codes) == 1 and codes[0] in (Code.TAKEN_OVER, Code.SUPERSEDED)
        assert one.ended is not other.ended


class TestSecrets:
    def test_they_go_on_with_each_resume(self, make: MakeWorld):
        home = make()
        client = enter(home)
        assert generation(home, client.session) == (1, True)
        for number in range(2, 6):
            client = enter(home, client.session)
            assert generation(home, client.session) == (number, True)

    @pytest.mark.parametrize("opened", [False, True])
    def test_a_lost_welcome_costs_nothing(self, make: MakeWorld, opened: bool):
        home = make()
        session = enter(home).session if opened else Session()
        for _ in range(4):
            deaf = RecordClient(home, session)
            deaf.reading = False
            home.settle()
            deaf.read_some(200)  # the server's hello, and nothing of what is behind it
            home.settle()
            deaf.lose()
            home.settle()
        assert len(home.server.registry.sessions) == 1
        client = enter(home, session)
        client.send(b"here")
        home.settle()
        assert home.master.data == {session.id: [b"here"]} and len(home.server.registry.sessions) == 1

    def test_an_unconfirmed_welcome_is_good_too(self, make: MakeWorld):
        """The client has it, and its connection is lost before it says so."""
        home = make()
        client = enter(home)
        unconfirmed = RecordClient(home, client.session)
        home.settle()
        assert unconfirmed.ready
        mute = RecordClient(home, client.session, auto=False)
        home.settle()
        mute.lose()
        home.settle()
        assert enter(home, client.session).ready

    def test_of_two_copies_one_goes_on(self, make: MakeWorld):
        home = make()
        client = enter(home)
        copied = client.session.copy()
        client = enter(home, client.session)
        before = home.server.registry.sessions[copied.id].credential
        assert told(refused(home, copied)).code == Code.SUPERSEDED
        assert home.server.registry.sessions[copied.id].credential == before
        client.send(b"on we go")
        home.settle()
        assert home.master.data[copied.id] == [b"on we go"] and not client.ended

    def test_a_copy_that_comes_first_goes_on(self, make: MakeWorld):
        home = make()
        client = enter(home)
        copy = enter(home, client.session.copy())
        assert told(client).code == Code.TAKEN_OVER
        assert told(refused(home, client.session)).code == Code.SUPERSEDED
        assert not copy.ended

    def test_an_opening_that_was_confirmed_is_not_opened_again(self, make: MakeWorld):
        home = make()
        client = enter(home)
        again = Session()
        again.handle, again.secret = client.session.handle, client.session.secret
        assert told(refused(home, again)).code in (Code.SUPERSEDED, Code.BAD_PROOF)
        assert not client.ended


class TestElsewhere:
    @LANES
    def test_over_another_lane(self, make: MakeWorld, lane: ModuleType):
        home = make()
        client = enter(home)
        client.cut()
        home.settle()
        home.master.send(client.session.id, *numbered(20))
        home.settle()
        client = enter(home, client.session, lane=lane)
        client.send(*numbered(20))
        home.settle()
        assert client.session.events == numbered(20) == home.master.data[client.session.id]

    @pytest.mark.parametrize(("first", "then", "allowed"), [(0, 1, True), (1, 0, False), (0, 0, True)])
    def test_under_another_suite(self, make: MakeWorld, first: int, then: int, allowed: bool):
        home = make()
        session = enter(home, suite=first).session
        if allowed:
            assert enter(home, session, suite=then).ready
        else:
            assert told(refused(home, session, suite=then)).code == Code.NO_SUITE
            assert home.server.registry.sessions[session.id].state is State.LIVE

    def test_an_id_of_version_2(self, make: MakeWorld):
        home = make()
        old = home.new()
        session = Session()
        session.id = old.id
        assert told(refused(home, session)).code == Code.UNKNOWN_SESSION
        old.send(b"on we go")
        home.settle()
        assert home.master.data[old.id] == [b"on we go"] and not old.ended

    def test_an_id_of_version_3_by_version_2(self, make: MakeWorld):
        home = make()
        client = enter(home)
        thief = Client(home)
        thief.say(ProtocolVersion(2), ClientId(client.session.id))
        home.settle()
        assert thief.ended and home.server.counters.closed[CloseReason.UNKNOWN_SESSION] == 1
        client.send(b"on we go")
        home.settle()
        assert home.master.data[client.session.id] == [b"on we go"]


class TestTooEarly:
    @pytest.mark.parametrize("suite", [0, 1])
    def test_what_is_said_before_the_welcome(self, make: MakeWorld, suite: int):
        """Whoever does not wait for it does not speak this protocol; the session is there, and waits."""
        home = make()
        client = RecordClient(home, suite=suite)
        answer = client.endpoint.receive
        client.endpoint.receive = lambda message: [  # type: ignore[method-assign]
            *answer(message),
            client.endpoint.record(Kind.DATA, frame(b"early")),
        ]
        home.settle()
        assert client.ended and home.master.data == {}
        assert home.server.counters.closed == {CloseReason.UNEXPECTED_PACKET: 1}
        assert home.server.registry.stale_count == 1

    def test_what_is_said_behind_the_hello(self, make: MakeWorld):
        home = make()
        client = RecordClient(home, auto=False)
        client.say(b"guess")
        home.settle()
        assert client.ended and home.server.counters.closed == {CloseReason.BAD_RECORD: 1}
        assert home.server.registry.sessions == {}

    @pytest.mark.parametrize("body", [b"\x56", b"\x56\x03\x00", b"\x56\x03\x01\x01" + bytes(31)])
    def test_a_hello_that_is_none(self, make: MakeWorld, body: bytes):
        home = make()
        client, heard = Client(home), b""

        def decode(data: bytes) -> list[bytes]:
            nonlocal heard
            heard += data
            return []

        client.decode = decode  # type: ignore[method-assign]
        client.write(frame(body))
        home.settle()
        assert client.ended and home.server.counters.closed == {CloseReason.MALFORMED_PACKET: 1}
        assert decode_refusal(heard[4:])[0] == Code.PROTOCOL
