"""Peers that do not read, or only slowly: what is kept, who is closed, and who must not notice."""

from __future__ import annotations

import socket
import threading

import pytest
from kit.process import HAS_PROC, EmbeddedServer, ServerProcess
from kit.raw_client import RawClient, frame
from kit.raw_master import DATA, FAILURE, NOT_FOUND, RawMaster, Tagged, tagged
from kit.rig import Rig, running
from kit.wait import wait_until

OVERFLOW = b"buffer overflow"
BIG = 1 << 27


def overwhelm(rig: Rig, client: RawClient, payload: bytes, most: int = 2000) -> int:
    """Send to a client that does not read until the master hears of it. How many packets that took."""
    for sent in range(1, most):
        rig.master.send(client.client_id, payload)
        if sent % 20 == 0:
            rig.master.fence()
            failures = rig.master.waiting_for(client.client_id)
            if failures:
                assert failures[0] == Tagged(client.client_id, FAILURE, OVERFLOW)
                assert set(failures[1:]) <= {Tagged(client.client_id, FAILURE, NOT_FOUND)}
                return sent
    raise AssertionError(f"{most} packets and no overflow")


def assert_gone(rig: Rig, client: RawClient) -> None:
    """The connection ends, and the session with it."""
    assert len(list(client.rest())) >= 0
    with pytest.raises(EOFError):
        rig.stranger().begin_resume(client.client_id)


# ---- slow clients


def test_a_client_past_the_hard_limit_is_closed_the_master_told_and_others_do_not_notice() -> None:
    with running({"clients.outbox_bytes": 200_000}) as rig:
        slow, other = rig.new(receive_buffer=8192), rig.new()
        overwhelm(rig, slow, bytes(50_000))
        assert_gone(rig, slow)
        assert "outbox over its byte limit" in rig.server.log
        rig.master.send(other.client_id, b"nothing happened")
        assert other.recv() == b"nothing happened"
        other.send(b"nothing at all")
        assert rig.master.recv_for(other.client_id).data == b"nothing at all"


def test_while_a_client_does_not_read_the_others_are_served() -> None:
    with running({"clients.outbox_bytes": BIG}) as rig:
        slow, other = rig.new(receive_buffer=8192), rig.new()
        for turn in range(100):
            rig.master.send(slow.client_id, bytes(100_000))
            other.send(b"%d" % turn)
            assert rig.master.recv_for(other.client_id).data == b"%d" % turn
            rig.master.send(other.client_id, b"%d" % turn)
            assert other.recv() == b"%d" % turn
        assert len(slow.recv_many(100)) == 100


def test_a_client_past_the_soft_limit_for_too_long_is_closed() -> None:
    settings = {"clients.outbox_bytes": BIG, "clients.channel_capacity": 10, "clients.slow_secs": 0.1}
    with running(settings) as rig:
        slow, other = rig.new(receive_buffer=8192), rig.new()
        rig.master.send(slow.client_id, *[bytes(50_000)] * 200)
        assert rig.master.recv_for(slow.client_id) == Tagged(slow.client_id, FAILURE, OVERFLOW)
        assert_gone(rig, slow)
        assert "outbox over its soft limit for too long" in rig.server.log
        rig.master.send(other.client_id, b"nothing happened")
        assert other.recv() == b"nothing happened"


def test_a_client_that_catches_up_in_time_is_not_too_slow() -> None:
    settings = {
        "clients.outbox_bytes": BIG,
        "clients.channel_capacity": 10,
        "clients.slow_secs": 3600,
        "clients.write_stall_secs": 0,
    }
    with running(settings, embedded=True) as rig:
        assert isinstance(rig.server, EmbeddedServer)
        timers = rig.server.server.reactor
        client = rig.new(receive_buffer=8192)
        for _ in range(3):
            before = timers.timers
            rig.master.send(client.client_id, *[bytes(50_000)] * 200)
            rig.master.fence()
            assert timers.timers == before + 1, "the time that a slow client has left"
            assert len(client.recv_many(200)) == 200
            rig.master.send(client.client_id, b"end")
            assert client.recv() == b"end"
            rig.master.fence()
            assert timers.timers == before
        assert not rig.master.inbox


