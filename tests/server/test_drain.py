"""How a server is emptied while it lives on, by whichever lane and protocol its clients have come."""

from __future__ import annotations

import pytest
from kit.parties import PARTIES
from kit.record_world import told as told_to
from kit.speaker import lanes
from kit.world import Client, World, numbered, world

from voltlane.core.readiness import State
from voltlane.core.session import State as SessionState
from voltlane.reasons import CloseReason
from voltlane.server.drain import READ_SECS, Step
from voltlane.wire.framing import GOODBYE
from voltlane.wire.v3 import Code
from voltlane.wire.websocket import CloseCode

NOTICE = 4
OVER_HTTP = ("ws", "wss")
LANES = {module.LANE.name: module for module in lanes()}


def came(made: World) -> bool:
    """Whether somebody who comes now is let in."""
    client = made.start_new()
    made.settle()
    refused = client.ended
    client.cut()
    made.settle()
    return not refused


def told(made: World) -> int:
    progress = made.server.drain.progress
    assert progress is not None
    return progress.told


def test_it_is_not_ready_at_once_and_takes_clients_until_the_notice_is_over() -> None:
    with world() as made:
        made.new()
        made.server.drain.begin(1.0, NOTICE)
        assert made.server.readiness.state is State.DRAINING
        assert came(made) and told(made) == 0
        made.pass_(NOTICE - 0.5)
        assert came(made) and told(made) == 0
        made.pass_(0.5)
        assert not came(made) and told(made) == 1
        assert made.server.counters.closed[CloseReason.DRAINED] == 1, "of those who come; the other is still read"


def test_without_a_rate_who_is_here_stays_until_it_leaves() -> None:
    with world() as made:
        client = made.new()
        made.server.drain.begin(0.0, 0.0)
        made.pass_(60)
        assert not client.ended and made.server.readiness.state is State.DRAINING
        client.send(b"still here")
        made.settle()
        assert made.master.data[client.id] == [b"still here"]
        client.cut()
        made.pass_(1)
        assert made.server.readiness.state is State.DRAINED


@pytest.mark.parametrize("rate", [0.5, 2, 30])
def test_no_more_are_told_in_a_second(rate: float) -> None:
    with world() as made:
        clients = [made.new() for _ in range(30)]
        made.server.drain.begin(rate, 0.0)
        for second in range(1, 4):
            made.pass_(1, 0.01)
            assert min(30, rate * (second - 0.1)) <= told(made) <= 2 + rate * second
            assert sum([client.ended for client in clients]) == told(made)


def test_emptied_it_lives_on_and_its_sessions_wait() -> None:
    with world() as made:
        clients = [made.new() for _ in range(5)]
        made.server.drain.begin(10.0, 0.0)
        while not all(client.ended for client in clients):
            made.pass_(0.1, 0.02)
        for client in clients:
            client.cut()
        made.pass_(1, 0.1)
        assert made.server.readiness.state is State.DRAINED and made.server.drain.step is Step.EMPTY
        assert made.server.registry.stale_count == 5 and told(made) == 5
        made.master.send(clients[0].id, b"for later")
        made.settle()
        assert made.server.counters.closed == {CloseReason.DRAINED: 5}
        made.server.drain.take_back()
        assert made.server.readiness.state is State.READY and made.server.drain.progress is None
        assert made.resume(clients[0]).got == [b"for later"]


@pytest.mark.parametrize("protocol", PARTIES)
@pytest.mark.parametrize("lane", LANES)
def test_who_is_told_loses_nothing_and_comes_back(lane: str, protocol: str) -> None:
    if protocol in ("open", "events") and lane not in OVER_HTTP:
        pytest.skip(f"{protocol}: asked for over HTTP")
    with world() as made:
        client = PARTIES[protocol](made, LANES[lane])
        made.master.send(client.id, *numbered(20))
        client.send(*numbered(20))
        made.settle()
        made.server.drain.begin(1.0, 0.0)
        made.settle()
        assert client.ended and client.got == numbered(20) and made.master.data[client.id] == numbered(20)
        known = client.id
        client.cut()
        made.settle()
        assert made.server.counters.closed[CloseReason.DRAINED] == 1
        if protocol == "open":
            return  # its session has ended with its connection
        made.server.drain.take_back()
        made.master.send(known, b"meanwhile")
        made.settle()
        client.come_back(LANES[lane])
        made.settle()
        assert client.id == known and client.got == [*numbered(20), b"meanwhile"]


