"""A test for each reason why a connection is closed or a session ends: it is counted, logged, and hits nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Callable

import pytest
from kit.process import EmbeddedServer
from kit.raw_client import PING, VERSION, RawClient, client_id, frame, public_key, response, shared_keys, version
from kit.raw_master import KICK, RECONNECTION, tagged
from kit.raw_records import RawRecordClient
from kit.records import Session
from kit.rig import Rig, running
from kit.wait import wait_until

from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.v3 import Code, Kind, Open, Retained

LIMITS = {
    "clients.outbox_bytes": 1 << 24,
    "clients.channel_capacity": 20,
    "clients.slow_secs": 0.05,
    "clients.write_stall_secs": 1,
    "clients.handshake_secs": 0.3,
    "clients.stale_timeout_secs": 0.2,
    "clients.stale_reap_interval_secs": 0.05,
    "clients.max_stale_clients": 3,
    "clients.missed_packets_buffer_size": 50,
    "clients.packet_size_limit": 1000,
    "clients.window_bytes": 4096,
}


@pytest.fixture(scope="module")
def _server() -> Iterator[Rig]:
    with running(LIMITS, embedded=True) as rig:
        yield rig


@pytest.fixture
def rig(_server: Rig) -> Iterator[Rig]:
    yield _server
    _server.close_clients()


def said(rig: Rig, data: bytes) -> None:
    stranger = rig.stranger()
    stranger.send_raw(data)
    for _ in stranger.rest():
        pass


def peer_closed(rig: Rig) -> None:
    rig.new().leave()


def peer_lost(rig: Rig) -> None:
    rig.new().reset()


def handshake_timeout(rig: Rig) -> None:
    said(rig, VERSION)


def frame_too_large(rig: Rig) -> None:
    rig.new(behind=(1001).to_bytes(4, "little"))


def unsupported_version(rig: Rig) -> None:
    said(rig, version(1))


def malformed_packet(rig: Rig) -> None:
    said(rig, frame(b"\x06"))


def unexpected_packet(rig: Rig) -> None:
    said(rig, VERSION + VERSION)


def bad_public_key(rig: Rig) -> None:
    said(rig, VERSION + public_key(b"\x02" + bytes(31) + b"\x05"))


def unknown_session(rig: Rig) -> None:
    said(rig, VERSION + client_id(10**9))


def reflected_proof(rig: Rig) -> None:
    again, client = rig.stranger(), rig.new()
    again.send_raw(response(again.begin_resume(client.client_id)))


def bad_proof(rig: Rig) -> None:
    again, client = rig.stranger(), rig.new()
    again.begin_resume(client.client_id)
    again.send_raw(response(bytes(72)))


def superseded(rig: Rig) -> None:
    """A copy of a client comes when that has gone on."""
    client = rig.records().enter()
    copied = client.session.copy()
    rig.records(client.session).enter()
    told(rig, Code.SUPERSEDED, copied)


def suite_refused(rig: Rig) -> None:
    client = rig.records(suite=9)
    client.say(client.endpoint.hello())
    while client.step():
        pass
    assert client.endpoint.refusal == (Code.NO_SUITE, CloseReason.SUITE_REFUSED.value)


def bad_record(rig: Rig) -> None:
    client = rig.records().enter()
    client.say(bytes(60))
    assert list(client.rest()) == [] and client.endpoint.close is None, "nothing is said to who breaks its records"


def malformed_record(rig: Rig) -> None:
    broken(rig, Kind.OPEN, Open(bytes(16), bytes(32), Retained(0, 0)).encode())


def bad_numbers(rig: Rig) -> None:
    broken(rig, Kind.ACK, ack=1)


def credit_exceeded(rig: Rig) -> None:
    broken(rig, Kind.DATA, bytes(5000))


def broken(rig: Rig, kind: int, body: bytes = b"", **wrong: int) -> None:
    """A client that breaks the protocol is told so, and may come back."""
    client = rig.records().enter()
    client.record(kind, body, **wrong)
    told(rig, Code.PROTOCOL, client.session, client)
    client.come_back().close()


def told(rig: Rig, code: Code, session: Session, client: RawRecordClient | None = None) -> None:
    """It, or a connection that it makes, is closed with that code."""
    if client is None:
        client = rig.records(session)
        client.say(client.endpoint.hello())
    while client.step():
        pass
    assert client.endpoint.close is not None and client.endpoint.close.code == code


def taken_over(rig: Rig) -> None:
    rig.back(rig.new())


def session_ended(rig: Rig) -> None:
    again, client = rig.stranger(), rig.new()
    again.send_raw(response(again.answer(again.begin_resume(client.client_id))))
    rig.master.kick(client.client_id)
    rig.master.fence()
    again.send_raw(PING)


def expelled(rig: Rig) -> None:
    expelled_for_good(rig)


def kicked(rig: Rig) -> None:
    rig.master.kick(rig.new().client_id)


def outbox_full(rig: Rig) -> None:
    rig.master.send(rig.new(receive_buffer=8192).client_id, *[bytes(2_000_000)] * 19)


def too_slow(rig: Rig) -> None:
    rig.master.send(rig.new(receive_buffer=8192).client_id, *[bytes(50_000)] * 220)


def write_stalled(rig: Rig) -> None:
    rig.master.send(rig.new(receive_buffer=8192).client_id, *[bytes(1_000_000)] * 12)


def no_ids(rig: Rig) -> None:
    assert isinstance(rig.server, EmbeddedServer)
    ids = rig.server.server.registry.ids
    last, ids.last = ids.last, ids.next - 1
    said(rig, VERSION + public_key(shared_keys().public))
    wait_until(lambda: rig.server.counters.closed[CloseReason.NO_IDS], "the refusal")
    ids.last = last


def with_memory(rig: Rig, size: int, then: Callable[[], object] = lambda: None) -> None:
    """Let the server have so much memory for its queues, and as much as before when `then` is through."""
    assert isinstance(rig.server, EmbeddedServer)
    server, given = rig.server.server, []
    limit = server.budget.limit
    server.reactor.call_soon(lambda: (server.budget.configure(size), given.append(size)))
    rig.stranger()  # the loop turns for it
    wait_until(lambda: given, "the memory has changed")
    then()
    server.reactor.call_soon(lambda: server.budget.configure(limit))
    rig.stranger()


def memory_used(rig: Rig) -> int:
    assert isinstance(rig.server, EmbeddedServer)
    return rig.server.server.budget.used


def unfinished(rig: Rig) -> RawClient:
    client = rig.new(behind=(1000).to_bytes(4, "little") + bytes(900))
    wait_until(lambda: memory_used(rig) > 900, "a part of a packet is there")
    return client


def hoarder(rig: Rig) -> RawClient:
    client = rig.new(receive_buffer=8192)
    rig.master.send(client.client_id, *[bytes(1_000_000)] * 12)
    wait_until(lambda: memory_used(rig) > 5_000_000, "much is waiting")
    return client


def outbox_shed(rig: Rig) -> None:
    hoarder(rig)
    with_memory(rig, 1_000_000)


def frame_shed(rig: Rig) -> None:
    unfinished(rig)
    with_memory(rig, 500)


def memory_refused(rig: Rig) -> None:
    client = unfinished(rig)
    with_memory(rig, 1200, lambda: said(rig, VERSION + public_key(client.keys.public)))
    client.leave()
    wait_until(lambda: not memory_used(rig), "it is gone")


PROVOCATIONS: dict[CloseReason, Callable[[Rig], None]] = {
    CloseReason.PEER_CLOSED: peer_closed,
    CloseReason.PEER_LOST: peer_lost,
    CloseReason.HANDSHAKE_TIMEOUT: handshake_timeout,
    CloseReason.FRAME_TOO_LARGE: frame_too_large,
    CloseReason.MALFORMED_PACKET: malformed_packet,
    CloseReason.UNEXPECTED_PACKET: unexpected_packet,
    CloseReason.UNSUPPORTED_VERSION: unsupported_version,
    CloseReason.BAD_PUBLIC_KEY: bad_public_key,
    CloseReason.UNKNOWN_SESSION: unknown_session,
    CloseReason.REFLECTED_PROOF: reflected_proof,
    CloseReason.BAD_PROOF: bad_proof,
    CloseReason.SUPERSEDED: superseded,
    CloseReason.SUITE_REFUSED: suite_refused,
    CloseReason.BAD_RECORD: bad_record,
    CloseReason.MALFORMED_RECORD: malformed_record,
    CloseReason.BAD_NUMBERS: bad_numbers,
    CloseReason.CREDIT_EXCEEDED: credit_exceeded,
    CloseReason.TAKEN_OVER: taken_over,
    CloseReason.SESSION_ENDED: session_ended,
    CloseReason.KICKED: kicked,
    CloseReason.EXPELLED: expelled,
    CloseReason.OUTBOX_FULL: outbox_full,
    CloseReason.TOO_SLOW: too_slow,
    CloseReason.WRITE_STALLED: write_stalled,
    CloseReason.NO_IDS: no_ids,
    CloseReason.OUTBOX_SHED: outbox_shed,
    CloseReason.FRAME_SHED: frame_shed,
    CloseReason.MEMORY_REFUSED: memory_refused,
}
THE_MASTERS = {
    CloseReason.MALFORMED_TAG: frame(bytes(8)),
    CloseReason.UNKNOWN_FLAG: tagged(1, b"", 4),
}
ON_THEIR_OWN = {
    CloseReason.MASTER_STALLED,
    CloseReason.INTERNAL_ERROR,
    CloseReason.SHUTDOWN,
    CloseReason.RATE_EXCEEDED,
    CloseReason.IDLE,
    CloseReason.TAKEOVER_EARLY,
    CloseReason.TLS_FAILED,  # test_tls.py
    CloseReason.UPGRADE,  # tests/cluster/handover/test_goods.py
    CloseReason.DRAINED,  # tests/server/test_drain.py
    CloseReason.MOVED,  # test_cluster.py
    CloseReason.STORE_AWAY,  # test_cluster.py
}
OVER_WEBSOCKET = {CloseReason.MALFORMED_FRAME, CloseReason.BAD_TEXT, CloseReason.TEXT_REFUSED}
"""Each closes a connection in tests/lanes/test_websocket_framing.py."""
OVER_HTTP = {
    CloseReason.ANSWERED,
    CloseReason.BAD_REQUEST,
    CloseReason.ORIGIN_REFUSED,
    CloseReason.TOKEN_REFUSED,
    CloseReason.PING_UNANSWERED,
}
"""Each closes one in tests/lanes/web."""
AT_THE_GATE = {
    CloseReason.SERVER_FULL,
    CloseReason.TOO_MANY_HANDSHAKES,
    CloseReason.ADDRESS_DENIED,
    CloseReason.ADDRESS_BANNED,
    CloseReason.ADDRESS_FULL,
    CloseReason.ADDRESS_RATE,
    CloseReason.ADDRESS_FAILURES,
    CloseReason.PROXY_UNTRUSTED,
    CloseReason.PROXY_MALFORMED,
    CloseReason.PROXY_TIMEOUT,
}
"""Each has a server of its own, in test_admission.py."""


def test_every_reason_has_a_test() -> None:
    assert {*PROVOCATIONS, *THE_MASTERS, *ON_THEIR_OWN, *OVER_WEBSOCKET, *OVER_HTTP, *AT_THE_GATE} == set(CloseReason)
    assert set(ENDS) == set(EndReason) - {EndReason.NOT_RESUMABLE}, "which is in tests/lanes/web/test_open.py"


@pytest.mark.parametrize("reason", PROVOCATIONS, ids=lambda reason: reason.name)
def test_a_connection_closed_for_this_reason(rig: Rig, reason: CloseReason) -> None:
    assert isinstance(rig.server, EmbeddedServer)
    counters = rig.server.counters
    bystander = rig.new()
    before, logged = counters.closed[reason], rig.server.log.count(reason.value)
    PROVOCATIONS[reason](rig)
    wait_until(lambda: counters.closed[reason] > before, reason.value)
    wait_until(lambda: rig.server.log.count(reason.value) > logged, f"{reason.value!r} in the log")
    rig.master.send(bystander.client_id, b"still here?")
    assert bystander.recv() == b"still here?"
    assert counters.closed[reason] == before + 1
    bystander.leave()


@pytest.mark.parametrize("reason", THE_MASTERS, ids=lambda reason: reason.name)
def test_the_masters_connection_closed_for_this_reason(reason: CloseReason) -> None:
    with running(LIMITS, embedded=True) as rig:
        assert isinstance(rig.server, EmbeddedServer)
        client = rig.new()
        rig.master.send_raw(THE_MASTERS[reason])
        rig.master.await_end()
        rig.master.accept()
        assert rig.master.recv_for(client.client_id).flag == RECONNECTION
        assert rig.server.counters.closed == {reason: 1}
        assert f"the master is gone: {reason.value}" in rig.server.log


def test_a_master_that_takes_nothing_is_given_up() -> None:
    with running({"master.stall_secs": 0.2}, embedded=True, master_receive_buffer=16384) as rig:
        assert isinstance(rig.server, EmbeddedServer)
        client, counters = rig.new(), rig.server.counters
        sender = threading.Thread(target=lambda: client.send(*[bytes(300_000)] * 60))
        sender.start()
        wait_until(lambda: counters.closed[CloseReason.MASTER_STALLED], "the master is given up")
        rig.master.accept()
        assert rig.master.recv().flag == RECONNECTION
        while sender.is_alive():
            rig.master.recv()
        sender.join()
        assert counters.closed == {CloseReason.MASTER_STALLED: 1}
        assert f"the master is gone: {CloseReason.MASTER_STALLED.value}" in rig.server.log


METERED = {"clients.byte_rate": 100_000, "clients.rate_policy": "disconnect", "clients.idle_secs": 0.3}
"""Which the others would suffer from."""


def metered(reason: CloseReason, provoke: Callable[[RawClient], object]) -> None:
    """The same by a server of its own."""
    with running({**LIMITS, **METERED}, embedded=True) as rig:
        assert isinstance(rig.server, EmbeddedServer)
        client = rig.new()
        provoke(client)
        assert list(client.rest()) == []
        assert rig.server.counters.closed[reason] == 1 and reason.value in rig.server.log


def test_a_takeover_of_who_owes_too_much() -> None:
    with running({**LIMITS, "clients.packet_rate": 1}, embedded=True) as rig:
        assert isinstance(rig.server, EmbeddedServer)
        client, counters, reason = rig.new(), rig.server.counters, CloseReason.TAKEOVER_EARLY
        client.send(*[b"much"] * 100)
        wait_until(lambda: counters.throttled, "it owes for that")
        again = rig.stranger()
        again.send_raw(response(again.answer(again.begin_resume(client.client_id))) + PING)
        wait_until(lambda: counters.closed[reason] == 1, reason.value)
        assert reason.value in rig.server.log and list(again.rest()) == []
        rig.master.send(client.client_id, b"still here")
        assert client.recv() == b"still here"


def test_a_client_that_sends_too_much() -> None:
    metered(CloseReason.RATE_EXCEEDED, lambda client: client.send(*[bytes(900)] * 120))


def test_a_client_that_sends_nothing() -> None:
    metered(CloseReason.IDLE, lambda client: None)


def test_an_error_of_our_own_closes_the_one_connection_and_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(LIMITS, embedded=True) as rig:
        server = rig.server
        assert isinstance(server, EmbeddedServer)
        victim, bystander = rig.new(), rig.new()
        take = server.server.trunk.push

        def push(chunk: bytes, packets: int) -> None:
            if b"poison" in chunk:
                raise RuntimeError("a bug")
            take(chunk, packets)

        monkeypatch.setattr(server.server.trunk, "push", push)
        server.expected_bugs = 1
        victim.send(b"poison", b"and another")  # one alone is read in a batch
        assert list(victim.rest()) == []
        assert server.counters.internal_errors == 1
        assert server.counters.closed[CloseReason.INTERNAL_ERROR] == 1
        assert "RuntimeError: a bug" in server.log
        assert "Traceback" in server.log
        bystander.send(b"on we go")
        assert rig.master.recv_for(bystander.client_id).data == b"on we go"
        assert rig.back(victim).client_id == victim.client_id


def test_a_server_that_ends_closes_its_clients() -> None:
    with running(LIMITS, embedded=True) as rig:
        assert isinstance(rig.server, EmbeddedServer)
        clients = [rig.new() for _ in range(3)]
        rig.server.close()
        for client in clients:
            assert list(client.rest()) == []
        # The master's connection is one of them.
        assert rig.server.counters.closed[CloseReason.SHUTDOWN] == len(clients) + 1
        assert rig.server.exit_code == 0


# ---- why sessions end


def expired(rig: Rig) -> RawClient:
    return rig.stale()


def evicted(rig: Rig) -> RawClient:
    oldest, *_ = [rig.stale() for _ in range(4)]
    return oldest


def expelled_for_good(rig: Rig) -> RawClient:
    assert isinstance(rig.server, EmbeddedServer)
    client, server = rig.new(), rig.server.server
    server.reactor.call_soon(lambda: server.expel(client.client_id))
    rig.stranger()  # the loop turns for it
    return client


def kicked_for_good(rig: Rig) -> RawClient:
    client = rig.new()
    rig.master.kick(client.client_id)
    return client


def overflown(rig: Rig) -> RawClient:
    client = rig.new(receive_buffer=8192)
    rig.master.send(client.client_id, *[bytes(2_000_000)] * 19)
    return client


def left_for_good(rig: Rig) -> RawClient:
    client = rig.new()
    client.send_raw(b"\xff\xff\xff")
    assert client.leave() == []
    return client


def shed_with_its_backlog(rig: Rig) -> RawClient:
    client = rig.stale()
    rig.master.send(client.client_id, bytes(100_000))
    wait_until(lambda: memory_used(rig) > 100_000, "it is kept")
    with_memory(rig, 50_000)
    return client


def missed_too_much(rig: Rig) -> RawClient:
    client = rig.stale()
    rig.master.send(client.client_id, *[b"missed"] * 51)
    return client


ENDS: dict[EndReason, tuple[Callable[[Rig], RawClient], bytes]] = {
    EndReason.EXPIRED: (expired, b"Client disconnected"),
    EndReason.EVICTED: (evicted, b"Client disconnected"),
    EndReason.KICKED: (kicked_for_good, b""),
    EndReason.EXPELLED: (expelled_for_good, b"Client disconnected"),
    EndReason.OVERFLOW: (overflown, b"buffer overflow"),
    EndReason.BACKLOG_FULL: (missed_too_much, b"Client disconnected"),
    EndReason.LEFT: (left_for_good, b"Client disconnected"),
    EndReason.MEMORY: (shed_with_its_backlog, b"out of memory"),
}


@pytest.mark.parametrize("reason", ENDS, ids=lambda reason: reason.name)
def test_a_session_that_ends_for_this_reason(reason: EndReason) -> None:
    settings = LIMITS if reason is EndReason.EXPIRED else {**LIMITS, "clients.stale_timeout_secs": 300}
    provoke, notice = ENDS[reason]
    with running(settings, embedded=True) as rig:
        assert isinstance(rig.server, EmbeddedServer)
        counters, registry = rig.server.counters, rig.server.server.registry
        client = provoke(rig)
        wait_until(lambda: counters.ended[reason], reason.value)
        rig.master.fence()
        told = [packet.data for packet in rig.master.waiting_for(client.client_id) if packet.flag == 1]
        assert b"Client not found" not in told[:1]
        assert told[:1] == ([notice] if notice else [])
        assert client.client_id not in registry.sessions
        assert counters.ended == {reason: 1}


def test_a_kick_and_a_resume_are_told_apart_in_the_firehose(rig: Rig) -> None:
    client = rig.new()
    rig.back(client)
    assert rig.master.recv_for(client.client_id) == (client.client_id, RECONNECTION, b"")
    rig.master.send_raw(tagged(client.client_id, b"", KICK))
    rig.master.fence()
    assert rig.master.waiting_for(client.client_id) == []
