"""The handshake and the data behind it, with a client and a backend that share no code with the server."""

from __future__ import annotations

import pytest
from kit.raw_client import (
    CLIENT_ID,
    PING,
    PUBKEY,
    VERSION,
    RawClient,
    client_id,
    frame,
    public_key,
    response,
    shared_keys,
)
from kit.raw_master import DATA, RECONNECTION, Tagged
from kit.rig import Rig, running

LARGEST = 8 * 1024 * 1024 - 9
WORDS = [b"one", b"", b"three"]
STREAM = b"".join(map(frame, WORDS))


def send_byte_by_byte(client: RawClient, data: bytes) -> None:
    for position in range(len(data)):
        client.send_raw(data[position : position + 1])


def test_new_session_packet_by_packet(rig: Rig) -> None:
    client = rig.stranger()
    client.send_raw(VERSION)
    point = client.recv_packet(PUBKEY)
    assert len(point) == 33
    assert point[0] in (2, 3)
    client.send_raw(public_key(client.keys.public))
    number = client.recv_packet_number(CLIENT_ID)
    client.send(b"hello")
    assert rig.master.recv_for(number) == Tagged(number, DATA, b"hello")
    rig.master.send(number, b"and back")
    assert client.recv() == b"and back"


def test_new_session_in_one_send_with_data_behind_it(rig: Rig) -> None:
    client = rig.new(behind=STREAM)
    assert rig.master.recv_data(client.client_id, 3) == WORDS


def test_new_session_byte_by_byte(rig: Rig) -> None:
    client = rig.stranger()
    send_byte_by_byte(client, VERSION + public_key(client.keys.public) + STREAM)
    client.finish_new()
    assert rig.master.recv_data(client.client_id, 3) == WORDS


def test_new_session_with_an_uncompressed_key_can_be_resumed(rig: Rig) -> None:
    client = rig.stranger()
    client.send_raw(VERSION + public_key(shared_keys().uncompressed))
    client.finish_new().leave()
    assert rig.back(client).client_id == client.client_id


def test_the_server_has_one_key_and_clients_have_ids_that_count_up(rig: Rig) -> None:
    clients = [rig.new() for _ in range(5)]
    assert len({client.server_point for client in clients}) == 1
    first = clients[0].client_id
    assert [client.client_id for client in clients] == list(range(first, first + 5))


def test_ids_of_more_than_one_byte_reach_the_client_whole() -> None:
    with running() as rig:
        ids = []
        for _ in range(20):
            with RawClient.new(rig.server.address) as client:
                ids.append(client.client_id)
                client.leave()
        assert ids == list(range(ids[0], ids[0] + 20)) and 2**32 < ids[0] < 2**53
        assert rig.back(client).client_id == ids[-1]


def test_resume_packet_by_packet(rig: Rig) -> None:
    old = rig.stale()
    client = rig.stranger()
    blob = client.begin_resume(old.client_id)
    assert len(blob) == 72
    client.send_raw(response(client.answer(blob)))
    client.send_raw(PING)
    client.finish_resume()
    client.send(b"again")
    assert rig.master.recv_for(old.client_id) == Tagged(old.client_id, RECONNECTION, b"")
    assert rig.master.recv_for(old.client_id) == Tagged(old.client_id, DATA, b"again")


def test_resume_with_everything_sent_at_once_and_data_behind_it(rig: Rig) -> None:
    old = rig.stale()
    rig.back(old, behind=STREAM)
    assert rig.master.recv_for(old.client_id).flag == RECONNECTION
    assert rig.master.recv_data(old.client_id, 3) == WORDS


def test_resume_byte_by_byte(rig: Rig) -> None:
    old = rig.stale()
    rig.master.send(old.client_id, *WORDS)
    client = rig.stranger()
    send_byte_by_byte(client, VERSION + client_id(old.client_id))
    client.server_point = client.recv_packet(PUBKEY)
    blob = client.recv_packet(4)
    send_byte_by_byte(client, response(client.answer(blob)) + PING + STREAM)
    client.finish_resume()
    assert client.recv_many(3) == WORDS
    assert rig.master.recv_for(old.client_id).flag == RECONNECTION
    assert rig.master.recv_data(old.client_id, 3) == WORDS


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 65536, 65537, 1 << 20, LARGEST])
def test_packets_of_any_size_pass_both_ways_between_small_ones(rig: Rig, size: int) -> None:
    client = rig.new()
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    client.send(b"before", payload, b"behind")
    assert rig.master.recv_data(client.client_id, 3) == [b"before", payload, b"behind"]
    rig.master.send(client.client_id, b"before", payload, b"behind")
    assert client.recv_many(3) == [b"before", payload, b"behind"]


def test_many_packets_of_mixed_sizes_keep_their_order(rig: Rig) -> None:
    client = rig.new()
    payloads = [bytes([number % 256]) * (number * 37 % 9000) for number in range(1500)]
    client.send(*payloads)
    assert rig.master.recv_data(client.client_id, len(payloads)) == payloads
    rig.master.send(client.client_id, *payloads)
    assert client.recv_many(len(payloads)) == payloads


def test_packets_reach_the_client_they_are_for(rig: Rig) -> None:
    clients = [rig.new() for _ in range(20)]
    for turn in range(10):
        for client in clients:
            rig.master.send(client.client_id, b"%d %d" % (client.client_id, turn))
    for client in clients:
        assert client.recv_many(10) == [b"%d %d" % (client.client_id, turn) for turn in range(10)]
        client.send(b"from %d" % client.client_id)
    for client in reversed(clients):
        assert rig.master.recv_data(client.client_id, 1) == [b"from %d" % client.client_id]


def test_what_a_client_says_before_it_closes_at_once_arrives_and_the_session_is_stale(rig: Rig) -> None:
    """The end comes together with the data: one event for both."""
    client = rig.stranger()
    client.send_raw(VERSION + public_key(client.keys.public) + STREAM)
    client.no_more_to_say()
    client.finish_new()
    assert list(client.rest()) == []
    assert rig.master.recv_data(client.client_id, 3) == WORDS
    assert rig.back(client).client_id == client.client_id
