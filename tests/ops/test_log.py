"""Lines about peers that failed: each, up to a number a second, and then how many more."""

from __future__ import annotations

import logging

import pytest

from voltlane.config import LOG_LEVELS, General
from voltlane.net.listener import LONGEST_BACKOFF
from voltlane.ops.log import LEVELS, PauseLog, PeerLog, log, setup
from voltlane.reasons import CloseReason

BAD, SHORT = CloseReason.BAD_PROOF, CloseReason.MALFORMED_TAG


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(log, "propagate", True)
    caplog.set_level(logging.INFO, "voltlane")
    return caplog


def test_who_why_and_what(lines: pytest.LogCaptureFixture) -> None:
    PeerLog().write(BAD, 0, "10.0.0.1:5", "it does not open", 1.0)
    PeerLog().write(SHORT, 7, "10.0.0.1:6", "", 1.0)
    assert lines.messages == [
        "10.0.0.1:5: proof of the key failed: it does not open",
        f"client 7 (10.0.0.1:6): {SHORT.value}",
    ]


def test_at_most_so_many_a_second_of_each_reason(lines: pytest.LogCaptureFixture) -> None:
    peers = PeerLog(most=2)
    for _ in range(5):
        peers.write(BAD, 0, "a", "", 1.1)
    peers.write(SHORT, 0, "b", "", 1.9)
    assert lines.messages == [f"a: {BAD.value}"] * 2 + [f"b: {SHORT.value}"]


def test_those_left_out_are_told_when_the_next_second_has_a_line(lines: pytest.LogCaptureFixture) -> None:
    peers = PeerLog(most=1)
    for _ in range(4):
        peers.write(BAD, 0, "a", "", 1.0)
    peers.write(SHORT, 0, "b", "", 2.0)
    assert lines.messages[1:] == [f"3 more: {BAD.value}", f"b: {SHORT.value}"]
    peers.write(BAD, 0, "a", "", 2.5)
    assert lines.messages[3:] == [f"a: {BAD.value}"]


def test_and_at_the_end(lines: pytest.LogCaptureFixture) -> None:
    peers = PeerLog(most=1)
    for _ in range(2):
        peers.write(BAD, 0, "a", "", 1.0)
    peers.sum_up()
    peers.sum_up()
    assert lines.messages[1:] == [f"1 more: {BAD.value}"]


def test_a_pause_is_said_while_it_grows_and_each_time_that_it_begins(lines: pytest.LogCaptureFixture) -> None:
    pauses = PauseLog("*:1")
    waits = [0.1, 0.2, LONGEST_BACKOFF, LONGEST_BACKOFF, LONGEST_BACKOFF, 0.1, 0.1, LONGEST_BACKOFF]
    for wait in waits:
        pauses.note(OSError(24, "Too many open files"), wait)
    assert lines.messages == [
        f"cannot accept connections at *:1: Too many open files; trying again in {wait:.1f} s"
        for wait in (0.1, 0.2, 2.0, 0.1, 0.1, 2.0)
    ]


def test_every_level_of_the_configuration_has_its_number() -> None:
    assert tuple(LEVELS) == tuple(LOG_LEVELS)
    assert list(LEVELS.values()) == sorted(LEVELS.values(), reverse=True)


def test_set_up_twice_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    before = (log.handlers[:], log.propagate, log.level)
    try:
        setup(General(log_level="Debug"))
        setup(General(log_level="Info"))
        log.info("here")
        log.debug("not here")
        assert capsys.readouterr().err.count("here") == 1
    finally:
        log.handlers[:], log.propagate = before[0], before[1]
        log.setLevel(before[2])
