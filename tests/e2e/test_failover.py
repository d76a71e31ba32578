"""A list of masters: which one is chosen, when another is, and what becomes of what was on its way."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from kit.process import EmbeddedServer, ServerProcess
from kit.raw_client import RawClient, frame
from kit.raw_master import RECONNECTION, RawMaster, Tagged, tagged
from kit.wait import wait_until

from voltlane.reasons import CloseReason


class Masters:
    """Two masters, and a server that prefers the first."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.first, self.second = (stack.enter_context(RawMaster(receive_buffer=16384)) for _ in range(2))
        self.address = f"{self.first.address},{self.second.address}"

    def embedded(self, **settings: object) -> EmbeddedServer:
        given = {name.replace("__", "."): value for name, value in settings.items()}
        server = self._stack.enter_context(EmbeddedServer(self.address, given))
        self._stack.callback(self.second.close)  # first: a server that ends gives a master a moment
        self._stack.callback(self.first.close)
        return server

    def new(self, server: EmbeddedServer) -> RawClient:
        return self._stack.enter_context(RawClient.new(server.address))


@pytest.fixture
def masters() -> Iterator[Masters]:
    with ExitStack() as stack:
        yield Masters(stack)


def test_the_first_that_answers_is_the_master_and_the_log_says_which(masters: Masters) -> None:
    masters.first.stop_listening()
    with ServerProcess(masters.address) as server:
        masters.second.accept()
        server.wait_for_log(f"connected to the master at {masters.second.address}")
        assert f"no master at {masters.first.address}: Connection refused; trying the next" in server.log
        with RawClient.new(server.address, behind=frame(b"hello")) as client:
            assert masters.second.recv_for(client.client_id).data == b"hello"
        masters.second.close()


def test_what_the_first_had_not_taken_arrives_whole_at_the_second(masters: Masters) -> None:
    server = masters.embedded(master__outbox_bytes=1 << 20)
    first, second = masters.first, masters.second
    first.accept()
    client = masters.new(server)
    sent = [b"%06d" % number + bytes(300_000) for number in range(60)]
    sender = threading.Thread(target=lambda: client.send(*sent))
    sender.start()  # blocks once the master's queue is full
    server.wait_for_log("clients are not read")
    first.stop_listening()
    first.no_more_to_say()
    server.wait_for_log("the master is gone")
    cut = first.rest()  # its host still takes what the server's kernel has
    before = [packet.data for packet in first.inbox]
    second.accept()
    assert second.recv() == Tagged(client.client_id, RECONNECTION, b"")
    behind = second.recv_data(client.client_id, len(sent) - len(before))
    assert cut and tagged(client.client_id, behind[0]).startswith(cut)
    assert [*before, *behind] == sent, "nothing lost, nothing twice, and in order"
    sender.join()
    assert f"connected to the master at {second.address}" in server.log


def test_the_first_is_tried_first_again_when_the_second_is_lost(masters: Masters) -> None:
    masters.first.stop_listening()
    server = masters.embedded()
    masters.second.accept()
    client = masters.new(server)
    masters.first.listen_again()
    client.send(b"the second is not left while it is there")
    assert masters.second.recv_for(client.client_id).data == b"the second is not left while it is there"
    masters.second.drop()
    masters.first.accept()
    client.send(b"up")
    assert masters.first.recv_for(client.client_id).flag == RECONNECTION
    assert masters.first.recv_for(client.client_id).data == b"up"


def test_one_that_talks_nonsense_is_tried_last(masters: Masters) -> None:
    server = masters.embedded()
    masters.first.accept()
    client = masters.new(server)
    masters.first.send_raw(frame(bytes(3)))
    masters.second.accept()
    assert masters.second.recv() == Tagged(client.client_id, RECONNECTION, b"")
    assert server.counters.closed == {CloseReason.MALFORMED_TAG: 1}


def test_one_that_takes_nothing_is_given_up_for_the_next(masters: Masters) -> None:
    server = masters.embedded(master__stall_secs=0.3, master__outbox_bytes=1 << 20)
    masters.first.accept()
    client = masters.new(server)
    sender = threading.Thread(target=lambda: client.send(*[bytes(300_000)] * 60))
    sender.start()
    masters.second.accept()
    assert masters.second.recv() == Tagged(client.client_id, RECONNECTION, b"")
    assert server.counters.closed == {CloseReason.MASTER_STALLED: 1}
    assert f"the master is gone: {CloseReason.MASTER_STALLED.value}" in server.log
    assert server.counters.master_bytes_unconfirmed > 0
    while sender.is_alive():
        masters.second.recv()
    sender.join()


# ---- a host that is gone

_SO_ATTACH_FILTER = 26


def vanish(sock: socket.socket) -> None:
    """From now on the system drops all that arrives for this socket, and so acknowledges nothing (Linux)."""
    drop_everything = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
    program = struct.pack("HP", 1, ctypes.addressof(drop_everything))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError as error:
        pytest.skip(f"no packet filters here: {error.strerror}")


@pytest.mark.skipif(sys.platform != "linux", reason="packet filters are Linux's")
def test_a_host_that_vanished_is_noticed_and_what_was_on_its_way_is_counted(masters: Masters) -> None:
    """No end comes from a host without power: only keepalive, and data that nobody acknowledges, tell."""
    server = masters.embedded(master__keepalive_secs=1)
    masters.first.accept()
    client = masters.new(server)
    client.send(b"before")
    assert masters.first.recv_for(client.client_id).data == b"before"
    assert masters.first.link is not None
    vanish(masters.first.link)
    masters.first.stop_listening()
    client.send(b"into the void", b"and more")
    lost = len(tagged(0, b"into the void") + tagged(0, b"and more"))
    masters.second.accept()
    assert masters.second.recv() == Tagged(client.client_id, RECONNECTION, b"")
    client.send(b"after")
    assert masters.second.recv_for(client.client_id).data == b"after"
    assert server.counters.master_bytes_unconfirmed == lost
    assert f"{lost} bytes were on their way to the master, and may be lost" in server.log
    assert server.counters.closed == {CloseReason.PEER_LOST: 1}


@pytest.mark.skipif(sys.platform != "linux", reason="packet filters are Linux's")
def test_a_silent_host_that_vanished_is_noticed_too(masters: Masters) -> None:
    server = masters.embedded(master__keepalive_secs=1)
    masters.first.accept()
    assert masters.first.link is not None
    vanish(masters.first.link)
    masters.first.stop_listening()
    masters.second.accept()
    wait_until(lambda: f"connected to the master at {masters.second.address}" in server.log, "the second")
    assert server.counters.master_bytes_unconfirmed == 0 and "may be lost" not in server.log


def test_a_master_that_has_read_everything_leaves_no_doubt(masters: Masters) -> None:
    server = masters.embedded()
    masters.first.accept()
    client = masters.new(server)
    client.send(b"read")
    assert masters.first.recv_for(client.client_id).data == b"read"
    masters.first.stop_listening()
    masters.first.drop()
    masters.second.accept()
    assert server.counters.master_bytes_unconfirmed == 0 and "may be lost" not in server.log
