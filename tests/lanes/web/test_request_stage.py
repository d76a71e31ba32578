"""HTTP in front of a WebSocket: what is answered how, in pieces of any size, and what it costs."""

from __future__ import annotations

import pytest
from kit.lanes.ws import request
from kit.web_world import WebPeer, WebSocketPeer
from kit.websocket_speaker import PING, client_frame
from kit.world import MakeWorld

from voltlane import config
from voltlane.lanes.entry.handshake import MOST_UNSENT, RECEIVED
from voltlane.lanes.fairness.turns import HANDSHAKE_BUDGET
from voltlane.reasons import CloseReason
from voltlane.wire.http1.conversation import Conversation, Request

GET = b"GET /any HTTP/1.1\r\nHost: a\r\n\r\n"


def test_a_request_for_something_else_is_answered_and_the_connection_goes_on(make: MakeWorld) -> None:
    home = make()
    peer = WebPeer(home)
    peer.write(GET)
    home.settle()
    assert peer.status == 426 and b"\r\nUpgrade: websocket\r\n" in peer.received and not peer.ended
    peer.write(GET * 3 + request(subprotocol=""))
    home.settle()
    assert peer.statuses == [426] * 4 + [101] and len(home.server.registry.sessions) == 1


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_requests_in_pieces(make: MakeWorld, size: int) -> None:
    home = make()
    peer, stream = WebPeer(home), GET + b"\r\n" + GET + request(subprotocol="")
    for start in range(0, len(stream), size):
        peer.write(stream[start : start + size])
        home.settle()
    assert peer.statuses == [426, 426, 101] and len(home.server.registry.sessions) == 1


def test_messages_right_behind_the_request(make: MakeWorld) -> None:
    home = make()
    peer = WebPeer(home)
    peer.write(request(subprotocol="") + b"\x82\x83\0\0\0\0one" + b"\x81\x83\0\0\0\0two")
    home.settle()
    (client,) = home.server.registry.sessions
    assert home.master.data == {client: [b"one", b"two"]}


WRONG = {
    "no request": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, CloseReason.BAD_REQUEST),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, CloseReason.BAD_REQUEST),
    "endless headers": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 2000, 431, CloseReason.BAD_REQUEST),
    "too long a line": (b"GET /" + b"x" * 9000, 414, CloseReason.BAD_REQUEST),
    "a large body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n", 413, CloseReason.BAD_REQUEST),
    "two lengths": (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400,
                    CloseReason.BAD_REQUEST),
    "an old version": (request().replace(b": 13", b": 8"), 426, CloseReason.BAD_REQUEST),
    "an unknown subprotocol": (request(subprotocol="chat, mqtt"), 400, CloseReason.BAD_REQUEST),
    "another page": (request("Origin: https://evil.test"), 403, CloseReason.ORIGIN_REFUSED),
}  # fmt: skip


