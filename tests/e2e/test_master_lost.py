"""The master goes away and comes back, was never there, or talks nonsense: the clients stay."""

from __future__ import annotations

import select
import threading
import time
from contextlib import ExitStack

import pytest
from kit.process import BackendProcess, ServerProcess
from kit.raw_client import VERSION, RawClient, frame, public_key
from kit.raw_master import DATA, RECONNECTION, RawMaster, Tagged, tagged
from kit.rig import running
from kit.vectors import VECTORS, cuts, unhex, why
from kit.wait import wait_until


def test_what_was_cut_is_sent_again_whole_behind_a_notice_for_each_live_session() -> None:
    with running({"master.outbox_bytes": 1 << 20}, master_receive_buffer=16384) as rig:
        master = rig.master
        idle, gone, loud = rig.new(), rig.stale(), rig.new()
        sent = [b"%08d" % number + bytes(300_000) for number in range(40)]
        sender = threading.Thread(target=lambda: loud.send(*sent))
        sender.start()  # blocks once the master's queue is full
        rig.server.wait_for_log("clients are not read")
        master.no_more_to_say()
        rig.server.wait_for_log("the master is gone")
        cut = master.rest()
        assert cut, "a packet was to be cut"
        before = [packet.data for packet in master.inbox]
        master.inbox.clear()
        master.accept()
        late = rig.new(behind=frame(b"late"))
        notices = [master.recv(), master.recv()]
        assert sorted(notices) == [Tagged(client.client_id, RECONNECTION, b"") for client in (idle, loud)]
        assert gone.client_id not in {packet.client_id for packet in notices}
        first = master.recv()
        assert tagged(first.client_id, first.data).startswith(cut)
        assert first.client_id == loud.client_id
        missing = len(sent) - len(before) - 1
        assert [*before, first.data, *master.recv_data(loud.client_id, missing)] == sent
        assert master.recv_data(late.client_id, 1) == [b"late"]
        sender.join()


def test_packets_of_many_clients_wait_in_order_while_there_is_no_master() -> None:
    with running() as rig:
        master = rig.master
        clients = [rig.new() for _ in range(5)]
        master.stop_listening()
        master.drop()
        rig.server.wait_for_log("trying again")
        words = [b"%d" % number for number in range(1000)]
        for client in clients:
            client.send(*words)
        leaving = clients.pop()
        leaving.leave()
        again = rig.back(leaving)
        again.send(b"and again")
        rig.server.wait_for_log("trying again", 3)
        master.listen_again()
        master.accept()
        notices = [master.recv() for _ in range(5)]
        assert {packet.flag for packet in notices} == {RECONNECTION}
        assert {packet.client_id for packet in notices} == {client.client_id for client in [*clients, leaving]}
        for client in clients:
            assert master.recv_data(client.client_id, 1000) == words
            master.send(client.client_id, b"echo")
            assert client.recv() == b"echo"
        assert master.recv_data(leaving.client_id, 1000) == words
        assert master.recv_for(leaving.client_id).flag == RECONNECTION
        assert master.recv_for(leaving.client_id).data == b"and again"


def test_clients_are_not_read_when_the_queue_is_full_and_nothing_is_lost() -> None:
    settings = {"master.channel_capacity": 100, "master.outbox_bytes": 1 << 30}
    with running(settings) as rig:
        master = rig.master
        client, other = rig.new(), rig.new()
        master.stop_listening()
        master.drop()
        client.send(*[b"%d" % number for number in range(200)])
        rig.server.wait_for_log("clients are not read")
        big = [b"%d" % number + bytes(100_000) for number in range(200)]
        sender = threading.Thread(target=lambda: client.send(*big))
        sender.start()
        other.send(b"other")
        rig.server.wait_for_log("trying again", 3)
        assert sender.is_alive(), "20 MB were taken from a client for a queue of 100 packets"
        master.listen_again()
        master.accept()
        assert {master.recv().flag, master.recv().flag} == {RECONNECTION}
        assert master.recv_data(client.client_id, 200) == [b"%d" % number for number in range(200)]
        assert master.recv_data(client.client_id, 200) == big
        assert master.recv_data(other.client_id, 1) == [b"other"]
        sender.join()


