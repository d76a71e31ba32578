"""The kernel's structure, whole, short and not there."""

from __future__ import annotations

import socket
import struct

import pytest
from kit.handlers import pair, tcp_pair
from kit.wait import wait_until

from voltlane.net import tcpinfo
from voltlane.net.tcpinfo import TcpInfo, parse, read

FIELDS = (
    *(("B", name) for name in ("state", "ca_state", "retransmits", "probes", "backoff", "options", "wscale", "flags")),
    *(("I", name) for name in ("rto", "ato", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets")),
    *(("I", name) for name in ("last_data_sent", "last_ack_sent", "last_data_recv", "last_ack_recv")),
    *(("I", name) for name in ("pmtu", "rcv_ssthresh", "rtt", "rttvar", "snd_ssthresh", "snd_cwnd", "advmss")),
    *(("I", name) for name in ("reordering", "rcv_rtt", "rcv_space", "total_retrans")),
    *(("Q", name) for name in ("pacing_rate", "max_pacing_rate", "bytes_acked", "bytes_received")),
    *(("I", name) for name in ("segs_out", "segs_in", "notsent_bytes", "min_rtt", "data_segs_in", "data_segs_out")),
    ("Q", "delivery_rate"),
)
"""struct tcp_info as linux/tcp.h had it in 4.9, in the order in which it has grown."""
FORMAT = "=" + "".join(kind for kind, _ in FIELDS)

linux = pytest.mark.skipif(not tcpinfo.AVAILABLE, reason="no TCP_INFO here")


def packed(**given: int) -> bytes:
    """The structure with every other field set to something else."""
    return struct.pack(FORMAT, *(given.get(name, 0x5A) for _, name in FIELDS))


WHOLE = packed(
    retransmits=2,
    unacked=7,
    last_data_recv=1500,
    rtt=80_000,
    rttvar=20_000,
    total_retrans=31,
    bytes_acked=1 << 40,
    bytes_received=1 << 41,
    segs_out=5000,
    data_segs_out=4000,
    delivery_rate=1 << 33,
)
OLDEST = TcpInfo(rtt=0.08, rttvar=0.02, last_data_recv=1.5, retransmits=2, total_retrans=31, unacked=7)
WITH_BYTES = OLDEST._replace(bytes_acked=1 << 40, bytes_received=1 << 41)
EVERYTHING = WITH_BYTES._replace(segs_out=5000, data_segs_out=4000, delivery_rate=1 << 33)


def test_every_field_is_where_the_header_has_it():
    assert parse(WHOLE) == EVERYTHING


@pytest.mark.parametrize(
    ("size", "found"),
    [(0, None), (103, None), (104, OLDEST), (135, OLDEST), (136, WITH_BYTES), (167, WITH_BYTES), (168, EVERYTHING)],
)
def test_what_an_older_kernel_does_not_know_is_unknown(size, found):
    assert parse(WHOLE[:size]) == found


def test_a_newer_kernel_knows_more():
    assert parse(WHOLE + bytes(100)) == EVERYTHING


def test_what_was_not_measured_is_unknown():
    info = parse(packed(rtt=0, rttvar=5, delivery_rate=0))
    assert info is not None
    assert (info.rtt, info.rttvar, info.delivery_rate) == (None, None, None)


@linux
def test_a_connection():
    ours, theirs = tcp_pair()
    with ours, theirs:
        theirs.sendall(b"x" * 1000)
        ours.sendall(b"y" * 50)
        wait_until(lambda: read(ours).bytes_received == 1000 and read(ours).bytes_acked == 50, "acknowledged")
        info = read(ours)
        assert info is not None and info.rtt is not None
        assert 0 < info.rtt < 1 and info.total_retrans == 0 and info.data_segs_out == 1 and info.unacked == 0


def test_a_unix_socket_has_none():
    ours, theirs = pair()
    with ours, theirs:
        assert read(ours) is None


def test_a_closed_socket_has_none():
    ours, theirs = tcp_pair()
    theirs.close()
    ours.close()
    assert read(ours) is None


def test_where_there_is_no_such_option(monkeypatch):
    monkeypatch.setattr(tcpinfo, "AVAILABLE", False)
    monkeypatch.delattr(socket, "TCP_INFO", raising=False)
    ours, theirs = tcp_pair()
    with ours, theirs:
        assert read(ours) is None