@pytest.mark.parametrize(("stream", "status", "reason"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in pieces"])
def test_what_is_refused(make: MakeWorld, stream: bytes, status: int, reason: CloseReason, whole: bool) -> None:
    home = make()
    good, bad = WebSocketPeer(home), WebPeer(home)
    size = len(stream) if whole else 11
    for start in range(0, len(stream), size):
        bad.write(stream[start : start + size])
        home.settle()
    assert bad.ended and bad.statuses == [status] and home.server.counters.closed == {reason: 1}
    good.send("still here")
    home.settle()
    assert home.master.data[good.id] == [b"still here"] and home.loop.bugs == []


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("voltlane.v2", "voltlane.v2"),
        ("voltlane.v3", "voltlane.v3"),
        ("chat, voltlane.v2, voltlane.v3", "voltlane.v2"),
        ("", ""),
    ],
)
def test_the_first_subprotocol_that_is_spoken(make: MakeWorld, offered: str, chosen: str) -> None:
    home = make()
    peer = WebPeer(home)
    peer.write(request(subprotocol=offered))
    home.settle()
    said = [line for line in peer.received.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Protocol: ")]
    assert peer.status == 101 and said == ([f"Sec-WebSocket-Protocol: {chosen}".encode()] if chosen else [])
    assert len(home.server.registry.sessions) == (not chosen), "with a protocol there is a handshake first"


def test_what_a_listed_page_may(make: MakeWorld) -> None:
    home = make({"web.origins": "https://example.com"})
    for origin, status in [("https://example.com", 101), ("http://server.example.com", 403)]:
        peer = WebPeer(home)
        peer.write(request(f"Origin: {origin}"))
        home.settle()
        assert peer.status == status


def test_the_list_may_change(make: MakeWorld) -> None:
    home = make()
    home.server.configure(config.load(None, {}, {"web.origins": "https://example.com"}))
    peer = WebPeer(home)
    peer.write(request("Origin: https://example.com"))
    home.settle()
    assert peer.status == 101


def test_a_request_that_is_too_long_in_coming(make: MakeWorld) -> None:
    home = make({"clients.handshake_secs": 5})
    peer = WebPeer(home)
    peer.write(GET[:20])
    home.settle()
    home.pass_(5.1)
    assert peer.ended and peer.statuses == [408] and home.server.counters.closed == {CloseReason.HANDSHAKE_TIMEOUT: 1}


def test_whose_time_is_over_before_it_has_taken_its_answers_is_told_no_more(make: MakeWorld) -> None:
    home = make({"clients.handshake_secs": 3})
    peer = WebPeer(home, send_buffer=4096)
    peer.reading = False
    peer.write(GET * 2000)
    home.settle()
    home.pass_(4)
    peer.reading = True
    home.settle()
    assert peer.ended and 408 not in peer.statuses and home.loop.bugs == [] and home.connected() == 0


def test_who_says_nothing_is_told_nothing(make: MakeWorld) -> None:
    home = make({"clients.handshake_secs": 5})
    peer = WebPeer(home)
    home.settle()
    home.pass_(5.1)
    assert peer.ended and not peer.received and home.server.counters.closed == {CloseReason.HANDSHAKE_TIMEOUT: 1}


def test_an_answer_begins_the_time_anew_and_who_asks_nothing_more_has_nothing_done_wrong(make: MakeWorld) -> None:
    home = make({"clients.handshake_secs": 5, "limits.address_failures": 1})
    peer = WebPeer(home)
    for _ in range(3):
        home.pass_(4.0)
        peer.write(GET)
        home.settle()
    assert peer.statuses == [426] * 3 and not peer.ended
    home.pass_(5.1)
    assert peer.ended and home.server.counters.closed == {CloseReason.ANSWERED: 1}


def test_who_wants_no_more_is_closed(make: MakeWorld) -> None:
    home = make()
    peer = WebPeer(home)
    peer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    home.settle()
    assert peer.ended and peer.statuses == [426] and home.server.counters.closed == {CloseReason.ANSWERED: 1}


def test_who_does_not_take_its_answers_is_not_read(make: MakeWorld) -> None:
    home = make()
    peer = WebPeer(home, send_buffer=4096)
    peer.reading = False
    peer.write(GET * 20_000)
    home.settle()
    assert peer.waiting > len(GET) * 1000, "most of it is still with the sender"
    peer.reading = True
    home.settle()
    assert peer.statuses == [426] * 20_000 and home.loop.bugs == []


def test_who_asks_much_at_once_is_answered_once_a_turn(make: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    home, asked, next_request = make(), [], Conversation.next_request

    def count(conversation: Conversation) -> Request | None:
        asked.append(conversation)
        return next_request(conversation)

    monkeypatch.setattr(Conversation, "next_request", count)
    for _ in range(4):
        WebPeer(home).write(GET * 100)
    modest = WebPeer(home)
    modest.write(GET)
    while not modest.received:
        home.loop.turn(0)
        home.pump()
    assert len(asked) <= 2 * HANDSHAKE_BUDGET
    home.settle()
    assert home.loop.bugs == []


def test_a_cut_at_any_byte_of_the_request_costs_nothing(make: MakeWorld) -> None:
    home = make()
    stream = request(subprotocol="")
    for cut in range(0, len(stream), 7):
        peer = WebPeer(home)
        peer.write(stream[:cut])
        home.settle()
        peer.cut()
        home.settle()
    assert not home.server.registry.sessions and home.connected() == 0 and home.loop.bugs == []


def test_who_does_not_take_its_pongs_is_not_read(make: MakeWorld) -> None:
    """On a lane with pings they are answered before the handshake is done, and what is not taken has no limit."""
    home = make()
    peer = WebPeer(home, send_buffer=4096)
    peer.write(request(subprotocol="voltlane.v2"))
    home.settle()
    peer.reading = False
    peer.write(client_frame(PING, bytes(125)) * 5000)
    home.settle()
    (arrival,) = home.server.arrivals._all.items()
    assert MOST_UNSENT < len(arrival.unsent) <= MOST_UNSENT + RECEIVED and peer.waiting > 100_000
    peer.reading = True
    home.settle()
    assert peer.received.count(b"\x8a\x7d") == 5000 and home.loop.bugs == []
