"""The endpoint alone: a connection byte by byte, each error of SPEC 19 that a client must find, acks, credit, pings."""

from __future__ import annotations

from typing import Callable

import pytest
from kit.model_v3 import ModelServer, ServerLink

from voltlane.client.backoff import FIRST_SECS, LONGEST_SECS, STEADY_SECS, Backoff
from voltlane.client.endpoint import _HANDLERS, ACK_SECS, OUTPUT_BYTES, Endpoint, Phase
from voltlane.client.memory import Memory
from voltlane.client.options import Options
from voltlane.client.pinning import Pins
from voltlane.client.retention import Retention
from voltlane.errors import (
    BadNumbers,
    BadRecord,
    ConnectionLost,
    CreditExceeded,
    FrameTooLarge,
    MalformedPacket,
    MalformedRecord,
    ProtocolError,
    Refused,
    ServerKeyChanged,
    Unproven,
)
from voltlane.wire import v3
from voltlane.wire.framing import frame
from voltlane.wire.noise import KeyPair
from voltlane.wire.v3 import Code, Kind

LIMIT = 1000


class Pair:
    """An endpoint and the model of a server, connected, and with the time in hand."""

    def __init__(self, live: bool = True, pins: Pins | None = None, **options: object) -> None:
        self.options = Options(**options)  # type: ignore[arg-type]
        self.server = ModelServer()
        self.endpoint = Endpoint(Memory(self.options, LIMIT, pins or Pins()), self.options)
        self.now = 50.0
        self.link: ServerLink
        self.connect()
        if live:
            self.exchange()

    def connect(self) -> None:
        self.link = self.server.accept()
        self.endpoint.connect(self.now)

    def up(self) -> None:
        self.link.receive(bytes(self.endpoint.output))
        self.endpoint.output.clear()

    def down(self) -> None:
        data = bytes(self.link.output)
        self.link.output.clear()
        self.endpoint.receive(data, self.now)
        if self.endpoint.phase is Phase.WELCOMED:
            self.endpoint.confirm(self.now)

    def exchange(self) -> None:
        while self.endpoint.output or self.link.output:
            self.up()
            if self.link.output:
                self.down()

    def pass_on(self) -> None:
        for session in self.server.sessions.values():
            session.pass_on()

    def say(self, kind: int, body: bytes = b"", **head: int) -> None:
        self.link.say(kind, body, **head)
        self.down()

    def taken(self) -> list[object]:
        return list(iter(lambda: self.endpoint.take(self.now), None))

    @property
    def closed_with(self) -> int:
        """What the endpoint says last."""
        self.up()
        return self.link.close.code if self.link.close else 0


def test_byte_by_byte() -> None:
    pair = Pair(live=False)
    endpoint, link = pair.endpoint, pair.link
    seen = []
    while endpoint.output or link.output:
        for byte in bytes(endpoint.output):
            link.receive(bytes((byte,)))
        endpoint.output.clear()
        data = bytes(link.output)
        link.output.clear()
        for byte in data:
            endpoint.receive(bytes((byte,)), pair.now)
            if endpoint.phase is Phase.WELCOMED:
                endpoint.confirm(pair.now)
            seen.append(endpoint.phase)
        if endpoint.phase is Phase.LIVE and len(pair.server.sessions[7].down) < 3:
            pair.server.sessions[7].send(b"down")
    assert list(dict.fromkeys(seen)) == [Phase.HELLO, Phase.PROVING, Phase.LIVE]
    assert pair.taken() == [b"down"] * 3


def test_whatever_stands_behind_a_welcome_waits_for_the_confirmation() -> None:
    pair = Pair(live=False)
    pair.up()
    pair.down()
    pair.up()
    pair.server.sessions[7].send(b"at once")
    data = bytes(pair.link.output)
    pair.endpoint.receive(data, pair.now)
    assert pair.endpoint.phase is Phase.WELCOMED and not pair.endpoint.output and pair.taken() == []
    pair.endpoint.receive(b"", pair.now)
    pair.endpoint.confirm(pair.now)
    assert pair.endpoint.phase is Phase.LIVE and pair.taken() == [b"at once"]
    pair.up()
    assert pair.link.live


@pytest.mark.parametrize("queued", [0, 3])
def test_a_welcome_is_confirmed_with_what_there_is(queued: int) -> None:
    pair = Pair(live=False)
    for _ in range(queued):
        pair.endpoint.send(b"x")
    pair.exchange()
    assert pair.link.records[:2] == [Kind.OPEN, Kind.DATA if queued else Kind.ACK]
    assert len(pair.link.records) == 2


