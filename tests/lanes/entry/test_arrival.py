"""What a connection passes before its session: stages of every kind, in order, with one deadline and one close."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Callable

import pytest
from kit.frames import join
from kit.lanes import tcp
from kit.world import CLIENT_KEY, Client, MakeWorld, World, numbered

from voltlane.errors import MalformedPacket, UnexpectedPacket
from voltlane.lanes.entry.stage import Newcomer, Stage
from voltlane.lanes.fairness.turns import FIRST_QUANTUM
from voltlane.lanes.lane import Lane
from voltlane.lanes.prefix import LengthPrefix
from voltlane.reasons import BY_PEER, CloseReason
from voltlane.wire.framing import frame
from voltlane.wire.v2 import ProtocolVersion, PubKey, encode

EACH_POLLER = True

HELLO = b"".join(frame(encode(packet)) for packet in (ProtocolVersion(2), PubKey(CLIENT_KEY.public)))
PROXY = ("10.0.0.1", 7000)
PROXIED = {"listener.proxy_protocol": "required", "listener.proxy_networks": "10.0.0.0/8"}
HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.1 5000 1\r\n"
SHIFT = 0x55


class Line(Stage):
    """Waits for a line, reading little at a time; keeps what was in it, and gives back what is behind it."""

    def __init__(self, name: str, most: int = 5, answer: bytes = b"", bye: bytes = b"") -> None:
        self.name = name
        self.answer = answer
        self.bye = bye
        self.most = most
        self.calls = 0
        self.line = b""

    @property
    def waits_for(self) -> str:
        return f"the line {self.name}"

    def go_on(self, newcomer: Newcomer) -> bool:
        self.calls += 1
        data = newcomer.read(self.most)
        if data is None:
            return False
        line, end, behind = (self.line + data).partition(b"\n")
        self.line = line
        if not end:
            return False
        if behind:
            newcomer.give_back(behind)
        if self.answer:
            newcomer.say(self.answer)
        return self.passed(newcomer)

    def passed(self, newcomer: Newcomer) -> bool:
        return True

    def farewell(self, reason: CloseReason) -> bytes:
        return self.bye and self.bye + reason.name.encode()


class First(Line):
    """Says what it has to say before it hears anything."""

    def begin(self, newcomer: Newcomer) -> None:
        newcomer.say(self.answer)
        self.answer = b""


class Refusing(Line):
    """Lets nobody through."""

    def __init__(self, refuse: Callable[[Newcomer], object], bye: bytes = b"") -> None:
        super().__init__("refused", bye=bye)
        self.refuse = refuse

    def passed(self, newcomer: Newcomer) -> bool:
        self.refuse(newcomer)
        return False


class Nothing(Stage):
    """Reads nothing."""

    waits_for = "nothing"

    def go_on(self, newcomer: Newcomer) -> bool:
        return True


class Shifted:
    """A socket whose bytes are other ones on the wire, both ways."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        return shift(self._sock.recv(size))

    def recv_into(self, space: memoryview, most: int = 0) -> int:
        received = self._sock.recv_into(space, most)
        space[:received] = shift(bytes(space[:received]))
        return received

    def send(self, data: bytes) -> int:
        return self._sock.send(shift(bytes(data)))

    def sendmsg(self, views: Sequence[bytes]) -> int:
        return self.send(b"".join(views))


def shift(data: bytes) -> bytes:
    return bytes(byte ^ SHIFT for byte in data)


class Shift(Stage):
    """Reads no more than its line, since the rest is no line's any more."""

    waits_for = "the order to shift"

    def __init__(self) -> None:
        self.missing = b"shift\n"

    def go_on(self, newcomer: Newcomer) -> bool:
        data = newcomer.read(len(self.missing))
        if data is None:
            return False
        assert self.missing.startswith(data)
        self.missing = self.missing[len(data) :]
        if self.missing:
            return False
        newcomer.say(b"clear\n")
        newcomer.sock = Shifted(newcomer.sock)  # type: ignore[assignment, arg-type]
        newcomer.say(b"shifted\n")
        return True


