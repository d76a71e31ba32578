"""Sound resumes: what a failed attempt must not do, what a takeover keeps, and that nothing is lost or out of order."""

from __future__ import annotations

import os
import socket
from typing import Callable

import pytest
from kit.raw_client import NONCE, PING, VERSION, Keys, RawClient, client_id, frame, response, seal, unseal
from kit.raw_master import DATA, RECONNECTION, Tagged
from kit.rig import Rig, running

MISSED = [b"missed %d" % number for number in range(10)]
BIG = {"clients.outbox_bytes": 1 << 30, "clients.missed_packets_buffer_bytes": 1 << 27}
"""Limits that let much be unwritten."""


def numbered(count: int, size: int) -> list[bytes]:
    return [b"%08d" % number + bytes(size - 8) for number in range(count)]


def assert_refused(client: RawClient) -> None:
    """The server closes without another word."""
    assert list(client.rest()) == []
    assert client.unfinished == 0


def stale_with_backlog(rig: Rig) -> RawClient:
    client = rig.stale()
    rig.master.send(client.client_id, *MISSED)
    rig.master.fence()
    return client


def assert_comes_back_with_backlog(rig: Rig, client: RawClient) -> None:
    again = rig.back(client)
    assert again.recv_many(len(MISSED)) == MISSED
    rig.master.send(client.client_id, b"new")
    assert again.recv() == b"new"


# ---- proofs that prove nothing

Forgery = Callable[[bytes, bytes], bytes]
"""From the challenge's blob and the session's key to a response; who has no key does not look at it."""

REFLECTIONS: dict[str, Forgery] = {
    "the same blob": lambda blob, key: blob,
    "the same nonce behind other bytes": lambda blob, key: os.urandom(48) + blob[-NONCE:],
    "the same nonce and too short": lambda blob, key: blob[-NONCE:],
    "the same nonce behind more bytes": lambda blob, key: blob[:-NONCE] + bytes(8) + blob[-NONCE:],
    "the right key, but the same nonce": lambda blob, key: seal(key, unseal(key, blob), blob[-NONCE:]),
}
FORGERIES: dict[str, Forgery] = {
    "random bytes": lambda blob, key: os.urandom(72),
    "nothing": lambda blob, key: b"",
    "shorter than a nonce": lambda blob, key: bytes(23),
    "shorter than nonce and tag": lambda blob, key: bytes(39),
    "the blob under another nonce": lambda blob, key: blob[:-NONCE] + os.urandom(NONCE),
    "a flipped bit": lambda blob, key: _flipped(seal(key, unseal(key, blob))),
    "another key": lambda blob, key: seal(os.urandom(32), unseal(key, blob)),
    "the right key, other bytes": lambda blob, key: seal(key, os.urandom(32)),
    "the right key, bytes left out": lambda blob, key: seal(key, unseal(key, blob)[:-1]),
    "the right key, one byte more": lambda blob, key: seal(key, unseal(key, blob) + b"\0"),
    "the right key, no bytes": lambda blob, key: seal(key, b""),
}


def _flipped(proof: bytes) -> bytes:
    return bytes([proof[0] ^ 1]) + proof[1:]


def attempt(rig: Rig, number: int, forge: Forgery) -> None:
    attacker = rig.stranger()
    blob = attacker.begin_resume(number)
    key = attacker.keys.session_key(attacker.server_point)
    attacker.send_raw(response(forge(blob, key)) + PING + frame(b"not from its owner"))
    assert_refused(attacker)


@pytest.mark.parametrize("how", REFLECTIONS)
def test_a_reflected_challenge_is_refused_and_the_session_waits_on_with_its_backlog(rig: Rig, how: str) -> None:
    client = stale_with_backlog(rig)
    before = rig.server.log.count("challenge sent back as its own proof")
    attempt(rig, client.client_id, REFLECTIONS[how])
    assert rig.server.log.count("challenge sent back as its own proof") == before + 1
    rig.master.fence()
    assert rig.master.waiting_for(client.client_id) == []
    assert_comes_back_with_backlog(rig, client)


@pytest.mark.parametrize("how", FORGERIES)
def test_a_forged_proof_is_refused_and_the_session_waits_on_with_its_backlog(rig: Rig, how: str) -> None:
    client = stale_with_backlog(rig)
    before = rig.server.log.count("proof of the key failed")
    attempt(rig, client.client_id, FORGERIES[how])
    assert rig.server.log.count("proof of the key failed") == before + 1
    rig.master.fence()
    assert rig.master.waiting_for(client.client_id) == []
    assert_comes_back_with_backlog(rig, client)


