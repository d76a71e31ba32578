"""The opening handshake of a WebSocket as its client sees it (RFC 6455, 4.1)."""

from __future__ import annotations

import json

import pytest

from voltlane.errors import MalformedPacket, Refused
from voltlane.wire.http1.upgrade import MAX_HEAD, ask, read_answer

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
"""The example of section 1.3."""
ACCEPT = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def answer(*lines: str, status: str = "101 Switching Protocols", **instead: str) -> bytes:
    """The right one, but for what is said otherwise; "" leaves a header out."""
    headers = {
        "upgrade": "Upgrade: websocket",
        "connection": "Connection: Upgrade",
        "accept": ACCEPT,
        "protocol": "Sec-WebSocket-Protocol: voltlane.v3",
        **instead,
    }
    return "\r\n".join([f"HTTP/1.1 {status}", *filter(None, headers.values()), *lines, "", ""]).encode("latin-1")


def read(data: bytes) -> int | None:
    return read_answer(data, KEY, "voltlane.v3")


def test_the_question() -> None:
    assert ask("server.example.com", "/chat?a=b", KEY, "voltlane.v3") == (
        b"GET /chat?a=b HTTP/1.1\r\n"
        b"Host: server.example.com\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: voltlane.v3\r\n"
        b"\r\n"
    )
    assert ask("a", "", KEY, "x").startswith(b"GET / HTTP/1.1\r\n")


RIGHT = {
    "as it is": answer(),
    "words in any case": answer(upgrade="UPGRADE:WebSocket", connection="connection:  keep-alive, upgrade "),
    "without a phrase": answer(status="101"),
    "with more headers": answer("Server: x", "Date:", "X-A: \xe4"),
    "behind another answer": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("behind", [b"", b"\x82\x00", b"\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n"])
def test_the_answer(name: str, behind: bytes) -> None:
    data = RIGHT[name]
    assert read(data + behind) == len(data)
    for cut in range(len(data)):
        assert read(data[:cut]) is None


WRONG = {
    "another protocol": (b"\x02\x00\x00\x00\x01\x02", "does not speak HTTP"),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x46", "does not speak HTTP"),
    "HTTP/2": (b"HTTP/2 101 x\r\n\r\n", "does not speak HTTP"),
    "no status": (b"HTTP/1.1 OK\r\n\r\n", "not HTTP/1.1"),
    "no header": (answer("no header"), "a header that is none"),
    "a header that goes on": (answer("X: y", " z"), "a header that is none"),
    "line feeds alone": (answer().replace(b"\r\nUpgrade", b"\nUpgrade"), "HTTP/1.1"),
    "endless": (b"HTTP/1.1 101 x\r\n" + b"X: y\r\n" * 4000, f"more than {MAX_HEAD} bytes"),
    "no upgrade": (answer(upgrade=""), "another protocol than WebSocket"),
    "another upgrade": (answer(upgrade="Upgrade: h2c"), "another protocol than WebSocket"),
    "no connection": (answer(connection=""), "another protocol than WebSocket"),
    "no accept": (answer(accept=""), "Sec-WebSocket-Accept"),
    "another accept": (answer(accept=ACCEPT[:-2] + "A="), "Sec-WebSocket-Accept"),
    "no subprotocol": (answer(protocol=""), "voltlane.v3 was asked for, and the server agreed on none"),
    "another": (answer(protocol="Sec-WebSocket-Protocol: chat"), "the server agreed on 'chat'"),
    "two": (answer("Sec-WebSocket-Protocol: voltlane.v3"), "agreed on 'voltlane.v3, voltlane.v3'"),
    "an extension": (answer("Sec-WebSocket-Extensions: permessage-deflate"), "an extension"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_answer_that_is_none(name: str) -> None:
    data, why = WRONG[name]
    with pytest.raises(MalformedPacket) as told:
        read(data)
    assert why in str(told.value) and len(str(told.value)) < 200
    refused = False
    for cut in range(len(data) + 1):
        try:
            assert read(data[:cut]) is None
            assert not refused
        except MalformedPacket:
            refused = True
    assert refused


def refusal(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def said(error: object) -> bytes:
    return json.dumps({"error": error}).encode()


REFUSALS = {
    "by us": (refusal("403 Forbidden", body=said("pages of 'x' may not connect")),
              "refused with HTTP 403: pages of 'x' may not connect"),
    "403": (refusal("403 Forbidden"), "refused with HTTP 403: nobody is let in from here"),
    "404": (refusal("404 Not Found", body=b"<html>not here</html>"), "refused with HTTP 404: there is nothing at this"),
    "426": (refusal("426 Upgrade Required"), "a proxy on the way may not hand on the header Upgrade"),
    "429": (refusal("429 Too Many Requests", body=said("too many")), "refused with HTTP 429: too many"),
    "502": (refusal("502 Bad Gateway", body=b"<html>"), "cannot reach it"),
    "301": (refusal("301 Moved", "Location: https://b/"), "another address, which is not followed ('https://b/')"),
    "200": (refusal("200 OK", body=b"hello"), "none that knows of WebSockets at this path"),
    "418": (refusal("418 I'm a teapot"), "refused with HTTP 418"),
    "no length": (b"HTTP/1.1 404 Not Found\r\n\r\n", "refused with HTTP 404"),
    "a wrong length": (b"HTTP/1.1 404 Not Found\r\nContent-Length: x\r\n\r\n", "refused with HTTP 404"),
    "control characters": (refusal("400 Bad", body=said("a\x1b[2Jb")), "refused with HTTP 400: the request was not"),
    "no words": (refusal("400 Bad", body=b'["error"]'), "refused with HTTP 400: the request was not"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_in_words(name: str) -> None:
    data, words = REFUSALS[name]
    with pytest.raises(Refused) as told:
        read(data)
    assert words in str(told.value)
    assert told.value.code == int(data.split(b" ")[1])
    for cut in range(data.index(b"\r\n\r\n") + 4):
        assert read(data[:cut]) is None


def test_the_words_are_waited_for_but_not_many() -> None:
    data = refusal("403 Forbidden", body=said("these words"))
    for cut in range(len(data)):
        assert read(data[:cut]) is None
    with pytest.raises(Refused, match="403: nobody is let in"):
        read(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 1024)