class Talk:
    """What a watcher hears: why connections without a session ended."""

    def __init__(self, home: World) -> None:
        self.ends: list[tuple[CloseReason, str]] = []
        home.server.arrivals.log.watcher = self  # type: ignore[assignment]

    def here(self, client_id: int, peer: str, resumed: bool) -> None: ...

    def gone(self, client_id: int, peer: str, reason: CloseReason, detail: str) -> None:
        if not client_id:
            self.ends.append((reason, detail))


class Listener(Client):
    """A client on whose connection the server says more than messages: what it says stands in `heard`."""

    heard = b""

    def decode(self, data: bytes) -> list[bytes]:
        self.heard += data
        return []


def lane(*stages: Callable[[], Stage]) -> Any:
    """A lane of the length prefix with these stages, as the kit has its own."""
    return SimpleNamespace(LANE=Lane("test", LengthPrefix, stages), Speaker=tcp.Speaker)


def keep(*stages: Callable[[], Stage]) -> tuple[Any, list[Any]]:
    """The same, and the list of stages as they are made."""
    made: list[Any] = []

    def kept(stage: Callable[[], Stage]) -> Callable[[], Stage]:
        def make_() -> Stage:
            made.append(stage())
            return made[-1]

        return make_

    return lane(*map(kept, stages)), made


def closed(home: World) -> dict[CloseReason, int]:
    return dict(home.server.counters.closed)


# ---- in order


def test_stages_come_in_order_and_each_is_made_when_it_is_its_turn(make: MakeWorld):
    home = make()
    lines, made = keep(lambda: Line("one"), lambda: Line("two"), lambda: Line("three"))
    client = Client(home, lane=lines)
    for number, word in enumerate([b"first", b"", b"a third, longer than one read"]):
        assert len(made) == number + 1
        client.write(word)
        home.settle()
        assert len(made) == number + 1 and not client.ready
        client.write(b"\n")
        home.settle()
    client.write(HELLO)
    home.settle()
    assert client.ready and [stage.name for stage in made] == ["one", "two", "three"]
    assert [stage.line for stage in made] == [b"first", b"", b"a third, longer than one read"]
    assert made[2].calls >= 6, "one read each time it is called"


def test_each_connection_has_stages_of_its_own(make: MakeWorld):
    home = make()
    lines, made = keep(lambda: Line("one"), lambda: Line("two"))
    early, late = Client(home, lane=lines), Client(home, lane=lines)
    early.write(b"a\nb")
    late.write(b"A")
    home.settle()
    early.write(b"\n" + HELLO)
    home.settle()
    assert early.ready and not late.ready
    late.write(b"\nB\n" + HELLO)
    home.settle()
    assert late.ready and [stage.line for stage in made] == [b"a", b"A", b"b", b"B"]


@pytest.mark.parametrize("most", [1, 2, 5, 448, 100_000])
def test_what_is_given_back_reaches_the_next_stage(make: MakeWorld, most: int):
    """Also when nothing more comes: all of it is there at once, and the session's first packets too."""
    home = make()
    lines, made = keep(lambda: Line("one", most), Nothing, lambda: Line("two", most), lambda: Line("three", most))
    client = Client(home, lane=lines)
    client.write(b"a\n\nccc\n" + HELLO + join([b"first", b"", b"third"]))
    home.settle()
    assert client.ready and home.master.data[client.id] == [b"first", b"", b"third"]
    assert [stage.line for stage in made if isinstance(stage, Line)] == [b"a", b"", b"ccc"]


def test_cut_at_every_byte(make: MakeWorld):
    home = make()
    lines = lane(Shift, lambda: Line("two"), lambda: Line("three", 448))
    stream = b"shift\n" + shift(b"second\nthird\n" + HELLO + join([b"first"]))
    for cut in range(len(stream) + 1):
        client = Listener(home, lane=lines)
        client.write(stream[:cut])
        home.settle()
        client.write(stream[cut:])
        home.settle()
        assert home.master.data[cut + 1] == [b"first"], cut