def test_a_burst_to_a_client_that_reads_is_no_overflow() -> None:
    settings = {"clients.outbox_bytes": 1 << 23, "clients.channel_capacity": 1, "clients.slow_secs": 10}
    with running(settings) as rig:
        client = rig.new()
        rig.master.send_raw(tagged(client.client_id, b"burst") * 50_000)
        assert client.recv_many(50_000) == [b"burst"] * 50_000
        rig.master.fence()
        assert not rig.master.inbox


def test_a_client_that_never_reads_and_pipelines_is_not_read_either_and_stays() -> None:
    """What it provokes is bounded: it is not read while its own outbox is half full."""
    # Half of the limit must hold what is on its way through the master when the client is no longer read.
    settings = {"clients.outbox_bytes": 1 << 26, "clients.channel_capacity": 1 << 30}
    with running(settings, embedded=True) as rig:
        assert isinstance(rig.server, EmbeddedServer)
        client = rig.new(receive_buffer=1 << 16)
        sent = [b"%08d" % number + bytes(50_000) for number in range(1400)]
        sender = threading.Thread(target=client.send, args=sent)
        sender.start()
        echo = EchoThread(rig.master)
        parked = rig.server.server.clients.pressure.park_above
        wait_until(lambda: rig.server.counters.bytes_down > parked, "more than half of the limit")
        assert client.recv_many(len(sent)) == sent
        sender.join()
        echo.stop()
        assert rig.server.counters.closed == {}


# ---- overflow policy "block"


def test_with_the_policy_block_a_slow_client_stalls_the_firehose_and_loses_nothing() -> None:
    settings = {"clients.overflow_policy": "block", "clients.outbox_bytes": 200_000, "clients.slow_secs": 0}
    with running(settings) as rig:
        slow, other = rig.new(receive_buffer=8192), rig.new()
        sent = [b"%08d" % number + bytes(100_000) for number in range(300)]
        sender = threading.Thread(
            target=lambda: (
                [rig.master.send(slow.client_id, payload) for payload in sent]
                + [rig.master.send(other.client_id, b"behind it all")]
            )
        )
        sender.start()
        assert slow.recv_many(len(sent)) == sent
        assert other.recv() == b"behind it all"
        sender.join()
        rig.master.fence()
        assert not rig.master.inbox


@pytest.mark.parametrize("how", ["closes", "is replaced, and closes"])
def test_with_the_policy_block_the_firehose_goes_on_when_the_slow_client_is_gone(how: str) -> None:
    settings = {"clients.overflow_policy": "block", "clients.outbox_bytes": 1 << 20}
    with running(settings) as rig:
        slow, other = rig.new(receive_buffer=8192), rig.new()
        stream = tagged(slow.client_id, bytes(100_000)) * 150 + tagged(other.client_id, b"behind it all")
        sender = threading.Thread(target=rig.master.send_raw, args=[stream])
        sender.start()
        assert slow.recv() == bytes(100_000)
        if how == "closes":
            slow.reset()
        else:
            rig.back(slow).reset()
        assert other.recv() == b"behind it all"
        sender.join()


def test_with_the_policy_block_the_handshake_goes_on_while_the_firehose_stands() -> None:
    settings = {"clients.overflow_policy": "block", "clients.outbox_bytes": 100_000}
    with running(settings) as rig:
        slow = rig.new(receive_buffer=8192)
        sent = [b"%08d" % number + bytes(100_000) for number in range(150)]
        sender = threading.Thread(target=lambda: rig.master.send(slow.client_id, *sent))
        sender.start()
        other = rig.new(behind=frame(b"up"))
        assert rig.master.recv_for(other.client_id).data == b"up"
        again = rig.back(slow)  # takeover by the slow client itself
        before = list(slow.rest())
        assert before + again.recv_many(len(sent) - len(before)) == sent
        sender.join()


# ---- slow master


