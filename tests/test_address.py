from __future__ import annotations

import pytest

from voltlane.address import FORMS, Address, parse_address
from voltlane.errors import ConfigError


def tcp(host: str, port: int) -> Address:
    return Address("tcp", host, port, "")


@pytest.mark.parametrize(
    ("text", "address", "canonical"),
    [
        ("127.0.0.1:42000", tcp("127.0.0.1", 42000), "127.0.0.1:42000"),
        ("::1:42000", tcp("::1", 42000), "[::1]:42000"),
        ("[::1]:42000", tcp("::1", 42000), "[::1]:42000"),
        ("[2001:DB8:0::1]:1", tcp("2001:db8::1", 1), "[2001:db8::1]:1"),
        ("[::]:42000", tcp("::", 42000), "[::]:42000"),
        (":::42000", tcp("::", 42000), "[::]:42000"),
        ("[fe80::1%eth0]:42000", tcp("fe80::1%eth0", 42000), "[fe80::1%eth0]:42000"),
        ("host.name:6969", tcp("host.name", 6969), "host.name:6969"),
        ("localhost:65535", tcp("localhost", 65535), "localhost:65535"),
        ("my_host-1:0", tcp("my_host-1", 0), "my_host-1:0"),
        ("0.0.0.0:42000", tcp("0.0.0.0", 42000), "0.0.0.0:42000"),
        ("*:42000", tcp("", 42000), "*:42000"),
        ("unix:/run/voltlane.sock", Address("unix", "", 0, "/run/voltlane.sock"), "unix:/run/voltlane.sock"),
        ("unix:a b:c", Address("unix", "", 0, "a b:c"), "unix:a b:c"),
    ],
)
def test_every_form_parses_and_its_canonical_form_parses_back(text: str, address: Address, canonical: str) -> None:
    assert parse_address(text) == address
    assert str(address) == canonical
    assert parse_address(canonical) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it has no port"),
        ("127.0.0.1", "it has no port"),
        ("127.0.0.1:", "it has no port"),
        ("localhost:http", "the port is 'http', not a number"),
        ("localhost:+1", "the port is '+1', not a number"),
        ("localhost:١", "not a number"),
        ("localhost:65536", "the port may be at most 65535"),
        ("localhost:" + "9" * 5000, "the port may be at most 65535"),
        (":42000", "the host is empty; write * for every interface"),
        ("256.0.0.1:42000", "'256.0.0.1' is no IPv4 address"),
        ("127.1:42000", "'127.1' is no IPv4 address"),
        ("1:2:3:42000", "'1:2:3' is no IPv6 address"),
        ("[127.0.0.1]:42000", "'127.0.0.1' is no IPv6 address"),
        ("[::1:42000", "'[::1' is no IPv6 address"),
        ("[]:42000", "'' is no IPv6 address"),
        ("my host:42000", "'my host' is no host name"),
        ("http://host:42000", "a scheme has its place in listener.address only"),
        ("http" * 1000 + "://host:1", "a scheme has its place"),
        ("user@host:42000", "'user@host' is no host name"),
        ("unix:", "the path is empty"),
        ("unix:/a\0b", "NUL"),
        ("unix:/" + "x" * 107, "longer than 107 bytes"),
        ("unix:/" + "é" * 54, "longer than 107 bytes"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason_and_the_forms(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    message = str(caught.value)
    assert why in message
    assert repr(text)[:50] in message
    assert FORMS in message
    assert len(message) < 500


def test_the_longest_unix_path_is_allowed() -> None:
    path = "/" + "x" * 106
    assert parse_address(f"unix:{path}").path == path
