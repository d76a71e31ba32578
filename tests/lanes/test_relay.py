"""A connection that stays here, and what is in it goes through a joint to somebody else."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from kit.handlers import POLLERS, Loop

from voltlane.lanes.fairness.turns import Turns
from voltlane.lanes.relay import LAST_SECS, READ, Relays
from voltlane.net.joint import Outer
from voltlane.net.sockets import half_close, reset_on_close

Ends = SimpleNamespace
"""loop, relays, client (the peer's socket), home (the outer end)."""


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    for sock in (ours, theirs):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


@pytest.fixture(params=POLLERS, ids=lambda poller: poller.__name__)
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    loop = Loop(request.param)
    relays = Relays(loop, Turns(loop, lambda crowded: None))
    client, theirs = connected()
    home = relays.begin(theirs, b"", False)
    yield Ends(loop=loop, relays=relays, client=client, home=home)
    relays.close()
    client.close()
    home.close()
    loop.spin()
    loop.expect_clean()


def pump(ends: Ends, source: socket.socket, target: socket.socket, data: bytes, most: int = 1 << 30) -> bytes:
    """What has come at the target of that, at most so much of it."""
    got = b""
    for _ in range(200_000):
        ends.loop.turn(0)
        if data:
            try:
                data = data[source.send(data[:100_000]) :]
            except BlockingIOError:
                pass
        if len(got) < most:
            try:
                received = target.recv(1 << 16)
            except BlockingIOError:
                if not data:
                    ends.loop.turn(0.001)
                continue
            if not received:
                break
            got += received
        if not data and len(got) >= min(most, 1 << 30):
            break
    return got


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_all_of_it_arrives(ends: Ends, up: bool):
    data = random.Random(1).randbytes(3_000_000)
    source, target = (ends.client, ends.home) if up else (ends.home, ends.client)
    assert pump(ends, source, target, data, len(data)) == data


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_who_is_not_read_is_waited_for(ends: Ends, up: bool):
    """What is held here is one read; the other way goes on meanwhile."""
    source, target = (ends.client, ends.home) if up else (ends.home, ends.client)
    sent, quiet = 0, 0
    while quiet < 50:
        ends.loop.turn(0)
        try:
            sent += source.send(b"x" * 65536)
            quiet = 0
        except BlockingIOError:
            quiet += 1
    (relay,) = ends.relays.all
    held = len(relay.client.unsent) + len(relay.home.unsent)
    assert 0 < held <= READ
    assert pump(ends, target, source, b"back", 4) == b"back"
    got = 0
    while got < sent:
        ends.loop.turn(0)
        try:
            got += len(target.recv(1 << 16))
        except BlockingIOError:
            pass
    assert got == sent and not relay.client.unsent + relay.home.unsent


def until_end(ends: Ends, sock: socket.socket) -> bytes | None:
    """All that comes there; None where it ends with a reset."""
    got = b""
    for _ in range(5000):
        ends.loop.turn(0.001)
        try:
            data = sock.recv(1 << 16)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            return None
        if not data:
            return got
        got += data
    raise AssertionError("there is no end")


class TestEnds:
    def test_of_the_client(self, ends: Ends):
        """It says no more, but is still told something."""
        ends.client.send(b"last")
        ends.client.shutdown(socket.SHUT_WR)
        assert until_end(ends, ends.home) == b"last"
        ends.home.send(b"answer")
        half_close(ends.home)
        ends.home.close()
        assert until_end(ends, ends.client) == b"answer"
        ends.loop.spin()
        assert not ends.relays

    def test_of_the_other_process(self, ends: Ends):
        """It says no more, but still reads."""
        ends.home.send(b"last")
        ends.home.shutdown(socket.SHUT_WR)
        assert until_end(ends, ends.client) == b"last"
        ends.client.send(b"late")
        ends.client.shutdown(socket.SHUT_WR)
        assert until_end(ends, ends.home) == b"late"
        ends.home.close()
        ends.loop.pass_(3.0)
        assert not ends.relays

    def test_the_other_process_is_killed(self, ends: Ends):
        """Whatever the client says meanwhile, what was said to it arrives."""
        ends.home.send(b"last")
        ends.home.close()
        ends.client.send(b"more")
        assert until_end(ends, ends.client) == b"last"
        ends.loop.pass_(3.0)
        assert not ends.relays

    @pytest.mark.parametrize("resets", [True, False])
    def test_how_it_is_to_end(self, ends: Ends, resets: bool):
        reset_on_close(ends.home, not resets)
        ends.home.send(b"words")
        reset_on_close(ends.home, resets)
        ends.home.close()
        assert until_end(ends, ends.client) == (None if resets else b"words")
        ends.loop.pass_(3.0)
        assert not ends.relays

    def test_the_client_is_gone(self, ends: Ends):
        """A reset is an end to the other process; what it says then is nothing, but no error."""
        reset_on_close(ends.client)
        ends.client.close()
        assert until_end(ends, ends.home) == b""
        ends.home.send(b"too late")
        ends.home.close()
        ends.loop.pass_(3.0)
        assert not ends.relays

    def test_a_client_that_does_not_take_what_is_left_for_it(self, ends: Ends):
        quiet = 0
        while quiet < 50:
            ends.loop.turn(0)
            try:
                ends.home.send(b"x" * 65536)
                quiet = 0
            except BlockingIOError:
                quiet += 1
        ends.home.close()
        ends.loop.pass_(LAST_SECS - 3)
        assert len(ends.relays) == 1
        ends.loop.pass_(8)
        assert not ends.relays


def test_a_word_in_the_middle_of_bytes():
    """It is taken out where it stands, and what is behind it is not left unread."""
    loop = Loop()
    relays = Relays(loop, Turns(loop, lambda crowded: None))
    client, theirs = connected()
    home = relays.begin(theirs, b"first ", True)
    for number in range(50):
        home.send(b"%d " % number)
        reset_on_close(home, bool(number % 2))
    reset_on_close(home, False)
    assert type(home) is Outer and home.fileno() >= 0
    half_close(home)
    home.close()
    ends = Ends(loop=loop, relays=relays, client=client, home=home)
    assert until_end(ends, client) == b"first " + b"".join(b"%d " % number for number in range(50))
    client.close()
    loop.pass_(3.0)
    loop.expect_clean()
