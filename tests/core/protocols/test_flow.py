"""One connection's records: acks that go back or ahead, credit, what is kept, and what the first record confirms."""

from __future__ import annotations

import random

import pytest
from kit.frames import join

from voltlane.core.budget import Budget
from voltlane.core.delivery import Delivery
from voltlane.core.protocols.flow import SMALL, Flow
from voltlane.errors import BadNumbers, BadRecord, CreditExceeded, MalformedRecord
from voltlane.wire.aead import workspace
from voltlane.wire.framing import PREFIX_SIZE, Buffer
from voltlane.wire.noise import MESSAGE_MAX, Channel
from voltlane.wire.v3 import HEAD_SIZE, Kind, Retained, head_of, record

UP, DOWN = b"u" * 32, b"d" * 32
RETAINED = Retained(40, 4000)


class Peer:
    """A flow, and the client's side of it."""

    def __init__(
        self,
        *,
        clear: bool = False,
        retained: Retained = RETAINED,
        credit: int = 1000,
        granted: int = 1000,
        floor: int = 0,
        taken: int = 0,
    ) -> None:
        self.confirmed: list[int] = []
        """How far the flow had come each time."""
        up, down = (b"", b"") if clear else (UP, DOWN)
        self.channel = Channel(up, down, b"")
        self.budget, self.space = Budget(), workspace(MESSAGE_MAX, 1 << 18)
        self.flow = Flow(Channel(down, up, b""), retained, credit, granted)
        self.flow.delivery = Delivery(1, floor, taken)

    def say(self, kind: int = Kind.ACK, ack: int = 0, credit: int = 1000, body: bytes = b"") -> tuple[int, bytes]:
        """A record, as it stands in a buffer among others; its kind and its body."""
        message = bytes(self.channel.seal(record(kind, ack, credit, body)))
        return self.hear(message)

    def hear(self, message: bytes) -> tuple[int, bytes]:
        buffer = bytearray(b"before" + message + b"behind")
        kind, plaintext, start, stop = self.flow.read(self.space, buffer, 6, 6 + len(message))
        return kind, bytes(plaintext[start:stop])

    def heard(self, framed: Buffer) -> tuple[tuple[int, int, int], bytes]:
        """A record of ours: kind, ack and credit; and its body."""
        assert int.from_bytes(framed[:PREFIX_SIZE], "little") == len(framed) - PREFIX_SIZE
        plaintext = bytes(self.channel.open(framed[PREFIX_SIZE:]))
        return head_of(plaintext), plaintext[HEAD_SIZE:]

    def keep(self, *payloads: bytes) -> None:
        """These were sent."""
        self.flow.keep_sent(join(payloads), len(payloads), self.budget, "owner")


@pytest.mark.parametrize("clear", [False, True], ids=["sealed", "clear"])
class TestRecords:
    def test_up(self, clear: bool):
        peer = Peer(clear=clear)
        assert peer.say(Kind.PING, body=b"body") == (Kind.PING, b"body")
        assert peer.say(Kind.DATA, body=bytes(9000)) == (Kind.DATA, bytes(9000))

    def test_down(self, clear: bool):
        peer = Peer(clear=clear, taken=7)
        assert peer.heard(peer.flow.record(peer.space, Kind.ACK)) == ((Kind.ACK, 7, 1000), b"")
        peer.flow.grant(5000)
        assert peer.heard(peer.flow.record(peer.space, Kind.DATA, b"body")) == ((Kind.DATA, 7, 5000), b"body")
        assert peer.flow.sent == 4

    def test_too_short(self, clear: bool):
        for size in range(HEAD_SIZE):
            peer = Peer(clear=clear)
            with pytest.raises(MalformedRecord, match=f"a record of {size} bytes"):
                peer.hear(bytes(peer.channel.seal(record(Kind.ACK, 0, 1000)[:size])))


def test_bodies_stand_beside_each_other():
    """Each where the one before ends: the head in front of it covers nothing when it is through."""
    peer, at, expected = Peer(), HEAD_SIZE, b""
    for body in (b"one", b"", bytes(20), b"two" * 400, b"3"):
        message = bytes(peer.channel.seal(record(Kind.DATA, 0, 1000, body)))
        kind, buffer, start, stop = peer.flow.read(peer.space, message, 0, len(message), at)
        assert (kind, start, stop) == (Kind.DATA, at, at + len(body)) and buffer is peer.space.opened
        at, expected = stop, expected + body
        assert buffer[HEAD_SIZE:at] == expected


class TestSealed:
    def test_a_byte_that_is_another(self):
        message = bytes(Peer().channel.seal(record(Kind.ACK, 0, 1000)))
        for at in range(len(message)):
            peer = Peer()
            with pytest.raises(BadRecord):
                peer.hear(message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :])
            assert peer.flow.acked == 0 and peer.flow.credit == 1000


