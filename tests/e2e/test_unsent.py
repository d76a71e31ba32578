"""What a dead link has not sent waits in the server, and not in the kernel, where it would be lost with the socket."""

from __future__ import annotations

import sys

import pytest
from kit.rig import Rig, running

from voltlane.config import defaults

fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is unsent")

SIOCOUTQNSD = 0x894B
"""Bytes that a TCP socket has not sent, <linux/sockios.h>."""
SIZE, COUNT = 1000, 4000
FRAME = SIZE + 4
RECEIVE_BUFFER = 4096
IN_ITS_HANDS = 10_000
"""More than the kernel of a client with so small a buffer takes before that is full."""


def unsent(rig: Rig) -> int:
    (connection,) = rig.server.server.clients.connections  # type: ignore[union-attr]
    return int.from_bytes(fcntl.ioctl(connection.sock, SIOCOUTQNSD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("limit", [defaults().socket.unsent_bytes, 16384])
def test_what_a_client_that_is_lost_had_not_taken_is_kept(limit: int) -> None:
    sent = [b"%08d" % number + bytes(SIZE - 8) for number in range(COUNT)]
    with running({"socket.unsent_bytes": limit}, embedded=True) as rig:
        client = rig.new(receive_buffer=RECEIVE_BUFFER)
        rig.master.send(client.client_id, *sent)
        rig.master.fence()
        (connection,) = rig.server.server.clients.connections  # type: ignore[union-attr]
        in_kernel = unsent(rig)
        assert limit // 2 < in_kernel < limit + 2 * FRAME
        assert connection.outbox.size > COUNT * FRAME - in_kernel - IN_ITS_HANDS
        client.reset()
        again = rig.back(client)
        rig.master.send(client.client_id, b"the last")
        got = list(iter(again.recv, b"the last"))
        assert got == sent[-len(got) :], "what was kept comes whole and in order"
        assert COUNT - len(got) <= (limit + IN_ITS_HANDS) // FRAME + 2


def test_none_is_as_the_system_has_it() -> None:
    with running({"socket.unsent_bytes": 0}, embedded=True) as rig:
        client = rig.new(receive_buffer=RECEIVE_BUFFER)
        rig.master.send(client.client_id, *[bytes(SIZE)] * COUNT)
        rig.master.fence()
        assert unsent(rig) > 2 * defaults().socket.unsent_bytes
