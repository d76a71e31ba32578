from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.address import FORMS, Address, host_in_ascii, nearby, parse_address, parse_listener, parse_server
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
        ("localhost:00080", tcp("localhost", 80), "localhost:80"),
        ("\uff11\uff12\uff17.0.0.1:1", tcp("127.0.0.1", 1), "127.0.0.1:1"),  # as the resolver has it
        ("b\u00fccher.example:1", tcp("b\u00fccher.example", 1), "b\u00fccher.example:1"),
        ("0x7f.example:1", tcp("0x7f.example", 1), "0x7f.example:1"),
        ("host.5:1", tcp("host.5", 1), "host.5:1"),
        ("unix:/run/voltlane.sock", Address("unix", "", 0, "/run/voltlane.sock"), "unix:/run/voltlane.sock"),
        ("unix:a b:c", Address("unix", "", 0, "a b:c"), "unix:a b:c"),
    ],
)
def test_every_form_parses_and_its_canonical_form_parses_back(text: str, address: Address, canonical: str) -> None:
    assert parse_address(text) == address
    assert str(address) == canonical
    assert parse_address(canonical) == address


NO_NAMES = [
    "a..b",
    ".a",
    "a" * 64,
    "a." + "b" * 70 + ".c",
    "\udcff.x",
    "a\0b",
    "a\x01b",
    "a\x7fb",
    "\u202e.x",
    "ü" * 70,
    "。",
]
"""What no name can be."""


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("localhost", "localhost"),
        ("Host.Name.", "Host.Name."),
        ("a_b", "a_b"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("😀.example", "xn--e28h.example"),
        ("a。b", "a.b"),
        ("a" * 63, "a" * 63),
    ],
)
def test_names_in_any_script_are_names(name: str, known: str) -> None:
    assert parse_address(f"{name}:1").host == name
    assert host_in_ascii(name) == known


@given(st.text("aZ0-_.", max_size=70).map(lambda text: text.replace("Z", "z" * 21)))
def test_names_in_ascii_are_judged_as_the_codec_does(name: str) -> None:
    try:
        assert host_in_ascii(name) == name.encode("idna").decode()
    except UnicodeError:
        assert host_in_ascii(name) == ""