class TestAcks:
    def test_of_a_chunk_that_is_alone(self):
        peer = Peer(floor=10)
        peer.keep(b"one", b"two", b"three")
        assert peer.flow.retention is None and peer.budget.used == 0, "small, and outside of all accounts"
        peer.say(ack=11)
        assert peer.flow.delivery.floor == 11
        assert peer.flow.give_up() == [(join([b"two", b"three"]), 2)]

    def test_of_all_of_it(self):
        peer = Peer(floor=10)
        peer.keep(b"one", b"two")
        peer.say(ack=12)
        assert peer.flow.delivery.floor == 12 and peer.flow.give_up() == []

    def test_of_several(self):
        peer = Peer()
        for payload in (b"one", b"two", b"three"):
            peer.keep(payload)
        assert peer.flow.retention is not None and peer.flow.retention.unacked == 3
        peer.say(ack=2)
        assert peer.flow.give_up() == [(join([b"three"]), 1)]
        assert peer.budget.used == 0

    def test_of_a_large_one(self):
        peer = Peer()
        peer.keep(bytes(SMALL))
        assert peer.flow.retention is not None and peer.budget.used > SMALL
        peer.say(ack=1)
        assert peer.flow.retention is None and peer.budget.used == 0

    @pytest.mark.parametrize("kept", [0, 1, 3])
    def test_ahead_of_what_was_sent(self, kept: int):
        peer = Peer(floor=10)
        for _ in range(kept):
            peer.keep(b"payload")
        with pytest.raises(BadNumbers, match=f"an ack of {11 + kept} .* where {10 + kept} were sent"):
            peer.say(ack=11 + kept)
        assert peer.flow.delivery.floor == 10

    def test_of_what_is_queued_and_not_sent(self):
        peer = Peer()
        peer.flow.retain(peer.budget, "owner").append(join([b"one"]), 1)
        with pytest.raises(BadNumbers):
            peer.say(ack=1)

    def test_of_a_packet_that_is_sent_in_part(self):
        peer = Peer()
        retention = peer.flow.retain(peer.budget, "owner")
        retention.append(join([b"one", b"two"]), 2)
        retention.advance(13)
        with pytest.raises(BadNumbers):
            peer.say(ack=2)
        peer = Peer()
        peer.flow.retain(peer.budget, "owner").append(join([b"one", b"two"]), 2)
        assert peer.flow.retention is not None
        peer.flow.retention.advance(13)
        peer.say(ack=1)
        assert peer.flow.delivery.floor == 1

    def test_that_goes_back(self):
        peer = Peer()
        peer.keep(b"one", b"two")
        peer.say(ack=1)
        with pytest.raises(BadNumbers, match="an ack of 0 behind one of 1"):
            peer.say(ack=0)

    def test_that_says_the_same_again(self):
        peer = Peer()
        peer.keep(b"one")
        for _ in range(3):
            peer.say(ack=1)
        assert peer.flow.delivery.floor == 1

    def test_below_what_is_forgotten_already(self):
        """Of who resumes with less than it had said before."""
        peer = Peer(floor=10)
        peer.say(ack=4)
        assert peer.flow.delivery.floor == 10
        with pytest.raises(BadNumbers):
            peer.say(ack=3)

    @pytest.mark.parametrize("seed", range(20))
    def test_against_a_list(self, seed: int):
        dice, peer, numbers = random.Random(seed), Peer(floor=5), []  # type: ignore[var-annotated]
        sent = 5
        for _ in range(60):
            if dice.random() < 0.5:
                payloads = [b"%d" % (sent + n) + bytes(dice.choice([0, 2000])) for n in range(dice.randint(1, 4))]
                peer.keep(*payloads)
                numbers += payloads
                sent += len(payloads)
            elif numbers:
                count = dice.randint(0, len(numbers))
                peer.say(ack=peer.flow.delivery.floor + count)
                del numbers[:count]
            assert peer.flow.delivery.floor + len(numbers) == sent
        assert b"".join(chunk for chunk, _ in peer.flow.give_up()) == join(numbers)
        assert peer.budget.used == 0


class TestCredit:
    def test_it_goes_up(self):
        peer = Peer()
        peer.say(credit=1001)
        peer.say(credit=1001)
        peer.say(credit=2**64 - 1)
        assert peer.flow.credit == 2**64 - 1

    def test_it_does_not_go_down(self):
        peer = Peer()
        with pytest.raises(BadNumbers, match="a credit of 999 behind one of 1000"):
            peer.say(credit=999)

    def test_all_of_it_may_be_used(self):
        peer = Peer(granted=1000)
        peer.flow.spend(999)
        peer.flow.spend(1)
        with pytest.raises(CreditExceeded, match="1001 bytes of data where 1000 are allowed"):
            peer.flow.spend(1)

    def test_more_of_it(self):
        peer = Peer(granted=1000)
        peer.flow.spend(700)
        peer.flow.grant(1000)
        peer.flow.spend(1000)
        assert peer.flow.granted == peer.flow.received == 1700
        with pytest.raises(CreditExceeded):
            peer.flow.spend(1)