def test_one_byte_at_a_time(make: MakeWorld):
    home = make()
    client = Client(home, lane=lane(lambda: Line("one"), lambda: Line("two")))
    for byte in b"first\nsecond\n" + HELLO + join([b"data"]):
        client.write(bytes([byte]))
        home.loop.turn(0)
        client.pump()
    home.settle()
    assert home.master.data[client.id] == [b"data"]


# ---- what a stage does


def test_a_stage_answers_before_the_handshake_does(make: MakeWorld):
    home = make()
    greeting = lane(lambda: Line("one", answer=b"first "), lambda: Line("two", answer=b"second "))
    client = Listener(home, lane=greeting)
    client.write(b"a\n")
    home.settle()
    assert client.heard == b"first "
    client.write(b"b\n" + HELLO)
    home.settle()
    assert client.heard.startswith(b"first second \x23\0\0\0\x02") and home.connected() == 1


def test_a_stage_speaks_first(make: MakeWorld):
    """When it is its turn, and not before."""
    home = make()
    client = Listener(home, lane=lane(lambda: First("one", answer=b"hello "), lambda: First("two", answer=b"again ")))
    home.settle()
    assert client.heard == b"hello "
    client.write(b"a\n")
    home.settle()
    assert client.heard == b"hello again "
    client.write(b"b\n" + HELLO)
    home.settle()
    assert client.heard.startswith(b"hello again \x23\0\0\0\x02") and home.connected() == 1


def test_nobody_is_spoken_to_before_its_proxy_has_spoken(make: MakeWorld):
    home = make(PROXIED)
    client = Listener(home, lane=lane(lambda: First("one", answer=b"hello ")), address=PROXY)
    home.settle()
    assert client.heard == b""
    client.write(HEADER)
    home.settle()
    assert client.heard == b"hello "


def test_what_is_unsent_goes_out_when_there_is_room(make: MakeWorld):
    """Though nothing is read meanwhile; and a stage that waited for that is asked again."""

    class Patient(Stage):
        def go_on(self, newcomer: Newcomer) -> bool:
            return not newcomer.unsent

    home = make()
    client = Listener(home, lane=lane(lambda: First("one", answer=b"x" * 1_000_000), Patient, Shift))
    client.reading = False
    client.write(b"a\n")
    home.settle()
    (arrival,) = home.server.arrivals._all.items()
    assert isinstance(arrival.stage, Patient)
    client.reading = True
    home.settle()
    assert client.heard == b"x" * 1_000_000 and isinstance(arrival.stage, Shift)
    client.write(b"shift\n" + shift(HELLO))
    home.settle()
    assert client.heard[1_000_000:].startswith(b"clear\n" + shift(b"shifted\n\x23\0\0\0\x02"))


def test_answers_wait_for_room_in_the_socket(make: MakeWorld):
    """None overtakes another, and none is lost on the way to the session."""
    home = make()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    filler = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filler += theirs.send(b"x" * 1000)
    speaking = lane(lambda: Line("one", answer=b"first "), lambda: Line("two", answer=b"second ")).LANE
    home.server.arrivals.accept(theirs, "", None, speaking, None)
    for words in (b"a\n", b"b\n", HELLO, join([b"data"])):
        ours.send(words)
        home.settle()
    home.master.send(1, b"down")
    home.settle()
    received = b""
    for _ in range(1000):
        home.settle()
        with contextlib.suppress(BlockingIOError):
            received += ours.recv(1 << 20)
    received = received[filler:]
    assert received.startswith(b"first second \x23\0\0\0\x02") and received.endswith(join([b"down"]))
    assert home.master.data[1] == [b"data"]
    ours.close()
    home.settle()


def test_another_socket_in_place_of_the_first(make: MakeWorld):
    """Everything behind it goes through that: the next stage, the handshake, the session, and a farewell."""
    home = make()
    shifting = lane(lambda: Line("one"), Shift, lambda: Line("two", answer=b"clear again\n"))
    client = Listener(home, lane=shifting)
    client.write(b"a\n")
    home.settle()
    client.write(b"shift\n" + shift(b"line\n" + HELLO + join([b"up", bytes(100_000)])))
    home.settle()
    assert home.master.data[1] == [b"up", bytes(100_000)]
    home.master.send(1, b"down", bytes(100_000))
    home.settle()
    heard, behind = client.heard[:6], shift(client.heard[6:])
    assert heard == b"clear\n" and behind.startswith(b"shifted\nclear again\n\x23\0\0\0\x02")
    assert behind.endswith(join([b"down", bytes(100_000)]))
    (connection,) = home.server.clients.connections
    assert isinstance(connection.sock, Shifted)
    client.cut()
    home.settle()
    assert set(closed(home)) <= BY_PEER and home.connected() == 0


