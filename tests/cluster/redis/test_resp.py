"""Commands and answers as bytes: whole, byte by byte, cut, with something behind them, and wrong."""

from __future__ import annotations

import pytest

pytest.importorskip("hiredis", reason="hiredis is not here: pip install hiredis")

from voltlane.cluster.redis import resp
from voltlane.cluster.redis.resp import Answers, Kind, Trouble, encode, trouble

WIRE = b"+OK\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*2\r\n$0\r\n\r\n*1\r\n:1\r\n-OOM no room\r\n"
SAID = [b"OK", -7, b"a\r\n", None, None, [b"", [1]], Trouble(Kind.UNABLE, "OOM no room")]


def test_a_command():
    assert (
        encode(["SET", b"\x00\r\n", 12, "ü"]) == b"*4\r\n$3\r\nSET\r\n$3\r\n\x00\r\n\r\n$2\r\n12\r\n$2\r\n\xc3\xbc\r\n"
    )


def test_answers_whole_and_in_every_two_parts():
    assert Answers().feed(WIRE) == SAID
    for cut in range(len(WIRE) + 1):
        answers = Answers()
        assert answers.feed(WIRE[:cut]) + answers.feed(WIRE[cut:]) == SAID


def test_answers_byte_by_byte():
    answers, found = Answers(), []
    for position in range(len(WIRE)):
        found += answers.feed(WIRE[position : position + 1])
    assert found == SAID


@pytest.mark.parametrize("wire", [b"HTTP/1.1 400 Bad Request\r\n", b"\x16\x03\x01", b"$x\r\n", b":1x\r\n"])
def test_bytes_that_are_no_answer(wire: bytes):
    with pytest.raises(ValueError):
        Answers().feed(wire)


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resp, "MOST", 1000)
    answers = Answers()
    answers.feed(b"$9999\r\n" + b"x" * 900)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        answers.feed(b"x" * 900)


@pytest.mark.parametrize(
    "text, kind, code",
    [
        ("ERR unknown command 'FOO'", Kind.REFUSED, "ERR"),
        ("WRONGTYPE Operation against a key", Kind.REFUSED, "WRONGTYPE"),
        ("NOSCRIPT No matching script", Kind.REFUSED, "NOSCRIPT"),
        ("OOM command not allowed", Kind.UNABLE, "OOM"),
        ("LOADING Redis is loading", Kind.UNABLE, "LOADING"),
        ("READONLY You can't write", Kind.UNABLE, "READONLY"),
        ("MISCONF Redis is configured", Kind.UNABLE, "MISCONF"),
        ("ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed", Kind.UNABLE, "OOM"),
        ("BUSYGROUP Consumer Group name already exists", Kind.REFUSED, "BUSYGROUP"),
        ("", Kind.REFUSED, ""),
    ],
)
def test_what_an_error_means(text: str, kind: Kind, code: str):
    assert (trouble(text).kind, trouble(text).code) == (kind, code)
