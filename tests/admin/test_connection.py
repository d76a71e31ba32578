"""One connection from its first byte to its end, on a clock that only the test moves."""

from __future__ import annotations

from kit.admin import Asker, answers
from kit.world import World

from voltlane.admin.connection import PATIENCE_SECS
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