@pytest.mark.parametrize("how", [*REFLECTIONS, *FORGERIES])
def test_a_failed_attempt_does_not_touch_a_live_session(rig: Rig, how: str) -> None:
    client = rig.new()
    attempt(rig, client.client_id, {**REFLECTIONS, **FORGERIES}[how])
    client.send(b"still here")
    assert rig.master.recv_for(client.client_id) == Tagged(client.client_id, DATA, b"still here")
    rig.master.send(client.client_id, b"and so are we")
    assert client.recv() == b"and so are we"


def test_a_challenge_is_another_one_each_time(rig: Rig) -> None:
    client = rig.stale()
    blobs = {rig.stranger().begin_resume(client.client_id) for _ in range(5)}
    assert len(blobs) == 5
    assert len({blob[-NONCE:] for blob in blobs}) == 5
    assert len({blob[:-NONCE] for blob in blobs}) == 5


def test_an_old_proof_does_not_fit_a_new_challenge(rig: Rig) -> None:
    client = stale_with_backlog(rig)
    watched = rig.stranger()
    proof = watched.answer(watched.begin_resume(client.client_id))
    attempt(rig, client.client_id, lambda blob, key: proof)
    assert_comes_back_with_backlog(rig, client)


def test_another_clients_key_does_not_open_the_session(rig: Rig) -> None:
    client = stale_with_backlog(rig)
    stranger = rig.stranger()
    blob = stranger.begin_resume(client.client_id)
    stranger.send_raw(response(seal(Keys().session_key(stranger.server_point), blob[:32])) + PING)
    assert_refused(stranger)
    assert_comes_back_with_backlog(rig, client)


STAGES: dict[str, Callable[[RawClient, int], object]] = {
    "after nothing": lambda client, number: None,
    "after the version": lambda client, number: client.send_raw(VERSION),
    "after the id": lambda client, number: client.send_raw(VERSION + client_id(number)),
    "after the challenge": lambda client, number: client.begin_resume(number),
    "after the proof": lambda client, number: client.send_raw(
        response(client.answer(client.begin_resume(number))),
    ),
}


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "left open"])
@pytest.mark.parametrize("stage", STAGES)
def test_an_attempt_given_up_neither_wipes_the_backlog_nor_locks_the_owner_out(
    rig: Rig, stage: str, closed: bool
) -> None:
    client = stale_with_backlog(rig)
    attempts = [rig.stranger() for _ in range(3)]
    for stranger in attempts:
        STAGES[stage](stranger, client.client_id)
        if closed:
            stranger.leave()
    assert_comes_back_with_backlog(rig, client)


@pytest.mark.parametrize("stage", STAGES)
def test_an_attempt_left_open_does_not_take_a_live_session_over(rig: Rig, stage: str) -> None:
    client = rig.new()
    STAGES[stage](rig.stranger(), client.client_id)
    rig.master.fence()
    rig.master.send(client.client_id, b"for the one who is here")
    assert client.recv() == b"for the one who is here"


def test_two_who_prove_the_same_session_the_later_ping_takes_it(rig: Rig) -> None:
    client = stale_with_backlog(rig)
    first, second = rig.stranger(), rig.stranger()
    for contender in (first, second):
        contender.send_raw(response(contender.answer(contender.begin_resume(client.client_id))))
    first.send_raw(PING)
    first.finish_resume()
    assert first.recv_many(len(MISSED)) == MISSED
    second.send_raw(PING)
    second.finish_resume()
    assert list(first.rest()) == []
    rig.master.send(client.client_id, b"new")
    assert second.recv() == b"new"


# ---- who is who after a resume


def test_a_resumed_client_keeps_its_id_in_both_directions(rig: Rig) -> None:
    client = rig.stale()
    for turn in range(3):
        again = rig.back(client)
        assert again.client_id == client.client_id
        again.send(b"up %d" % turn)
        rig.master.send(client.client_id, b"down %d" % turn)
        assert again.recv() == b"down %d" % turn
        assert rig.master.recv_for(client.client_id) == Tagged(client.client_id, RECONNECTION, b"")
        assert rig.master.recv_for(client.client_id) == Tagged(client.client_id, DATA, b"up %d" % turn)
        again.leave()
    rig.master.fence()
    assert rig.master.waiting_for(client.client_id) == []


def test_the_reconnection_notice_comes_between_the_old_connections_data_and_the_new_ones(rig: Rig) -> None:
    client = rig.new()
    client.send(*[b"old %d" % number for number in range(100)])
    rig.back(client, behind=b"".join(frame(b"new %d" % number) for number in range(100)))
    packets = [rig.master.recv_for(client.client_id) for _ in range(201)]
    assert [packet.flag for packet in packets] == [DATA] * 100 + [RECONNECTION] + [DATA] * 100
    assert [packet.data for packet in packets[:100]] == [b"old %d" % number for number in range(100)]
    assert [packet.data for packet in packets[101:]] == [b"new %d" % number for number in range(100)]


