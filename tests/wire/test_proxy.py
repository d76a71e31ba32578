"""PROXY protocol headers, each fed whole, byte by byte, and with a client's bytes behind it."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.errors import MalformedProxyHeader
from voltlane.reasons import CloseReason
from voltlane.wire.proxy import MAX_HEADER, ProxyHeader, read_header

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")


def v2(family: int, body: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def inet(source: str, destination: str, source_port: int, destination_port: int) -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    packed = [socket.inet_pton(family, text) for text in (source, destination)]
    return b"".join(packed) + struct.pack("!HH", source_port, destination_port)


V4 = bytes([192, 0, 2, 1])
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
TLV = b"\x04\x00\x05hello"

GOOD: dict[str, tuple[bytes, bytes, int]] = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", V4, 56324),
    "v1 TCP4 longest": (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", b"\xff" * 4, 65535),
    "v1 TCP4 least": (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", bytes(4), 0),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", V6, 1),
    "v1 TCP6 capitals": (b"PROXY TCP6 2001:DB8:0:0:0:0:0:1 ::1 1 2\r\n", V6, 1),
    "v1 TCP6 longest": (
        b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
        b"\xff" * 16,
        65535,
    ),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", b"", 0),
    "v1 UNKNOWN and more": (b"PROXY UNKNOWN \x00\xff whatever\n\r 1\r\n", b"", 0),
    "v1 UNKNOWN longest": (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", b"", 0),
    "v2 TCP4": (v2(0x11, inet("192.0.2.1", "198.51.100.7", 56324, 443)), V4, 56324),
    "v2 UDP4": (v2(0x12, inet("192.0.2.1", "198.51.100.7", 7, 443)), V4, 7),
    "v2 TCP6": (v2(0x21, inet("2001:db8::1", "::1", 65535, 0)), V6, 65535),
    "v2 with TLVs": (v2(0x11, inet("192.0.2.1", "198.51.100.7", 1, 2) + TLV), V4, 1),
    "v2 LOCAL": (v2(0x00, b"", 0x20), b"", 0),
    "v2 LOCAL with addresses": (v2(0x11, inet("192.0.2.1", "198.51.100.7", 1, 2), 0x20), b"", 0),
    "v2 LOCAL of no known family": (v2(0x77, b"???", 0x20), b"", 0),
    "v2 UNSPEC": (v2(0x00, b""), b"", 0),
    "v2 UNSPEC with TLVs": (v2(0x00, TLV), b"", 0),
    "v2 INET, protocol unspecified": (v2(0x10, bytes(12)), b"", 0),
    "v2 UNIX": (v2(0x31, bytes(216)), b"", 0),
    "v2 longest": (v2(0x11, bytes(MAX_HEADER - 16)), bytes(4), 0),
}
BAD: dict[str, bytes] = {
    "our own protocol": bytes.fromhex("020000000102"),
    "HTTP": b"GET / HTTP/1.1\r\n",
    "TLS": bytes.fromhex("1603010200"),
    "v1 small letters": b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "v1 two spaces": b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "v1 space at the end": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
    "v1 LF alone": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n",
    "v1 CR in the middle": b"PROXY TCP4 192.0.2.1\r192.0.2.2 1 2\r\n",
    "v1 leading zero in the address": b"PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n",
    "v1 leading zero in the port": b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
    "v1 port over 65535": b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
    "v1 destination port over 65535": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n",
    "v1 signed port": b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
    "v1 no address": b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
    "v1 destination no address": b"PROXY TCP4 192.0.2.1 192.0.2 1 2\r\n",
    "v1 families mixed": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "v1 families mixed the other way": b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
    "v1 scope": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "v1 other protocol": b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "v1 UNKNOWNX": b"PROXY UNKNOWNX\r\n",
    "v1 nothing in it": b"PROXY \r\n",
    "v1 too long": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "v1 without an end": b"PROXY TCP4 " + b"1" * 200,
    "v2 version 1": v2(0x11, bytes(12), 0x11),
    "v2 version 3": v2(0x11, bytes(12), 0x31),
    "v2 unassigned command": v2(0x11, bytes(12), 0x22),
    "v2 unknown family": v2(0x41, bytes(300)),
    "v2 unknown protocol": v2(0x13, bytes(12)),
    "v2 addresses cut, IPv4": v2(0x11, bytes(11)),
    "v2 addresses cut, IPv6": v2(0x21, bytes(35)),
    "v2 addresses cut, unix": v2(0x31, bytes(215)),
    "v2 too long": v2(0x11, bytes(MAX_HEADER - 15)),
    "v2 signature wrong at its end": SIGNATURE[:-1] + b"\r" + b"\x21\x11\x00\x0c" + bytes(12),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("behind", [b"", b"\x02", b"PROXY UNKNOWN\r\n", SIGNATURE, b"\r\n"])
def test_a_header(name: str, behind: bytes):
    header, address, port = GOOD[name]
    assert read_header(header + behind) == ProxyHeader(len(header), address, port)


@pytest.mark.parametrize("name", GOOD)
def test_a_part_of_a_header_may_become_one(name: str):
    header = GOOD[name][0]
    for size in range(len(header)):
        assert read_header(header[:size]) is None


@pytest.mark.parametrize("name", BAD)
def test_what_is_none(name: str):
    with pytest.raises(MalformedProxyHeader) as caught:
        read_header(BAD[name])
    assert caught.value.reason is CloseReason.PROXY_MALFORMED
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("name", BAD)
def test_what_is_none_byte_by_byte(name: str):
    """It is refused at some byte, and stays refused."""
    refused = 0
    for size in range(len(BAD[name]) + 1):
        try:
            assert read_header(BAD[name][:size]) is None
            assert not refused
        except MalformedProxyHeader:
            refused += 1
    assert refused


@pytest.mark.parametrize("first", [b"\x02", b"G", b"\x16", b"P\x00", b"\r\n\r\n\x01"])
def test_a_client_that_speaks_to_us_directly_is_refused_at_its_first_bytes(first: bytes):
    with pytest.raises(MalformedProxyHeader):
        read_header(first)


def test_an_announced_length_is_refused_before_it_is_waited_for():
    for head in (v2(0x11, bytes(MAX_HEADER - 15))[:16], v2(0x21, bytes(20))[:16]):
        with pytest.raises(MalformedProxyHeader):
            read_header(head)


PIECES = [
    SIGNATURE,
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"192.0.2.1 ",
    b"::1 ",
    b"1 2",
    b"\r\n",
    b"\x21\x11\x00\x0c",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=12).map(b"".join))
def test_whatever_comes_it_is_a_header_a_part_or_refused(data: bytes):
    try:
        header = read_header(data)
    except MalformedProxyHeader:
        return
    if header is None:
        assert len(data) < MAX_HEADER
    else:
        assert 0 < header.size <= min(len(data), MAX_HEADER) and len(header.address) in (0, 4, 16)
        assert read_header(data[: header.size]) == header
        assert 0 <= header.port <= 65535


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=50))
def test_both_versions_say_the_same(address, port: int, behind: bytes):
    version = address.version
    line = f"PROXY TCP{version} {address} {address} {port} 1\r\n".encode()
    binary = v2(0x11 if version == 4 else 0x21, inet(str(address), str(address), port, 1))
    for header in (line, binary):
        assert read_header(header + behind) == ProxyHeader(len(header), address.packed, port)


def field(kind: int, value: bytes) -> bytes:
    """What may stand behind the addresses of version 2."""
    return struct.pack("!BH", kind, len(value)) + value


def ssl(client: int) -> bytes:
    """PP2_TYPE_SSL (section 2.2.6), with the version of TLS in it."""
    return field(0x20, struct.pack("!BI", client, 0) + field(0x21, b"TLSv1.3"))


TLS = {
    "over TLS": (ssl(1), True),
    "with a certificate": (ssl(7), True),
    "behind others": (field(3, bytes(4)) + field(4, b"abc") + ssl(1), True),
    "in front of others": (ssl(1) + field(4, b"abc"), True),
    "not over TLS": (ssl(0), False),
    "another bit": (ssl(2), False),
    "nothing": (b"", False),
    "others": (field(4, bytes([0x20, 0, 1, 1])), False),
    "empty": (field(0x20, b""), False),
    "cut": (ssl(1)[:-1], False),
    "cut in its head": (b"\x20\x00", False),
    "behind one that is cut": (b"\x04\xff\xff" + ssl(1), False),
}


@pytest.mark.parametrize("name", TLS)
@pytest.mark.parametrize("family", [0x11, 0x21])
def test_whether_the_client_came_over_tls(name: str, family: int) -> None:
    behind, encrypted = TLS[name]
    address = "192.0.2.1" if family == 0x11 else "2001:db8::1"
    header = v2(family, inet(address, address, 5000, 1) + behind)
    found = read_header(header + ssl(1))
    assert found is not None and found.encrypted is encrypted and found.size == len(header)