def test_nothing_is_sent_before_its_time() -> None:
    pair = Pair(live=False)
    pair.endpoint.send(b"x")
    pair.endpoint.pump(pair.now)
    pair.endpoint.close(Code.AWAY)
    assert len(pair.endpoint.output) == 4 + 36, "the hello alone"


# ---- hellos


def server_hello(pair: Pair) -> bytearray:
    pair.up()
    return pair.link.output


@pytest.mark.parametrize(
    "spoil, error",
    [
        (lambda hello: hello.__setitem__(4, 0x57), MalformedPacket),
        (lambda hello: hello.__setitem__(5, 0), MalformedPacket),
        (lambda hello: hello.__setitem__(5, 7), MalformedPacket),
        (lambda hello: hello.__setitem__(50, hello[50] ^ 1), BadRecord),
        (lambda hello: hello.__setitem__(-1, hello[-1] ^ 1), BadRecord),
        (lambda hello: hello.__setitem__(slice(None), frame(hello[4:90])), (BadRecord, MalformedPacket)),
        (lambda hello: hello.__setitem__(slice(None), frame(bytes(hello[4:]) + bytes(500))), MalformedPacket),
        (lambda hello: hello.__setitem__(slice(None), frame(b"V")), MalformedPacket),
        (lambda hello: hello.__setitem__(slice(None), b"\x00\x00\x01\x00"), FrameTooLarge),
        (lambda hello: hello.__setitem__(slice(None), frame(v3.refusal(3004, "full"))), Refused),
        (lambda hello: hello.__setitem__(slice(None), frame(b"V\xff\x00")), MalformedPacket),
    ],
)
def test_a_hello_that_is_none(spoil: Callable[[bytearray], object], error: type[Exception]) -> None:
    pair = Pair(live=False)
    spoil(server_hello(pair))
    with pytest.raises(error) as caught:
        pair.down()
    assert pair.endpoint.phase is Phase.CLOSED and not pair.endpoint.output and not pair.endpoint.asked
    if error is Refused:
        assert caught.value.code == 3004  # type: ignore[attr-defined]


def test_the_choice_of_a_suite_is_repeated_inside() -> None:
    pair = Pair(live=False, encrypted=False)
    hello = server_hello(pair)
    hello[4 + 2 + 32] = 1
    with pytest.raises(MalformedPacket, match="suite 1"):
        pair.down()


def test_another_key_is_told_nothing() -> None:
    pair = Pair(live=False, pins=Pins((KeyPair().public,)))
    pair.up()
    with pytest.raises(ServerKeyChanged):
        pair.down()
    assert not pair.endpoint.output


# ---- welcomes


def welcomed(pair: Pair, **changes: object) -> None:
    """A welcome like this, on a new connection."""
    pair.endpoint.lost()
    pair.connect()
    link, ack = pair.link, changes.pop("ack", 0)

    def welcome(resume: v3.Resume, safe: int) -> None:
        assert link._channel is not None
        proof = v3.proof(pair.server.sessions[7].secret, "server", link._channel.hash)
        usual = v3.Welcome(7, proof, 1, 3, 99, bytes(32), 0)
        link.say(Kind.WELCOME, usual._replace(**changes).encode(), ack=ack)  # type: ignore[arg-type]

    link._on_resume = welcome  # type: ignore[method-assign]
    pair.up()
    pair.down()
    pair.up()
    pair.down()


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"proof": bytes(32)}, Unproven),
        ({"id": 8}, MalformedRecord),
        ({"generation": 1}, MalformedRecord),
        ({"taken": 1}, BadNumbers),
        ({"ack": 1}, BadNumbers),
    ],
    ids=str,
)
def test_a_welcome_that_cannot_be(changes: dict[str, object], error: type[Exception]) -> None:
    pair = Pair()
    with pytest.raises(error):
        welcomed(pair, **changes)
    assert pair.endpoint.phase is Phase.CLOSED and not pair.endpoint.output, "it would be a confirmation"
    assert pair.endpoint.memory.present.generation == 1


def test_a_server_that_has_taken_less_than_it_called_safe() -> None:
    pair = Pair()
    pair.endpoint.send(b"x")
    pair.endpoint.pump(pair.now)
    pair.exchange()
    pair.pass_on()
    pair.exchange()
    assert pair.endpoint.memory.retention.acked == 1
    with pytest.raises(BadNumbers):
        welcomed(pair)


# ---- records