def test_a_resume_works_while_there_is_no_master_even_with_its_queue_full() -> None:
    with running({"master.channel_capacity": 1}) as rig:
        master = rig.master
        client = rig.new()
        master.send(client.client_id, b"before")
        assert client.recv() == b"before"
        master.stop_listening()
        master.drop()
        client.send(b"1", b"2", b"3")
        rig.server.wait_for_log("clients are not read")
        again = rig.back(client, behind=frame(b"4"))
        master.listen_again()
        master.accept()
        assert [packet.data for packet in (master.recv() for _ in range(6))] == [b"", b"1", b"2", b"3", b"", b"4"]
        assert again.leave() == []


def test_a_master_killed_without_warning_is_redialled_and_told_who_is_here() -> None:
    with BackendProcess() as backend, ServerProcess(backend.address) as server:
        clients = [RawClient.new(server.address) for _ in range(10)]
        for client in clients:
            client.send(b"one")
            assert client.recv() == b"one"
        backend.kill()
        server.wait_for_log("the master is gone")
        clients[0].send(b"while it was away")
        with BackendProcess(backend.port) as restarted:
            restarted.wait_for_log("reconnection", times=len(clients))
            assert clients[0].recv() == b"while it was away"
            for client in clients:
                client.send(b"two")
                assert client.recv() == b"two"
            for client in clients:
                assert f"reconnection {client.client_id} " in restarted.log
                client.close()


def test_a_master_killed_in_the_middle_of_traffic_gets_only_whole_packets_afterwards() -> None:
    """What was in the dead socket's buffers is lost; what comes later is in order, and no packet is in pieces."""
    with running(master_receive_buffer=16384) as rig:
        client = rig.new()
        sent = [b"%08d" % number + bytes(5000) for number in range(3000)]
        sender = threading.Thread(target=lambda: client.send(*sent))
        sender.start()
        assert rig.master.recv_for(client.client_id).data == sent[0]
        rig.master.inbox.clear()
        rig.master.reset()
        rig.master.accept()
        assert rig.master.recv() == Tagged(client.client_id, RECONNECTION, b"")
        first = rig.master.recv()
        number = int(first.data[:8])
        assert number > 0
        assert [first.data, *rig.master.recv_data(client.client_id, len(sent) - number - 1)] == sent[number:]
        sender.join()


# ---- before the first master, and never


def test_clients_wait_in_the_listen_backlog_until_there_is_a_master() -> None:
    with RawMaster() as master:
        master.stop_listening()
        with ServerProcess(master.address) as server, RawClient(server.address) as client:
            client.send_raw(b"\x02\0\0\0\x01\x02")
            server.wait_for_log("trying again", 3)
            assert not select.select([client.sock], [], [], 0)[0]
            master.listen_again()
            master.accept()
            assert len(client.recv_packet(2)) == 33


def test_who_waited_in_the_listen_backlog_and_has_left_is_heard_and_let_go() -> None:
    """All there is to read is there at the first look, its end included; there is no second event for that."""
    with RawMaster() as master, ExitStack() as stack:
        master.stop_listening()
        server = stack.enter_context(ServerProcess(master.address))
        patient, half, gone = (stack.enter_context(RawClient(server.address)) for _ in range(3))
        patient.send_raw(VERSION + public_key(patient.keys.public) + frame(b"patient") + frame(b"to the end"))
        patient.no_more_to_say()
        half.send_raw(VERSION)
        half.no_more_to_say()
        gone.send_raw(VERSION + public_key(gone.keys.public))
        gone.close()
        server.wait_for_log("trying again", 2)
        master.listen_again()
        master.accept()
        patient.finish_new()
        assert list(patient.rest()) == []
        assert master.recv_data(patient.client_id, 2) == [b"patient", b"to the end"]
        assert len(list(half.rest())) == 1
        master.fence()
        assert not master.inbox


