"""Sets of networks against the standard library's own arithmetic."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.core.networks import Networks, plain, shown, shown_network


def packed(text: str) -> bytes:
    return plain(ip_address(text).packed)


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        (
            ["10.0.0.0/8"],
            ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
            ["9.255.255.255", "11.0.0.0", "::1", "a00::"],
        ),
        (["192.0.2.1/32"], ["192.0.2.1"], ["192.0.2.0", "192.0.2.2"]),
        (["0.0.0.0/0"], ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::", "::1"]),
        (["::/0"], ["::", "2001:db8::1"], ["1.2.3.4", "::ffff:1.2.3.4"]),
        (["2001:db8::/32"], ["2001:db8::", "2001:db8:ffff::1"], ["2001:db9::", "32.1.13.184"]),
        (["::ffff:10.0.0.0/104"], ["10.1.1.1", "::ffff:10.1.1.1"], ["11.1.1.1"]),
        (["10.0.0.0/8", "10.1.0.0/16", "172.16.0.0/12", "::1/128"], ["10.1.1.1", "172.31.0.1", "::1"], ["172.32.0.1"]),
        ([], [], ["1.2.3.4", "::1"]),
    ],
)
def test_who_is_in(networks: list[str], inside: list[str], outside: list[str]):
    made = Networks(networks)
    assert [packed(text) in made for text in inside] == [True] * len(inside)
    assert [packed(text) in made for text in outside] == [False] * len(outside)
    assert bool(made) == bool(networks)


def near(network) -> st.SearchStrategy:
    first, last = int(network[0]), int(network[-1])
    top = (1 << network.max_prefixlen) - 1
    return st.sampled_from([first, last, max(first - 1, 0), min(last + 1, top), (first + last) // 2])


V4 = st.ip_addresses(v=4).flatmap(lambda ip: st.integers(0, 32).map(lambda n: ip_network((ip, n), strict=False)))
V6 = st.ip_addresses(v=6).flatmap(lambda ip: st.integers(0, 128).map(lambda n: ip_network((ip, n), strict=False)))


@given(st.lists(V4, max_size=8), st.lists(V6, max_size=8), st.data())
def test_as_the_standard_library_has_it(v4, v6, data):
    made = Networks(map(str, v4 + v6))
    for networks, any_of, size in ((v4, st.ip_addresses(v=4), 4), (v6, st.ip_addresses(v=6), 16)):
        asked = st.one_of(any_of.map(int), *map(near, networks))
        for number in data.draw(st.lists(asked, max_size=5)):
            address = ip_address(number.to_bytes(size, "big"))
            if len(plain(address.packed)) == size:
                assert (address.packed in made) == any(address in network for network in networks)


def test_networks_as_text():
    assert shown_network(packed("192.0.2.1"), 32) == "192.0.2.1"
    assert shown_network(packed("192.0.2.0"), 24) == "192.0.2.0/24"
    assert shown_network(packed("2001:db8:1:2::"), 64) == "2001:db8:1:2::/64"
    assert shown_network(packed("2001:db8::1"), 128) == "2001:db8::1"


def test_addresses_as_text():
    assert shown(bytes([192, 0, 2, 1]), 7) == "192.0.2.1:7"
    assert shown(packed("::ffff:192.0.2.1"), 7) == shown(ip_address("::ffff:192.0.2.1").packed, 7) == "192.0.2.1:7"
    assert shown(packed("2001:db8::1"), 65535) == "[2001:db8::1]:65535"
