"""Connecting: refusals, backoff, time limits, and what counts as a connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Callable

import pytest
from kit.handlers import POLLERS, Loop

from voltlane.address import Address, parse_address
from voltlane.net import dialer as dialer_module
from voltlane.net.dialer import ATTEMPT_SECS, Backoff, Dialer
from voltlane.net.reactor import TICK

SHORTEST, LONGEST = 0.1, 5.0


class Caller:
    """A dialer in a loop, and what it told."""

    def __init__(self, poller: type, *addresses: Address) -> None:
        self.loop = Loop(poller)
        self.connected: list[socket.socket] = []
        self.failures: list[tuple[str, float]] = []
        self.chosen: list[Address] = []
        self.failed: list[Address] = []
        self.dialer = Dialer(
            self.loop,
            addresses,
            Backoff(SHORTEST, LONGEST),
            self._on_connect,
            self._on_failure,
        )

    def _on_connect(self, sock: socket.socket, address: Address) -> None:
        self.connected.append(sock)
        self.chosen.append(address)

    def _on_failure(self, address: Address, why: str, seconds: float) -> None:
        self.failures.append((why, seconds))
        self.failed.append(address)

    def until_connected(self, count: int = 1) -> None:
        self.loop.until(lambda: len(self.connected) == count, "a connection")

    def until_failed(self, count: int = 1) -> None:
        self.loop.until(lambda: len(self.failures) >= count, "a failure")

    def lose(self) -> None:
        """The connection is lost: its owner dials again."""
        self.connected[-1].close()
        self.dialer.start()

    def close(self) -> None:
        self.dialer.stop()
        for sock in self.connected:
            sock.close()
        self.loop.spin(1)
        self.loop.close()
        assert self.loop.bugs == [] and self.loop.watched == 0 and self.loop.timers == 0


@pytest.fixture(params=POLLERS, ids=lambda poller: poller.__name__)
def poller(request: pytest.FixtureRequest) -> type:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def caller(poller: type, server: socket.socket) -> Iterator[Caller]:
    made = Caller(poller, Address("tcp", *server.getsockname(), ""))
    yield made
    made.close()


@pytest.fixture
def refused(poller: type) -> Iterator[Caller]:
    """Nobody listens there: the port is bound, so that nobody else will."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        made = Caller(poller, Address("tcp", *sock.getsockname(), ""))
        yield made
        made.close()


def test_a_connection(caller: Caller, server: socket.socket):
    caller.dialer.start()
    caller.until_connected()
    assert caller.connected[0].gettimeout() == 0.0, "non-blocking"
    assert caller.loop.timers == 0 and caller.loop.watched == 0, "the socket is its new owner's"
    peer, _ = server.accept()
    with peer:
        peer.sendall(b"hello")
        caller.connected[0].setblocking(True)
        assert caller.connected[0].recv(5) == b"hello"


def test_refused_again_and_again_with_backoff(refused: Caller):
    refused.dialer.start()
    refused.until_failed()
    for count in range(1, 10):
        why, wait = refused.failures[-1]
        assert "refused" in why.lower()
        longest = min(LONGEST, SHORTEST * 2 ** (count - 1))
        assert longest / 2 <= wait <= longest
        refused.loop.spin(3)
        assert len(refused.failures) == count, "not before its time"
        refused.loop.clock.pass_(wait + TICK)
        refused.until_failed(count + 1)


def test_it_connects_when_there_is_somebody(poller: type):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        caller = Caller(poller, Address("tcp", *sock.getsockname(), ""))
        caller.dialer.start()
        caller.until_failed(1)
        sock.listen()
        caller.loop.clock.pass_(LONGEST)
        caller.until_connected()
        caller.close()


def test_a_connection_that_did_not_last_is_followed_by_a_wait(caller: Caller):
    """A master that accepts and closes must not be connected to in a tight loop."""
    caller.dialer.start()
    waits = []
    for count in range(1, 9):
        caller.until_connected(count)
        caller.lose()
        assert len(caller.failures) == count
        why, wait = caller.failures[-1]
        assert why == "the connection did not last"
        waits.append(wait)
        caller.loop.spin(3)
        assert len(caller.connected) == count
        caller.loop.clock.pass_(wait + TICK)
    longest = [min(LONGEST, SHORTEST * 2**n) for n in range(8)]
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, longest))
    caller.until_connected(9)
    caller.loop.clock.pass_(LONGEST + 1)
    caller.loop.spin()
    caller.lose()
    assert len(caller.failures) == 8, "one that lasted is followed at once"
    caller.until_connected(10)
    caller.lose()
    assert caller.failures[-1][1] <= SHORTEST, "and the backoff begins anew"