def test_a_farewell_goes_through_another_socket(make: MakeWorld):
    home = make({"clients.handshake_secs": 5})
    client = Listener(home, lane=lane(Shift, lambda: Line("two", bye=b"bye ")))
    client.write(b"shift\n" + shift(b"a part"))
    home.pass_(6)
    assert client.ended and client.heard == b"clear\n" + shift(b"shifted\nbye HANDSHAKE_TIMEOUT")


@pytest.mark.parametrize("size", [300, FIRST_QUANTUM, 300_000])
@pytest.mark.parametrize("ends", [False, True])
def test_loud_behind_a_stage(make: MakeWorld, size: int, ends: bool):
    """More than any read takes, all of it there before the first stage is asked: nothing more will be announced."""
    home = make()
    client = Client(home, lane=lane(lambda: Line("one"), lambda: Line("two", 448)))
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    payloads = [*numbered(size // 100, 92), b"last"]
    client.write(b"a\nb\n" + HELLO + join(payloads))
    assert not client.waiting
    if ends:
        client.sock.shutdown(socket.SHUT_WR)
    home.settle()
    assert home.master.data[client.id] == payloads and home.connected() == (not ends)
    assert closed(home) == ({CloseReason.PEER_CLOSED: 1} if ends else {})


def test_a_stage_does_not_keep_others_waiting(make: MakeWorld):
    """Who says much to a stage has a turn for each read, as everybody else in the line has."""
    home = make()
    endless, made = keep(lambda: Line("one", 10))
    loud = Client(home, lane=endless)
    loud.write(b"x" * 20_000)
    quiet = home.start_new()
    turns = 0
    while not quiet.ready:
        home.loop.turn(0)
        home.pump()
        turns += 1
    assert turns < 10 and made[0].calls < 20_000 // 10
    home.settle()
    assert made[0].line == b"x" * 20_000


# ---- how long it may take


def test_all_stages_together_have_one_deadline(make: MakeWorld):
    home = make({"clients.handshake_secs": 10})
    talk = Talk(home)
    lines = lane(lambda: Line("one"), lambda: Line("two"))
    clients = [Client(home, lane=lines) for _ in range(5)]
    for client in clients[1:]:
        client.write(b"a\n")
    home.pass_(4)
    for client in clients[2:]:
        client.write(b"b\n")
    home.pass_(4)
    clients[3].say(ProtocolVersion(2))
    clients[4].write(HELLO)
    home.pass_(1.5)
    assert talk.ends == [] and clients[4].ready
    home.pass_(0.6, step=0.05)
    assert [client.ended for client in clients] == [True] * 4 + [False]
    assert closed(home) == {CloseReason.HANDSHAKE_TIMEOUT: 4}
    assert [detail for _, detail in talk.ends] == [
        "waited for the line one",
        "waited for the line two",
        "waited for a first message",
        "waited for PubKey or ClientId",
    ]


def test_a_stage_may_have_a_reason_of_its_own(make: MakeWorld):
    class Late(Line):
        late = CloseReason.IDLE

    home = make({"clients.handshake_secs": 5})
    talk = Talk(home)
    Client(home, lane=lane(lambda: Late("one")))
    other = Client(home, lane=lane(lambda: Late("one"), lambda: Line("two")))
    other.write(b"a\n")
    home.pass_(6)
    assert talk.ends == [
        (CloseReason.IDLE, "waited for the line one"),
        (CloseReason.HANDSHAKE_TIMEOUT, "waited for the line two"),
    ]


def test_a_farewell_at_every_end(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    """That of the stage in which it ends, and of no other; it is the framing's in the handshake."""
    monkeypatch.setattr(LengthPrefix, "farewell", lambda self, reason: b"framing's " + reason.name.encode())
    home = make({"clients.handshake_secs": 5})
    lines = lane(lambda: Line("one", bye=b"one's "), lambda: Line("two", bye=b"two's "))
    clients = [Listener(home, lane=lines) for _ in range(4)]
    for client, said in zip(clients, [b"", b"a\n", b"a\nb\n", b"a\nb\n" + frame(b"\x09")]):
        client.write(said)
    home.settle()
    assert [client.heard for client in clients] == [b"", b"", b"", b"framing's MALFORMED_PACKET"]
    home.pass_(6)
    assert all(client.ended for client in clients)
    assert [client.heard for client in clients[:3]] == [
        b"one's HANDSHAKE_TIMEOUT",
        b"two's HANDSHAKE_TIMEOUT",
        b"framing's HANDSHAKE_TIMEOUT",
    ]


def test_the_end_of_the_server_is_told_too(make: MakeWorld):
    home = make()
    clients = [Listener(home, lane=lane(lambda: Line("one", bye=b"bye "))) for _ in range(2)]
    home.settle()
    home.server.arrivals.close()
    home.settle()
    assert all(client.ended and client.heard == b"bye SHUTDOWN" for client in clients)


def test_a_farewell_does_not_cut_what_was_said_before(make: MakeWorld):
    """What is written in part has to be whole before anything else: a peer could not tell the one from the other."""
    home = make()
    chatty = lane(lambda: Line("one", answer=b"x" * 1_000_000), lambda: Line("two", bye=b"bye"))
    client = Listener(home, lane=chatty)
    client.reading = False
    client.write(b"a\n")
    home.settle()
    client.read()  # there is room in its socket, which nobody knows yet
    home.server.arrivals.close()
    home.loop.turn(0)
    client.read()
    assert client.ended and 0 < len(client.heard) < 1_000_000 and set(client.heard) == {ord("x")}


# ---- what goes wrong


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MalformedPacket("that is none"), CloseReason.MALFORMED_PACKET),
        (UnexpectedPacket("that is none"), CloseReason.UNEXPECTED_PACKET),
        (OSError("that is none"), CloseReason.PEER_LOST),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, CloseReason) else "",
)
def test_a_peers_error_closes_it_with_its_reason(make: MakeWorld, error: Exception, reason: CloseReason):
    def refuse(newcomer: Newcomer) -> None:
        raise error

    home = make()
    talk = Talk(home)
    refusing, made = keep(lambda: Line("one"), lambda: Refusing(refuse, b"no: "), lambda: Line("never"))
    bad, other = Listener(home, lane=refusing), Client(home, lane=refusing)
    bad.write(b"a\nb\n" + HELLO)
    home.settle()
    assert bad.ended and bad.heard == b"no: " + reason.name.encode() and not other.ended
    assert talk.ends == [(reason, "that is none")] and closed(home) == {reason: 1} and home.loop.bugs == []
    assert [stage.name for stage in made] == ["one", "one", "refused"], "nothing comes behind it"