@pytest.mark.parametrize(
    "kind, body, head, error, code",
    [
        (Kind.OPEN, bytes(56), {}, MalformedRecord, Code.PROTOCOL),
        (Kind.RESUME, bytes(92), {}, MalformedRecord, Code.PROTOCOL),
        (Kind.WELCOME, bytes(100), {}, MalformedRecord, Code.PROTOCOL),
        (10, b"", {}, MalformedRecord, Code.PROTOCOL),
        (200, b"", {}, MalformedRecord, Code.PROTOCOL),
        (Kind.GAP, bytes(16), {}, MalformedRecord, Code.PROTOCOL),
        (Kind.GAP, v3.Gap(2, 3, 1).encode(), {}, BadNumbers, Code.PROTOCOL),
        (Kind.GAP, v3.Gap(1, 0, 1).encode(), {}, BadNumbers, Code.PROTOCOL),
        (Kind.GAP, v3.Gap(1, 1 << 63, 1).encode(), {}, BadNumbers, Code.PROTOCOL),
        (Kind.CLOSE, bytes(9), {}, MalformedRecord, Code.PROTOCOL),
        (Kind.PING, bytes(65), {}, MalformedRecord, Code.PROTOCOL),
        (Kind.ACK, b"", {"ack": 1}, BadNumbers, Code.PROTOCOL),
        (Kind.ACK, b"", {"credit": 1}, BadNumbers, Code.PROTOCOL),
        (Kind.DATA, frame(bytes(LIMIT + 1)), {}, FrameTooLarge, Code.TOO_LARGE),
        (Kind.DATA, frame(bytes(LIMIT)) * 50, {}, CreditExceeded, Code.PROTOCOL),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be(
    kind: int, body: bytes, head: dict[str, int], error: type[Exception], code: int
) -> None:
    pair = Pair(window_bytes=10_000)
    with pytest.raises(error):
        pair.say(kind, body, **head)
    assert pair.endpoint.phase is Phase.CLOSED
    assert pair.closed_with == code


def test_a_short_record_without_encryption() -> None:
    pair = Pair(encrypted=False)
    with pytest.raises(MalformedRecord):
        pair.endpoint.receive(frame(bytes(16)), pair.now)
    assert pair.closed_with == Code.PROTOCOL


def test_an_ack_that_goes_down() -> None:
    pair = Pair()
    for _ in range(3):
        pair.endpoint.send(b"x")
    pair.endpoint.pump(pair.now)
    pair.up()
    pair.say(Kind.ACK, ack=2)
    with pytest.raises(BadNumbers, match="behind 2"):
        pair.say(Kind.ACK, ack=1)
    assert pair.closed_with == Code.PROTOCOL


def test_a_record_that_does_not_open_ends_it_without_a_word() -> None:
    pair = Pair()
    pair.link.say(Kind.DATA, frame(b"never seen"))
    pair.link.output[-1] ^= 1
    with pytest.raises(BadRecord):
        pair.down()
    assert pair.endpoint.phase is Phase.CLOSED and not pair.endpoint.output and pair.taken() == []


def test_a_message_that_is_too_large_is_refused_by_its_size() -> None:
    pair = Pair()
    with pytest.raises(FrameTooLarge):
        pair.endpoint.receive(b"\x00\x00\x01\x00", pair.now)
    assert not pair.endpoint.output


def test_a_gap_within_a_packet() -> None:
    pair = Pair()
    pair.say(Kind.DATA, frame(bytes(100))[:50])
    with pytest.raises(BadNumbers, match="within a packet"):
        pair.say(Kind.GAP, v3.Gap(1, 1, 1).encode())


def test_what_came_before_an_error_is_there() -> None:
    pair = Pair()
    pair.link.say(Kind.DATA, frame(b"whole"))
    pair.link.say(Kind.WELCOME)
    with pytest.raises(ProtocolError):
        pair.down()
    assert pair.taken() == [b"whole"]


@pytest.mark.parametrize("kind", [3, 11, 255])
def test_an_unknown_odd_kind_is_skipped_but_its_head_counts(kind: int) -> None:
    pair = Pair()
    pair.endpoint.send(b"x")
    pair.endpoint.pump(pair.now)
    pair.up()
    pair.say(kind, b"whatever", ack=1)
    assert pair.endpoint.phase is Phase.LIVE and len(pair.endpoint.memory.retention) == 0


def test_of_a_gap_only_what_is_new_counts() -> None:
    pair = Pair()
    pair.say(Kind.DATA, frame(b"1") + frame(b"2"))
    pair.say(Kind.GAP, v3.Gap(1, 2, 1).encode())
    pair.say(Kind.GAP, v3.Gap(2, 5, 9).encode() + b"more fields")
    one, two, gap = pair.taken()
    assert (one, two) == (b"1", b"2")
    assert (gap.first, gap.last, gap.why) == (3, 5, 9)  # type: ignore[attr-defined]
    assert "reason 9" in str(gap)


def test_every_kind_that_a_server_sends_has_its_place() -> None:
    assert {kind for _, kind in _HANDLERS} == set(Kind) - {Kind.OPEN, Kind.RESUME, Kind.ASK}


# ---- pings, acks, credit


def test_pings_are_answered_the_last_of_several() -> None:
    pair = Pair()
    pair.link.say(Kind.PING, b"first")
    pair.link.say(Kind.PING, b"last")
    pair.down()
    pair.up()
    assert pair.link.pongs == [b"last"]


def test_a_pong_that_nobody_asked_for_is_ignored() -> None:
    pair = Pair()
    pair.say(Kind.PONG, b"what?")
    number = pair.endpoint.ping(pair.now)
    assert pair.endpoint.ponged < number
    pair.exchange()
    assert pair.endpoint.ponged == number


def test_a_ping_of_one_connection_is_not_answered_by_the_pong_of_another() -> None:
    pair = Pair()
    first = pair.endpoint.ping(pair.now)
    pair.exchange()
    pair.endpoint.lost()
    pair.connect()
    pair.exchange()
    assert pair.endpoint.ponged == first < pair.endpoint.ping(pair.now)


def test_silence() -> None:
    pair = Pair(heartbeat=10.0)
    assert pair.endpoint.due(pair.now) == pair.now + 10.0
    pair.now += 10.0
    pair.endpoint.tick(pair.now)
    pair.up()
    assert pair.link.records[-1] == Kind.PING
    pair.down()
    pair.now += 10.0
    pair.endpoint.tick(pair.now)
    pair.endpoint.output.clear()
    pair.now += 9.0
    pair.endpoint.tick(pair.now)
    pair.now += 1.0
    with pytest.raises(ConnectionLost):
        pair.endpoint.tick(pair.now)


def test_a_program_that_was_away_asks_first() -> None:
    pair = Pair(heartbeat=10.0)
    pair.now += 1000.0
    pair.endpoint.tick(pair.now)
    pair.exchange()
    pair.endpoint.tick(pair.now)
    assert pair.endpoint.phase is Phase.LIVE


def test_an_ack_goes_with_the_next_record_or_alone_in_time() -> None:
    pair = Pair()
    for _ in range(3):
        pair.server.sessions[7].send(b"x")
    pair.exchange()
    pair.taken()
    assert not pair.endpoint.output and pair.endpoint.due(pair.now) == pair.now + ACK_SECS
    pair.endpoint.send(b"takes it along")
    pair.endpoint.pump(pair.now)
    pair.up()
    assert pair.server.sessions[7].acked == 3
    assert pair.endpoint.due(pair.now) != pair.now + ACK_SECS
    pair.server.sessions[7].send(b"x")
    pair.exchange()
    pair.taken()
    pair.now += ACK_SECS
    pair.endpoint.tick(pair.now)
    pair.up()
    assert pair.server.sessions[7].acked == 4 and pair.link.records[-1] == Kind.ACK


@pytest.mark.parametrize("packets, size, until", [(16, 0, 4), (0, 1600, 4), (0, 0, None)])
def test_a_quarter_of_what_the_server_retains_is_acked_at_once(packets: int, size: int, until: int | None) -> None:
    pair = Pair(live=False)
    pair.server.limits = v3.Limits(1000, v3.Retained(packets, size))
    pair.exchange()
    for _ in range(8):
        pair.server.sessions[7].send(bytes(96))
    pair.exchange()
    at = None
    for number in range(1, 9):
        pair.endpoint.take(pair.now)
        if pair.endpoint.output and at is None:
            at = number
    assert at == until


def test_credit_is_raised_by_halves() -> None:
    pair = Pair(window_bytes=1000)
    assert pair.link._credit == 1000
    for _ in range(20):
        pair.server.sessions[7].send(bytes(96))
    pair.exchange()
    assert len(pair.endpoint.memory.inbox) == 10
    said = []
    for _ in range(10):
        pair.endpoint.take(pair.now)
        said.append(bool(pair.endpoint.output))
        pair.up()
    assert said == [False] * 4 + [True] + [False] * 4 + [True]


def test_credit_in_a_later_connection_counts_what_waits() -> None:
    pair = Pair(window_bytes=1000)
    for _ in range(10):
        pair.server.sessions[7].send(bytes(96))
    pair.exchange()
    pair.endpoint.lost()
    pair.connect()
    pair.exchange()
    assert pair.link._credit == 0
    assert len(pair.taken()) == 10
    pair.exchange()
    assert pair.link._credit == 1000


def test_acks_do_not_stand_behind_megabytes() -> None:
    pair = Pair()
    pair.server.window = pair.link._told_credit = 1 << 30
    pair.say(Kind.ACK, credit=1 << 30)
    for _ in range(3000):
        pair.endpoint.send(bytes(1000))
    pair.endpoint.pump(pair.now)
    assert OUTPUT_BYTES <= len(pair.endpoint.output) < OUTPUT_BYTES + 2 * 65535
    while pair.endpoint.output:
        pair.up()
        pair.endpoint.pump(pair.now)
    assert pair.server.sessions[7].last_taken == 3000


def test_large_and_small_packets_share_records() -> None:
    pair = Pair()
    pair.server.window = pair.link._told_credit = 1 << 30
    pair.say(Kind.ACK, credit=1 << 30)
    before = len(pair.link.records)
    for size in (10, 100_000, 10, 10):
        pair.endpoint.send(bytes(size))
    pair.endpoint.pump(pair.now)
    pair.up()
    assert pair.link.records[before:] == [Kind.DATA, Kind.DATA]
    assert [len(packet) for packet in pair.server.sessions[7].taken] == [10, 100_000, 10, 10]


# ---- numbers


def test_behind_a_restore_numbers_begin_higher_and_the_server_is_told() -> None:
    kept = Retention(10, 1000)
    kept.restore([(4, b"four"), (5, b"five"), (6, b"queued only")], last=6, sent=5, acked=3, settled=3)
    kept.resume(4, 3, forgot=False, ahead=100, again=False)
    assert [number for number, _ in kept.packets()] == [4, 5, 101] and kept.sent == 5
    assert b"".join(kept.read(1000)) == frame(b"five")
    assert kept.unused == (6, 100) and kept.read(1000) == []
    kept.skip(100)
    assert b"".join(kept.read(1000)) == frame(b"queued only")
    assert (kept.sent, kept.whole, kept.unsent) == (101, 101, False)
    assert kept.add(b"new") == 102
    kept.acknowledge(101)
    assert (len(kept), kept.bytes) == (1, 7)


def test_behind_a_restore_the_server_may_have_taken_more() -> None:
    kept = Retention(10, 1000)
    kept.restore([(4, b"four"), (5, b"five")], last=5, sent=4, acked=3, settled=3)
    kept.resume(9, 9, forgot=False, ahead=1, again=False)
    assert len(kept) == 0 and kept.add(b"new") == 10
    assert frame(b"new") == b"".join(kept.read(100))


def test_but_no_more_than_there_are_numbers() -> None:
    with pytest.raises(BadNumbers):
        Retention(10, 1000).resume(1 << 63, 0, forgot=True, ahead=100, again=False)


def test_pauses_grow_and_a_good_connection_ends_that() -> None:
    backoff = Backoff()
    limits = []
    for _ in range(12):
        backoff.lost(100.0)
        assert 100.0 <= backoff.at <= 100.0 + LONGEST_SECS
        limits.append(backoff._limit)
    assert limits[:2] == [2 * FIRST_SECS, 4 * FIRST_SECS] and limits[-1] == LONGEST_SECS
    backoff.connected(100.0)
    backoff.lost(100.0 + STEADY_SECS / 2)
    assert backoff._limit == LONGEST_SECS
    backoff.connected(200.0)
    backoff.lost(200.0 + STEADY_SECS)
    assert backoff.at <= 200.0 + STEADY_SECS + FIRST_SECS


def test_the_numbers_that_nobody_used_may_arrive_without_the_packet_behind_them() -> None:
    kept = Retention(10, 1000)
    kept.restore([], last=5, sent=5, acked=5, settled=5)
    kept.resume(5, 5, forgot=False, ahead=100, again=False)
    kept.add(b"new")
    assert kept.unused == (6, 100)
    kept.skip(100)
    kept.resume(100, 100, forgot=False, ahead=0, again=False)  # cut here
    assert (kept.unused, b"".join(kept.read(100))) == (None, frame(b"new"))


def test_the_rest_of_a_packet_has_room_whatever_waits() -> None:
    pair = Pair(window_bytes=1000)
    pair.server.sessions[7].send(bytes(896))
    pair.server.sessions[7].send(bytes(996))
    pair.exchange()
    assert len(pair.endpoint.memory.inbox) == 2 and len(pair.taken()) == 2
