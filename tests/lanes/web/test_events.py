"""Clients that are sent events, on a clock that only the test moves."""

from __future__ import annotations

import pytest
from kit.event_world import EventClient, call, number_of, post, request, stream
from kit.world import CLIENT_KEY, MakeWorld, World, numbered

from voltlane.core.session import State
from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.tagged import Flag
from voltlane.wire.v2 import ClientId, ProtocolVersion
from voltlane.wire.v3 import Code

pytest.importorskip("h11", reason="the extra `web` is not installed")

KEEP = {"clients.missed_packets_buffer_size": 10}
TEXTS = [
    b"",
    b" two blanks in front",
    b"\n",
    b"a\nb\n",
    b"\n\n",
    b"data: id: 3",
    ":\u00e4\u20ac\U0001f600".encode(),
    b"\0",
]
OTHERS = [b"\xff\xfe", b"a\rb", b"a\r\nb", b"\r", "\ud800".encode("utf-8", "surrogatepass"), bytes(range(256))]


# ---- what goes down


def test_the_first_event_says_whose_stream_it_is(make: MakeWorld):
    home = make()
    client = stream(home)
    assert client.head is not None
    status, headers = client.head
    assert status == 200 and headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-store, no-transform" and headers["x-accel-buffering"] == "no"
    assert "transfer-encoding" not in headers and headers["connection"] == "close"
    assert client.told == {"client_id": client.id, "token": client.token}
    assert 1000 <= client.source.retry < 3000
    assert client.source.last_id == f"{client.token}.0" and list(home.server.registry.sessions) == [client.id]


def test_packets_are_what_a_browser_makes_of_them(make: MakeWorld):
    home = make()
    client = stream(home)
    payloads = [*TEXTS, *OTHERS, b"x" * 100_000, b"y\n" * 20_000, bytes(50_000)]
    home.master.send(client.id, *payloads)
    home.settle()
    assert client.got == payloads and client.numbers == list(range(1, len(payloads) + 1))
    types = [event.type for event in client.events[1:]]
    assert types[: len(TEXTS)] == ["message"] * len(TEXTS)
    assert types[len(TEXTS) : len(TEXTS) + len(OTHERS)] == ["binary"] * len(OTHERS)


def test_comments_at_an_interval_and_nothing_else(make: MakeWorld):
    home = make({"web.ping_secs": 10})
    client = stream(home)
    before = client.raw
    home.pass_(35)
    assert client.source.comments == 3 and client.raw == before + b":\n\n" * 3 and not client.ended


def test_what_a_client_sends_behind_its_request_is_ignored(make: MakeWorld):
    home = make()
    client = stream(home)
    client.write(request("GET /events") + bytes(10_000) + post(client.token, b"up"))
    home.settle()
    home.master.send(client.id, b"still here")
    home.settle()
    assert client.got == [b"still here"] and home.master.data == {} and len(home.server.registry.sessions) == 1


def test_who_sends_no_more_has_left_for_now(make: MakeWorld):
    home = make()
    client = stream(home)
    client.sock.shutdown(1)
    home.settle()
    assert client.ended and home.server.registry.sessions[client.id].state is State.STALE


# ---- coming back


@pytest.mark.parametrize("in_query", [False, True])
def test_a_stream_goes_on_behind_the_last_event(make: MakeWorld, in_query: bool):
    home = make()
    client = stream(home)
    home.master.send(client.id, *numbered(5))
    home.settle()
    client.cut()
    home.settle()
    home.master.send(client.id, *numbered(3, start=5))
    home.settle()
    third = client.events[3].last_id
    again = stream(home, third, in_query=in_query)
    assert again.id == client.id and again.token == client.token and "lost" not in again.told
    assert again.got == numbered(8)[3:] and again.numbers == [4, 5, 6, 7, 8]
    assert home.master.notices(Flag.RECONNECTION) == [(client.id, b"")]
    home.master.send(client.id, b"ninth")
    home.settle()
    assert again.got[-1] == b"ninth" and again.numbers[-1] == 9


def test_cut_anywhere_nothing_is_lost_or_double(make: MakeWorld):
    home = make({"clients.stale_timeout_secs": 0.5})
    payloads = [b"", b"\n", b"a\nb", b"\xff", b"a\rb", b"end"]
    cut, whole = 0, False
    while not whole:
        client = EventClient(home, send_buffer=1 << 16)
        client.reading = False
        home.settle()
        while not client.events:
            client.read_some(1)
        home.master.send(client.id, *payloads)
        home.settle()
        whole = client.read_some(cut) < cut
        client.closed = True  # what the kernel has of it is lost
        client.sock.close()
        home.settle()
        again = stream(home, client.source.last_id)
        assert client.got + again.got == payloads and client.numbers + again.numbers == [*range(1, len(payloads) + 1)]
        again.cut()
        home.clients.clear()
        home.pass_(4, step=4)
        cut += 3
    assert cut > 300


