"""A session that is not here is looked for elsewhere before anybody says that there is none."""

from __future__ import annotations

from types import ModuleType

import pytest
from kit.event_world import Caller, EventClient, post, stream
from kit.record_world import RecordClient, enter
from kit.speaker import lanes
from kit.world import Client, MakeWorld, Peer, World

from voltlane.core.session import Session
from voltlane.core.whereabouts import Elsewhere, Seeker, Wanted, Whereabouts
from voltlane.reasons import CloseReason

LANES = pytest.mark.parametrize("lane", lanes(), ids=lambda lane: lane.__name__.rpartition(".")[2])


class Away(Whereabouts):
    """Stale sessions that are taken out of a world, and come back into it."""

    def __init__(self, world: World) -> None:
        self.registry = world.server.registry
        self.registry.whereabouts = self
        self.sought: list[tuple[Wanted, Seeker]] = []
        self.in_vain: set[Wanted] = set()
        self.sessions: dict[Wanted, Session] = {}

    def take(self, client_id: int) -> None:
        registry = self.registry
        session = registry.sessions.pop(client_id)
        registry._forget_stale(session)
        for wanted in (Wanted(client_id), Wanted(client_id, beside=True)):
            self.sessions[wanted] = session
        for handle in [handle for handle, opened in registry.openings._open.items() if opened is session]:
            registry.openings.end(handle)
            self.sessions[Wanted(handle=handle)] = session

    def check(self, wanted: Wanted) -> None:
        if wanted not in self.in_vain:
            raise Elsewhere(wanted)

    def seek(self, wanted: Wanted, seeker: Seeker) -> None:
        self.sought.append((wanted, seeker))

    def bring(self) -> None:
        """What is sought comes back, or nobody has it."""
        sought, self.sought = self.sought, []
        for wanted, seeker in sought:
            session = self.sessions.get(wanted)
            if session is None:
                self.in_vain.add(wanted)
            else:
                self.registry.take_over(session)
                self.registry.take_over_stale([session.id])
            seeker.found()


def lost(home: World, peer: Peer) -> Away:
    """Its connection is gone, and so is its session."""
    peer.cut()
    home.settle()
    away = Away(home)
    away.take(peer.id if isinstance(peer, (Client, EventClient)) else peer.session.id)  # type: ignore[attr-defined]
    return away


def wait(home: World, away: Away) -> None:
    home.settle()
    home.pass_(0.5)
    assert len(away.sought) == 1, "it is sought once, however long that takes"


@LANES
def test_version_2(make: MakeWorld, lane: ModuleType):
    home = make()
    client = home.new(lane=lane)
    away = lost(home, client)
    back = Client(home, client, lane=lane)
    home.settle()
    back.greet()
    wait(home, away)
    assert not back.ready and away.sought[0][0] == Wanted(client.id)
    away.bring()
    home.settle()
    home.master.send(client.id, b"welcome")
    back.send(b"here")
    home.settle()
    assert back.ready and back.got == [b"welcome"] and home.master.data[client.id] == [b"here"]


@LANES
def test_version_3(make: MakeWorld, lane: ModuleType):
    """With what came behind the resume, which was not looked at meanwhile."""
    home = make()
    client = enter(home, lane=lane)
    away = lost(home, client)
    back = RecordClient(home, client.session, lane=lane)
    wait(home, away)
    assert not back.ready and away.sought[0][0] == Wanted(client.session.id)
    away.bring()
    home.settle()
    back.send(b"here")
    home.settle()
    assert back.ready and home.master.data[client.session.id] == [b"here"]


@pytest.mark.parametrize("known", [True, False])
def test_an_opening_that_is_said_again(make: MakeWorld, known: bool):
    """Its welcome was lost, and it comes to another place: it is the same session, and where nobody knows it a new
    one."""
    home = make()
    deaf = RecordClient(home)
    deaf.reading = False
    home.settle()
    deaf.read_some(200)  # the server's hello, and nothing of what is behind it
    home.settle()
    deaf.lose()
    home.settle()
    (session_id,) = home.server.registry.sessions
    away = Away(home)
    away.take(session_id)
    if not known:
        away.sessions.clear()
    again = RecordClient(home, deaf.session)
    wait(home, away)
    assert away.sought[0][0].handle and not again.ready
    away.bring()
    home.settle()
    assert again.ready and (again.session.id == session_id) == known


def _speak_2(home: World, client: Client) -> Client:
    back = Client(home, client)
    home.settle()
    back.greet()
    return back


@pytest.mark.parametrize("version", [2, 3])
def test_nobody_has_it(make: MakeWorld, version: int):
    home = make()
    client = home.new() if version == 2 else enter(home)
    away = lost(home, client)
    away.sessions.clear()
    back = _speak_2(home, client) if isinstance(client, Client) else RecordClient(home, client.session)
    wait(home, away)
    away.bring()
    home.settle()
    assert back.ended and not back.ready
    assert home.server.counters.closed[CloseReason.UNKNOWN_SESSION] == 1


@pytest.mark.parametrize("end", ["late", "shutdown"])
def test_it_is_gone_before_it_is_found(make: MakeWorld, end: str):
    """The handshake's time holds, whatever is looked for; being told later does nothing."""
    home = make({"clients.handshake_secs": 3.0})
    client = home.new()
    away = lost(home, client)
    back = _speak_2(home, client)
    wait(home, away)
    if end == "late":
        home.pass_(3.0)
    else:
        home.server.arrivals.close()
    home.settle()
    reason = CloseReason.HANDSHAKE_TIMEOUT if end == "late" else CloseReason.SHUTDOWN
    assert back.ended and home.server.counters.closed[reason] == 1
    away.bring()
    home.settle()
    assert home.server.registry.sessions[client.id].link is None


class TestEvents:
    def test_a_stream(self, make: MakeWorld):
        home = make()
        client = stream(home)
        away = lost(home, client)
        back = EventClient(home, client.source.last_id)
        wait(home, away)
        assert back.head is None
        away.bring()
        home.settle()
        home.master.send(client.id, b"one")
        home.settle()
        assert back.id == client.id and back.got == [b"one"]

    @pytest.mark.parametrize("found", [True, False])
    @pytest.mark.parametrize("pieces", [1, 3])
    def test_a_packet(self, make: MakeWorld, found: bool, pieces: int):
        """Nothing of a body is read for a session that is not here; what has come of it is not lost."""
        home = make()
        client = stream(home)
        away = lost(home, client)
        if not found:
            away.sessions.clear()
        words = post(client.token, b"x" * 3000)
        caller = Caller(home, words[: len(words) // pieces])
        wait(home, away)
        assert away.sought[0][0] == Wanted(client.id, beside=True)
        caller.write(words[len(words) // pieces :])
        home.settle()
        assert not caller.answers
        away.bring()
        home.settle()
        assert caller.statuses == [202 if found else 401]
        assert home.master.data.get(client.id) == ([b"x" * 3000] if found else None)

    def test_one_behind_another(self, make: MakeWorld):
        """Requests before it have had their answers, and those behind it have theirs."""
        home = make()
        here, gone = stream(home), stream(home)
        away = lost(home, gone)
        caller = Caller(home, post(here.token, b"1") + post(gone.token, b"2") + post(here.token, b"3"))
        wait(home, away)
        assert caller.statuses == [202]
        away.bring()
        home.settle()
        assert caller.statuses == [202] * 3
        assert home.master.data == {here.id: [b"1", b"3"], gone.id: [b"2"]}
