"""`POST /send`, on a clock that only the test moves."""

from __future__ import annotations

import pytest
from kit.event_world import Caller, EventClient, call, post, request, stream
from kit.world import MakeWorld, World, numbered

from voltlane.core.session import State
from voltlane.lanes.web.request_stage import READ_BODY
from voltlane.reasons import CloseReason, EndReason

pytest.importorskip("h11", reason="the extra `web` is not installed")

PAGE, OTHER = "https://page.example", "https://other.example"
SHARED = {"web.origins": [PAGE]}


def chunked(token: str, *chunks: bytes) -> bytes:
    head = request("POST /send", f"Authorization: Bearer {token}", "Transfer-Encoding: chunked")
    return head + b"".join([b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b"")])


# ---- it is passed on


def test_a_body_is_a_packet_whatever_is_in_it(make: MakeWorld):
    home = make()
    client = stream(home)
    bodies = [b"hello", b"", bytes(range(256)), b"\r\n\r\n", b"z" * 300_000, b"end"]
    answers = call(home, *[post(client.token, body) for body in bodies])
    assert [answer.status for answer in answers] == [202] * len(bodies)
    assert all(answer.body == b"" and answer.headers["content-length"] == "0" for answer in answers)
    assert home.master.data[client.id] == bodies


def test_one_byte_at_a_time(make: MakeWorld):
    home = make()
    client, caller = stream(home), Caller(home)
    for byte in post(client.token, b"one") + post(client.token, b"") + chunked(client.token, b"th", b"ree"):
        caller.write(bytes([byte]))
        home.loop.turn(0)
        caller.pump()
    home.settle()
    assert caller.statuses == [202, 202, 202] and home.master.data[client.id] == [b"one", b"", b"three"]
    assert caller.ended, "h11 is lenient about where chunks end, so nothing is read behind them"


def test_a_body_that_is_waited_for(make: MakeWorld):
    """100-continue: a client that asks before it sends much."""
    home = make()
    client = stream(home)
    whole = post(client.token, b"x" * 50_000, "Expect: 100-continue")
    caller = Caller(home, whole[:-50_000])
    home.settle()
    assert caller.interim == 1 and not caller.answers
    caller.write(whole[-50_000:])
    home.settle()
    assert caller.statuses == [202] and home.master.data[client.id] == [b"x" * 50_000]


def test_an_event_stream_on_a_connection_that_has_sent(make: MakeWorld):
    home = make()
    client = stream(home)
    caller = Caller(home, post(client.token, b"up"), request("GET /events"))
    home.settle()
    assert caller.statuses[0] == 202 and len(home.server.registry.sessions) == 2


def test_what_is_sent_while_the_stream_is_away(make: MakeWorld):
    home = make()
    client = stream(home)
    client.cut()
    home.settle()
    assert [answer.status for answer in call(home, post(client.token, b"up"))] == [202]
    assert home.master.data[client.id] == [b"up"] and home.server.registry.sessions[client.id].state is State.STALE
    home.master.send(client.id, b"down")
    home.settle()
    assert stream(home, f"{client.token}.0").got == [b"down"]


def test_who_sends_is_not_idle(make: MakeWorld):
    home = make({"clients.idle_secs": 10})
    client, silent = stream(home), stream(home)
    for _ in range(4):
        home.pass_(6)
        call(home, post(client.token, b"here"))
    assert not client.ended and silent.ended and home.server.counters.closed[CloseReason.IDLE] == 1


# ---- it is not


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer ", "Bearer x", "Basic {}", "{}", "Bearer {}x", "Bearer {}.0", "Bearer  {} {}", "Bearer 9{}"],
)
def test_tokens_that_open_nothing(make: MakeWorld, authorization: str):
    home = make()
    client = stream(home)
    header = [f"Authorization: {authorization.replace('{}', client.token)}"] if authorization else []
    (answer,) = call(home, request("POST /send", "Content-Length: 3", *header, body=b"up!"))
    assert answer.status == 401 and answer.headers["www-authenticate"].startswith("Bearer ")
    assert client.token.partition(".")[2].encode() not in answer.body
    assert (b"there is no token" in answer.body) == (not authorization)
    assert CloseReason.TOKEN_REFUSED.value.encode() not in answer.body, "in the log the two stand together"
    assert home.master.data == {} and home.server.counters.closed == {CloseReason.TOKEN_REFUSED: 1}


def test_the_token_of_another_session(make: MakeWorld):
    home = make()
    client, other, v2 = stream(home), stream(home), home.new()
    secret = client.token.partition(".")[2]
    for token in (f"{other.id}.{secret}", f"{v2.id}.{secret}"):
        assert [answer.status for answer in call(home, post(token, b"up"))] == [401]
    assert home.master.data == {}


def test_a_session_that_is_over(make: MakeWorld):
    home = make()
    client = stream(home)
    home.master.kick(client.id)
    home.settle()
    (answer,) = call(home, post(client.token, b"up"))
    assert answer.status == 410 and EndReason.KICKED.value.encode() in answer.body
    assert home.master.data == {} and home.server.counters.closed[CloseReason.SESSION_ENDED] == 1