def test_the_first_master_hears_of_nobody() -> None:
    with running() as rig:
        client = rig.new(behind=frame(b"first"))
        assert rig.master.recv() == Tagged(client.client_id, DATA, b"first")


GIVE_UP = {"master.give_up_secs": 0.3}


def test_a_master_that_never_comes_is_given_up() -> None:
    with RawMaster() as master:
        master.stop_listening()
        with ServerProcess(master.address, GIVE_UP) as server:
            assert server.wait() == 4
            assert "giving up" in server.log


def test_a_master_that_does_not_come_back_is_given_up_and_one_that_does_is_not() -> None:
    with running(GIVE_UP) as rig:
        for _ in range(2):
            rig.master.stop_listening()
            rig.master.drop()
            rig.server.wait_for_log("trying again")
            rig.master.listen_again()
            rig.master.accept()
        client = rig.new()
        rig.master.stop_listening()
        rig.master.drop()
        assert isinstance(rig.server, ServerProcess)
        assert rig.server.wait() == 4
        assert list(client.rest()) == []


def test_a_master_that_closes_at_once_each_time_is_not_dialled_without_pause() -> None:
    """As a proxy does whose backend is down: it accepts, and closes."""
    settings = {"master.reconnect_min_secs": 0.2, "master.reconnect_max_secs": 0.2}
    with running(settings) as rig:
        stop = threading.Event()
        accepted = []

        def accept_and_close() -> None:
            rig.master.drop()
            while not stop.is_set():
                rig.master.accept()
                rig.master.drop()
                accepted.append(time.monotonic())

        acceptor = threading.Thread(target=accept_and_close)
        acceptor.start()
        wait_until(lambda: accepted and time.monotonic() - accepted[0] > 0.6, "some time to pass")
        stop.set()
        acceptor.join()
        most = 2 + (accepted[-1] - accepted[0]) / 0.1  # a wait is shortened by up to half
        assert len(accepted) <= most, f"{len(accepted)} connections"
        rig.master.accept()
        client = rig.new(behind=frame(b"at last"))
        assert rig.master.recv_for(client.client_id).data == b"at last"


# ---- nonsense

FRAMED_NONSENSE = {
    **{why(entry): frame(unhex(entry)) for entry in VECTORS["malformed_tagged_packets"]},
    "over 8 MiB": (8 * 1024 * 1024 + 1).to_bytes(4, "little"),
    "4 GiB": b"\xff\xff\xff\xff",
    "flag 4": tagged(1, b"", 4),
    "flag 255": tagged(1, b"data", 255),
}


@pytest.mark.parametrize("kind", FRAMED_NONSENSE)
def test_nonsense_closes_the_master_alone_and_it_may_come_again(kind: str) -> None:
    with running(embedded=True) as rig:
        client = rig.new()
        rig.master.send_raw(tagged(client.client_id, b"before") + FRAMED_NONSENSE[kind])
        assert client.recv() == b"before"
        rig.master.await_end()
        rig.master.accept()
        assert rig.master.recv() == Tagged(client.client_id, RECONNECTION, b"")
        rig.master.send(client.client_id, b"behind")
        assert client.recv() == b"behind"
        client.send(b"up")
        assert rig.master.recv_for(client.client_id).data == b"up"


def test_a_packet_that_the_master_did_not_finish_is_forgotten() -> None:
    with running(embedded=True) as rig:
        client = rig.new()
        whole = tagged(client.client_id, b"whole")
        for part in cuts(tagged(client.client_id, b"in part")):
            rig.master.send_raw(whole + part)
            rig.master.accept()
            assert client.recv() == b"whole"
            assert rig.master.recv() == Tagged(client.client_id, RECONNECTION, b"")
        rig.master.send(client.client_id, b"end")
        assert client.recv() == b"end"