def test_a_new_client_is_announced_by_no_notice(rig: Rig) -> None:
    client = rig.new(behind=frame(b"first"))
    assert rig.master.recv_for(client.client_id) == Tagged(client.client_id, DATA, b"first")


def test_resuming_an_id_that_has_no_session_is_refused_at_once(rig: Rig) -> None:
    stranger = rig.stranger()
    stranger.send_raw(VERSION + client_id(2**64 - 1))
    stranger.recv_packet(2)
    assert_refused(stranger)
    assert "no session with that id" in rig.server.log


# ---- what was missed


def test_what_was_missed_comes_in_order_before_anything_new(rig: Rig) -> None:
    client = rig.stale()
    missed = numbered(2000, 100)
    rig.master.send(client.client_id, *missed)
    rig.master.fence()
    again = rig.back(client)
    rig.master.send(client.client_id, b"new")
    assert again.recv_many(2001) == [*missed, b"new"]


def test_what_was_missed_over_several_absences_comes_once(rig: Rig) -> None:
    client = rig.stale()
    for absence in range(4):
        rig.master.send(client.client_id, b"absence %d" % absence)
        rig.master.fence()
        again = rig.back(client)
        assert again.recv() == b"absence %d" % absence
        assert again.leave() == []
    assert rig.back(client).leave() == []


def test_a_large_packet_is_kept_too(rig: Rig) -> None:
    client = rig.stale()
    payload = os.urandom(1 << 20)
    rig.master.send(client.client_id, b"before", payload, b"behind")
    rig.master.fence()
    assert rig.back(client).recv_many(3) == [b"before", payload, b"behind"]


def test_queued_packets_come_after_the_resume_the_one_that_was_cut_whole() -> None:
    with running(BIG) as rig:
        client = rig.new(receive_buffer=16384)
        sent = numbered(400, 50_000)
        rig.master.send(client.client_id, *sent)
        rig.master.fence()  # by now the kernel has what it takes, and the outbox the rest
        before = client.leave()
        assert client.unfinished, "a packet was to be cut"
        assert len(before) < len(sent)
        rig.master.send(client.client_id, b"missed")
        rig.master.fence()
        again = rig.back(client)
        rig.master.send(client.client_id, b"new")
        assert before + again.recv_many(len(sent) - len(before) + 2) == [*sent, b"missed", b"new"]


def test_a_client_that_leaves_again_in_the_middle_of_its_replay_misses_nothing() -> None:
    with running(BIG) as rig:
        client = rig.stale()
        sent = numbered(400, 50_000)
        rig.master.send(client.client_id, *sent)
        rig.master.fence()
        got = rig.back(client, receive_buffer=16384).leave()
        assert len(got) < len(sent)
        again = rig.back(client)
        assert got + again.recv_many(len(sent) - len(got)) == sent


def test_a_replay_larger_than_the_outbox_limits_is_delivered_whole() -> None:
    settings = {"clients.outbox_bytes": 100_000, "clients.channel_capacity": 10, "clients.slow_secs": 0}
    with running(settings) as rig:
        client = rig.stale()
        missed = numbered(800, 10_000)
        rig.master.send(client.client_id, *missed)
        rig.master.fence()
        again = rig.back(client, receive_buffer=16384)
        rig.master.send(client.client_id, b"new")
        rig.master.fence()
        assert again.recv_many(801) == [*missed, b"new"]
        rig.master.fence()
        assert [packet for packet in rig.master.inbox if packet.flag == 1] == []


with_each_limit = pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"clients.missed_packets_buffer_size": 3}, 3),
        ({"clients.missed_packets_buffer_bytes": 5 * 12}, 5),
        ({"clients.missed_packets_buffer_size": 0}, 0),
        ({"clients.missed_packets_buffer_bytes": 0}, 0),
    ],
    ids=["packets", "bytes", "no packets", "no bytes"],
)


@with_each_limit
def test_past_the_backlogs_limit_the_client_fails(settings: dict[str, int], kept: int) -> None:
    """So much is kept, and with one packet more nobody comes back to a stream with a hole in it."""
    with running(settings, embedded=True) as rig:
        missed = numbered(kept + 1, 8)
        client, other = rig.stale(), rig.stale()
        rig.master.send(client.client_id, *missed[:kept])
        rig.master.send(other.client_id, *missed)
        rig.master.fence()
        told = [packet.data for packet in rig.master.waiting_for(other.client_id)]
        assert told == [b"Client disconnected"] and rig.master.waiting_for(client.client_id) == []
        again = rig.back(client)
        rig.master.send(client.client_id, b"new")
        assert again.recv_many(kept + 1) == [*missed[:kept], b"new"]
        stranger = rig.stranger()
        stranger.send_raw(VERSION + client_id(other.client_id))
        list(stranger.rest())
        rig.master.send(other.client_id, b"too late")
        assert rig.master.recv_for(other.client_id).data == b"Client not found"


