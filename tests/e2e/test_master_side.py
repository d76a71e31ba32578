"""What the master can say and what it is told: kick, failures, unknown ids, and how long a session waits."""

from __future__ import annotations

import pytest
from kit.raw_client import PING, RawClient, response
from kit.raw_master import DATA, FAILURE, KICK, NOT_FOUND, RECONNECTION, RawMaster, Tagged, tagged
from kit.rig import Rig, running

GONE = b"Client disconnected"


def assert_session_is_gone(rig: Rig, client: RawClient) -> None:
    """Data for it is answered by a failure, and it cannot be resumed."""
    rig.master.send(client.client_id, b"anyone?")
    assert rig.master.recv_for(client.client_id) == Tagged(client.client_id, FAILURE, NOT_FOUND)
    with pytest.raises(EOFError):
        rig.stranger().begin_resume(client.client_id)


# ---- kick


def test_kick_drops_a_live_client_at_once_and_without_stale_time(rig: Rig) -> None:
    client, other = rig.new(), rig.new()
    rig.master.kick(client.client_id)
    assert list(client.rest()) == []
    assert_session_is_gone(rig, client)
    assert rig.master.waiting_for(client.client_id) == []
    rig.master.send(other.client_id, b"not you")
    assert other.recv() == b"not you"


def test_a_master_that_sends_back_whatever_it_gets(rig: Rig) -> None:
    """As the first backend that somebody writes does: once a session has ended it must not be answered without end."""
    client = rig.new()
    client.send(b"hello")
    rig.master.send_raw(tagged(client.client_id, b"", KICK))
    rig.master.send(client.client_id, b"to nobody", b"to nobody")
    for _ in range(3):  # what the client said, and the answers to these two
        packet = rig.master.recv()
        rig.master.send_raw(tagged(packet.client_id, packet.data, packet.flag))
    assert packet == Tagged(client.client_id, FAILURE, NOT_FOUND)
    assert rig.master.recv() == packet, "the answer to what the client had said"
    rig.master.send_raw(tagged(packet.client_id, packet.data, packet.flag))
    rig.master.fence()
    assert list(rig.master.inbox) == []


def test_what_the_master_sent_before_the_kick_arrives(rig: Rig) -> None:
    client = rig.new()
    rig.master.send_raw(tagged(client.client_id, b"goodbye") + tagged(client.client_id, b"", KICK))
    assert list(client.rest()) == [b"goodbye"]


def test_kick_ends_a_stale_session(rig: Rig) -> None:
    client = rig.stale()
    rig.master.send(client.client_id, b"missed")
    rig.master.kick(client.client_id)
    assert_session_is_gone(rig, client)
    assert rig.master.waiting_for(client.client_id) == []


def test_kick_does_not_wait_for_bytes_that_are_not_flushed() -> None:
    with running({"clients.outbox_bytes": 1 << 26}) as rig:
        client = rig.new(receive_buffer=16384)
        sent = [bytes(50_000)] * 400
        rig.master.send(client.client_id, *sent)
        rig.master.kick(client.client_id)
        assert_session_is_gone(rig, client)
        assert len(list(client.rest())) < len(sent)
        assert rig.master.waiting_for(client.client_id) == []


def test_data_behind_a_kick_is_answered_once_a_packet(rig: Rig) -> None:
    client = rig.new()
    rig.master.send_raw(tagged(client.client_id, b"", KICK) + tagged(client.client_id, b"more") * 3)
    rig.master.fence()
    assert rig.master.waiting_for(client.client_id) == [Tagged(client.client_id, FAILURE, NOT_FOUND)] * 3


def test_kick_in_the_middle_of_a_resume_refuses_it(rig: Rig) -> None:
    client = rig.stale()
    again = rig.stranger()
    again.send_raw(response(again.answer(again.begin_resume(client.client_id))))
    rig.master.kick(client.client_id)
    rig.master.fence()
    again.send_raw(PING)
    assert list(again.rest()) == []
    assert_session_is_gone(rig, client)


# ---- what the master gets wrong without breaking the protocol


def test_an_unknown_id_is_answered_once_a_packet(rig: Rig) -> None:
    unknown = 2**63
    rig.master.send(unknown, *[b"%d" % number for number in range(1000)])
    rig.master.send(unknown, bytes(100_000))
    rig.master.send_raw(b"".join(tagged(unknown, b"", flag) for flag in (FAILURE, KICK, RECONNECTION)))
    rig.master.fence()
    assert rig.master.waiting_for(unknown) == [Tagged(unknown, FAILURE, NOT_FOUND)] * 1002, "none for notices"


