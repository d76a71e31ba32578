"""What the log could not write is counted, and told without waiting for another line."""

from __future__ import annotations

import errno
import logging

from kit.clock import FakeClock

from voltlane.net.reactor import TICK, Reactor
from voltlane.ops.bounds import BoundedHandler
from voltlane.ops.unwritten import TRY_SECS, Unwritten


class Sink:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.full = True
        self.unfinished = False

    def write(self, line: str) -> None:
        if self.full:
            raise BlockingIOError(errno.EAGAIN, "again")
        self.lines.append(line)
        self.unfinished = line == "long\n"

    def flush(self) -> None:
        self.unfinished = False


def test_it_is_tried_again_until_it_could_be_told_and_then_no_more() -> None:
    clock, sink, counted = FakeClock(), Sink(), [0]

    def count(lines: int) -> None:
        counted[0] += lines

    def later() -> None:
        clock.now += TRY_SECS + 2 * TICK
        reactor.turn(0)

    reactor = Reactor(clock=lambda: clock.now)
    handler = BoundedHandler(sink, 0, lambda: clock.now)
    log = logging.Logger("of the test")
    log.addHandler(handler)
    Unwritten(handler, reactor, count)
    log.warning("one")
    log.warning("two")
    assert counted == [2] and reactor.timers == 1
    later()
    assert sink.lines == [] and reactor.timers == 1
    sink.full = False
    later()
    assert sink.lines == ["2 lines could not be written: whoever reads the log does not keep up\n"]
    assert reactor.timers == 0
    log.warning("long")
    assert counted == [2] and reactor.timers == 1
    later()
    assert not sink.unfinished and reactor.timers == 0
    reactor.close()
    handler.close()