def test_a_session_that_ends_while_a_body_is_on_its_way(make: MakeWorld):
    home = make()
    client = stream(home)
    whole = post(client.token, b"x" * 100)
    caller = Caller(home, whole[:-1])
    home.settle()
    home.master.kick(client.id)
    home.settle()
    caller.write(whole[-1:])
    home.settle()
    assert caller.statuses == [410] and home.master.data == {}


def test_bodies_that_are_too_large(make: MakeWorld):
    home = make({"web.body_bytes": 1000})
    client = stream(home)
    assert [answer.status for answer in call(home, post(client.token, bytes(1000)))] == [202]
    for words in (
        post(client.token, bytes(1001)),
        post(client.token, b"", "X: y").replace(b"Content-Length: 0", b"Content-Length: 99999999999"),
        chunked(client.token, bytes(600), bytes(401)),
    ):
        caller = Caller(home, words)
        home.settle()
        assert caller.statuses == [413] and caller.ended
    assert home.master.data[client.id] == [bytes(1000)]


def test_no_packet_is_larger_than_packets_may_be(make: MakeWorld):
    home = make({"clients.packet_size_limit": 10})
    client = stream(home)
    assert [answer.status for answer in call(home, post(client.token, bytes(10)), post(client.token, bytes(11)))] == [
        202,
        413,
    ]


def test_who_shows_no_token_may_not_say_much(make: MakeWorld):
    """Before anything of the body is read, or kept."""
    home = make()
    head = request("POST /send", "Content-Length: 1000000", "Authorization: Bearer 1.AAAAAAAAAAAAAAAAAAAAAA")
    caller, elsewhere = Caller(home, head), Caller(home, request("POST /", "Content-Length: 5000"))
    home.settle()
    assert caller.statuses == [401] and elsewhere.statuses == [413]


def test_a_master_that_takes_no_more(make: MakeWorld):
    home = make({"master.channel_capacity": 20, "clients.packet_rate": 0})
    client = stream(home)
    home.master.reading = False
    caller = Caller(home)
    sent: list[bytes] = []
    while 503 not in caller.statuses:
        assert len(caller.answers) < 300
        sent.append(len(caller.answers).to_bytes(2, "big") + bytes(20_000))
        caller.write(post(client.token, sent[-1]))
        home.settle()
    refused = sent.pop()
    assert int(caller.answers[-1].headers["retry-after"]) >= 1 and not caller.ended
    home.master.reading = True
    home.settle()
    caller.write(post(client.token, refused))
    home.settle()
    assert caller.statuses[-1] == 202 and home.master.data[client.id] == [*sent, refused]


@pytest.mark.parametrize("policy", ["throttle", "disconnect"])
@pytest.mark.parametrize("stale", [False, True], ids=["live", "stale"])
def test_the_rate_of_a_client_holds(make: MakeWorld, policy: str, stale: bool):
    home = make({"clients.packet_rate": 2, "clients.rate_burst_secs": 2, "clients.rate_policy": policy})
    client = stream(home)
    if stale:
        client.cut()
        home.settle()
    caller = Caller(home, *[post(client.token, b"%d" % number) for number in range(7)])
    home.settle()
    assert caller.statuses == [202] * 5 + [429] * 2
    assert caller.answers[-1].headers["retry-after"] == "1" and client.closed is stale
    home.pass_(1)
    caller.write(post(client.token, b"later"))
    home.settle()
    assert caller.statuses[-1] == 202 and home.master.data[client.id] == [*[b"%d" % n for n in range(5)], b"later"]


def test_a_new_stream_owes_what_was_sent_while_there_was_none(make: MakeWorld):
    home = make({"clients.packet_rate": 1, "clients.rate_burst_secs": 1})
    client = stream(home)
    client.cut()
    home.settle()
    call(home, post(client.token, b"one"), post(client.token, b"two"))
    again = stream(home, f"{client.token}.0")
    assert [answer.status for answer in call(home, post(again.token, b"three"))] == [429]


# ---- slow, and much


def test_a_body_that_stands_still(make: MakeWorld):
    home = make({"clients.handshake_secs": 5})
    client = stream(home)
    caller = Caller(home, post(client.token, bytes(200_000))[:-150_000])
    home.settle()
    home.pass_(5.5)
    assert caller.statuses == [408] and caller.ended
    assert home.server.counters.closed == {CloseReason.HANDSHAKE_TIMEOUT: 1}


def test_a_large_body_has_its_time_as_long_as_it_gets_on(make: MakeWorld):
    home = make({"clients.handshake_secs": 5})
    client = stream(home)
    body = bytes(8 * READ_BODY)
    whole = post(client.token, body)
    caller = Caller(home)
    for start in range(0, len(whole), READ_BODY):
        caller.write(whole[start : start + READ_BODY])
        home.pass_(4)
    assert caller.statuses == [202] and home.master.data[client.id] == [body]


def test_a_byte_now_and_then_moves_no_deadline(make: MakeWorld):
    home = make({"clients.handshake_secs": 5})
    client = stream(home)
    caller = Caller(home, post(client.token, bytes(10_000))[:-9000])
    for _ in range(11):
        caller.write(bytes(100))
        home.pass_(0.5)
    assert caller.ended and caller.statuses == [408]


