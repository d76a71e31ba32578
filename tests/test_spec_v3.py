"""The tables of SPEC.txt, part two, are the code's: kinds, codes, reasons of gaps, limits, bodies."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

from voltlane.core.protocols.ends import CODES
from voltlane.reasons import CloseReason
from voltlane.wire import v3
from voltlane.wire.framing import MAX_TAGGED
from voltlane.wire.noise import MESSAGE_MAX, NAME, REKEY_EVERY
from voltlane.wire.tagged import TAG_SIZE
from voltlane.wire.v3 import Code, Kind, Suite, Why

TEXT = (Path(__file__).parent.parent / "SPEC.txt").read_text(encoding="utf-8").split("PART TWO: VERSION 3", 1)[1]
TEXT = TEXT.split("PART THREE: DATAGRAMS", 1)[0]


def section(number: int) -> str:
    return re.split(r"^\d+  [A-Z]", TEXT.split(f"\n{number}  ", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str, heading: str) -> list[str]:
    """The lines of the table with that heading."""
    return text.split(heading, 1)[1].split("\n\n", 1)[0].splitlines()[1:]


def test_kinds():
    found = re.findall(r"^ {4}(\d+) +(\w+)", "\n".join(rows(section(10), "kind  name")), re.MULTILINE)
    assert {int(number): name for number, name in found} == {kind.value: kind.name.lower() for kind in Kind}


def test_who_sends_which_first():
    table = "\n".join(rows(section(10), "kind  name"))
    assert {match[1].upper() for match in re.finditer(r"\d +(\w+) .*, first$", table, re.MULTILINE)} == {
        Kind.OPEN.name, Kind.RESUME.name, Kind.WELCOME.name,
    }  # fmt: skip


def test_codes():
    found = [int(match[1]) for line in rows(section(18), "code  from") if (match := re.match(r" {4}(\d{4}) ", line))]
    assert found == sorted(Code)


def test_the_server_says_no_code_that_is_the_clients():
    lines = {int(line[4:8]): line[10:14].strip() for line in rows(section(18), "code  from") if line[4:8].isdigit()}
    said = {*CODES.values(), Code.DROPPED}
    assert {code for code, who in lines.items() if who in ("S", "both")} == said
    assert {code for code, who in lines.items() if who == "C"} == {Code.AWAY, Code.LEFT}


def test_which_sessions_live_on():
    """As the table says of each code, so it is: a close with it ends the session or does not."""
    ended = {
        int(line[4:8])
        for line in rows(section(18), "code  from")
        if line[4:8].isdigit() and re.search(r"(has ended|ends)$", line)
    }
    assert ended == {Code.ENDED, Code.KICKED, Code.EXPELLED, Code.LEFT, Code.OVERFLOW}
    assert not any(v3.may_return(code) for code in ended)


def test_every_protocol_error_has_a_code_of_its_kind():
    broken = {reason for reason, code in CODES.items() if code == Code.PROTOCOL}
    assert broken == {
        CloseReason.MALFORMED_PACKET,
        CloseReason.UNEXPECTED_PACKET,
        CloseReason.BAD_RECORD,
        CloseReason.MALFORMED_RECORD,
        CloseReason.BAD_NUMBERS,
        CloseReason.CREDIT_EXCEEDED,
    }


def test_why_there_is_a_gap():
    found = [int(line[4]) for line in rows(section(17), "why  meaning") if line[4].isdigit()]
    assert found == list(Why)


def test_suites():
    text = section(12)
    assert f"Suite {Suite.NOISE.value} is {NAME.decode()}" in text
    assert f"Suite {Suite.CLEAR.value} is no encryption" in text
    assert f'"{v3.LABEL.decode()}" ‖ the hello without its last {v3.RANDOM_SIZE} bytes' in text


def test_limits():
    fixed = section(20).split("Fixed by the protocol:")[1]
    table = dict(re.findall(r"^    ([a-z][a-z, ]+?)  +(.+)$", fixed, re.MULTILINE))
    numbers = {name: [int(number) for number in re.findall(r"\d+", text)] for name, text in table.items()}
    assert numbers["message"] == [MESSAGE_MAX]
    assert numbers["record"] == [v3.MAX_RECORD, v3.HEAD_SIZE]
    assert numbers["hello, server hello"] == [v3.MAX_HELLO, v3.MAX_SERVER_HELLO]
    assert numbers["body of a ping"] == [v3.MAX_PING]
    assert numbers["packet"] == [MAX_TAGGED - TAG_SIZE]
    assert numbers["rekeying"] == [REKEY_EVERY]


def test_numbers_said_in_the_text():
    assert f"`n` is 1 to {v3.MAX_SUITES}." in section(11)
    assert f"k is at most {v3.MAX_KEYS}." in section(11)
    assert f"A hello has at most {v3.MAX_HELLO} bytes." in section(11)


def test_labels():
    """What is hashed with secrets, as the code has it."""
    secret, transcript = bytes(32), bytes(32)
    for role in ("client", "server"):
        label = re.search(rf'"(VOLTLANE 3 {role})" ‖ transcript hash', TEXT)
        assert label is not None
        expected = hmac.new(secret, label[1].encode() + transcript, hashlib.sha256).digest()
        assert v3.proof(secret, role, transcript) == expected
    label = re.search(r'root, "(VOLTLANE 3 branch)" ‖ u64 branch', TEXT)
    assert label is not None
    expected = hmac.new(secret, label[1].encode() + bytes(8), hashlib.sha256).digest()
    assert v3.branch_secret(secret, 0) == expected


def test_sizes_of_bodies():
    """The fields that the text names, added up."""
    for name, body in (("open", v3._OPEN), ("resume", v3._RESUME), ("welcome", v3._WELCOME)):
        described = (
            {
                "open": section(13).split("The body of open:")[1],
                "resume": section(14).split("The body of resume:")[1],
                "welcome": section(13).split("The body of welcome, the answer:")[1],
            }[name]
            .strip("\n")
            .split("\n\n")[0]
        )
        sizes = [int(bits) // 8 for bits in re.findall(r"u(\d+) ", described)]
        sizes += [int(size) for size in re.findall(r"(\d+) bytes", described)]
        assert sum(sizes) == body.size, name