@with_each_limit
def test_past_the_backlogs_limit_the_oldest_go_first_if_told_to(settings: dict[str, object], kept: int) -> None:
    with running({**settings, "clients.missed_packets_policy": "drop-oldest"}, embedded=True) as rig:
        client = rig.stale()
        missed = numbered(10, 8)
        for payload in missed:
            rig.master.send(client.client_id, payload)
        rig.master.fence()
        again = rig.back(client)
        rig.master.send(client.client_id, b"new")
        assert again.recv_many(kept + 1) == [*missed[len(missed) - kept :], b"new"]


# ---- takeover


def test_takeover_closes_the_old_connection_and_loses_nothing() -> None:
    """The owner is back before the server knows that the old connection is gone: both are open."""
    with running(BIG) as rig:
        old = rig.new(receive_buffer=16384)
        sent = numbered(400, 50_000)
        rig.master.send(old.client_id, *sent)
        rig.master.fence()
        old.send(*[b"up %d" % number for number in range(50)])
        new = rig.back(old, behind=frame(b"up 50"))
        before = list(old.rest())  # ends: the server closed it
        assert old.unfinished, "a packet was to be cut"
        rig.master.send(old.client_id, b"new")
        assert before + new.recv_many(len(sent) - len(before) + 1) == [*sent, b"new"]
        packets = [rig.master.recv_for(old.client_id) for _ in range(52)]
        assert [packet.data for packet in packets if packet.flag == DATA] == [b"up %d" % number for number in range(51)]
        assert [packet.flag for packet in packets] == [DATA] * 50 + [RECONNECTION, DATA]
        assert "replaced by the same client's new connection" in rig.server.log


def test_takeover_reads_what_the_old_connection_had_delivered_however_much() -> None:
    """While the master is not read the server does not read clients either: it is all still in the old socket."""
    with running({"master.outbox_bytes": 1_000_000}, master_receive_buffer=1 << 17) as rig:
        filler = rig.new()
        filler.sock.settimeout(0.2)
        with pytest.raises((TimeoutError, socket.timeout)):  # one and the same since Python 3.10
            while True:
                filler.send(bytes(100_000))
        rig.server.wait_for_log("clients are not read")
        old = rig.new()
        sent = [b"%08d" % number for number in range(20_000)]
        old.send(*sent)
        new = rig.back(old)
        new.send(b"new")
        assert list(old.rest()) == []
        packets: list[Tagged] = []
        while len(packets) < len(sent) + 2:
            packet = rig.master.recv()
            if packet.client_id == old.client_id:
                packets.append(packet)
        assert [packet.data for packet in packets] == [*sent, b"", b"new"]
        assert packets[-2].flag == RECONNECTION


def test_takeover_of_a_takeover(rig: Rig) -> None:
    connection = rig.new()
    for turn in range(10):
        taken, connection = connection, rig.back(connection)
        assert list(taken.rest()) == []
        connection.send(b"%d" % turn)
        rig.master.send(connection.client_id, b"%d" % turn)
        assert connection.recv() == b"%d" % turn
    packets = [rig.master.recv_for(connection.client_id) for _ in range(20)]
    assert [packet.data for packet in packets if packet.flag == DATA] == [b"%d" % turn for turn in range(10)]


def test_the_old_connections_end_does_not_end_the_new_one(rig: Rig) -> None:
    old = rig.new()
    new = rig.back(old)
    old.reset()
    rig.master.fence()
    rig.master.send(new.client_id, b"still")
    assert new.recv() == b"still"


def test_a_client_cut_the_hard_way_comes_back(rig: Rig) -> None:
    client = rig.new(behind=frame(b"before"))
    assert rig.master.recv_data(client.client_id, 1) == [b"before"]
    client.reset()
    again = rig.back(client)
    rig.master.send(client.client_id, b"behind")
    assert again.recv() == b"behind"


def test_a_client_that_is_not_read_for_its_rate_closes_and_comes_back() -> None:
    """Again and again; what its old connections had brought is passed on first, and charged to the new one."""
    with running({"clients.packet_rate": 3000, "clients.rate_burst_secs": 0.1}) as rig:
        client, sent = rig.new(), [b"%d" % number for number in range(6001)]
        for part in (sent[:3000], sent[3000:6000]):
            client.send(*part)
            client.sock.shutdown(socket.SHUT_WR)
            client = rig.back(client)
        client.send(sent[-1])
        packets = [rig.master.recv_for(client.client_id) for _ in range(6003)]
        assert [packet.data for packet in packets if packet.flag == DATA] == sent
        assert [number for number, packet in enumerate(packets) if packet.flag == RECONNECTION] == [3000, 6001]
