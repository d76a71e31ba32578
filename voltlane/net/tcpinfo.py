"""What the kernel knows of a TCP connection (Linux, getsockopt TCP_INFO): it counts all of this anyway.

The structure (struct tcp_info, linux/tcp.h) has grown at its end over the years, and a kernel gives as much of it as it
knows. What it does not know is None here, and so is what it has not measured yet.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import NamedTuple

AVAILABLE = sys.platform == "linux" and hasattr(socket, "TCP_INFO")
"""Elsewhere there is no such option, or one of another shape."""

# Up to tcpi_total_retrans, which every kernel that Python still runs on has:
# retransmits at 2, unacked at 24, last_data_recv at 52, rtt and rttvar at 68, total_retrans at 100.
_FIRST = struct.Struct("=2x B 21x I 24x I 12x I I 24x I")
# From there: bytes_acked and bytes_received (4.1) at 120, segs_out (4.2) at 136, data_segs_out (4.6) at 156,
# delivery_rate (4.9) at 160.
_BYTES = struct.Struct("=Q Q")
_SEGMENTS = struct.Struct("=I 16x I Q")
_BYTES_AT, _SEGMENTS_AT = 120, 136
_SIZE = _SEGMENTS_AT + _SEGMENTS.size


class TcpInfo(NamedTuple):
    """One connection, at one moment. Times are seconds."""

    rtt: float | None
    """There and back, smoothed (RFC 6298)."""
    rttvar: float | None
    last_data_recv: float
    """How long ago data came."""
    retransmits: int
    """How often what is first in line to be acknowledged was sent again."""
    total_retrans: int
    """Segments sent again since the beginning."""
    unacked: int
    """Segments that are on their way."""
    bytes_received: int | None = None
    bytes_acked: int | None = None
    segs_out: int | None = None
    data_segs_out: int | None = None
    """Segments sent with data, those sent again included."""
    delivery_rate: int | None = None
    """Bytes a second that the way to the peer has carried lately; less than it could, if there was less to send."""


def read(sock: socket.socket) -> TcpInfo | None:
    """What the kernel knows, or None: it is no TCP connection, or the system does not tell."""
    if not AVAILABLE or sock.family == socket.AF_UNIX:
        return None
    try:
        return parse(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE))
    except OSError:
        return None


def parse(data: bytes) -> TcpInfo | None:
    """As much as there is of the structure; None where not even its oldest part is whole."""
    if len(data) < _FIRST.size:
        return None
    retransmits, unacked, silent, rtt, rttvar, total_retrans = _FIRST.unpack_from(data)
    received = acked = segs = data_segs = rate = None
    if len(data) >= _BYTES_AT + _BYTES.size:
        acked, received = _BYTES.unpack_from(data, _BYTES_AT)
    if len(data) >= _SIZE:
        segs, data_segs, rate = _SEGMENTS.unpack_from(data, _SEGMENTS_AT)
    return TcpInfo(
        rtt=rtt / 1e6 if rtt else None,
        rttvar=rttvar / 1e6 if rtt else None,
        last_data_recv=silent / 1e3,
        retransmits=retransmits,
        total_retrans=total_retrans,
        unacked=unacked,
        bytes_received=received,
        bytes_acked=acked,
        segs_out=segs,
        data_segs_out=data_segs,
        delivery_rate=rate or None,
    )