def test_bodies_count_as_memory_and_can_be_given_up(make: MakeWorld):
    home = make()
    client = stream(home)
    caller = Caller(home, post(client.token, bytes(500_000))[:-1])
    home.settle()
    assert home.server.budget.used == 499_999
    home.server.budget.configure(100_000)
    home.settle()
    assert caller.ended and home.server.counters.closed == {CloseReason.FRAME_SHED: 1} and home.server.budget.used == 0
    home.server.budget.configure(0)


def test_who_leaves_in_the_middle_leaves_nothing(make: MakeWorld):
    home = make()
    client = stream(home)
    caller = Caller(home, post(client.token, bytes(100_000))[:-1])
    home.settle()
    caller.cut()
    home.settle()
    assert home.server.budget.used == 0 and home.master.data == {}


def test_who_leaves_behind_its_answer_has_not_failed(make: MakeWorld):
    home = make({"limits.address_failures": 1})
    client = stream(home)
    for _ in range(3):
        caller = Caller(home, post(client.token, b"up"))
        home.settle()
        caller.cut()
        home.settle()
    assert home.server.counters.closed == {CloseReason.ANSWERED: 3}


# ---- pages


def shared_with(home: World, origin: str, *requests: bytes) -> list[str | None]:
    """Which origin may read the answers to these."""
    answers = []
    for words in requests:
        (answer,) = call(home, words.replace(b"\r\n\r\n", f"\r\nOrigin: {origin}\r\n\r\n".encode(), 1))
        assert answer.headers["vary"] == "Origin"
        answers.append(answer.headers.get("access-control-allow-origin"))
    return answers


def test_answers_are_for_pages_that_may_connect(make: MakeWorld):
    home = make({**SHARED, "web.body_bytes": 100, "clients.packet_size_limit": 1000})
    client = stream(home)
    asked = [
        post(client.token, b"up"),
        post("x", b"up"),
        post(client.token, bytes(101)),
        chunked(client.token, bytes(101)),
        request("OPTIONS /send", "Access-Control-Request-Method: POST"),
        request("OPTIONS /events", "Access-Control-Request-Headers: last-event-id"),
        request("PUT /send"),
    ]
    assert shared_with(home, PAGE, *asked) == [PAGE] * len(asked)
    assert home.master.data[client.id] == [b"up"]
    assert shared_with(home, OTHER, *asked) == [None] * len(asked)
    assert home.master.data[client.id] == [b"up"], "nor is what they send passed on"
    assert home.server.counters.closed[CloseReason.ORIGIN_REFUSED] == len(asked)


def test_the_preflight(make: MakeWorld):
    home = make(SHARED)
    (answer,) = call(home, request("OPTIONS /send", f"Origin: {PAGE}", "Access-Control-Request-Method: POST"))
    assert answer.status == 200 and answer.body == b""
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    (answer,) = call(home, request("OPTIONS /send", f"Origin: {OTHER}", "Access-Control-Request-Method: POST"))
    assert answer.status == 403 and not [name for name in answer.headers if name.startswith("access-control")]


def test_streams_are_for_pages_that_may_connect(make: MakeWorld):
    home = make(SHARED)
    client = stream(home, "", f"Origin: {PAGE}")
    assert client.head is not None and client.head[1]["access-control-allow-origin"] == PAGE
    other = EventClient(home, "", f"Origin: {OTHER}")
    home.settle()
    assert other.head is not None and other.head[0] == 403 and other.ended
    assert "access-control-allow-origin" not in other.head[1] and len(home.server.registry.sessions) == 1


def test_without_a_list_pages_of_the_same_host(make: MakeWorld):
    home = make()
    same, other = "http://server.example.com", "http://server.example.com:81"
    assert shared_with(home, same, request("OPTIONS /send")) == [same]
    assert shared_with(home, other, request("OPTIONS /send")) == [None]


def test_nothing_of_a_request_gets_into_the_head_of_an_answer(make: MakeWorld):
    home = make({"web.origins": ["*"]})
    for header in ("Origin: a\r\tX: y", "Origin: a\r\nX: y", "Origin: \xe4\x85".encode().decode("latin-1")):
        caller = Caller(home, request("OPTIONS /send", header))
        home.settle()
        assert all("x" not in answer.headers for answer in caller.answers)


def test_requests_that_nothing_is_there_for(make: MakeWorld):
    home = make()
    answers = call(home, request("GET /send"), request("POST /events", "Content-Length: 0"), request("GET /x"))
    assert [(answer.status, answer.headers.get("allow")) for answer in answers] == [
        (405, "POST, OPTIONS"),
        (405, "GET, OPTIONS"),
        (426, None),
    ]


def test_two_clients_do_not_mix(make: MakeWorld):
    home = make()
    one, two = stream(home), stream(home)
    call(home, *[post(client.token, payload) for payload in numbered(20) for client in (one, two)])
    assert home.master.data == {one.id: numbered(20), two.id: numbered(20)}
