"""Whose request it is, as proxies say (X-Forwarded-For; RFC 7239)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.wire.http1.answers import Refusal
from voltlane.wire.http1.forwarded import READERS, Hop, client_of, forwarded, x_forwarded_for


def packed(text: str) -> bytes:
    return ip_address(text).packed


def hop(text: str, port: int = 0, encrypted: bool = False) -> Hop:
    return Hop(packed(text) if text else b"", port, encrypted)


NODES = {
    "192.0.2.1": hop("192.0.2.1"),
    "192.0.2.1:5000": hop("192.0.2.1", 5000),
    "2001:db8::1": hop("2001:db8::1"),
    "[2001:db8::1]": hop("2001:db8::1"),
    "[2001:db8::1]:5000": hop("2001:db8::1", 5000),
    "::ffff:192.0.2.1": hop("::ffff:192.0.2.1"),
    "192.0.2.1:99999": hop("192.0.2.1"),
    "unknown": hop(""),
    "_hidden": hop(""),
    "": hop(""),
    "192.0.02.1": hop(""),
    "192.0.2.256": hop(""),
    "192.0.2": hop(""),
    "fe80::1%eth0": hop(""),
    "host.example": hop(""),
    "192.0.2.1:": hop(""),
    "[192.0.2.1": hop(""),
    "192.0.2.1 5000": hop(""),
}


@pytest.mark.parametrize("text", NODES)
def test_who_is_named(text: str) -> None:
    assert x_forwarded_for({"x-forwarded-for": f"192.0.2.9,{text}"})[-1] == NODES[text]
    assert forwarded({"forwarded": f'for=192.0.2.9, for="{text}"'})[-1] == NODES[text]


def test_nobody_is() -> None:
    assert x_forwarded_for({}) == x_forwarded_for({"x-forwarded-for": ""}) == []
    assert forwarded({}) == forwarded({"forwarded": ""}) == forwarded({"forwarded": " , ,"}) == []
    assert forwarded({"forwarded": "by=192.0.2.1;proto=https"}) == [hop("", encrypted=True)]


@pytest.mark.parametrize(
    ("proto", "encrypted"), [("https", True), ("HTTPS", True), ("http", False), ("", False), ("https, http", False),
                             ("http, https", False), ("wss", False)]
)  # fmt: skip
def test_over_tls(proto: str, encrypted: bool) -> None:
    headers = {"x-forwarded-for": "192.0.2.1, 192.0.2.2", "x-forwarded-proto": proto}
    assert x_forwarded_for(headers) == [hop("192.0.2.1", 0, encrypted), hop("192.0.2.2", 0, encrypted)]


EXAMPLES = {
    'For="[2001:db8:cafe::17]:4711"': [hop("2001:db8:cafe::17", 4711)],
    "for=192.0.2.60;proto=http;by=203.0.113.43": [hop("192.0.2.60")],
    "for=192.0.2.43, for=198.51.100.17": [hop("192.0.2.43"), hop("198.51.100.17")],
    'for=192.0.2.43;proto=https, for="_SEVKISEK";proto=http': [hop("192.0.2.43", 0, True), hop("")],
    'for=192.0.2.43;ext="a, \\"b; c";proto="https"': [hop("192.0.2.43", 0, True)],
    " for=192.0.2.43 ; proto=https ,, for=192.0.2.44;": [hop("192.0.2.43", 0, True), hop("192.0.2.44")],
}
"""Most of them RFC 7239's, sections 4 and 7.1."""


@pytest.mark.parametrize("text", EXAMPLES)
def test_forwarded(text: str) -> None:
    assert forwarded({"forwarded": text}) == EXAMPLES[text]


WRONG = [
    'for="192.0.2.1',
    'for=192.0.2.1;x=", for=192.0.2.2;proto=https',
    'for=192.0.2.1;x=", for="[2001:db8::1]:1"',
    "for",
    "for=",
    "for=192.0.2.1 proto=https",
    "for=[2001:db8::1]",
    "for=192.0.2.1;for=192.0.2.2",
    "for=192.0.2.1:5000",
    'for="192.0.2.1"x',
    "=192.0.2.1",
]
"""The second and third are clients' who try to hide what the proxy has said behind it."""


@pytest.mark.parametrize("text", WRONG)
def test_forwarded_with_a_mistake(text: str) -> None:
    with pytest.raises(Refusal) as told:
        forwarded({"forwarded": text})
    assert told.value.status == 400


@given(st.text('for=;," \\192.:[]a'))
def test_whatever_comes_it_is_read_or_refused(text: str) -> None:
    x_forwarded_for({"x-forwarded-for": text})
    try:
        found = forwarded({"forwarded": text})
    except Refusal:
        return
    # What the proxy puts behind something that can be read is read as it is meant.
    assert forwarded({"forwarded": f"{text}, for=192.0.2.1"}) == [*found, hop("192.0.2.1")]


@pytest.mark.parametrize("text", ["1" * 400_000 + "x", '"' + 'a\\"' * 100_000, 'for="' + '\\"' * 100_000])
def test_what_nobody_can_read_takes_no_longer_than_it_is(text: str) -> None:
    """Clients write there what they like, and a proxy hands it on."""
    assert x_forwarded_for({"x-forwarded-for": text}) == [hop("")]
    with pytest.raises(Refusal):
        forwarded({"forwarded": text})


def test_all_readers_have_a_setting() -> None:
    from voltlane.config import SETTINGS

    allowed = SETTINGS["web.forwarded"].form.allowed  # type: ignore[union-attr]
    assert all(name in allowed for name in READERS)


PROXIES = {packed("10.0.0.1"), packed("10.0.0.2")}
CLIENTS = {
    "the one": (["192.0.2.1"], "192.0.2.1"),
    "behind one proxy": (["192.0.2.1", "10.0.0.1"], "192.0.2.1"),
    "behind two": (["192.0.2.1", "10.0.0.2", "10.0.0.1"], "192.0.2.1"),
    "what it says itself": (["127.0.0.1", "10.0.0.1", "192.0.2.1"], "192.0.2.1"),
    "a proxy itself": (["10.0.0.2"], "10.0.0.2"),
    "all are proxies": (["10.0.0.2", "10.0.0.1"], "10.0.0.2"),
    "nobody says": ([], None),
    "unknown": ([""], None),
    "unknown behind a proxy": (["192.0.2.1", "", "10.0.0.1"], None),
    "unknown before the client": (["", "192.0.2.1"], "192.0.2.1"),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_the_client_is_the_last_that_is_no_proxy(name: str) -> None:
    texts, client = CLIENTS[name]
    found = client_of([hop(text) for text in texts], PROXIES.__contains__)
    assert found == (None if client is None else hop(client))