def test_what_each_is_told() -> None:
    with world() as made:
        records = PARTIES["v3"](made, LANES["tcp"])
        socket = PARTIES["v2"](made, LANES["ws"])
        events = PARTIES["events"](made, LANES["ws"])
        made.server.drain.begin(100.0, 0.0)
        made.pass_(1, 0.02)
        assert told_to(records.connection).code == Code.GOING
        assert socket.connection.speaker.close_code == CloseCode.GOING_AWAY
        (end,) = events.connection.of_type("end")
        assert end.value == {"code": Code.GOING, "reason": CloseReason.DRAINED.value}


def retired(made: World) -> Client:
    """A client that was told, and has not closed its side."""
    client = made.new()
    made.server.drain.begin(1.0, 0.0)
    made.settle()
    assert client.ended and made.server.clients.retired
    return client


def test_what_a_client_had_sent_before_it_heard_of_it_arrives() -> None:
    with world() as made:
        client = retired(made)
        client.send(b"behind")
        made.settle()
        assert made.master.data[client.id] == [b"behind"]
        client.cut()
        made.settle()
        assert not made.server.clients.retired


def test_in_front_of_what_it_sends_when_it_is_back() -> None:
    with world() as made:
        client = retired(made)
        made.server.drain.take_back()
        client.sock.send(client.speaker.encode(b"one") + client.speaker.encode(b"two"))
        again = made.start_resume(client)
        made.settle()
        again.send(b"three")
        made.settle()
        assert made.master.data[client.id] == [b"one", b"two", b"three"] and not made.server.clients.retired


def test_who_says_goodbye_behind_it_does_not_come_back() -> None:
    with world() as made:
        client = retired(made)
        client.write_plain(GOODBYE)
        client.cut()
        made.settle()
        assert client.id not in made.server.registry.sessions


def test_who_never_closes_is_read_for_some_seconds() -> None:
    with world() as made:
        client = retired(made)
        made.pass_(READ_SECS - 1)
        assert made.server.clients.retired and made.server.readiness.state is State.DRAINING
        client.send(b"late")
        made.pass_(2)
        assert not made.server.clients.retired and made.server.readiness.state is State.DRAINED
        assert made.master.data[client.id] == [b"late"]


def test_also_where_it_is_taken_back_meanwhile() -> None:
    with world() as made:
        retired(made)
        made.server.drain.take_back()
        made.pass_(READ_SECS + 1)
        assert not made.server.clients.retired


def test_who_has_yet_to_read_something_is_told_last() -> None:
    with world() as made:
        slow = made.new()
        slow.reading = False
        made.master.send(slow.id, *[bytes(10_000)] * 20)
        made.settle()
        others = [made.new() for _ in range(3)]
        made.server.drain.begin(1.0, 0.0)
        made.pass_(2.5, 0.1)
        assert all(client.ended for client in others) and slow.id in [
            session.id for session in made.server.registry.live()
        ]
        slow.reading = True
        made.pass_(1.5, 0.1)
        assert slow.ended and len(slow.got) == 20


def test_asked_again_it_goes_by_what_was_asked_last() -> None:
    with world() as made:
        clients = [made.new() for _ in range(4)]
        made.server.drain.begin(0.0, NOTICE)
        made.server.drain.begin(0.0, 1.0)
        made.pass_(1.5)
        assert not came(made) and told(made) == 0
        made.server.drain.begin(100.0, NOTICE)
        made.pass_(1, 0.02)
        assert told(made) == 4 and all(client.ended for client in clients)


def test_taken_back_nobody_is_told_any_more() -> None:
    with world() as made:
        clients = [made.new() for _ in range(10)]
        made.server.drain.begin(2.0, 0.0)
        made.pass_(1, 0.1)
        made.server.drain.take_back()
        made.server.drain.take_back()
        assert made.server.readiness.state is State.READY
        before = sum([client.ended for client in clients])
        made.pass_(5)
        assert sum([client.ended for client in clients]) == before < 10 and came(made)


def test_taken_back_without_a_master() -> None:
    with world() as made:
        made.server.drain.begin(0.0, 0.0)
        made.master.cut()
        made.settle()
        made.server.drain.take_back()
        assert made.server.readiness.state is State.NO_MASTER


def test_a_server_that_ends_is_not_drained() -> None:
    with world() as made:
        made.new()
        made.server.drain.begin(1.0, 100.0)
        made.server.drain.end()
        made.server.readiness.state = State.STOPPING
        made.server.drain.begin(1.0, 0.0)
        made.server.drain.take_back()
        assert made.server.drain.step is Step.IDLE and made.server.readiness.state is State.STOPPING
        made.pass_(2)
        assert [session.state for session in made.server.registry.sessions.values()] == [SessionState.LIVE]
