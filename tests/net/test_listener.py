"""Accepting: what is accepted, how much a turn, and what happens when descriptors run out."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest
from kit.handlers import POLLERS, Loop

from voltlane.net.listener import ACCEPTS_PER_TURN, FIRST_BACKOFF, LONGEST_BACKOFF, Listener
from voltlane.net.reactor import TICK
from voltlane.reasons import CloseReason


class Injected:
    """A listening socket that fails as it is told to, and counts."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.failures: list[int] = []
        self.always: int | None = None
        self.accepts = 0
        self.family = sock.family

    def _accept(self) -> tuple[int, object]:
        self.accepts += 1
        code = self.failures.pop(0) if self.failures else self.always
        if code is not None:
            raise OSError(code, "injected")
        return self._sock._accept()  # type: ignore[attr-defined,no-any-return]

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


class Door:
    """A listener in a loop, the clients that knock, and what was accepted."""

    def __init__(self, poller: type) -> None:
        self.loop = Loop(poller)
        sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        sock.setblocking(False)
        self.address = sock.getsockname()
        self.sock = Injected(sock)
        self.accepted: list[socket.socket] = []
        self.came_from: list[object] = []
        self.pauses: list[tuple[int | None, float]] = []
        self.clients: list[socket.socket] = []
        self.listener = Listener(
            self.loop,
            self.sock,  # type: ignore[arg-type]
            self._accept,
            lambda error, seconds: self.pauses.append((error.errno, seconds)),
        )
        self.refuse: Exception | None = None

    def _accept(self, sock: socket.socket, address: object) -> None:
        if self.refuse is not None:
            error, self.refuse = self.refuse, None
            raise error
        self.accepted.append(sock)
        self.came_from.append(address)

    def knock(self, count: int = 1) -> None:
        for _ in range(count):
            self.clients.append(socket.create_connection(self.address))

    def until_accepted(self, count: int) -> None:
        self.loop.until(lambda: len(self.accepted) == count, f"{count} are accepted")

    def close(self) -> None:
        self.listener.close(CloseReason.SHUTDOWN)
        for sock in self.accepted + self.clients:
            sock.close()
        self.loop.spin(1)
        self.loop.close()


@pytest.fixture(params=POLLERS, ids=lambda poller: poller.__name__)
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    made = Door(request.param)
    yield made
    made.close()
    assert made.loop.watched == 0 and made.loop.timers == 0


def test_each_connection_non_blocking(door: Door):
    door.knock(3)
    door.until_accepted(3)
    assert not any(sock.getblocking() for sock in door.accepted)
    assert sorted(door.came_from) == sorted(sock.getsockname() for sock in door.clients)  # type: ignore[type-var]
    door.loop.spin()
    door.knock()
    door.until_accepted(4)


def test_who_came_before_the_loop_began(door: Door):
    door.knock(2)
    door.loop.spin(2)
    assert len(door.accepted) == 2


def test_only_so_many_a_turn(door: Door):
    """A crowd at the door must not keep those inside waiting, however often it is announced."""
    door.loop.spin()
    door.knock(4 * ACCEPTS_PER_TURN)
    most, turns = 0, 0
    while len(door.accepted) < 4 * ACCEPTS_PER_TURN and turns < 100:
        before = len(door.accepted)
        door.loop.turn(0.01)
        most = max(most, len(door.accepted) - before)
        if turns < 20:
            door.knock()  # each one is news, too
        turns += 1
    assert most <= 2 * ACCEPTS_PER_TURN, "one share at the event, one as a task"
    assert turns >= 2


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_out_of_descriptors(door: Door, code: int):
    """Not a spin but a pause, longer each time; nobody who waits is forgotten."""
    door.loop.spin()
    door.sock.always = code
    door.knock(2)
    door.loop.until(lambda: door.pauses, "the pause")
    accepts = door.sock.accepts
    door.knock()
    door.loop.spin(20)
    assert door.sock.accepts == accepts, "while it pauses it does not try, whoever knocks"
    door.loop.pass_(10)
    waits = [seconds for _, seconds in door.pauses]
    assert waits[:6] == [FIRST_BACKOFF * 2**n for n in range(5)] + [LONGEST_BACKOFF]
    assert door.sock.accepts <= accepts + len(door.pauses)
    assert {failed for failed, _ in door.pauses} == {code}
    door.sock.always = None
    door.loop.pass_(LONGEST_BACKOFF + 2 * TICK)
    assert len(door.accepted) == 3
    assert door.loop.timers == 0
    door.knock()
    door.until_accepted(4)
    door.sock.failures = [code]
    door.knock()
    door.loop.until(lambda: door.pauses[-1][1] == FIRST_BACKOFF, "backoff begins anew after a success")
    door.loop.pass_(1)
    assert len(door.accepted) == 5


