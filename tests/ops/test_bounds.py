"""How fast a log grows, on a clock of the test's."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator

import pytest
from kit.clock import FakeClock

import voltlane.ops.log  # noqa: F401 (it gives the levels their names)
from voltlane.ops.bounds import BoundedHandler
from voltlane.ops.formats import JsonLines


class Sink:
    """Takes lines, unless there is a reason not to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.trouble: OSError | None = None
        self.unfinished = False
        self.flushes = 0

    def write(self, line: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.lines += line.splitlines()

    def flush(self) -> None:
        self.flushes += 1


class Written:
    """A logger over a bounded handler."""

    def __init__(self, per_minute: int) -> None:
        self.clock = FakeClock()
        self.sink = Sink()
        self.handler = BoundedHandler(self.sink, per_minute, lambda: self.clock.now)
        self.handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.log = logging.Logger("of the test")
        self.log.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self.sink.lines


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


# ---- tracebacks


def fail(depth: int) -> None:
    if depth:
        fail(depth - 1)
    raise ValueError("deep down")


def deep_error() -> ValueError:
    try:
        fail(8)
    except ValueError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("formatter", [logging.Formatter("%(message)s"), JsonLines()], ids=["text", "json"])
def test_a_traceback_counts_by_its_lines(written: Written, formatter: logging.Formatter) -> None:
    written.handler.setFormatter(formatter)
    error = deep_error()
    for _ in range(3600):
        written.clock.now += 1
        written.log.error("internal error", exc_info=error)
    lines = sum([line.count("\\n") + 1 for line in written.lines if "Traceback" in line or "File" in line])
    whole = len([line for line in written.lines if "Traceback" in line])
    assert 60 < whole < 400 and lines <= 60 * 60 + 200  # a line a second, whatever the lines are of


def test_a_traceback_that_is_longer_than_the_limit_is_written_once_and_paid_for(written: Written) -> None:
    written.handler.limit(8)
    for _ in range(5):
        written.log.error("internal error", exc_info=deep_error())
    assert len([line for line in written.lines if line.startswith("Traceback")]) == 1
    written.clock.now += 1
    written.log.error("still in debt")
    written.clock.now += 600
    written.log.error("paid")
    assert written.lines[-2:] == ["WARN 5 lines were left out, 4 of them: internal error", "ERROR paid"]


# ---- what the sink does not take


def test_what_could_not_be_written_is_counted_and_told_with_the_next_line(written: Written) -> None:
    lost: list[int] = []
    written.handler.on_owing = lost.append
    written.sink.trouble = OSError(errno.ENOSPC, "No space left on device")
    for number in range(3):
        written.log.info("line %d", number)
    assert lost == [1, 1, 1] and written.lines == [] and written.handler.owes
    written.sink.trouble = None
    written.log.info("now")
    assert written.lines == ["WARN 3 lines could not be written: No space left on device", "INFO now"]
    assert lost == [1, 1, 1] and not written.handler.owes


def test_or_by_a_call_or_at_the_end(written: Written) -> None:
    written.sink.trouble = BlockingIOError(errno.EAGAIN, "again")
    written.log.info("line")
    written.handler.sum_up()
    written.sink.trouble = None
    written.handler.close()
    written.handler.close()
    assert written.lines == ["WARN 1 lines could not be written: whoever reads the log does not keep up"]


def test_what_was_left_out_is_not_forgotten_when_it_cannot_be_told(written: Written) -> None:
    for _ in range(50):
        written.log.info("line")
    written.sink.trouble = OSError(errno.EPIPE, "Broken pipe")
    written.clock.now += 1
    written.log.info("unwritten")
    written.sink.trouble = None
    written.handler.close()
    assert written.lines[45:] == [
        "WARN 1 lines could not be written: Broken pipe",
        "WARN 5 lines were left out, 5 of them: line",
    ]


def test_a_line_that_was_begun_is_something_owed(written: Written) -> None:
    told: list[int] = []
    written.handler.on_owing = told.append
    written.sink.unfinished = True
    written.log.info("a long one")
    assert told == [0] and written.handler.owes
    written.handler.sum_up()
    assert written.sink.flushes == 2


def test_a_line_that_cannot_be_formatted_is_no_traceback(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    written.log.info("%d clients", "many")
    (line,) = written.lines
    assert line.startswith("a line of the log cannot be written as it is meant") and "'%d clients'" in line
    assert capsys.readouterr().err == ""
