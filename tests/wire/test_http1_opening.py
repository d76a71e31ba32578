"""What asks for a WebSocket, and what does so in a wrong way (RFC 6455, 4.2)."""

from __future__ import annotations

from http import HTTPStatus

import pytest

pytest.importorskip("h11", reason="the extra `web` is not installed")

from voltlane.wire.http1.answers import Refusal
from voltlane.wire.http1.conversation import Conversation, Limits, Request
from voltlane.wire.http1.opening import asks_for_websocket, read_opening

RIGHT = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
"""The example of section 1.3."""


def conversation_with(head: dict[str, str], line: str = "GET /chat HTTP/1.1", behind: bytes = b"") -> Conversation:
    conversation = Conversation(Limits(), ())
    lines = [line, *[f"{name}: {value}" for name, value in head.items()], "", ""]
    conversation.receive("\r\n".join(lines).encode() + behind)
    return conversation


def requested(head: dict[str, str], line: str = "GET /chat HTTP/1.1", behind: bytes = b"") -> Request:
    request = conversation_with(head, line, behind).next_request()
    assert request is not None
    return request


def test_the_example_of_the_rfc() -> None:
    opening = read_opening(requested(RIGHT))
    assert opening == ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", ())


OTHER_FORMS = {
    "words in any case": {"Upgrade": "WebSocket", "Connection": "upgrade"},
    "among other words": {"Upgrade": "h2c, websocket", "Connection": "keep-alive, Upgrade"},
    "blanks": {"Upgrade": "  websocket ", "Connection": "keep-alive ,Upgrade "},
}


@pytest.mark.parametrize("head", OTHER_FORMS.values(), ids=OTHER_FORMS)
def test_other_ways_to_say_it(head: dict[str, str]) -> None:
    assert asks_for_websocket(requested({**RIGHT, **head})) and read_opening(requested({**RIGHT, **head})).accept


def test_subprotocols_come_in_their_order() -> None:
    head = {**RIGHT, "Sec-WebSocket-Protocol": "voltlane.v3, chat,voltlane.v2"}
    assert read_opening(requested(head)).protocols == ("voltlane.v3", "chat", "voltlane.v2")


WRONG = {
    "POST": ({}, "POST /chat HTTP/1.1", HTTPStatus.METHOD_NOT_ALLOWED),
    "no Connection": ({"Connection": "keep-alive"}, None, HTTPStatus.BAD_REQUEST),
    "no version": ({"Sec-WebSocket-Version": ""}, None, HTTPStatus.UPGRADE_REQUIRED),
    "an old version": ({"Sec-WebSocket-Version": "8"}, None, HTTPStatus.UPGRADE_REQUIRED),
    "no key": ({"Sec-WebSocket-Key": ""}, None, HTTPStatus.BAD_REQUEST),
    "a short key": ({"Sec-WebSocket-Key": "AAAA"}, None, HTTPStatus.BAD_REQUEST),
    "a long key": ({"Sec-WebSocket-Key": "A" * 24}, None, HTTPStatus.BAD_REQUEST),
    "no base64": ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=!"}, None, HTTPStatus.BAD_REQUEST),
    "a body": ({"Content-Length": "1"}, None, HTTPStatus.BAD_REQUEST),
}


@pytest.mark.parametrize(("head", "line", "status"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_gets_its_status(head: dict[str, str], line: str | None, status: HTTPStatus) -> None:
    request = requested({**RIGHT, **head}, line or "GET /chat HTTP/1.1", b"x" if "Content-Length" in head else b"")
    assert asks_for_websocket(request)
    with pytest.raises(Refusal) as caught:
        read_opening(request)
    assert caught.value.status == status
    if status == HTTPStatus.UPGRADE_REQUIRED:
        assert ("Sec-WebSocket-Version", "13") in caught.value.headers


@pytest.mark.parametrize("value", ["", "h2c", "web socket", "websockets"])
def test_what_asks_for_something_else(value: str) -> None:
    assert not asks_for_websocket(requested({**RIGHT, "Upgrade": value}))


@pytest.mark.parametrize("behind", [b"", b"\x81\x80abcd", b"GET / HTTP/1.1\r\n\r\n" * 300], ids=len)
def test_what_is_behind_the_request_is_of_the_other_protocol(behind: bytes) -> None:
    conversation = conversation_with(RIGHT, behind=behind)
    assert conversation.next_request() is not None
    words, rest = conversation.switch([("Upgrade", "websocket"), ("Connection", "Upgrade")])
    assert words == b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    assert rest == behind


def test_before_http_1_1_there_is_no_upgrade() -> None:
    """RFC 9110, section 7.8: it must be ignored, as a proxy of that time hands it on without knowing what it is."""
    conversation = conversation_with(RIGHT, "GET / HTTP/1.0")
    request = conversation.next_request()
    assert request is not None and not asks_for_websocket(request)


def test_who_is_not_switched_is_answered_and_may_ask_again() -> None:
    conversation = conversation_with(RIGHT, behind=b"GET /two HTTP/1.1\r\nHost: a\r\n\r\n")
    assert conversation.next_request() is not None
    conversation.answer(Refusal(HTTPStatus.UPGRADE_REQUIRED, "no").response, "now")
    second = conversation.next_request()
    assert second is not None and second.segments == ("two",)
