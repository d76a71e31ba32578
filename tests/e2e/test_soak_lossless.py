"""A short soak of version 3 (`make soak ARGS='--protocol 3'` is the long one), and that it notices what goes wrong."""

from __future__ import annotations

import random
import select
import socket

import pytest

if not hasattr(select, "epoll"):
    pytest.skip("the soak needs epoll and /proc", allow_module_level=True)

from bench.soak.lossless import lossless
from bench.soak.master import Master
from bench.soak.packets import ECHO, LAST, OWN, PLAIN, TOTAL, Down, Up
from bench.soak.storm import Storm
from bench.soak.voyager import Habits, Voyager
from bench.wires import Fault
from voltlane.wire.tagged import frame_tagged
from voltlane.wire.v3 import Gap, Retained, Suite, Why

SECONDS, CLIENTS, STALE_SECS = 3.0, 60, 5
MEMORY = "memory grew"


def test_nothing_is_lost_whatever_becomes_of_connections() -> None:
    found = lossless(SECONDS, CLIENTS, stale_secs=STALE_SECS)
    assert [fault for fault in found.faults if not fault.startswith(MEMORY)] == []
    totals = found.totals
    assert totals.clients >= CLIENTS
    assert totals.resumes > CLIENTS
    assert totals.sent + totals.own <= totals.came + totals.clients  # a last packet is answered as well
    assert totals.gaps == totals.holes == totals.uncertain == 0


def test_what_a_killed_server_has_lost_is_told() -> None:
    found = lossless(5.0, CLIENTS, killing=True, lives=(1.0, 2.0), stale_secs=STALE_SECS)
    assert found.faults == []
    assert found.kills >= 1
    assert found.totals.gaps > 0


class TestTheAccount:
    """That what must not be is a fault."""

    @pytest.fixture
    def storm(self):
        master = Master(random.Random(1), False)
        storm = Storm(1, 1, 1, master, False)
        yield storm
        storm.close()
        master.close()

    @pytest.fixture
    def voyager(self, storm) -> Voyager:
        return Voyager(storm, Habits(Suite.CLEAR, 1, 1.0, 0.0, Retained(0, 0), 1000))

    def test_packets_in_order_are_right(self, voyager) -> None:
        voyager.on_packet(Down(1, OWN, 1).encode())
        voyager.on_packet(Down(2, ECHO, 1).encode())
        voyager.on_packet(Down(3, TOTAL, 3).encode())
        assert (voyager.got, voyager.taken, voyager.total) == (3, 3, 3)

    @pytest.mark.parametrize("number", [1, 3])
    def test_one_that_comes_twice_or_is_missing_is_noticed(self, voyager, number: int) -> None:
        voyager.on_packet(Down(1, OWN, 1).encode())
        with pytest.raises(Fault):
            voyager.on_packet(Down(number, OWN, 2).encode())

    def test_one_wrong_byte_is_noticed(self, voyager) -> None:
        payload = Down(1, OWN, 1).encode()
        with pytest.raises(Fault):
            voyager.on_packet(payload[:-1] + bytes((payload[-1] ^ 1,)))

    def test_a_gap_is_a_fault_while_the_server_lives(self, voyager) -> None:
        with pytest.raises(Fault):
            voyager.on_gap(Gap(1, 1, Why.RESTART))

    def test_a_hole_that_was_told_is_right_where_servers_die(self, storm, voyager) -> None:
        storm.killing = True
        voyager.on_gap(Gap(1, 1000, Why.RESTART))
        voyager.on_packet(Down(7, OWN, 7).encode())
        assert (voyager.got, voyager.taken) == (7, 1001)
        with pytest.raises(Fault):
            voyager.on_packet(Down(9, OWN, 9).encode())

    def test_an_ack_of_what_was_not_sent_is_noticed(self, voyager) -> None:
        voyager.say(3)
        with pytest.raises(Fault):
            voyager.on_ack(1)

    @pytest.mark.parametrize("numbers", [[1, 1], [1, 3], [2]])
    def test_the_master_notices_what_is_missing_or_comes_twice(self, numbers: list[int]) -> None:
        master = Master(random.Random(1), False)
        host, port = master.address.split(":")
        try:
            with socket.create_connection((host, int(port))) as server:
                master.accept()
                packets = [frame_tagged(7, 0, Up(number, PLAIN).encode()) for number in numbers]
                server.sendall(b"".join(packets))
                with pytest.raises(Fault, match="client 7"):
                    while True:
                        select.select([master.link], [], [], 5)
                        assert master.read()
        finally:
            master.close()

    def test_the_master_answers_a_last_packet_with_how_many_it_has_sent(self) -> None:
        master = Master(random.Random(1), False)
        host, port = master.address.split(":")
        try:
            with socket.create_connection((host, int(port)), 5) as server:
                master.accept()
                server.sendall(frame_tagged(7, 0, Up(1, LAST).encode()))
                expected = frame_tagged(7, 0, Down(1, TOTAL, 1).encode())
                select.select([master.link], [], [], 5)
                master.read()
                assert server.recv(len(expected)) == expected
        finally:
            master.close()