def test_an_error_of_ours_costs_one_connection(make: MakeWorld):
    home = make()
    talk = Talk(home)
    broken = lane(lambda: Line("one"), lambda: Refusing(lambda newcomer: 1 / 0, b"sorry: "))
    clients = [Listener(home, lane=broken) for _ in range(3)]
    for client in clients[:2]:
        client.write(b"a\n")
    home.settle()
    clients[0].write(b"b\n")
    home.settle()
    assert [client.ended for client in clients] == [True, False, False]
    assert clients[0].heard == b"sorry: INTERNAL_ERROR" and [type(bug) for bug in home.loop.bugs] == [ZeroDivisionError]
    assert [reason for reason, _ in talk.ends] == [CloseReason.INTERNAL_ERROR]
    home.loop.bugs.clear()
    assert not home.new().ended


@pytest.mark.parametrize("what", ["stage", "framing"])
def test_an_error_of_ours_in_making_what_comes_next(make: MakeWorld, what: str):
    """It is the one before it that ends then, with its farewell."""
    home = make()
    row = Lane("test", LengthPrefix, (lambda: Line("one", bye=b"bye "),))
    if what == "stage":
        row = row._replace(stages=(*row.stages, lambda: 1 / 0))  # type: ignore[arg-type, return-value]
    else:
        row = row._replace(framing=lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    client = Listener(home, lane=SimpleNamespace(LANE=row, Speaker=tcp.Speaker))  # type: ignore[arg-type]
    client.write(b"a\n")
    home.settle()
    assert client.ended and client.heard == b"bye INTERNAL_ERROR" and closed(home) == {CloseReason.INTERNAL_ERROR: 1}
    assert len(home.loop.bugs) == 1 and home.connected() == 0
    home.loop.bugs.clear()


class Broken(Line):
    def begin(self, newcomer: Newcomer) -> None:
        raise MalformedPacket("that is none")


@pytest.mark.parametrize("said", [b"", b"a\n" + HELLO], ids=["silent", "all"])
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (Lane("no stage", LengthPrefix, (lambda: 1 / 0,)), CloseReason.INTERNAL_ERROR),  # type: ignore[arg-type, return-value]
        (Lane("no framing", lambda: 1 / 0), CloseReason.INTERNAL_ERROR),  # type: ignore[arg-type, return-value]
        (Lane("no beginning", LengthPrefix, (lambda: Broken("one"),)), CloseReason.MALFORMED_PACKET),
        (Lane("no peer", LengthPrefix, (lambda: First("one", answer=b"hello "),)), CloseReason.PEER_LOST),
    ],
    ids=lambda value: value.name if isinstance(value, Lane) else "",
)
def test_an_error_where_a_connection_comes_in(make: MakeWorld, row: Lane, reason: CloseReason, said: bytes):
    """Before anything was heard of it: it is closed and counted out as any other, and whoever accepts hears nothing."""
    home = make({"limits.address_connections": 5})
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours:
        ours.send(said)
        if row.name == "no peer":
            ours.close()  # before it is spoken to
        home.server.gate.accept(theirs, ("192.0.2.1", 5000), row)
        home.settle()
        assert theirs.fileno() == -1 and closed(home) == {reason: 1} and home.server.counters.accepted == 1
        assert len(home.loop.bugs) == (reason is CloseReason.INTERNAL_ERROR)
        home.loop.bugs.clear()
    assert not home.new().ended


