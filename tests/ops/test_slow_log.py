"""Lines about slow callbacks: each name once in a while."""

from __future__ import annotations

import logging

import pytest
from kit.world import world

from voltlane.ops.log import log
from voltlane.ops.slow_log import PAUSE_SECS, SlowLog


def test_each_callback_has_a_line_in_a_while(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "propagate", True)
    caplog.set_level(logging.INFO, "voltlane")
    slow = SlowLog()
    for number in range(5):
        slow.note("Dialer._try", 0.0634, 100.0 + number)
    slow.note("Turns._serve", 0.05, 101.0)
    slow.note("Dialer._try", 2, 100.0 + PAUSE_SECS)
    assert caplog.messages == [
        "Dialer._try held the loop up for 63 ms",
        "Turns._serve held the loop up for 50 ms",
        "Dialer._try held the loop up for 2000 ms, and 4 times before",
    ]
    for number in range(1000):
        slow.note(f"name {number}", 1, 0.0)
    assert len(slow._said) <= 100


def test_a_server_says_which_of_its_callbacks_it_was(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "propagate", True)
    caplog.set_level(logging.WARNING, "voltlane")
    with world() as made:

        def take_long() -> None:
            made.clock.now += 0.07

        made.loop.call_soon(take_long)
        made.loop.turn(0)
        (line,) = [message for message in caplog.messages if "take_long" in message]
        assert line.endswith("take_long held the loop up for 70 ms")
