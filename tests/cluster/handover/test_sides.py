"""Both sides by themselves: what each does when the other one is not as it should be. Whole upgrades are in
tests/e2e/test_upgrade.py."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from kit.handlers import Loop
from kit.handovers import HERITAGE

from voltlane.cluster.handover import giver, taker
from voltlane.cluster.handover.giver import LAST_SECS, PREPARE_SECS, SETTLE_SECS, Giver, Step, launched
from voltlane.cluster.handover.heritage import Heritage
from voltlane.cluster.handover.notes import FORMAT, GO, Greeting, Kind, note
from voltlane.cluster.handover.taker import VARIABLE, Taker, handed_over
from voltlane.cluster.handover.wire import Wire
from voltlane.errors import StartupError


class Child:
    """Takes the place of the other process."""

    pid = 4711

    def __init__(self) -> None:
        self.code: int | None = None
        self.killed = False

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.killed, self.code = True, -9

    def wait(self, timeout: float | None = None) -> int:
        if self.code is None:
            raise TimeoutError
        return self.code


class Host:
    """Has two notes to hand over."""

    heritage: Heritage = HERITAGE

    def __init__(self) -> None:
        self.reactor = Loop()
        self.settled = False
        self.calls: list[object] = []
        self.child = Child()

    def launch(self, theirs: socket.socket) -> Child:
        self.wire = Wire(socket.socket(fileno=os.dup(theirs.fileno())))
        self.wire.allow(5)
        return self.child

    def hold(self) -> None:
        self.calls.append("hold")

    def cut(self) -> None:
        self.calls.append("cut")

    def pause(self) -> None:
        self.calls.append("pause")

    def offer(self) -> Iterator[tuple[bytes, int]]:
        self.calls.append("offer")
        yield note(Kind.STALE), -1
        yield note(Kind.END, 1), -1

    def hand_on(self, pid: int) -> None:
        self.calls.append(pid)

    def go_on(self) -> None:
        self.calls.append("go on")


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.wire.close()
    made.reactor.expect_clean()


def prepared(host: Host) -> Giver:
    """Up to where the other process is ready."""
    made = Giver(host, *launched(host.launch))
    host.wire.greet(Greeting(FORMAT, "1.2.3"))
    host.reactor.spin()
    assert host.wire.greeting().format == FORMAT and host.wire.note().kind is Kind.SERVER
    assert made.step is Step.PREPARING and host.calls == []
    host.wire.say(note(Kind.READY))
    host.wire.flush()
    host.reactor.spin()
    assert made.step is Step.SETTLING and host.calls == ["hold"]
    return made


def failed(host: Host, made: Giver) -> None:
    """It has, everything goes on, and the other process is ended when it does not end by itself."""
    assert made.step is Step.FAILED and host.calls[-1] == "go on"
    assert not host.child.killed
    host.reactor.pass_(LAST_SECS + 0.1)
    assert host.child.killed


def test_everything_in_its_order(host: Host) -> None:
    made = prepared(host)
    host.settled = True
    host.reactor.pass_(0.2)
    assert made.step is Step.DUE and host.calls == ["hold", "pause"]
    host.wire.say(note(Kind.TAKEN))
    host.wire.flush()
    assert made.give() and made.step is Step.GIVEN and not made.under_way
    assert host.calls == ["hold", "pause", "cut", "offer", 4711]
    assert [host.wire.note().kind for _ in range(2)] == [Kind.STALE, Kind.END] and host.wire.byte() == GO
    made.end()
    assert not host.child.killed, "it goes on"
    host.reactor.remove(made._wire.sock)
    host.reactor.spin()


def test_handshakes_have_a_moment(host: Host) -> None:
    made = prepared(host)
    host.reactor.pass_(SETTLE_SECS / 2)
    assert made.step is Step.SETTLING
    host.reactor.pass_(SETTLE_SECS)
    assert made.step is Step.DUE
    made.fail("the test ends")
    failed(host, made)


def test_who_says_nothing_has_so_long(host: Host) -> None:
    made = Giver(host, *launched(host.launch))
    host.reactor.pass_(PREPARE_SECS - 1)
    assert made.under_way
    host.reactor.pass_(2)
    failed(host, made)


def test_who_ends_has_said_why(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    made = prepared(host)
    host.child.code = 3
    host.wire.close()
    host.reactor.spin()
    assert made.step is Step.FAILED and host.calls[-1] == "go on"
    assert "process 4711 has ended with exit code 3" in caplog.text
    made.end()


def test_a_refusal_that_comes_with_the_end(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    made = Giver(host, *launched(host.launch))
    host.wire.greet(Greeting(FORMAT, "1.2.3"))
    host.wire.say(note(Kind.REFUSED, 0, b"because"))
    host.wire.flush()
    host.wire.close()
    host.reactor.spin()
    assert made.step is Step.FAILED and "because" in caplog.text
    made.end()


@pytest.mark.parametrize("word", [Kind.TAKEN, Kind.END, Kind.IDS])
def test_a_word_out_of_place(host: Host, word: Kind) -> None:
    made = Giver(host, *launched(host.launch))
    host.wire.greet(Greeting(FORMAT, "1.2.3"))
    host.wire.say(note(word))
    host.wire.flush()
    host.reactor.spin()
    failed(host, made)


def test_an_error_in_the_offer_is_no_end(host: Host) -> None:
    made = prepared(host)
    host.settled = True
    host.reactor.pass_(0.2)
    host.offer = lambda: iter([(note(Kind.STALE), -1), 1 / 0])  # type: ignore[method-assign]
    assert not made.give()
    failed(host, made)


def test_who_does_not_take_it_in_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giver, "PAUSE_SECS", 0.05)
    made = prepared(host)
    host.settled = True
    host.reactor.pass_(0.2)
    assert not made.give()
    failed(host, made)


# ---- the other side


@pytest.fixture
def ends() -> Iterator[tuple[Taker, Wire]]:
    one, two = socket.socketpair()
    wire = Wire(two)
    wire.allow(5)
    made = Taker(one)
    yield made, wire
    made.refuse("the test ends")
    wire.close()


def test_it_says_what_it_has_to_be(ends: tuple[Taker, Wire]) -> None:
    made, wire = ends
    wire.greet(Greeting(FORMAT, "1.2.3"))
    wire.say(note(Kind.SERVER, 0, HERITAGE._replace(lock=9).encode()), 0)
    wire.flush()
    heritage = made.greet()
    os.close(heritage.lock)
    assert heritage._replace(lock=-1) == HERITAGE


@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1])
def test_another_format_is_refused(ends: tuple[Taker, Wire], number: int) -> None:
    made, wire = ends
    wire.greet(Greeting(number, "9.9"))
    with pytest.raises(StartupError, match=f"its version 9.9 has format {number} for that, this one {FORMAT}"):
        made.greet()


def test_without_the_word_it_touches_nothing_and_ends(ends: tuple[Taker, Wire]) -> None:
    made, wire = ends
    wire.close()
    with pytest.raises(StartupError, match="cannot be followed"):
        made.go()


def test_another_word_than_go_is_none(ends: tuple[Taker, Wire]) -> None:
    made, wire = ends
    wire.word(b"\x02")
    with pytest.raises(StartupError, match="another word"):
        made.go()


def test_who_answers_nothing_is_not_waited_for_without_end(
    ends: tuple[Taker, Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taker, "ANSWER_SECS", 0.05)
    with pytest.raises(StartupError, match="in time"):
        ends[0].greet()


def test_the_environment_says_which_socket() -> None:
    assert handed_over({}) is None
    with pytest.raises(StartupError, match="is no socket"):
        handed_over({VARIABLE: "99999"})
    one, two = socket.socketpair()
    environ = {VARIABLE: str(one.detach())}
    made = handed_over(environ)
    assert made is not None and environ == {}
    two.close()
    made.refuse("the test ends")
