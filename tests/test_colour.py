"""Who gets colour: terminals that can, unless somebody said NO_COLOR."""

from __future__ import annotations

import pytest

from voltlane import colour


class Stream:
    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


class Closed:
    def isatty(self) -> bool:
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize(
    "terminal, environ, wanted",
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),  # the convention: not empty
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "0"}, False),  # whatever it is
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_who_gets_colour(terminal: bool, environ: dict[str, str], wanted: bool) -> None:
    assert colour.is_wanted(Stream(terminal), environ) is wanted


@pytest.mark.parametrize("stream", [None, Closed()])
def test_no_stream_gets_any(stream: Closed | None) -> None:
    assert colour.is_wanted(stream, {"TERM": "xterm"}) is False


def test_a_text_is_painted_and_then_over() -> None:
    assert colour.painted("gone", "error") == "\x1b[1;31mgone\x1b[0m"
    assert colour.painted("gone", "") == "gone" and colour.painted("", "error") == ""
