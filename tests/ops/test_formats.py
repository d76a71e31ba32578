"""The two forms of a line, and that nothing in a line can make two of it."""

from __future__ import annotations

import json
import logging
import re
import sys

import pytest

from voltlane.ops.formats import JsonLines, TextLines, event_of
from voltlane.ops.log import TRACE


def record(template: str, *args: object, level: int = logging.INFO, bug: bool = False) -> logging.LogRecord:
    made = logging.LogRecord("voltlane", level, "", 0, template, args, sys.exc_info() if bug else None)
    made.created = 1_700_000_000.25
    return made


def as_json(made: logging.LogRecord) -> dict[str, object]:
    line = JsonLines().format(made)
    assert len(line.splitlines()) == 1
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def test_json_has_time_level_event_message_and_fields() -> None:
    assert as_json(record("client %(client)d is here", {"client": 7, "peer": "10.0.0.1:5"})) == {
        "ts": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "event": "client CLIENT is here",
        "message": "client 7 is here",
        "client": 7,
        "peer": "10.0.0.1:5",
    }


def test_values_without_names_are_in_the_message_only() -> None:
    found = as_json(record("no master at %s: trying again in %.1f s", "h:1", 2.0, level=logging.WARNING))
    assert found["event"] == "no master at …: trying again in … s"
    assert found["message"] == "no master at h:1: trying again in 2.0 s"
    assert (found["level"], set(found)) == ("warn", {"ts", "level", "event", "message"})


def test_a_field_cannot_take_the_place_of_what_every_line_has() -> None:
    found = as_json(record("%(level)s %(message)s", {"level": "x", "message": "y"}))
    assert (found["level"], found["message"]) == ("info", "x y")


@pytest.mark.parametrize(
    "level, colour",
    [(logging.ERROR, "1;31"), (logging.WARNING, "33"), (logging.INFO, "32"), (logging.DEBUG, "2"), (TRACE, "2")],
)
def test_the_level_has_its_colour_where_there_is_any(level: int, colour: str) -> None:
    made = record("it said %s", "\x1b[2J", level=level)
    line = TextLines(colour=True).format(made)
    plain = TextLines().format(made)
    assert f" \x1b[{colour}m{made.levelname:<5}\x1b[0m it said \\x1b[2J" in line
    assert re.sub("\x1b\\[[0-9;]*m", "", line) == plain and "\x1b" not in plain


def test_what_json_has_no_form_for_is_text() -> None:
    assert as_json(record("%(where)s", {"where": ValueError("x")}))["where"] == "x"


@pytest.mark.parametrize("text", ["a\nb", "a\r\n2026-01-01 ERROR gone", "\x1b[2J", "a\x00b", "\u0085", "ü \u2028"])
def test_one_event_is_one_line_whatever_is_in_it(text: str) -> None:
    assert as_json(record("it said %s", text))["message"] == f"it said {text}"
    line = TextLines().format(record("it said %s", text))
    assert "\n" not in line and "\r" not in line and "\x1b" not in line and "\x00" not in line and "\u0085" not in line
    assert line.startswith("20") and " INFO  it said " in line


def test_a_bug_has_its_traceback_in_either_form() -> None:
    try:
        raise RuntimeError("of ours")
    except RuntimeError:
        made = record("internal error", level=logging.ERROR, bug=True)
    assert "RuntimeError: of ours" in str(as_json(made)["traceback"])
    assert TextLines().format(made).splitlines()[-1] == "RuntimeError: of ours"


@pytest.mark.parametrize(
    ("template", "event"),
    [
        ("stopping", "stopping"),
        ("%(who)s: %(why)s", "WHO: WHY"),
        ("%d of %-5s, %.200r: 50 %%", "… of …, …: 50 %"),
    ],
)
def test_the_event_is_the_same_for_all_lines_of_a_kind(template: str, event: str) -> None:
    assert event_of(template) == event


def test_level_names_are_those_of_the_settings() -> None:
    assert as_json(record("x", level=TRACE))["level"] == "trace"