def test_a_takeover_ends_the_old_stream(make: MakeWorld):
    home = make()
    client = stream(home)
    client.reading = False
    home.master.send(client.id, *numbered(2000, 100))
    home.settle()
    again = stream(home, client.source.last_id)
    home.settle()
    assert again.got == numbered(2000, 100) and home.server.counters.closed == {CloseReason.TAKEN_OVER: 1}
    client.reading = True
    home.settle()
    assert client.ended and home.connected() == 1


def test_who_is_taken_over_is_told(make: MakeWorld):
    home = make()
    client = stream(home)
    stream(home, client.source.last_id)
    home.settle()
    (end,) = client.of_type("end")
    assert end.value == {"code": 3007, "reason": CloseReason.TAKEN_OVER.value} and end.last_id == client.source.last_id


def test_past_the_limit_the_oldest_go_and_who_needs_them_is_told(make: MakeWorld):
    home = make(KEEP)
    client = stream(home)
    home.master.send(client.id, *numbered(25))
    home.settle()
    assert client.got == numbered(25)
    client.cut()
    home.settle()
    ids = [event.last_id for event in client.events]
    last = stream(home, ids[-1])
    assert last.got == [] and last.of_type("gap") == []
    early = stream(home, ids[3])
    (gap,) = early.of_type("gap")
    assert gap.value == {"first": 4, "last": 15} and number_of(gap.last_id) == 15
    assert early.got == numbered(25)[15:] and early.numbers == list(range(16, 26))
    assert [event.type for event in early.events[:3]] == ["session", "gap", "message"]
    assert home.server.counters.gaps == 1 and home.server.counters.backlog_dropped == 0


def test_a_gap_that_was_told_is_not_told_again_but_one_that_was_not_is(make: MakeWorld):
    home = make(KEEP)
    client = stream(home)
    home.master.send(client.id, *numbered(25))
    home.settle()
    early = stream(home, client.events[3].last_id)
    for event, gaps in ((early.events[0], 1), (early.events[1], 0)):
        again = stream(home, event.last_id)
        assert len(again.of_type("gap")) == gaps and again.got == numbered(25)[15:]


def test_what_was_sent_makes_room_for_what_was_not(make: MakeWorld):
    """With the policy "fail" a session does not end because of what its client has had."""
    home = make(KEEP)
    client = stream(home)
    home.master.send(client.id, *numbered(10))
    home.settle()
    client.cut()
    home.settle()
    home.master.send(client.id, *numbered(10, start=10))
    home.settle()
    assert client.id in home.server.registry.sessions
    again = stream(home, client.source.last_id)
    assert again.got == numbered(10, start=10) and again.of_type("gap") == []
    again.cut()
    home.settle()
    home.master.send(client.id, *numbered(11))
    home.settle()
    assert home.server.counters.ended == {EndReason.BACKLOG_FULL: 1}


def test_with_drop_oldest_the_gap_is_told(make: MakeWorld):
    home = make({**KEEP, "clients.missed_packets_policy": "drop-oldest"})
    client = stream(home)
    home.master.send(client.id, *numbered(4))
    home.settle()
    client.cut()
    home.settle()
    home.master.send(client.id, *numbered(21, start=4))
    home.settle()
    again = stream(home, client.source.last_id)
    assert [event.value for event in again.of_type("gap")] == [{"first": 5, "last": 15}]
    assert again.got == numbered(25)[15:] and home.server.counters.backlog_dropped == 11


def test_the_limit_in_bytes(make: MakeWorld):
    home = make({"clients.missed_packets_buffer_bytes": 1000})
    client = stream(home)
    home.master.send(client.id, *numbered(100, 96))
    home.settle()
    again = stream(home, f"{client.token}.0")
    assert len(again.got) == 1000 // 104 and again.of_type("gap")[0].value == {"first": 1, "last": 100 - 1000 // 104}


def test_nothing_retained_at_all(make: MakeWorld):
    home = make({"clients.missed_packets_buffer_size": 0})
    client = stream(home)
    home.master.send(client.id, *numbered(3))
    home.settle()
    again = stream(home, f"{client.token}.1")
    assert client.got == numbered(3) and again.got == []
    assert again.of_type("gap")[0].value == {"first": 2, "last": 3}


# ---- not coming back


def test_a_session_that_is_over_is_said_and_a_new_one_begins(make: MakeWorld):
    home = make()
    client = stream(home)
    home.master.kick(client.id)
    home.settle()
    (end,) = client.of_type("end")
    assert end.value["reason"] == CloseReason.KICKED.value and client.ended
    again = stream(home, client.source.last_id)
    assert again.id != client.id and again.token != client.token
    assert again.told["lost"] == f"session {client.id} has ended: {EndReason.KICKED.value}"
    assert again.source.last_id == f"{again.token}.0"


