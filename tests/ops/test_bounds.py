"""How fast a log grows, on a clock of the test's."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from kit.clock import FakeClock

import voltlane.ops.log  # noqa: F401 (it gives the levels their names)
from voltlane.ops.bounds import BoundedHandler


class Written:
    """A logger over a bounded handler."""

    def __init__(self, per_minute: int) -> None:
        self.clock = FakeClock()
        self.stream = io.StringIO()
        self.handler = BoundedHandler(self.stream, per_minute, lambda: self.clock.now)
        self.handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.log = logging.Logger("of the test")
        self.log.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def written() -> Iterator[Written]:
    made = Written(60)
    yield made
    made.handler.close()


def test_a_burst_and_then_so_many_a_second(written: Written) -> None:
    for number in range(1000):
        written.log.info("line %d", number)
    burst = len(written.lines)
    assert burst == 45  # a quarter is kept for warnings
    for _ in range(100):
        written.clock.now += 1
        for _ in range(50):
            written.log.info("line %d", 0)
    assert len([line for line in written.lines[burst:] if line == "INFO line 0"]) == 100


def test_an_hour_of_attack_is_a_bounded_number_of_lines(written: Written) -> None:
    for _ in range(3600 * 10):
        written.clock.now += 0.1
        written.log.info("client %d: bad proof", 1)
        written.log.warning("something else")
    assert len(written.lines) <= 2 * (60 * 60 + 60)  # each with a line that tells what was left out


def test_what_was_left_out_is_told_with_the_next_line(written: Written) -> None:
    for number in range(50):
        written.log.info("client %(client)d is here", {"client": number})
    written.log.info("another")
    written.clock.now += 1
    written.log.info("now")
    assert written.lines[45:] == ["WARN 6 lines were left out, 5 of them: client CLIENT is here", "INFO now"]
    written.clock.now += 10
    written.log.info("then")
    assert written.lines[47:] == ["INFO then"]


def test_or_at_the_end(written: Written) -> None:
    for _ in range(50):
        written.log.info("line")
    written.handler.close()
    written.handler.close()
    assert written.lines[45:] == ["WARN 5 lines were left out, 5 of them: line"]


def test_lines_of_attackers_leave_room_for_warnings(written: Written) -> None:
    for _ in range(1000):
        written.log.info("from a peer")
    written.log.error("the disk is gone")
    assert written.lines[-1] == "ERROR the disk is gone"
    for _ in range(1000):
        written.log.error("again and again")
    assert len(written.lines) < 65  # but these have a bound as well


def test_no_bound() -> None:
    made = Written(0)
    for _ in range(10_000):
        made.log.info("line")
    assert len(made.lines) == 10_000
