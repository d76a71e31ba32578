"""One connection from its first byte to its end, on a clock that only the test moves."""

from __future__ import annotations

import socket

from kit.admin import Asker, answers
from kit.world import World

from voltlane.admin.connection import LINGER_SECS, PATIENCE_SECS
from voltlane.reasons import AdminEnd

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_many_requests_on_one_connection(asker: Asker) -> None:
    for _ in range(3):
        assert asker.get("/livez").body == b"alive\n"
    assert not asker.ended


def test_requests_sent_together_are_answered_in_order(asker: Asker) -> None:
    paths = ["/livez", "/nothing", "/readyz"] * 20
    found = asker.raw(b"".join(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode() for path in paths))
    assert [answer.status for answer in found] == [200, 404, 200] * 20


def test_who_says_so_is_closed_after_the_answer(asker: Asker) -> None:
    assert asker.get("/livez", connection="close").headers["connection"] == "close"
    assert asker.ended


def test_http_1_0_is_answered_and_closed(asker: Asker) -> None:
    (answer,) = asker.raw(b"GET /livez HTTP/1.0\r\n\r\n")
    assert answer.status == 200 and asker.ended


def test_a_wrong_request_is_answered_and_closed(asker: Asker) -> None:
    (answer,) = asker.raw(b"nonsense\r\n\r\n" + GET)
    assert answer.status == 400 and answer.headers["connection"] == "close" and asker.ended


def test_head_has_no_body(asker: Asker) -> None:
    whole, head = asker.get("/"), asker.ask("HEAD", "/")
    assert head.headers["content-length"] == str(len(whole.body)) and head.body == b""
    assert asker.get("/livez").status == 200


def test_a_request_that_never_ends_is_given_up(watched: World, asker: Asker) -> None:
    asker.write(GET[:-1])
    watched.pass_(PATIENCE_SECS - 1)
    assert asker.settle() == b""
    watched.pass_(2)
    (answer,) = answers(asker.settle())
    assert answer.status == 408 and asker.ended


def test_a_request_that_drips_has_no_more_time(watched: World, asker: Asker) -> None:
    for byte in GET[:-1]:
        asker.write(bytes([byte]))
        watched.pass_(PATIENCE_SECS / 20)
    assert asker.settle()[9:12] == b"408"


def test_an_idle_connection_is_closed_without_a_word(watched: World, asker: Asker) -> None:
    asker.get("/livez")
    watched.pass_(PATIENCE_SECS + 1)
    assert asker.settle() == b"" and asker.ended


def test_who_does_not_read_its_answers_is_not_answered_and_given_up(watched: World, asker: Asker) -> None:
    asker.sock.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
    watched.settle()
    connection = asker.connection
    assert connection.outbox is not None and connection.outbox.size < 50_000
    watched.pass_(PATIENCE_SECS + 1)
    assert connection.closed
    assert watched.server.counters.admin == {AdminEnd.ANSWER_UNREAD: 1}


def test_who_reads_slowly_gets_all_its_answers(asker: Asker) -> None:
    found = asker.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
    assert [answer.status for answer in found] == [200] * 50


def test_a_body_that_never_ends_is_given_up(watched: World, asker: Asker) -> None:
    asker.write(b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n")
    for _ in range(15):
        asker.write(b"x")
        watched.pass_(PATIENCE_SECS / 10)
    assert asker.settle()[9:12] == b"408" and asker.ended
    assert watched.server.counters.admin == {AdminEnd.REQUEST_LATE: 1}


def test_who_is_refused_may_finish_what_it_is_saying(watched: World, asker: Asker) -> None:
    """Closed at once, the connection would be reset, and the answer lost."""
    asker.write(b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n")
    assert asker.settle()[9:12] == b"413" and asker.ended
    for _ in range(99):
        assert asker.sock.send(b"x" * 1000) == 1000
        watched.settle()
    asker.sock.shutdown(socket.SHUT_WR)
    watched.settle()
    assert len(asker.endpoint.places) == 0


def test_who_does_not_come_to_an_end_is_closed(watched: World, asker: Asker) -> None:
    asker.write(b"nonsense\r\n\r\n")
    assert asker.settle()[9:12] == b"400" and asker.ended
    for _ in range(4):
        asker.sock.send(GET)
        watched.pass_(LINGER_SECS / 4 + 0.1)
    assert len(asker.endpoint.places) == 0 and watched.server.counters.admin == {AdminEnd.BAD_REQUEST: 1}


def test_nothing_is_believed_behind_a_body_in_chunks(asker: Asker) -> None:
    chunks = b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    (answer,) = asker.raw(chunks + GET)
    assert answer.headers["connection"] == "close" and asker.ended


def test_who_waits_to_be_told_to_go_on_is_told(asker: Asker) -> None:
    head = b"POST /drain HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    assert [answer.status for answer in asker.raw(head)] == [100]
    assert [answer.status for answer in asker.raw(b"{}")] == [200]


def test_who_announces_too_much_is_not_told_to_go_on(asker: Asker) -> None:
    head = b"POST /drain HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n"
    assert [answer.status for answer in asker.raw(head)] == [413]
    assert asker.ended
