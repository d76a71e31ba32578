"""What one address sends at once may come in one piece: when that is asked for, and who takes it apart."""

from __future__ import annotations

import socket
import sys

import pytest
from kit.datagrams import send_at_once
from kit.udp_world import udp_world

from voltlane.address import parse_listener
from voltlane.lanes.udp.lane import UdpLane
from voltlane.net.udp import loops
from voltlane.net.udp.sockets import udp_socket

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or loops.BACKEND != "native", reason="the system joins none, or nobody could take it apart"
)
UDP_GRO = 104


def comes_joined(lane: UdpLane) -> bool:
    (port,) = lane.ports
    assert port.sock is not None
    return bool(port.sock.getsockopt(socket.IPPROTO_UDP, UDP_GRO))


@pytest.mark.parametrize("mode", ["sessions", "open"])
def test_a_server_alone_asks_for_it(mode: str):
    with udp_world(mode) as world:
        assert comes_joined(world.udp)


@pytest.mark.parametrize(("mode", "joined"), [("sessions", False), ("open", True)])
def test_among_several_processes_only_who_goes_by_addresses(mode: str, joined: bool):
    """By the first byte of the first one the others would come to a process that does not know them."""
    with udp_world(mode) as world:
        lane = world.udp
        lane.drop(lane.asked[0])
        lane.share = (1, 2)
        lane.adopt([("", udp_socket(parse_listener("udp://127.0.0.1:0")))])
        assert comes_joined(lane) is joined


def test_before_another_process_goes_on_all_that_is_joined_is_taken():
    """It may have the form that could not take it apart."""
    with udp_world("open") as world:
        sock = world.socket()
        sock.send(b"first")
        world.settle()
        for _ in range(3):
            send_at_once(sock, b"onetwosix", 3, world.place)
        world.udp.rest()
        assert not comes_joined(world.udp)
        world.settle()
        (packets,) = world.master.data.values()
        assert packets == [b"first", *[b"one", b"two", b"six"] * 3]
        world.udp.go_on()
        assert comes_joined(world.udp)