def test_no_answer_in_time(poller: type):
    """A listener whose queue is full lets further connections hang: the system just does not answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        caller = Caller(poller, Address("tcp", *server.getsockname(), ""))
        caller.dialer.start()
        caller.loop.turn(0.2)
        if caller.connected:
            caller.close()
            pytest.skip("this system's queue has no end")
        assert caller.failures == []
        caller.loop.pass_(ATTEMPT_SECS + 2 * TICK)
        assert [why for why, _ in caller.failures] == ["no answer within 5 s"]
        caller.close()


def test_a_socket_that_was_connected_to_itself_is_no_connection(caller: Caller, monkeypatch: pytest.MonkeyPatch):
    """While nobody listens on a port of the ephemeral range, a dialer is given that very port sooner or later."""
    begin = caller.dialer._begin

    def begin_with_our_own_port(address: Address) -> socket.socket:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        sock.connect_ex(sock.getsockname())
        return sock

    monkeypatch.setattr(caller.dialer, "_begin", begin_with_our_own_port)
    caller.dialer.start()
    caller.until_failed()
    assert caller.connected == [] and caller.failures[0][0] == "nobody listens there but ourselves"
    monkeypatch.setattr(caller.dialer, "_begin", begin)
    caller.loop.clock.pass_(1)
    caller.until_connected()


def test_stopping(refused: Caller, caller: Caller):
    refused.dialer.start()
    refused.until_failed()
    refused.dialer.stop()
    refused.loop.pass_(20)
    assert len(refused.failures) == 1
    caller.dialer.start()
    caller.dialer.stop()
    caller.dialer.stop()
    caller.loop.spin()
    assert caller.connected == [] and caller.loop.timers == 0 and caller.loop.watched == 0


# ---- several addresses in order


class Peers:
    """Addresses of our own: some with a listener, the others refuse."""

    def __init__(self, listening: str) -> None:
        self.stack = ExitStack()
        self.socks = [self.stack.enter_context(socket.socket()) for _ in listening]
        for sock, word in zip(self.socks, listening):
            sock.bind(("127.0.0.1", 0))
            if word == "+":
                sock.listen()
        self.addresses = [Address("tcp", *sock.getsockname(), "") for sock in self.socks]


@pytest.fixture
def peers() -> Iterator[Callable[[str], Peers]]:
    with ExitStack() as stack:

        def make(listening: str) -> Peers:
            made = Peers(listening)
            stack.enter_context(made.stack)
            return made

        yield make


@pytest.mark.parametrize(("listening", "chosen"), [("+++", 0), ("-++", 1), ("--+", 2), ("+-+", 0)])
def test_the_first_that_answers_is_chosen(poller: type, peers: Callable[[str], Peers], listening: str, chosen: int):
    there = peers(listening)
    caller = Caller(poller, *there.addresses)
    caller.dialer.start()
    caller.until_connected()
    assert caller.chosen == [there.addresses[chosen]]
    assert caller.failed == there.addresses[:chosen]
    assert [seconds for _, seconds in caller.failures] == [0.0] * chosen, "no wait between the addresses of a round"
    caller.close()


def test_the_wait_is_between_rounds(poller: type, peers: Callable[[str], Peers]):
    there = peers("---")
    caller = Caller(poller, *there.addresses)
    caller.dialer.start()
    for rounds in range(1, 6):
        caller.until_failed(3 * rounds)
        assert caller.failed[-3:] == there.addresses
        *between, wait = [seconds for _, seconds in caller.failures[-3:]]
        longest = min(LONGEST, SHORTEST * 2 ** (rounds - 1))
        assert between == [0.0, 0.0] and longest / 2 <= wait <= longest
        caller.loop.spin(3)
        assert len(caller.failures) == 3 * rounds
        caller.loop.clock.pass_(wait + TICK)
    caller.close()


def test_the_first_is_the_first_to_be_tried_again(poller: type, peers: Callable[[str], Peers]):
    """After a connection that lasted, whichever it was made to."""
    there = peers("-+")
    caller = Caller(poller, *there.addresses)
    caller.dialer.start()
    caller.until_connected(1)
    there.socks[0].listen()
    caller.loop.clock.pass_(LONGEST + 1)
    caller.loop.spin()
    assert len(caller.connected) == 1, "the one that is there is not left for a better one"
    caller.lose()
    caller.until_connected(2)
    assert caller.chosen == [there.addresses[1], there.addresses[0]]
    caller.close()


def test_one_that_did_not_last_is_tried_last(poller: type, peers: Callable[[str], Peers]):
    there = peers("++")
    caller = Caller(poller, *there.addresses)
    caller.dialer.start()
    for count in range(1, 5):
        caller.until_connected(count)
        caller.lose()
        caller.loop.clock.pass_(caller.failures[-1][1] + TICK)
    assert caller.chosen == [*there.addresses, *there.addresses], "turn by turn, with waits"
    assert caller.failed == caller.chosen
    caller.dialer.stop()
    caller.close()


def test_one_that_is_distrusted_is_tried_last(poller: type, peers: Callable[[str], Peers]):
    """However long it lasted: its host answers, and the master on it does not."""
    there = peers("++")
    caller = Caller(poller, *there.addresses)
    caller.dialer.start()
    caller.until_connected(1)
    caller.loop.clock.pass_(LONGEST + 1)
    caller.loop.spin()
    caller.connected[-1].close()
    caller.dialer.start(distrust=True)
    caller.until_connected(2)
    assert caller.chosen == there.addresses and caller.failures == []
    caller.close()


def test_one_whose_socket_fails_as_it_is_taken_over_is_followed_by_the_next(
    poller: type, peers: Callable[[str], Peers], monkeypatch: pytest.MonkeyPatch
):
    there = peers("++")
    caller = Caller(poller, *there.addresses)
    take = caller.dialer._on_connect

    def fail_once(sock: socket.socket, address: Address) -> None:
        if not caller.failures:
            raise OSError(28, "no watches left")
        take(sock, address)

    monkeypatch.setattr(caller.dialer, "_on_connect", fail_once)
    caller.dialer.start()
    caller.until_connected()
    assert caller.failures == [("no watches left", 0.0)] and caller.chosen == there.addresses[1:]
    caller.close()


def test_stopping_between_the_addresses_of_a_round(poller: type, peers: Callable[[str], Peers]):
    there = peers("-+")
    caller = Caller(poller, *there.addresses)
    caller.dialer._on_failure = lambda *_: caller.dialer.stop()
    caller.dialer.start()
    caller.loop.spin()
    assert caller.connected == [] and caller.loop.timers == 0
    caller.close()


# ---- addresses


def test_a_name_that_cannot_be_resolved(poller: type, monkeypatch: pytest.MonkeyPatch):
    def unknown(address: Address) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(dialer_module, "resolve", unknown)
    caller = Caller(poller, Address("tcp", "no.such.host", 1, ""))
    caller.dialer.start()
    assert [why for why, _ in caller.failures] == ["Name or service not known"] and caller.loop.timers == 1
    caller.close()


def test_names_with_several_addresses_are_tried_in_turn(poller: type, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        both = [(socket.AF_INET, bound.getsockname()), (socket.AF_INET, server.getsockname())]
        monkeypatch.setattr(dialer_module, "resolve", lambda address: both)
        caller = Caller(poller, Address("tcp", "two.addresses", 1, ""))
        caller.dialer.start()
        caller.until_failed()
        caller.loop.clock.pass_(LONGEST)
        caller.until_connected()
        caller.close()


def test_a_unix_socket(poller: type, tmp_path: Path):
    path = str(tmp_path / "master")
    caller = Caller(poller, parse_address(f"unix:{path}"))
    caller.dialer.start()
    assert len(caller.failures) == 1, "there is no such file"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        caller.loop.clock.pass_(1)
        caller.until_failed(2)
        server.listen()
        caller.loop.clock.pass_(1)
        caller.until_connected()
        assert len(caller.failures) == 2
    caller.close()


def test_a_unix_socket_whose_queue_is_full_is_no_connection(poller: type, tmp_path: Path):
    path = str(tmp_path / "master")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        queue = []
        for _ in range(20):
            queue.append(socket.socket(socket.AF_UNIX))
            queue[-1].setblocking(False)
            if queue[-1].connect_ex(path):
                break
        else:
            pytest.skip("this system's queue has no end")
        caller = Caller(poller, parse_address(f"unix:{path}"))
        caller.dialer.start()
        caller.loop.spin()
        assert caller.connected == [] and len(caller.failures) == 1
        for sock in queue:
            sock.close()
        caller.close()


def test_a_path_that_is_too_long(poller: type):
    caller = Caller(poller, Address("unix", "", 0, "/" + "x" * 200))
    caller.dialer.start()
    assert "too long" in caller.failures[0][0]
    caller.close()


def test_no_descriptor_to_dial_with(poller: type, monkeypatch: pytest.MonkeyPatch):
    """Out of descriptors is a failure like any other: it is tried again."""
    caller = Caller(poller, Address("tcp", "127.0.0.1", 9, ""))

    def no_socket(*_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(dialer_module.socket, "socket", no_socket)
    caller.dialer.start()
    monkeypatch.undo()
    assert caller.failures[0][0] == "Too many open files" and caller.loop.timers == 1
    caller.close()


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.999])
def test_backoff(fraction: float):
    backoff = Backoff(0.1, 5.0)
    waits = [backoff.wait(failures, lambda: fraction) for failures in (1, 2, 3, 6, 7, 50, 10_000)]
    assert waits == pytest.approx([most * (1 - fraction / 2) for most in (0.1, 0.2, 0.4, 3.2, 5.0, 5.0, 5.0)])