def test_unknown_ids_between_known_ones_do_not_disturb_them(rig: Rig) -> None:
    client = rig.new()
    packets = [tagged(client.client_id if number % 2 else number << 40, b"%d" % number) for number in range(200)]
    rig.master.send_raw(b"".join(packets))
    assert client.recv_many(100) == [b"%d" % number for number in range(1, 200, 2)]
    rig.master.fence()
    assert len(rig.master.inbox) == 100


def test_failure_and_reconnection_from_the_master_change_nothing_for_the_client(rig: Rig) -> None:
    client = rig.new()
    rig.master.send_raw(
        tagged(client.client_id, "größe überschritten".encode(), FAILURE)
        + tagged(client.client_id, b"\xff\xfe not UTF-8 \n", FAILURE)
        + tagged(client.client_id, b"", RECONNECTION)
        + tagged(client.client_id, b"data")
    )
    assert client.recv() == b"data"
    rig.master.fence()
    assert rig.master.waiting_for(client.client_id) == []


def test_byte_by_byte_the_firehose_says_the_same(rig: Rig) -> None:
    client = rig.new()
    stream = tagged(client.client_id, b"hello") + tagged(client.client_id) + tagged(client.client_id, b"", KICK)
    for position in range(len(stream)):
        rig.master.send_raw(stream[position : position + 1])
    assert list(client.rest()) == [b"hello", b""]


# ---- how long a session waits


def test_a_stale_client_is_reaped_and_the_master_told() -> None:
    with running({"clients.stale_timeout_secs": 0.2, "clients.stale_reap_interval_secs": 0.05}) as rig:
        live, client = rig.new(), rig.stale()
        assert rig.master.recv_for(client.client_id) == Tagged(client.client_id, FAILURE, GONE)
        assert_session_is_gone(rig, client)
        rig.master.send(live.client_id, b"you are not meant")
        assert live.recv() == b"you are not meant"
        assert not rig.master.inbox


def test_a_client_that_came_back_in_time_is_not_reaped() -> None:
    with running({"clients.stale_timeout_secs": 0.3, "clients.stale_reap_interval_secs": 0.05}) as rig:
        client, other = rig.stale(), rig.stale()
        again = rig.back(client)
        assert rig.master.recv_for(other.client_id) == Tagged(other.client_id, FAILURE, GONE)
        again.send(b"here")
        assert rig.master.recv_for(client.client_id).flag == RECONNECTION
        assert rig.master.recv_for(client.client_id) == Tagged(client.client_id, DATA, b"here")


def test_without_stale_time_a_client_that_drops_is_gone_at_once() -> None:
    with running({"clients.stale_timeout_secs": 0}) as rig:
        client = rig.new(behind=b"\x02\0\0\0ok")
        client.leave()
        assert rig.master.recv() == Tagged(client.client_id, DATA, b"ok")
        assert rig.master.recv() == Tagged(client.client_id, FAILURE, GONE)
        assert_session_is_gone(rig, client)


def test_past_max_stale_clients_the_oldest_go_first() -> None:
    with running({"clients.max_stale_clients": 2}) as rig:
        clients = [rig.stale() for _ in range(2)]
        rig.back(clients[0]).leave()  # has become the younger one
        clients += [rig.stale() for _ in range(2)]
        rig.master.fence()
        failures = [packet for packet in rig.master.inbox if packet.flag == FAILURE]
        assert failures == [Tagged(clients[number].client_id, FAILURE, GONE) for number in (1, 0)]
        for client in clients[2:]:
            assert rig.back(client).client_id == client.client_id


def test_without_max_stale_clients_none_waits() -> None:
    with running({"clients.max_stale_clients": 0}) as rig:
        client = rig.stale()
        assert rig.master.recv_for(client.client_id) == Tagged(client.client_id, FAILURE, GONE)


def test_sessions_end_on_time_without_a_master_and_it_hears_of_it_later() -> None:
    settings = {"clients.stale_timeout_secs": 0.1, "clients.stale_reap_interval_secs": 0.05}
    with running(settings) as rig:
        master: RawMaster = rig.master
        client = rig.new()
        master.stop_listening()
        master.drop()
        client.leave()
        rig.server.wait_for_log("trying again", 3)
        master.listen_again()
        master.accept()
        assert master.recv() == Tagged(client.client_id, FAILURE, GONE)
