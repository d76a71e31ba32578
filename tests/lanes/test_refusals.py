"""How a connection ends whose client resumes and has no answer: in order if it is refused, else by a reset (SPEC 5.3).

On TCP, over every lane: what a client takes for an answer is what its own system tells it.
"""

from __future__ import annotations

import socket
from types import ModuleType
from typing import Any, Callable

import pytest
from kit.speaker import lanes
from kit.world import Client, MakeWorld, World

from voltlane.core.protocols.v2 import V2Handshake
from voltlane.reasons import REFUSALS, CloseReason
from voltlane.wire.v2 import ChallengeResponse, ClientId, Packet, Ping, ProtocolVersion, encode

LANES = {module.LANE.name: module for module in lanes()}


@pytest.fixture(params=LANES.values(), ids=LANES)
def lane(request: pytest.FixtureRequest) -> ModuleType:
    return request.param  # type: ignore[no-any-return]


class TcpClient(Client):
    """A client that resumes over TCP, and says what the test tells it to."""

    def pair(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            ours = socket.create_connection(listening.getsockname())
            theirs, _ = listening.accept()
        for sock in (theirs, ours):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return theirs, ours

    def on_challenge(self) -> None:
        """The test goes on."""

    @property
    def end(self) -> str:
        """How the connection has ended, as the client sees it."""
        assert self.ended
        return "reset" if self.was_reset and not self.speaker.ended else "in order"


def begun(home: World, lane: ModuleType) -> TcpClient:
    """A client that was here before, and has said its version and no more."""
    client = TcpClient(home, resumes=home.new(lane=lane), lane=lane)
    client.write(client.speaker.opening)
    client.say(ProtocolVersion(2))
    home.settle()
    assert client.server_key
    return client


def challenged(home: World, lane: ModuleType) -> TcpClient:
    """One that has been asked for its proof."""
    client = begun(home, lane)
    client.say(ClientId(client.id))
    home.settle()
    assert client.challenge
    return client


def proven(home: World, lane: ModuleType) -> TcpClient:
    """One that has given its proof, and has its Ping yet to say."""
    client = challenged(home, lane)
    client.say(client.proof())
    home.settle()
    return client


STEPS = [begun, challenged, proven]
Step = Callable[[World, ModuleType], TcpClient]


def name_of(step: Step) -> str:
    return step.__name__


def talk(home: World, client: Client, raw: bytes) -> None:
    client.write(raw)
    home.settle()


def pass_the_deadline(home: World, client: Client, patch: pytest.MonkeyPatch) -> None:
    home.pass_(6)


def end_the_server(home: World, client: Client, patch: pytest.MonkeyPatch) -> None:
    home.server.arrivals.close()


def send_nonsense(home: World, client: Client, patch: pytest.MonkeyPatch) -> None:
    talk(home, client, client.speaker.encode(b"\x09"))


def send_what_is_out_of_place(home: World, client: Client, patch: pytest.MonkeyPatch) -> None:
    talk(home, client, client.speaker.encode(encode(ProtocolVersion(2))))


def send_what_is_too_large(home: World, client: Client, patch: pytest.MonkeyPatch) -> None:
    talk(home, client, client.speaker.encode(bytes(129)))


def half_close(home: World, client: Client, patch: pytest.MonkeyPatch) -> None:
    client.sock.shutdown(socket.SHUT_WR)


def hit_a_bug(home: World, client: Client, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(V2Handshake, "receive", lambda self, message: 1 / 0)
    talk(home, client, client.speaker.encode(encode(Ping())))
    assert [type(bug) for bug in home.loop.bugs] == [ZeroDivisionError]
    home.loop.bugs.clear()


OUTAGES = [
    (pass_the_deadline, CloseReason.HANDSHAKE_TIMEOUT),
    (end_the_server, CloseReason.SHUTDOWN),
    (send_nonsense, CloseReason.MALFORMED_PACKET),
    (send_what_is_out_of_place, CloseReason.UNEXPECTED_PACKET),
    (send_what_is_too_large, CloseReason.FRAME_TOO_LARGE),
    (half_close, CloseReason.PEER_CLOSED),
    (hit_a_bug, CloseReason.INTERNAL_ERROR),
]


@pytest.mark.parametrize("step", STEPS, ids=name_of)
@pytest.mark.parametrize(("end", "reason"), OUTAGES, ids=[reason.name for _, reason in OUTAGES])
def test_an_end_that_is_no_refusal_is_a_reset(
    make: MakeWorld,
    lane: ModuleType,
    step: Step,
    end: Callable[[World, Client, pytest.MonkeyPatch], None],
    reason: CloseReason,
    monkeypatch: pytest.MonkeyPatch,
):
    home = make()
    client = step(home, lane)
    with monkeypatch.context() as patch:
        end(home, client, patch)
    home.settle()
    assert client.end == "reset" and home.server.counters.closed == {reason: 1}
    again = home.resume(client.resumes, lane=lane)  # type: ignore[arg-type]
    assert again.id == client.id


def test_an_error_of_ours_behind_the_last_word_is_a_reset(
    make: MakeWorld, lane: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    home = make()
    client = proven(home, lane)
    with monkeypatch.context() as patch:
        patch.setattr(home.server.trunk, "push", lambda chunk, packets: 1 / 0)
        client.say(Ping())
        home.settle()
    assert client.end == "reset" and home.server.counters.closed[CloseReason.INTERNAL_ERROR] == 1
    home.loop.bugs.clear()


def ask_for_an_unknown_session(home: World, lane: ModuleType) -> TcpClient:
    client = begun(home, lane)
    client.say(ClientId(client.id + 1000))
    return client


def give_a_bad_proof(home: World, lane: ModuleType) -> TcpClient:
    client = challenged(home, lane)
    client.say(ChallengeResponse(bytes(72)), Ping())
    return client


def reflect_the_challenge(home: World, lane: ModuleType) -> TcpClient:
    client = challenged(home, lane)
    client.say(ChallengeResponse(client.challenge))
    return client


def be_kicked(home: World, lane: ModuleType) -> TcpClient:
    client = proven(home, lane)
    home.master.kick(client.id)
    home.settle()
    client.say(Ping())
    return client


ANSWERS = [
    (ask_for_an_unknown_session, CloseReason.UNKNOWN_SESSION),
    (give_a_bad_proof, CloseReason.BAD_PROOF),
    (reflect_the_challenge, CloseReason.REFLECTED_PROOF),
    (be_kicked, CloseReason.SESSION_ENDED),
]


@pytest.mark.parametrize("linger", [-1, 0])
@pytest.mark.parametrize(("do", "reason"), ANSWERS, ids=[reason.name for _, reason in ANSWERS])
def test_a_refusal_ends_in_order(
    make: MakeWorld, lane: ModuleType, do: Callable[[World, ModuleType], TcpClient], reason: CloseReason, linger: int
):
    home = make({"socket.linger_secs": linger})
    client = do(home, lane)
    home.settle()
    client.read()
    assert client.ended and not client.was_reset
    assert reason in REFUSALS and home.server.counters.closed[reason] == 1


# ---- a process that is killed


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """A socket whose process is killed at one of its system calls, just before or just behind it."""

    CALLS = ("recv", "recv_into", "send", "sendmsg", "setsockopt", "shutdown")

    def __init__(self, sock: socket.socket, moment: int) -> None:
        self._sock, self.moment = sock, moment

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._sock, name)
        return self._counted(found) if name in self.CALLS else found

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self._count_down()
            result = call(*arguments)
            self._count_down()
            return result

        return counted

    def _count_down(self) -> None:
        self.moment -= 1
        if not self.moment:
            self._sock.close()
            raise Killed


def life(lane: ModuleType, moment: int, pieces: int) -> bool:
    """A resume, said in so many pieces, with a server that is killed at that moment. Whether it was through before."""
    home = World()
    home.connect_master()
    old = home.new(lane=lane)
    old.cut()
    home.settle()
    home.master.send(old.id, b"missed")
    home.settle()
    accept, mortals = home.server.gate.accept, []

    def accept_mortal(sock: Any, *more: Any) -> None:
        mortals.append(Mortal(sock, moment))
        accept(mortals[0], *more)  # type: ignore[arg-type]

    home.server.gate.accept = accept_mortal  # type: ignore[method-assign]
    killed = False
    try:
        client = TcpClient(home, resumes=old, lane=lane)
        say(home, client, client.speaker.opening + words(client, ProtocolVersion(2), ClientId(old.id)), pieces)
        say(home, client, words(client, client.proof(), Ping()), pieces)
        mortals[0].moment = 0
    except Killed:
        killed = True
    client = home.clients[-1]  # type: ignore[assignment]
    client.read()
    if killed and client.server_key and not client.ready:
        assert client.end == "reset", f"in order at moment {moment}"
    if not killed:
        assert client.got == [b"missed"] and not client.ended
        assert client.theirs.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER) == 0, "live connections end in order"
    home.abandon()
    return not killed


def words(client: Client, *those: Packet) -> bytes:
    return b"".join(client.speaker.encode(encode(packet)) for packet in those)


def say(home: World, client: Client, data: bytes, pieces: int) -> None:
    size = -(-len(data) // pieces)
    for start in range(0, len(data), size):
        client.write(data[start : start + size])
        home.settle()


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_killed_at_any_system_call(lane: ModuleType, pieces: int):
    """No client is told in order that its session is gone, which is there."""
    for moment in range(1, 200):
        if life(lane, moment, pieces):
            assert moment > 10
            return
    raise AssertionError("the resume never gets through")
