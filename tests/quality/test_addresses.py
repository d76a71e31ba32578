"""Addresses that can be a peer's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.quality import validate_address


@pytest.mark.parametrize(
    "host",
    ["1.2.3.4", "10.0.0.1", "192.168.1.255", "::ffff:1.2.3.4", "2001:db8::1", "fe80::1", "fe80::1%eth0", "0.0.0.1"],
)
def test_addresses_that_a_peer_can_have(host):
    assert validate_address(host, 5678)


def test_a_mapped_address_is_the_one_that_it_stands_for():
    assert str(validate_address("::ffff:1.2.3.4", 1)) == "1.2.3.4"


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("127.0.0.1", "a loopback"),
        ("127.255.3.4", "a loopback"),
        ("::1", "a loopback"),
        ("::ffff:127.0.0.1", "a loopback"),
        ("0.0.0.0", "the unspecified"),
        ("::", "the unspecified"),
        ("::ffff:0.0.0.0", "the unspecified"),
        ("255.255.255.255", "the broadcast"),
        ("::ffff:255.255.255.255", "the broadcast"),
        ("224.0.0.1", "a multicast"),
        ("239.255.255.255", "a multicast"),
        ("ff02::1", "a multicast"),
        ("::ffff:224.0.0.1", "a multicast"),
        ("::ffff:e000:1", "a multicast"),
    ],
)
def test_addresses_that_no_peer_has(host, kind):
    with pytest.raises(ValueError, match=f"is {kind} address"):
        validate_address(host, 5678)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.3.4", "::1", "::ffff:127.0.0.1"])
def test_a_relay_on_loopback_has_its_peers_there(host):
    assert validate_address(host, 5678, local=True).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "::ffff:224.0.0.1"])
def test_what_is_nobodys_is_not_a_peers_on_loopback_either(host):
    with pytest.raises(ValueError, match=" is "):
        validate_address(host, 5678, local=True)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_that_no_peer_has(port):
    with pytest.raises(ValueError, match=f"port {port}"):
        validate_address("1.2.3.4", port)


@pytest.mark.parametrize("host", ["", "localhost", "1.2.3", "1.2.3.4.5", "::g", "1.2.3.4:5"])
def test_what_is_no_address(host):
    with pytest.raises(ValueError):
        validate_address(host, 1)


@given(st.integers(0, 2**32 - 1))
def test_mapped_or_not_is_the_same(number):
    from ipaddress import IPv4Address

    def outcome(host: str) -> str:
        try:
            return str(validate_address(host, 9))
        except ValueError as error:
            return str(error).partition(" is ")[2]

    address = str(IPv4Address(number))
    assert outcome(address) == outcome(f"::ffff:{address}")
