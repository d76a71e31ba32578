"""Everything a client can get wrong, whole and cut at every byte: that client is closed, with its reason, and no more.

The server runs in a thread of the test, for its counters; every test holds that it leaves nothing behind in the server.
"""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress

import pytest
from kit.process import EmbeddedServer
from kit.raw_client import (
    PING,
    VERSION,
    RawClient,
    client_id,
    connect,
    frame,
    public_key,
    response,
    shared_keys,
    version,
)
from kit.rig import Rig, running
from kit.vectors import VECTORS, cuts, unhex, why
from kit.wait import wait_until

from voltlane.reasons import CloseReason

DEADLINE = {"clients.handshake_secs": 0.4}


@pytest.fixture(scope="module")
def _server() -> Iterator[Rig]:
    with running(DEADLINE, embedded=True) as rig:
        yield rig


@pytest.fixture
def rig(_server: Rig) -> Iterator[Rig]:
    """Nothing is watched, timed or counted as a session at the end that was not before; and the server serves."""
    assert isinstance(_server.server, EmbeddedServer)
    server = _server.server.server

    def left() -> tuple[int, int, int, int]:
        reaping = int(server._reaping is not None)  # one timer for all who ever were stale
        watched, timers = server.reactor.watched, server.reactor.timers - reaping
        return watched, timers, len(server.registry.sessions), server.counters.internal_errors

    _server.master.fence()
    before = left()
    yield _server
    _server.close_clients()
    wait_until(lambda: server.reactor.watched == before[0], "every connection closed")
    for number in list(server.registry.sessions):
        _server.master.kick(number)
    _server.master.fence()
    assert left() == before


def hear(sock: socket.socket) -> bytes:
    """All the server says until it closes."""
    heard = []
    try:
        while data := sock.recv(1 << 16):
            heard.append(data)
    except ConnectionResetError:
        pass
    sock.close()
    return b"".join(heard)


def say(rig: Rig, streams: Iterable[bytes], end: bool = False) -> list[bytes]:
    """Say each on a connection of its own, all at once. What the server answered; it has closed them all."""
    answers, streams = [], list(streams)
    for start in range(0, len(streams), 100):
        sockets = [connect(rig.server.address) for _ in streams[start : start + 100]]
        for sock, stream in zip(sockets, streams[start:]):
            sock.sendall(stream)
            if end:
                with suppress(OSError):  # it was reset already
                    sock.shutdown(socket.SHUT_WR)
        answers += [hear(sock) for sock in sockets]
    return answers


def reasons(rig: Rig, before: Counter[CloseReason]) -> dict[CloseReason, int]:
    assert isinstance(rig.server, EmbeddedServer)
    return dict(rig.server.counters.closed - before)


def closed(rig: Rig) -> Counter[CloseReason]:
    assert isinstance(rig.server, EmbeddedServer)
    return Counter(rig.server.counters.closed)