class TestOwing:
    def test_what_is_told_is_not_owed(self):
        peer = Peer()
        assert not peer.flow.owes
        peer.flow.delivery.safe = 3
        assert peer.flow.owes
        peer.flow.record(peer.space, Kind.PONG)
        assert not peer.flow.owes

    @pytest.mark.parametrize(("safe", "much"), [(9, False), (10, True)])
    def test_a_quarter_of_the_packets_is_much(self, safe: int, much: bool):
        peer = Peer()
        peer.flow.delivery.safe = safe
        assert peer.flow.owes_much is much
        peer.flow.record(peer.space, Kind.ACK)
        assert not peer.flow.owes_much

    @pytest.mark.parametrize(("size", "much"), [(999, False), (1000, True)])
    def test_a_quarter_of_the_bytes_is_much(self, size: int, much: bool):
        peer = Peer()
        peer.flow.spend(size)
        assert peer.flow.owes_much is much
        peer.flow.record(peer.space, Kind.ACK)
        assert not peer.flow.owes_much

    def test_one_that_does_not_say(self):
        peer = Peer(retained=Retained(0, 0), granted=1 << 30)
        peer.flow.delivery.safe = 1 << 40
        peer.flow.spend(1 << 30)
        assert not peer.flow.owes_much


class TestConfirming:
    def waiting(self) -> Peer:
        peer = Peer()
        peer.flow.on_confirmed = lambda: peer.confirmed.append(peer.flow.credit)
        return peer

    def test_the_first_record_does(self):
        peer = self.waiting()
        peer.say(Kind.PING)
        peer.say(Kind.PING)
        assert peer.confirmed == [1000], "once"

    def test_one_that_does_not_open_does_not(self):
        peer = self.waiting()
        with pytest.raises(BadRecord):
            peer.hear(bytes(40))
        assert peer.confirmed == []

    def test_nor_does_one_that_is_none(self):
        peer = self.waiting()
        with pytest.raises(MalformedRecord):
            peer.hear(bytes(peer.channel.seal(bytes(16))))
        assert peer.confirmed == []

    def test_before_its_ack_and_credit_are_looked_at(self):
        peer = self.waiting()
        with pytest.raises(BadNumbers):
            peer.say(ack=1, credit=2000)
        assert peer.confirmed == [1000]


def test_it_goes_on_where_the_handshake_has_left_off():
    """The counts of both directions are the channel's."""
    ours, theirs = Channel(DOWN, UP, b"hash"), Channel(UP, DOWN, b"hash")
    ours.open(theirs.seal(b"open"))
    flow, space = Flow(ours, RETAINED, 0, 0), workspace(MESSAGE_MAX, 1 << 18)
    message = bytes(theirs.seal(record(Kind.ACK, 0, 0)))
    assert flow.read(space, message, 0, len(message))[0] == Kind.ACK
    assert head_of(bytes(theirs.open(flow.record(space, Kind.ACK)[4:])))[0] == Kind.ACK


def test_clients_that_are_alike_share_what_is():
    """Thousands have the same limits."""
    one, other = Peer().flow, Peer().flow
    assert one.shares is other.shares
    other.grant(77_777)
    assert one.shares.much == 500 and other.shares.much == 1000 and other.shares.retained is one.shares.retained


def test_what_is_given_up_is_gone():
    peer = Peer()
    peer.keep(b"one")
    assert peer.flow.give_up() == [(join([b"one"]), 1)]
    assert peer.flow.give_up() == []
    peer.keep(b"one")
    peer.flow.retain(peer.budget, "owner").append(join([b"two"]), 1)
    assert peer.flow.give_up() == [(join([b"one"]), 1), (join([b"two"]), 1)]
    assert peer.flow.give_up() == [] and peer.budget.used == 0


@pytest.mark.parametrize("chunks", [[b"small"], [b"one", b"x" * SMALL, b"three"]])
def test_another_one_goes_on_from_where_it_is(chunks: list[bytes]) -> None:
    peer = Peer()
    for payload in chunks:
        peer.keep(payload)
    peer.flow.delivery.safe = 3
    peer.flow.record(peer.space, Kind.DATA, b"down")
    peer.say(ack=1 if len(chunks) > 1 else 0, credit=2000)
    peer.flow.received = 7
    before = peer.flow.flowing()
    again = Flow(Channel(b"", b"", b""), RETAINED, 1000, 1000)
    again.go_on_from(before, Budget(), None)
    assert again.flowing() == before == peer.flow.flowing(), "and nothing was changed by asking"
    again.delivery, peer.flow = peer.flow.delivery, again
    peer.say(ack=len(chunks), credit=3000)
    assert again.retention is None and again.give_up() == []