def test_an_error_of_ours_at_the_deadline(make: MakeWorld):
    """Those who are due with it are closed all the same."""

    class Nameless(Line):
        @property
        def waits_for(self) -> str:
            raise ZeroDivisionError

    home = make({"clients.handshake_secs": 5})
    clients = [Client(home, lane=lane(lambda: Nameless("one"))), Client(home), Client(home)]
    home.pass_(6)
    assert all(client.ended for client in clients) and len(home.loop.bugs) == 1
    assert closed(home) == {CloseReason.INTERNAL_ERROR: 1, CloseReason.HANDSHAKE_TIMEOUT: 2}
    home.loop.bugs.clear()


def test_a_stage_that_gives_it_up(make: MakeWorld):
    home = make()
    talk = Talk(home)
    refusing = lane(lambda: Refusing(lambda newcomer: newcomer.close(CloseReason.EXPELLED, "not you"), b"no: "))
    client = Listener(home, lane=refusing)
    client.write(b"a\n" + HELLO)
    home.settle()
    assert client.ended and client.heard == b"no: EXPELLED" and talk.ends == [(CloseReason.EXPELLED, "not you")]


# ---- an end


SAID = [b"", b"a", b"a\n", b"a\nb", b"a\nb\n", b"a\nb\n" + HELLO[:7], b"a\nb\n" + HELLO]
BEHIND = [b"", b"li", b"line\n", b"line\n" + HELLO[:40], b"line\n" + HELLO + join([b"up"])]


