"""The line in the log for each minute in which something happened, and the silence of the others."""

from __future__ import annotations

import logging
import re

import pytest
from kit.world import MakeWorld, World
from kit.worlds import make

__all__ = ["make"]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "voltlane")
    return caplog


def lines(said: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in said.messages if re.match(r"in \d+ s: ", message)]


def begun(home: World) -> World:
    home.server.minutes.start()
    return home


def test_a_minute_is_told_in_one_line(make: MakeWorld, said: pytest.LogCaptureFixture) -> None:
    home = begun(make())
    first, second = home.new(), home.new()
    first.send(b"one", b"two")
    home.settle()
    home.master.send(second.id, b"three")
    first.cut()
    home.pass_(59.0)
    assert lines(said) == []
    home.pass_(1.0)
    assert lines(said) == [  # the third is the notice that one is gone for good
        "in 60 s: clients 1 live, 0 stale, 2 new, 0 resumed; packets 3 to the master, 1 from it; closed: peer closed 1"
    ]


def test_what_was_told_is_not_told_again(make: MakeWorld, said: pytest.LogCaptureFixture) -> None:
    home = begun(make())
    client = home.new()
    home.pass_(60.0)
    said.clear()
    client.cut()
    home.settle()
    client = home.resume(client)
    home.pass_(60.0)
    assert lines(said) == [
        "in 60 s: clients 1 live, 0 stale, 0 new, 1 resumed; packets 1 to the master, 0 from it; closed: peer closed 1"
    ]


def test_a_minute_without_anything_has_no_line(make: MakeWorld, said: pytest.LogCaptureFixture) -> None:
    home = begun(make())
    home.new()
    home.pass_(60.0)
    said.clear()
    home.pass_(600.0)
    assert lines(said) == []


def test_an_idle_server_is_not_woken_up_for_it(make: MakeWorld, said: pytest.LogCaptureFixture) -> None:
    """The line behind a quiet time says how long that was."""
    home = begun(make())
    home.new()
    assert home.loop.timers == 0 and home.loop._patience(None) is None, "it waits without a limit"
    home.clock.now += 3600.0
    home.settle()
    assert len(lines(said)) == 1 and lines(said)[0].startswith("in 3600 s: clients 1 live, 0 stale, 1 new")


def test_the_rest_is_told_at_the_end(make: MakeWorld, said: pytest.LogCaptureFixture) -> None:
    home = begun(make())
    home.new()
    home.pass_(10.0)
    home.server.minutes.stop()
    home.server.minutes.stop()
    assert [line.partition(":")[0] for line in lines(said)] == ["in 10 s"]
    home.pass_(100.0)
    assert len(lines(said)) == 1


def test_programs_get_the_reasons_by_name(make: MakeWorld, said: pytest.LogCaptureFixture) -> None:
    home = begun(make())
    home.new().cut()
    home.settle()
    home.server.minutes.stop()
    (fields,) = [record.args for record in said.records if record.message.startswith("in ")]
    assert isinstance(fields, dict) and fields["reasons"] == {"peer closed": 1} and fields["new"] == 1
