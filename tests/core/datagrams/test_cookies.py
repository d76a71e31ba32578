"""Cookies: good at the address that they were baked for, for a while, and nowhere else."""

from __future__ import annotations

from itertools import count

import pytest

from voltlane.core.datagrams.cookies import Cookies
from voltlane.wire.datagram import COOKIE_SECS, COOKIE_SIZE

HERE = bytes((192, 0, 2, 1))


@pytest.fixture
def cookies() -> Cookies:
    numbers = count(1)
    return Cookies(lambda size: next(numbers).to_bytes(size, "big"), 100.0)


def test_one_is_good_where_it_was_baked_for(cookies: Cookies):
    cookie = cookies.bake(HERE, 7, 101.0)
    assert len(cookie) == COOKIE_SIZE and cookies.bake(HERE, 7, 102.0) == cookie
    assert cookies.good(cookie, HERE, 7, 102.0)


@pytest.mark.parametrize(("packed", "port"), [(HERE, 8), (HERE[::-1], 7), (bytes(12) + HERE, 7), (b"", 7)])
def test_and_nowhere_else(cookies: Cookies, packed: bytes, port: int):
    assert not cookies.good(cookies.bake(HERE, 7, 101.0), packed, port, 101.0)


@pytest.mark.parametrize("cookie", [b"", b"\0" * COOKIE_SIZE, b"\0" * 15, b"\0" * 17])
def test_what_is_none_is_not_good(cookies: Cookies, cookie: bytes):
    assert not cookies.good(cookie, HERE, 7, 101.0)


def test_a_part_or_more_of_one_is_none(cookies: Cookies):
    cookie = cookies.bake(HERE, 7, 101.0)
    assert not cookies.good(cookie[:-1], HERE, 7, 101.0) and not cookies.good(cookie + b"\0", HERE, 7, 101.0)


@pytest.mark.parametrize(
    ("later", "good"), [(0.0, True), (COOKIE_SECS - 2, True), (COOKIE_SECS, True), (2 * COOKIE_SECS, False)]
)
def test_it_is_good_for_half_a_minute_at_least_and_a_minute_at_most(cookies: Cookies, later: float, good: bool):
    cookie = cookies.bake(HERE, 7, 100.0)
    assert cookies.good(cookie, HERE, 7, 100.0 + later) is good


def test_after_a_long_silence_none_is_left(cookies: Cookies):
    cookie = cookies.bake(HERE, 7, 100.0)
    assert not cookies.good(cookie, HERE, 7, 100.0 + 3 * COOKIE_SECS)
    assert cookies.good(cookies.bake(HERE, 7, 300.0), HERE, 7, 301.0)
