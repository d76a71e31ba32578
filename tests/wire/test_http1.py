"""Requests, right and wrong, whole and in pieces: each gets its status, and none an exception."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.admin import answers

from voltlane.wire.http1.answers import Refusal, Response, json_response
from voltlane.wire.http1.conversation import (
    EVENTS,
    MAX_BODY,
    MAX_HEAD,
    MAX_HEADERS,
    MAX_LINE,
    Conversation,
    Limits,
    Request,
)

pytest.importorskip("h11", reason="the extra `web` is not installed")

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def heard(*pieces: bytes) -> Iterator[Request | int]:
    """The requests in some bytes; the status that a refusal ends them with."""
    conversation = Conversation(Limits(), ())
    for piece in pieces:
        conversation.receive(piece)
        while True:
            try:
                request = conversation.next_request()
            except Refusal as refusal:
                conversation.answer(refusal.response, "now", last=True)
                yield refusal.status
                return
            if request is None:
                if conversation.unfinished:
                    continue
                break
            yield request
            conversation.answer(json_response({}), "now")
            if conversation.over:
                return


def test_a_request_is_what_it_says() -> None:
    (request,) = heard(b"POST /a%20b?c=d&e= HTTP/1.1\r\nHost: h\r\nX: 1\r\nx: 2\r\nContent-Length: 3\r\n\r\nabc")
    headers = {"host": "h", "x": "1, 2", "content-length": "3"}
    assert request == Request("POST", ("a b",), {"c": "d", "e": ""}, "h", headers, b"abc")


TARGETS: dict[bytes, tuple[str | None, tuple[str, ...], dict[str, str]]] = {
    b"GET /": ("h:1", ("",), {}),
    b"GET /a%2Fb//c/?d=%26&e=f%3Dg": ("h:1", ("a/b", "", "c", ""), {"d": "&", "e": "f=g"}),
    b"GET http://other:2/a?b=c": ("other:2", ("a",), {"b": "c"}),
    b"GET HTTPS://[::1]/": ("[::1]", ("",), {}),
    b"GET http://other": ("other", ("",), {}),
    b"GET http://other?a=b": ("other", ("",), {"a": "b"}),
    b"OPTIONS *": ("h:1", (), {}),
    b"OPTIONS http://other:2": ("other:2", (), {}),
    b"OPTIONS http://other:2/": ("other:2", ("",), {}),
}


@pytest.mark.parametrize("line", TARGETS)
def test_a_target_has_several_forms(line: bytes) -> None:
    (request,) = heard(line + b" HTTP/1.1\r\nHost: h:1\r\n\r\n")
    assert isinstance(request, Request)
    assert (request.authority, request.segments, request.query) == TARGETS[line]


def test_before_http_1_1_no_host_is_needed() -> None:
    (request,) = heard(b"GET /livez HTTP/1.0\r\n\r\n")
    assert isinstance(request, Request) and request.authority is None
    (request,) = heard(b"GET /livez HTTP/1.0\r\nHost: a\r\n\r\n")
    assert isinstance(request, Request) and request.authority == "a"


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_empty_lines_in_front_of_a_request_are_nothing(size: int) -> None:
    data = b"\r\n" + GET + b"\r\n\r\n" + GET + b"\r\n"
    found = list(heard(*[data[i : i + size] for i in range(0, len(data), size)]))
    assert found == [*heard(GET), *heard(GET)]


def test_a_chunked_body_is_put_together() -> None:
    (request,) = heard(
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    assert isinstance(request, Request) and request.body == b"abcde"


def test_a_body_of_many_chunks_is_put_together_a_few_at_a_time() -> None:
    conversation = Conversation(Limits(), ())
    conversation.receive(b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    conversation.receive(b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
    calls = 1
    while (request := conversation.next_request()) is None:
        assert conversation.unfinished and conversation.held
        calls += 1
    assert request.body == b"x" * 1000 and not conversation.unfinished and calls > 1000 // EVENTS


def test_requests_behind_the_first_are_still_there() -> None:
    conversation = Conversation(Limits(), ())
    conversation.receive(GET * 3)
    for left in (True, True, False):
        assert conversation.next_request() is not None and conversation.unfinished is left
        conversation.answer(json_response({}), "now")
    assert conversation.next_request() is None and not conversation.unfinished


def test_byte_by_byte_is_the_same() -> None:
    data = GET + b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" + GET
    assert list(heard(*[data[i : i + 1] for i in range(len(data))])) == list(heard(data)) != []


WRONG = {
    "no request": (b"hello\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "another two hosts": (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "a host that is none": (b"GET / HTTP/1.1\r\nHost: [\r\n\r\n", 400),
    "a host in brackets": (b"GET / HTTP/1.1\r\nHost: [localhost]\r\n\r\n", 400),
    "a host with a user": (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    "a host with a path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "a port that is none": (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    "another scheme": (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no path": (b"GET livez HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target without a host": (b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target with a user": (b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
    "a target with a fragment": (b"GET http://a/b#c HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a star to get": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a proxy's business": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
    "two framings": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two framings, the other way round": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a framing before its time": (
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a folded line": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
    "a folded first line": (b"GET / HTTP/1.1\r\n\tHost: a\r\nHost: a\r\n\r\n", 400),
    "a bare line feed": (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
    "bare line feeds alone": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "a bare line feed in front": (b"\n" + GET, 400),
    "a bare carriage return": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", 400),
    "a blank in front": (b" " + GET, 400),
    "a blank before the colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "a NUL": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n", 400),
    "a later version without a host": (b"GET / HTTP/1.2\r\n\r\n", 400),
    "another version": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "an early version": (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    "a header without a colon": (b"GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "a length that is none": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    "many fields": (b"GET /?" + b"&".join([b"a=b"] * 30) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a large body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413),
    "a body that grows large": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n"
        % (MAX_BODY + 1, b"x" * (MAX_BODY + 1)),
        413,
    ),
    "a long line": (b"GET /" + b"x" * MAX_LINE + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "a line without end": (b"GET /" + b"x" * (MAX_HEAD + 1000), 414),
    "something else expected": (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n", 417),
    "long headers": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MAX_HEAD + b"\r\n\r\n", 431),
    "headers without end": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * (MAX_HEAD // 6), 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * MAX_HEADERS + b"\r\n", 431),
    "another coding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("pieces", [1, 3, 1000], ids=["whole", "in three", "in small pieces"])
def test_a_wrong_request_gets_its_status(name: str, pieces: int) -> None:
    data, status = WRONG[name]
    size = max(1, len(data) // pieces)
    assert list(heard(*[data[i : i + size] for i in range(0, len(data), size)])) == [status]


TOKENS = [
    b"GET ", b"POST ", b"HEAD ", b"CONNECT ", b"/", b"/livez", b"/clients", b"?sort=", b"%", b"*", b" HTTP/1.1",
    b" HTTP/1.0", b"\r\n", b"\n", b"\r", b"\0", b"Host: a", b"Connection: close", b"Connection: Upgrade",
    b"Upgrade: h2c", b"Content-Length: ", b"3", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b'Cookie: a="',
    b": ", b"\xff", b"Authorization: Bearer x", b"0\r\n\r\n", b"a" * 3000, b"HTTP/1.1 200 OK", b"\r\n\r\n",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join)),
    st.lists(st.integers(0, 3000), max_size=5),
)
def test_anything_gets_requests_or_a_refusal(data: bytes, cuts: list[int]) -> None:
    whole = list(heard(data))
    for item in whole:
        assert isinstance(item, Request) or 400 <= item <= 505
    edges = sorted({0, len(data), *[cut for cut in cuts if cut < len(data)]})
    pieces = [data[start:stop] for start, stop in zip(edges, edges[1:])]
    assert list(heard(*pieces)) == whole
    assert answers(b"") == []


# ---- before a body is read


def admitting(*sizes: int) -> Conversation:
    """Lets requests have bodies of these sizes; none is refused."""
    left = list(sizes)

    def admit(request: Request) -> int:
        if not left:
            raise Refusal(401, "not this one")
        assert request.body == b""
        return left.pop(0)

    return Conversation(Limits(), (), admit)


def posted(body: bytes, *headers: bytes) -> bytes:
    lines = (b"POST /a HTTP/1.1", b"Host: h", b"Content-Length: %d" % len(body), *headers, b"", body)
    return b"\r\n".join(lines)


def test_each_request_is_admitted_by_its_head_and_its_body_held_until_it_is_whole() -> None:
    conversation = admitting(10_000, 3)
    whole = posted(bytes(10_000))
    conversation.receive(whole[:-1])
    assert conversation.next_request() is None and conversation.head is not None and conversation.begun
    assert conversation.held == 9999
    conversation.receive(whole[-1:])
    request = conversation.next_request()
    assert request is not None and request.body == bytes(10_000)
    assert conversation.head is None and conversation.held == 0 and not conversation.begun
    conversation.answer(json_response({}), "now")
    conversation.receive(posted(b"1234")[:-4])
    with pytest.raises(Refusal) as refused:
        conversation.next_request()
    assert refused.value.status == 413 and conversation.head is not None


def test_who_is_refused_is_not_asked_for_a_body() -> None:
    conversation = admitting()
    conversation.receive(posted(bytes(100), b"Expect: 100-continue")[:-100])
    with pytest.raises(Refusal) as refused:
        conversation.next_request()
    assert refused.value.status == 401 and conversation.take_interim() == b"" and conversation.head is not None
    assert conversation.head.segments == ("a",)
    assert conversation.answer(refused.value.response, "now", last=True).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("body", [b"", b"abc"])
def test_who_has_sent_the_body_is_not_asked_for_it(body: bytes) -> None:
    conversation = Conversation(Limits(), ())
    conversation.receive(posted(body, b"Expect: 100-continue"))
    assert conversation.next_request() is not None
    assert conversation.answer(json_response({}), "now").startswith(b"HTTP/1.1 200 ")
    assert conversation.next_request() is None and conversation.take_interim() == b""


def test_who_waits_is_asked_for_the_body_once() -> None:
    conversation = Conversation(Limits(), ())
    conversation.receive(posted(b"abc", b"Expect: 100-continue")[:-3])
    assert conversation.next_request() is None
    assert conversation.take_interim() == b"HTTP/1.1 100 \r\n\r\n" and conversation.take_interim() == b""


def test_an_answer_that_goes_on_until_the_end() -> None:
    conversation = Conversation(Limits(), [("X", "y")])
    conversation.receive(GET)
    assert conversation.next_request() is not None
    head = conversation.stream(Response(200, b"", "text/event-stream", (("Vary", "Origin"),)), "now")
    assert head == (
        b"HTTP/1.1 200 OK\r\nDate: now\r\nX: y\r\nVary: Origin\r\nConnection: close\r\n"
        b"Content-Type: text/event-stream\r\n\r\n"
    )
