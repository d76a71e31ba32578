"""Whose pages may connect."""

from __future__ import annotations

import logging

import pytest

from voltlane.lanes.web.origins import Origins

SAME_HOST = [
    ("http://example.com", "example.com", True),
    ("https://example.com", "example.com", True),
    ("https://EXAMPLE.com", "example.COM", True),
    ("http://example.com:8080", "example.com:8080", True),
    ("http://example.com", "example.com:80", True),
    ("https://example.com:443", "example.com", True),
    ("https://[::1]:8443", "[::1]:8443", True),
    ("http://example.com", "example.com:8080", False),
    ("http://example.com:8080", "example.com", False),
    ("http://example.com", "example.com:443", False),
    ("http://other.example.com", "example.com", False),
    ("http://example.com.evil.test", "example.com", False),
    ("http://evil.test", "example.com", False),
    ("null", "example.com", False),
    ("", "example.com", False),
    ("", "", False),
    ("http://", "", False),
    ("http://example.com", None, False),
]


@pytest.mark.parametrize(("origin", "authority", "allowed"), SAME_HOST)
def test_without_a_list_the_host_itself(origin: str, authority: str | None, allowed: bool) -> None:
    assert Origins(()).allows(origin, authority) is allowed


LISTED = ("https://example.com", "http://localhost:3000", "https://*.example.org")
BY_LIST = [
    ("https://example.com", True),
    ("https://example.com:443", True),
    ("http://example.com", False),
    ("https://example.com:8443", False),
    ("http://localhost:3000", True),
    ("http://localhost", False),
    ("https://a.example.org", True),
    ("https://a.b.example.org", True),
    ("https://example.org", False),
    ("https://.example.org", False),
    ("https://.example.org", False),
    ("http://a.example.org", False),
    ("https://a.example.org.evil.test", False),
    ("https://host.test", False),
    ("null", False),
]


@pytest.mark.parametrize(("origin", "allowed"), BY_LIST)
def test_with_a_list_those_on_it(origin: str, allowed: bool) -> None:
    assert Origins(LISTED).allows(origin, "host.test") is allowed


def test_no_page_and_every_page() -> None:
    assert Origins(LISTED).allows(None, "host.test") and Origins(()).allows(None, None)
    assert Origins(("*",)).allows("https://evil.test", "host.test") and Origins(("*",)).allows("null", None)
    assert Origins(("null",)).allows("null", "host.test")


def test_a_refused_one_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    origins = Origins(())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            origins.note_refused("https://evil.test")
        for number in range(1000):
            origins.note_refused(f"https://{number}.test")
    assert caplog.text.count("'https://evil.test'") == 1 and len(caplog.records) == 256


def test_another_list_holds_at_once() -> None:
    origins = Origins(())
    origins.configure(("https://a.test",))
    assert origins.allows("https://a.test", "b.test") and not origins.allows("https://b.test", "b.test")