@pytest.mark.parametrize("said", SAID, ids=len)
@pytest.mark.parametrize("whole", [False, True], ids=["half", "whole"])
@pytest.mark.parametrize("most", [1, 3, 448])
def test_an_end_announced_together_with_data(make: MakeWorld, said: bytes, whole: bool, most: int):
    """There is one event for both, and there will be none for the end alone."""
    home = make()
    client = Client(home, lane=lane(lambda: Line("one", most), lambda: Line("two", most)))
    client.write(said)
    if whole:
        client.cut()
    else:
        client.sock.shutdown(socket.SHUT_WR)
    home.settle()
    assert home.connected() == 0 and sum(closed(home).values()) == 1
    assert set(closed(home)) <= (BY_PEER if whole else {CloseReason.PEER_CLOSED})
    assert len(home.server.registry.sessions) == said.endswith(HELLO)


@pytest.mark.parametrize("behind", BEHIND, ids=len)
def test_an_end_behind_another_socket(make: MakeWorld, behind: bytes):
    home = make()
    client = Listener(home, lane=lane(Shift, lambda: Line("two")))
    client.write(b"shift\n" + shift(behind))
    client.sock.shutdown(socket.SHUT_WR)
    home.settle()
    assert client.ended and home.connected() == 0 and closed(home) == {CloseReason.PEER_CLOSED: 1}
    assert dict(home.master.data) == ({1: [b"up"]} if behind.endswith(join([b"up"])) else {})


# ---- behind a proxy


def test_a_proxy_comes_first_with_a_time_of_its_own(make: MakeWorld):
    home = make({"clients.handshake_secs": 10, "listener.proxy_secs": 3, **PROXIED})
    talk, counters = Talk(home), home.server.counters
    lines, made = keep(lambda: Line("one", bye=b"bye "), lambda: Line("two", bye=b"bye "))
    clients = [Listener(home, lane=lines, address=PROXY) for _ in range(3)]
    silent, named, done = clients
    assert counters.accepted == 0 and made == [], "nobody has come yet"
    named.write(HEADER[:-1])
    home.pass_(2)
    assert counters.accepted == 0
    named.write(HEADER[-1:])
    home.settle()
    assert counters.accepted == 1
    done.write(HEADER + b"a\nb")
    home.settle()
    assert counters.accepted == 2 and [stage.line for stage in made] == [b"", b"a", b"b"]
    home.pass_(1.2, step=0.05)
    assert silent.ended and silent.heard == b"", "whatever a proxy understands, it is no farewell of a stage"
    assert talk.ends == [(CloseReason.PROXY_TIMEOUT, "waited for its PROXY header")]
    done.write(b"\n" + HELLO)
    home.pass_(6.2)
    assert not named.ended, "it has the time of all stages, ..."
    home.pass_(0.8, step=0.05)
    assert named.ended and named.heard == b"bye HANDSHAKE_TIMEOUT", "... counted from when it came"
    assert talk.ends[1:] == [(CloseReason.HANDSHAKE_TIMEOUT, "waited for the line one")]
    assert (
        counters.accepted == 2 and home.connected() == 1 and home.server.clients.connections[0].peer == "192.0.2.1:5000"
    )


def test_all_in_one_write_behind_a_proxy(make: MakeWorld):
    home = make(PROXIED)
    client = Client(home, lane=lane(lambda: Line("one"), Nothing, lambda: Line("two")), address=PROXY)
    client.write(HEADER + b"a\nb\n" + HELLO + join([b"up"]))
    home.settle()
    assert client.ready and home.master.data[client.id] == [b"up"] and home.server.counters.accepted == 1


@pytest.mark.parametrize(
    ("said", "accepted"), [(b"", 0), (HEADER[:9], 0), (HEADER, 1), (HEADER + b"a", 1), (HEADER + b"a\n", 1)]
)
def test_an_end_behind_a_proxy(make: MakeWorld, said: bytes, accepted: int):
    home = make(PROXIED)
    talk = Talk(home)
    client = Client(home, lane=lane(lambda: Line("one")), address=PROXY)
    client.write(said)
    client.sock.shutdown(socket.SHUT_WR)
    home.settle()
    assert home.connected() == 0 and home.server.counters.accepted == accepted
    assert talk.ends == [(CloseReason.PEER_CLOSED, "" if accepted else "before its PROXY header")]