def wrong(text: str, home: World) -> str:
    client = stream(home, text)
    return str(client.told.get("lost"))


def test_ids_that_open_nothing_begin_a_session_and_touch_none(make: MakeWorld):
    home = make()
    client = stream(home)
    other = home.new()
    secret = client.token.partition(".")[2]
    guessed = secret[:-2] + ("AA" if secret[-2] != "A" else "BA")
    for text in (f"{client.id}.{guessed}.0", f"{other.id}.{secret}.0", f"{client.id + 99}.{secret}.0"):
        assert wrong(text, home) == "the session is over, or of another server"
    for text in (
        "x",
        client.token,
        f"{client.token}.",
        f"{client.token}.-1",
        f"{client.token}.01",
        f"0{client.token}.0",
    ):
        assert wrong(text, home) == "that id is none of an event"
    assert wrong(f"{client.token}.{1 << 63}", home) == "that id is none of an event"
    home.master.send(client.id, b"mine")
    home.settle()
    assert client.got == [b"mine"] and not client.ended and not other.ended


def test_a_place_that_was_never_reached(make: MakeWorld):
    home = make()
    client = stream(home)
    home.master.send(client.id, *numbered(3))
    home.settle()
    again = EventClient(home, f"{client.token}.4")
    home.settle()
    assert again.ended and home.server.counters.closed[CloseReason.BAD_NUMBERS] == 1
    (end,) = again.of_type("end")
    assert end.value == {"code": Code.PROTOCOL, "reason": CloseReason.BAD_NUMBERS.value}
    last = stream(home, f"{client.token}.1")
    assert last.got == numbered(3)[1:] and last.numbers == [2, 3]


def test_other_protocols_do_not_resume_it_nor_it_theirs(make: MakeWorld):
    home = make()
    client = stream(home)
    v2 = home.start_new()
    v2.greet = lambda: None  # type: ignore[method-assign]
    home.settle()
    thief = home.start_resume(client)  # type: ignore[arg-type]
    home.settle()
    assert thief.ended and home.server.counters.closed[CloseReason.UNKNOWN_SESSION] == 1
    assert CLIENT_KEY and ClientId and ProtocolVersion
    secret = client.token.partition(".")[2]
    assert wrong(f"{v2.id}.{secret}.0", home) == "the session is over, or of another server"
    assert not client.ended and not v2.ended


# ---- who does not read


def test_who_does_not_read_overflows_like_anybody(make: MakeWorld):
    home = make({"clients.outbox_bytes": 100_000})
    client = stream(home)
    client.reading = False
    home.master.send(client.id, *numbered(400, 1000))
    home.settle()
    assert home.server.counters.ended == {EndReason.OVERFLOW: 1}
    assert home.server.counters.closed == {CloseReason.OUTBOX_FULL: 1}
    again = stream(home, client.source.last_id)
    assert again.told["lost"] == f"session {client.id} has ended: {EndReason.OVERFLOW.value}"


def test_who_takes_nothing_is_cut_and_its_packets_wait(make: MakeWorld):
    home = make({"clients.write_stall_secs": 5, "clients.slow_secs": 60, "web.ping_secs": 0})
    client = stream(home)
    client.reading = False
    home.master.send(client.id, *numbered(1000, 100))
    home.settle()
    home.pass_(12)
    assert home.server.counters.closed == {CloseReason.WRITE_STALLED: 1}
    again = stream(home, client.source.last_id)
    assert again.got == numbered(1000, 100)


def test_what_is_retained_goes_when_memory_is_short(make: MakeWorld):
    home = make(
        {
            "limits.memory_bytes": 1 << 20,
            "master.outbox_bytes": 1 << 18,
            "clients.outbox_bytes": 1 << 18,
            "clients.missed_packets_buffer_bytes": 1 << 30,
        }
    )
    client = stream(home)
    for start in range(0, 2000, 100):
        home.master.send(client.id, *numbered(100, 1000, start))
        home.settle()
    assert client.got == numbered(2000, 1000) and not client.ended
    again = stream(home, f"{client.token}.0")
    (gap,) = again.of_type("gap")
    assert gap.value["first"] == 1 and again.numbers == list(range(gap.value["last"] + 1, 2001))


def test_a_server_that_ends_keeps_the_session_until_it_has_ended(make: MakeWorld):
    home = make()
    client = stream(home)
    home.server._on_stop()
    home.settle()
    assert client.ended and client.of_type("end")[0].value["reason"] == CloseReason.SHUTDOWN.value
    assert call(home) == []