def test_while_the_master_does_not_read_clients_are_not_read_and_nothing_is_lost() -> None:
    settings = {"master.outbox_bytes": 200_000}
    with running(settings, master_receive_buffer=1 << 16) as rig:
        clients = [rig.new() for _ in range(4)]
        sent = [b"%08d" % number + bytes(20_000) for number in range(600)]
        senders = [threading.Thread(target=client.send, args=sent) for client in clients]
        for sender in senders:
            sender.start()
        rig.server.wait_for_log("clients are not read")
        late = rig.new()  # who has nothing to say is let in
        rig.master.send(late.client_id, b"downwards all goes on")
        assert late.recv() == b"downwards all goes on"
        got: dict[int, list[bytes]] = {client.client_id: [] for client in clients}
        for _ in range(len(clients) * len(sent)):
            packet = rig.master.recv()
            got[packet.client_id].append(packet.data)
        for client in clients:
            assert got[client.client_id] == sent
        for sender in senders:
            sender.join()
        late.send(b"and up again")
        assert rig.master.recv_for(late.client_id).data == b"and up again"


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc")
def test_what_waits_for_a_slow_master_is_bounded() -> None:
    with running(master_receive_buffer=1 << 16) as rig:
        assert isinstance(rig.server, ServerProcess)
        clients = [rig.new() for _ in range(8)]
        before = rig.server.resident_bytes()
        stop = threading.Event()

        def flood(client: RawClient) -> None:
            client.sock.settimeout(0.2)
            try:
                while not stop.is_set():
                    client.send(bytes(60_000))
            except (TimeoutError, socket.timeout):
                pass

        senders = [threading.Thread(target=flood, args=[client]) for client in clients]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert "clients are not read" in rig.server.log
        grown = rig.server.resident_bytes() - before
        assert grown < 32 << 20, f"{grown} bytes for a queue of 4 MiB"
        rig.master.stop_listening()  # a server that ends would try to get rid of it for two seconds
        rig.master.drop()


class EchoThread:
    """A backend of the plainest kind: it reads, it writes what it read, it does nothing else meanwhile."""

    def __init__(self, master: RawMaster) -> None:
        assert master.link is not None
        self._link = master.link
        self._link.settimeout(None)
        self._thread = threading.Thread(target=self._echo)
        self._thread.start()

    def _echo(self) -> None:
        while data := self._link.recv(1 << 18):
            self._link.sendall(data)  # every packet is data: whole or not, it can go back as it is

    def stop(self) -> None:
        self._link.shutdown(socket.SHUT_RD)
        self._thread.join()


@pytest.mark.parametrize("receive_buffer", [0, 8192])
def test_full_queues_both_ways_do_not_wait_for_each_other(receive_buffer: int) -> None:
    """A client that pipelines, a backend that blocks while it writes, and tight queues between them."""
    settings = {"master.channel_capacity": 100, "master.outbox_bytes": 100_000, "clients.channel_capacity": 1 << 20}
    with running(settings, master_receive_buffer=1 << 16) as rig:
        echo = EchoThread(rig.master)
        clients = [rig.new(receive_buffer=receive_buffer) for _ in range(3)]
        sent = [b"%08d" % number + bytes(number % 700) for number in range(10_000)]
        senders = [threading.Thread(target=client.send, args=sent) for client in clients]
        for sender in senders:
            sender.start()
        for client in clients:
            assert client.recv_many(len(sent)) == sent
        for sender in senders:
            sender.join()
        echo.stop()


def test_answers_to_unknown_ids_do_not_grow_without_end() -> None:
    """A master that does not read the failures it provokes is not kept more of them than twice its queue."""
    with running({"master.outbox_bytes": 100_000}, embedded=True, master_receive_buffer=1 << 16) as rig:
        assert isinstance(rig.server, EmbeddedServer)
        client = rig.new()
        for _ in range(100):
            rig.master.send_raw(tagged(2**40, b"") * 5000)
        rig.master.send(client.client_id, b"through")
        assert client.recv() == b"through"
        assert rig.server.counters.notices_dropped > 0
        assert rig.server.counters.unknown_client == 500_000
        client.send(b"up")
        answer = rig.master.recv_for(client.client_id)
        assert answer == Tagged(client.client_id, DATA, b"up")