MALFORMED = {why(entry): unhex(entry) for entry in VECTORS["malformed_handshake_packets"]}
MALFORMED["trailing-byte"] = b"\x01\x02\x00"
MALFORMED["trailing-byte-behind-Ping"] = b"\x00\x00"
BAD_KEYS = {why(entry): unhex(entry, "sec1") for entry in VECTORS["malformed_public_keys"]}
BAD_KEYS["uncompressed, not on the curve"] = b"\x04" + bytes(63) + b"\x01"
BAD_KEYS["hybrid"] = b"\x06" + bytes(64)
OUT_OF_PLACE = {
    str(entry): unhex(entry) for entry in VECTORS["handshake_packets"] if entry["packet"] != "ProtocolVersion"
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_packet_wherever_a_packet_is_expected(rig: Rig, kind: str) -> None:
    owner = rig.stale()
    resuming = rig.stranger()
    resuming.begin_resume(owner.client_id)
    proven = rig.stranger()
    proven.send_raw(response(proven.answer(proven.begin_resume(owner.client_id))))
    before = closed(rig)
    for late in (resuming, proven):
        late.send_raw(frame(MALFORMED[kind]))
        assert list(late.rest()) == []
    answers = say(rig, [frame(MALFORMED[kind]), VERSION + frame(MALFORMED[kind])])
    assert answers[0] == b""
    assert len(answers[1]) == 4 + 2 + 33
    assert reasons(rig, before) == {CloseReason.MALFORMED_PACKET: 4}
    assert rig.back(owner).client_id == owner.client_id


@pytest.mark.parametrize("kind", BAD_KEYS)
def test_a_bad_public_key(rig: Rig, kind: str) -> None:
    before = closed(rig)
    say(rig, [VERSION + public_key(BAD_KEYS[kind])])
    assert reasons(rig, before) == {CloseReason.BAD_PUBLIC_KEY: 1}


def test_every_malformed_stream_cut_at_every_byte(rig: Rig) -> None:
    """Cut by the end of the stream: no reason of the packet's own, for none of them came whole."""
    streams = [VERSION + frame(packet) for packet in MALFORMED.values()]
    streams += [VERSION + public_key(point) for point in BAD_KEYS.values()]
    pieces = {piece for stream in streams for piece in cuts(stream)}
    before = closed(rig)
    say(rig, pieces, end=True)
    assert reasons(rig, before) == {CloseReason.PEER_CLOSED: len(pieces)}


def test_every_handshake_stream_cut_at_every_byte(rig: Rig) -> None:
    owner = rig.stale()
    new = VERSION + public_key(shared_keys().public)
    pieces = {*cuts(new), *cuts(VERSION + public_key(shared_keys().uncompressed)), *cuts(VERSION + client_id(2**63))}
    before = closed(rig)
    say(rig, pieces, end=True)
    assert reasons(rig, before) == {CloseReason.PEER_CLOSED: len(pieces)}
    proof = rig.stranger()
    attempt = response(proof.answer(proof.begin_resume(owner.client_id))) + PING
    for piece in cuts(attempt):
        again = rig.stranger()
        blob = again.begin_resume(owner.client_id)
        again.send_raw((response(again.answer(blob)) + PING)[: len(piece)])
        again.leave()
    assert rig.back(owner).client_id == owner.client_id


def test_a_cut_packet_left_open_waits_for_the_deadline_and_no_longer(rig: Rig) -> None:
    pieces = {piece for stream in MALFORMED.values() for piece in cuts(VERSION + frame(stream))}
    before = closed(rig)
    say(rig, pieces)
    assert reasons(rig, before) == {CloseReason.HANDSHAKE_TIMEOUT: len(pieces)}


def test_one_byte_after_the_other_does_not_put_the_deadline_off(rig: Rig) -> None:
    before = closed(rig)
    slow = rig.stranger()
    slow.sock.settimeout(0.05)
    stream = VERSION + public_key(slow.keys.public)
    begun = time.monotonic()
    for position in range(len(stream) - 1):
        try:
            slow.send_raw(stream[position : position + 1])
            if not slow.fill():
                break
        except (TimeoutError, socket.timeout):
            continue
        except OSError:
            break
        assert time.monotonic() < begun + 10
    assert reasons(rig, before) == {CloseReason.HANDSHAKE_TIMEOUT: 1}


def test_packets_out_of_place(rig: Rig) -> None:
    """Every packet there is as the first one, and the wrong ones in every later place."""
    owner = rig.stale()
    before = closed(rig)
    first = [frame(packet) for packet in OUT_OF_PLACE.values()]
    second = [VERSION + VERSION, VERSION + PING, VERSION + response(bytes(72)), VERSION + frame(b"\x04\x00")]
    say(rig, first + second)
    wrong = [VERSION, client_id(owner.client_id), public_key(shared_keys().public), frame(b"\x04\x00")]
    for packet in [*wrong, PING]:
        again = rig.stranger()
        again.begin_resume(owner.client_id)
        again.send_raw(packet)
        assert list(again.rest()) == []
    for packet in wrong:
        again = rig.stranger()
        proof = response(again.answer(again.begin_resume(owner.client_id)))
        again.send_raw(proof + packet)
        assert list(again.rest()) == []
    count = len(first) + len(second) + 2 * len(wrong) + 1
    assert reasons(rig, before) == {CloseReason.UNEXPECTED_PACKET: count}
    assert rig.back(owner).client_id == owner.client_id


def test_other_versions_get_no_answer(rig: Rig) -> None:
    before = closed(rig)
    numbers = [entry["version"] for entry in VECTORS["handshake_packets"] if entry["packet"] == "ProtocolVersion"]
    numbers.remove(2)
    answers = say(rig, map(version, numbers))
    assert answers == [b""] * len(numbers)
    assert reasons(rig, before) == {CloseReason.UNSUPPORTED_VERSION: len(numbers)}


HUGE = [129, 1 << 16, 8 * 1024 * 1024, 2**31 - 1, 2**31, 2**32 - 1]


def test_a_handshake_packet_announced_too_large_is_refused_by_its_prefix(rig: Rig) -> None:
    before = closed(rig)
    prefixes = [size.to_bytes(4, "little") for size in HUGE]
    say(rig, prefixes + [VERSION + prefix for prefix in prefixes])
    assert reasons(rig, before) == {CloseReason.FRAME_TOO_LARGE: 2 * len(HUGE)}


def test_data_announced_too_large_is_refused_by_its_prefix_and_what_came_before_it_arrives(rig: Rig) -> None:
    before = closed(rig)
    sizes = [8 * 1024 * 1024 - 8, *HUGE[3:]]
    for size in sizes:
        client = rig.new(behind=frame(b"fine") + size.to_bytes(4, "little"))
        assert list(client.rest()) == []
        assert rig.master.recv_data(client.client_id, 1) == [b"fine"]
    assert reasons(rig, before) == {CloseReason.FRAME_TOO_LARGE: len(sizes)}


def test_the_announced_size_alone_costs_no_memory() -> None:
    """Hundreds of clients announce eight megabytes each and send next to nothing of it."""
    with running() as rig:
        before = rig.server.resident_bytes()  # type: ignore[union-attr]
        prefix = (8 * 1024 * 1024 - 9).to_bytes(4, "little")
        for _ in range(200):
            rig.new(behind=prefix + b"so little")
        rig.master.fence()
        assert rig.server.resident_bytes() - before < 20 << 20  # type: ignore[union-attr]


def test_random_bytes_close_their_sender_alone(rig: Rig) -> None:
    chance = random.Random(2)
    bystander = rig.new()
    streams = [chance.randbytes(chance.randrange(1, 200)) for _ in range(150)]
    streams += [VERSION + frame(chance.randbytes(chance.randrange(1, 120))) for _ in range(150)]
    say(rig, streams, end=True)
    rig.master.send(bystander.client_id, b"still here")
    assert bystander.recv() == b"still here"


def test_a_flipped_bit_anywhere_in_a_handshake(rig: Rig) -> None:
    stream = VERSION + public_key(shared_keys().public)
    flipped = [bytes([*stream[:at], stream[at] ^ 1 << bit, *stream[at + 1 :]]) for at in range(12) for bit in range(8)]
    for answer in say(rig, flipped, end=True):
        assert answer == b"" or answer[4] == 2


def test_no_id_is_spent_on_a_handshake_that_fails(rig: Rig) -> None:
    first = rig.new().client_id
    say(rig, [VERSION + frame(packet) for packet in MALFORMED.values()])
    say(rig, [VERSION + public_key(point) for point in BAD_KEYS.values()])
    say(rig, [VERSION, b"", VERSION + client_id(2**40)], end=True)
    assert rig.new().client_id == first + 1


def test_a_client_that_never_reads_its_handshake_is_closed(rig: Rig) -> None:
    before = closed(rig)
    with RawClient(rig.server.address, receive_buffer=4096) as client:
        client.send_raw(VERSION)
        wait_until(lambda: reasons(rig, before), "the deadline")
    assert reasons(rig, before) == {CloseReason.HANDSHAKE_TIMEOUT: 1}
