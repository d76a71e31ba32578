"""The PROXY protocol, versions 1 and 2: the header in which a proxy says whose connection it forwards.

Source: HAProxy's doc/proxy-protocol.txt of 2020/03/05, sections 2.1 (one line of text) and 2.2 (binary).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import NamedTuple

from ..errors import MalformedProxyHeader

MAX_HEADER = 4096
"""Bytes of the longest header taken. The addresses need 232; the rest is for what proxies put behind them."""

_V1 = b"PROXY "
_V1_MAX = 107
_V1_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n")
_V1_UNKNOWN = b"PROXY UNKNOWN"

_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD = Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC, _INET, _INET6, _UNIX = range(4)
_PROTOCOLS = 3  # unspecified, stream, datagram
_ADDRESSES = {_UNSPEC: 0, _INET: 12, _INET6: 36, _UNIX: 216}
"""Bytes of the two addresses and ports of each family."""
_TLV = Struct("!BH")
_SSL, _CLIENT_SSL = 0x20, 0x01
"""Section 2.2.6: what is behind the addresses of a connection that came over TLS, and the bit that says that it did."""


class ProxyHeader(NamedTuple):
    """A header. Without an address the connection counts as the proxy's own."""

    size: int
    """Its bytes: what is behind them is the client's."""
    address: bytes
    """Where the client is, packed: 4 bytes, 16, or none."""
    port: int
    encrypted: bool = False
    """Whether it came to the proxy over TLS, as far as that says so; version 1 cannot."""


def read_header(data: bytes) -> ProxyHeader | None:
    """The header that the data begins with, or None when it is not all there yet. At most MAX_HEADER bytes are needed.

    Raises MalformedProxyHeader, as soon as the data cannot become one.
    """
    if data.startswith(_V2[: len(data)]):
        return _read_v2(data) if len(data) >= _V2_HEAD.size else None
    if data.startswith(_V1[: len(data)]):
        return _read_v1(data)
    raise MalformedProxyHeader("it begins like none")


def _read_v1(data: bytes) -> ProxyHeader | None:
    size = data.find(b"\r\n", 0, _V1_MAX) + 2
    if size < 2:
        if len(data) >= _V1_MAX:
            raise MalformedProxyHeader(f"no end of line in {_V1_MAX} bytes")
        return None
    line = data[:size]
    if line.startswith((_V1_UNKNOWN + b" ", _V1_UNKNOWN + b"\r")):
        return ProxyHeader(size, b"", 0)
    found = _V1_LINE.fullmatch(line)
    if found is None:
        raise MalformedProxyHeader("version 1, but not as it is written")
    family, *texts, source_port, destination_port = [part.decode() for part in found.groups()]
    try:
        source, _ = [_packed(family, text) for text in texts]
    except ValueError as error:
        raise MalformedProxyHeader(f"version 1: {error}") from None
    if int(source_port) > 65535 or int(destination_port) > 65535:
        raise MalformedProxyHeader("version 1: a port over 65535")
    return ProxyHeader(size, source, int(source_port))


def _packed(family: str, text: str) -> bytes:
    if family == "6":
        return IPv6Address(text).packed
    if re.search(r"(^|\.)0\d", text):  # some Pythons take it, as decimal; some other programs, as octal
        raise ValueError("leading zeros are not permitted")
    return IPv4Address(text).packed


def _read_v2(data: bytes) -> ProxyHeader | None:
    _, command, family, length = _V2_HEAD.unpack_from(data)
    size = _V2_HEAD.size + length
    if command not in (_LOCAL, _PROXY):
        raise MalformedProxyHeader(f"version and command {command:#04x}")
    if size > MAX_HEADER:
        raise MalformedProxyHeader(f"{size} bytes were announced, at most {MAX_HEADER} are taken")
    kind = family >> 4
    if command == _PROXY and (kind not in _ADDRESSES or family & 15 >= _PROTOCOLS or length < _ADDRESSES[kind]):
        raise MalformedProxyHeader(f"family and protocol {family:#04x} with {length} bytes")
    if len(data) < size:
        return None
    if command == _PROXY and family & 15 and kind in (_INET, _INET6):
        width = 4 if kind == _INET else 16
        at = _V2_HEAD.size
        port = at + 2 * width
        encrypted = _came_over_tls(data, at + _ADDRESSES[kind], size)
        return ProxyHeader(size, data[at : at + width], int.from_bytes(data[port : port + 2], "big"), encrypted)
    return ProxyHeader(size, b"", 0)


def _came_over_tls(data: bytes, start: int, stop: int) -> bool:
    """Whether one of the fields there says so. What is malformed says nothing: nobody else looks at them."""
    while start + _TLV.size <= stop:
        kind, length = _TLV.unpack_from(data, start)
        start += _TLV.size
        if kind == _SSL and length and start + length <= stop:
            return bool(data[start] & _CLIENT_SSL)
        start += length
    return False