def test_names_in_ascii_need_no_tables_of_unicode_and_others_say_so() -> None:
    """As where Python's package is taken apart: the codec is not found."""

    class Name(str):
        def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
            raise LookupError(f"unknown encoding: {encoding}")

    assert host_in_ascii(Name("host.name")) == "host.name"
    with pytest.raises(ValueError, match=r"'bücher' has to be written in ASCII .*python3-codecs"):
        host_in_ascii(Name("bücher"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it has neither host nor port"),
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
        ("127.0.0.01:42000", "'127.0.0.01' is no IPv4 address"),
        ("0x7f.1:42000", "'0x7f.1' is no IPv4 address"),
        ("127.0.0.1.:42000", "'127.0.0.1.' is no IPv4 address"),
        ("1.2.3.4.5:42000", "'1.2.3.4.5' is no IPv4 address"),
        ("2130706433:42000", "'2130706433' is no IPv4 address"),
        ("224.0.0.1:42000", "224.0.0.1 is an address of many"),
        ("255.255.255.255:42000", "255.255.255.255 is an address of many"),
        ("[ff02::1%eth0]:42000", "ff02::1 is an address of many"),
        ("[::ffff:127.0.0.1]:42000", "'::ffff:127.0.0.1' is an IPv4 address in disguise; write 127.0.0.1"),
        ("[::ffff:7f00:1]:42000", "is an IPv4 address in disguise; write 127.0.0.1"),
        ("[fe80::1]:42000", "'fe80::1' needs its interface behind it, as in [fe80::1%eth0]"),
        ("[fe80::1%]:42000", "needs its interface behind it"),
        ("[fe80::1%a/b]:42000", "needs its interface behind it"),
        ("[fe80::1%\0]:42000", "is no host name"),
        ("[2001:db8::1%eth0]:42000", "names an interface, which only addresses of fe80::/10 have"),
        ("[::1%1]:42000", "names an interface, which only addresses of fe80::/10 have"),
        ("a\0b:42000", "is no host name"),
        ("a..b:42000", "'a..b' is no host name: a part of it is empty, too long or not allowed"),
        ("x" * 64 + ".example:42000", "a part of it is empty, too long or not allowed"),
        ("b\u00fccher..example:42000", "a part of it is empty, too long or not allowed"),
        ("localhost:1_0", "the port is '1_0', not a number"),
        ("localhost: 1", "the port is ' 1', not a number"),
        ("localhost:-1", "the port is '-1', not a number"),
        ("localhost:1.0", "the port is '1.0', not a number"),
        *[(f"{name}:42000", "is no host name") for name in NO_NAMES],
        ("[fe80::1%a\nb]:42000", "is no host name"),
        ("unix:", "the path is empty"),
        ("unix:/run/", "the path is that of a directory"),
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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tcp://", "it has neither host nor port"),
        ("tcp://:42000", "the host is empty"),
        ("TCP://*:65536", "the port may be at most 65535"),
        ("tcp://tcp://*:1", "a scheme has its place"),
        ("udp://*", "it has no port"),
        ("udp://unix:/path", "datagrams come over IP, not on a unix socket"),
    ],
)
def test_what_is_wrong_behind_a_lane_is_told_with_the_lane(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        parse_listener(text)
    assert str(caught.value).startswith(f"{text!r} is no address: ")


def url(scheme: str, host: str, port: int, target: str = "") -> Address:
    return Address("tcp", host, port, "", scheme, target)


@pytest.mark.parametrize(
    ("text", "address", "canonical"),
    [
        ("127.0.0.1:42000", tcp("127.0.0.1", 42000), "127.0.0.1:42000"),
        ("tcp://127.0.0.1:42000", tcp("127.0.0.1", 42000), "127.0.0.1:42000"),
        ("tls://host.name:42443", url("tls", "host.name", 42443), "tls://host.name:42443"),
        ("TLS://[::1]:1", url("tls", "::1", 1), "tls://[::1]:1"),
        ("tls://unix:/path", Address("unix", "", 0, "/path", "tls"), "tls://unix:/path"),
        ("ws://127.0.0.1:8080", url("ws", "127.0.0.1", 8080), "ws://127.0.0.1:8080"),
        ("WS://127.0.0.1:8080/", url("ws", "127.0.0.1", 8080), "ws://127.0.0.1:8080"),
        ("ws://host.name", url("ws", "host.name", 80), "ws://host.name:80"),
        ("wss://host.name/", url("wss", "host.name", 443), "wss://host.name:443"),
        (
            "wss://host.name/a/b%20c?d=e",
            url("wss", "host.name", 443, "/a/b%20c?d=e"),
            "wss://host.name:443/a/b%20c?d=e",
        ),
        ("ws://host.name:1?d=/e", url("ws", "host.name", 1, "/?d=/e"), "ws://host.name:1/?d=/e"),
        ("ws://[::1]/x", url("ws", "::1", 80, "/x"), "ws://[::1]:80/x"),
        ("ws://[::1]:8080", url("ws", "::1", 8080), "ws://[::1]:8080"),
        ("ws://unix:/run/x", Address("unix", "", 0, "/run/x", "ws"), "ws://unix:/run/x"),
        ("unix:/run/x", Address("unix", "", 0, "/run/x"), "unix:/run/x"),
    ],
)
def test_what_a_client_connects_to(text: str, address: Address, canonical: str) -> None:
    assert parse_server(text) == address
    assert str(address) == canonical
    assert parse_server(canonical) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://host.name/", "there is no 'http'; there are tcp://, tls://, ws://, wss://"),
        ("udp://host.name:1", "there is no 'udp'"),
        ("tls://host.name", "it has no port"),
        ("ws://", "it has neither host nor port"),
        ("ws:///path", "it has neither host nor port"),
        ("ws://user:secret@host.name", "a user has no place in it"),
        ("ws://host.name/a b", "behind the port there is a path"),
        ("ws://host.name/\u00fc", "behind the port there is a path"),
        ("ws://host.name/a#b", "behind the port there is a path"),
        ("ws://host.name/a\r\nX: y", "behind the port there is a path"),
        ("ws://host.name:x/", "the port is 'x'"),
        ("ws://host.name:/", "it has no port"),
        ("ws://ws://host.name", "it has no port"),
        ("ws://unix/x", "unix is no host"),
    ],
)
def test_what_no_client_connects_to(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_server(text)
    assert why in str(told.value) and "wss://example.com/path" in str(told.value)


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("127.0.0.1:1", True),
        ("localhost:1", True),
        ("*:1", True),
        ("unix:/run/x", True),
        ("ws://unix:/run/x", True),
        ("ws://[::1]:1", True),
        ("tls://192.0.2.1:1", True),
        ("wss://example.com", True),
        ("192.0.2.1:1", False),
        ("ws://192.0.2.1:1", False),
        ("ws://localhost.example.com", False),
    ],
)
def test_where_nobody_can_listen_on_the_way(text: str, private: bool) -> None:
    assert parse_server(text).is_private is private


@pytest.mark.parametrize(
    ("asked", "bound", "near"),
    [
        ("*:0", "[::]:5", "127.0.0.1:5"),
        ("0.0.0.0:0", "0.0.0.0:5", "127.0.0.1:5"),
        ("[::]:0", "[::]:5", "[::1]:5"),
        ("192.0.2.1:0", "192.0.2.1:5", "192.0.2.1:5"),
        ("unix:/a", "unix:/a", "unix:/a"),
    ],
)
def test_what_to_connect_to_from_here(asked: str, bound: str, near: str) -> None:
    assert str(nearby(parse_address(asked), parse_address(bound))) == near