def test_out_of_descriptors_in_the_middle_of_a_crowd(door: Door):
    door.loop.spin()
    door.knock(ACCEPTS_PER_TURN + 20)
    door.loop.turn(0.05)
    door.sock.failures = [errno.EMFILE]
    door.knock()
    door.loop.spin()
    assert door.loop.timers <= 1, "one pause at a time"
    door.sock.failures = []
    door.loop.pass_(1)
    assert len(door.accepted) == ACCEPTS_PER_TURN + 21


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM])
def test_one_that_was_gone_before_we_came(door: Door, code: int):
    door.loop.spin()
    door.sock.failures = [code] * 3
    door.knock(2)
    door.until_accepted(2)
    assert door.pauses == []


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EBADF, errno.EIO, errno.ECONNABORTED, errno.EPERM])
def test_what_does_not_pass_is_no_spin(door: Door, code: int):
    """Whatever it is: an error of our own socket at once, one of a single connection when nothing else comes."""
    door.loop.spin()
    door.sock.always = code
    door.knock()
    door.loop.until(lambda: door.pauses, "the pause")
    assert door.sock.accepts <= ACCEPTS_PER_TURN + 1
    door.loop.pass_(10)
    assert len(door.pauses) < 12 and door.pauses[-1] == (code, LONGEST_BACKOFF)
    door.sock.always = None
    door.loop.pass_(LONGEST_BACKOFF + 2 * TICK)
    door.until_accepted(1)


def test_a_socket_that_another_process_has_shut_down(door: Door):
    """Accepting from it fails at once, and for ever; or until somebody lets it listen again."""
    shared = door.sock._sock.dup()
    door.loop.spin()
    shared.shutdown(socket.SHUT_RDWR)
    door.loop.until(lambda: door.pauses, "the pause")
    door.loop.pass_(20)
    assert len(door.pauses) <= door.sock.accepts <= len(door.pauses) + 1 < 20
    assert {code for code, _ in door.pauses} == {errno.EINVAL}
    shared.listen()
    door.address = shared.getsockname()
    door.knock()
    door.loop.pass_(LONGEST_BACKOFF + 2 * TICK)
    door.until_accepted(1)
    shared.close()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no watches left"), KeyError("bug")], ids=["system", "bug"])
def test_one_that_cannot_be_taken_in_does_not_end_the_listening(door: Door, error: Exception):
    door.refuse = error
    door.knock(2)
    door.until_accepted(1)
    assert door.loop.bugs == [error]
    door.knock()
    door.until_accepted(2)


def test_closing_while_accepting(door: Door):
    door.knock(3)

    def accept(sock: socket.socket, address: object) -> None:
        door.accepted.append(sock)
        door.listener.close(CloseReason.SHUTDOWN)

    door.listener._on_accept = accept
    door.loop.spin()
    assert len(door.accepted) == 1 and door.loop.watched == 0 and door.loop.bugs == []


def test_closing_while_paused(door: Door):
    door.loop.spin()
    door.sock.always = errno.EMFILE
    door.knock()
    door.loop.until(lambda: door.pauses, "the pause")
    door.listener.close(CloseReason.SHUTDOWN)
    door.listener.close(CloseReason.SHUTDOWN)
    assert door.loop.timers == 0
    door.loop.pass_(5)
    assert door.accepted == []


def test_who_is_held_waits_in_the_kernel_and_comes_in_afterwards(door: Door):
    door.loop.spin()
    door.listener.hold(True)
    door.knock(3)
    door.loop.spin()
    assert door.accepted == []
    door.listener.hold(False)
    door.until_accepted(3)
    door.loop.spin()
    door.knock()
    door.until_accepted(4)


def test_holding_ends_the_accepting_of_this_turn(door: Door):
    door.loop.spin()
    take = door._accept
    door.listener._on_accept = lambda sock, address: (take(sock, address), door.listener.hold(True))  # type: ignore[method-assign]
    door.knock(3)
    door.loop.spin()
    assert len(door.accepted) == 1


def test_holding_leaves_them_in_the_queue(door: Door):
    door.loop.spin()
    door.listener.hold(True)
    door.knock(3)
    door.loop.spin()
    assert door.accepted == [] and door.sock.accepts <= 1
    door.listener.hold(False)
    door.until_accepted(3)
    door.knock()
    door.until_accepted(4)


def test_holding_while_accepting_stops_at_once(door: Door):
    def accept(sock: socket.socket, address: object) -> None:
        door.accepted.append(sock)
        if len(door.accepted) == 2:
            door.listener.hold(True)

    door.listener._on_accept = accept
    door.knock(5)
    door.loop.spin()
    assert len(door.accepted) == 2
    door.listener.hold(False)
    door.until_accepted(5)


@pytest.mark.parametrize("order", ["hold first", "pause first"])
def test_holding_and_pausing(door: Door, order: str):
    door.loop.spin()
    door.sock.always = errno.EMFILE
    door.knock(2)
    door.loop.until(lambda: door.pauses, "the pause")
    door.listener.hold(True)
    door.sock.always = None
    if order == "hold first":
        door.listener.hold(False)
        door.loop.spin()
        assert door.accepted == [], "the pause is not over"
        door.loop.pass_(1)
    else:
        door.loop.pass_(1)
        assert door.accepted == [], "it is still held"
        door.listener.hold(False)
    door.until_accepted(2)
    assert door.loop.timers == 0
